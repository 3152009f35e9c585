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
    mmu_unlock(w, LockMode::kWrite);
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
