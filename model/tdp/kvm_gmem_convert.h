// model/tdp: pending: what becomes of private mappings when pages of a guest_memfd go or convert:
// splits at the ends, the range that faults retry on, the aliases that are zapped, and conversion in
// place. Source: TDX huge pages v3 16/24; RFC v5 43/45; guest_memfd in-place conversion v8 (18 June
// 2026): kvm_gmem_set_attributes, and the state of guest_memfd.c after it.
//
// The private attribute of a page of a file is kept by its gfn: a file's page backs one gfn of a VM.
// User mappings of shared pages, and the reference counts that a conversion to private looks at, are
// not modelled.
#pragma once

#include "model/tdp/kvm_attributes.h"
#include "model/tdp/private_split.h"

namespace mmucheck::model {

enum class GmemChange : uint8_t { kHole, kToPrivate, kToShared };

// Do pages of a file go otherwise than in 7.2?
template <class W>
bool gmem_change_is_pending(const W& w) {
  return w.vm.has_mirror &&
         (w.design.conversion_split != ConversionSplit::kNever ||
          w.design.split_range != SplitRange::kExact || w.design.gmem_in_place);
}

namespace detail {

template <class W>
bool widens_range(const W& w, GmemChange change) {
  switch (w.design.split_range) {
    case SplitRange::kExact: return false;
    case SplitRange::kWidened: return true;
    case SplitRange::kWidenedConversion: break;
  }
  return change != GmemChange::kHole;
}

template <class W>
void gmem_invalidate_range_add(W& w, const SlotPart& part, GmemChange change) {
  uint64_t start = part.start, end = part.end;
  if (widens_range(w, change)) {
    const uint64_t pages = pages_per_hpage(kPgLevel2M);
    start = gfn_round_for_level<>(start, kPgLevel2M);
    end = gfn_round_for_level<>(end + pages - 1, kPgLevel2M);
  }
  invalidate_range_add(w, start, end);
}

// The attr_filter of the unmap. Without in-place conversion private memory is all that a file has.
template <class W>
uint8_t gmem_filter(const W& w, const SlotPart& part, GmemChange change) {
  constexpr uint8_t shared = kFilterShared, only_private = kFilterPrivate;
  constexpr uint8_t both = shared | only_private;
  if (!w.design.gmem_in_place) return only_private;
  const uint8_t other = change == GmemChange::kToPrivate ? shared : only_private;
  switch (w.design.gmem_filter) {
    case GmemFilter::kByOperation: return other;
    case GmemFilter::kOtherAlias: return change == GmemChange::kHole ? both : other;
    case GmemFilter::kBoth: return both;
    case GmemFilter::kUnionOfPresent: break;
  }
  bool present[2] = {};
  for (uint64_t g = part.start; g < part.end; g++) {
    present[(mem_attr(w, g) & kMemoryAttributePrivate) != 0] = true;
  }
  if (present[0] && present[1]) return both;
  return present[1] ? only_private : shared;
}

// A conversion in place is about slots with a file.
template <class W>
bool next_gmem_part(const W& w, SlotWalk& walk) {
  while (next_slot_part(w, walk)) {
    if (slot_get(w, walk.part.slot, SlotField::kGmem) != 0) return true;
  }
  return false;
}

}  // namespace detail

struct GmemZap {
  uint8_t pc = 0;
  bool found = false;   // an invalidation is open
  bool failed = false;  // -ENOMEM, before anything was zapped
  bool flush = false;
  GmemChange change = GmemChange::kHole;
  SlotWalk slots = {};
  SplitParts split = {};
  UnmapGfnRange unmap = {};
};

// From the split to the zap; the invalidation stays open. Splitting in the window has sections of
// mmu_lock of its own between the begin and the zap, which are one section otherwise.
template <class W>
Run gmem_split_and_zap(W& w, GmemZap& m) {
  const bool in_window = w.design.conversion_split == ConversionSplit::kInWindow;
  MMU_BEGIN(m);
  m.found = m.failed = m.flush = false;
  if (w.design.conversion_split == ConversionSplit::kBeforeWindow) {
    m.split = {};
    m.split.slots = m.slots;
    MMU_CALL(m, 1, kvm_gmem_split_private(w, m.split));
    m.failed = m.split.failed;
    if (m.failed) {
      m.pc = 0;
      return Run::kDone;
    }
  }
  m.slots.started = false;
  while (detail::next_gmem_part(w, m.slots)) {
    if (!m.found) {
      m.found = true;
      MMU_LOCK(m, 20, LockMode::kWrite);
      invalidate_begin(w);
      MMU_STEP(m, 2);
    }
    detail::gmem_invalidate_range_add(w, m.slots.part, m.change);
    MMU_STEP(m, 3);
  }
  if (in_window && m.found) {
    mmu_unlock(w, LockMode::kWrite);
    MMU_LEFT(m, 21);
    m.split = {};
    m.split.slots = m.slots;
    MMU_CALL(m, 4, kvm_gmem_split_private(w, m.split));
    m.failed = m.split.failed;
    if (m.failed) {
      m.pc = 0;
      return Run::kDone;
    }
    MMU_LOCK(m, 22, LockMode::kWrite);
  }
  m.slots.started = false;
  while (m.found && detail::next_gmem_part(w, m.slots)) {
    m.unmap = {};
    m.unmap.slot = m.slots.part.slot;
    m.unmap.start = m.slots.part.start;
    m.unmap.end = m.slots.part.end;
    m.unmap.attr_filter = detail::gmem_filter(w, m.slots.part, m.change);
    MMU_EMIT(m, 5, ev::Enter{ev::Fn::kMmuUnmapGfnRange, kNoTable,
                             {m.unmap.start, m.unmap.end, m.unmap.slot, m.unmap.attr_filter, 1,
                              m.change == GmemChange::kToPrivate}});
    MMU_CALL(m, 6, kvm_unmap_gfn_range(w, m.unmap));
    m.flush |= m.unmap.flush;
  }
  if (m.flush) MMU_EMIT(m, 7, ev::Flush{ev::FlushKind::kAll, 0, 0});
  if (m.found) mmu_unlock(w, LockMode::kWrite);
  MMU_LEFT(m, 23);
  MMU_END(m);
}

struct GmemConvert {
  uint8_t pc = 0;
  bool changes = false;
  uint64_t start = 0;  // gfns
  uint64_t end = 0;
  uint64_t attributes = 0;
  GmemZap zap = {};
};

namespace detail {

// Those of pages that a file backs.
template <class W>
void store_gmem_attributes(W& w, GmemConvert& m) {
  m.zap.slots.started = false;
  while (next_gmem_part(w, m.zap.slots)) {
    for (uint64_t g = m.zap.slots.part.start; g < m.zap.slots.part.end; g++) {
      w.store.set(cell::of(CellKind::kMemAttr, 0, g), m.attributes);
    }
  }
}

template <class W>
bool gmem_attributes_change(const W& w, GmemConvert& m) {
  m.zap.slots.started = false;
  while (next_gmem_part(w, m.zap.slots)) {
    for (uint64_t g = m.zap.slots.part.start; g < m.zap.slots.part.end; g++) {
      if (mem_attr(w, g) != m.attributes) return true;
    }
  }
  return false;
}

}  // namespace detail

// KVM_SET_MEMORY_ATTRIBUTES2 on the file. Folios that are mixed now are small when the invalidation
// ends, and not later.
template <class W>
Run kvm_gmem_set_attributes(W& w, GmemConvert& m) {
  MMU_BEGIN(m);
  m.zap = {};
  m.zap.change =
      m.attributes & kMemoryAttributePrivate ? GmemChange::kToPrivate : GmemChange::kToShared;
  m.zap.slots.kind = RangeKind::kGfn;
  m.zap.slots.start = m.start;
  m.zap.slots.end = m.end;
  m.changes = detail::gmem_attributes_change(w, m);
  if (m.changes) {
    MMU_CALL(m, 1, gmem_split_and_zap(w, m.zap));
    if (!m.zap.failed) {
      detail::store_gmem_attributes(w, m);
      MMU_STEP(m, 2);
    }
    if (m.zap.found) {
      MMU_LOCK(m, 20, LockMode::kWrite);
      m.zap.slots.started = false;
      while (!m.zap.failed && detail::next_gmem_part(w, m.zap.slots)) {
        update_mixed_info(w, m.zap.slots.part, m.attributes);
      }
      invalidate_end(w);
      MMU_STEP(m, 3);
      invalidate_end_seen(w);
      mmu_unlock(w, LockMode::kWrite);
    }
    if (!m.zap.failed) w.emit(ev::AttributesSet{m.start, m.end, m.attributes});
  }
  MMU_EMIT(m, 4, ev::Return{ev::Fn::kSetMemAttr,
                            m.zap.failed ? static_cast<uint64_t>(int64_t{-12}) : 0});
  MMU_END(m);
}

}  // namespace mmucheck::model
