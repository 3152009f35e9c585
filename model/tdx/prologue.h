// model/tdx: what the calls have in common, in the module's order: the TDR, the state of the TD,
// the GPA, the tree lock, the walk, the entry lock; and the details that an error shows.
//
// Source: TDX module 1.5, helpers.c: check_lock_and_map_explicit_tdr,
// check_state_map_tdcs_and_lock, lock_sept_check_and_walk_internal; sept_manager.c:
// secure_ept_walk.
#pragma once

#include "model/tdx/entry_after.h"
#include "model/tdx/pamt.h"

namespace mmucheck::model::tdx {

// TDR as an operand. Bits that the leaf uses for itself are already taken off `hpa`.
template <class W>
Status lock_tdr(W& w, ModuleCall& c, uint64_t hpa, Operand op) {
  const Status s = lock_explicit_hpa(w, c, hpa, k4K, leaf_info(c.leaf).tdr, op);
  if (!s.ok()) return s;
  c.td = w.platform.td_of(hpa >> 12);
  if (c.page_size != k4K || pamt_type(w, k4K, hpa >> 12) != Pt::kTdr || c.td == kNone) {
    return {StatusCode::kPageMetadataIncorrect, op};
  }
  return {};
}

// The TD can be worked on, and its op state admits the call.
template <class W>
Status check_td_and_lock_op_state(W& w, ModuleCall& c) {
  if (w.get(CellKind::kTdFatal, c.td) != 0) return Status(StatusCode::kTdFatal);
  if (w.lifecycle(c.td) != TdLifecycle::kKeysConfigured) {
    return Status(StatusCode::kTdKeysNotConfigured);
  }
  const LockMode mode = op_state_lock_of(c.leaf);
  if (mode != LockMode::kNone &&
      !try_lock(w, c, cell::of(CellKind::kTdOpStateLock, c.td), HeldKind::kHostPriority, mode)) {
    return {StatusCode::kOperandBusy, Operand::kOpState};
  }
  if (!op_state_in(w.op_state(c.td), leaf_info(c.leaf).op_states)) {
    return Status(StatusCode::kOpStateIncorrect);
  }
  return {};
}

template <class W>
const TdConfig& td_config(W& w, const ModuleCall& c) {
  return w.platform.tds[c.td];
}

// RCX of a leaf with a level.
template <class W>
Status check_page_info(W& w, ModuleCall& c) {
  const TdConfig& td = td_config(w, c);
  const LeafInfo& info = leaf_info(c.leaf);
  const int max = info.max_level == kTopLevel ? td.top_level() : info.max_level;
  if (!page_info_valid<>(c.in.rcx, info.min_level, max) ||
      !gpa_is_private<>(page_info_gpa<>(c.in.rcx), td.gpaw)) {
    return {StatusCode::kOperandInvalid, Operand::kRcx};
  }
  c.gpa = page_info_gpa<>(c.in.rcx);
  c.value = static_cast<int>(page_info_level<>(c.in.rcx));
  return {};
}

// secure_ept_walk: to the entry of `level`, or to the first above it that ends the walk.
template <class W>
SeptPosition sept_walk(W& w, uint32_t td, uint64_t gpa, int level) {
  SeptPosition p;
  p.level = w.platform.tds[td].top_level();
  p.table = w.store.find_table(w.platform.tds[td].sept_root);
  while (true) {
    p.index = static_cast<uint32_t>(sept_index(gpa, p.level));
    p.entry = p.table == kNoTable ? kSeptFreeEntry : w.store.get(p.cell());
    if (p.level == level || !walk_continues<>(p.entry)) return p;
    p.table = w.store.find_table(sept_hpa<>(p.entry, p.level) >> 12);
    p.level--;
  }
}

// The entry where the check stopped, for RCX and RDX.
inline void show_entry(ModuleCall& c, uint64_t entry) {
  c.out.rcx = sept_arch_content<>(entry);
  c.out.rdx = sept_level_and_state<>(entry, c.pos.level);
}
inline Status with_details(ModuleCall& c, uint64_t entry, Status s) {
  show_entry(c, entry);
  return s;
}

template <class W>
Status lock_tree(W& w, ModuleCall& c) {
  const LockMode mode = leaf_info(c.leaf).tree;
  if (mode == LockMode::kNone) return {};
  if (try_lock(w, c, cell::of(CellKind::kTdSeptLock, c.td), HeldKind::kSharex, mode)) return {};
  return {StatusCode::kOperandBusy, Operand::kSeptTree};
}

template <class W>
Status walk_to_level(W& w, ModuleCall& c) {
  c.pos = sept_walk(w, c.td, c.gpa, c.value);
  c.entry = c.pos.entry;
  if (c.pos.level == c.value) return {};
  return with_details(c, c.entry, {StatusCode::kEptWalkFailed, Operand::kRcx});
}

template <class W>
Status lock_entry(W& w, ModuleCall& c) {
  if (!try_lock(w, c, c.pos.cell(), HeldKind::kEntry, entry_lock_of(c.leaf))) {
    return with_details(c, c.pos.entry, {StatusCode::kOperandBusy, Operand::kRcx});
  }
  c.entry = w.store.get(c.pos.cell());
  return {};
}

// All of it, for the leaves with a level and the TDR in RDX. `rdx_flags`: bits of RDX that are the
// leaf's own.
template <class W>
Status sept_prologue(W& w, ModuleCall& c, uint64_t rdx_flags = 0) {
  Status s = lock_tdr(w, c, c.in.rdx & ~rdx_flags, Operand::kRdx);
  if (s.ok()) s = check_td_and_lock_op_state(w, c);
  if (s.ok()) s = check_page_info(w, c);
  if (s.ok()) s = lock_tree(w, c);
  if (s.ok()) s = walk_to_level(w, c);
  if (s.ok()) s = lock_entry(w, c);
  return s;
}

// What the leaves begin with that have no bits of their own in RDX.
struct SeptCall {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    return sept_prologue(w, c);
  }
};

inline Status check_state(ModuleCall& c) {
  if (sept_state_allows<>(c.leaf, c.entry)) return {};
  return with_details(c, c.entry, {StatusCode::kEptEntryStateIncorrect, Operand::kRcx});
}

// Page and size that the locked entry points to: of a leaf its own, else the S-EPT page below.
inline void resolve_page(ModuleCall& c) {
  c.page = sept_hpa<>(c.entry, c.pos.level) >> 12;
  c.page_size = is_sept_leaf<>(c.entry) ? c.pos.level : k4K;
}

template <class W>
Status lock_entry_page(W& w, ModuleCall& c) {
  resolve_page(c);
  if (lock_pamt(w, c, c.page_size, c.page, LockMode::kExclusive)) return {};
  return {StatusCode::kOperandBusy, Operand::kRcx};
}

template <class W>
bool tracking_applies(W& w, const ModuleCall& c) {
  return tracking_applies_to<>(w.op_state(c.td), c.entry);
}
template <class W>
bool entry_page_tracked(W& w, const ModuleCall& c) {
  const int size = is_sept_leaf<>(c.entry) ? c.pos.level : k4K;
  const uint64_t page = sept_hpa<>(c.entry, c.pos.level) >> 12;
  return is_tlb_tracked<>(w.epoch_and_refcount(c.td), pamt_bepoch(w, size, page));
}

// What frees or changes a page wants: its entry blocked, and every vCPU of then gone.
template <class W>
Status check_blocked_and_tracked(W& w, ModuleCall& c) {
  const OpState s = w.op_state(c.td);
  if (!tracking_applies_to<>(s, c.entry)) return {};
  if (refused_as_not_blocked<>(s, c.entry)) {
    return with_details(c, c.entry, {StatusCode::kGpaRangeNotBlocked, Operand::kRcx});
  }
  if (refused_as_not_tracked<>(s, c.entry, entry_page_tracked(w, c))) {
    return {StatusCode::kTlbTrackingNotDone, Operand::kRcx};
  }
  return {};
}

// A pending host interrupt, seen by the n-th poll of the call.
inline bool interrupted(const ModuleCall& c, uint32_t poll) {
  return c.intr_after != 0 && poll >= c.intr_after;
}

template <class W>
uint64_t tdr_page(W& w, const ModuleCall& c) {
  return w.platform.tds[c.td].tdr;
}
template <class W>
void add_chldcnt(W& w, const ModuleCall& c, uint64_t pages) {
  w.add(CellKind::kTdChldcnt, c.td, 0, pages);
}

// The entry as the call leaves it.
template <class W>
void commit_entry(W& w, const ModuleCall& c, uint64_t hpa = 0) {
  const bool import = c.leaf == Leaf::kMemPageRemove &&  // the only one that asks
                      op_state_in(w.op_state(c.td), kImportOpStates);
  w.store.set(c.pos.cell(), entry_after<>(c.leaf, c.entry, c.pos.level, hpa, import));
}

// The S-EPT page in frame `page`, for entries of `level`, empty.
template <class W>
uint32_t new_sept_page(W& w, uint64_t page, uint64_t gpa, int level) {
  const uint32_t old = w.store.find_table(page);
  if (old != kNoTable) w.store.free_table(old);  // dangles since a KEY.FREEID
  const uint32_t table = w.store.alloc_table(page);
  if (table == kNoTable) return table;
  for (uint32_t i = 0; i < kSeptEntries; i++) w.store.set(cell::pte(table, i), kSeptFreeEntry);
  const uint64_t span = sept_span(level + 1);
  w.set(CellKind::kSpGfn, table, 0, (gpa & ~(span - 1)) >> 12);
  w.set(CellKind::kSpRole, table, 0, static_cast<uint64_t>(level));
  return table;
}
template <class W>
void free_sept_page(W& w, uint64_t page) {
  const uint32_t table = w.store.find_table(page);
  if (table != kNoTable) w.store.free_table(table);
}

// The S-EPT pages that are reachable from `page`, whose entries are of `level`: the TD is no more.
template <class W>
void free_sept_tree(W& w, uint64_t page, int level) {
  const uint32_t table = w.store.find_table(page);
  if (table == kNoTable) return;
  for (uint32_t i = 0; level > 0 && i < kSeptEntries; i++) {
    const uint64_t e = w.store.get(cell::pte(table, i));
    if (!is_sept_free<>(e) && !is_sept_leaf<>(e)) {
      free_sept_tree(w, sept_hpa<>(e, level) >> 12, level - 1);
    }
  }
  w.store.free_table(table);
}

}  // namespace mmucheck::model::tdx
