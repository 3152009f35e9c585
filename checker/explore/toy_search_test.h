// Layer: checker/explore, for tests. Contract: the oracle of the engine: the same step machines
// over one number a cell, breadth first with std::set over serialised states, no packing, no
// hashing, no threads, no reduction. What it says of states, transitions, end states and shortest
// violations is what Search must say.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "checker/explore/interleaving.h"

namespace mmucheck::explore {

class PlainCells {
 public:
  explicit PlainCells(size_t cells) : values_(cells) {}
  unsigned get(CellNumber c) const { return values_.at(c); }
  void set(CellNumber c, unsigned v) { values_.at(c) = v; }
  std::string text() const {
    std::string all;
    for (const unsigned v : values_) all += std::to_string(v) + ",";
    return all;
  }

 private:
  std::vector<unsigned> values_;
};

struct ToyResult {
  uint64_t states = 0, transitions = 0, depth = 0;
  std::set<std::string> end_states;
  std::map<unsigned, uint64_t> violated;  // property to the length of a shortest path
};

// `all`: goes on behind a violation; otherwise it ends with the level that has one.
template <class M>
ToyResult toy_search(const M& machines, bool all) {
  ToyResult r;
  std::set<std::string> seen;
  std::vector<PlainCells> level;
  const auto reach = [&](const PlainCells& s, std::vector<PlainCells>& into, uint64_t depth) {
    if (!seen.insert(s.text()).second) return;
    into.push_back(s);
    r.depth = depth;
    if (machines.broken(s) != kNothing) r.violated.try_emplace(machines.broken(s), depth);
  };
  reach(PlainCells(machines.cells().size()), level, 0);
  for (uint64_t depth = 0; !level.empty() && (all || r.violated.empty()); depth++) {
    std::vector<PlainCells> next;
    for (const PlainCells& s : level) {
      bool moved = false;
      for (unsigned thread = 0; thread < machines.threads(); thread++) {
        Stepped how = Stepped::kRanOne;
        for (unsigned choice = 0; how == Stepped::kRanOne; choice++) {
          PlainCells to = s;
          how = machines.step(to, thread, choice);
          if (how == Stepped::kBlocked) break;
          moved = true;
          r.transitions++;
          reach(to, next, depth + 1);
        }
      }
      if (moved) continue;
      if (machines.over(s)) {
        r.end_states.insert(s.text());
      } else {
        r.violated.try_emplace(kDeadlock, depth);
      }
    }
    level = std::move(next);
  }
  r.states = seen.size();
  return r;
}

}  // namespace mmucheck::explore
