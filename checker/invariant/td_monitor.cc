// The part of Monitor that deals with TDs: mirror roots, hooks, SEAMCALLs.
#include <algorithm>

#include "checker/invariant/mirror_rule.h"
#include "checker/invariant/monitor.h"
#include "model/address/alias.h"
#include "model/tdp/alias.h"

namespace mmucheck::invariant {

using model::CellKind;
using model::kNoTable;
namespace cell = model::cell;
namespace ev = model::ev;
namespace tdx = model::tdx;

uint64_t sept_entry(const View& v, uint64_t gfn, int level, bool* reached) {
  const tdx::TdConfig& td = v.platform->tds[0];
  uint32_t table = v.store.find_table(td.sept_root);
  const uint64_t gpa = gfn << model::kPageShift;
  for (int l = td.top_level(); table != kNoTable; l--) {
    const uint64_t e = v.store.get(cell::pte(table, tdx::sept_index(gpa, l)));
    if (l == level - 1) {
      if (reached != nullptr) *reached = true;
      return e;
    }
    if (!tdx::walk_continues<>(e)) break;
    table = v.store.find_table(tdx::sept_hpa<>(e, l) >> model::kPageShift);
  }
  if (reached != nullptr) *reached = false;
  return tdx::kSeptFreeEntry;
}

namespace {

// Does the S-EPT page `table` of module level `level` map a gfn of [start, end)?
bool sept_leaf_below(const View& v, uint32_t table, int level, uint64_t base, uint64_t start,
                     uint64_t end) {
  if (table == kNoTable) return false;
  const uint64_t pages = tdx::sept_span(level) >> model::kPageShift;
  for (uint64_t i = 0; i < tdx::kSeptEntries; i++) {
    const uint64_t at = base + i * pages;
    if (at + pages <= start) continue;
    if (at >= end) return false;
    const uint64_t e = v.store.get(cell::pte(table, i));
    if (tdx::is_sept_leaf<>(e)) return true;
    if (tdx::is_state<>(e, tdx::SeptEntryState::kNlMapped) &&
        sept_leaf_below(v, v.store.find_table(tdx::sept_hpa<>(e, level) >> model::kPageShift),
                        level - 1, at, start, end)) {
      return true;
    }
  }
  return false;
}
bool sept_maps(const View& v, uint64_t start, uint64_t end) {
  const tdx::TdConfig& td = v.platform->tds[0];
  return sept_leaf_below(v, v.store.find_table(td.sept_root), td.top_level(), 0, start, end);
}

// The mirror entry at the same place; false where no table leads there.
bool mirror_entry(const View& v, uint64_t gfn, int level, uint64_t* spte) {
  uint32_t table = model::first_root(v);
  while (table != kNoTable && !v.is_mirror(table)) table = model::list_next_root(v, table);
  while (table != kNoTable) {
    const int at = model::role_level(v.role(table));
    *spte = v.store.get(cell::pte(table, model::spte_index<>(gfn, at)));
    if (at == level) return true;
    if (!model::is_shadow_present_pte<>(*spte) || model::is_last_spte<>(*spte, at)) return false;
    table = v.store.find_table(model::spte_to_pfn<>(*spte));
  }
  return false;
}

// PENDING to MAPPED, the page as it was.
bool accepts_only(const ev::SeptState& e) {
  constexpr uint64_t kNumber = 0xff;  // of the state
  constexpr auto number_of = [](tdx::SeptEntryState s) {
    return tdx::sept_arch_state<>(tdx::enc(s));
  };
  return (e.old_state & kNumber) == number_of(tdx::SeptEntryState::kPending) &&
         (e.new_state & kNumber) == number_of(tdx::SeptEntryState::kMapped) &&
         (e.old_state & ~kNumber) == (e.new_state & ~kNumber);
}

}  // namespace

// After the hook, and before anybody else: S-EPT pages stay where they are when the HKID is gone.
void Monitor::mirror_change(uint64_t gfn, int level, uint64_t spte) {
  if (view_.field(CellKind::kHkidAssigned) == 0 || model::is_frozen_spte<>(view_.fmt, spte)) return;
  const uint64_t entry = sept_entry(view_, gfn, level);
  if (mirror_only_counted(view_, level, spte, entry)) return;
  check(id("TDX-SEPT-MIRROR"), mirror_agrees(view_, level, spte, entry));
}

// tdx_gmem_max_mapping_level, and no pages but of 4K before FINALIZE.
void Monitor::mirror_leaf(const ev::ChangedSpte& e) {
  if (view_.platform == nullptr) return;
  check(id("TDX-LEVEL-MAX"), e.level <= view_.design.private_max_level);
  if (!model::is_shadow_present_pte<>(e.old_spte)) {
    check(id("MMU-MIRROR-RWX"), permits_every_access<>(e.new_spte));
  }
}

// What the guest has accepted, or what came with its image, cannot be brought back.
void Monitor::private_removal(const ev::ExternalSet& e) {
  if (view_.field(CellKind::kVmBugged) != 0) return;
  const bool present = model::is_shadow_present_pte<>(e.new_spte);
  if (present && !model::is_last_spte<>(e.new_spte, e.level)) return;  // it is split
  // What becomes private in place takes nothing from what is private already.
  const bool asked = recall(kWalking) == 0 || recall(kAttrFilter) == 0 ||
                     ((recall(kAttrFilter) & model::kFilterPrivate) != 0 && recall(kToPrivate) == 0);
  check(id("TDX-DATA-KEPT"),
        (asked && !present) ||
            !tdx::is_state<>(sept_entry(view_, e.gfn, e.level), tdx::SeptEntryState::kMapped));
}

void Monitor::on(const ev::ExternalSet& e) {
  hook_open(true);
  if (view_.design.mirror_rewrite == model::MirrorRewrite::kBug) count(id("MMU-MIRROR-REWRITE"));
  if (view_.platform == nullptr) return;
  count(id("TDX-BUG-NONPRESENT"));
  if (model::is_shadow_present_pte<>(e.old_spte)) {
    count(id("MMU-MIRROR-REMOVAL"));
    count(id("TDX-BUG-HKID"));
    count(id("TDX-BUG-LEVEL"));
    if (model::is_last_spte<>(e.old_spte, e.level)) private_removal(e);
  } else if (model::is_last_spte<>(e.new_spte, e.level)) {
    count(id("TDX-BUG-LEVEL"));
    if (view_.field(CellKind::kTdRunnable) == 0) count(id("TDX-BUG-IMAGE"));
  } else {
    count(id("TDX-BUG-SPT"));
  }
}

// An S-EPT page is about to be reclaimed: nothing is below it any more.
void Monitor::on(const ev::ExternalFree& e) {
  if (view_.platform == nullptr) return;
  count(id("TDX-BUG-HKID"));
  if (view_.field(CellKind::kVmBugged) != 0) return;
  const uint64_t external = view_.field(CellKind::kSpExternal, e.table);
  const uint32_t sept = external == 0 ? kNoTable : view_.store.find_table(external - 1);
  bool empty = true;
  for (uint32_t i = 0; i < model::kSpteEntPerPage && empty; i++) {
    empty = !model::is_shadow_present_pte<>(view_.store.get(cell::pte(e.table, i)));
    // Up to v19 leaves may outlive the HKID; the S-EPT is not told then.
    if (sept != kNoTable && !view_.design.leaf_reclaim) {
      empty = empty && !tdx::is_sept_leaf<>(view_.store.get(cell::pte(sept, i)));
    }
  }
  check(id("TDX-SEPT-CHILDREN"), empty);
}

// The same for calls: what is below goes first, and nothing is blocked above what still has to go.
void Monitor::children_first(const tdx::ModuleCall& c) {
  using C = tdx::StatusCode;
  if (c.leaf != tdx::Leaf::kMemPageRemove && c.leaf != tdx::Leaf::kMemSeptRemove &&
      c.leaf != tdx::Leaf::kMemRangeBlock) {
    return;
  }
  const bool below_blocked =
      c.status.code() == C::kEptWalkFailed &&
      tdx::is_state<>(c.pos.entry, tdx::SeptEntryState::kNlBlocked);
  check(id("TDX-SEPT-CHILDREN"), !below_blocked && c.status.code() != C::kEptPageNotFree);
}

// No TD has it, no CPU that is in a TD reaches it, and no line of it waits under a private key.
bool Monitor::hosts_page(uint64_t page) const {
  return !page_of_td(view_, page) && !cached_inside(view_, page) &&
         view_.store.get(cell::of(CellKind::kPageUnflushed, 0, page)) == 0;
}

// A page table of the S-EPT: PHYMEM.PAGE.WBINVD of it is nobody's habit.
void Monitor::on(const ev::FreedExternal& e) {
  if (view_.platform != nullptr) check(id("TDX-PAGE-RETURN"), !page_of_td(view_, e.frame));
}

void Monitor::on(const ev::PutPage& e) {
  const uint64_t left = view_.store.get(cell::of(CellKind::kPagePins, 0, e.pfn));
  check(id("TDX-PAGE-PINS"), left != ~uint64_t{0});
  if (left == 0) check(id("TDX-PAGE-RETURN"), hosts_page(e.pfn));
}

// The pages of a hole go to the host: of each slot that is bound to the file, no S-EPT entry maps
// one. Exempt: VMs that are dead, where a failed removal was reported already, and S-EPTs that
// nobody can change any more.
void Monitor::pages_left_file(const ev::Enter& e) {
  if (view_.field(CellKind::kVmBugged) != 0 || view_.field(CellKind::kHkidAssigned) == 0) return;
  bool mapped = false;
  for (uint32_t s = 0; s < model::slot_bound(view_); s++) {
    if (!model::slot_in_use(view_, s) || e.a[2] == 0 ||
        model::slot_get(view_, s, model::SlotField::kGmem) != e.a[2]) {
      continue;
    }
    const uint64_t origin = model::slot_get(view_, s, model::SlotField::kGmemOffset);
    const uint64_t pages = model::slot_get(view_, s, model::SlotField::kNpages);
    const uint64_t first = std::max(e.a[0], origin);
    const uint64_t last = std::min({e.a[1], origin + pages, first + kRangeLimit});
    const uint64_t base = model::slot_get(view_, s, model::SlotField::kBase);
    if (first < last) {
      mapped |= sept_maps(view_, base + (first - origin), base + (last - origin));
    }
  }
  check(id("TDX-PAGE-RETURN"), !mapped);
}

void Monitor::on(const ev::ExternalSetRet& e) {
  hook_open(false);
  count(id("MMU-MIRROR-HOOK"));
  if (view_.platform != nullptr && e.freed_pfn != 0) {
    check(id("TDX-PAGE-RETURN"), hosts_page(e.freed_pfn - 1));
  }
  if (view_.platform != nullptr && view_.design.page_pins) count(id("TDX-PAGE-UNPIN"));
  // Under the write lock the mirror entry has gone already.
  if (view_.platform != nullptr && !e.shared) check(id("TDX-SEPT-MIRROR"), e.ret == 0);
}

// Thawed: whatever the hook has answered, others see this now.
void Monitor::mirror_thaw(const ev::Store& e) {
  if (!model::is_frozen_spte<>(view_.fmt, e.old_spte)) return;
  if (model::is_frozen_spte<>(view_.fmt, e.new_spte)) return;
  const int level = model::role_level(view_.role(e.table));
  const model::Gfn<> sp_gfn{view_.field(CellKind::kSpGfn, e.table)};
  mirror_change(model::entry_gfn<>(sp_gfn, e.index, level).v, level, e.new_spte);
}

// Does the tracepoint of this change of a mirror entry come before its hook?
bool Monitor::hook_to_come(uint64_t new_spte) const {
  switch (view_.design.mirror_trace) {
    case model::MirrorTrace::kInFreeze: break;
    case model::MirrorTrace::kAfterUnfreeze: return !model::is_shadow_present_pte<>(new_spte);
    case model::MirrorTrace::kBeforeHook: return true;
  }
  return false;
}

// What nobody's hook did: somebody behind KVM's back. An ACCEPT of what is there changes nothing that
// the mirror knows, and may come while a zap is between the mirror and the S-EPT.
void Monitor::on(const ev::SeptState& e) {
  uint64_t spte = 0;
  if (accepts_only(e)) return;
  const uint64_t gfn = e.gpa >> model::kPageShift;
  if (recall(kHooksOpen) != 0 || !mirror_entry(view_, gfn, e.level, &spte)) return;
  mirror_change(gfn, e.level, spte);
}

void Monitor::on(const ev::SeamcallRet& e) {
  tdx::Status s;
  s.v = e.status;
  using C = tdx::StatusCode;
  if (recall(kHooksOpen) != 0) count(id("TDX-BUG-SEAMCALL"));
  if (view_.design.seamcalls_serial && model::works_on_memory(e.leaf)) {
    count(id("TDX-CALL-SERIAL"));
  }
  if (e.leaf == tdx::Leaf::kPhymemPageReclaim) count(id("TDX-RECLAIM-FLUSHED"));
  switch (e.leaf) {
    case tdx::Leaf::kMemSeptAdd:
    case tdx::Leaf::kMemPageAdd:
    case tdx::Leaf::kMemPageAug:
      check(id("TDX-SEPT-ORDER"), s.code() != C::kEptWalkFailed);
      break;
    case tdx::Leaf::kMemPageRemove:
    case tdx::Leaf::kMemSeptRemove:
    case tdx::Leaf::kMemPageDemote:
    case tdx::Leaf::kMemPagePromote:
    case tdx::Leaf::kMemPageRelocate:
    case tdx::Leaf::kMemRangeUnblock:
      check(id("TDX-SEPT-TRACKED"),
            s.code() != C::kGpaRangeNotBlocked && s.code() != C::kTlbTrackingNotDone);
      break;
    default: break;
  }
  if (tdx::leaf_info(e.leaf).states != 0) {
    check(id("TDX-TD-KEYS"), s.code() != C::kTdKeysNotConfigured);
  }
  if (e.call == nullptr || view_.platform == nullptr) return;
  children_first(*e.call);
  module_call(*e.call);
}

void Monitor::on(const ev::LostBehindHook& e) { check(id("TDX-SEPT-UNDONE"), !e.left); }

void Monitor::on(const ev::PamtRefs& e) { check(id("TDX-PAMT-PAIR"), e.refs == 0 || e.pair); }

// What a range has become is what its private leafs say, once faults on it go on.
void Monitor::on(const ev::AttributesSet& e) {
  if (view_.platform == nullptr || (e.attributes & model::kMemoryAttributePrivate) != 0) return;
  uint64_t spte = 0;
  bool mapped = false;
  for (uint64_t g = e.start; g < e.end && g - e.start < kRangeLimit && !mapped; g++) {
    for (int level = model::kPgLevel4K; level <= model::kPgLevel2M && !mapped; level++) {
      mapped = mirror_entry(view_, g, level, &spte) && model::is_last_spte<>(spte, level) &&
               model::is_shadow_present_pte<>(spte);
    }
  }
  check(id("MMU-ATTR-LEAF"), !mapped);
}

// A page that the module did not give back keeps its pin.
void Monitor::on(const ev::TdDestroy& e) {
  check(id("TDX-TD-PAGES"), e.chldcnt == 0);
  if (view_.design.page_pins) {
    check(id("TDX-PAGE-PINS"), view_.field(CellKind::kPinnedPages) <= e.chldcnt);
  }
}

// vcpu, addr, gfn, ..., is_private: see ev::Fn::kTdpMap.
void Monitor::mirror_fault(const ev::Enter& e) {
  const uint64_t bits = view_.vm.gfn_direct_bits;
  const model::Design& d = view_.design;
  const bool is_private = e.a[7] != 0;
  check(id("MMU-MIRROR-PRIVATE"),
        model::fault_walks_mirror<>(d.root_choice, d.fault_addr, e.a[1], is_private, bits) ==
            is_private);
  if (is_private) count(id("MMU-MIRROR-SPLIT"));
  if (view_.field(CellKind::kPageAddSrc) != 0) count(id("MMU-GMEM-LOCK"));
  check(id("MMU-FAULT-ADDR"), ((e.a[1] >> model::kPageShift) & ~bits) == e.a[2]);
}

}  // namespace mmucheck::invariant
