// Layer: checker/explore. Contract: which single choice of a design makes the difference: the choices in
// which it differs from the newest rows of the table are taken from there one at a time, and the
// scenario is explored again, until kRemedyStates states have been looked at in all.
#pragma once

#include <string>
#include <vector>

#include "checker/explore/explorer.h"

namespace mmucheck::explore {

inline constexpr uint64_t kRemedyStates = 2'000'000;

struct Remedy {
  std::string design;   // a name with a changed choice, as --design takes it
  uint64_t states = 0;  // all of them, none of which breaks anything
};

struct Remedies {
  std::vector<Remedy> found;  // in the order of the table of choices
  unsigned tried = 0;         // choices
  bool complete = true;       // all that differ were tried, and each to its end
};

// `design` as for explore(), `bounds` and `tick` too.
Remedies would_hold(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                    const SearchTick& tick = {});

}  // namespace mmucheck::explore
