// The engine against the oracle on random programs, and what it does at its bounds.
#include "checker/explore/search.h"

#include <gtest/gtest.h>

#include "checker/explore/random_machines_test.h"
#include "checker/explore/toy_search_test.h"

namespace mmucheck::explore {
namespace {

using System = Interleaving<RandomMachines, 1>;
using Found = SearchResult<Words<1>>;

Found search(const RandomMachines& machines, const SearchBounds& bounds) {
  const System system(machines);
  return Search<System>(system, bounds).run();
}

std::map<unsigned, uint64_t> lengths(const Found& x) {
  std::map<unsigned, uint64_t> all;
  for (const Found::Violation& v : x.violations) all[v.property] = v.steps();
  return all;
}

constexpr uint32_t kPrograms = 600;

// Numbers of all searches together: they change with the generator only. Second source: the toy.
struct Sums {
  uint64_t states = 0, transitions = 0, end_states = 0, violated = 0, deadlocks = 0;
};

TEST(Toy, AgreesOnEveryStateOfRandomPrograms) {
  Sums sums;
  for (uint32_t seed = 1; seed <= kPrograms; seed++) {
    SCOPED_TRACE(seed);
    const RandomMachines machines(seed);
    const ToyResult toy = toy_search(machines, true);
    const Found x = search(machines, {.all = true});
    ASSERT_EQ(x.states, toy.states);
    ASSERT_EQ(x.transitions, toy.transitions);
    ASSERT_EQ(x.end_states, toy.end_states.size());
    ASSERT_EQ(x.depth, toy.depth);
    ASSERT_EQ(lengths(x), toy.violated);
    sums.states += x.states;
    sums.transitions += x.transitions;
    sums.end_states += x.end_states;
    sums.violated += !x.violations.empty();
    sums.deadlocks += lengths(x).contains(kDeadlock);
  }
  RecordProperty("states", std::to_string(sums.states));
  RecordProperty("transitions", std::to_string(sums.transitions));
  // Programs of all kinds.
  EXPECT_GT(sums.violated, kPrograms / 4);
  EXPECT_LT(sums.violated, kPrograms * 3 / 4);
  EXPECT_GT(sums.deadlocks, kPrograms / 50);
}

TEST(Toy, AgreesOnWhereASearchEnds) {
  for (uint32_t seed = 1; seed <= kPrograms; seed++) {
    SCOPED_TRACE(seed);
    const RandomMachines machines(seed);
    const ToyResult toy = toy_search(machines, false);
    const Found x = search(machines, {});
    ASSERT_EQ(x.states, toy.states);
    ASSERT_EQ(x.transitions, toy.transitions);
    ASSERT_EQ(x.violations.empty(), toy.violated.empty());
    if (toy.violated.empty()) continue;
    uint64_t shortest = kNothing;
    for (const auto& [property, length] : toy.violated) shortest = std::min(shortest, length);
    ASSERT_EQ(x.violations.size(), 1u);
    ASSERT_EQ(x.violations[0].steps(), shortest);
    ASSERT_EQ(toy.violated.at(x.violations[0].property), shortest);
  }
}

// Each state of a path is a successor of the one before.
TEST(Search, PathsAreMadeOfSteps) {
  uint64_t steps = 0;
  for (uint32_t seed = 1; seed <= 200; seed++) {
    SCOPED_TRACE(seed);
    const RandomMachines machines(seed);
    const System system(machines);
    for (const Found::Violation& v : search(machines, {.all = true}).violations) {
      ASSERT_EQ(v.path[0], system.initial());
      for (size_t i = 1; i < v.path.size(); i++, steps++) {
        struct {
          Words<1> wanted;
          bool found = false;
          void made(const Words<1>& s) { found = found || s == wanted; }
        } look{v.path[i]};
        system.worker().expand(v.path[i - 1], look);
        ASSERT_TRUE(look.found);
      }
      if (v.property != kDeadlock) {
        EXPECT_EQ(system.broken(v.path.back()), v.property);
      }
    }
  }
  EXPECT_GT(steps, 200u);
}

// A counter of many threads: (steps + 1) ^ threads states, each with as many successors as threads
// that are not over.
struct Grid {
  unsigned count = 4, size = 31;
  unsigned threads() const { return count; }
  std::vector<unsigned> cells() const { return std::vector<unsigned>(count, 5); }
  template <class Store>
  Stepped step(Store& s, unsigned thread, unsigned) const {
    if (s.get(thread) == size) return Stepped::kBlocked;
    s.set(thread, s.get(thread) + 1);
    return Stepped::kRan;
  }
  template <class Store>
  unsigned broken(const Store& s) const {
    bool all = true;
    for (unsigned t = 0; t < count; t++) all &= s.get(t) == wrong;
    return all ? 1 : kNothing;
  }
  template <class Store>
  bool over(const Store&) const {
    return true;
  }
  unsigned wrong = 32;
};
// Levels of the larger grids are many blocks.
struct GridSystem : Interleaving<Grid, 1> {
  static constexpr uint32_t kBlock = 64, kAlone = 4;
  using Interleaving<Grid, 1>::Interleaving;
};

SearchResult<Words<1>> search(const Grid& grid, const SearchBounds& bounds, const SearchTick& tick = {}) {
  const GridSystem system(grid);
  return Search<GridSystem>(system, bounds).run(tick);
}

bool same(const SearchResult<Words<1>>& a, const SearchResult<Words<1>>& b) {
  if (a.violations.size() != b.violations.size()) return false;
  for (size_t i = 0; i < a.violations.size(); i++) {
    if (a.violations[i].property != b.violations[i].property) return false;
    if (a.violations[i].path != b.violations[i].path) return false;
  }
  return a.states == b.states && a.transitions == b.transitions && a.depth == b.depth &&
         a.end_states == b.end_states && a.bound == b.bound && a.memory == b.memory;
}

TEST(Search, NumbersOfAGrid) {
  const SearchResult<Words<1>> x = search(Grid{.size = 9}, {});
  EXPECT_EQ(x.states, 10'000u);       // 10 ^ 4
  EXPECT_EQ(x.transitions, 36'000u);  // 4 * 9 * 10 ^ 3
  EXPECT_EQ(x.depth, 36u);
  EXPECT_EQ(x.end_states, 1u);
  EXPECT_EQ(x.bound, "");
}

TEST(Search, AnyNumberOfWorkersGivesTheSame) {
  for (const SearchBounds& bounds : {SearchBounds{}, SearchBounds{.max_states = 3'001},
                                     SearchBounds{.max_depth = 15}, SearchBounds{.all = true}}) {
    for (const unsigned wrong : {32u, 4u}) {
      SearchBounds b = bounds;
      const SearchResult<Words<1>> one = search(Grid{.size = 9, .wrong = wrong}, b);
      for (const unsigned workers : {2u, 4u}) {
        b.workers = workers;
        EXPECT_TRUE(same(search(Grid{.size = 9, .wrong = wrong}, b), one));
      }
    }
  }
}

TEST(Search, StopsAtItsBounds) {
  const SearchResult<Words<1>> states = search(Grid{}, {.max_states = 7'001});
  EXPECT_EQ(states.bound, "max-states");
  EXPECT_EQ(states.states, 7'001u);
  const SearchResult<Words<1>> depth = search(Grid{}, {.max_depth = 3});
  EXPECT_EQ(depth.bound, "max-depth");
  EXPECT_EQ(depth.states, 35u);  // sums of at most 3 in 4 places
  EXPECT_EQ(depth.depth, 3u);
  EXPECT_EQ(search(Grid{.size = 1}, {.max_depth = 4}).bound, "");  // there is nothing behind
  EXPECT_EQ(search(Grid{}, {.max_memory = 1}).bound, "memory");
  EXPECT_EQ(search(Grid{}, {.max_memory = 1}).states, 1u);
}

TEST(Search, MemoryIsKeptWithin) {
  const uint64_t room = uint64_t{10} << 20;
  const uint64_t bound = resident_bytes() + Search<GridSystem>::kBuffers + room;
  uint64_t calls = 0, most = 0;
  const SearchResult<Words<1>> x =
      search(Grid{.count = 6, .size = 15}, {.max_memory = bound}, [&](const SearchProgress&) {
        if (++calls % 256 == 0) most = std::max(most, resident_bytes());
        return "";
      });
  EXPECT_EQ(x.bound, "memory");
  EXPECT_LE(x.memory, room);
  EXPECT_LE(most, bound + bound / 10);
  EXPECT_GT(x.states, 300'000u);
}

TEST(Search, StopsWhenItIsTold) {
  int calls = 0;
  const SearchResult<Words<1>> x = search(Grid{}, {}, [&](const SearchProgress& p) {
    EXPECT_GE(p.states, 1u);
    return ++calls == 7 ? "interrupted" : "";
  });
  EXPECT_EQ(x.bound, "interrupted");
  EXPECT_EQ(calls, 7);
  EXPECT_EQ(x.depth, 6u);
}

// Three words: larger than a hash. Of half a million states many are expanded while others are not.
struct WideGrid : Interleaving<Grid, 3> {
  using Interleaving<Grid, 3>::Interleaving;
};
// Five states to a hash.
struct Colliding : WideGrid {
  using WideGrid::WideGrid;
  static uint64_t hash(const Words<3>& s) { return hash_words(s) % 100'003 * 0x9e3779b97f4a7c15; }
};

template <class System>
SearchResult<Words<3>> search_wide(unsigned wrong, bool hash_compact, unsigned workers = 1) {
  const Grid grid{.count = 5, .size = 13, .wrong = wrong};
  const System system(grid);
  return Search<System>(system, {.workers = workers, .hash_compact = hash_compact}).run();
}

TEST(HashCompact, FindsTheSameInLessMemory) {
  for (const unsigned wrong : {32u, 12u}) {
    const auto whole = search_wide<WideGrid>(wrong, false), less = search_wide<WideGrid>(wrong, true);
    EXPECT_EQ(less.states, whole.states);
    EXPECT_EQ(less.transitions, whole.transitions);
    EXPECT_EQ(less.depth, whole.depth);
    EXPECT_LT(less.memory, whole.memory);
    ASSERT_EQ(less.violations.size(), whole.violations.size());
    if (wrong == 32) continue;
    EXPECT_EQ(less.violations[0].steps(), 5u * 12);
    EXPECT_TRUE(less.violations[0].path.empty());
    EXPECT_EQ(search_wide<WideGrid>(wrong, true, 4).memory, less.memory);
  }
}

TEST(HashCompact, LeavesOutStatesOfEqualHashes) {
  EXPECT_EQ(search_wide<Colliding>(32, false).states, 537'824u);
  EXPECT_LT(search_wide<Colliding>(32, true).states, 537'824u);
  EXPECT_EQ(expected_omissions(uint64_t{1} << 33), 2.0);
}

TEST(CellLayout, NoCellCrossesAWord) {
  const CellLayout layout({30, 5, 30, 5, 1});
  EXPECT_EQ(layout.words(), 2u);
  for (unsigned c = 0; c < layout.cells(); c++) {
    const CellLayout::Field f = layout.fields()[c];
    EXPECT_LE(f.shift + std::bit_width(f.mask), 64u);
  }
  EXPECT_EQ(CellLayout({30, 30, 4}).bytes(), 8u);
  EXPECT_EQ(CellLayout({30, 30, 5}).bytes(), 9u);
}

TEST(Crew, ThrowsWhatAWorkerThrew) {
  Crew crew(3);
  std::array<int, 3> ran{};
  crew.run([&](unsigned w) { ran[w]++; });
  EXPECT_EQ(ran, (std::array<int, 3>{1, 1, 1}));
  EXPECT_THROW(crew.run([](unsigned w) {
    if (w == 2) throw std::runtime_error("2");
  }),
               std::runtime_error);
  crew.run([&](unsigned w) { ran[w]++; });
  EXPECT_EQ(ran, (std::array<int, 3>{2, 2, 2}));
}

}  // namespace
}  // namespace mmucheck::explore
