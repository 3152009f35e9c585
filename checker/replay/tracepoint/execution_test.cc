// The execution that explains a stream: each operation from the steps that the rules found, and the
// gaps where none is legal.
#include <gtest/gtest.h>

#include "checker/replay/tracepoint/test_stream.h"

namespace mmucheck::replay {
namespace {

using K = trace::EventKind;
namespace f = trace::f;

// "kind xcount: effect first-last/level=changes, ..." of each.
std::vector<std::string> told(const report::Execution& x) {
  std::vector<std::string> all;
  for (const report::Operation& o : x.operations) {
    std::string s = o.kind;
    if (o.count > 1) s += " x" + std::to_string(o.count);
    for (const report::OperationRange& r : o.ranges) {
      s += (&r == o.ranges.data() ? ": " : ", ") + r.effect + " " + std::to_string(r.first_gfn) +
           "-" + std::to_string(r.last_gfn) + "/" + std::to_string(r.level) + "=" +
           std::to_string(r.changes);
    }
    all.push_back(s);
  }
  return all;
}

class Executions : public testing::TestWithParam<bool> {
 protected:
  TestStream s{GetParam()};
  void tear_down() {
    s.zap(1, 0x500);
    s.remove_all(true);
  }
  report::Execution run() { return s.run().execution; }
};

INSTANTIATE_TEST_SUITE_P(Kernels, Executions, testing::Bool(),
                         [](const auto& p) { return p.param ? "linux_6_12" : "linux_7_2"; });

TEST_P(Executions, AFaultAndTheZapOfItsRoot) {
  s.first_fault();
  tear_down();
  const report::Execution x = run();
  EXPECT_TRUE(x.complete());
  EXPECT_EQ(told(x), (std::vector<std::string>{
                         "new root",
                         "fault: link table 0-0/4=1, link table 0-0/3=1, link table 0-0/2=1, "
                         "map 1-1/1=1",
                         "zap of a root: zap 1-1/1=1, unlink table 0-0/2=513, "
                         "unlink table 0-0/3=513, unlink table 0-0/4=513"}));
  EXPECT_EQ(x.changes, 4u + 1 + 3 * 513);
  EXPECT_EQ(x.operations[1].ranges[3].root, 1u);
  // The whole stream stands in the operations, one after the other.
  EXPECT_EQ(x.operations[1].first_line, x.operations[0].last_line + 1);
  EXPECT_EQ(x.operations[2].first_line, x.operations[1].last_line + 1);
  EXPECT_EQ(x.operations[2].last_line, s.events.size() - 1);
}

TEST_P(Executions, FaultsInARowAreOneLineAndRangesBridgeWhatIsNotThere) {
  s.first_fault();
  for (const uint64_t gfn : {2, 3, 4, 8}) s.map(gfn, 0x600 + gfn);
  s.fault(9);
  s.fault(9);
  for (const uint64_t gfn : {2, 3, 4, 8}) s.zap(gfn, 0x600 + gfn);
  s.add(K::kUserspaceExit, {0, 0});
  tear_down();
  const report::Execution x = run();
  EXPECT_TRUE(x.complete());
  const std::vector<std::string> all = told(x);
  ASSERT_EQ(all.size(), 7u);
  EXPECT_EQ(all[2], "fault x3: map 2-4/1=3");
  EXPECT_EQ(all[3], "fault: map 8-8/1=1");
  EXPECT_EQ(all[4], "fault x2: at 9-9/0=0");
  EXPECT_EQ(all[5], "zap of a range: zap 2-8/1=4");
}

TEST_P(Executions, AZapThatPassesALeafIsTwoAndAnUnmapReachesNoMorePagesThanItsRange) {
  s.first_fault();
  for (uint64_t gfn = 2; gfn < 6; gfn++) s.map(gfn, 0x600 + gfn);
  s.zap(2, 0x602);
  s.zap(4, 0x604);
  s.add(K::kUnmapHvaRange, {0x7f0000003000, 0x7f0000004000});
  s.zap(3, 0x603);
  s.zap(5, 0x605);
  s.add(K::kUserspaceExit, {0, 0});
  tear_down();
  const report::Execution x = run();
  EXPECT_TRUE(x.complete());
  const std::vector<std::string> all = told(x);
  ASSERT_EQ(all.size(), 8u);
  EXPECT_EQ(all[3], "zap of a range: zap 2-2/1=1");
  EXPECT_EQ(all[4], "zap of a range: zap 4-4/1=1");
  EXPECT_EQ(all[5], "unmap by the notifier: zap 3-3/1=1");
  EXPECT_EQ(x.operations[5].stimulus, "kvm_unmap_hva_range");
  EXPECT_EQ(x.operations[5].stimulus_end, 0x7f0000004000u);
  EXPECT_EQ(all[6], "zap of a range: zap 5-5/1=1");
}

TEST_P(Executions, WhatGoesWithTheTablesIsNoUnmap) {
  s.first_fault();
  const size_t unmap = s.add(K::kUnmapHvaRange, {0x7f0000001000, 0x7f0000002000});
  tear_down();
  const report::Execution x = run();
  EXPECT_TRUE(x.complete());
  const std::vector<std::string> all = told(x);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[2], "unmap by the notifier");
  EXPECT_EQ(x.operations[2].last_line, unmap);
  EXPECT_EQ(x.operations[2].changes, 0u);
  EXPECT_EQ(x.operations[3].kind, "zap of a root");
  EXPECT_EQ(x.operations[3].first_line, unmap + 1);
}

TEST_P(Executions, ATableGoesWithItsWholeRootOrForHugePages) {
  s.first_fault();
  s.get_page(0x40000, 1, 2);  // keeps the root from being empty
  s.fault(0x40001);
  s.request(0x40001, 0x700);
  for (uint64_t level = 2; level >= 1; level--) {
    s.get_page(0x40000, level);
    s.change(0x40000, level + 1, kEmpty, (0x204 - level) << 12 | kTableBits);
  }
  s.zap(1, 0x500);
  s.remove(0, 1, 0x103, true);
  s.add(K::kUserspaceExit, {0, 0});
  const report::Execution x = run();
  EXPECT_FALSE(x.complete());
  ASSERT_FALSE(x.gaps.empty());
  EXPECT_NE(std::find_if(x.gaps.begin(), x.gaps.end(),
                         [](const std::string& gap) {
                           return gap.find("their root is not empty") != std::string::npos;
                         }),
            x.gaps.end());
}

TEST_P(Executions, AgeingNeedsItsEvent) {
  s.first_fault();
  s.add(K::kAgeHva, {0x7f0000001000, 0x7f0000002000});
  s.change(1, 1, 0x500e67, 0x500e47);
  tear_down();
  EXPECT_TRUE(run().complete());
  std::erase_if(s.events, [](const trace::Event& e) { return e.kind == K::kAgeHva; });
  const report::Execution x = run();
  ASSERT_EQ(x.gaps.size(), 1u);
  EXPECT_NE(x.gaps[0].find("no event asked for ageing"), std::string::npos);
}

TEST_P(Executions, SplitsProtectionAndMendedFaults) {
  s.first_fault();
  s.change(1, 1, 0x500e67, 0x500e65);
  s.fault(1);
  s.add(K::kFastPageFault, {0, 0x1000, 7, 0x103008, 0x500e65, 0x500e67, 0, 1});
  tear_down();
  const report::Execution x = run();
  EXPECT_TRUE(x.complete());
  const std::vector<std::string> all = told(x);
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all[2], "write protection: write-protect 1-1/1=1");
  EXPECT_EQ(all[3], "fast page fault: mend 1-1/1=0");
}

TEST_P(Executions, AFindingIsAGap) {
  s.first_fault();
  tear_down();
  s.events.back().f[f::spte_changed::new_spte] ^= 0x20;
  const report::Verdict v = s.run();
  EXPECT_FALSE(v.divergences.empty() && v.violations.empty());
  EXPECT_FALSE(v.execution.complete());
}

TEST(ExecutionLog, IsBoundedAndOffUnlessAskedFor) {
  trace::Event e;
  e.thread = 1;
  ExecutionLog off(false);
  off.fault(e, 1);
  EXPECT_FALSE(off.finish().asked);
  ExecutionLog log(true);
  for (uint64_t i = 0; i < kMaxExecution; i++) log.fault(e, 2 * i);
  const report::Execution x = log.finish();
  EXPECT_EQ(x.operations.size(), kMaxExecution / 2);  // each with one range
  EXPECT_EQ(x.left_out, kMaxExecution / 2);
  EXPECT_FALSE(x.complete());
}

}  // namespace
}  // namespace mmucheck::replay
