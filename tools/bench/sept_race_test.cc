// The engine gives the numbers that SPIN and Rumur have given for the same race: the small
// instances; mmucheck-bench-explore compares the others.
#include <gtest/gtest.h>

#include "tools/bench/race_instances.h"

namespace mmucheck::bench {
namespace {

constexpr const char* kInstances = "tools/bench/explore-vs-peers/instances.csv";
constexpr uint64_t kSmall = 20'000;  // states

TEST(SeptRace, SmallInstancesHaveTheNumbersOfThePeers) {
  uint64_t small = 0, violated = 0, transitions = 0;
  for (const RaceInstance& i : read_race_instances(kInstances)) {
    if (!i.states || *i.states > kSmall) continue;
    SCOPED_TRACE(i.name);
    EXPECT_EQ(disagreement(i), "");
    small++;
    violated += !i.property.empty();
    transitions += *i.transitions;
  }
  EXPECT_GE(small, 60u);
  EXPECT_GE(violated, 20u);
  EXPECT_LT(violated, small);
}

// What the table of actions does not say would be noticed.
TEST(SeptRace, AnotherNumberIsADisagreement) {
  RaceInstance i = read_race_instances(kInstances).front();
  ASSERT_EQ(disagreement(i), "");
  i.states = *i.states + 1;
  EXPECT_NE(disagreement(i), "");
  i.property = "I1";
  EXPECT_NE(disagreement(i), "");
  EXPECT_THROW(read_race_instances("tools/bench/README.md"), std::runtime_error);
}

// Levels of thousands of states.
TEST(SeptRace, WorkersMakeNoDifference) {
  const SeptRace race{.v = 3, .k = 2, .z = 1, .r = 1};
  const RaceResult one = search_race(race);
  EXPECT_EQ(one.states, 85'194u);
  EXPECT_EQ(one.transitions, 264'410u);
  for (const unsigned workers : {2u, 4u}) {
    const RaceResult many = search_race(race, {.workers = workers});
    EXPECT_EQ(many.states, one.states);
    EXPECT_EQ(many.transitions, one.transitions);
    EXPECT_EQ(many.end_states, one.end_states);
    EXPECT_EQ(many.memory, one.memory);
  }
}

// Reductions keep the verdict and the property, and find no more states.
TEST(SeptRace, ReductionsKeepTheVerdict) {
  uint64_t checked = 0, states = 0, partial_order = 0, symmetry = 0;
  for (const RaceInstance& i : read_race_instances(kInstances)) {
    if (!i.states || *i.states > 5000) continue;
    SCOPED_TRACE(i.name);
    const RaceResult p =
        search_race(i.race, {.all = true}, {.partial_order = true, .self_check = true});
    const RaceResult s = search_race(i.race, {.all = true}, {.symmetry = true, .self_check = true});
    EXPECT_EQ(property_name(p.property), i.property);
    EXPECT_EQ(property_name(s.property), i.property);
    checked++;
    states += *i.states;
    partial_order += p.states;
    symmetry += s.states;
  }
  EXPECT_GE(checked, 40u);
  EXPECT_LT(partial_order, states);
  EXPECT_LT(symmetry, states);
}

}  // namespace
}  // namespace mmucheck::bench
