// Layer: checker/explore. Contract: of all shortest paths to a violation, one on which the threads take
// turns the least often; of several one that takes the least, as its end says (fewest threads, then
// fewest pages); of several the one that goes on with the lowest thread, from its end.
//
// The paths are given by layers: layer d has the states that d moves lead to and from which the last
// layer can be reached; the first one has one state. In the last layer a move breaks `property`, or,
// where that is kDeadlock, none can be made. `worker` says each_move(state, visit), with
// visit(thread, property or kNothing, successor) for each move that can be made, in a fixed order, and
// takes(state, thread) what a path takes that ends with a move of that thread in that state, or, where
// there is none, in the state: at most kMostTaken.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <vector>

#include "checker/explore/search.h"

namespace mmucheck::explore {

template <class State>
struct ChosenPath {
  std::vector<State> path;            // a state of each layer
  std::optional<uint64_t> last_step;  // which move of the last state breaks the property
};

inline constexpr uint32_t kMostTaken = 4095;

namespace detail {

// Changes of thread behind a move, and what the path takes: few changes come first.
struct TurnsLeft {
  static constexpr uint32_t kNoWay = ~uint32_t{0}, kTurn = kMostTaken + 1;

  uint32_t turns = kNoWay;  // kTurn each, and what is taken
  uint32_t to = 0;  // where the move leads in the next layer, or which one it is
};
inline constexpr unsigned kMostThreads = 64;
// From a state to the end, where the thread makes the next move.
using ByThread = std::array<TurnsLeft, kMostThreads>;

inline uint32_t with_a_turn(uint32_t turns) {
  return turns == TurnsLeft::kNoWay ? turns : turns + TurnsLeft::kTurn;
}
// Of the ways on when `thread` has moved last.
inline uint32_t turns_behind(const ByThread& ways, unsigned thread) {
  uint32_t best = ways[thread].turns;
  for (const TurnsLeft& w : ways) best = std::min(best, with_a_turn(w.turns));
  return best;
}
inline unsigned next_thread(const ByThread& ways, std::optional<unsigned> last) {
  const auto turns = [&](unsigned t) {
    return last && t != *last ? with_a_turn(ways[t].turns) : ways[t].turns;
  };
  unsigned best = last.value_or(0);
  for (unsigned t = 0; t < ways.size(); t++) {
    if (turns(t) < turns(best)) best = t;
  }
  return best;
}

}  // namespace detail

template <class Worker, class State>
ChosenPath<State> fewest_switches(Worker& worker, const std::vector<std::vector<State>>& layers,
                                  unsigned property) {
  using detail::ByThread, detail::TurnsLeft;
  std::vector<std::vector<ByThread>> ways(layers.size());
  std::map<State, uint32_t> next;
  for (size_t d = layers.size(); d-- > 0;) {
    const bool last = d + 1 == layers.size();
    for (const State& s : layers[d]) {
      ByThread& of = ways[d].emplace_back();
      if (last && property == kDeadlock) of.fill({worker.takes(s, {}), 0});
      uint32_t number = 0;
      worker.each_move(s, [&](unsigned thread, unsigned breaks, const State& to) {
        const uint32_t move = number++;
        TurnsLeft way{0, move};
        if (last) {
          if (breaks != property) return;
          way.turns = worker.takes(s, thread);
        } else {
          const auto at = breaks == kNothing ? next.find(to) : next.end();
          if (at == next.end()) return;
          way = {detail::turns_behind(ways[d + 1][at->second], thread), at->second};
        }
        if (way.turns < of[thread].turns) of[thread] = way;
      });
    }
    next.clear();
    for (uint32_t i = 0; i < layers[d].size(); i++) next[layers[d][i]] = i;
  }
  ChosenPath<State> chosen;
  std::optional<unsigned> thread;
  uint32_t at = 0;
  for (size_t d = 0; d < layers.size(); d++) {
    chosen.path.push_back(layers[d][at]);
    thread = detail::next_thread(ways[d][at], thread);
    at = ways[d][at][*thread].to;
  }
  if (property != kDeadlock) chosen.last_step = at;
  return chosen;
}

}  // namespace mmucheck::explore
