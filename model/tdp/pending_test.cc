// Pending series on a small TD: huge private pages and their split, Dynamic PAMT, what a guest_memfd
// zaps when pages convert in place; and which hooks a change calls, by design.
#include <gtest/gtest.h>

#include <algorithm>

#include "model/tdp/kvm_accept.h"
#include "model/tdp/kvm_gmem.h"
#include "model/tdp/td_vm_test.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kBlock = 0x200;  // a gfn where a 2M page begins
const tdx::Status kBusy{tdx::StatusCode::kOperandBusy};
const tdx::Status kInterrupted{tdx::StatusCode::kInterruptedRestartable};

// A TD that runs.
struct Running : Td {
  explicit Running(std::string_view spec) : Td(spec, true) {
    TdxFinalize f;
    tdx_td_finalize(w, f);
    EXPECT_EQ(f.ret, 0) << spec;
    env.events.clear();
  }
  RetPf map_up_to(uint64_t gfn, int max_level) {
    TdpMmuMap m = fault_on(gfn, false);
    m.fault.max_level = static_cast<uint8_t>(max_level);
    return run(m);
  }
  // Of the leaf that the mirror root has there; 0: none.
  int level_of(uint64_t gfn) const {
    uint32_t table = mirror;
    for (int level = role_level(w.role(mirror)); table != kNoTable; level--) {
      const uint64_t spte = store.get(cell::pte(table, spte_index<>(gfn, level)));
      if (is_shadow_present_pte<>(spte) && is_last_spte<>(spte, level)) return level;
      table = w.child_table(spte, level);
    }
    return 0;
  }
  bool split(uint64_t start, uint64_t end) {
    SplitPrivate m;
    m.start = start;
    m.end = end;
    mmu_lock(w, LockMode::kWrite);
    EXPECT_EQ(split_private_leafs(w, m), Run::kDone);
    mmu_unlock(w, LockMode::kWrite);
    return !m.failed;
  }
  size_t calls(std::string_view name) const {
    return static_cast<size_t>(std::count_if(env.events.begin(), env.events.end(),
                                             [&](const std::string& e) { return e == name; }));
  }
};

TEST(PrivateLevel, IsLimitedByTheDesignAndByTheTdsState) {
  for (const char* design : {"upstream-7.x", "huge", "huge,private_max_level=1"}) {
    Running td(design);
    EXPECT_EQ(td.map_up_to(kBlock + 1, kPgLevel2M), RetPf::kFixed);
    EXPECT_EQ(td.level_of(kBlock + 1), td.design.private_max_level) << design;
    EXPECT_EQ(td.map_up_to(2 * kBlock, kPgLevel4K), RetPf::kFixed);
    EXPECT_EQ(td.level_of(2 * kBlock), kPgLevel4K) << "the folio is small";
    EXPECT_FALSE(td.bugged()) << design;
  }
  Td built("huge", true);  // PAGE.ADD is for 4K only
  TdpMmuMap m = built.fault_on(kBlock, false);
  m.fault.max_level = kPgLevel2M;
  built.w.set_field(CellKind::kPageAddSrc, 0, 1);
  EXPECT_EQ(built.run(m), RetPf::kFixed);
  EXPECT_TRUE(built.mapped(built.mirror, kBlock));
  EXPECT_FALSE(built.mapped(built.mirror, kBlock + 1));
}

TEST(PrivateLevel, NothingIsPromoted) {
  Running td("huge");
  td.map_up_to(kBlock, kPgLevel4K);
  EXPECT_EQ(td.map_up_to(kBlock + 1, kPgLevel2M), RetPf::kFixed);
  EXPECT_EQ(td.level_of(kBlock + 1), kPgLevel4K);
  EXPECT_FALSE(td.bugged());
}

TEST(Demote, ByBlockAndTrackOrAlone) {
  for (const char* design : {"huge", "huge,demote_protocol=demote-only"}) {
    Running td(design);
    td.map_up_to(kBlock, kPgLevel2M);
    td.env.events.clear();
    EXPECT_TRUE(td.split(kBlock + 1, kBlock + 2));
    const bool alone = td.design.demote_protocol == DemoteProtocol::kDemoteOnly;
    EXPECT_EQ(td.calls("TDH.MEM.RANGE.BLOCK"), alone ? 0u : 1u) << td.order();
    EXPECT_EQ(td.calls("TDH.MEM.TRACK"), alone ? 0u : 1u);
    EXPECT_EQ(td.calls("TDH.MEM.PAGE.DEMOTE"), 1u);
    EXPECT_EQ(td.level_of(kBlock), kPgLevel4K);
    EXPECT_EQ(td.level_of(kBlock + 511), kPgLevel4K);
    // The module agrees: one page of them goes, and comes back.
    td.unmap(kBlock + 7, kBlock + 8, kFilterPrivate);
    EXPECT_EQ(td.level_of(kBlock + 7), 0);
    EXPECT_EQ(td.map_up_to(kBlock + 7, kPgLevel2M), RetPf::kFixed);
    EXPECT_EQ(td.level_of(kBlock + 7), kPgLevel4K);
    EXPECT_FALSE(td.bugged()) << design;
  }
}

TEST(Demote, IsWhatTakesALeafApart) {
  Running td("huge,private_demote=no");
  td.map_up_to(kBlock, kPgLevel2M);
  td.env.events.clear();
  td.split(kBlock, kBlock + 1);
  EXPECT_EQ(td.calls("TDH.MEM.PAGE.DEMOTE"), 0u);
  EXPECT_EQ(td.calls("TDH.MEM.PAGE.REMOVE"), 1u);  // a present leaf that changes goes
}

TEST(Demote, AnInterruptIsABugOrALoop) {
  for (const char* design : {"huge", "huge,demote_interrupted=loop"}) {
    Running td(design);
    td.map_up_to(kBlock, kPgLevel2M);
    td.env.events.clear();
    td.env.statuses = {{tdx::Leaf::kMemPageDemote, kInterrupted},
                       {tdx::Leaf::kMemPageDemote, kInterrupted}};
    td.split(kBlock, kBlock + 1);
    const bool loops = td.design.demote_interrupted == DemoteInterrupted::kLoop;
    EXPECT_EQ(td.bugged(), !loops) << design;
    EXPECT_EQ(td.calls("TDH.MEM.PAGE.DEMOTE"), loops ? 1u : 0u) << td.order();
  }
}

TEST(Demote, BusyTwiceIsABug) {
  for (const size_t times : {1u, 2u}) {
    Running td("huge");
    td.map_up_to(kBlock, kPgLevel2M);
    td.env.statuses.assign(times, {tdx::Leaf::kMemPageDemote, kBusy});
    td.split(kBlock, kBlock + 1);
    EXPECT_EQ(td.bugged(), times == 2) << times;
  }
}

TEST(Demote, OfAFaultOnlyWhereNothingIsBlocked) {
  for (const char* design : {"huge", "huge,demote_protocol=demote-only"}) {
    Running td(design);
    td.map_up_to(kBlock, kPgLevel2M);
    td.env.events.clear();
    const RetPf ret = td.map_up_to(kBlock + 1, kPgLevel4K);
    const bool alone = td.design.demote_protocol == DemoteProtocol::kDemoteOnly;
    EXPECT_EQ(td.level_of(kBlock + 1), alone ? kPgLevel4K : kPgLevel2M) << design;
    EXPECT_EQ(ret == RetPf::kRetry, !alone) << design;
    EXPECT_EQ(td.order().find("warn MMU-MIRROR-SPLIT") == std::string::npos, alone) << td.order();
    EXPECT_FALSE(td.bugged()) << design;
  }
}

TEST(Accept, OfASmallerPageSplitsAndForbids) {
  for (const char* design : {"huge", "huge,accept_inhibit=none"}) {
    Running td(design);
    td.map_up_to(kBlock, kPgLevel2M);
    AcceptLevel m;
    m.level = kPgLevel4K;
    m.gfn = kBlock + 5;
    EXPECT_EQ(tdx_check_accept_level(td.w, m), Run::kDone);
    const bool inhibits = td.design.accept_inhibit == AcceptInhibit::kSlotBit;
    EXPECT_EQ(td.level_of(kBlock + 5), inhibits ? kPgLevel4K : kPgLevel2M) << design;
    td.unmap(kBlock, 2 * kBlock, kFilterPrivate);
    td.map_up_to(kBlock + 1, kPgLevel2M);
    EXPECT_EQ(td.level_of(kBlock + 1), inhibits ? kPgLevel4K : kPgLevel2M) << "not promoted";
    m = {};
    m.gfn = 4 * kBlock + 5;
    EXPECT_EQ(tdx_check_accept_level(td.w, m), Run::kDone);  // before anything is mapped
    td.map_up_to(4 * kBlock, kPgLevel2M);
    EXPECT_EQ(td.level_of(4 * kBlock), inhibits ? kPgLevel4K : kPgLevel2M) << design;
    td.map_up_to(2 * kBlock, kPgLevel2M);
    EXPECT_EQ(td.level_of(2 * kBlock), kPgLevel2M) << "nobody asked for less";
    EXPECT_FALSE(td.bugged());
  }
}

struct Pamt : Running {
  using Running::Running;
  uint64_t refs(uint64_t page) const { return store.get(pamt_refs_cell(page)); }
  bool pair(uint64_t page) {
    auto module = tdx_module(w);
    return tdx::pamt_type(module, tdx::k2M, page) == tdx::Pt::kPamt;
  }
};

TEST(DynamicPamt, ReferencesFollowThePages) {
  for (const char* design :
       {"upstream-7.x", "upstream-7.x,dynamic_pamt=yes", "huge,dynamic_pamt=yes,pamt_put=locked"}) {
    Pamt td(design);
    const uint64_t one = td.design.dynamic_pamt;
    const uint64_t page = Td::pfn_of(5);
    td.map(5, false);
    EXPECT_EQ(td.refs(page), one) << design;
    const size_t added = td.calls("TDH.PHYMEM.PAMT.ADD");
    EXPECT_EQ(added, 2 * one) << "for the S-EPT's pages, and for the guest's";
    td.map(6, false);
    EXPECT_EQ(td.refs(page), 2 * one);
    EXPECT_EQ(td.calls("TDH.PHYMEM.PAMT.ADD"), added);
    td.unmap(5, 6, kFilterPrivate);
    EXPECT_EQ(td.refs(page), one);
    EXPECT_EQ(td.calls("TDH.PHYMEM.PAMT.REMOVE"), 0u);
    td.unmap(6, 7, kFilterPrivate);
    EXPECT_EQ(td.refs(page), 0u);
    EXPECT_EQ(td.calls("TDH.PHYMEM.PAMT.REMOVE"), one);
    EXPECT_FALSE(td.pair(page));
    EXPECT_FALSE(td.bugged()) << design;
  }
}

TEST(DynamicPamt, AnErrorGivesTheReferenceBack) {
  Pamt td("upstream-7.x,dynamic_pamt=yes");
  td.map(4, false);
  td.unmap(4, 5, kFilterPrivate);
  td.env.statuses = {{tdx::Leaf::kMemPageAug, kBusy}};
  EXPECT_EQ(td.map(5, false), RetPf::kRetry);
  EXPECT_EQ(td.refs(Td::pfn_of(5)), 0u);
  EXPECT_FALSE(td.pair(Td::pfn_of(5)));
  td.env.statuses = {{tdx::Leaf::kPhymemPamtAdd, kBusy}};
  EXPECT_EQ(td.map(5, false), RetPf::kRetry);  // -EIO of the get is no bug of the module
  EXPECT_FALSE(td.bugged());
  EXPECT_EQ(td.map(5, false), RetPf::kFixed);
}

TEST(DynamicPamt, ALargePageHasNoReferenceUntilItIsSplit) {
  Pamt td("huge,dynamic_pamt=yes");
  td.map_up_to(kBlock, kPgLevel2M);
  EXPECT_EQ(td.level_of(kBlock), kPgLevel2M);
  EXPECT_EQ(td.refs(Td::pfn_of(kBlock)), 0u);
  EXPECT_TRUE(td.split(kBlock, kBlock + 1));
  EXPECT_EQ(td.refs(Td::pfn_of(kBlock)), 512u);
  EXPECT_TRUE(td.pair(Td::pfn_of(kBlock)));
  td.unmap(kBlock, 2 * kBlock, kFilterPrivate);
  EXPECT_EQ(td.refs(Td::pfn_of(kBlock)), 0u);
  EXPECT_FALSE(td.pair(Td::pfn_of(kBlock)));
  EXPECT_FALSE(td.bugged());
}

TEST(DynamicPamt, WithoutItsPairTheModuleTakesNoPage) {
  Pamt td("upstream-7.x,dynamic_pamt=yes");
  td.map(4, false);
  RawSeamcall m;
  m.leaf = tdx::Leaf::kMemPageAug;
  m.level = kPgLevel4K;
  m.gfn = 5;
  m.hpa = uint64_t{0x5000} << kPageShift;
  EXPECT_EQ(raw_seamcall(td.w, m), Run::kDone);
  EXPECT_EQ(m.call.call.status.code(), tdx::StatusCode::kMissingPamtPagePair);
  m.leaf = tdx::Leaf::kPhymemPamtAdd;
  raw_seamcall(td.w, m);
  EXPECT_TRUE(m.call.call.status.ok());
  raw_seamcall(td.w, m);
  EXPECT_EQ(m.call.call.status.code(), tdx::StatusCode::kHpaRangeNotFree);
  m.leaf = tdx::Leaf::kMemPageAug;
  raw_seamcall(td.w, m);
  EXPECT_TRUE(m.call.call.status.ok());
  m.leaf = tdx::Leaf::kPhymemPamtRemove;
  raw_seamcall(td.w, m);
  EXPECT_EQ(m.call.call.status.code(), tdx::StatusCode::kPamtPageNotEmpty);
}

// Two threads drop the last reference, and a third takes one in between.
TEST(DynamicPamt, APutOutsideTheLockLosesThePair) {
  for (const char* put : {"dec-outside", "dec-and-lock", "locked"}) {
    Pamt td(std::string("upstream-7.x,dynamic_pamt=yes,pamt_put=") + put);
    const uint64_t page = 0x5000;
    TdxHook first, second;
    EXPECT_EQ(tdx_pamt_get(td.w, first, page), Run::kDone);
    first.pamt = {};
    td.env.pausing = true;
    EXPECT_EQ(tdx_pamt_put(td.w, first, page), Run::kRan);  // up to the lock
    td.env.pausing = false;
    EXPECT_EQ(tdx_pamt_get(td.w, second, page), Run::kDone);
    EXPECT_EQ(second.pamt_ret, 0) << put;
    EXPECT_TRUE(td.pair(page)) << put;
    second.pamt = {};
    td.env.pausing = true;
    const auto r = tdx_pamt_put(td.w, second, page);
    td.env.pausing = false;
    EXPECT_EQ(tdx_pamt_put(td.w, first, page), Run::kDone);
    if (r != Run::kDone) tdx_pamt_put(td.w, second, page);
    EXPECT_FALSE(td.pair(page)) << put;
    EXPECT_EQ(td.refs(page), td.design.pamt_put == PamtPut::kDecOutside ? 1u : 0u) << put;
  }
}

TEST(GmemFilter, IsOfTheChangeOrOfWhatIsThere) {
  struct Case {
    const char* filter;
    int hole, to_private, to_shared;  // 1: shared, 2: private; of private pages
  };
  constexpr Case kCases[] = {{"by-operation", 2, 1, 2},
                             {"union-of-present", 2, 2, 2},
                             {"other-alias", 3, 1, 2},
                             {"both", 3, 3, 3}};
  for (const Case& c : kCases) {
    Td td(std::string("upstream-7.x,gmem_in_place=yes,gmem_filter=") + c.filter);
    td.store.set(cell::of(CellKind::kMemAttr, 0, 5), kMemoryAttributePrivate);
    const auto filter = [&](GmemChange change, uint64_t end) {
      return static_cast<int>(detail::gmem_filter(td.w, SlotPart{0, 5, end}, change));
    };
    static_assert(kFilterShared == 1 && kFilterPrivate == 2);
    EXPECT_EQ(filter(GmemChange::kHole, 6), c.hole) << c.filter;
    EXPECT_EQ(filter(GmemChange::kToPrivate, 6), c.to_private) << c.filter;
    EXPECT_EQ(filter(GmemChange::kToShared, 6), c.to_shared) << c.filter;
    const bool looks = td.design.gmem_filter == GmemFilter::kUnionOfPresent;
    EXPECT_EQ(filter(GmemChange::kToPrivate, 7) == 3, looks || c.to_private == 3) << c.filter;
  }
  Td today("upstream-7.x");
  EXPECT_EQ(detail::gmem_filter(today.w, SlotPart{0, 5, 6}, GmemChange::kHole), kFilterPrivate);
}

// A range of which a part is private already becomes private.
TEST(GmemConvert, KeepsWhatIsAsItShallBe) {
  for (const char* filter : {"union-of-present", "other-alias"}) {
    Running td(std::string("upstream-7.x,gmem_in_place=yes,gmem_filter=") + filter);
    slot_set(td.w, 0, SlotField::kGmem, 4);
    td.store.set(cell::of(CellKind::kMemAttr, 0, 6), kMemoryAttributePrivate);
    td.map(5, true);
    td.map(6, false);
    GmemConvert m;
    m.start = 4;
    m.end = 8;
    m.attributes = kMemoryAttributePrivate;
    EXPECT_EQ(kvm_gmem_set_attributes(td.w, m), Run::kDone);
    EXPECT_FALSE(td.mapped(td.direct, 5)) << filter;
    EXPECT_EQ(td.mapped(td.mirror, 6),
              td.design.gmem_filter == GmemFilter::kOtherAlias) << filter;
    EXPECT_EQ(td.store.get(cell::of(CellKind::kMemAttr, 0, 7)), kMemoryAttributePrivate);
  }
}

TEST(GmemConvert, SplitsWhatLiesAcrossItsEnds) {
  for (const char* split : {"never", "before-window", "in-window"}) {
    Running td(std::string("huge,gmem_in_place=yes,conversion_split=") + split);
    slot_set(td.w, 0, SlotField::kGmem, 4);
    for (uint64_t g = kBlock; g < 2 * kBlock; g++) {
      td.store.set(cell::of(CellKind::kMemAttr, 0, g), kMemoryAttributePrivate);
    }
    td.map_up_to(kBlock, kPgLevel2M);
    GmemConvert m;
    m.start = kBlock + 3;
    m.end = kBlock + 5;
    EXPECT_EQ(kvm_gmem_set_attributes(td.w, m), Run::kDone);
    EXPECT_EQ(td.level_of(kBlock + 3), 0);
    const bool splits = td.design.conversion_split != ConversionSplit::kNever;
    EXPECT_EQ(td.level_of(kBlock + 2), splits ? kPgLevel4K : 0) << split;
    EXPECT_FALSE(td.bugged()) << split;
  }
}

TEST(GmemConvert, OthersRetryOnTheRangeThatTheDesignSays) {
  for (const char* range : {"exact", "widened", "widened-conversion"}) {
    Running td(std::string("huge,split_range=") + range);
    for (const GmemChange change : {GmemChange::kHole, GmemChange::kToShared}) {
      mmu_lock(td.w, LockMode::kWrite);
      invalidate_begin(td.w);
      detail::gmem_invalidate_range_add(td.w, SlotPart{0, kBlock + 3, kBlock + 5}, change);
      const bool wide = td.design.split_range == SplitRange::kWidened ||
                        (td.design.split_range == SplitRange::kWidenedConversion &&
                         change != GmemChange::kHole);
      EXPECT_TRUE(invalidate_in_progress(td.w, kBlock + 4));
      EXPECT_EQ(invalidate_in_progress(td.w, kBlock), wide) << range;
      EXPECT_FALSE(invalidate_in_progress(td.w, 2 * kBlock));
      invalidate_end(td.w);
      mmu_unlock(td.w, LockMode::kWrite);
    }
  }
}

TEST(ExternalHook, OneForAllOrOneForEachChange) {
  struct Case {
    const char* design;
    const char* maps;    // three tables and a leaf
    const char* unmaps;  // the leaf
    const char* zaps;    // the tables
  };
  // s: set; l: link; z: zap; r: remove.
  constexpr Case kCases[] = {{"upstream-7.x", "ssss", "s", ""},
                             {"v8", "ssss", "s", "sss"},
                             {"upstream-6.14", "llls", "r", ""},
                             {"v19", "llls", "zr", ""},
                             {"linux-6.12", "", "", ""}};
  for (const Case& c : kCases) {
    Td td(c.design);
    td.map(5, false);
    EXPECT_EQ(std::exchange(td.env.hooks, {}), c.maps) << c.design;
    td.unmap(5, 6, kFilterPrivate);
    EXPECT_EQ(std::exchange(td.env.hooks, {}), c.unmaps) << c.design;
    td.zap_root(td.mirror, LockMode::kWrite);
    EXPECT_EQ(td.env.hooks, c.zaps) << c.design;
  }
}

// What kvm_mmu_page_fault() asks after an attempt that failed: try again without an exit?
TEST(LocalRetry, OfADeadVmEndsAndMayTakeTheRequestWithIt) {
  for (const char* design : {"upstream-7.x", "upstream-6.16"}) {
    Running td(design);
    PageFault m;
    m.fault.is_private = true;
    EXPECT_TRUE(detail::retries_locally(td.w, m));
    kvm_bug(td.w, "TDX-BUG-SEAMCALL");
    EXPECT_FALSE(detail::retries_locally(td.w, m));
    RawSeamcall enter;
    enter.leaf = tdx::Leaf::kVpEnter;
    raw_seamcall(td.w, enter);
    EXPECT_EQ(td.w.field(CellKind::kTdvpsInside), td.design.retry_eats_vm_dead) << design;
  }
}

}  // namespace
}  // namespace mmucheck::model
