// model/tdp: fast_page_fault: repairs write protection and access tracking without mmu_lock.
// Source: mmu.c (page_fault_can_be_fast, fast_page_fault, fast_pf_fix_direct_spte), tdp_mmu.c
// (kvm_tdp_mmu_fast_pf_get_last_sptep). Looks neither at role.invalid nor at requests.
#pragma once

#include "model/tdp/map.h"

namespace mmucheck::model {

struct FastPageFault {
  uint8_t pc = 0;
  RetPf ret = RetPf::kInvalid;
  uint8_t retries = 0;
  bool walked = false;
  Fault fault = {};
  uint32_t root = kNoTable;
  uint32_t table = kNoTable;
  uint32_t index = 0;
  uint64_t spte = 0;
  TdpIter iter = {};
};

template <class W>
bool page_fault_can_be_fast(const W& w, const Fault& f) {
  if (f.rsvd) return false;
  if (!f.present) return !w.fmt.ad_enabled;
  return f.write;
}

namespace detail {

enum class FastFix : uint8_t { kStop, kRetryWalk };

// One attempt on the last entry of the walk.
template <class W>
FastFix fast_pf_try(W& w, FastPageFault& m) {
  const Access access{m.fault.write, m.fault.exec};
  if (m.table == kNoTable) {
    w.warn("MMU-FASTPF-ROOT");
    m.spte = w.fmt.frozen;
  }
  if (!is_shadow_present_pte<>(m.spte)) return FastFix::kStop;
  const int level = role_level(w.role(m.table));
  if (!is_last_spte<>(m.spte, level)) return FastFix::kStop;
  if (is_access_allowed<>(w.fmt, access, m.spte)) {
    m.ret = RetPf::kSpurious;
    return FastFix::kStop;
  }
  uint64_t new_spte = m.spte;
  if (!w.fmt.ad_enabled && is_access_track_spte<>(w.fmt, m.spte)) {
    new_spte = restore_acc_track_spte<>(w.fmt, new_spte);
  }
  if (m.fault.write && is_mmu_writable_spte<>(w.fmt, m.spte)) {
    new_spte |= kPtWritable;
    // A huge page of a logged slot is written through the slow path, which splits it.
    if (level > kPgLevel4K && slot_dirty_track_enabled(w, m.fault.slot)) return FastFix::kStop;
  }
  if (new_spte == m.spte || !is_access_allowed<>(w.fmt, access, new_spte)) return FastFix::kStop;
  const uint64_t old_spte = m.spte;
  uint64_t expected = m.spte;
  if (try_cmpxchg_spte(w, m.table, m.index, expected, new_spte)) {
    if (is_writable_pte<>(new_spte) && !is_writable_pte<>(old_spte) && m.fault.slot != kNoSlot) {
      mark_page_dirty_in_slot(w, m.fault.slot, m.fault.gfn);
    }
    m.ret = RetPf::kFixed;
    return FastFix::kStop;
  }
  return ++m.retries > 4 ? FastFix::kStop : FastFix::kRetryWalk;
}

}  // namespace detail

// `m.walked` tells whether the fast path was tried at all.
template <class W>
Run fast_page_fault(W& w, FastPageFault& m) {
  MMU_BEGIN(m);
  m.ret = RetPf::kInvalid;
  m.retries = 0;
  m.walked = page_fault_can_be_fast(w, m.fault);
  if (!m.walked) return Run::kDone;
  m.root = vcpu_root(w, m.fault.vcpu, false);
  do {
    m.table = kNoTable;
    m.spte = 0;
    if (m.root == kNoTable) continue;
    m.iter = tdp_iter_walk(w, m.root, kPgLevel4K, m.fault.gfn);
    while (true) {
      MMU_NEXT_PTE(m, 1, m.iter, walk_end(w, m.root, m.fault.gfn, m.fault.gfn + 1));
      m.spte = m.iter.old_spte;
      m.table = m.iter.table;
      m.index = m.iter.index;
    }
  } while (detail::fast_pf_try(w, m) == detail::FastFix::kRetryWalk);
  MMU_EMIT(m, 2, ev::FastPageFault{
      m.fault.gfn, m.table, m.index, m.spte,
      m.table == kNoTable ? 0 : w.reread_spte(m.table, m.index),
      static_cast<int>(m.ret), m.table != kNoTable});
  MMU_END(m);
}

struct TdpMmuWalk {
  uint8_t pc = 0;
  uint16_t vcpu = 0;
  int8_t leaf = -1;
  int8_t root_level = 0;
  uint64_t gfn = 0;
  uint32_t root = kNoTable;
  uint64_t sptes[6] = {};  // by level
  TdpIter iter = {};
};

// kvm_tdp_mmu_get_walk: the lockless walk of the direct root, for MMIO and reserved bits.
template <class W>
Run kvm_tdp_mmu_get_walk(W& w, TdpMmuWalk& m) {
  MMU_BEGIN(m);
  m.leaf = -1;
  m.root = vcpu_root(w, m.vcpu, false);
  if (m.root == kNoTable) return Run::kDone;
  m.root_level = static_cast<int8_t>(role_level(w.role(m.root)));
  m.iter = tdp_iter_walk(w, m.root, kPgLevel4K, m.gfn);
  while (true) {
    MMU_NEXT_PTE(m, 1, m.iter, walk_end(w, m.root, m.gfn, m.gfn + 1));
    m.leaf = m.iter.level;
    m.sptes[m.leaf] = m.iter.old_spte;
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
