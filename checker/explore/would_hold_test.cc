// A choice that is said to make a scenario hold does, and one of many is found.
#include "checker/explore/would_hold.h"

#include <gtest/gtest.h>

#include "checker/explore/pinned.h"
#include "checker/explore/scenario_files_test.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

TEST(WouldHold, TheChoiceThatABugTookBack) {
  const Scenario scenario = open_scenario("bugs/volatile-spte");
  const auto design = model::parse_design_spec("linux-7.2,volatile_atomic=no");
  const Remedies r = would_hold(scenario, &design.design->design, {});
  ASSERT_EQ(r.found.size(), 1u);
  EXPECT_EQ(r.found[0].design, "linux-7.2,volatile_atomic=yes");
  const auto mended = model::parse_design_spec(r.found[0].design);
  const Exploration x = explore(scenario, &mended.design->design, {});
  EXPECT_FALSE(x.violation);
  EXPECT_EQ(x.states, r.found[0].states);
}

TEST(WouldHold, OfARowOneOfItsChoices) {
  const auto naive = model::parse_design_spec("naive");
  const Remedies r =
      would_hold(open_scenario("seed-004/child-first"), &naive.design->design, {});
  ASSERT_FALSE(r.found.empty());
  EXPECT_EQ(r.found[0].design, "naive,mirror_set=freeze");
}

// What never ends breaks a rule, too: a choice that keeps the loop is no remedy.
TEST(WouldHold, FairExecutionsThatNeverEndAreLookedFor) {
  const Scenario scenario = open_scenario("pending/accept-smaller");
  const auto design = model::parse_design_spec("huge,accept_inhibit=none");
  const Bounds bounds = {.only = invariant::id("MMU-LOCK-LIVE"), .fair = true};
  const Remedies r = would_hold(scenario, &design.design->design, bounds);
  ASSERT_FALSE(r.found.empty());
  EXPECT_LT(r.found.size(), r.tried);
  for (const Remedy& one : r.found) {
    const auto other = model::parse_design_spec(one.design);
    const Exploration x =
        run_pinned(scenario, &other.design->design, one.design, bounds, nullptr).found;
    EXPECT_FALSE(x.violation) << one.design;
  }
}

// The scenario's own design is that of its kernel.
TEST(WouldHold, NothingDiffersFromTheNewestDesign) {
  const Remedies r = would_hold(open_scenario("rogue/block-behind-kvm"), nullptr, {});
  EXPECT_TRUE(r.found.empty());
}

}  // namespace
}  // namespace mmucheck::explore
