// The path that is chosen takes turns as seldom as any, and of those as little: every path of random
// layers is counted.
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
  std::map<std::pair<State, std::optional<unsigned>>, uint32_t> taken;

  uint32_t takes(const State& s, std::optional<unsigned> thread) {
    const auto at = taken.find({s, thread});
    return at == taken.end() ? 0 : at->second;
  }

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
        if (d + 1 == depth) g.taken[{s, m.thread}] = below(4);
      }
    }
  }
  return g;
}

using Price = std::pair<unsigned, uint32_t>;  // turns, what is taken
constexpr Price kNoPath{1000, 0};

// The least from `s` on, when `last` has moved.
Price least(Graph& g, const State& s, size_t d, std::optional<unsigned> last) {
  Price best = kNoPath;
  for (const TestMove& m : g.moves[s]) {
    const unsigned turn = last && *last != m.thread;
    if (d + 1 == g.layers.size()) {
      if (m.breaks == kBroken) best = std::min(best, Price{turn, g.takes(s, m.thread)});
    } else if (m.to[0] < 100) {
      const auto [turns, taken] = least(g, m.to, d + 1, m.thread);
      best = std::min(best, Price{turns + turn, taken});
    }
  }
  return best;
}

// Of a path: the least that its states allow.
Price price_of(Graph& g, const ChosenPath<State>& chosen) {
  std::map<unsigned, unsigned> by_thread;
  uint32_t taken = 0;
  for (size_t d = 0; d < chosen.path.size(); d++) {
    std::map<unsigned, unsigned> next;
    uint64_t number = 0;
    for (const TestMove& m : g.moves[chosen.path[d]]) {
      const bool last = d + 1 == chosen.path.size();
      const bool made = last ? number == chosen.last_step : m.to == chosen.path[d + 1];
      number++;
      if (!made) continue;
      if (last) taken = g.takes(chosen.path[d], m.thread);
      unsigned best = by_thread.empty() ? 0 : 1000;
      for (const auto& [mover, turns] : by_thread) {
        best = std::min(best, turns + (mover != m.thread));
      }
      const auto [at, fresh] = next.emplace(m.thread, best);
      if (!fresh) at->second = std::min(at->second, best);
    }
    by_thread = next;
  }
  unsigned best = 1000;
  for (const auto& [last, turns] : by_thread) best = std::min(best, turns);
  return {best, taken};
}

TEST(FewestSwitches, NoPathTakesFewerTurnsNorLess) {
  std::mt19937 random(20);
  unsigned several = 0, taken = 0;
  for (int i = 0; i < 2000; i++) {
    Graph g = random_graph(random);
    const ChosenPath<State> chosen = fewest_switches(g, g.layers, kBroken);
    ASSERT_EQ(chosen.path.size(), g.layers.size());
    ASSERT_TRUE(chosen.last_step);
    ASSERT_EQ(g.moves[chosen.path.back()][*chosen.last_step].breaks, kBroken);
    const Price best = least(g, g.layers[0][0], 0, {});
    ASSERT_EQ(price_of(g, chosen), best);
    several += best.first > 1;
    // What is taken decides.
    g.taken.clear();
    taken += price_of(g, fewest_switches(g, g.layers, kBroken)).first == best.first &&
             fewest_switches(g, g.layers, kBroken).path != chosen.path;
  }
  EXPECT_GT(several, 100u);
  EXPECT_GT(taken, 100u);
}

TEST(FewestSwitches, ADeadlockHasNoLastStep) {
  Graph g;
  g.layers = {{{0}}, {{1}, {2}}};
  g.moves[{0}] = {{0, kNothing, {1}}, {1, kNothing, {2}}};
  const ChosenPath<State> chosen = fewest_switches(g, g.layers, kDeadlock);
  EXPECT_EQ(chosen.path.size(), 2u);
  EXPECT_FALSE(chosen.last_step);
  // Of two alike the one that takes less.
  g.taken = {{{State{1}, std::nullopt}, 9}, {{State{2}, std::nullopt}, 8}};
  EXPECT_EQ(fewest_switches(g, g.layers, kDeadlock).path.back(), State{2});
}

}  // namespace
}  // namespace mmucheck::explore
