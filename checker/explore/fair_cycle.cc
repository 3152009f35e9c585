#include "checker/explore/fair_cycle.h"

#include <algorithm>
#include <deque>

#include "checker/replay/findings.h"

namespace mmucheck::explore {
namespace {

constexpr uint32_t kNone = StateGraph::kNone;

// Tarjan's algorithm without recursion: the number of each state's strongly connected part.
std::vector<uint32_t> parts_of(const StateGraph& g) {
  const auto n = static_cast<uint32_t>(g.states.size());
  std::vector<uint32_t> part(n, kNone), order(n, kNone), low(n), next(n);
  std::vector<uint32_t> open, way;  // not yet in a part; the depth-first path
  uint32_t count = 0, parts = 0;
  for (uint32_t root = 0; root < n; root++) {
    if (order[root] != kNone) continue;
    way.push_back(root);
    while (!way.empty()) {
      const uint32_t v = way.back();
      if (order[v] == kNone) {
        order[v] = low[v] = count++;
        next[v] = g.first_edge[v];
        open.push_back(v);
      }
      if (next[v] < g.first_edge[v + 1]) {
        const uint32_t to = g.edges[next[v]++].to;
        if (order[to] == kNone) {
          way.push_back(to);
        } else if (part[to] == kNone) {
          low[v] = std::min(low[v], order[to]);
        }
        continue;
      }
      way.pop_back();
      if (!way.empty()) low[way.back()] = std::min(low[way.back()], low[v]);
      if (low[v] != order[v]) continue;
      for (uint32_t of = kNone; of != v;) {
        of = open.back();
        open.pop_back();
        part[of] = parts;
      }
      parts++;
    }
  }
  return part;
}

// The first state of a part in which a fair execution can stay; kNone: there is none.
uint32_t fair_entry(const StateGraph& g, const std::vector<uint32_t>& part) {
  const auto n = static_cast<uint32_t>(g.states.size());
  std::vector<uint8_t> moves(n, 0), waits(n, 0);  // by part
  const auto all = static_cast<uint8_t>((1u << g.threads.size()) - 1);
  for (uint32_t s = 0; s < n; s++) waits[part[s]] |= static_cast<uint8_t>(all & ~g.can_move[s]);
  for (const StateGraph::Edge& e : g.edges) {
    if (part[e.from] == part[e.to]) {
      moves[part[e.from]] |= static_cast<uint8_t>(1u << g.bit_of(e.move.thread));
    }
  }
  for (uint32_t s = 0; s < n; s++) {
    const uint32_t p = part[s];
    if (moves[p] != 0 && static_cast<uint8_t>(moves[p] | waits[p]) == all) return s;
  }
  return kNone;
}

class Round {
 public:
  Round(const StateGraph& g, const std::vector<uint32_t>& part, uint32_t entry)
      : g_(g), part_(part), entry_(entry), at_(entry) {}

  std::vector<Move> moves() {
    for (const uint32_t thread : g_.threads) {
      const auto by_thread = [&](const StateGraph::Edge& e) { return e.move.thread == thread; };
      const auto waits = [&](uint32_t s) { return !(g_.can_move[s] >> g_.bit_of(thread) & 1); };
      if (!go([&](uint32_t s) { return edge_from(s, by_thread) != kNone; })) {
        go(waits);
        continue;
      }
      take(edge_from(at_, by_thread));
    }
    go([&](uint32_t s) { return s == entry_; });
    return std::move(loop_);
  }

 private:
  template <class Like>
  uint32_t edge_from(uint32_t s, const Like& like) const {
    for (uint32_t e = g_.first_edge[s]; e < g_.first_edge[s + 1]; e++) {
      if (part_[g_.edges[e].to] == part_[entry_] && like(g_.edges[e])) return e;
    }
    return kNone;
  }
  void take(uint32_t edge) {
    loop_.push_back(g_.edges[edge].move);
    at_ = g_.edges[edge].to;
  }
  // By the shortest way within the part; false where no state is like that.
  template <class Like>
  bool go(const Like& like) {
    std::vector<uint32_t> from(g_.states.size(), kNone);
    std::deque<uint32_t> queue = {at_};
    std::vector<bool> seen(g_.states.size());
    seen[at_] = true;
    while (!queue.empty()) {
      const uint32_t s = queue.front();
      queue.pop_front();
      if (like(s)) {
        std::vector<uint32_t> way;
        for (uint32_t e = from[s]; e != kNone; e = from[g_.edges[e].from]) way.push_back(e);
        for (auto e = way.rbegin(); e != way.rend(); ++e) take(*e);
        return true;
      }
      for (uint32_t e = g_.first_edge[s]; e < g_.first_edge[s + 1]; e++) {
        const uint32_t to = g_.edges[e].to;
        if (part_[to] != part_[entry_] || seen[to]) continue;
        seen[to] = true;
        from[to] = e;
        queue.push_back(to);
      }
    }
    return false;
  }

  const StateGraph& g_;
  const std::vector<uint32_t>& part_;
  uint32_t entry_, at_;
  std::vector<Move> loop_;
};

}  // namespace

Exploration find_fair_cycle(const Scenario& scenario, const model::Design* design,
                            const Bounds& bounds, const SearchTick& tick) {
  Exploration x;
  {
    Stepper stepper(scenario, design, bounds.busy);
    x.doubts = stepper.take_doubts();
    if (!x.doubts.empty()) return x;
  }
  Bounds plain = bounds;
  plain.like_pages = false;
  plain.preemptions.reset();
  const ScenarioSystem system(scenario, design, options_of(plain));
  const StateGraph g = graph_of(system, scenario, plain, tick);
  x.states = g.states.size();
  x.transitions = g.edges.size();
  x.bound = g.bound;
  x.invariants = 1;
  x.end_states = static_cast<uint64_t>(std::count(g.fates.begin(), g.fates.end(), Fate::kEnded));
  x.depth = g.path_to(static_cast<uint32_t>(g.states.size() - 1)).size();
  const std::vector<uint32_t> part = parts_of(g);
  const uint32_t entry = fair_entry(g, part);
  if (entry == kNone) return x;
  x.path = g.path_to(entry);
  x.loop = Round(g, part, entry).moves();
  x.violation = replay::violation_of(invariant::find_id(kStuck));
  x.bound.clear();
  return x;
}

}  // namespace mmucheck::explore
