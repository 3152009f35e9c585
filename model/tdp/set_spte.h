// model/tdp: the ways to store an entry. Source: tdp_iter.h (kvm_tdp_mmu_write_spte,
// tdp_mmu_clear_spte_bits), tdp_mmu.c (__tdp_mmu_set_spte_atomic, tdp_mmu_set_spte_atomic,
// tdp_mmu_set_spte, tdp_mmu_zap_spte_atomic).
//
// The atomic forms need mmu_lock for read and can lose (`lost`); the plain ones need it for write.
#pragma once

#include "model/tdp/changed_spte.h"
#include "model/tdp/iter.h"

namespace mmucheck::model {

// kvm_tdp_mmu_write_spte: stores with the write lock held; gives what was really there.
template <class W>
uint64_t tdp_mmu_write_spte(W& w, uint32_t table, uint32_t index, uint64_t old_spte,
                            uint64_t new_spte, int level) {
  const bool atomic = spte_need_atomic_write<>(w.fmt, old_spte, level);
  if (atomic) {
    w.env.before(Point::kXchg, table, index);
    old_spte = w.store.get(cell::pte(table, index));
  }
  w.store.set(cell::pte(table, index), new_spte);
  w.emit(ev::Store{table, index, old_spte, new_spte, atomic ? ev::How::kXchg : ev::How::kSet});
  return old_spte;
}

// tdp_mmu_clear_spte_bits: gives the value before.
template <class W>
uint64_t tdp_mmu_clear_spte_bits(W& w, uint32_t table, uint32_t index, uint64_t old_spte,
                                 uint64_t mask, int level, bool force_atomic = false) {
  const bool atomic = force_atomic || spte_need_atomic_write<>(w.fmt, old_spte, level);
  if (atomic) {
    w.env.before(Point::kXchg, table, index);
    old_spte = w.store.get(cell::pte(table, index));
  }
  w.store.set(cell::pte(table, index), old_spte & ~mask);
  w.emit(ev::Store{table, index, old_spte, old_spte & ~mask,
                   atomic ? ev::How::kAnd : ev::How::kSet});
  return old_spte;
}

// __tdp_mmu_set_spte_atomic without its events: true when the exchange was made.
template <class W>
bool try_cmpxchg_spte(W& w, uint32_t table, uint32_t index, uint64_t& old_spte,
                      uint64_t new_spte) {
  w.env.before(Point::kCas, table, index);
  const uint64_t expected = old_spte;
  // The CPU may have set A or D since the entry was read.
  const bool hardware_first = w.env.hardware_first(table, index, old_spte);
  if (!hardware_first && w.store.cas(cell::pte(table, index), old_spte, new_spte)) {
    w.emit(ev::Store{table, index, expected, new_spte, ev::How::kCas});
    return true;
  }
  w.emit(ev::CasFail{table, index, expected, old_spte});
  return false;
}

struct CmpxchgSpte {
  uint8_t pc = 0;
  bool lost = false;
};

// __tdp_mmu_set_spte_atomic: refreshes iter.old_spte when it loses.
template <class W>
Run cmpxchg_spte(W& w, CmpxchgSpte& m, TdpIter& it, uint64_t new_spte) {
  MMU_BEGIN(m);
  if (it.yielded || is_frozen_spte<>(w.fmt, it.old_spte)) w.warn("MMU-SPTE-STALE");
  MMU_EMIT(m, 1, ev::CmpxchgSpte{it.table, it.index, it.gfn, it.level, it.old_spte, new_spte});
  m.lost = !try_cmpxchg_spte(w, it.table, it.index, it.old_spte, new_spte);
  MMU_EMIT(m, 2, ev::CmpxchgSpteRet{m.lost ? -16 : 0});
  if (m.lost) it.old_spte = w.env.refreshed(it.table, it.index, it.old_spte);
  MMU_END(m);
}

struct SetSpteAtomic {
  uint8_t pc = 0;
  bool lost = false;  // -EBUSY or the hook's error: the entry is unchanged
  uint64_t old_spte = 0;
  CmpxchgSpte cas = {};
  ChangedSpte changed = {};
};

// The exchange has begun; where it froze an entry, all that is left is to thaw it.
constexpr bool in_exchange(const SetSpteAtomic& m) { return m.pc == 1 && m.cas.pc == 1; }
constexpr bool about_to_thaw(const SetSpteAtomic& m) {
  return m.pc == 2 && m.changed.depth == 0 && m.changed.frames[0].stage == ChangedSpte::kTraced;
}

// tdp_mmu_set_spte_atomic. A mirror entry is frozen while its hook runs.
template <class W>
Run tdp_mmu_set_spte_atomic(W& w, SetSpteAtomic& m, TdpIter& it, uint64_t new_spte) {
  MMU_BEGIN(m);
  if (!w.locked_for_read()) w.warn("MMU-LOCK-SHARED");
  m.cas = {};
  m.old_spte = it.old_spte;
  MMU_CALL(m, 1, cmpxchg_spte(w, m.cas, it, w.is_mirror(it.table) ? w.fmt.frozen : new_spte));
  m.lost = m.cas.lost;
  if (!m.lost) {
    m.changed = changed_spte(w, it.table, it.index, it.gfn, it.level, m.old_spte, new_spte, true);
    MMU_CALL(m, 2, handle_changed_spte(w, m.changed));
    if (w.is_mirror(it.table)) {
      m.lost = m.changed.result != 0;
      const uint64_t v = m.lost ? m.old_spte : new_spte;
      w.store.set(cell::pte(it.table, it.index), v);
      w.emit(ev::Store{it.table, it.index, w.fmt.frozen, v, ev::How::kSet});
    }
  }
  MMU_END(m);
}

struct SetSpte {
  uint8_t pc = 0;
  ChangedSpte changed = {};
};

// tdp_mmu_iter_set_spte: under the write lock; updates iter.old_spte to what was really there.
template <class W>
Run tdp_mmu_iter_set_spte(W& w, SetSpte& m, TdpIter& it, uint64_t new_spte) {
  MMU_BEGIN(m);
  if (it.yielded) w.warn("MMU-SPTE-STALE");
  if (!w.locked_for_write()) w.warn("MMU-LOCK-EXCLUSIVE");
  if (is_frozen_spte<>(w.fmt, it.old_spte) || is_frozen_spte<>(w.fmt, new_spte)) {
    w.warn("MMU-SPTE-FROZEN");
  }
  it.old_spte = tdp_mmu_write_spte(w, it.table, it.index, it.old_spte, new_spte, it.level);
  m.changed =
      changed_spte(w, it.table, it.index, it.gfn, it.level, it.old_spte, new_spte, false);
  MMU_CALL(m, 1, handle_changed_spte(w, m.changed));
  MMU_END(m);
}

struct ZapSpteAtomic {
  uint8_t pc = 0;
  bool lost = false;
  CmpxchgSpte cas = {};
  ChangedSpte changed = {};
};

// tdp_mmu_zap_spte_atomic (6.12): freeze, flush, non-present, then process.
template <class W>
Run tdp_mmu_zap_spte_atomic(W& w, ZapSpteAtomic& m, TdpIter& it) {
  MMU_BEGIN(m);
  m.cas = {};
  m.changed.frames[0].old_spte = it.old_spte;
  MMU_CALL(m, 1, cmpxchg_spte(w, m.cas, it, w.fmt.frozen));
  m.lost = m.cas.lost;
  if (!m.lost) {
    MMU_EMIT(m, 2, ev::Flush{ev::FlushKind::kRange, it.gfn, pages_per_hpage(it.level)});
    w.store.set(cell::pte(it.table, it.index), kNonpresent);
    w.emit(ev::Store{it.table, it.index, w.fmt.frozen, kNonpresent, ev::How::kSet});
    m.changed = changed_spte(w, it.table, it.index, it.gfn, it.level, m.changed.frames[0].old_spte,
                             kNonpresent, true);
    MMU_CALL(m, 3, handle_changed_spte(w, m.changed));
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
