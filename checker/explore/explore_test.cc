// Numbers of states and transitions, by two searches: the explorer's, and one that is as plain as
// can be: depth first, recursive, a set of whole states.
#include <gtest/gtest.h>

#include <set>

#include "checker/explore/explorer.h"
#include "checker/replay/replay_trace.h"
#include "checker/trace/test_files.h"
#include "model/design/choices.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

std::string scenario_file(const std::string& name) {
  return "traces/scenarios/" + name + ".txtpb";
}

Scenario open_scenario(const std::string& name) {
  const auto source = trace::open_trace(scenario_file(name), trace::own_formats());
  return read_scenario(*source);
}

Scenario scenario_of(const std::string& text) {
  const auto source = trace::opened(text);
  return read_scenario(*source);
}

// Lengths in front: no two lists of parts give one text.
std::string whole(const Stepper& s) {
  std::string all;
  for (const std::string& p : s.parts()) all += std::to_string(p.size()) + ":" + p;
  return all;
}

struct PlainSearch {
  Stepper& stepper;
  std::set<std::string> states;
  uint64_t transitions = 0, end_states = 0, violations = 0;

  void visit() {
    const std::string here = whole(stepper);
    if (!states.insert(here).second) return;
    if (stepper.over()) end_states++;
    const Stepper::State state = stepper.save();
    for (const Move& m : stepper.moves()) {
      stepper.restore(state);
      EXPECT_EQ(whole(stepper), here);
      if (!stepper.apply(m)) continue;
      transitions++;
      violations += stepper.take_violations().size();
      visit();
    }
  }
};

constexpr size_t kRogueDistance = 6;  // begin, call, three phases, commit

struct Numbers {
  const char* scenario;
  unsigned busy;
  uint64_t states, transitions, depth, end_states;
};

class Holds : public testing::TestWithParam<Numbers> {};

TEST_P(Holds, BothSearchesAgree) {
  const Numbers& n = GetParam();
  const Scenario scenario = open_scenario(n.scenario);
  const Exploration x = explore(scenario, nullptr, {.busy = n.busy});
  EXPECT_FALSE(x.violation) << x.violation->invariant;
  EXPECT_EQ(x.doubts, std::vector<std::string>{});
  EXPECT_EQ(x.bound, "");
  EXPECT_EQ(x.states, n.states);
  EXPECT_EQ(x.transitions, n.transitions);
  EXPECT_EQ(x.depth, n.depth);
  EXPECT_EQ(x.end_states, n.end_states);

  Stepper stepper(scenario, nullptr, n.busy);
  PlainSearch plain{stepper, {}};
  plain.visit();
  EXPECT_EQ(plain.states.size(), x.states);
  EXPECT_EQ(plain.transitions, x.transitions);
  EXPECT_EQ(plain.end_states, x.end_states);
  EXPECT_EQ(plain.violations, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Scenarios, Holds,
    testing::Values(Numbers{"seed-004/two-vcpus-leaf", 0, 1124, 2152, 48, 1},
                    Numbers{"unmap/fault-against-notifier", 0, 231, 390, 37, 2},
                    Numbers{"gmem/fault-against-punch", 0, 670, 1177, 71, 2},
                    Numbers{"gmem/fault-against-punch", 1, 1391, 2465, 86, 4},
                    Numbers{"pending/pamt-two-faults", 0, 1031, 1990, 58, 1}));

// Parent and child in the S-EPT; too many states for the plain search.
TEST(Explore, TwoVcpusAndAMissingTable) {
  const Exploration x = explore(open_scenario("seed-004/two-vcpus-one-table"), nullptr, {});
  EXPECT_FALSE(x.violation);
  EXPECT_EQ(x.bound, "");
  EXPECT_EQ(x.states, 28903u);
  EXPECT_EQ(x.transitions, 55476u);
  EXPECT_EQ(x.depth, 85u);
  EXPECT_EQ(x.end_states, 13u);
}

// Moves to the nearest violation, layer by layer; 0: none.
size_t distance_to_violation(const Scenario& scenario, std::string* rule) {
  Stepper stepper(scenario, nullptr, 0);
  std::set<std::string> seen = {whole(stepper)};
  std::vector<Stepper::State> layer = {stepper.save()};
  for (size_t distance = 1; !layer.empty(); distance++) {
    std::vector<Stepper::State> next;
    for (const Stepper::State& state : layer) {
      stepper.restore(state);
      for (const Move& m : stepper.moves()) {
        stepper.restore(state);
        if (!stepper.apply(m)) continue;
        if (const auto broken = stepper.take_violations(); !broken.empty()) {
          *rule = broken[0].invariant;
          return distance;
        }
        if (seen.insert(whole(stepper)).second) next.push_back(stepper.save());
      }
    }
    layer = std::move(next);
  }
  return 0;
}

// The mirror says present, the S-EPT says blocked, and nobody of KVM's is about to change that.
TEST(Explore, RogueBlockIsFoundByAShortestPath) {
  const Scenario scenario = open_scenario("rogue/block-behind-kvm");
  const Exploration x = explore(scenario, nullptr, {});
  ASSERT_TRUE(x.violation);
  EXPECT_EQ(x.violation->invariant, "TDX-SEPT-MIRROR");
  EXPECT_EQ(x.path.size(), kRogueDistance);
  std::string rule;
  EXPECT_EQ(distance_to_violation(scenario, &rule), x.path.size());
  EXPECT_EQ(rule, x.violation->invariant);

  // One move less: nothing.
  const Exploration shorter = explore(scenario, nullptr, {.max_depth = x.path.size() - 1});
  EXPECT_FALSE(shorter.violation);
  EXPECT_EQ(shorter.bound, "max-depth");

  // As a trace it breaks the same rule.
  const trace::ScratchDir dir;
  const auto sink = trace::create_trace(dir.file("x.txtpb"), scenario.info);
  for (const Packet& p : counterexample(scenario, nullptr, "", x, {})) sink->put(p.event());
  sink->close();
  const auto source = trace::open_trace(dir.file("x.txtpb"), trace::own_formats());
  const report::Verdict v = replay::replay_trace(*source);
  ASSERT_EQ(v.violations.size(), 1u);
  EXPECT_EQ(v.violations[0].invariant, "TDX-SEPT-MIRROR");
  EXPECT_EQ(report::exit_code_of(v), report::kExitOk);  // as the file expects
}

TEST(Explore, EveryRunIsTheSame) {
  const Scenario scenario = open_scenario("rogue/block-behind-kvm");
  const Exploration a = explore(scenario, nullptr, {}), b = explore(scenario, nullptr, {});
  EXPECT_EQ(a.states, b.states);
  EXPECT_EQ(a.transitions, b.transitions);
  ASSERT_EQ(a.path.size(), b.path.size());
  for (size_t i = 0; i < a.path.size(); i++) EXPECT_EQ(a.path[i].thread, b.path[i].thread);
}

// A mirror entry that is published before its S-EPT entry is there.
TEST(Explore, ExchangeBeforeTheHook) {
  const model::ParsedDesign naive =
      model::parse_design_spec("upstream-7.x,mirror_set=cmpxchg-first");
  ASSERT_NE(naive.design, nullptr) << naive.error;
  const Exploration x = explore(open_scenario("seed-004/two-vcpus"), &naive.design->design, {});
  EXPECT_TRUE(x.violation);
}

TEST(Explore, BoundOfStates) {
  const Exploration x = explore(open_scenario("seed-004/two-vcpus"), nullptr, {.max_states = 20});
  EXPECT_FALSE(x.violation);
  EXPECT_EQ(x.bound, "max-states");
  EXPECT_EQ(x.states, 20u);
}

TEST(Explore, AnyNumberOfWorkersGivesTheSame) {
  for (const auto& [name, states] : {std::pair("rogue/block-behind-kvm", 600u),
                                     std::pair("seed-004/two-vcpus-leaf", 600u),
                                     std::pair("seed-004/child-first", 100'000u)}) {
    const Scenario scenario = open_scenario(name);
    const Bounds bounds{.max_states = states};
    const Exploration one = explore(scenario, nullptr, bounds);
    for (const unsigned workers : {2u, 4u}) {
      Bounds more = bounds;
      more.workers = workers;
      const Exploration x = explore(scenario, nullptr, more);
      EXPECT_EQ(x.states, one.states);
      EXPECT_EQ(x.transitions, one.transitions);
      EXPECT_EQ(x.bound, one.bound);
      EXPECT_EQ(x.memory, one.memory);
      EXPECT_EQ(x.invariants, one.invariants);
      ASSERT_EQ(x.path.size(), one.path.size());
      for (size_t i = 0; i < x.path.size(); i++) EXPECT_EQ(x.path[i].thread, one.path[i].thread);
    }
  }
}

// Only who waits or is over lets others go on: two threads, one after the other.
TEST(Explore, WithoutPreemptionsThreadsTakeTurns) {
  const Scenario scenario = open_scenario("unmap/fault-against-notifier");
  uint64_t before = 0;
  for (const unsigned most : {0u, 1u, 2u}) {
    const Exploration x = explore(scenario, nullptr, {.preemptions = most});
    EXPECT_FALSE(x.violation);
    EXPECT_EQ(x.bound, "");
    EXPECT_GT(x.states, before);
    if (most == 0) {
      EXPECT_EQ(x.transitions, x.states - 1);  // two lines that do not meet
      EXPECT_EQ(x.end_states, 2u);
    }
    before = x.states;
  }
}

TEST(Explore, BoundOfMemory) {
  const Exploration x = explore(open_scenario("seed-004/two-vcpus"), nullptr, {.max_memory = 1});
  EXPECT_FALSE(x.violation);
  EXPECT_EQ(x.bound, "memory");
  EXPECT_EQ(x.states, 1u);
}

TEST(Explore, StopsWhenItIsTold) {
  const Exploration x = explore(open_scenario("seed-004/two-vcpus"), nullptr, {},
                                [](const SearchProgress& p) { return p.depth == 5 ? "time" : ""; });
  EXPECT_EQ(x.bound, "time");
  EXPECT_GT(x.states, 5u);
}

constexpr const char* kPrefix =
    "packet { kernel { version: KERNEL_VERSION_7_2 } }\n"
    "packet { mmu_format { format: SPTE_FORMAT_NPT } }\n"
    "packet { vm_create {} }\n"
    "packet { memslot_create { slot: 0 base_gfn: 0x0 npages: 0x100 } }\n"
    "packet { vcpu_create {} }\n"
    "packet { root_load {} }\n";
constexpr const char* kMarker = "packet { marker { text: \"explore\" } }\n";

// One thread: one path, as long as its steps.
TEST(Explore, OneThreadIsALine) {
  const Scenario s =
      scenario_of(std::string(kPrefix) + kMarker + "packet { fault { gfn: 0x10 } }\n");
  const Exploration x = explore(s, nullptr, {});
  EXPECT_FALSE(x.violation);
  EXPECT_EQ(x.states, x.transitions + 1);
  EXPECT_EQ(x.depth, x.transitions);
  EXPECT_EQ(x.end_states, 1u);
}

// So is a long one through machines in machines, whose bytes tell all its states apart.
TEST(Explore, OneThreadThroughRemovedTablesIsALine) {
  const Scenario s = scenario_of(std::string(kPrefix) +
                                 "packet { memslot_create { slot: 1 base_gfn: 0x1000 npages: 1 } }\n"
                                 "packet { fault { gfn: 0x10 } }\n" +
                                 kMarker + "packet { memslot_delete { slot: 1 } }\n");
  const Exploration x = explore(s, nullptr, {});
  EXPECT_FALSE(x.violation);
  EXPECT_EQ(x.states, x.transitions + 1);
  EXPECT_EQ(x.depth, x.transitions);
  EXPECT_EQ(x.end_states, 1u);
  EXPECT_GT(x.states, 3000u);  // three tables below the root, 512 entries each
}

// Bugs of KVM's that were fixed, and proposals: the same scenario by two designs.
struct TwoDesigns {
  const char* scenario;
  const char* broken;
  const char* rule;
  const char* right;  // nullptr: too large for a test
  unsigned busy;
};

class ByDesign : public testing::TestWithParam<TwoDesigns> {};

TEST_P(ByDesign, OneBreaksARule) {
  const TwoDesigns& n = GetParam();
  const Scenario scenario = open_scenario(n.scenario);
  const model::ParsedDesign broken = model::parse_design_spec(n.broken);
  ASSERT_NE(broken.design, nullptr) << broken.error;
  const Exploration x = explore(scenario, &broken.design->design, {.busy = n.busy});
  EXPECT_EQ(x.doubts, std::vector<std::string>{});
  ASSERT_TRUE(x.violation);
  EXPECT_EQ(x.violation->invariant, n.rule);
  if (n.right == nullptr) return;
  const model::ParsedDesign right = model::parse_design_spec(n.right);
  ASSERT_NE(right.design, nullptr) << right.error;
  const Exploration y = explore(scenario, &right.design->design, {.busy = n.busy});
  EXPECT_EQ(y.doubts, std::vector<std::string>{});
  EXPECT_FALSE(y.violation) << y.violation->invariant;
  EXPECT_EQ(y.bound, "");
  EXPECT_GT(y.end_states, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Designs, ByDesign,
    testing::Values(
        TwoDesigns{"bugs/prefault-slot-deadlock", "linux-7.2,prefault_eagain_on_invalid_slot=no",
                   kStuck, "linux-7.2", 0},
        TwoDesigns{"bugs/zero-step-slot-deadlock", "linux-7.2,retry_tests_slot=no", kStuck,
                   "linux-7.2", 0},
        TwoDesigns{"seed-004/child-first", "naive", "TDX-SEPT-ORDER", nullptr, 0},
        TwoDesigns{"seed-004/two-leafs-busy", "naive", "TDX-BUG-SEAMCALL", "upstream-7.x", 1},
        TwoDesigns{"seed-004/populate-against-zap", "naive", "TDX-BUG-SEAMCALL", nullptr, 1},
        TwoDesigns{"seed-004/same-gfn-against-zap", "naive", "TDX-BUG-SEAMCALL", "upstream-7.x", 1},
        TwoDesigns{"seed-004/zap-root-against-populate", "seam-first", "TDX-BUG-SEAMCALL", nullptr,
                   0},
        TwoDesigns{"seed-004/zap-root-against-populate", "block-parent-rcu", "TDX-BUG-SEAMCALL",
                   nullptr, 0}));

TEST(Scenario, WithoutMarkerThereIsNothingToExplore) {
  EXPECT_TRUE(scenario_of(kPrefix).threads.empty());
}

TEST(Scenario, WhatChangesTheWorldStandsBeforeTheMarker) {
  for (const char* packet :
       {"packet { vcpu_create {} }", "packet { kernel {} }", "packet { step {} }",
        "packet { tdp_map_ret { ret: 5 } }", "packet { vm_create {} }"}) {
    EXPECT_THROW(scenario_of(std::string(kPrefix) + kMarker + packet + "\n"), trace::TraceError)
        << packet;
  }
  EXPECT_THROW(scenario_of(kMarker), trace::TraceError);
}

}  // namespace
}  // namespace mmucheck::explore
