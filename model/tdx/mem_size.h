// model/tdx: TDH.MEM.PAGE.PROMOTE, PAGE.DEMOTE: 512 small leaves and one large.
// Source: TDX module 1.5, tdh_mem_page_promote.c, tdh_mem_page_demote.c.
#pragma once

#include "model/tdx/prologue.h"

namespace mmucheck::model::tdx {

struct MemPagePromote : SeptCall {
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    Status s = check_state(c);
    if (s.ok()) s = lock_entry_page(w, c);
    if (s.ok()) s = check_blocked_and_tracked(w, c);
    if (s.ok()) s = lock_and_check_children(w, c);
    if (!s.ok()) return s;
    if (interrupted(c, 1)) {
      c.out.rcx = c.in.rcx;
      c.out.rdx = c.in.rdx;
      return Status(StatusCode::kInterruptedRestartable);
    }
    if (!lock_pamt(w, c, c.pos.level, c.new_page, LockMode::kExclusive)) {
      return {StatusCode::kOperandBusy, Operand::kRcx};
    }
    return {};
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    const uint32_t table = w.store.find_table(c.page);
    // The first child's entry as it is, with what is left of an ACCEPT in it.
    commit_entry(w, c, w.store.get(cell::pte(table, 0)));
    c.children_locked = 0;  // they go with their page
    free_sept_page(w, c.page);
    pamt_leave(w, k4K, c.page, tdr_page(w, c));
    pamt_promote(w, c.pos.level, c.new_page, tdr_page(w, c));
    add_chldcnt(w, c, ~uint64_t{0});
    c.out.rcx = c.page << 12;
    return {};
  }

  // Whatever the outcome, the children that were locked are unlocked.
  template <class W>
  static void release_children(W& w, ModuleCall& c) {
    const uint32_t table = w.store.find_table(c.page);
    for (uint32_t i = 0; i < c.children_locked; i++) {
      release(w, {cell::pte(table, i), HeldKind::kEntry, true});
    }
    c.children_locked = 0;
  }

 private:
  // One state for all, MAPPED or PENDING, and pages that are one large page.
  template <class W>
  static Status lock_and_check_children(W& w, ModuleCall& c) {
    const auto stop = [&c](StatusCode code) {
      return with_details(c, c.entry, {code, Operand::kRcx});
    };
    const uint32_t table = w.store.find_table(c.page);
    const int level = c.pos.level - 1;
    if (table == kNoTable) return stop(StatusCode::kEptInvalidPromoteConditions);
    uint64_t first = 0;
    for (uint32_t i = 0; i < kSeptEntries; i++) {
      const Cell at = cell::pte(table, i);
      const Attempt<> a = entry_lock_host<>(w.store.get(at));
      w.store.set(at, a.word);
      if (!a.taken) return stop(StatusCode::kOperandBusy);
      c.children_locked++;
      const uint64_t e = a.word;
      if (i == 0) first = e;
      if (!is_promotable_child<>(e, first, level, i)) {
        return stop(StatusCode::kEptInvalidPromoteConditions);
      }
    }
    c.new_page = sept_hpa<>(first, level) >> 12;
    return {};
  }
};

struct MemPageDemote {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    return sept_prologue(w, c, 1);  // bit 0: how pages for L2 VMs are added
  }

  template <class W>
  static Status check(W& w, ModuleCall& c) {
    Status s = check_state(c);
    if (s.ok() && !w.platform.version.non_blocking_resize) s = check_blocked_and_tracked(w, c);
    if (s.ok()) s = lock_new_page(w, c, c.in.r8, k4K, Operand::kR8);
    if (s.ok() && w.platform.version.dynamic_pamt && !c.pamt_pair) {
      s = {StatusCode::kMissingPamtPagePair, Operand::kRcx};
    }
    if (!s.ok()) return s;
    if (interrupted(c, 1)) {
      c.out.rcx = c.in.rcx;
      c.out.rdx = c.in.rdx;
      return Status(StatusCode::kInterruptedRestartable);
    }
    resolve_page(c);
    if (!lock_pamt(w, c, c.page_size, c.page, LockMode::kExclusive)) {
      return {StatusCode::kOperandBusy, Operand::kRcx};
    }
    return {};
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    const int level = c.pos.level - 1;
    const uint32_t table = new_sept_page(w, c.new_page, c.gpa, level);
    for (uint32_t i = 0; table != kNoTable && i < kSeptEntries; i++) {
      w.store.set(cell::pte(table, i), demoted_entry<>(c.entry, c.pos.level, i));
    }
    commit_entry(w, c, c.new_page << 12);
    // The new S-EPT page keeps the epoch that its PAMT entry had.
    set_pamt_type(w, k4K, c.new_page, Pt::kEpt);
    w.store.set(pamt_cell(CellKind::kPamtOwner, k4K, c.new_page), tdr_page(w, c));
    pamt_demote(w, c.page_size, c.page, tdr_page(w, c));
    add_chldcnt(w, c, 1);
    return {};
  }
};

}  // namespace mmucheck::model::tdx
