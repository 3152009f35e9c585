// model/tdp: memory attributes: which gfns are private, and which huge pages mix both. Source:
// kvm_main.c (kvm_vm_set_mem_attributes), mmu.c (kvm_arch_pre_set_memory_attributes,
// kvm_arch_post_set_memory_attributes, hugepage_has_attrs, kvm_mmu_init_memslot_memory_attributes).
#pragma once

#include "model/tdp/private_split.h"

namespace mmucheck::model {

namespace detail {

template <class W>
uint64_t mem_attr(const W& w, uint64_t gfn) {
  return w.store.get(cell::of(CellKind::kMemAttr, 0, gfn));
}

template <class W>
Cell lpage_of(const W& w, uint32_t slot, uint64_t gfn, int level) {
  return lpage_cell(slot, level,
                    gfn_to_index(gfn, slot_get(w, slot, SlotField::kBase), level));
}
template <class W>
bool hugepage_test_mixed(const W& w, uint32_t slot, uint64_t gfn, int level) {
  return w.store.get(lpage_of(w, slot, gfn, level)) & kLpageMixed;
}
template <class W>
void hugepage_set_mixed(W& w, uint32_t slot, uint64_t gfn, int level, bool mixed) {
  const Cell c = lpage_of(w, slot, gfn, level);
  const uint64_t v = w.store.get(c);
  w.store.set(c, mixed ? v | kLpageMixed : v & ~kLpageMixed);
}

template <class W>
bool hugepage_has_attrs(const W& w, uint32_t slot, uint64_t gfn, int level, uint64_t attrs) {
  const uint64_t end = gfn + pages_per_hpage(level);
  if (level == kPgLevel2M) {
    for (uint64_t g = gfn; g < end; g++) {
      if (mem_attr(w, g) != attrs) return false;
    }
    return true;
  }
  for (uint64_t g = gfn; g < end; g += pages_per_hpage(level - 1)) {
    if (hugepage_test_mixed(w, slot, g, level - 1) || mem_attr(w, g) != attrs) return false;
  }
  return true;
}

// Is the huge page at `gfn` wholly inside the slot?
template <class W>
bool hugepage_in_slot(const W& w, uint32_t slot, uint64_t gfn, int level) {
  return large_page_in_slot<>(slot_get(w, slot, SlotField::kBase),
                              slot_get(w, slot, SlotField::kNpages), gfn, level);
}

}  // namespace detail

// kvm_mmu_init_memslot_memory_attributes.
template <class W>
void init_mixed_info(W& w, uint32_t slot) {
  if (!w.vm.has_private_mem) return;
  const uint64_t base = slot_get(w, slot, SlotField::kBase);
  const uint64_t end = base + slot_get(w, slot, SlotField::kNpages);
  for (int level = kPgLevel2M; level <= kMaxHugepageLevel; level++) {
    const uint64_t pages = pages_per_hpage(level);
    for (uint64_t gfn = gfn_round_for_level<>(base + pages - 1, level); gfn + pages <= end;
         gfn += pages) {
      const uint64_t attrs = detail::mem_attr(w, gfn);
      detail::hugepage_set_mixed(w, slot, gfn, level,
                                 !detail::hugepage_has_attrs(w, slot, gfn, level, attrs));
    }
  }
}

// The head and tail huge pages of [start, end) that could be mapped huge now: they join the
// invalidation, or a fault on a neighbour could map over gfns that are changing.
struct StraddlingPages {
  int8_t level = kPgLevel2M;
  bool tail = false;
  uint64_t pages = 0;  // of the page that was found
};

// The next one, or false; `p` moves on.
template <class W>
bool next_straddling_page(const W& w, StraddlingPages& p, const SlotPart& part, uint64_t* gfn) {
  while (p.level <= kMaxHugepageLevel) {
    const int level = p.level;
    const uint64_t pages = pages_per_hpage(level);
    const CutPages<> cut = cut_pages<>(part.start, part.end, level);
    const bool at_tail = p.tail;
    if (at_tail) {
      p.level++;
      p.tail = false;
    } else {
      p.tail = true;
    }
    const uint64_t at = at_tail ? cut.tail : cut.head;
    const bool straddles = at_tail ? cut.cuts_tail : cut.cuts_head;
    if (straddles && detail::hugepage_in_slot(w, part.slot, at, level) &&
        !detail::hugepage_test_mixed(w, part.slot, at, level)) {
      *gfn = at;
      p.pages = pages;
      return true;
    }
  }
  return false;
}

// kvm_arch_post_set_memory_attributes: recomputes which huge pages are mixed, small levels first.
template <class W>
void update_mixed_info(W& w, const SlotPart& part, uint64_t attrs) {
  for (int level = kPgLevel2M; level <= kMaxHugepageLevel; level++) {
    const uint64_t pages = pages_per_hpage(level);
    uint64_t gfn = gfn_round_for_level<>(part.start, level);
    const auto refresh = [&] {
      detail::hugepage_set_mixed(
          w, part.slot, gfn, level,
          !detail::hugepage_has_attrs(w, part.slot, gfn, level, attrs));
    };
    if (gfn != part.start || gfn + pages > part.end) {
      if (detail::hugepage_in_slot(w, part.slot, gfn, level)) refresh();
      gfn += pages;
    }
    for (; gfn + pages <= part.end; gfn += pages) {
      detail::hugepage_set_mixed(w, part.slot, gfn, level, false);
    }
    if (gfn < part.end && detail::hugepage_in_slot(w, part.slot, gfn, level)) refresh();
  }
}

struct SetMemAttributes {
  uint8_t pc = 0;
  bool changes = false;
  bool found = false;
  bool flush = false;
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t attributes = 0;
  uint64_t huge = 0;
  SlotWalk slots = {};
  StraddlingPages straddling = {};
  UnmapGfnRange unmap = {};
  SplitBoundary split = {};  // pending
};

// TDX huge pages v3: the pre-set hook splits what becomes shared in part. RFC v5 has no such hook.
template <class W>
bool conversion_splits(const W& w, uint64_t attributes) {
  return w.vm.has_mirror && w.design.conversion_split == ConversionSplit::kInWindow &&
         !(attributes & kMemoryAttributePrivate);
}

template <class W>
Run kvm_vm_set_mem_attributes(W& w, SetMemAttributes& m) {
  MMU_BEGIN(m);
  if (slots_lock_held(w)) return Run::kBlocked;
  set_slots_lock(w, true);
  m.found = m.flush = m.changes = false;
  if (w.design.attributes_tracepoint) {
    MMU_EMIT(m, 1, ev::Enter{ev::Fn::kVmSetMemAttributes, kNoTable,
                             {m.start, m.end, m.attributes}});
  }
  for (uint64_t g = m.start; g < m.end && !m.changes; g++) {
    m.changes = detail::mem_attr(w, g) != m.attributes;
  }
  if (m.changes) {
    m.slots = {};
    m.slots.kind = RangeKind::kGfn;
    m.slots.start = m.start;
    m.slots.end = m.end;
    while (next_slot_part(w, m.slots)) {
      if (!m.found) {
        m.found = true;
        MMU_LOCK(m, 20, LockMode::kWrite);
        invalidate_begin(w);
        MMU_STEP(m, 2);
      }
      invalidate_range_add(w, m.slots.part.start, m.slots.part.end);
      MMU_STEP(m, 3);
      MMU_EMIT(m, 4, ev::Enter{ev::Fn::kPreSetAttr, kNoTable,
                               {m.slots.part.start, m.slots.part.end, m.slots.part.slot}});
      m.straddling = {};
      while (w.design.straddling_joins &&
             next_straddling_page(w, m.straddling, m.slots.part, &m.huge)) {
        invalidate_range_add(w, m.huge, m.huge + m.straddling.pages);
        MMU_STEP(m, 5);
      }
      m.split = {};
      if (conversion_splits(w, m.attributes)) {
        m.split.as_id = static_cast<int16_t>(slot_get(w, m.slots.part.slot, SlotField::kAsId));
        m.split.start = m.slots.part.start;
        m.split.end = m.slots.part.end;
        MMU_CALL(m, 11, split_boundary_leafs(w, m.split));
        if (m.split.failed) break;
      }
      m.unmap = {};
      m.unmap.slot = m.slots.part.slot;
      m.unmap.start = m.slots.part.start;
      m.unmap.end = m.slots.part.end;
      // The alias that goes is the one that the gfns are no longer.
      m.unmap.attr_filter =
          m.attributes & kMemoryAttributePrivate ? kFilterShared : kFilterPrivate;
      MMU_CALL(m, 6, kvm_unmap_gfn_range(w, m.unmap));
      m.flush |= m.unmap.flush;
    }
    if (m.flush) MMU_EMIT(m, 7, ev::Flush{ev::FlushKind::kAll, 0, 0});
    if (m.found) {
      mmu_unlock(w, LockMode::kWrite);
      MMU_LEFT(m, 21);
    }
    for (uint64_t g = m.start; g < m.end && !m.split.failed; g++) {
      w.store.set(cell::of(CellKind::kMemAttr, 0, g), m.attributes);
    }
    m.slots.started = false;
    m.found = false;
    while (next_slot_part(w, m.slots)) {
      if (!m.found) {
        m.found = true;
        MMU_LOCK(m, 22, LockMode::kWrite);
        invalidate_end(w);
        MMU_STEP(m, 8);
        invalidate_end_seen(w);
      }
      MMU_EMIT(m, 9, ev::Enter{ev::Fn::kPostSetAttr, kNoTable,
                               {m.slots.part.start, m.slots.part.end, m.slots.part.slot}});
      if (!m.split.failed) update_mixed_info(w, m.slots.part, m.attributes);
    }
    if (m.found) mmu_unlock(w, LockMode::kWrite);
    if (!m.split.failed) w.emit(ev::AttributesSet{m.start, m.end, m.attributes});
  }
  set_slots_lock(w, false);
  MMU_EMIT(m, 10, ev::Return{ev::Fn::kSetMemAttr,
                             m.split.failed ? static_cast<uint64_t>(int64_t{-12}) : 0});
  MMU_END(m);
}

}  // namespace mmucheck::model
