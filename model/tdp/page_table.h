// model/tdp: the life of a page-table page: allocation, linking, accounting, the NX list, and its
// release after an RCU grace period. Source: tdp_mmu.c (tdp_mmu_alloc_sp, tdp_mmu_init_sp,
// tdp_mmu_unlink_sp, tdp_mmu_free_sp_rcu_callback), mmu.c (track_possible_nx_huge_page).
#pragma once

#include "model/tdp/world.h"

namespace mmucheck::model {

// A fresh table, all entries non-present; kNoTable when there is no memory.
template <class W>
uint32_t tdp_mmu_alloc_sp(W& w, ev::TableKind kind) {
  const uint64_t frame = w.env.new_table_frame(kind);
  if (frame == kNoFrame) {
    w.emit(ev::AllocFailed{kind});
    return kNoTable;
  }
  const uint32_t table = w.store.alloc_table(frame);
  if (table != kNoTable) w.emit(ev::AllocTable{table, kind});
  return table;
}

template <class W>
void tdp_mmu_init_sp(W& w, uint32_t table, uint32_t parent_table, uint32_t parent_index,
                     uint64_t gfn, uint32_t role) {
  w.set_field(CellKind::kSpRole, table, role);
  w.set_field(CellKind::kSpGfn, table, gfn);
  const uint64_t parent =
      parent_table == kNoTable ? 0 : uint64_t{parent_table} * kSpteEntPerPage + parent_index + 1;
  w.set_field(CellKind::kSpParent, table, parent);
  w.emit(ev::InitSp{table, parent_table, parent_index, gfn, role});
}

// kvm_mmu_alloc_external_spt: the page that the external page table uses for a mirror table.
template <class W>
void kvm_mmu_alloc_external_spt(W& w, uint32_t table) {
  const uint64_t frame = w.env.new_table_frame(ev::TableKind::kExternal);
  w.set_field(CellKind::kSpExternal, table, frame + 1);
  w.emit(ev::AllocExternal{table, frame});
}

// Gives the external page back; a table whose page went to the module for good has none.
template <class W>
void free_external_page(W& w, uint32_t table) {
  const uint64_t external = w.field(CellKind::kSpExternal, table);
  if (external == 0) return;
  w.set_field(CellKind::kSpExternal, table, 0);
  w.emit(ev::FreedExternal{external - 1});
}

// A table that never became reachable goes back at once, with its external page
// (6.12: tdp_mmu_free_sp).
template <class W>
void tdp_mmu_free_unused_sp(W& w, uint32_t table) {
  free_external_page(w, table);
  w.emit(ev::Freed{table});
  w.store.free_table(table);
}

template <class W>
void tdp_account_mmu_page(W& w, uint32_t table) {
  // It may have been removed again already: it became reachable before.
  if (w.field(CellKind::kSpState, table) == static_cast<uint64_t>(SpState::kAllocated)) {
    w.set_field(CellKind::kSpState, table, static_cast<uint64_t>(SpState::kLinked));
  }
  w.store.add(cell::of(CellKind::kTdpMmuPages), 1);
}

template <class W>
void track_possible_nx_huge_page(W& w, uint32_t table) {
  if (w.field(CellKind::kNxOnList, table)) return;
  w.store.add(cell::of(CellKind::kNxSplits), 1);
  w.store.add(cell::of(CellKind::kNxCount), 1);
  const uint64_t tail = w.field(CellKind::kNxTail);
  w.set_field(CellKind::kNxOnList, table, 1);
  w.set_field(CellKind::kNxPrev, table, tail);
  w.set_field(CellKind::kNxNext, table, 0);
  if (tail == 0) {
    w.set_field(CellKind::kNxHead, 0, table + 1);
  } else {
    w.set_field(CellKind::kNxNext, static_cast<uint32_t>(tail - 1), table + 1);
  }
  w.set_field(CellKind::kNxTail, 0, table + 1);
}

// `counter`: the nr_pages that the caller says the page belongs to.
template <class W>
void untrack_possible_nx_huge_page(W& w, uint32_t table, CellKind counter) {
  if (!w.field(CellKind::kNxOnList, table)) return;
  w.store.add(cell::of(CellKind::kNxSplits), ~uint64_t{0});
  w.store.add(cell::of(counter), ~uint64_t{0});
  const uint64_t prev = w.field(CellKind::kNxPrev, table);
  const uint64_t next = w.field(CellKind::kNxNext, table);
  w.set_field(CellKind::kNxOnList, table, 0);
  if (prev == 0) {
    w.set_field(CellKind::kNxHead, 0, next);
  } else {
    w.set_field(CellKind::kNxNext, static_cast<uint32_t>(prev - 1), next);
  }
  if (next == 0) {
    w.set_field(CellKind::kNxTail, 0, prev);
  } else {
    w.set_field(CellKind::kNxPrev, static_cast<uint32_t>(next - 1), prev);
  }
}

// unaccount_nx_huge_page: recovery takes a page off the list. 7.x counts it as a shadow page, so
// that the TDP MMU's own count only ever grows here.
template <class W>
void unaccount_nx_huge_page(W& w, uint32_t table) {
  w.set_field(CellKind::kSpNx, table, 0);
  untrack_possible_nx_huge_page(
      w, table, w.design.nx_recovery_miscounts ? CellKind::kNxShadowCount : CellKind::kNxCount);
}

template <class W>
void tdp_mmu_unlink_sp(W& w, uint32_t table) {
  w.set_field(CellKind::kSpState, table, static_cast<uint64_t>(SpState::kRemoved));
  w.store.add(cell::of(CellKind::kTdpMmuPages), ~uint64_t{0});
  if (w.field(CellKind::kSpNx, table)) {
    w.set_field(CellKind::kSpNx, table, 0);
    untrack_possible_nx_huge_page(w, table, CellKind::kNxCount);
  }
}

// call_rcu(tdp_mmu_free_sp_rcu_callback): the page waits in a queue.
template <class W>
void call_rcu_free_sp(W& w, uint32_t table) {
  const uint64_t tail = w.field(CellKind::kRcuTail);
  w.set_field(CellKind::kSpState, table, static_cast<uint64_t>(SpState::kRemoved));
  w.set_field(CellKind::kRcuNext, table, 0);
  if (tail == 0) {
    w.set_field(CellKind::kRcuHead, 0, table + 1);
  } else {
    w.set_field(CellKind::kRcuNext, static_cast<uint32_t>(tail - 1), table + 1);
  }
  w.set_field(CellKind::kRcuTail, 0, table + 1);
  w.emit(ev::RcuQueued{table, w.store.add(cell::of(CellKind::kRcuCount), 1)});
}

// Runs the callback of `table`, wherever it stands in the queue (each CPU has its own); false
// when it is not queued. What is left in the S-EPT is work for reap_removed_spt(): a callback
// cannot wait.
template <class W>
bool rcu_run_callback(W& w, uint32_t table) {
  uint64_t prev = 0;
  uint64_t at = w.field(CellKind::kRcuHead);
  while (at != 0 && at != uint64_t{table} + 1) {
    prev = at;
    at = w.field(CellKind::kRcuNext, static_cast<uint32_t>(at - 1));
  }
  if (at == 0) return false;
  const uint64_t next = w.field(CellKind::kRcuNext, table);
  if (prev == 0) {
    w.set_field(CellKind::kRcuHead, 0, next);
  } else {
    w.set_field(CellKind::kRcuNext, static_cast<uint32_t>(prev - 1), next);
  }
  if (next == 0) w.set_field(CellKind::kRcuTail, 0, prev);
  w.set_field(CellKind::kRcuNext, table, 0);
  w.store.add(cell::of(CellKind::kRcuCount), ~uint64_t{0});
  if (w.field(CellKind::kHooksOpen, table) != 0) w.warn("TDX-RCU-INFLIGHT");
  if (w.field(CellKind::kSpState, table) == static_cast<uint64_t>(SpState::kToReap)) {
    w.set_field(CellKind::kRcuNext, table, w.field(CellKind::kReapHead));
    w.set_field(CellKind::kReapHead, 0, table + 1);
    return true;
  }
  if (w.design.external_free == ExternalFree::kRcu) free_external_page(w, table);
  w.emit(ev::Freed{table});
  w.store.free_table(table);
  return true;
}

// The oldest queued table, or kNoTable.
template <class W>
uint32_t rcu_first(const W& w) {
  const uint64_t head = w.field(CellKind::kRcuHead);
  return head == 0 ? kNoTable : static_cast<uint32_t>(head - 1);
}

}  // namespace mmucheck::model
