// model/tdx: TDH.MEM.PAGE.ADD, AUG, REMOVE, RELOCATE: a TD's pages come, go and move.
// Source: TDX module 1.5, tdh_mem_page_add.c, _aug.c, _remove.c, _relocate.c.
#pragma once

#include "model/tdx/prologue.h"

namespace mmucheck::model::tdx {

// Before FINALIZE only, under the exclusive TDR: no other lock is needed.
struct MemPageAdd {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    Status s = lock_tdr(w, c, c.in.rdx, Operand::kRdx);
    if (s.ok()) s = check_td_and_lock_op_state(w, c);
    if (s.ok()) s = check_page_info(w, c);
    if (s.ok()) s = walk_to_level(w, c);
    return s;
  }

  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const Status s = check_state(c);
    if (!s.ok()) return s;
    const Platform& p = w.platform;
    if (!shared_hpa_valid<>(c.in.r9, p.hkid_shift, p.hkid_mask, p.first_private_hkid, p.seamrr,
                            p.seamrr_end)) {
      return {StatusCode::kOperandInvalid, Operand::kR9};
    }
    return lock_new_page(w, c, c.in.r8, k4K, Operand::kR8);
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    // Nobody can hold the entry while the TDR is held exclusively: the module stops if one does.
    if ((c.entry & kSeptTdel) != 0) return Status(StatusCode::kModuleFatal);
    commit_entry(w, c, c.new_page << 12);
    pamt_use(w, k4K, c.new_page, Pt::kReg, tdr_page(w, c));
    add_chldcnt(w, c, 1);
    return {};
  }
};

struct MemPageAug : SeptCall {
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const Status s = check_state(c);
    return s.ok() ? lock_new_page(w, c, c.in.r8, c.pos.level, Operand::kR8) : s;
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    commit_entry(w, c, c.new_page << 12);
    pamt_use(w, c.pos.level, c.new_page, Pt::kReg, tdr_page(w, c));
    add_chldcnt(w, c, pages_of(c.pos.level));
    return {};
  }
};

struct MemPageRemove : SeptCall {
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    Status s = check_state(c);
    if (s.ok()) s = lock_entry_page(w, c);  // before the checks: BUSY can hide NOT_BLOCKED
    if (s.ok()) s = check_blocked_and_tracked(w, c);
    return s;
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    commit_entry(w, c);
    pamt_leave(w, c.page_size, c.page, tdr_page(w, c));
    add_chldcnt(w, c, ~pages_of(c.page_size) + 1);
    c.out.rcx = c.page << 12;
    return {};
  }
};

struct MemPageRelocate : SeptCall {
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    Status s = check_state(c);
    if (!s.ok()) return s;
    if (c.in.r8 == sept_hpa<>(c.entry, c.pos.level)) {
      return {StatusCode::kOperandInvalid, Operand::kR8};
    }
    s = lock_entry_page(w, c);
    if (s.ok()) s = check_blocked_and_tracked(w, c);
    if (s.ok()) s = lock_new_page(w, c, c.in.r8, k4K, Operand::kR8);
    return s;
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    commit_entry(w, c, c.new_page << 12);
    pamt_leave(w, k4K, c.page, tdr_page(w, c));
    pamt_use(w, k4K, c.new_page, Pt::kReg, tdr_page(w, c));
    c.out.rcx = c.page << 12;
    return {};
  }
};

}  // namespace mmucheck::model::tdx
