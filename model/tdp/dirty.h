// model/tdp: dirty logging: write-protecting or clearing D over a slot, a chunk or one gfn. Source:
// tdp_mmu.c (wrprot_gfn_range, clear_dirty_gfn_range, clear_dirty_pt_masked, write_protect_gfn).
#pragma once

#include <bit>

#include "model/tdp/map.h"
#include "model/tdp/roots.h"

namespace mmucheck::model {

struct DirtyRange {  // one root; read lock
  uint8_t pc = 0;
  bool spte_set = false;
  bool clear_dirty = false;  // clear_dirty_gfn_range, else wrprot_gfn_range
  int8_t min_level = 1;
  uint32_t root = kNoTable;
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t bit = 0;
  TdpIter iter = {};
  CondResched resched = {};
  SetSpteAtomic set = {};
};

namespace detail {

// tdp_mmu_need_write_protect: must W stand in for D in this root?
template <class W>
bool tdp_mmu_need_write_protect(const W& w, uint32_t root) {
  return !w.fmt.ad_enabled || ad_need_write_protect(w, w.role(root));
}

}  // namespace detail

// wrprot_gfn_range and clear_dirty_gfn_range: clear one bit in every leaf that has it.
template <class W>
Run dirty_gfn_range(W& w, DirtyRange& m) {
  const auto leaf = [&] {
    return is_shadow_present_pte<>(m.iter.old_spte) &&
           is_last_spte<>(m.iter.old_spte, m.iter.level);
  };
  MMU_BEGIN(m);
  m.spte_set = false;
  m.bit = !m.clear_dirty || detail::tdp_mmu_need_write_protect(w, m.root) ? kPtWritable
                                                                          : w.fmt.dirty;
  MMU_EMIT(m, 1, ev::Enter{m.clear_dirty ? ev::Fn::kClearDirtyRange : ev::Fn::kWrprotRange, m.root,
                           m.start, m.end, static_cast<uint64_t>(m.min_level), 0});
  m.iter = tdp_iter_walk(w, m.root, m.min_level, m.start);
  while (true) {
    MMU_NEXT_PTE(m, 2, m.iter, walk_end(w, m.root, m.start, m.end));
    while (true) {  // again when the exchange is lost
      // The walk that clears D asks for leafs first, the one that write-protects polls first.
      if (m.clear_dirty && !leaf()) break;
      m.resched = {};
      MMU_CALL(m, 3, tdp_mmu_iter_cond_resched(w, m.resched, m.iter, false, true));
      if (m.resched.yielded || !leaf()) break;
      if (m.bit == w.fmt.dirty && w.host.prove_mmu &&
          spte_ad_need_write_protect<>(w.fmt, m.iter.old_spte)) {
        w.warn("MMU-DIRTY-DBIT");
      }
      if (!(m.iter.old_spte & m.bit)) break;
      m.set = {};
      MMU_CALL(m, 4, tdp_mmu_set_spte_atomic(w, m.set, m.iter, m.iter.old_spte & ~m.bit));
      if (!m.set.lost) m.spte_set = true;
      if (!m.set.lost || m.set.refused) break;
    }
  }
  MMU_END(m);
}

struct DirtySlot {
  uint8_t pc = 0;
  bool clear_dirty = false;
  bool spte_set = false;
  int8_t min_level = 1;
  uint32_t slot = kNoSlot;
  RootIter roots = {};
  DirtyRange range = {};
};

// kvm_tdp_mmu_wrprot_slot and kvm_tdp_mmu_clear_dirty_slot.
template <class W>
Run dirty_slot(W& w, DirtySlot& m) {
  MMU_BEGIN(m);
  m.spte_set = false;
  MMU_EMIT(m, 1, ev::Enter{m.clear_dirty ? ev::Fn::kClearDirtySlot : ev::Fn::kWrprotSlot, kNoTable,
                           m.slot, static_cast<uint64_t>(m.min_level), 0, 0});
  if (!w.locked_for_read()) w.warn("MMU-LOCK-SHARED");
  m.roots = root_iter(kValidRoots, static_cast<int>(slot_get(w, m.slot, SlotField::kAsId)));
  while (true) {
    MMU_NEXT_ROOT(m, 2, m.roots);
    m.range = {};
    m.range.root = m.roots.root;
    m.range.clear_dirty = m.clear_dirty;
    m.range.min_level = m.min_level;
    m.range.start = slot_get(w, m.slot, SlotField::kBase);
    m.range.end = m.range.start + slot_get(w, m.slot, SlotField::kNpages);
    MMU_CALL(m, 3, dirty_gfn_range(w, m.range));
    m.spte_set |= m.range.spte_set;
  }
  MMU_END(m);
}

struct ClearDirtyPt {
  uint8_t pc = 0;
  bool wrprot = false;
  uint32_t slot = kNoSlot;
  uint64_t gfn = 0;   // of bit 0 of the mask
  uint64_t mask = 0;
  uint64_t left = 0;
  uint64_t bit = 0;
  uint64_t old_spte = 0;
  RootIter roots = {};
  TdpIter iter = {};
};

// kvm_tdp_mmu_clear_dirty_pt_masked: 4K leafs of one 64-page chunk; write lock, no yield.
template <class W>
Run kvm_tdp_mmu_clear_dirty_pt_masked(W& w, ClearDirtyPt& m) {
  const auto in_chunk = [&] {
    const uint64_t page = gfn_of_slot(w, m.iter.gfn) - m.gfn;
    return page < 64 ? uint64_t{1} << page : 0;
  };
  MMU_BEGIN(m);
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kClearDirtyPt, kNoTable, m.slot, m.gfn, m.mask, m.wrprot});
  m.roots = root_iter(kValidRoots, static_cast<int>(slot_get(w, m.slot, SlotField::kAsId)), false);
  while (true) {
    MMU_NEXT_ROOT(m, 2, m.roots);
    if (!w.locked_for_write()) w.warn("MMU-LOCK-EXCLUSIVE");
    m.left = m.mask;
    m.bit = m.wrprot || detail::tdp_mmu_need_write_protect(w, m.roots.root) ? kPtWritable
                                                                           : w.fmt.dirty;
    m.iter = tdp_iter_walk(w, m.roots.root, kPgLevel4K,
                           m.gfn + static_cast<uint64_t>(std::countr_zero(m.mask)));
    while (true) {
      MMU_NEXT_PTE(m, 3, m.iter, walk_end(w, m.roots.root, m.gfn, m.gfn + 64));
      if (!is_shadow_present_pte<>(m.iter.old_spte) ||
          !is_last_spte<>(m.iter.old_spte, m.iter.level)) {
        continue;
      }
      if (m.left == 0) break;
      if (m.bit == w.fmt.dirty && w.host.prove_mmu &&
          spte_ad_need_write_protect<>(w.fmt, m.iter.old_spte)) {
        w.warn("MMU-DIRTY-DBIT");
      }
      if (m.iter.level > kPgLevel4K || !(m.left & in_chunk())) continue;
      m.left &= ~in_chunk();
      if (!(m.iter.old_spte & m.bit)) continue;
      MMU_READ_THEN_WRITE(m, 5, m.iter);
      m.iter.old_spte = tdp_mmu_clear_spte_bits(w, m.iter.table, m.iter.index, m.iter.old_spte,
                                                m.bit, m.iter.level);
      if (w.design.pfn_dirty_accessed_hints) w.emit(ev::PfnHint{true});
      MMU_EMIT(m, 4, ev::SpteChanged{m.iter.as_id, m.iter.gfn, m.iter.level, m.iter.old_spte,
                                     m.iter.old_spte & ~m.bit, m.iter.table, m.iter.index});
    }
  }
  MMU_END(m);
}

struct WriteProtectGfn {
  uint8_t pc = 0;
  bool spte_set = false;
  int8_t min_level = 1;
  uint32_t slot = kNoSlot;
  uint64_t gfn = 0;
  RootIter roots = {};
  TdpIter iter = {};
  SetSpte set = {};
};

// kvm_tdp_mmu_write_protect_gfn: W and MMU-writable go; write lock, no yield.
template <class W>
Run kvm_tdp_mmu_write_protect_gfn(W& w, WriteProtectGfn& m) {
  const auto protected_spte = [&] {
    return m.iter.old_spte & ~(kPtWritable | w.fmt.mmu_writable);
  };
  MMU_BEGIN(m);
  m.spte_set = false;
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kWriteProtectGfn, kNoTable, m.slot, m.gfn,
                           static_cast<uint64_t>(m.min_level), 0});
  if (!w.locked_for_write()) w.warn("MMU-LOCK-EXCLUSIVE");
  m.roots = root_iter(kValidRoots, static_cast<int>(slot_get(w, m.slot, SlotField::kAsId)), false);
  while (true) {
    MMU_NEXT_ROOT(m, 2, m.roots);
    m.iter = tdp_iter_walk(w, m.roots.root, m.min_level, m.gfn);
    while (true) {
      MMU_NEXT_PTE(m, 3, m.iter, walk_end(w, m.roots.root, m.gfn, m.gfn + 1));
      if (!is_shadow_present_pte<>(m.iter.old_spte) ||
          !is_last_spte<>(m.iter.old_spte, m.iter.level)) {
        continue;
      }
      if (w.design.write_protect_skips == WriteProtectSkips::kReadOnly
              ? !is_writable_pte<>(m.iter.old_spte) : protected_spte() == m.iter.old_spte) {
        break;
      }
      MMU_READ_THEN_WRITE(m, 5, m.iter);
      m.set = {};
      MMU_CALL(m, 4, tdp_mmu_iter_set_spte(w, m.set, m.iter, protected_spte()));
      m.spte_set = true;
    }
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
