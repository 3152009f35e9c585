#include "checker/explore/step_orders.h"

#include <gtest/gtest.h>

#include <deque>
#include <filesystem>
#include <map>
#include <set>

#include "checker/explore/order_pass.h"
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

Coverage coverage_of(const Scenario& scenario, const model::Design* design, unsigned busy) {
  ScenarioSystem system(scenario, design, {.busy = busy, .coverage = true});
  Search<ScenarioSystem> search(system, {.max_states = 100'000});
  search.run();
  const auto before = OrderPass(system, search).run([] { return false; });
  return system.coverage(before);
}

// What it says was seen against what was.
TEST(StepOrders, AgreeWithTheExactOnes) {
  size_t orders = 0, scenarios = 0;
  for (const auto& file : std::filesystem::recursive_directory_iterator("traces/scenarios")) {
    if (!file.is_regular_file() || file.path().string().find("/big/") != std::string::npos) continue;
    const Scenario scenario =
        open_scenario(std::filesystem::relative(file.path(), "traces/scenarios").replace_extension());
    if (scenario.threads.size() < 2) continue;
    for (const Pinned& p : scenario.pinned) {
      if (p.verdict != trace::ExpectedVerdict::kHolds || p.states > 3000) continue;
      const auto design = model::parse_design_spec(p.design);
      const Coverage c = coverage_of(scenario, &design.design->design, p.busy);
      const std::set<Order> exact = exact_orders(scenario, &design.design->design, p.busy);
      size_t n = 0, more = 0, less = 0;
      for (const ConflictingSteps& pair : c.conflicts) {
        const Name a = {pair.first.thread, pair.first.what}, b = {pair.second.thread, pair.second.what};
        for (const auto& [order, seen] :
             {std::pair(Order(a, b), pair.in_order), std::pair(Order(b, a), pair.reversed)}) {
          n++;
          more += seen && !exact.contains(order);
          less += !seen && exact.contains(order);
        }
      }
      printf("%s %s: %zu conflicts, %zu both, %zu orders, %zu more, %zu less\n", file.path().c_str(),
             p.design.c_str(), c.conflicts.size(), c.seen_in_both(), n, more, less);
      orders += n;
      scenarios++;
      EXPECT_EQ(less, 0u);
    }
  }
  EXPECT_GT(scenarios, 10u);
}

}  // namespace
}  // namespace mmucheck::explore
