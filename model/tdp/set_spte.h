// model/tdp: the ways to store an entry. Source: tdp_iter.h (kvm_tdp_mmu_write_spte,
// tdp_mmu_clear_spte_bits), tdp_mmu.c (__tdp_mmu_set_spte_atomic, tdp_mmu_set_spte_atomic,
// tdp_mmu_set_spte, tdp_mmu_zap_spte_atomic).
//
// The atomic forms need mmu_lock for read and can lose (`lost`); the plain ones need it for write.
#pragma once

#include "model/tdp/changed_spte.h"
#include "model/tdp/iter.h"
#include "model/tdp/mirror_order.h"

namespace mmucheck::model {

// An entry that a walk has read and that its thread writes next: between the two the CPU and fast
// page faults may change volatile bits, whatever lock is held.
#define MMU_READ_THEN_WRITE(m, n, iter)                                            \
  do {                                                                             \
    if (spte_need_atomic_write<>(w.fmt, (iter).old_spte, (iter).level)) MMU_LEFT(m, n); \
  } while (0)

namespace detail {

// With volatile bits, or if told to: exchanged, or only written by what was read before. A change that is not of
// the value that it takes away loses what came in between; Accessed may be lost.
template <class W>
bool takes_what_is_there(W& w, uint32_t table, uint32_t index, uint64_t& old_spte, int level,
                         bool force_atomic = false) {
  if (force_atomic ||
      (w.design.volatile_atomic && spte_need_atomic_write<>(w.fmt, old_spte, level))) {
    w.env.before(Point::kXchg, table, index);
    old_spte = w.store.get(cell::pte(table, index));
    return true;
  }
  if ((w.store.get(cell::pte(table, index)) ^ old_spte) & ~w.fmt.accessed) {
    w.warn("MMU-SPTE-REPLACED");
  }
  return false;
}

}  // namespace detail

// kvm_tdp_mmu_write_spte: stores with the write lock held; gives what was really there.
template <class W>
uint64_t tdp_mmu_write_spte(W& w, uint32_t table, uint32_t index, uint64_t old_spte,
                            uint64_t new_spte, int level) {
  const bool atomic = detail::takes_what_is_there(w, table, index, old_spte, level);
  w.store.set(cell::pte(table, index), new_spte);
  w.emit(ev::Store{table, index, old_spte, new_spte, atomic ? ev::How::kXchg : ev::How::kSet});
  return old_spte;
}

// tdp_mmu_clear_spte_bits: gives the value before.
template <class W>
uint64_t tdp_mmu_clear_spte_bits(W& w, uint32_t table, uint32_t index, uint64_t old_spte,
                                 uint64_t mask, int level, bool force_atomic = false) {
  const bool atomic =
      detail::takes_what_is_there(w, table, index, old_spte, level, force_atomic);
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
  uint64_t expected = 0;
};

// __tdp_mmu_set_spte_atomic: refreshes iter.old_spte when it loses.
template <class W>
Run cmpxchg_spte(W& w, CmpxchgSpte& m, TdpIter& it, uint64_t new_spte) {
  MMU_BEGIN(m);
  if (it.yielded || is_frozen_spte<>(w.fmt, it.old_spte)) w.warn("MMU-SPTE-STALE");
  MMU_EMIT(m, 1, ev::CmpxchgSpte{it.table, it.index, it.gfn, it.level, it.old_spte, new_spte});
  m.expected = w.design.lost_refreshes ? 0 : it.old_spte;
  m.lost = !try_cmpxchg_spte(w, it.table, it.index, it.old_spte, new_spte);
  MMU_EMIT(m, 2, ev::CmpxchgSpteRet{m.lost ? -16 : 0});
  if (m.lost && w.design.lost_refreshes) {
    it.old_spte = w.env.refreshed(it.table, it.index, it.old_spte);
  } else if (m.lost) {
    it.old_spte = m.expected;
  }
  MMU_END(m);
}

struct UndoBehindHook {
  uint8_t pc = 0;
};

// `pc` is the MirrorAct that is being done.
struct SetSpteAtomic {
  uint8_t pc = 0;
  bool lost = false;     // -EBUSY or the hook's error: the entry is unchanged
  bool refused = false;  // lost for good: the VM is dead, another attempt would end the same way
  uint64_t old_spte = 0;
  CmpxchgSpte cas = {};
  HookAlone hook = {};
  ChangedSpte changed = {};
  UndoBehindHook undo = {};
};

// The exchange has begun; where it froze an entry, all that is left is to thaw it.
constexpr bool in_exchange(const SetSpteAtomic& m) {
  return m.pc == static_cast<uint8_t>(MirrorAct::kExchange) && m.cas.pc == 1;
}
constexpr bool about_to_thaw(const SetSpteAtomic& m) {
  return m.pc == static_cast<uint8_t>(MirrorAct::kFollow) && m.changed.depth == 0 &&
         m.changed.frames[0].stage == ChangedSpte::kTraced;
}

namespace detail {

template <class W>
void set_mirror_spte(W& w, const TdpIter& it, uint64_t old_spte, uint64_t new_spte) {
  w.store.set(cell::pte(it.table, it.index), new_spte);
  w.emit(ev::Store{it.table, it.index, old_spte, new_spte, ev::How::kSet});
}

// Of a TD whose S-EPT is there: the change maps a page.
template <class W>
bool maps_page(const W& w, const TdpIter& it, uint64_t new_spte) {
  return w.platform != nullptr && w.is_mirror(it.table) && is_shadow_present_pte<>(new_spte) &&
         is_last_spte<>(new_spte, it.level);
}

// The S-EPT maps the page of an exchange that was lost, and the mirror does not.
template <class W>
bool left_in_sept(W& w, const TdpIter& it, uint64_t new_spte) {
  auto module = tdx_module(w);
  const int level = it.level - 1;
  const tdx::SeptPosition at = tdx::sept_walk(module, 0, it.gfn << kPageShift, level);
  if (at.level != level || !tdx::is_sept_leaf<>(at.entry) ||
      tdx::sept_hpa<>(at.entry, level) >> kPageShift != spte_to_pfn<>(new_spte)) {
    return false;
  }
  const uint64_t now = w.store.is_live(it.table) ? w.store.get(cell::pte(it.table, it.index)) : 0;
  return !is_shadow_present_pte<>(now) || spte_to_pfn<>(now) != spte_to_pfn<>(new_spte);
}

// The exchange was lost behind a hook that mapped a page: what the design makes of that.
template <class W>
Run undo_behind_hook(W& w, UndoBehindHook& m, HookAlone& hook, ChangedSpte& changed,
                     const TdpIter& it, uint64_t new_spte) {
  MMU_BEGIN(m);
  hook = {};
  if (w.design.seam_first_undo == SeamFirstUndo::kWriteLock) {
    mmu_unlock(w, LockMode::kRead);
    MMU_LOCK(m, 1, LockMode::kWrite);
  }
  if (w.design.seam_first_undo != SeamFirstUndo::kNone) {
    changed = changed_spte(w, it.table, it.index, it.gfn, it.level, new_spte, kNonpresent,
                           w.locked_for_read());
    MMU_CALL(m, 2, call_set_hook(w, hook, changed));
  }
  if (w.design.seam_first_undo == SeamFirstUndo::kWriteLock) {
    mmu_unlock(w, LockMode::kWrite);
    MMU_LOCK(m, 3, LockMode::kRead);
  }
  w.emit(ev::LostBehindHook{left_in_sept(w, it, new_spte)});
  MMU_END(m);
}

// One act of the change, which leaves its failure in m.lost.
template <class W>
Run do_mirror_act(W& w, SetSpteAtomic& m, TdpIter& it, uint64_t new_spte, MirrorWay way) {
  const bool mirror = w.is_mirror(it.table);
  const uint64_t exchanged = exchanged_value<>(way, w.fmt, new_spte);
  switch (static_cast<MirrorAct>(m.pc)) {
    case MirrorAct::kExchange:
      if (m.undo.pc == 0) {
        if (const Run r = cmpxchg_spte(w, m.cas, it, exchanged); r != Run::kDone) return r;
        m.lost = m.cas.lost;
      }
      if (m.lost && way == MirrorWay::kHookThenExchange && maps_page(w, it, new_spte)) {
        const Run r = undo_behind_hook(w, m.undo, m.hook, m.changed, it, new_spte);
        if (r != Run::kDone) return r;
        m.refused = w.field(CellKind::kVmBugged) != 0;
      }
      if (!m.lost) {
        m.changed =
            changed_spte(w, it.table, it.index, it.gfn, it.level, m.old_spte, new_spte, true);
        m.changed.hooked = way == MirrorWay::kHookThenExchange;
      } else if (freezes(way) && !w.design.freeze_fail_refresh &&
                 is_shadow_present_pte<>(new_spte)) {
        it.old_spte = m.old_spte;
      }
      break;
    case MirrorAct::kHook:
      if (hook_is_apart(way) || needs_set_hook(m.changed)) {
        if (const Run r = call_set_hook(w, m.hook, m.changed); r != Run::kDone) return r;
      }
      m.lost = m.hook.ret != 0;
      m.refused = m.lost && w.field(CellKind::kVmBugged) != 0;
      m.changed.hooked = true;
      break;
    case MirrorAct::kFollow:
      if (const Run r = handle_changed_spte(w, m.changed); r != Run::kDone) return r;
      if (mirror) {
        m.lost = m.changed.result != 0;
        m.refused = m.lost && w.field(CellKind::kVmBugged) != 0;
      }
      break;
    case MirrorAct::kStore:
      set_mirror_spte(w, it, exchanged, stored_value<>(m.old_spte, new_spte, m.lost));
      break;
    case MirrorAct::kBegin:
    case MirrorAct::kDone: break;
  }
  return Run::kDone;
}

template <class W>
Run set_spte_atomic(W& w, SetSpteAtomic& m, TdpIter& it, uint64_t new_spte) {
  const bool mirror = w.is_mirror(it.table), maps = is_shadow_present_pte<>(new_spte);
  const MirrorWay way = mirror ? mirror_way(w.design, maps) : MirrorWay::kPlain;
  const auto next = [&] {
    m.pc = static_cast<uint8_t>(next_mirror_act(way, mirror, static_cast<MirrorAct>(m.pc), m.lost));
  };
  if (m.pc == static_cast<uint8_t>(MirrorAct::kBegin)) {
    if (!w.locked_for_read() &&
        !(w.design.fault_lock == FaultLock::kWrite && w.locked_for_write())) {
      w.warn("MMU-LOCK-SHARED");
    }
    m.cas = {};
    m.hook = {};
    m.old_spte = it.old_spte;
    m.refused = refuses_atomic_removal(w.design, mirror, maps);
    if (m.refused) {
      kvm_bug(w, "MMU-MIRROR-REMOVAL");
      m.lost = true;
      return Run::kDone;
    }
    if (way == MirrorWay::kHookThenExchange) {
      m.changed = changed_spte(w, it.table, it.index, it.gfn, it.level, m.old_spte, new_spte, true);
    }
    next();
  }
  while (m.pc != static_cast<uint8_t>(MirrorAct::kDone)) {
    if (const Run r = do_mirror_act(w, m, it, new_spte, way); r != Run::kDone) return r;
    next();
    // The hook has returned to who sets the entry: other threads may run before what follows.
    const bool follows = m.pc == static_cast<uint8_t>(MirrorAct::kFollow);
    if (follows && hook_is_apart(way) && w.pause()) return Run::kRan;
  }
  m.pc = 0;
  return Run::kDone;
}

}  // namespace detail

// tdp_mmu_set_spte_atomic. A mirror entry is frozen while its hook runs, or whatever the design has
// in place of that (mirror_order.h).
template <class W>
Run tdp_mmu_set_spte_atomic(W& w, SetSpteAtomic& m, TdpIter& it, uint64_t new_spte) {
  const bool locks = w.design.seamcall_lock_spans_set && w.design.seamcall_lock &&
                     w.is_mirror(it.table);
  if (locks && m.pc == 0 && !try_seamcall_lock(w)) return Run::kBlocked;
  const Run r = detail::set_spte_atomic(w, m, it, new_spte);
  if (locks && r == Run::kDone) w.set_field(CellKind::kSeamcallLock, 0, 0);
  return r;
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
