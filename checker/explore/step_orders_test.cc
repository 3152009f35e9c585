#include "checker/explore/step_orders.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <map>
#include <set>

#include "checker/explore/pinned.h"
#include "checker/explore/scenario_files_test.h"
#include "checker/explore/scenario_system.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

using Name = std::pair<uint32_t, std::string>;  // thread, what
using Order = std::pair<Name, Name>;

// Every "a, then b" of some execution: along with each state, all kinds that lead to it in any way.
std::set<Order> exact_orders(const Scenario& scenario, const model::Design* design, unsigned busy) {
  ScenarioSystem system(scenario, design, {.busy = busy, .coverage = true});
  auto worker = system.worker();
  std::map<ScenarioSystem::State, std::set<Name>> behind;
  std::set<Order> orders;
  std::deque<ScenarioSystem::State> todo = {system.initial()};
  behind[system.initial()];
  while (!todo.empty()) {
    const ScenarioSystem::State s = todo.front();
    todo.pop_front();
    const std::set<Name> before = behind[s];
    worker.each(s, [&](const Move& m, unsigned property, const ScenarioSystem::State& to) {
      const Name kind = {m.thread, system.orders().what(worker.kind())};
      for (const Name& b : before) orders.insert({b, kind});
      if (property != kNothing) return;
      const auto [at, fresh] = behind.try_emplace(to);
      const size_t n = at->second.size();
      at->second.insert(before.begin(), before.end());
      at->second.insert(kind);
      if (fresh || at->second.size() != n) todo.push_back(to);
    });
  }
  return orders;
}

Coverage coverage_of(const Scenario& scenario, const model::Design* design, const Bounds& bounds) {
  Bounds b = bounds;
  b.coverage = ~uint64_t{0};
  return explore(scenario, design, b).coverage;
}

Name name_of(const StepKind& k) {
  return {k.thread, k.what};
}

// By a search of its own, which knows neither levels nor bits.
TEST(StepOrders, AreTheExactOnes) {
  size_t scenarios = 0, one_order = 0, both = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator("traces/scenarios")) {
    if (!file.is_regular_file()) continue;
    const Scenario scenario = open_scenario(
        std::filesystem::relative(file.path(), "traces/scenarios").replace_extension());
    for (const Pinned& p : scenario.pinned) {
      if (p.verdict != trace::ExpectedVerdict::kHolds || p.states > 1000) continue;
      if (scenario.threads.size() < 2) continue;
      const auto design = model::parse_design_spec(p.design);
      const Coverage c = coverage_of(scenario, &design.design->design, {.busy = p.busy});
      ASSERT_TRUE(c.ordered) << file.path();
      const std::set<Order> exact = exact_orders(scenario, &design.design->design, p.busy);
      for (const ConflictingSteps& pair : c.conflicts) {
        const Name a = name_of(pair.first), b = name_of(pair.second);
        EXPECT_EQ(pair.in_order, exact.contains({a, b})) << file.path() << a.second << b.second;
        EXPECT_EQ(pair.reversed, exact.contains({b, a})) << file.path() << a.second << b.second;
        one_order += !pair.both();
      }
      both += c.seen_in_both();
      scenarios++;
    }
  }
  EXPECT_GT(scenarios, 10u);
  EXPECT_GT(one_order, 0u);
  EXPECT_GT(both, 0u);
}

std::vector<std::string> lines_of(const Coverage& c) {
  std::vector<std::string> all;
  for (const ConflictingSteps& p : c.conflicts) {
    all.push_back(std::to_string(p.first.thread) + p.first.operations + p.first.what + "|" +
                  std::to_string(p.second.thread) + p.second.operations + p.second.what + "|" +
                  p.cell + (p.in_order ? "<" : "") + (p.reversed ? ">" : ""));
  }
  return all;
}

TEST(StepOrders, AreTheSameByAnyNumberOfWorkers) {
  const Scenario scenario = open_scenario("seed-004/populate-against-zap");
  const auto design = model::parse_design_spec("upstream-6.14");
  const auto one = lines_of(coverage_of(scenario, &design.design->design, {}));
  EXPECT_FALSE(one.empty());
  EXPECT_EQ(lines_of(coverage_of(scenario, &design.design->design, {.workers = 2})), one);
  EXPECT_EQ(lines_of(coverage_of(scenario, &design.design->design, {.workers = 4})), one);
}

// What partial order reduction leaves out is no order that nobody has seen.
TEST(StepOrders, OfAReducedSearchAreSomeOfTheWholeOnes) {
  const Scenario scenario = open_scenario("seed-004/populate-against-zap");
  const auto design = model::parse_design_spec("upstream-6.14");
  const std::set<Order> exact = exact_orders(scenario, &design.design->design, 0);
  const Coverage c = coverage_of(scenario, &design.design->design, {.partial_order = true});
  EXPECT_TRUE(c.ordered);
  EXPECT_GT(c.seen_in_both(), 0u);
  for (const ConflictingSteps& pair : c.conflicts) {
    const Name a = name_of(pair.first), b = name_of(pair.second);
    EXPECT_TRUE(!pair.in_order || exact.contains({a, b})) << a.second << b.second;
    EXPECT_TRUE(!pair.reversed || exact.contains({b, a})) << a.second << b.second;
  }
}

// What was kept for what it is an image of counts as that.
TEST(StepOrders, AreTheSameWhereThreadsAreExchanged) {
  for (const char* name :
       {"seed-004/two-vcpus-leaf", "seed-004/child-first", "seed-004/three-vcpus-one-page"}) {
    SCOPED_TRACE(name);
    const Scenario scenario = open_scenario(name);
    const auto design = model::parse_design_spec("upstream-7.x");
    Bounds bounds{.busy = scenario.busy, .coverage = ~uint64_t{0}};
    const Exploration whole = explore(scenario, &design.design->design, bounds);
    bounds.symmetry = true;
    const Exploration less = explore(scenario, &design.design->design, bounds);
    EXPECT_FALSE(less.symmetric.empty());
    EXPECT_TRUE(less.coverage.ordered);
    EXPECT_LT(less.states, whole.states);
    EXPECT_EQ(lines_of(less.coverage), lines_of(whole.coverage));
    EXPECT_GT(less.coverage.seen_in_both(), 0u);
  }
}

// A fault takes mmu_lock for read, whatever another one does; a zap takes it for write.
TEST(StepOrders, ConflictByWhatStepsTouch) {
  const auto design = model::parse_design_spec("linux-7.2");
  const Scenario leafs = open_scenario("seed-004/two-leafs-busy");
  const Exploration apart = explore(leafs, &design.design->design, {.busy = 0});
  EXPECT_TRUE(apart.coverage.counted);
  EXPECT_FALSE(apart.coverage.ordered);
  EXPECT_EQ(lines_of(apart.coverage), std::vector<std::string>{});
  EXPECT_TRUE(apart.nothing_to_check);
  EXPECT_STREQ(verdict_text(apart), "nothing to check");
  // A party outside is one that they conflict with.
  EXPECT_FALSE(explore(leafs, &design.design->design, {.busy = 1}).nothing_to_check);
  // A bound that was hit leaves open whether there is a conflict behind it.
  EXPECT_FALSE(explore(leafs, &design.design->design, {.max_depth = 5}).nothing_to_check);

  const Exploration zap = explore(open_scenario("unmap/fault-against-notifier"),
                                  &design.design->design, {.coverage = 1'000'000});
  EXPECT_FALSE(zap.nothing_to_check);
  const auto lock = [](const ConflictingSteps& p) {
    return p.first.what.starts_with("read_lock(mmu_lock)") &&
           p.second.what.starts_with("write_lock(mmu_lock)");
  };
  const auto found =
      std::find_if(zap.coverage.conflicts.begin(), zap.coverage.conflicts.end(), lock);
  ASSERT_NE(found, zap.coverage.conflicts.end());
  EXPECT_EQ(found->cell, "mmu_invalidate_in_progress");  // the first of several
  EXPECT_EQ(found->first.operations, "fault");
  EXPECT_TRUE(found->both());
}

TEST(StepOrders, OneThreadHasNobodyToConflictWith) {
  const Exploration x = explore(open_scenario("rules/mmu-zap-precise"), nullptr, {});
  EXPECT_FALSE(x.nothing_to_check);
  EXPECT_FALSE(x.coverage.counted);
}

}  // namespace
}  // namespace mmucheck::explore
