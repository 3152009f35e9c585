// model/tdp: tdp_iter, the pre-order walk over one root. Source: tdp_iter.c; gfn_bits is 7.x.
//
// `gfn` and the bounds never carry the direct bits, which are OR-ed in for indices only; other
// designs: alias.h. old_spte is a snapshot: a body must use cmpxchg or hold the write lock.
#pragma once

#include "model/address/walk_steps.h"
#include "model/vm/step.h"
#include "model/tdp/world.h"

namespace mmucheck::model {

struct TdpIter {
  uint8_t pc = 0;
  uint64_t next_last_level_gfn = 0;
  uint64_t yielded_gfn = 0;
  uint64_t gfn = 0;
  uint64_t gfn_bits = 0;
  uint64_t old_spte = 0;
  uint32_t pt_path[5] = {};
  uint32_t root = kNoTable;
  uint32_t table = kNoTable;  // table and index: sptep
  uint32_t index = 0;
  uint32_t as_id = 0;
  int8_t root_level = 0;
  int8_t min_level = 0;
  int8_t level = 0;
  bool valid = false;
  bool yielded = false;
  bool started = false;
};

template <class W>
void tdp_iter_refresh_sptep(W& w, TdpIter& it) {
  it.table = it.pt_path[it.level - 1];
  it.index = static_cast<uint32_t>(spte_index<>(it.gfn | it.gfn_bits, it.level));
  it.old_spte = w.read_spte(it.table, it.index);
}

template <class W>
bool try_step_down(W& w, TdpIter& it) {
  if (it.level == it.min_level) return false;
  // Reread: the entry may have become a leaf, or another table, since it was visited.
  it.old_spte = w.read_spte(it.table, it.index);
  const uint32_t child = w.child_table(it.old_spte, it.level);
  if (child == kNoTable) return false;
  it.level--;
  it.pt_path[it.level - 1] = child;
  it.gfn = gfn_below<>(it.next_last_level_gfn, it.level);
  tdp_iter_refresh_sptep(w, it);
  return true;
}

template <class W>
bool try_step_side(W& w, TdpIter& it) {
  if (is_last_entry<>(it.gfn, it.gfn_bits, it.level)) return false;
  it.gfn = gfn_beside<>(it.gfn, it.level);
  it.next_last_level_gfn = it.gfn;
  it.index++;
  it.old_spte = w.read_spte(it.table, it.index);
  return true;
}

template <class W>
bool try_step_up(W& w, TdpIter& it) {
  if (it.level == it.root_level) return false;
  it.level++;
  it.gfn = gfn_above<>(it.gfn, it.level);
  tdp_iter_refresh_sptep(w, it);
  return true;
}

// Begins a walk of [start, ...): tdp_iter_start without its first restart.
template <class W>
TdpIter tdp_iter_init(W& w, uint32_t root, int min_level, uint64_t start, uint64_t gfn_bits) {
  TdpIter it;
  const uint32_t role = w.role(root);
  const int root_level = role_level(role);
  it.root = root;
  it.root_level = static_cast<int8_t>(root_level);
  it.min_level = static_cast<int8_t>(min_level);
  it.next_last_level_gfn = start;
  it.gfn_bits = gfn_bits;
  it.as_id = role_as_id(role);
  if (root_level < 1 || root_level > kMaxRootLevel || min_level < 1 || min_level > root_level ||
      (gfn_bits != 0 && start >= gfn_bits)) {
    w.warn("MMU-WALK-START");
    it.started = true;
    return it;
  }
  it.pt_path[root_level - 1] = root;
  return it;
}

// Begins a walk of [start, ...) by gfns without the shared bit, as the design walks `root`.
template <class W>
TdpIter tdp_iter_walk(W& w, uint32_t root, int min_level, uint64_t start) {
  const bool mirror = w.is_mirror(root);
  const uint64_t bits = w.vm.gfn_direct_bits;
  return tdp_iter_init(w, root, min_level,
                       walk_range<>(w.design.iter_index, mirror, start, start, bits).start,
                       iter_gfn_bits<>(w.design.iter_index, mirror, bits));
}
// What such a walk of [start, end) compares iter.gfn with.
template <class W>
uint64_t walk_end(const W& w, uint32_t root, uint64_t start, uint64_t end) {
  if (w.design.iter_index == IterIndex::kGfnBits) return end;
  return walk_range<>(w.design.iter_index, w.is_mirror(root), start, end, w.vm.gfn_direct_bits).end;
}

template <class W>
Run tdp_iter_restart(W& w, TdpIter& it) {
  MMU_BEGIN(it);
  MMU_EMIT(it, 1, ev::IterRestart{it.next_last_level_gfn, it.started ? it.level : 0});
  it.started = true;
  it.yielded = false;
  it.yielded_gfn = it.next_last_level_gfn;
  it.level = it.root_level;
  it.gfn = gfn_below<>(it.next_last_level_gfn, it.level);
  tdp_iter_refresh_sptep(w, it);
  it.valid = true;
  MMU_END(it);
}

// tdp_iter_next, or the first restart of a fresh walk.
template <class W>
Run tdp_iter_advance(W& w, TdpIter& it) {
  const bool begins = it.pc == 0 && !it.started;
  if (begins) {
    w.emit(ev::IterStart{it.root, it.min_level, it.next_last_level_gfn});
    it.pc = 2;  // the restart is a step of its own
    if (w.pause()) return Run::kRan;
  }
  if (it.pc == 0 && !it.valid) return Run::kDone;  // a start that was refused, or the end
  if (it.pc != 0 || it.yielded) {
    const bool after_yield = it.yielded;
    if (it.pc == 2) it.pc = 0;
    const Run r = tdp_iter_restart(w, it);
    if (r != Run::kDone || !after_yield || w.design.iter_after_yield == IterAfterYield::kStays) {
      return r;
    }
  }
  if (try_step_down(w, it)) return Run::kDone;
  do {
    if (try_step_side(w, it)) return Run::kDone;
  } while (try_step_up(w, it));
  it.valid = false;
  return Run::kDone;
}

// The loop head of for_each_tdp_pte*: leaves the loop when the walk is past `end`.
#define MMU_NEXT_PTE(m, n, iter, end)                   \
  MMU_CALL(m, n, tdp_iter_advance(w, iter));            \
  if (!(iter).valid || (iter).gfn >= (end)) break;

struct CondResched {
  uint8_t pc = 0;
  bool yielded = false;
};

// tdp_mmu_iter_cond_resched; `m.yielded` tells the result, the caller then forgets its flush.
template <class W>
Run tdp_mmu_iter_cond_resched(W& w, CondResched& m, TdpIter& it, bool flush, bool shared) {
  MMU_BEGIN(m);
  m.yielded = false;
  if (w.design.poll_before_progress) {
    if (!w.env.need_resched(it) || it.next_last_level_gfn == it.yielded_gfn) {
      m.pc = 0;
      return Run::kDone;
    }
  } else if (it.next_last_level_gfn == it.yielded_gfn || !w.env.need_resched(it)) {
    m.pc = 0;
    return Run::kDone;
  }
  if (flush) MMU_EMIT(m, 1, ev::Flush{ev::FlushKind::kAll, 0, 0});
  mmu_lock_drop(w, !shared, true);
  w.emit(ev::Yield{!shared});
  w.env.before(Point::kUnlocked, kNoTable, 0);
  MMU_STEP(m, 2);
  if (!w.env.lock_free(!shared)) return Run::kBlocked;
  mmu_lock_drop(w, !shared, false);
  if (it.gfn > it.next_last_level_gfn) w.warn("MMU-WALK-PROGRESS");
  it.yielded = true;
  m.yielded = true;
  MMU_END(m);
}

}  // namespace mmucheck::model
