// Executions that never end, where there are some, and the end states of those that do.
#include "checker/explore/fair_cycle.h"

#include <gtest/gtest.h>

#include <set>

#include "checker/explore/end_states.h"
#include "checker/explore/pinned.h"
#include "checker/explore/scenario_files_test.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

std::unique_ptr<model::OwnedDesign> design(const char* spec) {
  model::ParsedDesign parsed = model::parse_design_spec(spec);
  EXPECT_NE(parsed.design, nullptr) << parsed.error;
  return std::move(parsed.design);
}

constexpr const char* kNeverSplit = "huge,accept_inhibit=none";

TEST(FairCycle, AGuestWhoseCallIsNeverAnswered) {
  const Scenario scenario = open_scenario("pending/accept-smaller");
  const auto d = design(kNeverSplit);
  const Bounds bounds = {.only = invariant::id("MMU-LOCK-LIVE"), .fair = true};
  const PinnedRun run = run_pinned(scenario, &d->design, kNeverSplit, bounds, nullptr);
  ASSERT_TRUE(run.found.violation);
  EXPECT_EQ(run.found.violation->invariant, "MMU-LOCK-LIVE");
  EXPECT_FALSE(run.found.loop.empty());
  EXPECT_TRUE(run.replays);
  // Without the fair cycle the search sees nothing: no thread is stuck.
  EXPECT_FALSE(explore(scenario, &d->design, bounds).violation);
  const auto split = design("huge");
  EXPECT_FALSE(run_pinned(scenario, &split->design, "huge", bounds, nullptr).found.violation);
}

// One thread is passed over in the only cycle there is: a fault that retries on an entry that
// another one has frozen.
TEST(FairCycle, RetriesWhileAnotherThreadCouldMoveAreUnfair) {
  const Scenario scenario = open_scenario("seed-004/two-vcpus-leaf");
  const auto d = design("upstream-7.x");
  const ScenarioSystem system(scenario, &d->design, {});
  const StateGraph g = graph_of(system, scenario, {});
  std::set<uint32_t> passed;
  bool goes_back = false;
  for (const StateGraph::Edge& e : g.edges)
    goes_back |= g.path_to(e.to).size() < g.path_to(e.from).size();
  EXPECT_TRUE(goes_back);
  EXPECT_FALSE(find_fair_cycle(scenario, &d->design, {}).violation);
}

TEST(FairCycle, TheGraphHasTheStatesOfTheSearch) {
  const Scenario scenario = open_scenario("seed-004/same-gfn-against-zap");
  const auto d = design("upstream-7.x");
  const Exploration x = explore(scenario, &d->design, bounds_of(scenario));
  const Exploration g = find_fair_cycle(scenario, &d->design, bounds_of(scenario));
  EXPECT_EQ(g.states, x.states);
  EXPECT_EQ(g.transitions, x.transitions);
  EXPECT_EQ(g.depth, x.depth);
  EXPECT_EQ(g.end_states, x.end_states);
  Bounds few = bounds_of(scenario);
  few.max_states = 100;
  EXPECT_EQ(find_fair_cycle(scenario, &d->design, few).bound, "max-states");
}

TEST(EndStates, AreThoseOfAnotherDesignOrNot) {
  const Scenario scenario = open_scenario("seed-004/two-leafs-busy");
  const auto read = design("v11"), write = design("v11,fault_lock=write");
  const EndStates a = end_states(scenario, &read->design, {});
  const EndStates b = end_states(scenario, &write->design, {});
  ASSERT_FALSE(a.broken || b.broken);
  EXPECT_GT(a.states, b.states);
  ASSERT_FALSE(a.all.empty());
  for (const auto& [text, path] : a.all) EXPECT_TRUE(b.all.contains(text)) << text;
  EXPECT_EQ(a.all.size(), b.all.size());
  const Scenario punch = open_scenario("seed-002/fault-and-punch");
  EXPECT_NE(end_states(punch, &write->design, {}).all.begin()->first, a.all.begin()->first);
}

}  // namespace
}  // namespace mmucheck::explore
