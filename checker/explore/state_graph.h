// Layer: checker/explore. Contract: the states of a scenario with their moves, all of them in
// memory, for questions that are about more than one state: cycles, the end states that are
// reached. Serial, without reductions, at most kMaxGraphStates. A move that breaks a rule leads
// nowhere, as in explorer.h.
#pragma once

#include <string>
#include <vector>

#include "checker/explore/explorer.h"
#include "checker/explore/scenario_system.h"

namespace mmucheck::explore {

inline constexpr uint64_t kMaxGraphStates = 1'000'000;

struct StateGraph {
  static constexpr uint32_t kNone = ~uint32_t{0};
  struct Edge {
    uint32_t from, to;
    Move move;
  };
  std::vector<ScenarioSystem::State> states;  // in the order of their distance from the first one
  std::vector<Edge> edges;                    // in the order of their `from`
  std::vector<uint32_t> first_edge;           // of each state, and one behind the last
  std::vector<uint32_t> parent_edge;          // on a shortest path; kNone of the first state
  std::vector<uint8_t> can_move;              // by state: a bit for each thread, in their order
  std::vector<Fate> fates;
  std::vector<uint32_t> threads;  // by bit
  std::string bound;              // that was hit, or what the tick said; empty: all is there
  bool broken = false;            // some move breaks a rule

  unsigned bit_of(uint32_t thread) const;
  std::vector<Move> path_to(uint32_t state) const;
};

// The prefix breaks nothing and is in no doubt.
StateGraph graph_of(const ScenarioSystem& system, const Scenario& scenario, const Bounds& bounds,
                    const SearchTick& tick = {});

// As explore() makes one of these bounds.
ScenarioSystem::Options options_of(const Bounds& bounds);

}  // namespace mmucheck::explore
