// model/tdp: ageing: clearing or testing the accessed state of a range. Source: tdp_mmu.c (6.12:
// kvm_tdp_mmu_handle_gfn, age_gfn_range, test_age_gfn; 7.x: __kvm_tdp_mmu_age_gfn_range,
// kvm_tdp_mmu_age_spte).
#pragma once

#include "model/tdp/roots.h"
#include "model/tdp/set_spte.h"

namespace mmucheck::model {

struct AgeRange {
  uint8_t pc = 0;
  bool test_only = false;
  bool young = false;   // result
  bool changed = false;
  uint8_t attr_filter = 1;
  uint32_t as_id = 0;
  uint32_t slot = 0xffffffffu;
  uint64_t start = 0;
  uint64_t end = 0;
  uint64_t new_spte = 0;
  RootIter roots = {};
  TdpIter iter = {};
  CmpxchgSpte cas = {};
};

namespace detail {

// 6.12, write lock: volatile entries atomically, others by a plain store.
template <class W>
void age_spte_locked(W& w, AgeRange& m) {
  TdpIter& it = m.iter;
  if (spte_ad_enabled<>(w.fmt, it.old_spte)) {
    it.old_spte =
        tdp_mmu_clear_spte_bits(w, it.table, it.index, it.old_spte, w.fmt.accessed, it.level);
    m.new_spte = it.old_spte & ~w.fmt.accessed;
    return;
  }
  if (is_writable_pte<>(it.old_spte) && w.design.pfn_dirty_accessed_hints) {
    w.emit(ev::PfnHint{true});
  }
  m.new_spte = mark_spte_for_access_track<>(w.fmt, it.old_spte);
  it.old_spte = tdp_mmu_write_spte(w, it.table, it.index, it.old_spte, m.new_spte, it.level);
}

}  // namespace detail

// kvm_tdp_mmu_age_gfn_range, kvm_tdp_mmu_test_age_gfn.
template <class W>
Run kvm_tdp_mmu_age_gfn_range(W& w, AgeRange& m) {
  const bool lockless = w.design.ageing == Ageing::kLocklessValidRoots;
  MMU_BEGIN(m);
  m.young = false;
  MMU_EMIT(m, 1, ev::Enter{m.test_only ? ev::Fn::kTestAgeRange : ev::Fn::kAgeRange, kNoTable,
                           {m.start, m.end, m.attr_filter, m.as_id, m.slot}});
  {
    const uint8_t types = lockless ? gfn_range_filter_to_root_types(w, m.attr_filter)
                                   : static_cast<uint8_t>(kDirectRoots | kInvalidRoots);
    m.roots = root_iter(types, static_cast<int>(m.as_id), false);
  }
  while (true) {
    MMU_NEXT_ROOT(m, 2, m.roots);
    m.iter = tdp_iter_walk(w, m.roots.root, kPgLevel4K, m.start);
    while (true) {
      MMU_NEXT_PTE(m, 3, m.iter, walk_end(w, m.roots.root, m.start, m.end));
      if (!is_shadow_present_pte<>(m.iter.old_spte) ||
          !is_last_spte<>(m.iter.old_spte, m.iter.level) ||
          !is_accessed_spte<>(w.fmt, m.iter.old_spte)) {
        continue;
      }
      m.young = true;
      if (m.test_only) {
        if (lockless) break;
        continue;
      }
      m.changed = true;
      if (!lockless) {
        detail::age_spte_locked(w, m);
      } else {
        // Losing is fine: the entry is young then. iter.old_spte is what the trace shows.
        m.new_spte = spte_ad_enabled<>(w.fmt, m.iter.old_spte)
                         ? m.iter.old_spte & ~w.fmt.accessed
                         : mark_spte_for_access_track<>(w.fmt, m.iter.old_spte);
        m.cas = {};
        MMU_CALL(m, 4, cmpxchg_spte(w, m.cas, m.iter, m.new_spte));
        m.changed = !m.cas.lost;
      }
      if (m.changed) {
        MMU_EMIT(m, 5, ev::SpteChanged{m.iter.as_id, m.iter.gfn, m.iter.level, m.iter.old_spte,
                                       m.new_spte, m.iter.table, m.iter.index});
      }
    }
    if (m.test_only && m.young && lockless) break;
  }
  MMU_EMIT(m, 6, ev::Return{m.test_only ? ev::Fn::kTestAgeRange : ev::Fn::kAgeRange, m.young});
  MMU_END(m);
}

}  // namespace mmucheck::model
