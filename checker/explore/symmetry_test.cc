// Symmetry of scenarios keeps what it promises, finds out which threads are alike, and broken ones
// are noticed. All scenarios: mmucheck explore --table --symmetry --self-check traces/scenarios.
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "checker/explore/pinned.h"
#include "checker/explore/scaled.h"
#include "checker/explore/scenario_files_test.h"
#include "checker/explore/symmetric_search.h"
#include "checker/trace/event_kinds.h"
#include "checker/trace/test_files.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

using replay::SteppedState;

struct SymmetricCase {
  const char *scenario, *design;
  unsigned vcpus = 0, gfns = 0;  // 0: as in the scenario
};

struct Seen {
  StateCounts own, all;  // all: that they stand for
  std::set<unsigned> violated;
  ThreadGroups symmetric;

  explicit Seen(const Searched& s)
      : own{s.result.states, s.result.transitions, s.result.end_states},
        all(s.stands_for()),
        symmetric(s.symmetric) {
    for (const auto& v : s.result.violations) violated.insert(v.property);
  }
  bool operator==(const Seen&) const = default;
};

class Symmetric {
 public:
  Symmetric(Scenario scenario, const char* design)
      : scenario_(std::move(scenario)), design_(model::parse_design_spec(design)) {
    options.busy = scenario_.busy;
    options.all = true;
  }
  explicit Symmetric(const SymmetricCase& c)
      : Symmetric(scaled(open_scenario(c.scenario),
                         {c.vcpus == 0 ? std::nullopt : std::optional<unsigned>(c.vcpus),
                          c.gfns == 0 ? std::nullopt : std::optional<unsigned>(c.gfns)}),
                  c.design) {}

  Seen whole() const { return run(false, 1); }
  Seen reduced(unsigned workers = 1) const { return run(true, workers); }
  const Scenario& scenario() const { return scenario_; }
  const model::Design* design() const { return &design_.design->design; }

  ScenarioSystem::Options options;
  SearchBounds bounds = {.all = true};

 private:
  Seen run(bool symmetry, unsigned workers) const {
    SearchBounds with = bounds;
    with.workers = workers;
    return Seen(symmetric_search(scenario_, design(), options, with, symmetry));
  }

  Scenario scenario_;
  model::ParsedDesign design_;
};

const ThreadGroups kFirstTwo = {{1, 2}};

Scenario with_fault(Scenario s, uint32_t thread, size_t field, uint64_t value) {
  Packet& p = s.threads.at(thread).front().packets.front();
  trace::Event e = p.event();
  e.set(field, value);
  p = Packet(e);
  return s;
}

// Every state is one of those that are kept, with threads exchanged: numbers are exact.
TEST(Symmetry, StandsForEveryState) {
  for (const SymmetricCase& c : {SymmetricCase{"seed-004/two-vcpus-leaf", "upstream-7.x"},
                                 SymmetricCase{"seed-004/two-vcpus-one-table", "upstream-7.x"},
                                 SymmetricCase{"seed-004/two-leafs-busy", "upstream-7.x"},
                                 SymmetricCase{"seed-004/child-first", "naive"}}) {
    for (const bool like_pages : {false, true}) {
      SCOPED_TRACE(std::string(c.scenario) + " " + c.design + (like_pages ? " like pages" : ""));
      Symmetric s(c);
      s.options.like_pages = like_pages;
      const Seen whole = s.whole(), less = s.reduced();
      EXPECT_EQ(less.symmetric, kFirstTwo);
      EXPECT_EQ(less.all, whole.own);
      EXPECT_EQ(less.violated, whole.violated);
      EXPECT_LT(less.own.states * 10, whole.own.states * 6);
    }
  }
}

// With partial order reduction end states are those of all orders, and by all names.
TEST(Symmetry, WithPartialOrderReduction) {
  for (const SymmetricCase& c : {SymmetricCase{"seed-004/two-vcpus-one-table", "upstream-7.x"},
                                 SymmetricCase{"seed-004/child-first", "naive"},
                                 SymmetricCase{"seed-004/two-leafs-busy", "upstream-7.x"}}) {
    SCOPED_TRACE(c.scenario);
    Symmetric s(c);
    s.options.like_pages = true;
    const Seen whole = s.whole();
    s.options.partial_order = true;
    const Seen ordered = s.whole(), less = s.reduced();
    EXPECT_EQ(less.symmetric, kFirstTwo);
    EXPECT_EQ(less.all.end_states, whole.own.end_states);
    EXPECT_EQ(less.violated, whole.violated);
    EXPECT_LT(less.own.states, ordered.own.states);
    EXPECT_EQ(s.reduced(3), less);
  }
}

TEST(Symmetry, OfThreeThreads) {
  Symmetric s({"seed-004/three-vcpus-one-page", "upstream-7.x"});
  const Seen whole = s.whole(), less = s.reduced();
  EXPECT_EQ(less.symmetric, (ThreadGroups{{1, 2, 3}}));
  EXPECT_EQ(less.all, whole.own);
  EXPECT_EQ(whole.own.states, 65'618u);
  EXPECT_EQ(less.own.states, 11'310u);
  EXPECT_EQ(s.reduced(3), less);
}

// Threads of 26 states each that have nothing to do with one another: of 26^n states those are kept
// in which the places are in order, (25 + n)! / (25! n!).
TEST(Symmetry, OfIndependentThreadsIsAFormula) {
  const Seen three = Symmetric({"big/five-leafs", "upstream-7.x", 3}).reduced();
  EXPECT_EQ(three.symmetric, (ThreadGroups{{1, 2, 3}}));
  EXPECT_EQ(three.own.states, 28u * 27 * 26 / 6);
  EXPECT_EQ(three.all.states, 26u * 26 * 26);
  EXPECT_EQ(three.all.transitions, 3u * 25 * 26 * 26);
  const Seen four = Symmetric({"big/five-leafs", "upstream-7.x", 4}).reduced();
  EXPECT_EQ(four.own.states, 29u * 28 * 27 * 26 / 24);
  EXPECT_EQ(four.all.states, 26u * 26 * 26 * 26);
}

// The zap of what is between them comes to one of the pages first; it takes some steps to show.
TEST(Symmetry, ARangeWalkTellsPagesApart) {
  Symmetric s({"seed-002/two-faults-and-hole", "upstream-7.x"});
  s.bounds.max_depth = 40;
  EXPECT_EQ(s.reduced().symmetric, kFirstTwo);
  s.bounds.max_depth = 62;
  const Seen whole = s.whole(), less = s.reduced();
  EXPECT_EQ(less, whole);
  EXPECT_TRUE(less.symmetric.empty());
}

// Those that differ in more than names are no candidates.
TEST(Symmetry, CandidatesDoTheSame) {
  const Scenario s = open_scenario("seed-004/three-vcpus-one-page");
  EXPECT_EQ(candidates(s, {}), (ThreadGroups{{1, 2, 3}}));
  EXPECT_EQ(candidates(s, {{1, 2}}), (ThreadGroups{{1, 3}}));
  EXPECT_EQ(candidates(s, {{1, 2}, {1, 3}}), (ThreadGroups{{2, 3}}));
  EXPECT_EQ(candidates(s, {{1, 2}, {1, 3}, {2, 3}}), ThreadGroups{});
  EXPECT_EQ(candidates(with_fault(s, 2, trace::f::fault::gfn, 0x11), {}),
            (ThreadGroups{{1, 2, 3}}));
  EXPECT_EQ(candidates(with_fault(s, 2, trace::f::fault::write, 0), {}), (ThreadGroups{{1, 3}}));
  EXPECT_EQ(candidates(open_scenario("big/five-leafs"), {}), (ThreadGroups{{1, 2, 3, 4, 5}}));
}

// The execution that is told is the one that the whole graph tells.
TEST(Symmetry, TellsTheSameShortestPath) {
  for (const bool partial_order : {false, true}) {
    const Symmetric s({"seed-004/child-first", "naive"});
    Bounds bounds = bounds_of(s.scenario());
    const Exploration plain = explore(s.scenario(), s.design(), bounds);
    bounds.symmetry = true;
    bounds.partial_order = partial_order;
    const PinnedRun less = run_pinned(s.scenario(), s.design(), "naive", bounds, nullptr);
    ASSERT_TRUE(plain.violation && less.found.violation);
    EXPECT_EQ(less.found.path, plain.path);
    EXPECT_EQ(less.found.violation->invariant, plain.violation->invariant);
    EXPECT_TRUE(less.replays && less.found.shortest);
    EXPECT_LT(less.found.states, plain.states);
  }
}

TEST(Symmetry, ChecksItself) {
  Symmetric s({"seed-004/two-vcpus-leaf", "upstream-7.x"});
  const Seen less = s.reduced();
  s.options.self_check = true;
  EXPECT_EQ(s.reduced(), less);
}

// Two or three threads, each of which faults once or twice on some of three pages.
Scenario random_scenario(const Scenario& pattern, std::mt19937_64& random) {
  namespace f = trace::f::fault;
  Scenario s = pattern;
  const auto n = static_cast<uint32_t>(2 + random() % 4 / 3);
  const Operation fault = pattern.threads.at(1).front();
  s.threads.clear();
  const bool same = random() % 2 == 0;
  for (uint32_t tid = 1; tid <= n; tid++) {
    const size_t count = n == 2 && random() % 3 == 0 ? 2 : 1;
    for (size_t i = 0; i < count; i++) {
      Operation op = fault;
      trace::Event e = op.packets.front().event();
      e.thread = tid;
      e.set(f::vcpu_id, tid - 1);
      e.set(f::gfn, same ? 0x10 : 0x10 + random() % 3);
      op.packets = {Packet(e)};
      s.threads[tid].push_back(op);
    }
  }
  return s;
}

TEST(Symmetry, OfRandomScenarios) {
  const Scenario pattern = open_scenario("seed-004/three-vcpus-one-page");
  std::mt19937_64 random(4);
  unsigned symmetric = 0;
  for (int i = 0; i < 12; i++) {
    SCOPED_TRACE(i);
    Symmetric s(random_scenario(pattern, random), i % 3 == 0 ? "naive" : "upstream-7.x");
    const Seen whole = s.whole(), less = s.reduced();
    EXPECT_EQ(less.all, whole.own);
    EXPECT_EQ(less.violated, whole.violated);
    symmetric += !less.symmetric.empty();
    s.options.like_pages = s.options.partial_order = true;
    const Seen both = s.reduced();
    EXPECT_EQ(both.violated, whole.violated);
  }
  EXPECT_GE(symmetric, 6u);
}

// --- symmetries that are wrong ---

// One faults on a page that is mapped, the other on one that is not.
TEST(BrokenSymmetry, OfThreadsThatAreNotAlike) {
  Scenario two = open_scenario("seed-004/three-vcpus-one-page");
  two.threads.erase(3);
  Symmetric s(with_fault(two, 2, trace::f::fault::gfn, 0x13), "upstream-7.x");
  const Seen whole = s.whole(), less = s.reduced();
  EXPECT_EQ(less, whole);
  EXPECT_TRUE(less.symmetric.empty());
  s.options.symmetry_faults.trusts = true;
  EXPECT_NE(s.reduced().all, whole.own);
  s.options.self_check = true;
  EXPECT_THROW(s.reduced(), std::logic_error);
}

// The exchange forgets what is in a slot: who holds the module's lock of which page, and which
// pages are the TD's.
TEST(BrokenSymmetry, OfAnExchangeThatForgetsSomething) {
  Symmetric s({"seed-004/two-leafs-busy", "upstream-7.x"});
  const Seen whole = s.whole();
  EXPECT_EQ(s.reduced().all, whole.own);
  for (const model::CellKind kind : {model::CellKind::kPamtLock, model::CellKind::kPamtOwner}) {
    s.options.self_check = false;
    s.options.symmetry_faults = {true, SteppedState::slot_of(model::cell::of(kind))};
    EXPECT_NE(s.reduced().all, whole.own);
    s.options.self_check = true;
    EXPECT_THROW(s.reduced(), std::logic_error);
  }
}

// Who holds mmu_lock is a count, and what is no part of a fault stays: forgetting it is no fault.
TEST(BrokenSymmetry, NothingIsForgottenWhereThreadsHaveNoNames) {
  Symmetric s({"seed-004/two-vcpus-leaf", "upstream-7.x"});
  const Seen less = s.reduced();
  s.options.symmetry_faults = {
      true, SteppedState::slot_of(model::cell::of(model::CellKind::kLockReaders))};
  EXPECT_EQ(s.reduced(), less);
}

}  // namespace
}  // namespace mmucheck::explore
