// Calls of the TDX module in the orders that people argue about: a blocked parent, TLB tracking
// with two vCPUs, the vCPU that moves to another CPU, and ACCEPT against AUG. Each but the last was
// run on the module itself; the fourth trace is read from the sources of version 1.0.
#include <gtest/gtest.h>

#include <vector>

#include "model/store/radix_store.h"
#include "model/tdx/call.h"
#include "model/tdx/td_setup.h"

namespace mmucheck::model::tdx {
namespace {

using World = ModuleWorld<RadixStore>;

// A running TD with two vCPUs, one S-EPT page of 4K entries, and x, a MAPPED page at GPA 0.
class Td {
 public:
  static constexpr uint64_t kTdr = 0x100, kPage = 0x300, kNewPage = 0x400;

  Td() {
    config_.tdr = kTdr;
    config_.sept_root = 0x104;
    vcpus_ = {{0x120, 0}, {0x128, 0}};
    platform.tdmr_pages = 1 << 19;
    platform.hkid_mask = uint64_t{63} << 46;
    platform.first_private_hkid = 32;
    platform.tds = {&config_, 1};
    platform.vcpus = vcpus_;
    platform.followed = followed_;
    set_up_td(w, 0, {.op_state = OpState::kInitialized});
    for (uint32_t v = 0; v < 2; v++) set_up_vcpu(w, v, v, 0);
    for (int level = 3; level > 0; level--) {
      EXPECT_EQ(call(Leaf::kMemSeptAdd, level, 0x200 + static_cast<uint64_t>(level)),
                "TDX_SUCCESS");
    }
    EXPECT_EQ(call(Leaf::kMemPageAdd, 0, kPage), "TDX_SUCCESS");
    EXPECT_EQ(call(Leaf::kMrFinalize), "TDX_SUCCESS");
  }

  ModuleCall make(Leaf leaf, int level = 0, uint64_t new_page = 0) const {
    ModuleCall c;
    c.leaf = leaf;
    const bool tdr_in_rcx = leaf == Leaf::kMemTrack || leaf == Leaf::kMrFinalize;
    c.in.rcx = tdr_in_rcx ? kTdr << 12 : static_cast<uint64_t>(level);
    c.in.rdx = leaf_info(leaf).tdr == LockMode::kNone ? 0 : kTdr << 12;
    c.in.r8 = new_page << 12;
    c.in.r9 = leaf == Leaf::kMemPageAdd ? 0xd0000000 : 0;
    return c;
  }
  std::string run(ModuleCall c) {
    run_call(w, c);
    last = c;
    return status_text(c.status);
  }
  std::string call(Leaf leaf, int level = 0, uint64_t new_page = 0) {
    return run(make(leaf, level, new_page));
  }
  std::string enter(uint32_t vcpu, uint32_t lp) {
    ModuleCall c = make(Leaf::kVpEnter);
    c.vcpu = vcpu;
    c.lp = lp;
    return run(c);
  }
  void leave(uint32_t vcpu) {
    ModuleCall c = make(Leaf::kTdExit);
    c.vcpu = vcpu;
    run(c);
  }
  std::string access(uint32_t vcpu, uint32_t lp) {
    ModuleCall c = make(Leaf::kGuestAccess);
    c.vcpu = vcpu;
    c.lp = lp;
    return run(c);
  }
  std::string flush(uint32_t vcpu, uint32_t lp) {
    ModuleCall c = make(Leaf::kVpFlush);
    c.in.rcx = vcpus_[vcpu].tdvpr << 12;
    c.lp = lp;
    return run(c);
  }
  std::string state(int level = 0) { return sept_state_name(sept_walk(w, 0, 0, level).entry); }
  uint64_t epoch() const { return w.get(CellKind::kTdEpoch); }
  uint64_t refcount(uint64_t parity) const { return w.get(CellKind::kTdRefcount, 0, parity); }
  uint64_t vcpu_epoch(uint32_t v) const { return w.get(CellKind::kTdvpsEpoch, v); }

  Platform platform;
  RadixStore store;
  World w{store, platform};
  ModuleCall last;

 private:
  TdConfig config_;
  std::vector<VcpuConfig> vcpus_;
  std::vector<uint64_t> followed_ = {0};
};

constexpr Leaf kBlock = Leaf::kMemRangeBlock, kUnblock = Leaf::kMemRangeUnblock;
constexpr Leaf kTrack = Leaf::kMemTrack, kRemove = Leaf::kMemPageRemove;

TEST(TdxCalls, ABlockedParentIsADeadEnd) {
  Td td;
  EXPECT_EQ(td.call(kBlock, 0), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kBlock, 1), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kTrack), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kRemove, 0), "TDX_EPT_WALK_FAILED:RCX");
  EXPECT_EQ(td.last.out.rdx, 0x8101u);
  EXPECT_EQ(td.call(Leaf::kMemSeptRemove, 1), "TDX_EPT_PAGE_NOT_FREE:RCX");
  EXPECT_EQ(td.call(kUnblock, 1), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kRemove, 0), "TDX_SUCCESS");
  EXPECT_EQ(td.call(Leaf::kMemSeptRemove, 1), "TDX_GPA_RANGE_NOT_BLOCKED:RCX");
}

TEST(TdxCalls, BottomUpWorks) {
  Td td;
  EXPECT_EQ(td.call(kBlock, 0), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kTrack), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kRemove, 0), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kBlock, 1), "TDX_SUCCESS");
  EXPECT_EQ(td.call(Leaf::kMemSeptRemove, 1), "TDX_TLB_TRACKING_NOT_DONE:RCX");
  EXPECT_EQ(td.call(kTrack), "TDX_SUCCESS");
  EXPECT_EQ(td.call(Leaf::kMemSeptRemove, 1), "TDX_SUCCESS");
  EXPECT_EQ(td.state(1), "FREE");
}

// The worked example of two vCPUs A and B, step by step as the module ran it.
TEST(TdxCalls, TrackingWithTwoVcpus) {
  Td td;
  constexpr uint32_t a = 0, b = 1;
  struct Step {
    const char* what;
    const char* result;
    uint64_t epoch, even, odd, a_epoch, b_epoch, bepoch;
    const char* leaf;
  };
  const Step steps[] = {
      {"A in", "TDX_SUCCESS", 1, 0, 1, 1, 0, 0, "MAPPED"},
      {"B in", "TDX_SUCCESS", 1, 0, 2, 1, 1, 0, "MAPPED"},
      {"remove", "TDX_GPA_RANGE_NOT_BLOCKED:RCX", 1, 0, 2, 1, 1, 0, "MAPPED"},
      {"block", "TDX_SUCCESS", 1, 0, 2, 1, 1, 1, "BLOCKED"},
      {"remove", "TDX_TLB_TRACKING_NOT_DONE:RCX", 1, 0, 2, 1, 1, 1, "BLOCKED"},
      {"track", "TDX_SUCCESS", 2, 0, 2, 1, 1, 1, "BLOCKED"},
      {"remove", "TDX_TLB_TRACKING_NOT_DONE:RCX", 2, 0, 2, 1, 1, 1, "BLOCKED"},
      {"A out", "", 2, 0, 1, 1, 1, 1, "BLOCKED"},
      {"remove", "TDX_TLB_TRACKING_NOT_DONE:RCX", 2, 0, 1, 1, 1, 1, "BLOCKED"},
      {"A in", "TDX_SUCCESS", 2, 1, 1, 2, 1, 1, "BLOCKED"},
      {"track", "TDX_PREVIOUS_TLB_EPOCH_BUSY", 2, 1, 1, 2, 1, 1, "BLOCKED"},
      {"remove", "TDX_TLB_TRACKING_NOT_DONE:RCX", 2, 1, 1, 2, 1, 1, "BLOCKED"},
      {"B out", "", 2, 1, 0, 2, 1, 1, "BLOCKED"},
      {"remove", "TDX_SUCCESS", 2, 1, 0, 2, 1, 1, "FREE"},
      {"track", "TDX_SUCCESS", 3, 1, 0, 2, 1, 1, "FREE"},
  };
  int n = 0;
  for (const Step& s : steps) {
    const std::string_view what = s.what;
    n++;
    std::string got;
    if (what == "A in") got = td.enter(a, 0);
    if (what == "B in") got = td.enter(b, 1);
    if (what == "A out") td.leave(a);
    if (what == "B out") td.leave(b);
    if (what == "remove") got = td.call(kRemove);
    if (what == "block") got = td.call(kBlock);
    if (what == "track") got = td.call(kTrack);
    EXPECT_EQ(got, s.result) << n;
    EXPECT_EQ(td.epoch(), s.epoch) << n;
    EXPECT_EQ(td.refcount(0), s.even) << n;
    EXPECT_EQ(td.refcount(1), s.odd) << n;
    EXPECT_EQ(td.vcpu_epoch(a), s.a_epoch) << n;
    EXPECT_EQ(td.vcpu_epoch(b), s.b_epoch) << n;
    EXPECT_EQ(pamt_bepoch(td.w, k4K, Td::kPage), s.bepoch) << n;
    EXPECT_EQ(td.state(), s.leaf) << n;
  }
}

// B comes to the CPU on which A touched x, after x was removed. The flush at a vCPU switch is what
// keeps B from using A's translation: version 1.0 had none.
std::string stale_access(bool flush_on_vcpu_switch) {
  Td td;
  td.platform.version.flush_on_vcpu_switch = flush_on_vcpu_switch;
  constexpr uint32_t a = 0, b = 1, lp1 = 0, lp2 = 1;
  EXPECT_EQ(td.enter(a, lp1), "TDX_SUCCESS");
  EXPECT_EQ(td.access(a, lp1), "ACCESS_OK");
  td.leave(a);
  EXPECT_EQ(td.enter(b, lp2), "TDX_SUCCESS");
  td.leave(b);
  EXPECT_EQ(td.call(kBlock), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kTrack), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kRemove), "TDX_SUCCESS");
  EXPECT_EQ(pamt_type(td.w, k4K, Td::kPage), Pt::kNda);
  EXPECT_EQ(td.flush(b, lp2), "TDX_SUCCESS");
  EXPECT_EQ(td.enter(b, lp1), "TDX_SUCCESS");
  return td.access(b, lp1);
}
TEST(TdxCalls, AVcpuThatMovesMeetsNoStaleTranslation) {
  EXPECT_EQ(stale_access(true), "TD_EXIT_EPT_VIOLATION");
  EXPECT_EQ(stale_access(false), "ACCESS_OK");
}

// A vCPU that stays inside may use what it cached before the block.
TEST(TdxCalls, AStaleTranslationServesUntilTheVcpuLeaves) {
  Td td;
  EXPECT_EQ(td.enter(0, 0), "TDX_SUCCESS");
  EXPECT_EQ(td.access(0, 0), "ACCESS_OK");
  EXPECT_EQ(td.call(kBlock), "TDX_SUCCESS");
  EXPECT_EQ(td.access(0, 0), "ACCESS_OK");
  EXPECT_EQ(td.call(kTrack), "TDX_SUCCESS");
  td.leave(0);
  EXPECT_EQ(td.enter(0, 0), "TDX_SUCCESS");
  EXPECT_TRUE(td.last.flushed_epoch);
  EXPECT_EQ(td.access(0, 0), "TD_EXIT_EPT_VIOLATION");
}

// ACCEPT walks, AUG commits, ACCEPT locks and looks again: of all orders of the steps of the two,
// exactly these answers come out.
TEST(TdxCalls, AcceptAgainstAug) {
  std::map<std::string, int> answers;
  for (int before = 0; before <= 4; before++) {       // steps of AUG before ACCEPT begins
    for (int between = 0; between <= 4; between++) {  // and between its walk and its lock
      if (before + between > 4) continue;
      Td td;
      EXPECT_EQ(td.call(kBlock), "TDX_SUCCESS");
      EXPECT_EQ(td.call(kTrack), "TDX_SUCCESS");
      EXPECT_EQ(td.call(kRemove), "TDX_SUCCESS");
      EXPECT_EQ(td.enter(0, 0), "TDX_SUCCESS");
      ModuleCall aug = td.make(Leaf::kMemPageAug, 0, Td::kNewPage);
      ModuleCall accept = td.make(Leaf::kPageAccept);
      for (int i = 0; i < before; i++) step(td.w, aug);
      step(td.w, accept);
      for (int i = 0; i < between; i++) step(td.w, aug);
      run_call(td.w, accept);
      run_call(td.w, aug);
      answers[status_text(accept.status)]++;
    }
  }
  std::vector<std::string> seen;
  for (const auto& [text, n] : answers) seen.push_back(text);
  EXPECT_EQ(seen, (std::vector<std::string>{"TDX_OPERAND_BUSY:RCX", "TDX_PAGE_SIZE_MISMATCH:L0",
                                            "TDX_SUCCESS", "TD_EXIT_EPT_VIOLATION"}));
}

// Which page does not matter, nor where in it: TDG.MEM.PAGE.ATTR.RD takes a byte's address. What it
// shows, and what an exit tells, is the page.
TEST(TdxCalls, AttrRdTakesAnyByteOfThePage) {
  Td td;
  EXPECT_EQ(td.enter(0, 0), "TDX_SUCCESS");
  ModuleCall rd = td.make(Leaf::kPageAttrRd);
  rd.in.rcx = 0x123;
  EXPECT_EQ(td.run(rd), "TDX_SUCCESS");
  EXPECT_EQ(td.last.out.rcx, 0u);
  rd.in.rcx = 0x1fff;  // the next page, which is not there
  EXPECT_EQ(td.run(rd), "TD_EXIT_EPT_VIOLATION");
  EXPECT_EQ(td.last.exit.gpa, 0x1000u);
}

// RECLAIM tells type, owner and size of what it could take: not of a page that is reserved.
TEST(TdxCalls, ReclaimOfAReservedPageTellsNothing) {
  Td td;
  set_pamt_type(td.w, k4K, 2, Pt::kRsvd);
  ModuleCall reclaim = td.make(Leaf::kPhymemPageReclaim);
  reclaim.in.rcx = 2 << 12;
  EXPECT_EQ(td.run(reclaim), "TDX_PAGE_METADATA_INCORRECT:RCX");
  EXPECT_EQ(td.last.out.rcx, 0u);
  EXPECT_EQ(td.last.out.rdx, 0u);
}

// RECLAIM has six registers for its answer, three of them reserved. SEPT.ADD shows which pages it
// did not use, without the bit that is no part of a page, even to a caller of an unknown version.
TEST(TdxCalls, RegistersOfAnAnswerAreClearedWhateverComes) {
  Td td;
  ModuleCall reclaim = td.make(Leaf::kPhymemPageReclaim);
  reclaim.in = {.rcx = 1, .rdx = 2, .r8 = 3, .r9 = 4, .r10 = 5, .r11 = 6};
  EXPECT_EQ(td.run(reclaim), "TDX_OPERAND_INVALID:RCX");
  for (const uint64_t r : {td.last.out.rcx, td.last.out.r9, td.last.out.r10, td.last.out.r11}) {
    EXPECT_EQ(r, 0u);
  }
  ModuleCall add = td.make(Leaf::kMemSeptAdd, 1, 0x500);
  add.in.r8 |= uint64_t{1} << 63;
  add.in.r9 = kNullPa;
  add.version = 2;
  EXPECT_EQ(td.run(add), "TDX_OPERAND_INVALID:RAX");
  EXPECT_EQ(td.last.out.r8, uint64_t{0x500} << 12);
  EXPECT_EQ(td.last.out.r9, kNullPa);
}

// Before MNG.INIT the TD has no count of vCPUs that VPFLUSHDONE could look at.
TEST(TdxCalls, VpflushdoneCountsVcpusOfAnInitializedTd) {
  const auto done = [](OpState at) {
    Td td;
    td.w.set(CellKind::kTdOpState, 0, 0, static_cast<uint64_t>(at));
    ModuleCall c = td.make(Leaf::kMngVpflushdone);
    c.in.rcx = Td::kTdr << 12;
    return td.run(c);
  };
  EXPECT_EQ(done(OpState::kRunnable), "TDX_FLUSHVP_NOT_DONE");
  EXPECT_EQ(done(OpState::kFailedImport), "TDX_FLUSHVP_NOT_DONE");
  EXPECT_EQ(done(OpState::kUninitialized), "TDX_SUCCESS");
}

// An interrupted ACCEPT leaves its counter in the 2M entry. PROMOTE copies the first child as it
// is; after that no call takes the counter for one: it is in the address bits of a 1G entry.
TEST(TdxCalls, PromoteKeepsTheCounterOfTheFirstChild) {
  Td td;
  constexpr uint64_t k1GPage = 1 << 18;
  constexpr uint64_t kGpa = uint64_t{1} << 30;
  ModuleCall sept = td.make(Leaf::kMemSeptAdd, 2, 0x500);
  sept.in.rcx |= kGpa;
  EXPECT_EQ(td.run(sept), "TDX_SUCCESS");
  for (uint64_t i = 0; i < 512; i++) {
    ModuleCall aug = td.make(Leaf::kMemPageAug, 1, k1GPage + i * 512);
    aug.in.rcx |= kGpa + i * sept_span(1);
    ASSERT_EQ(td.run(aug), "TDX_SUCCESS");
  }
  EXPECT_EQ(td.enter(0, 0), "TDX_SUCCESS");
  ModuleCall accept = td.make(Leaf::kPageAccept, 1);
  accept.in.rcx |= kGpa;
  accept.intr_after = 5;
  EXPECT_EQ(td.run(accept), "TDCALL_INTERRUPTED");
  td.leave(0);
  ModuleCall c = td.make(kBlock, 2);
  c.in.rcx |= kGpa;
  EXPECT_EQ(td.run(c), "TDX_SUCCESS");
  EXPECT_EQ(td.call(kTrack), "TDX_SUCCESS");
  c.leaf = Leaf::kMemPagePromote;
  EXPECT_EQ(td.run(c), "TDX_SUCCESS");
  const auto entry = [&td] { return sept_walk(td.w, 0, kGpa, 2).entry; };
  const uint64_t page = k1GPage << 12 | 5u << kAcceptCounterShift;
  EXPECT_EQ(entry(), make_sept_entry(SeptEntryState::kPending, page));
  c.leaf = kBlock;
  EXPECT_EQ(td.run(c), "TDX_SUCCESS");
  EXPECT_EQ(entry(), make_sept_entry(SeptEntryState::kPendingBlocked, page));
  EXPECT_EQ(td.call(kTrack), "TDX_SUCCESS");
  c.leaf = kRemove;
  EXPECT_EQ(td.run(c), "TDX_SUCCESS");
  EXPECT_EQ(td.last.out.rcx, k1GPage << 12);
}

// After every call, whatever it answered, the locks that it took are free.
TEST(TdxCalls, NoLockStaysBehind) {
  Td td;
  for (const LeafInfo& leaf : kLeafInfo) {
    if (leaf.leaf >= Leaf::kVpEnter) continue;
    for (int level = 0; level < 4; level++) {
      td.call(leaf.leaf, level, Td::kNewPage);
      EXPECT_EQ(td.w.get(CellKind::kTdSeptLock), 0u) << leaf.name;
      EXPECT_EQ(td.w.get(CellKind::kTdOpStateLock), 0u) << leaf.name;
      EXPECT_EQ(td.w.get(CellKind::kTdEpochLock), 0u) << leaf.name;
      for (const int size : {k4K, k2M, k1G}) {
        for (const uint64_t page : {Td::kTdr, Td::kPage, Td::kNewPage}) {
          EXPECT_EQ(td.store.get(pamt_cell(CellKind::kPamtLock, size, page)), 0u) << leaf.name;
        }
      }
      for (int l = 0; l < 4; l++) {
        EXPECT_EQ(sept_walk(td.w, 0, 0, l).entry & (kSeptTdel | kSeptTdhp), 0u) << leaf.name;
      }
    }
  }
}

}  // namespace
}  // namespace mmucheck::model::tdx
