// Partial order reduction of scenarios keeps what it promises, and broken ones are noticed. All
// scenarios: mmucheck explore --table --por --self-check --max-states 100000 traces/scenarios.
#include <gtest/gtest.h>

#include <set>

#include "checker/explore/pinned.h"
#include "checker/explore/scenario_files_test.h"
#include "checker/explore/scenario_system.h"
#include "checker/replay/replay_trace.h"
#include "checker/trace/test_files.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

struct Case {
  const char *scenario, *design;
};

struct Found {
  uint64_t states = 0, transitions = 0, end_states = 0;
  std::set<unsigned> violated;

  explicit Found(const SearchResult<ScenarioSystem::State>& r)
      : states(r.states), transitions(r.transitions), end_states(r.end_states) {
    for (const auto& v : r.violations) violated.insert(v.property);
  }
  bool keeps(const Found& whole) const {
    return violated == whole.violated && end_states == whole.end_states;
  }
  bool operator==(const Found&) const = default;
};

class PartialOrder {
 public:
  explicit PartialOrder(const Case& c, bool like_pages = false)
      : scenario_(open_scenario(c.scenario)),
        design_(model::parse_design_spec(c.design)),
        options_{.busy = scenario_.busy, .all = true, .like_pages = like_pages} {}

  Found whole() const {
    const ScenarioSystem system(scenario_, &design_.design->design, options_);
    return Found(Search<ScenarioSystem>(system, {.all = true}).run());
  }
  Found reduced(const PartialOrderFaults& faults = {}, unsigned workers = 1,
                bool self_check = false) const {
    ScenarioSystem::Options options = options_;
    options.partial_order = true;
    options.faults = faults;
    options.self_check = self_check;
    ScenarioSystem system(scenario_, &design_.design->design, options);
    return Found(reduced_search(system, {.workers = workers, .all = true}));
  }
  const Scenario& scenario() const { return scenario_; }

 private:
  Scenario scenario_;
  model::ParsedDesign design_;
  ScenarioSystem::Options options_;
};

TEST(PartialOrder, KeepsViolationsAndEndStates) {
  uint64_t all = 0, reduced = 0;
  bool like_pages = false;
  for (const Case& c :
       {Case{"bugs/attr-huge-window", "linux-7.2,straddling_joins=no"},
        Case{"bugs/gmem-dying-binding", "linux-7.2,gmem_unbind=live-file"},
        Case{"bugs/nested-wp-skip", "linux-7.2,write_protect_skips=read-only"},
        Case{"bugs/retry-keeps-page", "linux-7.2,early_retry_puts=no"},
        Case{"bugs/root-reuse-tlb", "linux-7.2,root_load_flush=guest-only"},
        Case{"bugs/volatile-spte", "linux-7.2,volatile_atomic=no"},
        Case{"bugs/vp-init-tdr-lock", "linux-7.2,vp_init_mmu_lock=no"},
        Case{"bugs/yield-loses-flush", "linux-7.2,zap_flush=own"},
        Case{"bugs/zap-all-mirror", "linux-7.2,zap_all_spares_mirror=no"},
        Case{"bugs/zero-step-slot-deadlock", "linux-7.2,retry_tests_slot=no"},
        Case{"seed-002/zero-step", "v8"}, Case{"seed-004/accept-against-zap", "naive"},
        Case{"seed-004/populate-against-zap", "upstream-7.x"},
        Case{"seed-004/two-leafs-busy", "upstream-7.x"}}) {
    SCOPED_TRACE(c.scenario);
    // Every other one with tables numbered by thread.
    const PartialOrder p(c, like_pages);
    const Found whole = p.whole(), less = p.reduced();
    EXPECT_TRUE(less.keeps(whole));
    EXPECT_LT(less.states, whole.states);
    all += whole.states;
    reduced += less.states;
    like_pages = !like_pages;
  }
  EXPECT_LT(reduced * 2, all);
}

TEST(PartialOrder, AnyNumberOfWorkersGivesTheSame) {
  for (const Case& c : {Case{"seed-004/accept-against-zap", "naive"},
                        Case{"seed-004/two-leafs-busy", "upstream-7.x"},
                        Case{"bugs/gmem-dying-binding", "linux-7.2"}}) {
    const PartialOrder p(c);
    EXPECT_EQ(p.reduced(), p.reduced({}, 3));
  }
}

TEST(PartialOrder, ChecksItself) {
  const PartialOrder p({"bugs/attr-huge-window", "linux-7.2"});
  EXPECT_EQ(p.reduced({}, 1, true), p.reduced());
}

// The path that is told is one of the whole graph's shortest.
TEST(PartialOrder, TellsAShortestPath) {
  const PartialOrder p({"seed-004/populate-against-zap", "naive"});
  const model::ParsedDesign naive = model::parse_design_spec("naive");
  Bounds bounds = bounds_of(p.scenario());
  const Exploration plain = explore(p.scenario(), &naive.design->design, bounds);
  bounds.partial_order = true;
  const Exploration less = explore(p.scenario(), &naive.design->design, bounds);
  ASSERT_TRUE(plain.violation && less.violation);
  EXPECT_TRUE(less.shortest);
  EXPECT_EQ(less.path.size(), plain.path.size());
  EXPECT_EQ(less.violation->invariant, plain.violation->invariant);
  EXPECT_LT(less.states, plain.states);
  // A bound that the second search hits: the first path is all there is.
  bounds.max_states = less.states;
  const Exploration known = explore(p.scenario(), &naive.design->design, bounds);
  ASSERT_TRUE(known.violation);
  EXPECT_FALSE(known.shortest);
  EXPECT_GE(known.path.size(), plain.path.size());
}

// --- reductions that are wrong ---

TEST(BrokenPartialOrder, AFootprintThatMissesARead) {
  // Of mmu_lock: moves do not commute with what they put off.
  const PartialOrder p({"bugs/attr-huge-window", "linux-7.2"});
  EXPECT_THROW(p.reduced({.forgets_reads = replay::SteppedState::kFirstGroupSlot}, 1, true),
               std::logic_error);
  // Of invalidations: end states are missing.
  const PartialOrder q({"bugs/retry-keeps-page", "linux-7.2"});
  EXPECT_FALSE(
      q.reduced({.forgets_reads = replay::SteppedState::kFirstGroupSlot + 1}).keeps(q.whole()));
}

// The fault's first steps have nothing to do with what the zap does next, only with what follows.
TEST(BrokenPartialOrder, IndependenceOfNextStepsOnly) {
  for (const Case& c : {Case{"bugs/retry-keeps-page", "linux-7.2,early_retry_puts=no"},
                        Case{"bugs/zap-busy", "linux-7.2,seamcall_busy=bug"}}) {
    const PartialOrder p(c);
    const Found whole = p.whole();
    EXPECT_FALSE(whole.violated.empty());
    EXPECT_TRUE(p.reduced().keeps(whole));
    EXPECT_TRUE(p.reduced({.next_steps_only = true}).violated.empty());
  }
}

// A guest that asks again and again for a page puts off for ever what the zap would do.
TEST(BrokenPartialOrder, AStepThatIsPutOffForEver) {
  const PartialOrder p({"seed-004/accept-against-zap", "naive"});
  const Found whole = p.whole();
  EXPECT_TRUE(p.reduced().keeps(whole));
  EXPECT_LT(p.reduced({.puts_off_for_ever = true}).violated.size(), whole.violated.size());
}

}  // namespace
}  // namespace mmucheck::explore
