// model/tdp: one chunk of 64 pages of a dirty log is harvested or cleared. Source: mmu.c
// (kvm_arch_mmu_enable_log_dirty_pt_masked, kvm_mmu_slot_gfn_write_protect), kvm_main.c
// (kvm_clear_dirty_log_protect, kvm_get_dirty_log_protect, kvm_reset_dirty_gfn).
#pragma once

#include <bit>

#include "model/tdp/dirty.h"
#include "model/tdp/split.h"

namespace mmucheck::model {

struct DirtyLogChunk {
  uint8_t pc = 0;
  bool init_set = false;      // manual protect with initially-all-set
  bool locked_each = false;
  uint32_t slot = kNoSlot;
  uint64_t gfn = 0;           // of bit 0
  uint64_t mask = 0;          // not 0
  uint64_t first = 0;
  uint64_t last = 0;
  TrySplit split = {};
  WriteProtectGfn protect = {};
  ClearDirtyPt clear = {};
};

// kvm_arch_mmu_enable_log_dirty_pt_masked, write lock held.
template <class W>
Run enable_log_dirty_pt_masked(W& w, DirtyLogChunk& m) {
  MMU_BEGIN(m);
  if (m.init_set) {
    m.first = m.gfn + static_cast<uint64_t>(std::countr_zero(m.mask));
    m.last = m.gfn + 63 - static_cast<uint64_t>(std::countl_zero(m.mask));
    if (w.env.eager_page_split()) {
      m.split = {};
      m.split.slot = m.slot;
      m.split.start = m.first;
      m.split.end = m.last + 1;
      MMU_CALL(m, 1, kvm_tdp_mmu_try_split_huge_pages(w, m.split));
    }
    m.protect = {};
    m.protect.slot = m.slot;
    m.protect.gfn = m.first;
    m.protect.min_level = kPgLevel2M;
    MMU_CALL(m, 2, kvm_tdp_mmu_write_protect_gfn(w, m.protect));
    // ALIGN rounds up: true also for a chunk that starts a 2M page and crosses nothing.
    if ((m.first + 511) / 512 != (m.last + 511) / 512) {
      m.protect = {};
      m.protect.slot = m.slot;
      m.protect.gfn = m.last;
      m.protect.min_level = kPgLevel2M;
      MMU_CALL(m, 3, kvm_tdp_mmu_write_protect_gfn(w, m.protect));
    }
  }
  m.clear = {};
  m.clear.slot = m.slot;
  m.clear.gfn = m.gfn;
  m.clear.mask = m.mask;
  m.clear.wrprot = w.host.cpu_dirty_log_size == 0 || w.vm.has_mirror;
  MMU_CALL(m, 4, kvm_tdp_mmu_clear_dirty_pt_masked(w, m.clear));
  for (uint64_t left = m.mask; left != 0; left &= left - 1) {
    const uint64_t page = m.gfn + static_cast<uint64_t>(std::countr_zero(left)) -
                          slot_get(w, m.slot, SlotField::kBase);
    w.store.set(cell::of(CellKind::kDirtyBit, m.slot, page), 0);
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
