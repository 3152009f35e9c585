#include "checker/invariant/monitor.h"

#include <algorithm>

#include "model/tdp/tlb.h"

namespace mmucheck::invariant {

using model::CellKind;
using model::kNoTable;
using model::SlotField;
namespace ev = model::ev;
namespace cell = model::cell;

namespace {

bool leaf_below(const View& v, uint32_t table, uint64_t start, uint64_t end) {
  const int level = model::role_level(v.role(table));
  const uint64_t pages = model::pages_per_hpage(level);
  const uint64_t base = v.field(CellKind::kSpGfn, table);
  const uint64_t span = pages * model::kSpteEntPerPage;
  if (start >= base + span || end <= base) return false;
  const uint64_t first = (std::max(start, base) - base) / pages;
  const uint64_t last = (std::min(end, base + span) - 1 - base) / pages;
  for (uint64_t i = first; i <= last; i++) {
    const uint64_t spte = v.store.get(cell::pte(table, i));
    if (!model::is_shadow_present_pte<>(spte)) continue;
    if (model::is_last_spte<>(spte, level)) return true;
    const uint32_t child = v.store.find_table(model::spte_to_pfn<>(spte));
    if (child != kNoTable && model::role_level(v.role(child)) < level &&
        leaf_below(v, child, start, end)) {
      return true;
    }
  }
  return false;
}

}  // namespace

bool any_leaf(const View& v, uint32_t as_id, uint64_t start, uint64_t end, bool invalid_too,
              uint64_t filter) {
  for (uint32_t root = model::first_root(v); root != kNoTable;
       root = model::list_next_root(v, root)) {
    const uint64_t kind = v.is_mirror(root) ? model::kFilterPrivate : model::kFilterShared;
    if (model::role_as_id(v.role(root)) != as_id) continue;
    if (v.vm.has_mirror && (filter & kind) == 0) continue;
    if (v.root_invalid(root) && !invalid_too) continue;
    if (v.vm.gfn_direct_bits == 0) {
      if (leaf_below(v, root, start, end)) return true;
      continue;
    }
    // Direct roots index with the direct bits, their tables carry none.
    model::CachedTranslation leaf;
    for (uint64_t gfn = start; gfn < end; gfn++) {
      if (model::translation_of(v, root, gfn, &leaf)) return true;
    }
  }
  return false;
}

void Monitor::fail(Id rule) {
  tally_.violated[rule]++;
  broken_.push_back(rule);
}

void Monitor::vm_created() {
  check(id("MMU-SPTE-MMIOMASK"),
        !view_.host.mmio_caching ||
            mmio_within_mask<>(view_.fmt.mmio_value, view_.fmt.mmio_mask, view_.fmt.frozen));
}

// What a leaf must fulfil when it appears or gets new bits.
void Monitor::leaf_installed(uint32_t as_id, uint64_t gfn, int level, uint64_t spte) {
  check(id("MMU-SPTE-RSVD"), within_maxphyaddr<>(spte, view_.host.maxphyaddr));
  if (level > model::kPgLevel4K) {
    check(id("MMU-NX-EXEC"),
          nx_huge_leaf<>(view_.fmt, spte, level, view_.host.nx_huge_pages));
    const uint32_t slot = model::gfn_to_memslot(view_, as_id, gfn);
    if (slot != model::kNoSlot) {
      const bool fits = model::lpage_max_level(view_, slot, gfn, level) >= level;
      check(id("MMU-FAULT-LEVELMAX"), fits && level <= view_.host.max_huge_page_level);
      if (view_.vm.has_private_mem) {
        check(id("MMU-ATTR-MIXED"),
              !(model::lpage_disallow(view_, slot, gfn, level) & model::kLpageMixed));
      }
    }
  }
  if (recall(kTracking) == 0) return;
  const uint32_t slot = model::gfn_to_memslot(view_, as_id, gfn);
  if (slot == model::kNoSlot) return;
  const uint64_t base = model::slot_get(view_, slot, SlotField::kBase);
  const bool tracked =
      view_.store.get(cell::of(CellKind::kWriteTrack, slot, gfn - base)) != 0;
  check(id("MMU-DIRTY-WRTRACK"), tracked_not_writable<>(spte, tracked));
}

void Monitor::on(const ev::ChangedSpte& e) {
  count(id("MMU-SPTE-LEVEL"));
  count(id("MMU-SPTE-ALIGN"));
  count(id("MMU-SPTE-PFN"));
  count(id("MMU-SPTE-NONPRESENT"));
  count(id("MMU-SPTE-TABLE"));
  count(e.shared ? id("MMU-LOCK-SHARED") : id("MMU-LOCK-EXCLUSIVE"));
  check(id("MMU-SPTE-FROZEN"), exclusive_finds_no_frozen<>(view_.fmt, e.old_spte, e.shared));
  const model::ChangeKind<> k = model::classify_change<>(e.old_spte, e.new_spte, e.level);
  if (view_.host.format == model::PageTableFormat::kEpt && view_.vm.gfn_direct_bits == 0) {
    check(id("MMU-SPTE-VE"), ve_suppressed<>(e.new_spte));
  }
  if (model::change_removes_table<>(k)) count(id("MMU-PT-CHILD"));
  if (k.is_leaf) {
    count(id("MMU-SPTE-HOSTW"));
    count(id("MMU-SPTE-MMUW"));
    check(id("MMU-PT-TREE"), leaf_level_allowed(e.level));
    if (!k.was_leaf || (e.new_spte & ~e.old_spte) != 0) {
      leaf_installed(e.as_id, e.gfn, e.level, e.new_spte);
    }
  } else if (k.is_present) {
    check(id("MMU-PT-CHILD"),
          view_.store.find_table(model::spte_to_pfn<>(e.new_spte)) != kNoTable);
  }
  if (k.was_leaf && !k.is_present && !e.shared && recall(kRootValid) != 0) {
    keep(kLeafGone, true);
  }
  const bool mirror = view_.vm.has_mirror && view_.is_mirror(e.table);
  if (k.was_leaf && !k.is_present && !e.shared && recall(kWalking) != 0) {
    const uint64_t bits = view_.vm.gfn_direct_bits;
    check(id("MMU-ZAP-PRECISE"),
          zap_was_asked_for<>(e.gfn & ~bits, e.level, recall(kStart), recall(kEnd), mirror));
  }
  if (mirror && k.is_leaf) mirror_leaf(e);
}

void Monitor::on(const ev::Store& e) {
  if (e.how == ev::How::kCas) count(id("MMU-SPTE-STALE"));
  if (e.how == ev::How::kSet) count(id("MMU-SPTE-REPLACED"));
  if (view_.platform != nullptr && view_.is_mirror(e.table)) mirror_thaw(e);
}

void Monitor::on(const ev::InitSp& e) {
  if (e.parent_table == kNoTable) {
    count(id("MMU-ROOT-REUSE"));
    return;
  }
  const int parent_level = model::role_level(view_.role(e.parent_table));
  const uint64_t entry_gfn = view_.field(CellKind::kSpGfn, e.parent_table) +
                             e.parent_index * model::pages_per_hpage(parent_level);
  // In designs with a raw walk sp->gfn has the bits that index the root.
  const bool raw = view_.design.iter_index == model::IterIndex::kRawGfn;
  check(id("MMU-PT-TREE"),
        child_fits<>(model::role_level(e.role), e.gfn, parent_level,
                     raw ? entry_gfn : entry_gfn & ~view_.vm.gfn_direct_bits));
}

void Monitor::on(const ev::SetSpte& e) {
  count(id("MMU-FAULT-LEVEL"));
  count(id("MMU-FAULT-FLUSH"));
  if (!model::is_shadow_present_pte<>(e.spte)) return;
  count(id("MMU-FAULT-PFN"));
  if (e.level > model::kPgLevel4K) count(id("MMU-FAULT-CONGRUENT"));
  count(id("MMU-DIRTY-HUGE"));
}

void Monitor::on(const ev::SpteChanged& e) {
  count(id("MMU-WALK-COVER"));
  const bool mirror = view_.is_mirror(e.table);
  check(id("MMU-WALK-INDEX"),
        entry_is_walked<>({e.gfn}, view_.vm.gfn_direct_bits, mirror, e.level, e.index));
  if (view_.platform != nullptr && mirror && !hook_to_come(e.new_spte)) {
    mirror_change(e.gfn, e.level, e.new_spte);
  }
}

void Monitor::on(const ev::FastPageFault& e) {
  count(id("MMU-FASTPF-ROOT"));
  if (recall(kTracking) == 0 || !e.found || view_.locked_for_write()) return;
  const uint32_t slot =
      model::gfn_to_memslot(view_, model::role_as_id(view_.role(e.table)), e.gfn);
  if (slot == model::kNoSlot) return;
  const uint64_t base = model::slot_get(view_, slot, SlotField::kBase);
  check(id("MMU-DIRTY-WRTRACK"),
        tracked_not_writable<>(
            e.new_spte, view_.store.get(cell::of(CellKind::kWriteTrack, slot, e.gfn - base)) != 0));
}

// What vCPUs have cached, where nobody holds mmu_lock. When the mm is gone no vCPU runs any more.
void Monitor::translations() {
  if (view_.field(CellKind::kTlbVcpus) == 0 || view_.locked() ||
      view_.field(CellKind::kMmReleased) != 0) {
    return;
  }
  model::for_each_translation(view_, [&](uint32_t vcpu, const model::CachedTranslation& t) {
    check(id("MMU-TLB-COVERED"), model::translation_justified(view_, vcpu, t));
    if (recall(kTracking) == 0 || !t.writable) return;
    const uint32_t slot = model::gfn_to_memslot(view_, 0, t.gfn);
    if (slot == model::kNoSlot) return;
    const uint64_t page = t.gfn - model::slot_get(view_, slot, SlotField::kBase);
    check(id("MMU-DIRTY-WRTRACK"),
          view_.store.get(cell::of(CellKind::kWriteTrack, slot, page)) == 0);
  });
}

void Monitor::on(const ev::Unlock&) { translations(); }

// A table that was reachable goes back when all that it mapped has gone.
void Monitor::on(const ev::Freed& e) {
  if (view_.platform != nullptr && view_.is_mirror(e.table) &&
      view_.design.mirror_removal == model::MirrorRemoval::kReadLock) {
    count(id("TDX-RCU-INFLIGHT"));
  }
  if (view_.field(CellKind::kSpState, e.table) !=
      static_cast<uint64_t>(model::SpState::kRemoved)) {
    return;
  }
  bool present = false;
  for (uint64_t i = 0; i < model::kSpteEntPerPage; i++) {
    present |= model::is_shadow_present_pte<>(view_.store.get(cell::pte(e.table, i)));
  }
  check(id("MMU-PT-TREE"), !present);
}

void Monitor::on(const ev::SplitHugePage& e) {
  check(id("MMU-DIRTY-SPLIT"), splittable<>(e.spte, e.level));
}

void Monitor::on(const ev::PutRoot&) { count(id("MMU-ROOT-LASTREF")); }

void Monitor::on(const ev::IterStart&) { count(id("MMU-WALK-START")); }

void Monitor::on(const ev::Yield&) {
  count(id("MMU-WALK-PROGRESS"));
  keep(kWalking, false);  // others may zap what they like now
  translations();
}

void Monitor::on(const ev::CmpxchgSpteRet&) { count(id("MMU-NX-STILL")); }

// A walk that yields flushes first, and owes nothing for what went before.
void Monitor::on(const ev::Flush&) { keep(kLeafGone, false); }

// The list of possible NX huge pages; of one longer than kRangeLimit only the head is looked at.
void Monitor::nx_list() {
  uint64_t listed = 0;
  bool linked = true;
  uint64_t at = view_.field(CellKind::kNxHead);
  for (; at != 0 && listed < kRangeLimit; listed++) {
    const auto table = static_cast<uint32_t>(at - 1);
    linked &= view_.store.is_live(table) &&
              view_.field(CellKind::kSpState, table) ==
                  static_cast<uint64_t>(model::SpState::kLinked);
    at = view_.store.is_live(table) ? view_.field(CellKind::kNxNext, table) : 0;
  }
  check(id("MMU-NX-LIST"),
        linked && (at != 0 || nx_list_counted<>(listed, view_.field(CellKind::kNxCount),
                                                view_.field(CellKind::kNxShadowCount))));
}

void Monitor::enter_root(const ev::Enter& e) {
  const uint64_t refs = view_.field(CellKind::kRootRefs, e.root);
  check(id("MMU-LOCK-ANY"), view_.locked());
  switch (e.fn) {
    case ev::Fn::kZapLeafsRoot:
      check(id("MMU-ROOT-REF"), refs != 0);
      count(id("MMU-LOCK-EXCLUSIVE"));
      keep(kRootValid, !view_.root_invalid(e.root));
      keep(kWalking, recall(kUnmapsOpen) == 1 && recall(kUnmapsOverlap) == 0);
      if (view_.vm.has_mirror && recall(kUnmapsOpen) == 1) {
        const bool mirror = view_.is_mirror(e.root);
        const uint64_t kind = mirror ? model::kFilterPrivate : model::kFilterShared;
        // Up to v19 private roots are visited to be spared.
        const bool spared =
            mirror && view_.design.unmap_filter == model::UnmapFilter::kOnlyPrivateShared;
        check(id("MMU-MIRROR-FILTER"), (recall(kAttrFilter) & kind) != 0 || spared);
      }
      return;
    case ev::Fn::kZapRoot:
      count(id("MMU-ROOT-ZAPREF"));
      count(id("MMU-LOCK-MODE"));
      if (view_.root_invalid(e.root)) count(id("MMU-ROOT-SCHEDULED"));
      return;
    case ev::Fn::kWrprotRange:
      check(id("MMU-DIRTY-LEVEL"), e.a[2] <= model::kMaxHugepageLevel);
      return;
    default: return;
  }
}

void Monitor::enter_range(const ev::Enter& e) {
  switch (e.fn) {
    case ev::Fn::kUnmapGfnRange: {
      // A slot that is INVALID is being deleted or moved: its updater holds slots_lock.
      const auto slot = static_cast<uint32_t>(e.a[2]);
      check(id("MMU-INV-UNMAP"), view_.field(CellKind::kInvalidateInProgress) != 0 ||
                                     model::slot_get(view_, slot, SlotField::kInvalid) != 0);
      return;
    }
    case ev::Fn::kMmuUnmapGfnRange: keep(kToPrivate, e.a[5] != 0); return;
    case ev::Fn::kTdpUnmapGfnRange:
      count(id("MMU-ROOT-TYPES"));
      keep(kUnmapsOpen, recall(kUnmapsOpen) + 1);
      if (recall(kUnmapsOpen) > 1) keep(kUnmapsOverlap, true);
      keep(kRootValid, true);
      keep(kWalking, false);
      keep(kLeafGone, e.a[5] != 0);
      keep(kAttrFilter, e.a[3]);
      keep(kAsId, model::slot_get(view_, static_cast<uint32_t>(e.a[2]), SlotField::kAsId));
      keep(kStart, e.a[0]);
      keep(kEnd, e.a[1]);
      return;
    case ev::Fn::kPreSetAttr:
    case ev::Fn::kPostSetAttr:
      check(id("MMU-ATTR-RANGE"), e.a[0] < e.a[1] && view_.vm.has_private_mem);
      if (e.fn == ev::Fn::kPostSetAttr) {
        keep(kAttributesOpen, true);
        keep(kAttributesStart, e.a[0]);
        keep(kAttributesEnd, e.a[1]);
        keep(kAttributesSlot, static_cast<uint32_t>(e.a[2]));
      }
      return;
    case ev::Fn::kInvBegin:
      check(id("MMU-INV-LOCK"), view_.locked_for_write());
      return;
    case ev::Fn::kInvAdd:
      check(id("MMU-INV-LOCK"), view_.locked_for_write());
      check(id("MMU-INV-HVA"), e.a[0] < e.a[1]);
      count(id("MMU-INV-ADD"));
      return;
    case ev::Fn::kInvEnd:
      check(id("MMU-INV-LOCK"), view_.locked_for_write());
      count(id("MMU-INV-COUNT"));
      count(id("MMU-INV-EMPTY"));
      return;
    case ev::Fn::kZapLeafs:
      check(id("MMU-SLOT-RANGE"), e.a[0] < e.a[1]);
      return;
    default: return;
  }
}

// A deleted slot stays INVALID until its handle is used again.
void Monitor::slot_deleted(uint64_t number) {
  for (uint32_t s = 0; s < model::slot_bound(view_); s++) {
    if (model::slot_in_use(view_, s) || model::slot_get(view_, s, SlotField::kInvalid) == 0 ||
        model::slot_get(view_, s, SlotField::kId) != number) {
      continue;
    }
    const uint64_t start = model::slot_get(view_, s, SlotField::kBase);
    const uint64_t pages = std::min(kRangeLimit, model::slot_get(view_, s, SlotField::kNpages));
    const auto as_id = static_cast<uint32_t>(model::slot_get(view_, s, SlotField::kAsId));
    check(id("MMU-SLOT-FREED"),
          !any_leaf(view_, as_id, start, start + pages, false,
                    model::kFilterShared | model::kFilterPrivate));
    check(id("MMU-GMEM-BIND"), view_.field(CellKind::kGmemBinding, s) == 0);
  }
}

void Monitor::enter_slot(const ev::Enter& e) {
  switch (e.fn) {
    case ev::Fn::kWrprotSlot:
      check(id("MMU-DIRTY-LEVEL"), e.a[1] <= model::kMaxHugepageLevel);
      count(id("MMU-LOCK-SHARED"));
      return;
    case ev::Fn::kWriteProtectGfn:
      check(id("MMU-DIRTY-LEVEL"), e.a[2] <= model::kMaxHugepageLevel);
      count(id("MMU-LOCK-EXCLUSIVE"));
      return;
    case ev::Fn::kClearDirtySlot:
    case ev::Fn::kClearDirtyPt:
      count(id("MMU-DIRTY-DBIT"));
      count(id("MMU-DIRTY-LOST"));
      return;
    case ev::Fn::kTrySplit: count(id("MMU-LOCK-MODE")); return;
    case ev::Fn::kZapCollapsible:
    case ev::Fn::kRecoverHuge: count(id("MMU-DIRTY-RECOVER")); return;
    case ev::Fn::kMmuZapAllFast:
      check(id("MMU-SLOT-ZAPLOCK"), view_.locked_for_write());
      return;
    case ev::Fn::kInvalidateRoots:
      count(id("MMU-ROOT-TYPES"));
      // While the VM is destroyed it has no users, and 7.x takes no lock.
      check(id("MMU-ROOT-INVLOCK"),
            view_.locked_for_write() || view_.field(CellKind::kMmReleased) != 0);
      if (view_.vm.has_mirror) {
        check(id("MMU-ROOT-MIRROR"), mirror_roots_stay<>(e.a[0]) ||
                                         view_.field(CellKind::kMmReleased) != 0);
      }
      return;
    case ev::Fn::kZapSp:
    case ev::Fn::kZapPossibleNx:
      count(id("MMU-NX-FLAG"));
      count(id("MMU-NX-ROOT"));
      count(id("MMU-NX-GONE"));
      count(id("MMU-NX-UNTRACK"));
      nx_list();
      return;
    case ev::Fn::kCommitMemslot:
      count(id("MMU-SLOT-GMEM"));
      if (e.a[0] == static_cast<uint64_t>(model::SlotChange::kDelete)) slot_deleted(e.a[1]);
      return;
    case ev::Fn::kCheckMmioSpte:
      check(id("MMU-MMIO-GEN"), e.a[3] == 0 || e.a[1] == e.a[2]);
      return;
    case ev::Fn::kGmemInvalidateEnd:
      count(id("MMU-GMEM-TRUNC"));
      if (view_.platform != nullptr) pages_left_file(e);
      return;
    default: return;
  }
}

void Monitor::on(const ev::Enter& e) {
  if (e.fn == ev::Fn::kTdpMap) {
    const uint64_t root =
        view_.store.get(cell::of(CellKind::kVcpuRoot, static_cast<uint32_t>(e.a[0]), 0));
    if (root != 0) {
      count(id("MMU-ROOT-INSTALL"));
      // A gfn that the root has no bits for would be mapped where another one is.
      const int level = model::role_level(view_.role(static_cast<uint32_t>(root - 1)));
      check(id("MMU-PT-ALIAS"), gfn_has_its_place<>(e.a[2], level));
    }
    if (e.a[6] != 0) count(id("MMU-FAULT-PREFAULT"));
    if (view_.vm.has_mirror) mirror_fault(e);
    check(id("MMU-FAULT-ALIAS"), !model::is_gfn_alias<>(view_.vm.gfn_direct_bits, {e.a[2]}));
    if (view_.vm.has_private_mem) {
      const uint64_t attributes = view_.store.get(cell::of(CellKind::kMemAttr, 0, e.a[2]));
      check(id("MMU-ATTR-LEAF"), kind_as_attributes_say<>(e.a[7] != 0, attributes));
      if (e.a[7] != 0) {
        check(id("MMU-GMEM-ORDER"), e.a[8] >= 1 && e.a[8] <= model::kMaxHugepageLevel);
        check(id("MMU-GMEM-BIND"),
              model::slot_get(view_, static_cast<uint32_t>(e.a[12]), SlotField::kGmem) != 0);
      }
    }
    return;
  }
  if (e.root != kNoTable && e.fn != ev::Fn::kZapSp && e.fn != ev::Fn::kZapPossibleNx) {
    return enter_root(e);
  }
  enter_range(e);
  enter_slot(e);
}

void Monitor::unmapped(uint64_t flush) {
  const bool judged = recall(kUnmapsOpen) == 1 && recall(kUnmapsOverlap) == 0;
  if (recall(kUnmapsOpen) > 0) keep(kUnmapsOpen, recall(kUnmapsOpen) - 1);
  keep(kWalking, false);
  keep(kToPrivate, false);
  if (recall(kUnmapsOpen) == 0) keep(kUnmapsOverlap, false);
  if (!judged) return;
  check(id("MMU-TLB-COVERED"), flush != 0 || recall(kLeafGone) == 0);
  const uint64_t start = recall(kStart);
  const uint64_t end = std::min(recall(kEnd), start + kRangeLimit);
  check(id("MMU-INV-DONE"), !any_leaf(view_, static_cast<uint32_t>(recall(kAsId)), start, end, true,
                                      recall(kAttrFilter)));
}

// Outside a change, what maps a gfn is of its kind, and a huge page has one kind only.
void Monitor::leafs_of_attributes(uint64_t gfn) {
  const uint64_t attributes = model::detail::mem_attr(view_, gfn);
  for (uint32_t root = model::first_root(view_); root != kNoTable;
       root = model::list_next_root(view_, root)) {
    model::CachedTranslation leaf;
    int level = 0;
    if (view_.root_invalid(root) || !model::translation_of(view_, root, gfn, &leaf, &level)) {
      continue;
    }
    if (view_.vm.has_mirror) {
      check(id("MMU-ATTR-LEAF"), kind_as_attributes_say<>(view_.is_mirror(root), attributes));
    }
    const uint32_t slot =
        model::gfn_to_memslot(view_, model::role_as_id(view_.role(root)), gfn);
    if (level == model::kPgLevel4K || slot == model::kNoSlot) continue;
    check(id("MMU-ATTR-LEAF"),
          model::detail::hugepage_has_attrs(view_, slot, model::gfn_round_for_level<>(gfn, level),
                                            level, attributes));
  }
}

// Head and tail are where a change leaves mixed pages.
void Monitor::mixed_flags(uint64_t start, uint64_t end, uint32_t slot) {
  for (const uint64_t at : {start, end - 1}) {
    const int level = model::kPgLevel2M;
    const uint64_t gfn = model::gfn_round_for_level<>(at, level);
    if (!model::detail::hugepage_in_slot(view_, slot, gfn, level)) continue;
    const uint64_t attributes = model::detail::mem_attr(view_, gfn);
    check(id("MMU-ATTR-MIXED"),
          model::detail::hugepage_test_mixed(view_, slot, gfn, level) !=
              model::detail::hugepage_has_attrs(view_, slot, gfn, level, attributes));
  }
}

void Monitor::on(const ev::Return& e) {
  switch (e.fn) {
    case ev::Fn::kTdpMap:
      check(id("MMU-FAULT-RET"), result_leaves_handler<>(e.value));
      count(id("MMU-FAULT-LOOP"));
      count(id("MMU-FAULT-PAGE"));
      if (view_.host.nx_huge_pages) nx_list();
      if (e.value == static_cast<uint64_t>(model::RetPf::kSpurious)) {
        count(id("MMU-FAULT-SPURIOUS"));
        count(id("MMU-FAULT-SPURPERM"));
      }
      return;
    case ev::Fn::kFaultStale:
      check(id("MMU-INV-RETRY"),
            open_invalidation_has_range<>(view_.field(CellKind::kInvalidateInProgress),
                                          view_.field(CellKind::kInvalidateStart)));
      return;
    case ev::Fn::kTdpUnmapGfnRange: return unmapped(e.value);
    case ev::Fn::kSetMemAttr:
      if (recall(kAttributesOpen) != 0) {
        mixed_flags(recall(kAttributesStart), recall(kAttributesEnd),
                    static_cast<uint32_t>(recall(kAttributesSlot)));
        leafs_of_attributes(recall(kAttributesStart));
        leafs_of_attributes(recall(kAttributesEnd) - 1);
      }
      keep(kAttributesOpen, false);
      return;
    case ev::Fn::kZapInvalidatedRoots:
      if (view_.field(CellKind::kMmReleased) == 0) return;
      // kvm_destroy_vm has come to its end.
      count(id("MMU-ROOT-LEAK"));
      check(id("MMU-ROOT-PAGES"), view_.field(CellKind::kTdpMmuPages) == 0);
      check(id("MMU-INV-DESTROY"), view_.field(CellKind::kInvalidateInProgress) == 0);
      return;
    default: return;
  }
}

void Monitor::on(const ev::RetryWait& e) { check(id("MMU-LOCK-LIVE"), !e.stuck); }

void Monitor::on(const ev::Warn& e) {
  const Id rule = find_id(e.rule);
  if (rule == kNoId) return;
  tally_.evaluated[rule]++;
  tally_.violated[rule]++;
}

}  // namespace mmucheck::invariant
