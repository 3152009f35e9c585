// Conflicts that a scenario says it is about: how they are named, and whether a search has seen them.
#include "checker/explore/expected_conflict.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "checker/explore/pinned.h"
#include "checker/explore/scenario_files_test.h"
#include "checker/trace/test_files.h"

namespace mmucheck::explore {
namespace {

std::string why_refused(const std::string& what) {
  try {
    parse_expected_conflict(what);
  } catch (const std::invalid_argument& error) {
    return error.what();
  }
  return "";
}

TEST(ExpectedConflict, AStepIsCalledByAnyPartOfWhatItShows) {
  const StepName ret = parse_expected_conflict("thread 1 page_aug_ret; thread 2 begins").first;
  EXPECT_TRUE(ret.is(1, "fault", "sept_state L1, seamcall_ret, page_aug_ret"));
  EXPECT_TRUE(ret.is(1, "fault, guest_accept", "page_aug_ret"));
  EXPECT_FALSE(ret.is(2, "fault", "page_aug_ret"));
  EXPECT_FALSE(ret.is(1, "fault", "page_aug L1"));
  const StepName level =
      parse_expected_conflict("thread 1 [fault] set_spte L2; thread 2 begins").first;
  EXPECT_TRUE(level.is(1, "fault", "set_spte L2"));
  EXPECT_FALSE(level.is(1, "fault", "set_spte L1"));
  EXPECT_FALSE(level.is(1, "guest_accept, prefault", "set_spte L2"));
  EXPECT_TRUE(level.is(1, "guest_accept, fault", "set_spte L2"));
  const StepName any = parse_expected_conflict("thread 1 set_spte; thread 2 begins").first;
  EXPECT_TRUE(any.is(1, "fault", "set_spte L1"));
  const StepName both =
      parse_expected_conflict(" thread 1  [fault]  set_spte, seamcall_ret ;thread 2 begins").first;
  EXPECT_FALSE(both.is(1, "fault", "set_spte L1"));
  EXPECT_TRUE(both.is(1, "fault", "seamcall_ret, set_spte L1"));
  const StepName writes =
      parse_expected_conflict("thread 1 writes TD epoch; thread 2 begins").first;
  EXPECT_TRUE(writes.is(1, "fault", "writes PAMT entry's lock, TD epoch, ..."));
  EXPECT_FALSE(writes.is(1, "fault", "writes TD epoch's lock"));
  EXPECT_FALSE(writes.is(1, "fault", "reads TD epoch"));
}

TEST(ExpectedConflict, WhatNoStepIsCalledIsRefused) {
  EXPECT_EQ(why_refused("thread 1 set_spte L1; thread 2 write_lock(mmu_lock)"), "");
  EXPECT_EQ(why_refused("thread 1 set_spt L1; thread 2 begins"),
            "\"thread 1 set_spt L1\" names no step: nothing that a step does is called \"set_spt L1\","
            " near: set_spte");
  EXPECT_NE(why_refused("thread 1 begins; thread 2 writes TD epok").find("near: writes TD epoch"),
            std::string::npos);
  EXPECT_NE(why_refused("thread 1 set_spte L6; thread 2 begins"), "");
  EXPECT_NE(why_refused("thread 1 set_spte L1"), "");
  EXPECT_NE(why_refused("thread 1 begins; thread 2 begins; thread 3 begins"), "");
  EXPECT_NE(why_refused("thread 1 begins; thread 1 goes on"), "");
  EXPECT_NE(why_refused("thread 1; thread 2 begins"), "");
  EXPECT_NE(why_refused("thread one begins; thread 2 begins"), "");
  EXPECT_NE(why_refused("thread 1 [fault begins; thread 2 begins"), "");
  EXPECT_NE(why_refused("1 begins; thread 2 begins"), "");
  EXPECT_NE(why_refused(""), "");
  EXPECT_EQ(why_refused(std::string(1'000'000, 'x')), "\"what\" is longer than 500 letters");
}

// A scenario's threads and operations, wherever they stand.
TEST(ExpectedConflict, ThreadsAndOperationsAreTheScenarios) {
  const auto refusal = [](const std::string& what) -> std::string {
    try {
      const auto source = trace::opened(
          "packet { mmu_format { format: SPTE_FORMAT_NPT } }\npacket { vm_create {} }\n"
          "packet { memslot_create { slot: 0 base_gfn: 0x0 npages: 0x100 } }\n"
          "packet { vcpu_create {} }\npacket { explore {} }\n"
          "packet { expected_conflict { what: \"" + what + "\" } }\n"
          "packet { thread: 1 fault { gfn: 0x10 } }\n"
          "packet { thread: 2 memslot_delete { slot: 0 } }\n");
      read_scenario(*source);
    } catch (const trace::TraceError& error) {
      return error.what();
    }
    return "";
  };
  EXPECT_EQ(refusal("thread 1 [fault] begins; thread 2 [memslot_delete] begins"), "");
  EXPECT_NE(refusal("thread 1 begins; thread 3 begins").find("there is no thread 3"),
            std::string::npos);
  EXPECT_NE(refusal("thread 1 begins; thread 2 [memslot_delet] begins")
                .find("thread 2 has no operation memslot_delet, near: memslot_delete"),
            std::string::npos);
  EXPECT_NE(refusal("thread 1 begin; thread 2 begins"), "");
}

std::string first_why(const ExpectedConflict& e, const Coverage& c) {
  const auto missing = missing_conflicts({e}, c);
  return missing.empty() ? "" : missing.front().why;
}

TEST(ExpectedConflict, IsSeenInTheOrdersThatAreAskedFor) {
  ExpectedConflict e = parse_expected_conflict("thread 2 begins; thread 1 set_spte L1");
  Coverage c;
  c.counted = c.ordered = true;
  EXPECT_EQ(first_why(e, c), "such steps never conflicted");
  c.conflicts = {{{1, "fault", "set_spte L1"}, {2, "fault", "begins"}, "a cell", false, true}};
  EXPECT_EQ(first_why(e, c), "only the first was seen before the second");
  e.one_order = true;
  EXPECT_EQ(first_why(e, c), "");
  std::swap(c.conflicts[0].in_order, c.conflicts[0].reversed);
  EXPECT_EQ(first_why(e, c), "only the second was seen before the first");
  c.conflicts[0].reversed = true;
  e.one_order = false;
  EXPECT_EQ(first_why(e, c), "");
  // Not of two pairs, one order each.
  c.conflicts.push_back(c.conflicts[0]);
  c.conflicts[0].in_order = c.conflicts[1].reversed = false;
  EXPECT_EQ(first_why(e, c), "no two of them were seen in both orders");
  c.ordered = false;
  c.conflicts[0].reversed = c.conflicts[1].in_order = false;
  EXPECT_EQ(first_why(e, c), "in which orders was not looked at");
  c.counted = false;
  EXPECT_EQ(first_why(e, c), "not looked for: more kinds of steps than are counted");
}

TEST(ExpectedConflict, WhatWasNotSeenIsNoPass) {
  Scenario s = open_scenario("unmap/fault-against-notifier");
  const auto verdict = [&s](const char* what, bool one_order) {
    s.expected = {parse_expected_conflict(what)};
    s.expected.front().one_order = one_order;
    return std::string(verdict_text(run_pinned(s, nullptr, "", bounds_of(s), nullptr).found));
  };
  const char* const locks = "thread 1 [fault] read_lock(mmu_lock); thread 2 write_lock(mmu_lock)";
  EXPECT_EQ(verdict(locks, false), "holds");
  const char* const last = "thread 2 [notifier_begin] changed_spte L1; thread 1 set_spte L1";
  EXPECT_EQ(verdict(last, false), "nothing to check");
  EXPECT_EQ(verdict(last, true), "holds");
  EXPECT_EQ(verdict("thread 1 set_spte L1; thread 2 [notifier_begin] changed_spte L1", true),
            "nothing to check");
  EXPECT_EQ(verdict("thread 1 set_spte L2; thread 2 changed_spte L1", true), "nothing to check");
  // Nothing is said of it where there is something worse.
  const Bounds few{.max_depth = 5};
  EXPECT_EQ(std::string(verdict_text(run_pinned(s, nullptr, "", few, nullptr).found)),
            "inconclusive");
}

}  // namespace
}  // namespace mmucheck::explore
