// Searches with reductions beside the whole one: they find the same, and one that loses something is
// noticed. All scenarios: mmucheck explore --compare --max-states 3000000 traces/scenarios.
#include "checker/explore/compare_reductions.h"

#include <gtest/gtest.h>

#include "checker/explore/pinned.h"
#include "checker/explore/scenario_files_test.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

ReductionsCompared compared(const char* name, const char* design,
                            const PartialOrderFaults& faults = {}, uint64_t max_states = 100'000) {
  const Scenario scenario = open_scenario(name);
  const auto parsed = model::parse_design_spec(design);
  Bounds bounds = bounds_of(scenario);
  bounds.max_states = max_states;
  return compare_reductions(scenario, &parsed.design->design, bounds, {}, faults);
}

TEST(CompareReductions, EachFindsTheSame) {
  struct {
    const char *name, *design;
    bool alike;
  } const kCases[] = {{"seed-004/two-vcpus-leaf", "upstream-7.x", true},
                      {"seed-004/two-vcpus-leaf", "naive", true},
                      {"bugs/zero-step-slot-deadlock", "linux-7.2,retry_tests_slot=no", false},
                      {"seed-004/populate-against-zap", "upstream-7.x", false}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const ReductionsCompared all = compared(c.name, c.design);
    ASSERT_EQ(all.searches.size(), 8u);
    EXPECT_TRUE(all.whole());
    EXPECT_FALSE(all.lost());
    EXPECT_GT(all.end_states + all.broken, 0u);
    EXPECT_EQ(all.came_to == 0, all.end_states == 0);
    for (const ReducedSearch& s : all.searches) {
      EXPECT_LE(s.states, all.searches.front().states);
      EXPECT_EQ(s.alike, c.alike && s.reduction.symmetry);
    }
    EXPECT_LT(all.searches.back().states, all.searches.front().states);
  }
}

TEST(CompareReductions, WhatIsLostIsToldOfEachThatLosesIt) {
  const ReductionsCompared all =
      compared("bugs/retry-keeps-page", "linux-7.2,early_retry_puts=no", {.next_steps_only = true});
  EXPECT_TRUE(all.lost());
  for (const ReducedSearch& s : all.searches) {
    EXPECT_EQ(!s.lost.empty(), s.reduction.partial_order) << s.reduction.name();
  }
  // Of mmu_invalidate_seq nobody reads: end states are missing.
  const ReductionsCompared ends =
      compared("bugs/retry-keeps-page", "linux-7.2",
               {.forgets_reads = replay::SteppedState::kFirstGroupSlot + 1});
  EXPECT_TRUE(ends.lost());
  ASSERT_EQ(ends.searches[2].lost.size(), 2u);
  EXPECT_TRUE(ends.searches[2].lost[0].starts_with("what the VM comes to: 1 of 2 missing"));
  EXPECT_TRUE(ends.searches[2].lost[1].starts_with("end states: "));
}

TEST(CompareReductions, OfASearchThatHitsABoundNothingIsCompared) {
  const ReductionsCompared all = compared("seed-004/populate-against-zap", "upstream-7.x", {}, 100);
  EXPECT_EQ(all.searches.size(), 1u);
  EXPECT_FALSE(all.whole());
  EXPECT_FALSE(all.lost());
}

}  // namespace
}  // namespace mmucheck::explore
