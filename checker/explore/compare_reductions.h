// Layer: checker/explore. Contract: the whole search of a scenario beside one with each reduction and
// each combination of them. All go on behind violations. What must be the same:
// - which rules are broken, by which last steps, and whether threads deadlock;
// - the states in which every thread is over, one by one, with those that they stand for; where tables
//   are numbered by thread, which gives them other names, the same as under that alone;
// - what the VM has come to in them (end_states.h).
#pragma once

#include <string>
#include <vector>

#include "checker/explore/explorer.h"
#include "checker/explore/thread_futures.h"

namespace mmucheck::explore {

// None, then each and their combinations.
const std::vector<Reduction>& all_reductions();

struct ReducedSearch {
  Reduction reduction;
  uint64_t states = 0, transitions = 0;
  bool alike = false;  // it has taken some threads to be alike
  std::string bound;   // as in Exploration; nothing was compared then
  std::vector<std::string> lost;  // what is not the same: in words
};

struct ReductionsCompared {
  std::vector<ReducedSearch> searches;  // as all_reductions(); one alone where that hits a bound
  std::vector<std::string> doubts;      // as in Exploration; nothing was searched then
  // Of the whole search.
  uint64_t end_states = 0, came_to = 0, broken = 0;  // pairs of a rule and a step in the end

  bool lost() const;
  bool whole() const;  // no search hit a bound
};

// Of `bounds`: max_states, max_memory, workers, busy, only. `faults` is what the tests break.
ReductionsCompared compare_reductions(const Scenario& scenario, const model::Design* design,
                                      const Bounds& bounds, const SearchTick& tick = {},
                                      const PartialOrderFaults& faults = {});

}  // namespace mmucheck::explore
