// What kprobes tell of changes where tracepoints are what is replayed: probes.cc.
#include <gtest/gtest.h>

#include "checker/replay/tracepoint/test_stream.h"

namespace mmucheck::replay {
namespace {

using K = trace::EventKind;

constexpr uint32_t kRole = 0x3784, kLeafRole = 0x3781, kSmmRole = kRole | uint32_t{1} << 24,
                   kMirrorRole = kLeafRole | uint32_t{1} << 19;
constexpr uint64_t kPage = 0x500 << 12 | kLeafBits;

class Probes : public testing::Test {
 public:
  Probes() {
    s.first_fault();
    s.map(2, 0x501);
    s.map(3, 0x502);
  }

  void walk(uint64_t root = 0x100, uint32_t role = kRole, uint32_t thread = 1) {
    s.add(K::kIterStart, {root, role, 0, 1, 1, 0}, thread);
  }
  // The call of handle_changed_spte; `table` 0: of a kernel that does not pass it.
  size_t call(uint64_t gfn, uint64_t old_spte, uint64_t new_spte, uint64_t table = 0,
              uint32_t thread = 1) {
    if (table == 0) return s.add(K::kChangedSpte, {0, gfn, old_spte, new_spte, 1, 1}, thread);
    return s.add(K::kChangedSpte, {0, gfn, old_spte, new_spte, 1, 1, table, kLeafRole, 0}, thread);
  }
  size_t zap(uint64_t gfn, uint64_t pfn, uint64_t table = 0) {
    call(gfn, pfn << 12 | kLeafBits, kEmpty, table);
    return s.zap(gfn, pfn);
  }
  report::Verdict run() {
    trace::TraceInfo info;
    info.kernel = trace::KernelVersion::k7_2;
    info.capabilities_known = true;
    info.capabilities.set(static_cast<size_t>(K::kPrepareZapPage));
    for (const trace::Event& e : s.events) info.capabilities.set(static_cast<size_t>(e.kind));
    return s.run(info);
  }
  std::string first() {
    const report::Verdict v = run();
    return v.divergences.empty() ? "" : v.divergences[0].excluded_by;
  }

  TestStream s{false};
};

TEST_F(Probes, AgreeWithTheirTracepoints) {
  walk();
  zap(1, 0x500);
  zap(2, 0x501);
  walk();
  zap(3, 0x502);
  EXPECT_EQ(first(), "");
}

TEST_F(Probes, TellTheSameValues) {
  walk();
  call(1, kPage ^ 1 << 20, kEmpty);
  s.zap(1, 0x500);
  EXPECT_EQ(first(), "TP-PROBE");
}

TEST_F(Probes, AreHitByEachChangeThatIsNotMadeInPlace) {
  walk();
  zap(1, 0x500);
  const uint64_t leaf = 0x501 << 12 | kLeafBits;
  s.change(2, 1, leaf, leaf & ~uint64_t{0x40});  // D
  EXPECT_EQ(first(), "");
  s.zap(3, 0x502);
  EXPECT_EQ(first(), "TP-PROBE");
}

TEST_F(Probes, AreFollowedByTheirTracepoints) {
  walk();
  zap(1, 0x500);
  call(2, 0x501 << 12 | kLeafBits, kEmpty);
  s.map(4, 0x503);
  EXPECT_EQ(first(), "TP-PROBE");
}

// What thread 2 was in when the recording began, nothing tells.
TEST_F(Probes, MayBeMissingUntilTheFirstWalk) {
  walk();
  zap(1, 0x500);
  s.zap(3, 0x502, 2);
  EXPECT_EQ(first(), "");
}

TEST_F(Probes, TellTheSpaceOfTheRootThatIsWalked) {
  walk(0x100, kSmmRole);
  zap(1, 0x500);
  EXPECT_EQ(first(), "TP-PROBE");
}

TEST_F(Probes, TellThatOneWalkGoesUp) {
  walk();
  zap(2, 0x501);
  zap(1, 0x500);
  EXPECT_EQ(first(), "TP-ORDER");
}

TEST_F(Probes, TellWhichPageBecomesATable) {
  s.fault(0x200);
  s.request(0x200, 0x600);
  s.add(K::kInitSp, {0x104, 0x102008, 0x200, kLeafRole});
  s.get_page(0x200, 1);
  const size_t link = s.change(0x200, 2, kEmpty, 0x104 << 12 | kTableBits);
  EXPECT_EQ(first(), "");
  s.events[link].set(trace::f::spte_changed::new_spte, 0x105 << 12 | kTableBits);
  EXPECT_EQ(first(), "TP-PROBE");
}

// Two roots map the page; the table that is named has it no more.
TEST_F(Probes, TellTablesApart) {
  s.get_page(0, 4);
  s.fault(1);
  s.request(1, 0x500);
  for (uint64_t level = 3; level >= 1; level--) {
    s.get_page(0, level);
    s.change(0, level + 1, kEmpty, (0x204 - level) << 12 | kTableBits);
  }
  call(1, kEmpty, kPage, 0x203);
  s.change(1, 1, kEmpty, kPage);
  s.add(K::kSetSpte, {1, kPage, 1, 0x203008});
  walk();
  zap(1, 0x500, 0x103);
  walk(0x200);
  zap(1, 0x500, 0x203);
  EXPECT_EQ(first(), "");
  s.events[s.events.size() - 2].set(trace::f::changed_spte::spt_pfn, 0x103);
  EXPECT_EQ(first(), "TP-CHAIN");
}

// A page of the kprobe's table is not one of the entry; but for the bit that tells shared from
// private.
TEST_F(Probes, NameATableThatHasTheEntry) {
  const size_t at = call(1, kPage, kEmpty, 0x103);
  s.zap(1, 0x500);
  EXPECT_EQ(first(), "");
  s.events[at].set(trace::f::changed_spte::table_gfn, uint64_t{1} << 35);
  EXPECT_EQ(first(), "");
  s.events[at].set(trace::f::changed_spte::table_gfn, uint64_t{1} << 16);
  EXPECT_EQ(first(), "TP-PROBE");
}

// kvm_arch_nr_memslot_as_ids: a VM with private memory has one address space.
TEST_F(Probes, AVmWithAMirrorHasOneAddressSpace) {
  const auto of_vm = [&](size_t event, uint32_t vm) { s.events[event].vm = vm; };
  s.add(K::kInitVm, {0});
  of_vm(s.add(K::kChangedSpte, {0, 1, kPage, kEmpty, 1, 1, 0x103, kMirrorRole, 0}), 1);
  of_vm(s.zap(1, 0x500), 1);
  const size_t other = s.change(2, 1, 0x501 << 12 | kLeafBits, kEmpty);
  EXPECT_EQ(first(), "");
  s.events[other].set(trace::f::spte_changed::as_id, 1);
  of_vm(other, 2);
  EXPECT_EQ(first(), "TP-CHAIN");
  of_vm(other, 1);
  EXPECT_EQ(first(), "TP-SPACE");
}

// The thread made a root of VM 2 before anything of it told its VM.
TEST_F(Probes, NameNoVmSurelyWhereNoneIsSeenToBeCreated) {
  s.get_page(0, 4);
  for (trace::Event& e : s.events) e.vm = 1;
  const size_t second = s.events.size();
  s.fault(1);
  s.request(1, 0x500);
  for (uint64_t level = 3; level >= 1; level--) {
    s.get_page(0, level);
    s.change(0, level + 1, kEmpty, (0x204 - level) << 12 | kTableBits);
  }
  s.change(1, 1, kEmpty, kPage);
  s.add(K::kSetSpte, {1, kPage, 1, 0x203008});
  for (size_t i = second; i < s.events.size(); i++) s.events[i].vm = 2;
  EXPECT_EQ(first(), "");
  s.add(K::kInitVm, {0});
  EXPECT_EQ(first(), "TP-CHAIN");
}

}  // namespace
}  // namespace mmucheck::replay
