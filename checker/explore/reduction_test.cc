// Reductions keep what they promise, and broken ones are noticed.
#include "checker/explore/reduction.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

#include "checker/explore/random_machines_test.h"

namespace mmucheck::explore {
namespace {

using Op = RandomMachines::Op;
using Found = SearchResult<Words<1>>;

template <class Faults = NoFaults, class M>
Found reduced(const M& machines, const Reductions& reductions) {
  Reduced<M, 1, Faults> system(machines, reductions);
  return reduced_search(system, {.all = true}, {}, kWrongReduction);
}

std::set<unsigned> violated(const Found& x) {
  std::set<unsigned> all;
  for (const Found::Violation& v : x.violations) all.insert(v.property);
  return all;
}

// What the whole graph says. End states of a reduced graph are end states of the whole one, so
// equal numbers are equal sets.
struct Whole {
  uint64_t states = 0;
  std::set<unsigned> violated;
  std::set<Words<1>> end_states, canonical_end_states;
};

Whole whole(const RandomMachines& machines) {
  const Interleaving<RandomMachines, 1> system(machines);
  const Reduced<RandomMachines, 1> symmetric(machines, {.symmetry = true});
  Whole w;
  std::set<Words<1>> seen = {system.initial()};
  std::vector<Words<1>> todo = {system.initial()};
  while (!todo.empty()) {
    const Words<1> s = todo.back();
    todo.pop_back();
    if (system.broken(s) != kNothing) w.violated.insert(system.broken(s));
    struct {
      std::set<Words<1>>& seen;
      std::vector<Words<1>>& todo;
      void made(const Words<1>& n) {
        if (seen.insert(n).second) todo.push_back(n);
      }
    } steps{seen, todo};
    const Fate fate = system.worker().expand(s, steps);
    if (fate == Fate::kStuck) w.violated.insert(kDeadlock);
    if (fate != Fate::kEnded) continue;
    w.end_states.insert(s);
    w.canonical_end_states.insert(symmetric.canonical(s));
  }
  w.states = seen.size();
  return w;
}

constexpr uint32_t kPrograms = 500;
constexpr Reductions kPartialOrder{.partial_order = true, .self_check = true};
constexpr Reductions kSymmetry{.symmetry = true, .self_check = true};
constexpr Reductions kBoth{.partial_order = true, .symmetry = true, .self_check = true};

TEST(Reduction, KeepsViolationsAndEndStatesOfRandomPrograms) {
  uint64_t all = 0, partial_order = 0, symmetry = 0, both = 0;
  for (uint32_t seed = 1; seed <= kPrograms; seed++) {
    SCOPED_TRACE(seed);
    const RandomMachines machines(seed);
    const Whole w = whole(machines);
    const Found p = reduced(machines, kPartialOrder);
    const Found s = reduced(machines, kSymmetry);
    const Found b = reduced(machines, kBoth);
    for (const Found* x : {&p, &s, &b}) {
      ASSERT_EQ(violated(*x), w.violated);
      ASSERT_LE(x->states, w.states);
    }
    ASSERT_EQ(p.end_states, w.end_states.size());
    ASSERT_EQ(s.end_states, w.canonical_end_states.size());
    ASSERT_EQ(b.end_states, w.canonical_end_states.size());
    all += w.states;
    partial_order += p.states;
    symmetry += s.states;
    both += b.states;
  }
  RecordProperty("states", std::to_string(all));
  RecordProperty("partial_order", std::to_string(partial_order));
  RecordProperty("symmetry", std::to_string(symmetry));
  RecordProperty("both", std::to_string(both));
  EXPECT_LT(partial_order * 10, all * 9);
  EXPECT_LT(symmetry * 10, all * 9);
  EXPECT_LT(both, partial_order);
  EXPECT_LT(both, symmetry);
}

TEST(Reduction, NothingSwitchedOnIsTheWholeGraph) {
  for (uint32_t seed = 1; seed <= 50; seed++) {
    const RandomMachines machines(seed);
    const Interleaving<RandomMachines, 1> plain(machines);
    const Found x = reduced(machines, {});
    const Found y = Search<Interleaving<RandomMachines, 1>>(plain, {.all = true}).run();
    EXPECT_EQ(x.states, y.states);
    EXPECT_EQ(x.transitions, y.transitions);
  }
}

TEST(Reduction, AnyNumberOfWorkersGivesTheSame) {
  for (uint32_t seed = 1; seed <= 50; seed++) {
    const RandomMachines machines(seed);
    Reduced<RandomMachines, 1> one(machines, kBoth), three(machines, kBoth);
    const Found x = reduced_search(one, {.all = true});
    const Found y = reduced_search(three, {.workers = 3, .all = true});
    EXPECT_EQ(x.states, y.states);
    EXPECT_EQ(x.transitions, y.transitions);
    EXPECT_EQ(violated(x), violated(y));
  }
}

TEST(InVain, WhenNothingWasNewWhileTheStatesDoubled) {
  InVain vain;
  vain.begin();
  EXPECT_FALSE(vain.behind_block(1'000'000));  // nothing was ever new
  vain.news();
  EXPECT_FALSE(vain.behind_block(1'100'000));
  vain.news();
  EXPECT_FALSE(vain.behind_block(1'200'000));
  EXPECT_FALSE(vain.behind_block(2'399'999));
  EXPECT_TRUE(vain.behind_block(2'400'000));
  vain.begin();
  EXPECT_FALSE(vain.behind_block(10'000'000));
}

TEST(Exchange, OfBlocksExchangesTheirThreads) {
  const std::vector<Exchange> all = exchanges({{{1, 2}, {3, 4}, {5, 6}}, {{7}}}, 8, {3, 1, 7, 5});
  ASSERT_EQ(all.size(), 2u);
  EXPECT_EQ(all[0].cells, (std::vector<CellNumber>{0, 3, 4, 1, 2, 5, 6, 7}));
  EXPECT_EQ(all[0].threads, (std::vector<unsigned>{1, 0, 2, 3}));
  EXPECT_EQ(all[1].threads, (std::vector<unsigned>{3, 1, 2, 0}));
  CellSet two;
  two.add(2);
  EXPECT_TRUE(all[0].of(two).has(4));
  EXPECT_FALSE(all[0].of(two).has(2));
}

// --- reductions that are wrong ---

// Programs of which the broken reduction loses something, and those in which self_check sees it.
struct Losses {
  uint64_t lost = 0, noticed = 0;
};

template <class Faults, class M = RandomMachines>
Losses losses(const Reductions& reductions) {
  Losses l;
  for (uint32_t seed = 1; seed <= kPrograms / 4; seed++) {
    const M machines(seed);
    const Whole w = whole(machines);
    const Found x = reduced<Faults>(machines, reductions);
    std::set<unsigned> found = violated(x);
    l.noticed += found.erase(kWrongReduction);
    const auto& ends = reductions.symmetry ? w.canonical_end_states : w.end_states;
    l.lost += found != w.violated || x.end_states != ends.size();
  }
  return l;
}

struct ForgetsReads : NoFaults {
  static constexpr bool kForgetsReads = true;
};
struct NextStepsOnly : NoFaults {
  static constexpr bool kNextStepsOnly = true;
};
struct PutsOffForEver : NoFaults {
  static constexpr bool kPutsOffForEver = true;
};

TEST(BrokenReduction, AFootprintThatMissesARead) {
  const Losses l = losses<ForgetsReads>(kPartialOrder);
  EXPECT_GT(l.lost, 0u);
  EXPECT_GT(l.noticed, 0u);
}

// T0: x = 1 | T1: y = 1; if (x == 0) BUG. The first step of T1 has nothing to do with x, which is
// cell 1: broken() looks at cell 0.
TEST(BrokenReduction, IndependenceOfNextStepsOnly) {
  const RandomMachines machines({{{.op = Op::kSet, .cell = 1, .value = 1}},
                                 {{.op = Op::kSet, .cell = 0, .value = 1},
                                  {.op = Op::kJump, .cell = 1, .value = 1, .target = 3},
                                  {.op = Op::kBug}}});
  EXPECT_TRUE(violated(reduced(machines, kPartialOrder)).contains(2));
  EXPECT_FALSE(violated(reduced<NextStepsOnly>(machines, kPartialOrder)).contains(2));
  EXPECT_GT(losses<NextStepsOnly>(kPartialOrder).lost, 0u);
}

// T0: for ever nothing | T1: BUG.
TEST(BrokenReduction, AStepThatIsPutOffForEver) {
  const RandomMachines machines(
      {{{.op = Op::kJumpR, .value = 0, .target = 0}}, {{.op = Op::kBug}}});
  EXPECT_TRUE(violated(reduced(machines, kPartialOrder)).contains(2));
  EXPECT_FALSE(violated(reduced<PutsOffForEver>(machines, kPartialOrder)).contains(2));
  EXPECT_GT(losses<PutsOffForEver>(kPartialOrder).lost, 0u);
}

// Takes threads for alike that only have programs of one length.
struct WrongSymmetry : RandomMachines {
  using RandomMachines::RandomMachines;
  SymmetricBlocks symmetric() const {
    std::map<size_t, std::vector<std::vector<CellNumber>>> alike;
    for (unsigned t = 0; t < threads(); t++) {
      alike[programs[t].size()].push_back({pc(t), pc(t) + 1});
    }
    SymmetricBlocks groups;
    for (const auto& [length, blocks] : alike) groups.push_back(blocks);
    return groups;
  }
};

TEST(BrokenReduction, AWrongSymmetry) {
  const Losses l = losses<NoFaults, WrongSymmetry>(kSymmetry);
  EXPECT_GT(l.lost, 0u);
  EXPECT_GE(l.noticed, l.lost);
}

}  // namespace
}  // namespace mmucheck::explore
