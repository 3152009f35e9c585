// How a mirror entry and its S-EPT entry change together, by design: the order of exchange, hook,
// tracepoint and final value, what becomes of a hook's error, and which SEAMCALLs a hook issues;
// always beside what 7.2 does.
#include <gtest/gtest.h>

#include "model/tdp/reap.h"
#include "model/tdp/td_vm_test.h"

namespace mmucheck::model {
namespace {

constexpr int kEbusy = -16;
const tdx::Status kBusy{tdx::StatusCode::kOperandBusy};

// A TD whose tables for 2M at 0 are there, with events from here on.
struct Ready : Td {
  explicit Ready(std::string_view spec, bool module = false, bool runnable = true)
      : Td(spec, module) {
    w.set_field(CellKind::kPageAddSrc, 0, 1);  // a page of the image
    EXPECT_EQ(map(4, false), RetPf::kFixed) << spec;
    w.set_field(CellKind::kPageAddSrc, 0, 0);
    if (module && runnable) {
      TdxFinalize f;
      tdx_td_finalize(w, f);
      EXPECT_EQ(f.ret, 0) << spec;
    }
    env.events.clear();
  }
  TdpIter at(uint64_t gfn) {
    TdpIter it = tdp_iter_walk(w, mirror, kPgLevel4K, gfn);
    while (!it.valid || it.level > kPgLevel4K) tdp_iter_advance(w, it);
    env.events.clear();
    return it;
  }
};

struct Order {
  const char* design;
  const char* maps;
  const char* fails;    // the hook answers -EBUSY
  const char* unmaps;
};
// F, P, 0: the entry becomes frozen, present, nothing.
constexpr Order kOrders[] = {
    {"upstream-7.x", "F add trace P", "F add 0", "0 remove trace"},
    {"upstream-6.14", "F add P trace", "F add 0", "0 trace remove"},
    {"v19", "F add P trace", "F add 0", "0 trace remove remove"},
    {"v8", "F trace add P", "F trace add P", "0 trace remove"},
    {"naive", "P add trace", "P add trace", "0 remove trace"},
    {"naive,hook_errors=returned", "P add trace", "P add 0", "0 remove trace"},
    {"seam-first", "add P trace", "add", "0 remove trace"},
    {"seam-first,hook_errors=dropped", "add P trace", "add P trace", "0 remove trace"},
};

TEST(MirrorEntry, IsMappedAndUnmappedInTheDesignsOrder) {
  for (const Order& o : kOrders) {
    SCOPED_TRACE(o.design);
    Ready td(o.design);
    EXPECT_EQ(td.map(5, false), RetPf::kFixed);
    EXPECT_EQ(td.order(), o.maps);
    EXPECT_TRUE(td.mapped(td.mirror, 5));
    td.env.events.clear();
    td.unmap(5, 6, kFilterPrivate);
    EXPECT_EQ(td.order(), o.unmaps);
    EXPECT_FALSE(td.mapped(td.mirror, 5));
  }
}

TEST(MirrorEntry, AHooksErrorIsUndoneOrDropped) {
  for (const Order& o : kOrders) {
    SCOPED_TRACE(o.design);
    Ready td(o.design);
    td.env.answers = {kEbusy};
    const bool dropped = td.design.hook_errors == HookErrors::kDropped;
    EXPECT_EQ(td.map(5, false), dropped ? RetPf::kFixed : RetPf::kRetry);
    EXPECT_EQ(td.order(), o.fails);
    EXPECT_EQ(td.mapped(td.mirror, 5), dropped);
    EXPECT_FALSE(td.bugged());
  }
}

TEST(MirrorEntry, SharedEntriesAreNoneOfThat) {
  for (const Order& o : kOrders) {
    Ready td(o.design);
    td.map(4, true);
    td.env.events.clear();
    td.map(5, true);
    EXPECT_EQ(td.order(), "P trace") << o.design;
  }
}

// Another thread's exchange comes first: the hook has run all the same.
TEST(MirrorEntry, HookFirstLeavesTheSeptAheadOfTheMirror) {
  for (const char* design : {"seam-first", "upstream-7.x"}) {
    Ready td(design, true);
    const TdpIter it = td.at(5);
    td.env.at = [&](Point p, uint32_t table, uint32_t index) {
      if (p == Point::kCas && index == it.index) {
        td.store.set(cell::pte(table, index), td.w.fmt.frozen);
        td.env.at = nullptr;
      }
    };
    EXPECT_EQ(td.map(5, false), RetPf::kRetry);
    EXPECT_FALSE(td.mapped(td.mirror, 5));
    td.store.set(cell::pte(it.table, it.index), kNonpresent);
    td.env.events.clear();
    const RetPf again = td.map(5, false);
    if (td.design.mirror_set == MirrorSet::kFreeze) {
      EXPECT_EQ(again, RetPf::kFixed);
    } else {
      EXPECT_EQ(again, RetPf::kRetry);  // nothing brings the two together again
      EXPECT_TRUE(td.bugged());
      EXPECT_NE(td.order().find("TDX-BUG-SEAMCALL"), std::string::npos) << td.order();
    }
  }
}

TEST(MirrorEntry, ALostFreezeShowsWhatWasSeen) {
  for (const char* design : {"upstream-7.x", "upstream-6.14"}) {
    Ready td(design);
    TdpIter it = td.at(5);
    const uint64_t value = td.entry(td.mirror, 4) + (uint64_t{1} << kPageShift);
    td.store.set(cell::pte(it.table, it.index), value);  // after `it` read it
    SetSpteAtomic m;
    mmu_lock(td.w, LockMode::kRead);
    tdp_mmu_set_spte_atomic(td.w, m, it, value);
    EXPECT_TRUE(m.lost);
    EXPECT_EQ(it.old_spte, td.design.freeze_fail_refresh ? value : kNonpresent) << design;
  }
}

TEST(MirrorEntry, ARewriteIsARemovalOrABug) {
  for (const char* design : {"upstream-7.x", "upstream-6.14"}) {
    Ready td(design);
    TdpIter it = td.at(4);
    const uint64_t old_spte = it.old_spte;
    SetSpteAtomic m;
    mmu_lock(td.w, LockMode::kRead);
    tdp_mmu_set_spte_atomic(td.w, m, it, old_spte & ~kPtWritable);
    const bool bug = td.design.mirror_rewrite == MirrorRewrite::kBug;
    EXPECT_EQ(td.order(), bug ? "F warn MMU-MIRROR-REWRITE P" : "F remove trace P");
    EXPECT_EQ(td.bugged(), bug);
    EXPECT_EQ(td.entry(td.mirror, 4), bug ? old_spte : old_spte & ~kPtWritable);
  }
}

TEST(MirrorRemoval, UnderTheReadLock) {
  const auto zap = [](const char* design) {
    Ready td(design, true);
    td.zap_root(td.mirror, LockMode::kRead);
    std::string rules;
    for (const std::string& e : td.env.events) {
      if (e.starts_with("warn")) rules += e.substr(5) + " ";
    }
    return rules + (td.mapped(td.mirror, 4) ? "there" : "gone");
  };
  // The tables go, too: nothing of them can be reclaimed while the TD has its HKID.
  EXPECT_EQ(zap("upstream-7.x"), "MMU-MIRROR-REMOVAL TDX-BUG-HKID gone");
  EXPECT_EQ(zap("upstream-7.x,mirror_removal=read-lock"), "TDX-BUG-HKID gone");
  EXPECT_EQ(zap("v8"), "TDX-BUG-HKID gone");
  EXPECT_EQ(zap("v19"), "MMU-MIRROR-REMOVAL TDX-BUG-HKID gone");
  EXPECT_EQ(zap("upstream-6.14"), "MMU-MIRROR-REMOVAL there");
}

TEST(ExternalFree, AtOnceOrAfterTheGracePeriod) {
  for (const char* design : {"upstream-7.x", "upstream-6.14"}) {
    Ready td(design, true);
    td.unmap(0, 0x1000, kFilterPrivate);
    ReleaseHkid release;
    tdx_mmu_release_hkid(td.w, release);
    td.env.events.clear();
    td.zap_root(td.mirror, LockMode::kWrite);
    const auto freed = [&] {
      return std::count(td.env.events.begin(), td.env.events.end(), "external page freed");
    };
    EXPECT_EQ(freed(), td.design.external_free == ExternalFree::kAtOnce ? 3 : 0) << design;
    while (rcu_first(td.w) != kNoTable) rcu_run_callback(td.w, rcu_first(td.w));
    EXPECT_EQ(freed(), 3) << design;
    EXPECT_FALSE(td.bugged()) << design;
  }
}

// A leaf that is still there when the HKID is gone.
TEST(LeafReclaim, IsTheRuleUpToV19) {
  for (const char* design : {"upstream-7.x", "v19"}) {
    Ready td(design, true);
    ReleaseHkid release;
    tdx_mmu_release_hkid(td.w, release);
    td.env.events.clear();
    td.unmap(4, 5, kFilterPrivate);
    EXPECT_EQ(td.order(), td.design.leaf_reclaim ? "0 trace remove TDH.PHYMEM.PAGE.RECLAIM"
                                                 : "0 remove warn TDX-BUG-HKID")
        << design;
  }
}

TEST(SeamcallBusy, OfAPopulateIsRetriedOrABug) {
  for (const char* design : {"upstream-7.x", "v19", "v8", "naive"}) {
    Ready td(design, true);
    td.env.statuses = {{tdx::Leaf::kMemPageAug, kBusy}};
    const RetPf ret = td.map(5, false);
    const bool bug = td.design.seamcall_busy == SeamcallBusy::kBug ||
                     td.design.seamcall_busy == SeamcallBusy::kBugButTrack;
    EXPECT_EQ(td.bugged(), bug) << design;
    // v8: the mirror says present, the S-EPT has nothing.
    EXPECT_EQ(ret, bug ? RetPf::kFixed : RetPf::kRetry) << design;
    EXPECT_EQ(td.mapped(td.mirror, 5), bug) << design;
  }
}

TEST(SeamcallBusy, OfARemoval) {
  const auto remove = [](const char* design, tdx::Leaf leaf) {
    Ready td(design, true);
    td.env.statuses = {{leaf, kBusy}};
    ZapRange m = kvm_tdp_mmu_unmap_gfn_range(td.w, 0, 4, 5, kFilterPrivate, false, false);
    mmu_lock(td.w, LockMode::kWrite);
    int blocked = 0;
    while (zap_leafs_of_roots(td.w, m) != Run::kDone && blocked < 10) blocked++;
    return std::string(td.bugged() ? "bug" : "done") + (blocked == 0 ? "" : ", spins");
  };
  using enum tdx::Leaf;
  for (const tdx::Leaf leaf : {kMemRangeBlock, kMemTrack, kMemPageRemove}) {
    EXPECT_EQ(remove("upstream-7.x", leaf), "done");
    EXPECT_EQ(remove("naive", leaf), "bug");
    EXPECT_EQ(remove("v8", leaf), leaf == kMemTrack ? "done, spins" : "bug");
    EXPECT_EQ(remove("v19", leaf), leaf == kMemRangeBlock ? "bug" : "done, spins");
  }
  EXPECT_EQ(remove("upstream-7.x", kPhymemPageWbinvd), "bug");
  EXPECT_EQ(remove("v8", kPhymemPageWbinvd), "bug");
  EXPECT_EQ(remove("v19", kPhymemPageWbinvd), "done, spins");
}

TEST(TrackOrder, VcpusWaitWhereTheKickComesFirst) {
  for (const char* design : {"upstream-7.x", "v19"}) {
    Ready td(design, true);
    uint64_t waits = 2;
    td.env.at_seamcall = [&](tdx::Leaf leaf) {
      if (leaf == tdx::Leaf::kMemTrack) waits = td.w.field(CellKind::kWaitForSeptZap);
    };
    td.unmap(4, 5, kFilterPrivate);
    EXPECT_EQ(waits, td.design.track_order == TrackOrder::kKickThenTrack) << design;
    EXPECT_EQ(td.w.field(CellKind::kWaitForSeptZap), 0u);
    EXPECT_FALSE(td.bugged());
  }
}

TEST(SeamcallLock, KeepsASecondSeamcallOut) {
  for (const char* design : {"upstream-7.x", "v8", "seamcall-lock-only"}) {
    Ready td(design, true);
    td.w.set_field(CellKind::kSeamcallLock, 0, 1);  // somebody else
    TdpMmuMap m = td.fault_on(5, false);
    mmu_lock(td.w, LockMode::kRead);
    EXPECT_EQ(kvm_tdp_mmu_map(td.w, m), td.design.seamcall_lock ? Run::kBlocked : Run::kDone);
    // With the lock around the exchange, too, nothing has changed yet.
    EXPECT_EQ(td.order().empty(), td.design.seamcall_lock_spans_set) << design << td.order();
    if (!td.design.seamcall_lock) continue;
    td.w.set_field(CellKind::kSeamcallLock, 0, 0);
    EXPECT_EQ(kvm_tdp_mmu_map(td.w, m), Run::kDone);
    EXPECT_EQ(m.ret, RetPf::kFixed) << design;
    EXPECT_EQ(td.w.field(CellKind::kSeamcallLock), 0u);
  }
}

TEST(PagePins, AreBalancedByARemovalAndByAnError) {
  for (const char* design : {"upstream-7.x", "upstream-6.14", "v8"}) {
    Ready td(design, true);
    const uint64_t pin = td.design.page_pins;
    const auto pins = [&](uint64_t gfn) {
      return td.store.get(cell::of(CellKind::kPagePins, 0, Td::pfn_of(gfn)));
    };
    EXPECT_EQ(pins(4), pin) << design;
    td.unmap(4, 5, kFilterPrivate);
    EXPECT_EQ(pins(4), 0u) << design;
    td.env.statuses = {{tdx::Leaf::kMemPageAug, kBusy}};
    td.map(5, false);
    EXPECT_EQ(pins(5), 0u) << design;
  }
}

TEST(Premap, CountsUntilThePageIsAdded) {
  Td td("upstream-6.16", true);
  const auto finalize = [&] {
    TdxFinalize f;
    tdx_td_finalize(td.w, f);
    return f.ret;
  };
  EXPECT_EQ(td.map(5, false), RetPf::kFixed);  // kvm_tdp_map_page
  EXPECT_EQ(td.order().find("TDH.MEM.PAGE.ADD"), std::string::npos);
  EXPECT_EQ(td.w.field(CellKind::kNrPremapped), 1u);
  EXPECT_EQ(finalize(), -22);
  td.unmap(5, 6, kFilterPrivate);  // nothing is there to block
  EXPECT_EQ(td.w.field(CellKind::kNrPremapped), 0u);
  EXPECT_FALSE(td.bugged());
  td.env.events.clear();
  EXPECT_EQ(td.populate(6), Run::kDone);
  EXPECT_EQ(td.order(), "F add P trace TDH.MEM.PAGE.ADD");
  EXPECT_EQ(td.w.field(CellKind::kNrPremapped), 0u);
  EXPECT_EQ(finalize(), 0);
}

// From 6.19 on the hook adds it, and has a page to copy only where the image is populated.
TEST(Premap, OnlyTheImageIsAdded) {
  for (const char* design : {"upstream-7.x", "upstream-6.19"}) {
    Td td(design, true);
    EXPECT_EQ(td.populate(6), Run::kDone);
    EXPECT_NE(td.order().find("TDH.MEM.PAGE.ADD"), std::string::npos) << design;
    EXPECT_FALSE(td.bugged());
    td.env.events.clear();
    td.map(5, false);
    EXPECT_EQ(td.order().find("TDH.MEM.PAGE.ADD"), std::string::npos) << design;
    EXPECT_TRUE(td.bugged()) << design;
  }
}

// Seed 004: the parent is blocked, its children go after the grace period; or they try to.
TEST(RemovalProtocol, ABlockedParentKeepsItsChildren) {
  Ready td("block-parent-rcu", true);
  TdpIter it = tdp_iter_walk(td.w, td.mirror, kPgLevel2M, 4);
  while (!it.valid || it.level > kPgLevel2M) tdp_iter_advance(td.w, it);
  td.env.events.clear();
  SetSpteAtomic m;
  mmu_lock(td.w, LockMode::kRead);
  EXPECT_EQ(tdp_mmu_set_spte_atomic(td.w, m, it, kNonpresent), Run::kDone);
  EXPECT_EQ(td.order(), "F remove TDH.MEM.RANGE.BLOCK TDH.MEM.TRACK trace 0");
  EXPECT_FALSE(td.bugged());
  ReapSpt reap;
  EXPECT_EQ(reap_removed_spt(td.w, reap), Run::kDone);  // before the grace period: nothing to do
  td.env.events.clear();
  while (rcu_first(td.w) != kNoTable) rcu_run_callback(td.w, rcu_first(td.w));
  EXPECT_NE(td.w.field(CellKind::kReapHead), 0u);
  EXPECT_EQ(reap_removed_spt(td.w, reap), Run::kDone);
  EXPECT_TRUE(reap.failed);
  EXPECT_EQ(td.order().find("TDH.MEM.PAGE.REMOVE TDX_EPT_WALK_FAILED"), 0u) << td.order();
}

TEST(RemovalProtocol, HooksThatAlwaysSucceedReapEverything) {
  Ready td("block-parent-rcu");
  TdpIter it = tdp_iter_walk(td.w, td.mirror, kPgLevel1G, 4);
  while (!it.valid || it.level > kPgLevel1G) tdp_iter_advance(td.w, it);
  SetSpteAtomic m;
  mmu_lock(td.w, LockMode::kRead);
  td.env.events.clear();
  tdp_mmu_set_spte_atomic(td.w, m, it, kNonpresent);
  EXPECT_EQ(td.order(), "F remove trace 0");  // upstream: each child on its own, below
  while (rcu_first(td.w) != kNoTable) rcu_run_callback(td.w, rcu_first(td.w));
  ReapSpt reap;
  reap_removed_spt(td.w, reap);
  EXPECT_FALSE(reap.failed);
  EXPECT_EQ(std::count(td.env.events.begin(), td.env.events.end(), "external page freed"), 2);

  Ready today("upstream-7.x");
  TdpIter same = tdp_iter_walk(today.w, today.mirror, kPgLevel1G, 4);
  while (!same.valid || same.level > kPgLevel1G) tdp_iter_advance(today.w, same);
  today.env.events.clear();
  SetSpteAtomic other;
  mmu_lock(today.w, LockMode::kRead);
  tdp_mmu_set_spte_atomic(today.w, other, same, kNonpresent);
  EXPECT_EQ(today.order().find("F F"), 0u) << today.order();
  EXPECT_EQ(today.w.field(CellKind::kReapHead), 0u);
}

// A bugged VM's fault ends: KVM_REQ_VM_DEAD.
TEST(MirrorEntry, ARefusedChangeIsNotTriedForEver) {
  Ready td("upstream-6.14", true);
  td.zap_root(td.mirror, LockMode::kRead);
  EXPECT_TRUE(td.bugged());
  EXPECT_TRUE(td.mapped(td.mirror, 4));
}

}  // namespace
}  // namespace mmucheck::model
