// model/tdp: memslot updates. Source: kvm_main.c (kvm_set_memory_region, kvm_set_memslot), x86.c
// (kvm_arch_commit_memory_region, kvm_mmu_slot_apply_flags), mmu.c (kvm_arch_flush_shadow_memslot,
// kvm_mmu_zap_all_fast, kvm_mmu_zap_memslot).
//
// What is refused, and with what error: kvm_memslot_checks.h. A refused update has no effect, but
// for a slot that was to move to where none can be: its mappings have gone.
#pragma once

#include "model/tdp/dirty.h"
#include "model/tdp/kvm_attributes.h"
#include "model/tdp/kvm_memslot_checks.h"
#include "model/tdp/kvm_unmap.h"
#include "model/tdp/recover.h"
#include "model/tdp/split.h"

namespace mmucheck::model {

struct ZapAllFast {
  uint8_t pc = 0;
  bool called = true;  // kvm_arch_flush_shadow_memslot() has it inlined in every recorded build
  ZapInvalidatedRoots zap = {};
};

// kvm_mmu_zap_all_fast: all direct roots become obsolete at once; their tables go under the read
// lock. vCPUs get a request in the section that invalidates.
template <class W>
Run kvm_mmu_zap_all_fast(W& w, ZapAllFast& m) {
  MMU_BEGIN(m);
  if (m.called && w.env.sees_inlined()) {
    MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapAllFast, kNoTable, {}});
  }
  MMU_LOCK(m, 20, LockMode::kWrite);
  MMU_EMIT(m, 2, ev::Enter{ev::Fn::kMmuZapAllFast, kNoTable, {}});
  w.emit(ev::Enter{ev::Fn::kInvalidateRoots, kNoTable, {kDirectRoots}});
  invalidate_roots(w, kDirectRoots);
  MMU_STEP(m, 3);
  mmu_unlock(w, LockMode::kWrite);
  MMU_EMIT(m, 4, ev::Enter{ev::Fn::kZapInvalidatedRoots, kNoTable, {1}});
  MMU_LOCK(m, 21, LockMode::kRead);
  m.zap = {};
  m.zap.shared = true;
  MMU_CALL(m, 5, kvm_tdp_mmu_zap_invalidated_roots(w, m.zap));
  mmu_unlock(w, LockMode::kRead);
  MMU_EMIT(m, 6, ev::Return{ev::Fn::kZapInvalidatedRoots, 0});
  MMU_END(m);
}

struct ApplyFlags {
  uint8_t pc = 0;
  uint32_t slot = kNoSlot;
  CollapseSlot collapse = {};
  TrySplit split = {};
  DirtySlot dirty = {};
};

// kvm_mmu_slot_apply_flags after dirty logging of `slot` was switched.
template <class W>
Run kvm_mmu_slot_apply_flags(W& w, ApplyFlags& m) {
  MMU_BEGIN(m);
  if (!slot_dirty_track_enabled(w, m.slot)) {
    m.collapse = {};
    m.collapse.slot = m.slot;
    if (w.design.collapse == Collapse::kZapCollapsible) {
      MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapCollapsibleKvm, kNoTable, {m.slot}});
    }
    MMU_LOCK(m, 22, LockMode::kRead);
    MMU_CALL(m, 2, collapse_slot(w, m.collapse));
    mmu_unlock(w, LockMode::kRead);
    m.pc = 0;
    return Run::kDone;
  }
  // Pages count as dirty from the start: nothing is protected until they are cleared.
  if (w.env.initially_all_set()) return Run::kDone;
  if (w.env.eager_page_split()) {
    m.split = {};
    m.split.slot = m.slot;
    m.split.shared = true;
    m.split.start = slot_get(w, m.slot, SlotField::kBase);
    m.split.end = m.split.start + slot_get(w, m.slot, SlotField::kNpages);
    MMU_LOCK(m, 23, LockMode::kRead);
    MMU_CALL(m, 3, kvm_tdp_mmu_try_split_huge_pages(w, m.split));
    mmu_unlock(w, LockMode::kRead);
  }
  m.dirty = {};
  if (w.host.cpu_dirty_log_size != 0 && !w.vm.has_mirror) {
    m.dirty.slot = m.slot;
    m.dirty.clear_dirty = true;
    MMU_LOCK(m, 24, LockMode::kRead);
    MMU_CALL(m, 4, dirty_slot(w, m.dirty));
    mmu_unlock(w, LockMode::kRead);
    m.dirty = {};
    m.dirty.min_level = kPgLevel2M;
  }
  m.dirty.slot = m.slot;
  MMU_LOCK(m, 25, LockMode::kRead);
  MMU_CALL(m, 5, dirty_slot(w, m.dirty));
  mmu_unlock(w, LockMode::kRead);
  MMU_EMIT(m, 6, ev::Enter{ev::Fn::kFlushMemslot, kNoTable, {m.slot}});
  MMU_END(m);
}

struct SetMemoryRegion {
  uint8_t pc = 0;
  SlotChange change = SlotChange::kNone;
  bool refused = false;  // by the architecture
  uint32_t slot = kNoSlot;
  int32_t ret = 0;
  uint64_t old_flags = 0;
  MemoryRegion region = {};
  ZapAllFast zap_fast = {};
  UnmapGfnRange unmap = {};
  ApplyFlags apply = {};
};

namespace detail {

template <class W>
void write_slot(W& w, uint32_t slot, const MemoryRegion& r) {
  slot_set(w, slot, SlotField::kAsId, r.as_id);
  slot_set(w, slot, SlotField::kId, r.id);
  slot_set(w, slot, SlotField::kBase, r.base);
  slot_set(w, slot, SlotField::kNpages, r.npages);
  slot_set(w, slot, SlotField::kHva, r.hva);
  slot_set(w, slot, SlotField::kFlags, r.flags);
  slot_set(w, slot, SlotField::kGmem, r.gmem);
  slot_set(w, slot, SlotField::kGmemOffset, r.gmem_offset);
  slot_set(w, slot, SlotField::kInvalid, 0);
  init_lpage_info(w, slot);
  init_mixed_info(w, slot);
}

template <class W>
void forget_slot(W& w, uint32_t slot) {
  const uint64_t npages = slot_get(w, slot, SlotField::kNpages);
  for (uint64_t i = 0; i < npages; i++) {
    const Cell dirty = cell::of(CellKind::kDirtyBit, slot, i);
    if (w.store.get(dirty) != 0) w.store.set(dirty, 0);
  }
  clear_lpage_info(w, slot);
  if (slot_dirty_track_enabled(w, slot)) {
    w.store.add(cell::of(CellKind::kDirtyLoggingSlots), ~uint64_t{0});
  }
}

// A handle that names no slot; kNoSlot when the limit is reached.
template <class W>
uint32_t new_slot_handle(W& w) {
  for (uint32_t s = 0; s < kMaxSlots; s++) {
    if (s < slot_bound(w) && slot_in_use(w, s)) continue;
    if (s >= slot_bound(w)) w.set_field(CellKind::kSlotBound, 0, s + 1);
    return s;
  }
  return kNoSlot;
}

// kvm_gmem_unbind: the file forgets the slot; before 6.18 not where its last reference has gone and
// its release is still to come.
template <class W>
void kvm_gmem_unbind(W& w, uint32_t slot) {
  const uint64_t file = w.field(CellKind::kGmemBinding, slot);
  if (file == 0 || (w.design.gmem_unbind == GmemUnbind::kLiveFile &&
                    w.store.get(cell::of(CellKind::kGmemDying, 0, file)) != 0)) {
    return;
  }
  w.set_field(CellKind::kGmemBinding, slot, 0);
}

// kvm_swap_active_memslots: the generation of an address space counts in steps of how many there
// are, so that no two spaces share one.
template <class W>
void install_memslots(W& w, uint64_t as_id) {
  w.store.add(cell::of(CellKind::kMemslotGen, static_cast<uint32_t>(as_id)),
              w.vm.has_private_mem ? 1 : 2);
}

// kvm_invalidate_memslot: a copy with KVM_MEMSLOT_INVALID takes the slot's place. In the hva tree it
// goes behind what begins at the same hva (kvm_replace_memslot).
template <class W>
void invalidate_memslot(W& w, uint32_t slot) {
  slot_set(w, slot, SlotField::kInvalid, 1);
  slot_set(w, slot, SlotField::kStamp, w.store.add(cell::of(CellKind::kSlotStamp), 1));
}

// The update is over: what faults see is what will stay.
template <class W>
void end_update(W& w, const SetMemoryRegion& m) {
  w.set_field(CellKind::kMemslotUpdating, static_cast<uint32_t>(m.region.as_id), 0);
}
// kvm_set_memslot, where kvm_prepare_memory_region failed: the old slot takes the place of its
// INVALID copy again.
template <class W>
void revert_invalid_memslot(W& w, const SetMemoryRegion& m) {
  slot_set(w, m.slot, SlotField::kInvalid, 0);
  slot_set(w, m.slot, SlotField::kStamp, w.store.add(cell::of(CellKind::kSlotStamp), 1));
  install_memslots(w, m.region.as_id);
}
template <class W>
void commit_region(W& w, SetMemoryRegion& m) {
  const MemoryRegion& r = m.region;
  install_memslots(w, r.as_id);
  switch (m.change) {
    case SlotChange::kCreate:
      m.slot = new_slot_handle(w);
      if (m.slot == kNoSlot) return;
      slot_set(w, m.slot, SlotField::kInUse, 1);
      slot_set(w, m.slot, SlotField::kStamp, w.store.add(cell::of(CellKind::kSlotStamp), 1));
      write_slot(w, m.slot, r);
      w.set_field(CellKind::kGmemBinding, m.slot, r.gmem);
      if (r.flags & kMemLogDirtyPages) w.store.add(cell::of(CellKind::kDirtyLoggingSlots), 1);
      return;
    case SlotChange::kDelete:
      forget_slot(w, m.slot);
      slot_set(w, m.slot, SlotField::kInUse, 0);
      kvm_gmem_unbind(w, m.slot);
      return;
    case SlotChange::kMove:
      clear_lpage_info(w, m.slot);
      slot_set(w, m.slot, SlotField::kStamp, w.store.add(cell::of(CellKind::kSlotStamp), 1));
      write_slot(w, m.slot, r);
      return;
    case SlotChange::kFlagsOnly: {
      const bool on = r.flags & kMemLogDirtyPages;
      const bool was = m.old_flags & kMemLogDirtyPages;
      slot_set(w, m.slot, SlotField::kFlags, r.flags);
      // kvm_replace_memslot takes the slot out of the hva tree and puts it in again.
      slot_set(w, m.slot, SlotField::kStamp, w.store.add(cell::of(CellKind::kSlotStamp), 1));
      if (on == was) return;
      w.store.add(cell::of(CellKind::kDirtyLoggingSlots), on ? 1 : ~uint64_t{0});
      if (!on) {
        for (uint64_t i = 0; i < r.npages; i++) {
          w.store.set(cell::of(CellKind::kDirtyBit, m.slot, i), 0);
        }
      }
      return;
    }
    case SlotChange::kNone: return;
  }
}

}  // namespace detail

template <class W>
Run kvm_set_memory_region(W& w, SetMemoryRegion& m) {
  MMU_BEGIN(m);
  if (slots_lock_held(w)) return Run::kBlocked;
  set_slots_lock(w, true);
  m.slot = id_to_memslot(w, static_cast<uint32_t>(m.region.as_id), m.region.id);
  m.ret = detail::classify_region(w, m.region, m.slot, &m.change);
  m.refused = m.ret == 0 && detail::prepare_refuses(w, m.region, m.change);
  if (m.refused && m.change == SlotChange::kCreate) m.ret = detail::kEinval;
  m.ret = w.env.memory_region_result(m.ret);
  if (m.ret == 0 && m.change != SlotChange::kNone) {
    m.old_flags = m.slot == kNoSlot ? 0 : slot_get(w, m.slot, SlotField::kFlags);
    w.set_field(CellKind::kMemslotUpdating, static_cast<uint32_t>(m.region.as_id), 1);
    w.env.open_window();
    MMU_STEP(m, 8);
    if (notifiers_are_open(w)) return Run::kBlocked;
    if (m.change == SlotChange::kDelete || m.change == SlotChange::kMove) {
      // The INVALID copy is installed first; faults that see it retry.
      detail::invalidate_memslot(w, m.slot);
      detail::install_memslots(w, m.region.as_id);
      MMU_STEP(m, 1);
      if (w.design.slot_synchronizes) MMU_SYNCHRONIZE_SRCU(m, 9);
      if (w.env.slot_zap_all(w.vm.default_type)) {
        m.zap_fast = {};
        m.zap_fast.called = false;
        MMU_CALL(m, 2, kvm_mmu_zap_all_fast(w, m.zap_fast));
      } else {
        m.unmap = {};
        m.unmap.slot = m.slot;
        m.unmap.start = slot_get(w, m.slot, SlotField::kBase);
        m.unmap.end = m.unmap.start + slot_get(w, m.slot, SlotField::kNpages);
        m.unmap.attr_filter = w.design.slot_unmap_filter;
        MMU_LOCK(m, 26, LockMode::kWrite);
        MMU_CALL(m, 3, kvm_unmap_gfn_range(w, m.unmap));
        if (m.unmap.flush) MMU_EMIT(m, 4, ev::Flush{ev::FlushKind::kAll, 0, 0});
        mmu_unlock(w, LockMode::kWrite);
        MMU_LEFT_IF(m, 11, notifiers_are_open(w));
      }
      if (notifiers_are_open(w)) return Run::kBlocked;
    }
    if (m.refused) {
      detail::revert_invalid_memslot(w, m);
      detail::end_update(w, m);
      m.ret = detail::kEinval;
      set_slots_lock(w, false);
      MMU_EMIT(m, 10, ev::Return{ev::Fn::kSetMemslot, static_cast<uint64_t>(int64_t{m.ret})});
      m.pc = 0;
      return Run::kDone;
    }
    detail::commit_region(w, m);
    detail::end_update(w, m);
    MMU_EMIT(m, 5, ev::Enter{ev::Fn::kCommitMemslot, kNoTable,
                             {static_cast<uint64_t>(m.change), m.region.id,
                              m.change == SlotChange::kCreate ? 0 : m.region.id}});
    if (m.change == SlotChange::kFlagsOnly && !(m.region.flags & kMemReadonly) &&
        (m.old_flags ^ m.region.flags) & kMemLogDirtyPages) {
      m.apply = {};
      m.apply.slot = m.slot;
      MMU_CALL(m, 6, kvm_mmu_slot_apply_flags(w, m.apply));
    }
  }
  set_slots_lock(w, false);
  MMU_EMIT(m, 7, ev::Return{ev::Fn::kSetMemslot, static_cast<uint64_t>(int64_t{m.ret})});
  MMU_END(m);
}

}  // namespace mmucheck::model
