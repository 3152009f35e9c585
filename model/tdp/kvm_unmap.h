// model/tdp: unmapping ranges that are given by gfn, by host virtual address, or by offset in a
// guest_memfd, with the invalidation around it. Source: mmu.c (kvm_unmap_gfn_range), kvm_main.c
// (kvm_mmu_unmap_gfn_range, kvm_handle_hva_range, kvm_mmu_notifier_invalidate_range_start/end,
// kvm_mmu_notifier_clear_young), guest_memfd.c (kvm_gmem_invalidate_begin/end).
#pragma once

#include "model/tdp/age.h"
#include "model/tdp/kvm_invalidate.h"
#include "model/tdp/zap.h"

namespace mmucheck::model {

struct UnmapGfnRange {
  uint8_t pc = 0;
  bool may_block = true;
  bool flush = false;  // in and out
  uint8_t attr_filter = 0;
  uint32_t slot = kNoSlot;
  uint64_t start = 0;
  uint64_t end = 0;
  ZapRange zap = {};
};

// kvm_unmap_gfn_range with the write lock held.
template <class W>
Run kvm_unmap_gfn_range(W& w, UnmapGfnRange& m) {
  MMU_BEGIN(m);
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kUnmapGfnRange, kNoTable,
                           {m.start, m.end, m.slot, m.attr_filter, m.may_block}});
  MMU_EMIT(m, 2, ev::Enter{ev::Fn::kTdpUnmapGfnRange, kNoTable,
                           {m.start, m.end, m.slot, m.attr_filter, m.may_block, m.flush}});
  m.zap = kvm_tdp_mmu_unmap_gfn_range(
      w, static_cast<uint32_t>(slot_get(w, m.slot, SlotField::kAsId)), m.start, m.end,
      m.attr_filter, m.may_block, m.flush);
  MMU_CALL(m, 3, zap_leafs_of_roots(w, m.zap));
  m.flush = m.zap.flush;
  MMU_EMIT(m, 4, ev::Return{ev::Fn::kTdpUnmapGfnRange, m.flush});
  MMU_END(m);
}

// Which gfns of a slot a range covers.
struct SlotPart {
  uint32_t slot = kNoSlot;
  uint64_t start = 0;
  uint64_t end = 0;
};

enum class RangeKind : uint8_t { kHva, kGfn, kGmem };

// Walks the slots that overlap a range, in the order that the kernel's trees give: address space,
// then hva (kHva), gfn (kGfn), or file offset (kGmem), then creation.
struct SlotWalk {
  RangeKind kind = RangeKind::kHva;
  bool started = false;
  uint64_t start = 0;  // bytes of hva, gfn, or file page
  uint64_t end = 0;
  uint64_t gmem = 0;   // file handle + 1 (kGmem)
  uint64_t last_as = 0, last_key = 0, last_stamp = 0;
  SlotPart part = {};
};

namespace detail {

template <class W>
bool slot_overlaps(const W& w, uint32_t s, const SlotWalk& walk, SlotPart* part, uint64_t* key) {
  const uint64_t base = slot_get(w, s, SlotField::kBase);
  const uint64_t npages = slot_get(w, s, SlotField::kNpages);
  part->slot = s;
  if (walk.kind == RangeKind::kGfn) {
    part->start = std::max(walk.start, base);
    part->end = std::min(walk.end, base + npages);
    *key = base;
    return part->start < part->end;
  }
  uint64_t origin, first, last;
  if (walk.kind == RangeKind::kHva) {
    origin = slot_get(w, s, SlotField::kHva) >> kPageShift;
    first = walk.start >> kPageShift;
    last = (walk.end + 0xfff) >> kPageShift;
  } else {
    if (walk.gmem == 0 || slot_get(w, s, SlotField::kGmem) != walk.gmem) return false;
    origin = slot_get(w, s, SlotField::kGmemOffset);
    first = walk.start;
    last = walk.end;
  }
  *key = origin;
  const uint64_t lo = std::max(first, origin);
  const uint64_t hi = std::min(last, origin + npages);
  if (lo >= hi) return false;
  part->start = base + (lo - origin);
  part->end = base + (hi - origin);
  return true;
}

}  // namespace detail

// Moves to the next slot; false when there is none.
template <class W>
bool next_slot_part(const W& w, SlotWalk& walk) {
  bool found = false;
  SlotPart best_part;
  uint64_t best[3] = {};
  for (uint32_t s = 0; s < slot_bound(w); s++) {
    // A memslot update may put the slot that was just visited behind itself.
    if (!slot_in_use(w, s) || (walk.started && s == walk.part.slot)) continue;
    SlotPart part;
    uint64_t key = 0;
    if (!detail::slot_overlaps(w, s, walk, &part, &key)) continue;
    const uint64_t rank[3] = {slot_get(w, s, SlotField::kAsId), key,
                              slot_get(w, s, SlotField::kStamp)};
    const uint64_t last[3] = {walk.last_as, walk.last_key, walk.last_stamp};
    const auto less = [](const uint64_t* a, const uint64_t* b) {
      return std::lexicographical_compare(a, a + 3, b, b + 3);
    };
    if (walk.started && !less(last, rank)) continue;
    if (found && !less(rank, best)) continue;
    found = true;
    best_part = part;
    std::copy(rank, rank + 3, best);
  }
  walk.started = true;
  walk.part = best_part;
  walk.last_as = best[0];
  walk.last_key = best[1];
  walk.last_stamp = best[2];
  return found;
}

struct InvalidateRange {  // the begin half of a notifier or guest_memfd invalidation
  uint8_t pc = 0;
  bool may_block = true;
  bool found = false;
  bool flush = false;
  uint8_t attr_filter = kFilterShared;
  SlotWalk slots = {};
  UnmapGfnRange unmap = {};
};

// kvm_handle_hva_range and kvm_gmem_invalidate_begin: lock at the first slot, unmap each part, one
// flush at the end.
template <class W>
Run invalidate_range_start(W& w, InvalidateRange& m) {
  MMU_BEGIN(m);
  m.found = false;
  m.flush = false;
  m.slots.started = false;
  if (m.slots.kind == RangeKind::kHva) notifier_begins(w);
  while (next_slot_part(w, m.slots)) {
    if (!m.found) {
      m.found = true;
      MMU_LOCK(m, 20, LockMode::kWrite);
      invalidate_begin(w);
      MMU_STEP(m, 1);
    }
    m.unmap = {};
    m.unmap.slot = m.slots.part.slot;
    m.unmap.start = m.slots.part.start;
    m.unmap.end = m.slots.part.end;
    m.unmap.attr_filter = m.attr_filter;
    m.unmap.may_block = m.may_block;
    if (m.slots.kind == RangeKind::kGmem || w.env.sees_inlined()) {
      MMU_EMIT(m, 2, ev::Enter{ev::Fn::kMmuUnmapGfnRange, kNoTable,
                               {m.unmap.start, m.unmap.end, m.unmap.slot, m.attr_filter,
                                m.may_block}});
    }
    invalidate_range_add(w, m.unmap.start, m.unmap.end);
    MMU_STEP(m, 3);
    MMU_CALL(m, 4, kvm_unmap_gfn_range(w, m.unmap));
    m.flush |= m.unmap.flush;
  }
  if (m.flush) MMU_EMIT(m, 5, ev::Flush{ev::FlushKind::kAll, 0, 0});
  if (m.found) mmu_unlock(w, LockMode::kWrite);
  MMU_END(m);
}

struct InvalidateRangeEnd {
  uint8_t pc = 0;
  SlotWalk slots = {};
};

// The end half: once, and only if a slot overlaps.
template <class W>
Run invalidate_range_end(W& w, InvalidateRangeEnd& m) {
  MMU_BEGIN(m);
  m.slots.started = false;
  if (next_slot_part(w, m.slots)) {
    MMU_LOCK(m, 20, LockMode::kWrite);
    invalidate_end(w);
    MMU_STEP(m, 1);
    invalidate_end_seen(w);
    mmu_unlock(w, LockMode::kWrite);
  }
  notifier_ends(w);
  MMU_END(m);
}

struct AgeHva {
  uint8_t pc = 0;
  bool test_only = false;
  bool young = false;
  SlotWalk slots = {};
  AgeRange age = {};
};

// kvm_age_hva_range: every slot, even when the first was young.
template <class W>
Run kvm_age_hva(W& w, AgeHva& m) {
  MMU_BEGIN(m);
  m.young = false;
  m.slots.started = false;
  while (next_slot_part(w, m.slots)) {
    m.age = {};
    m.age.test_only = m.test_only;
    m.age.slot = m.slots.part.slot;
    m.age.as_id = static_cast<uint32_t>(slot_get(w, m.slots.part.slot, SlotField::kAsId));
    m.age.start = m.slots.part.start;
    m.age.end = m.slots.part.end;
    MMU_CALL(m, 1, kvm_tdp_mmu_age_gfn_range(w, m.age));
    m.young |= m.age.young;
  }
  if (m.young && w.design.flush_when_young && w.env.flush_here()) {
    MMU_EMIT(m, 2, ev::Flush{ev::FlushKind::kAll, 0, 0});
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
