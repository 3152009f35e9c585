// Layer: tools/mmucheck. Contract: how long an exploration will take: said instead of it, or shown
// with its progress once it has taken a second on a terminal.
#pragma once

#include <chrono>
#include <optional>
#include <string>

#include "checker/explore/forecast.h"
#include "tools/mmucheck/progress.h"
#include "tools/mmucheck/session.h"

namespace mmucheck::cli {

// How far a search has come whose tick is asked.
class LevelsSeen {
 public:
  void see(const explore::SearchProgress& p) {
    if (p.states < before_) so_far_ = {};  // another search has begun
    if (p.depth > so_far_.depth) so_far_ = {p.depth, before_};
    before_ = p.states;
  }
  const explore::SearchedSoFar& so_far() const { return so_far_; }

 private:
  explore::SearchedSoFar so_far_;
  uint64_t before_ = 1;  // states, at the last tick
};

// Shows where the search is, and where it goes from its first second on; stops it when the user or
// `seconds` (0: nobody) say so. `scenario` and `design` must outlive it.
explore::SearchTick progress_tick(const Session& session, const explore::Scenario& scenario,
                                  const model::Design* design, const explore::Bounds& bounds,
                                  double seconds);

// Prints a forecast; the exit code. The states that it says are the same in every run.
int run_forecast(const Session& session, const explore::Scenario& scenario,
                 const model::Design* design, const std::string& design_name,
                 const explore::Bounds& bounds);

}  // namespace mmucheck::cli
