// Layer: checker/explore. Contract: the search of a scenario with its reductions. Under symmetry it
// begins again until no two threads that it takes to be alike turn out not to be: which these are,
// and all that it finds, is the same for any number of workers.
#pragma once

#include <memory>

#include "checker/explore/scenario_system.h"

namespace mmucheck::explore {

struct Searched {
  std::unique_ptr<ScenarioSystem> system;
  SearchResult<ScenarioSystem::State> result;
  ThreadGroups symmetric;

  // What it would have found without symmetry, where it has visited all states.
  StateCounts stands_for() const {
    if (!symmetric.empty()) return system->stands_for();
    return {result.states, result.transitions, result.end_states};
  }
};

// What is called with each search before it goes, see reduced_search().
using BehindScenario = std::function<void(const ScenarioSystem&, const Search<ScenarioSystem>&,
                                          const SearchResult<ScenarioSystem::State>&)>;

Searched symmetric_search(const Scenario& scenario, const model::Design* design,
                          ScenarioSystem::Options options, const SearchBounds& bounds,
                          bool symmetry, const SearchTick& tick = {},
                          const BehindScenario& behind = {});

}  // namespace mmucheck::explore
