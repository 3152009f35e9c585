// Layer: checker/explore. Contract: what a VM has come to when every thread of a scenario is over,
// in all executions: the trees and what they map, the S-EPT and its TD, attributes and memslots.
// Not part of it: the numbers of tables, counters (references, epochs, the invalidation sequence),
// and what is left of threads.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checker/explore/explorer.h"

namespace mmucheck::explore {

struct EndStates {
  using All = std::map<std::string, std::vector<Move>>;

  All all;  // by their texts: one of the shortest ways to each
  uint64_t states = 0, transitions = 0;
  std::string bound;  // as in Exploration
  std::vector<std::string> doubts;
  bool broken = false;  // some execution broke a rule and was not followed further
};

// What the VM has come to where the stepper is.
std::string end_text(const Stepper& stepper);

EndStates end_states(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                     const SearchTick& tick = {});

// Those of `in` that `other` does not come to.
std::vector<const EndStates::All::value_type*> only_in(const EndStates& in, const EndStates& other);

}  // namespace mmucheck::explore
