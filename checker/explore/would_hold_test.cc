// A choice that is said to make a scenario hold does, and one of many is found.
#include "checker/explore/would_hold.h"

#include <gtest/gtest.h>

#include "checker/trace/open_trace.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

Scenario scenario_of(const std::string& name) {
  const auto source = trace::open_trace("traces/scenarios/" + name, trace::own_formats());
  return read_scenario(*source);
}

TEST(WouldHold, TheChoiceThatABugTookBack) {
  const Scenario scenario = scenario_of("bugs/volatile-spte.txtpb");
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
      would_hold(scenario_of("seed-004/child-first.txtpb"), &naive.design->design, {});
  ASSERT_FALSE(r.found.empty());
  EXPECT_EQ(r.found[0].design, "naive,mirror_set=freeze");
}

// The scenario's own design is that of its kernel.
TEST(WouldHold, NothingDiffersFromTheNewestDesign) {
  const Remedies r = would_hold(scenario_of("rogue/block-behind-kvm.txtpb"), nullptr, {});
  EXPECT_TRUE(r.found.empty());
}

}  // namespace
}  // namespace mmucheck::explore
