// Layer: checker/explore. Contract: how many states a search will come to, from random walks: a
// guess with its spread, made of a million steps. Same input, same seed: same guess.
//
// A walk counts each state that it visits by how many such states there are for each one that is
// visited: the product, over its steps, of 1 / (how likely the step was to be taken forwards) and
// of how likely it is to be taken backwards, where a state is left backwards by the last step of
// any thread that no later step of another one conflicts with. Summed over all ways to a state the
// backward parts are 1, so the mean over walks is the number of states (importance sampling; Knuth,
// "Estimating the efficiency of backtrack programs", 1975, for trees). Threads that have made more
// steps are chosen the more often, forwards and backwards, as in Polya's urn: for threads that do
// not matter to each other every way to divide the steps up between them is then as likely as any
// other.
//
// A search that has begun says how many states there are at the first levels, and so how far off
// the walks were there.
//
// A walk ends where its thread holds again what it held before: what a loop leads to is reached
// without it, too, mostly. Too high where threads that conflict come to the same state in either
// order, too low where many states lie behind what walks seldom take; so the median of several
// batches is told, which one large weight does not move (forecast_test has how far off it was).
//
// Under symmetry a state counts by how many it is kept for, itself among them: one divided by that,
// so that all of them together are one. Of partial order reduction nothing is known: which threads it
// runs alone depends on all that the others can still do, which walks do not see. Its search comes to
// some of the states that are forecast. Bounds of states, depth and preemptions are not looked at.
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "checker/explore/explorer.h"

namespace mmucheck::explore {

struct ForecastEffort {
  uint64_t walks = 20'000;
  uint64_t steps = 1'000'000;  // of all walks: no further one begins
  uint64_t seed = 1;
};

// A search that has come so far.
struct SearchedSoFar {
  uint64_t depth = 0, states = 1;  // all of those that at most so many moves lead to
};

class Forecast {
 public:
  struct Estimate {
    double states = 0;         // the median of the batches
    double low = 0, high = 0;  // the lowest and the highest, without one outlier each
  };
  // What the walks say of the levels that the search has not come to, to the scale of what it and
  // they say of those that it has.
  Estimate states(const SearchedSoFar& so_far = {}) const;

  uint64_t depth = 0;  // of the longest walk
  uint64_t walks = 0, steps = 0;
  bool violated = false;  // some walk broke a rule: the search ends before
  // Of each batch, by depth: what its walks add up to.
  static constexpr size_t kBatches = 16;
  std::array<std::vector<double>, kBatches> levels;
};

// The prefix breaks nothing and is in no doubt. `symmetric`: threads that a search has taken to be
// alike; where they turn out not to be walks begin again with fewer. `stop()`, now and then; true: what there is by
// then.
Forecast forecast(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                  const ForecastEffort& effort = {}, const std::function<bool()>& stop = {},
                  const ThreadGroups& symmetric = {});

}  // namespace mmucheck::explore
