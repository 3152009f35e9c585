// Which of several shortest counterexamples of a scenario is told: with the fewest context switches,
// then of the fewest threads, then about the fewest pages.
#include <gtest/gtest.h>

#include <map>
#include <optional>
#include <set>

#include "checker/explore/pinned.h"
#include "checker/explore/scenario_files_test.h"
#include "checker/explore/scenario_system.h"
#include "checker/trace/event_kinds.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

struct Told {
  std::string invariant;
  std::vector<uint32_t> turns;  // threads, as they go on
  std::set<uint64_t> gfns;      // of the faults that begin
};

Told told(const Scenario& scenario, const char* design, Bounds bounds) {
  const auto parsed = model::parse_design_spec(design);
  const PinnedRun run = run_pinned(scenario, &parsed.design->design, design, bounds, nullptr);
  EXPECT_TRUE(run.found.violation && run.replays);
  Told t{run.found.violation->invariant, {}, {}};
  std::map<uint32_t, size_t> begun;
  for (const Move& m : run.found.path) {
    if (t.turns.empty() || t.turns.back() != m.thread) t.turns.push_back(m.thread);
    if (m.kind != MoveKind::kBegin) continue;
    const auto e = scenario.threads.at(m.thread)[begun[m.thread]++].packets.front().event();
    if (e.kind == trace::EventKind::kFault) t.gfns.insert(e.get(trace::f::fault::gfn));
  }
  return t;
}

// Threads that have begun something, then pages: what a path takes shows in where it ends.
TEST(ChosenPath, TakesWhatHasBegun) {
  constexpr uint32_t kThread = 256;
  const Scenario scenario = open_scenario("seed-004/child-first");
  const ScenarioSystem system(scenario, nullptr, {});
  auto worker = system.worker();
  const ScenarioSystem::State first = system.initial();
  EXPECT_EQ(worker.takes(first, {}), 0u);
  EXPECT_EQ(worker.takes(first, 0u), kThread + 1);
  EXPECT_EQ(worker.takes(first, 1u), kThread + 1);
  std::optional<ScenarioSystem::State> next;
  worker.each(first, [&](const Move& m, unsigned, const ScenarioSystem::State& to) {
    if (m.thread == 1) next = to;
  });
  ASSERT_TRUE(next);
  EXPECT_EQ(worker.takes(*next, {}), kThread + 1);
  EXPECT_EQ(worker.takes(*next, 0u), kThread + 1);  // goes on
  EXPECT_EQ(worker.takes(*next, 1u), 2 * kThread + 2);
}

// A third vCPU faults on the first one's page: its fault may be the one that is overtaken, or that
// overtakes.
TEST(ChosenPath, HasFewPages) {
  Scenario scenario = open_scenario("seed-004/child-first");
  std::vector<Packet> prefix;
  for (const Packet& p : scenario.prefix) {
    trace::Event e = p.event();
    prefix.push_back(p);
    const auto vcpu = trace::kind_info(e.kind).field("vcpu_id");
    const bool makes = e.kind == trace::EventKind::kVcpuCreate || e.kind == trace::EventKind::kRootLoad;
    if (!makes || e.get_or(*vcpu, 0) != 1) continue;
    e.set(*vcpu, 2);
    prefix.emplace_back(e);
  }
  scenario.prefix = prefix;
  Operation fault = scenario.threads.at(1).front();
  trace::Event e = fault.packets.front().event();
  e.set(trace::f::fault::vcpu_id, 2);
  fault.packets.front() = Packet(e);
  fault.set_thread(3);
  scenario.threads[3] = {fault};
  for (const unsigned workers : {1u, 2u, 4u}) {
    const Told t = told(scenario, "naive", {.workers = workers});
    EXPECT_EQ(t.invariant, "TDX-SEPT-ORDER");
    EXPECT_EQ(t.turns, (std::vector<uint32_t>{1, 3}));
    EXPECT_EQ(t.gfns, std::set<uint64_t>{0x10});
  }
}

}  // namespace
}  // namespace mmucheck::explore
