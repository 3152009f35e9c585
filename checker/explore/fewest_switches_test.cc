// The path that is chosen takes turns as seldom as any: every path of random layers is counted.
#include "checker/explore/fewest_switches.h"

#include <gtest/gtest.h>

#include <random>

namespace mmucheck::explore {
namespace {

using State = Words<1>;
constexpr unsigned kBroken = 7;

struct TestMove {
  unsigned thread = 0, breaks = kNothing;
  State to{};
};
struct Graph {
  std::map<State, std::vector<TestMove>> moves;
  std::vector<std::vector<State>> layers;

  template <class Visit>
  void each_move(const State& s, const Visit& visit) {
    for (const TestMove& m : moves[s]) visit(m.thread, m.breaks, m.to);
  }
};

Graph random_graph(std::mt19937& random) {
  Graph g;
  const auto below = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
  const unsigned depth = 2 + below(5);
  uint64_t number = 0;
  for (unsigned d = 0; d < depth; d++) {
    g.layers.emplace_back();
    for (unsigned i = 0, n = d == 0 ? 1 : 1 + below(3); i < n; i++) {
      g.layers.back().push_back({number++});
    }
  }
  for (unsigned d = 0; d < depth; d++) {
    for (const State& s : g.layers[d]) {
      for (unsigned i = 0, n = 1 + below(4); i < n; i++) {
        TestMove m{below(3), kNothing, {}};
        if (d + 1 == depth) {
          m.breaks = i == 0 || below(2) == 0 ? kBroken : kBroken + 1;
        } else {
          const auto& next = g.layers[d + 1];
          // Some moves leave the paths.
          m.to = i != 0 && below(4) == 0 ? State{number + 100} : next[below(unsigned(next.size()))];
        }
        g.moves[s].push_back(m);
      }
    }
  }
  return g;
}

// The fewest turns from `s` on, when `last` has moved.
unsigned fewest(Graph& g, const State& s, size_t d, std::optional<unsigned> last) {
  unsigned best = 1000;
  for (const TestMove& m : g.moves[s]) {
    const unsigned turn = last && *last != m.thread;
    if (d + 1 == g.layers.size()) {
      if (m.breaks == kBroken) best = std::min(best, turn);
    } else if (m.to[0] < 100) {
      best = std::min(best, turn + fewest(g, m.to, d + 1, m.thread));
    }
  }
  return best;
}

// Of a path: the fewest that its states allow.
unsigned turns_along(Graph& g, const ChosenPath<State>& chosen) {
  std::map<unsigned, unsigned> by_thread;
  for (size_t d = 0; d < chosen.path.size(); d++) {
    std::map<unsigned, unsigned> next;
    uint64_t number = 0;
    for (const TestMove& m : g.moves[chosen.path[d]]) {
      const bool taken = d + 1 == chosen.path.size() ? number == chosen.last_step
                                                     : m.to == chosen.path[d + 1];
      number++;
      if (!taken) continue;
      unsigned best = by_thread.empty() ? 0 : 1000;
      for (const auto& [last, turns] : by_thread) best = std::min(best, turns + (last != m.thread));
      const auto [at, fresh] = next.emplace(m.thread, best);
      if (!fresh) at->second = std::min(at->second, best);
    }
    by_thread = next;
  }
  unsigned best = 1000;
  for (const auto& [last, turns] : by_thread) best = std::min(best, turns);
  return best;
}

TEST(FewestSwitches, NoPathTakesFewerTurns) {
  std::mt19937 random(20);
  unsigned several = 0;
  for (int i = 0; i < 2000; i++) {
    Graph g = random_graph(random);
    const ChosenPath<State> chosen = fewest_switches(g, g.layers, kBroken);
    ASSERT_EQ(chosen.path.size(), g.layers.size());
    ASSERT_TRUE(chosen.last_step);
    ASSERT_EQ(g.moves[chosen.path.back()][*chosen.last_step].breaks, kBroken);
    const unsigned best = fewest(g, g.layers[0][0], 0, {});
    ASSERT_EQ(turns_along(g, chosen), best);
    several += best > 1;
  }
  EXPECT_GT(several, 100u);
}

TEST(FewestSwitches, ADeadlockHasNoLastStep) {
  Graph g;
  g.layers = {{{0}}, {{1}, {2}}};
  g.moves[{0}] = {{0, kNothing, {1}}, {1, kNothing, {2}}};
  const ChosenPath<State> chosen = fewest_switches(g, g.layers, kDeadlock);
  EXPECT_EQ(chosen.path.size(), 2u);
  EXPECT_FALSE(chosen.last_step);
}

}  // namespace
}  // namespace mmucheck::explore
