// model/tdp: guest_memfd: pages of a file go away under the mappings of every slot that is bound to
// it. Source: guest_memfd.c (kvm_gmem_punch_hole, kvm_gmem_release, kvm_gmem_invalidate_begin and
// _end; 7.x: __kvm_gmem_invalidate_start).
#pragma once

#include "model/tdp/kvm_gmem_convert.h"

namespace mmucheck::model {

struct GmemInvalidate {
  uint8_t pc = 0;
  uint64_t gmem = 0;   // file handle + 1
  uint64_t start = 0;  // file pages
  uint64_t end = 0;
  InvalidateRange range = {};
  GmemZap zap = {};  // of pending series, in place of `range`
};

// Punch hole, truncation and release alike. The write lock is dropped between the halves, where
// the pages leave the file.
template <class W>
Run kvm_gmem_invalidate(W& w, GmemInvalidate& m) {
  MMU_BEGIN(m);
  if (gmem_lock_held(w, m.gmem)) return Run::kBlocked;
  set_gmem_lock(w, m.gmem, true);
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kGmemInvalidate, kNoTable, {m.start, m.end, m.gmem}});
  m.range = {};
  m.range.attr_filter = kFilterPrivate;
  m.range.slots.kind = RangeKind::kGmem;
  m.range.slots.gmem = m.gmem;
  m.range.slots.start = m.start;
  m.range.slots.end = m.end;
  if (gmem_change_is_pending(w)) {
    m.zap = {};
    m.zap.slots = m.range.slots;
    MMU_CALL(m, 5, gmem_split_and_zap(w, m.zap));
    m.range.found = m.zap.found;
  } else {
    MMU_CALL(m, 2, invalidate_range_start(w, m.range));
  }
  // A hole that could not be split for is not punched.
  if (!m.zap.failed) {
    MMU_EMIT(m, 3, ev::Enter{ev::Fn::kGmemInvalidateEnd, kNoTable, {m.start, m.end, m.gmem}});
  }
  if (m.range.found) {
    MMU_LOCK(m, 20, LockMode::kWrite);
    invalidate_end(w);
    MMU_STEP(m, 4);
    invalidate_end_seen(w);
    mmu_unlock(w, LockMode::kWrite);
  }
  set_gmem_lock(w, m.gmem, false);
  MMU_END(m);
}

struct GmemRelease {
  uint8_t pc = 0;
  uint64_t gmem = 0;  // file handle + 1
  GmemInvalidate pages = {};
};

// The last reference to the file goes; kvm_gmem_release() follows in a while, walks the file's
// bindings and takes the file from their slots.
template <class W>
Run kvm_gmem_release(W& w, GmemRelease& m) {
  MMU_BEGIN(m);
  w.store.set(cell::of(CellKind::kGmemDying, 0, m.gmem), 1);
  MMU_LEFT(m, 1);
  if (slots_lock_held(w)) return Run::kBlocked;
  set_slots_lock(w, true);
  for (uint32_t s = 0; s < slot_bound(w); s++) {
    if (w.field(CellKind::kGmemBinding, s) != m.gmem) continue;
    if (!slot_in_use(w, s) || slot_get(w, s, SlotField::kGmem) != m.gmem) w.warn("MMU-GMEM-BIND");
  }
  m.pages = {};
  m.pages.gmem = m.gmem;
  m.pages.end = ~uint64_t{0};
  MMU_CALL(m, 2, kvm_gmem_invalidate(w, m.pages));
  for (uint32_t s = 0; s < slot_bound(w); s++) {
    if (w.field(CellKind::kGmemBinding, s) != m.gmem) continue;
    w.set_field(CellKind::kGmemBinding, s, 0);
    if (slot_in_use(w, s)) slot_set(w, s, SlotField::kGmem, 0);
  }
  w.store.set(cell::of(CellKind::kGmemDying, 0, m.gmem), 0);
  set_slots_lock(w, false);
  MMU_END(m);
}

}  // namespace mmucheck::model
