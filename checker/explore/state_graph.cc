#include "checker/explore/state_graph.h"

#include <algorithm>
#include <unordered_map>

namespace mmucheck::explore {

unsigned StateGraph::bit_of(uint32_t thread) const {
  return static_cast<unsigned>(std::lower_bound(threads.begin(), threads.end(), thread) -
                               threads.begin());
}

std::vector<Move> StateGraph::path_to(uint32_t state) const {
  std::vector<Move> path;
  for (uint32_t e = parent_edge[state]; e != kNone; e = parent_edge[edges[e].from]) {
    path.push_back(edges[e].move);
  }
  std::reverse(path.begin(), path.end());
  return path;
}

ScenarioSystem::Options options_of(const Bounds& bounds) {
  return {.busy = bounds.busy,
          .preemptions = bounds.preemptions,
          .max_memory = bounds.max_memory,
          .only = bounds.only,
          .all = bounds.all,
          .partial_order = bounds.partial_order,
          .like_pages = bounds.like_pages,
          .coverage = true,
          .self_check = bounds.self_check};
}

StateGraph graph_of(const ScenarioSystem& system, const Scenario& scenario, const Bounds& bounds,
                    const SearchTick& tick) {
  constexpr uint64_t kTick = 1024;  // states between two of them
  StateGraph g;
  for (const auto& [tid, operations] : scenario.threads) g.threads.push_back(tid);
  const uint64_t limit = std::min(bounds.max_states, kMaxGraphStates);
  std::unordered_multimap<uint64_t, uint32_t> known;  // by hash
  auto worker = system.worker();
  const auto number_of = [&](const ScenarioSystem::State& s) {
    const auto [first, last] = known.equal_range(s.hash);
    const auto same = [&](const auto& entry) { return g.states[entry.second] == s; };
    if (const auto at = std::find_if(first, last, same); at != last)
      return std::pair(at->second, false);
    const auto number = static_cast<uint32_t>(g.states.size());
    known.emplace(s.hash, number);
    g.states.push_back(s);
    g.parent_edge.push_back(StateGraph::kNone);
    g.can_move.push_back(0);
    return std::pair(number, true);
  };
  number_of(system.initial());
  for (uint32_t at = 0; at < g.states.size() && g.bound.empty(); at++) {
    g.first_edge.push_back(static_cast<uint32_t>(g.edges.size()));
    const ScenarioSystem::State state = g.states[at];
    g.fates.push_back(worker.each(state, [&](const Move& m, unsigned property, const auto& next) {
      g.can_move[at] |= static_cast<uint8_t>(1u << g.bit_of(m.thread));
      if (property != kNothing) {
        g.broken = true;
        return;
      }
      const auto [to, fresh] = number_of(next);
      if (fresh) g.parent_edge[to] = static_cast<uint32_t>(g.edges.size());
      g.edges.push_back({at, to, m});
    }));
    if (g.states.size() > limit) g.bound = "max-states";
    if (tick && at % kTick == 0 && g.bound.empty()) {
      g.bound = tick({.states = g.states.size(), .transitions = g.edges.size()});
    }
  }
  g.first_edge.resize(g.states.size() + 1, static_cast<uint32_t>(g.edges.size()));
  g.fates.resize(g.states.size(), Fate::kMoved);
  return g;
}

}  // namespace mmucheck::explore
