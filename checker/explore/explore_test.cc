// Numbers of states and transitions, by two searches: the explorer's, and one that is as plain as
// can be: depth first, recursive, a set of whole states.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "checker/explore/difference.h"
#include "checker/explore/pinned.h"
#include "checker/explore/scenario_files_test.h"
#include "checker/explore/scenario_system.h"
#include "checker/replay/replay_trace.h"
#include "checker/trace/test_files.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

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

struct Small {
  const char* scenario;
  const char* design;
  unsigned busy;
};

class BothSearches : public testing::TestWithParam<Small> {};

// The plain one is right where the explorer's numbers are its own.
TEST_P(BothSearches, Agree) {
  const Small& n = GetParam();
  const Scenario scenario = open_scenario(n.scenario);
  const model::ParsedDesign design = model::parse_design_spec(n.design);
  ASSERT_NE(design.design, nullptr) << design.error;
  const Exploration x = explore(scenario, &design.design->design, {.busy = n.busy});
  EXPECT_FALSE(x.violation) << x.violation->invariant;
  EXPECT_EQ(x.doubts, std::vector<std::string>{});
  EXPECT_EQ(x.bound, "");
  EXPECT_GT(x.end_states, 0u);

  Stepper stepper(scenario, &design.design->design, n.busy);
  PlainSearch plain{stepper, {}};
  plain.visit();
  EXPECT_EQ(plain.states.size(), x.states);
  EXPECT_EQ(plain.transitions, x.transitions);
  EXPECT_EQ(plain.end_states, x.end_states);
  EXPECT_EQ(plain.violations, 0u);
}

INSTANTIATE_TEST_SUITE_P(
    Scenarios, BothSearches,
    testing::Values(Small{"seed-004/two-vcpus-leaf", "linux-7.2", 0},
                    Small{"unmap/fault-against-notifier", "linux-7.2", 0},
                    Small{"gmem/fault-against-punch", "linux-7.2", 1},
                    Small{"pending/pamt-two-faults", "linux-7.2", 0},
                    Small{"bugs/yield-loses-flush", "linux-7.2", 0},
                    Small{"bugs/zero-step-slot-deadlock", "linux-7.2", 0},
                    Small{"bugs/root-reuse-tlb", "linux-7.2", 0}));

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

// A mirror entry that is published before its S-EPT entry is there: a child overtakes its parent.
TEST(Explore, ExchangeBeforeTheHook) {
  const model::ParsedDesign naive = model::parse_design_spec("naive");
  ASSERT_NE(naive.design, nullptr) << naive.error;
  const Exploration x =
      explore(open_scenario("seed-004/child-first"), &naive.design->design, {});
  ASSERT_TRUE(x.violation);
  EXPECT_EQ(x.violation->invariant, "TDX-SEPT-ORDER");
}

// Each rule, and each last step that breaks it, once; the first is what is found without asking.
TEST(Explore, AllThatIsViolated) {
  const Scenario scenario = open_scenario("rogue/block-behind-kvm");
  const Exploration one = explore(scenario, nullptr, {});
  const Exploration all = explore(scenario, nullptr, {.all = true});
  ASSERT_TRUE(one.violation && all.violation);
  EXPECT_TRUE(one.others.empty());
  EXPECT_EQ(all.violation->invariant, one.violation->invariant);
  EXPECT_EQ(all.path.size(), one.path.size());
  EXPECT_GT(all.states, one.states);
  EXPECT_EQ(all.bound, "");
  ASSERT_EQ(all.others.size(), 1u);
  EXPECT_EQ(all.others[0].violation->invariant, "TDX-BUG-SEAMCALL");
  EXPECT_EQ(all.others[0].path.size(), 24u);
}

// Of one rule: what is broken besides neither ends the search nor is told.
TEST(Explore, AllThatBreaksOneRule) {
  const Scenario scenario = open_scenario("rogue/block-behind-kvm");
  for (const char* rule : {"TDX-SEPT-MIRROR", "TDX-BUG-SEAMCALL"}) {
    const Bounds first = {.only = invariant::find_id(rule)};
    Bounds bounds = first;
    bounds.all = true;
    const Exploration x = explore(scenario, nullptr, bounds);
    ASSERT_TRUE(x.violation) << rule;
    EXPECT_EQ(x.violation->invariant, rule);
    EXPECT_GT(x.states, explore(scenario, nullptr, first).states);
    for (const Exploration& other : x.others) EXPECT_EQ(other.violation->invariant, rule);
    const std::vector<Packet> trace = counterexample(scenario, nullptr, "", x, bounds);
    EXPECT_TRUE(replays_to(scenario.info, trace, rule, bounds.only)) << rule;
  }
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

// Tables by any other number are as good: the same depth and end, in fewer states. The end states
// that are left differ otherwise than in numbers: here by which vCPU came first somewhere.
TEST(Explore, WhoAllocatesFirstMakesNoDifference) {
  struct Reduced {
    const char* scenario;
    uint64_t states, end_states;
  };
  for (const Reduced& n : {Reduced{"seed-004/two-vcpus-leaf", 1208, 1},
                           Reduced{"seed-004/two-vcpus-one-table", 6259, 4},
                           Reduced{"seed-004/child-first", 4101, 4},
                           Reduced{"gmem/fault-against-punch", 764, 2}}) {
    SCOPED_TRACE(n.scenario);
    const Scenario scenario = open_scenario(n.scenario);
    const Exploration all = explore(scenario, nullptr, {});
    const Exploration fewer = explore(scenario, nullptr, {.like_pages = true});
    EXPECT_FALSE(fewer.violation);
    EXPECT_EQ(fewer.bound, "");
    EXPECT_EQ(fewer.depth, all.depth);
    EXPECT_EQ(fewer.invariants, all.invariants);
    EXPECT_LE(fewer.states, all.states);
    EXPECT_EQ(fewer.states, n.states);
    EXPECT_EQ(fewer.end_states, n.end_states);
  }
}

struct Walks {  // what a worker makes of one state
  const ScenarioSystem& system;
  std::map<ScenarioSystem::State, uint64_t>& next;
  uint64_t ways;
  uint64_t violations = 0;

  void made(const ScenarioSystem::State& s) { next[s] += ways; }
  void violates(unsigned) { violations += ways; }
};

// How many sequences of moves there are, by length, modulo 2^64, and how many of them break a rule.
std::vector<std::pair<uint64_t, uint64_t>> walks(const Scenario& scenario,
                                                 const model::Design* design, bool like_pages) {
  const ScenarioSystem system(scenario, design, {.like_pages = like_pages});
  auto worker = system.worker();
  std::map<ScenarioSystem::State, uint64_t> now = {{system.initial(), 1}};
  std::vector<std::pair<uint64_t, uint64_t>> all;
  while (!now.empty() && all.size() < 200) {
    std::map<ScenarioSystem::State, uint64_t> next;
    uint64_t sum = 0, violations = 0;
    for (const auto& [state, ways] : now) {
      Walks steps{system, next, ways};
      worker.expand(state, steps);
      sum += ways;
      violations += steps.violations;
    }
    all.emplace_back(sum, violations);
    now = std::move(next);
  }
  return all;
}

// What is one state now could do the same before: as many sequences of moves, of each length.
TEST(Explore, NumbersOfTablesAreNoBehaviour) {
  const model::ParsedDesign naive = model::parse_design_spec("naive");
  ASSERT_NE(naive.design, nullptr) << naive.error;
  const Scenario parents = open_scenario("seed-004/child-first");
  EXPECT_EQ(walks(parents, nullptr, true), walks(parents, nullptr, false));
  const auto broken = walks(parents, &naive.design->design, true);
  EXPECT_EQ(broken, walks(parents, &naive.design->design, false));
  EXPECT_TRUE(std::any_of(broken.begin(), broken.end(), [](const auto& n) { return n.second != 0; }));
  const Scenario pamt = open_scenario("pending/pamt-two-faults");
  EXPECT_EQ(walks(pamt, nullptr, true), walks(pamt, nullptr, false));
}

// Every step is run again, and what is known of it compared.
TEST(Explore, ChecksItself) {
  for (const char* name : {"unmap/fault-against-notifier", "gmem/fault-against-punch"}) {
    const Scenario scenario = open_scenario(name);
    const Exploration x = explore(scenario, nullptr, {});
    const Exploration y = explore(scenario, nullptr, {.self_check = true});
    EXPECT_EQ(x.states, y.states);
    EXPECT_EQ(x.transitions, y.transitions);
    // A footprint without mmu_lock: who waits for it, or does not, is taken to do so ever after.
    const ScenarioSystem broken(scenario, nullptr,
                                {.self_check = true,
                                 .forgets = replay::SteppedState::kFirstGroupSlot});
    EXPECT_THROW(Search<ScenarioSystem>(broken, {}).run(), std::logic_error);
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

// Threads that wait for each other for good are a violation, whose trace replays to it.
TEST(Explore, ADeadlockReplays) {
  const Scenario scenario = open_scenario("bugs/prefault-slot-deadlock");
  const std::string name = "linux-7.2,prefault_eagain_on_invalid_slot=no";
  const model::ParsedDesign design = model::parse_design_spec(name);
  ASSERT_NE(design.design, nullptr) << design.error;
  const PinnedRun run = run_pinned(scenario, &design.design->design, name, {}, nullptr);
  ASSERT_TRUE(run.found.violation);
  EXPECT_EQ(run.found.violation->invariant, kStuck);
  EXPECT_TRUE(run.replays);
  std::vector<Packet> shorter = run.counterexample;
  shorter.pop_back();  // one of the two has not tried in vain
  EXPECT_FALSE(replays_to(scenario.info, shorter, kStuck));
}

// What is pinned is compared number by number.
TEST(Pinned, SaysWhatDiffers) {
  const Scenario scenario = open_scenario("bugs/retry-keeps-page");
  ASSERT_FALSE(scenario.pinned.empty());
  Pinned p = scenario.pinned[0];
  const model::ParsedDesign design = model::parse_design_spec(p.design);
  ASSERT_NE(design.design, nullptr) << design.error;
  EXPECT_EQ(run_pinned(scenario, &design.design->design, p.design, {}, &p).differs,
            std::vector<std::string>{});
  p.states++;
  p.invariant = "MMU-TLB-COVERED";
  EXPECT_EQ(run_pinned(scenario, &design.design->design, p.design, {}, &p).differs.size(), 2u);
}

// Two designs first differ where one of them gives the page back.
TEST(Difference, TheShortest) {
  const Scenario scenario = open_scenario("bugs/retry-keeps-page");
  const model::ParsedDesign a = model::parse_design_spec("linux-7.2");
  const model::ParsedDesign b = model::parse_design_spec("linux-7.2,early_retry_puts=no");
  const Difference d = first_difference(scenario, &a.design->design, &b.design->design, {}, 10'000);
  ASSERT_TRUE(d.found);
  const Exploration x = explore(scenario, &b.design->design, {});
  ASSERT_TRUE(x.violation);
  EXPECT_EQ(d.path.size(), x.path.size());
  EXPECT_EQ(d.in_a.find("violates"), std::string::npos);
  EXPECT_NE(d.in_b.find("violates MMU-FAULT-PAGE"), std::string::npos);
  const Difference none =
      first_difference(scenario, &a.design->design, &a.design->design, {}, 10'000);
  EXPECT_FALSE(none.found);
  EXPECT_EQ(none.bound, "");
}

TEST(Scenario, BoundsThatContradictAreRefused) {
  const std::string begin = std::string(kPrefix) + "packet { explore { max_states: 100 } }\n"
                                                   "packet { fault { gfn: 0x10 } }\n";
  const auto refused = [&](const std::string& packet) {
    EXPECT_THROW(scenario_of(begin + packet + "\n"), trace::TraceError) << packet;
  };
  EXPECT_EQ(scenario_of(begin).max_states, 100u);
  refused("packet { explored { verdict: EXPECTED_VERDICT_HOLDS states: 101 what: \"linux-7.2\" } }");
  refused("packet { explored { verdict: EXPECTED_VERDICT_HOLDS states: 5 what: \"no-design\" } }");
  // Nothing is pinned without the reduction.
  refused("packet { explored { verdict: EXPECTED_VERDICT_HOLDS states: 5 por: true what: \"linux-7.2\" } }");
  refused("packet { explored { verdict: EXPECTED_VERDICT_HOLDS states: 5 steps: 3 "
          "what: \"linux-7.2\" } }");
  refused("packet { explored { verdict: EXPECTED_VERDICT_VIOLATED states: 5 steps: 3 "
          "what: \"linux-7.2: MMU-NOTHING\" } }");
  refused("packet { explore {} }");
  EXPECT_THROW(scenario_of(std::string(kPrefix) + "packet { explore { busy: 17 } }\n"),
               trace::TraceError);
  std::string crowd = std::string(kPrefix) + "packet { explore {} }\n";
  for (int t = 1; t <= 9; t++) {
    crowd += "packet { thread: " + std::to_string(t) + " fault { gfn: 0x10 } }\n";
  }
  EXPECT_THROW(scenario_of(crowd), trace::TraceError);
}

TEST(Scenario, WithoutMarkerThereIsNothingToExplore) {
  EXPECT_TRUE(scenario_of(kPrefix).threads.empty());
}

TEST(Scenario, WhatChangesTheWorldStandsBeforeTheMarker) {
  for (const char* packet :
       {"packet { vcpu_create {} }", "packet { kernel {} }", "packet { step {} }",
        "packet { tdp_map_ret { ret: 5 } }", "packet { vm_create {} }",
        "packet { shadow_split {} }"}) {
    EXPECT_THROW(scenario_of(std::string(kPrefix) + kMarker + packet + "\n"), trace::TraceError)
        << packet;
  }
  EXPECT_THROW(scenario_of(kMarker), trace::TraceError);
}

}  // namespace
}  // namespace mmucheck::explore
