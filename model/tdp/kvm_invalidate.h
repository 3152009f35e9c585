// model/tdp: the invalidation sequence that makes page faults retry. Source: kvm_main.c
// (kvm_mmu_invalidate_begin/start, kvm_mmu_invalidate_range_add, kvm_mmu_invalidate_end),
// kvm_host.h (mmu_invalidate_retry, mmu_invalidate_retry_gfn), mmu.c (is_page_fault_stale).
//
// A function's event shows the values before it; the effect follows in the same step.
#pragma once

#include <algorithm>

#include "model/tdp/fault.h"
#include "model/tdp/roots.h"

namespace mmucheck::model {

inline constexpr uint64_t kInvalidGfn = ~uint64_t{0};  // INVALID_GPA as a range bound

template <class W>
void invalidate_begin(W& w) {
  w.emit(ev::Enter{ev::Fn::kInvBegin, kNoTable,
                   {w.field(CellKind::kInvalidateSeq), w.field(CellKind::kInvalidateInProgress),
                    w.field(CellKind::kInvalidateStart), w.field(CellKind::kInvalidateEnd)}});
  if (w.store.add(cell::of(CellKind::kInvalidateInProgress), 1) == 1) {
    w.set_field(CellKind::kInvalidateStart, 0, kInvalidGfn);
    w.set_field(CellKind::kInvalidateEnd, 0, kInvalidGfn);
  }
}

template <class W>
void invalidate_range_add(W& w, uint64_t start, uint64_t end) {
  const uint64_t old_start = w.field(CellKind::kInvalidateStart);
  const uint64_t old_end = w.field(CellKind::kInvalidateEnd);
  w.emit(ev::Enter{ev::Fn::kInvAdd, kNoTable,
                   {start, end, w.field(CellKind::kInvalidateSeq),
                    w.field(CellKind::kInvalidateInProgress), old_start, old_end}});
  if (w.field(CellKind::kInvalidateInProgress) == 0) w.warn("MMU-INV-ADD");
  const bool first = old_start == kInvalidGfn;
  w.set_field(CellKind::kInvalidateStart, 0, first ? start : std::min(old_start, start));
  w.set_field(CellKind::kInvalidateEnd, 0, first ? end : std::max(old_end, end));
}

// Without its barrier kvm_mmu_invalidate_end's count may be seen without the sequence.
template <class W>
bool seq_is_seen_late(const W& w) {
  return w.design.seq_barriers == SeqBarriers::kNoWmb;
}

template <class W>
void invalidate_end(W& w) {
  w.emit(ev::Enter{ev::Fn::kInvEnd, kNoTable,
                   {w.field(CellKind::kInvalidateSeq), w.field(CellKind::kInvalidateInProgress),
                    w.field(CellKind::kInvalidateStart), w.field(CellKind::kInvalidateEnd)}});
  if (!seq_is_seen_late(w)) w.store.add(cell::of(CellKind::kInvalidateSeq), 1);
  if (w.field(CellKind::kInvalidateInProgress) == 0) {
    w.warn("MMU-INV-COUNT");
    return;
  }
  w.store.add(cell::of(CellKind::kInvalidateInProgress), ~uint64_t{0});
  if (w.field(CellKind::kInvalidateStart) == kInvalidGfn) w.warn("MMU-INV-EMPTY");
}

// Before mmu_lock is dropped.
template <class W>
void invalidate_end_seen(W& w) {
  if (seq_is_seen_late(w)) w.store.add(cell::of(CellKind::kInvalidateSeq), 1);
}

// Is an invalidation of `gfn` in progress? An empty range counts as all of memory.
template <class W>
bool invalidate_in_progress(const W& w, uint64_t gfn) {
  if (w.field(CellKind::kInvalidateInProgress) == 0) return false;
  const uint64_t start = w.field(CellKind::kInvalidateStart);
  return start == kInvalidGfn || (gfn >= start && gfn < w.field(CellKind::kInvalidateEnd));
}

// mmu_invalidate_retry_gfn.
template <class W>
bool mmu_invalidate_retry_gfn(const W& w, uint64_t mmu_seq, uint64_t gfn) {
  return invalidate_in_progress(w, gfn) || w.field(CellKind::kInvalidateSeq) != mmu_seq;
}

// is_obsolete_root, for a root of the TDP MMU.
template <class W>
bool is_obsolete_root(const W& w, uint32_t root) {
  return root == kNoTable || w.root_invalid(root);
}

// is_page_fault_stale, under mmu_lock.
template <class W>
bool is_page_fault_stale(const W& w, const Fault& f) {
  if (w.design.stale_tests_root && is_obsolete_root(w, vcpu_root(w, f.vcpu, false))) return true;
  return w.design.stale_tests_seq && f.slot != kNoSlot &&
         mmu_invalidate_retry_gfn(w, f.mmu_seq, f.gfn);
}

}  // namespace mmucheck::model
