// model/tdx: TDH.MEM.RD, MEM.WR, TDH.MR.EXTEND: calls on a byte address, which walk to whatever
// leaf is there. Contents and measurements are not modelled.
// Source: TDX module 1.5, tdh_mem_rd_wr.c, tdh_mr_extend.c.
#pragma once

#include "model/tdx/prologue.h"

namespace mmucheck::model::tdx {

namespace detail {

template <class W>
Status check_byte_gpa(W& w, ModuleCall& c) {
  if (!gpa_is_private<>(c.in.rcx, td_config(w, c).gpaw)) {
    return {StatusCode::kOperandInvalid, Operand::kRcx};
  }
  c.gpa = c.in.rcx;
  return {};
}

// To a leaf that anything can be read from.
template <class W>
Status walk_to_leaf(W& w, ModuleCall& c) {
  c.pos = sept_walk(w, c.td, c.gpa, 0);
  c.entry = c.pos.entry;
  if (is_sept_leaf<>(c.entry) && (c.entry & kSeptRwx) != 0) return {};
  return with_details(c, c.entry, {StatusCode::kEptEntryNotPresent, Operand::kRcx});
}

}  // namespace detail

struct MemRdWr {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    const Status invalid{StatusCode::kOperandInvalid, Operand::kRcx};
    Status s = lock_tdr(w, c, c.in.rdx, Operand::kRdx);
    if (s.ok()) s = check_td_and_lock_op_state(w, c);
    if (s.ok() && !td_config(w, c).debug) s = Status(StatusCode::kTdNonDebug);
    if (s.ok() && (c.in.rcx & 7) != 0) s = invalid;
    if (s.ok()) s = lock_tree(w, c);  // before the GPA is looked at
    if (s.ok()) s = detail::check_byte_gpa(w, c);
    if (s.ok()) s = detail::walk_to_leaf(w, c);
    if (s.ok()) s = lock_entry(w, c);
    return s;
  }
  template <class W>
  static Status check(W&, ModuleCall& c) {
    return check_state(c);
  }
  template <class W>
  static Status commit(W&, ModuleCall&) {
    return {};
  }
};

struct MrExtend {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    Status s = lock_tdr(w, c, c.in.rdx, Operand::kRdx);
    if (s.ok()) s = check_td_and_lock_op_state(w, c);
    if (s.ok() && (c.in.rcx & 255) != 0) s = {StatusCode::kOperandInvalid, Operand::kRcx};
    if (s.ok()) s = detail::check_byte_gpa(w, c);
    if (s.ok()) s = detail::walk_to_leaf(w, c);
    return s;
  }
  template <class W>
  static Status check(W&, ModuleCall& c) {
    // Present, but not MAPPED: the same name without an operand.
    return sept_state_allows<>(c.leaf, c.entry) ? Status{}
                                                : Status(StatusCode::kEptEntryNotPresent);
  }
  template <class W>
  static Status commit(W&, ModuleCall&) {
    return {};
  }
};

}  // namespace mmucheck::model::tdx
