// model/tdx: TDH.PHYMEM.PAMT.ADD, PAMT.REMOVE: the pair of pages that holds the 4K PAMT entries of a
// 2M range. What the pages of the pair are themselves is not followed.
// Source: TDX module 2.0, tdh_phymem_pamt_add.c, tdh_phymem_pamt_remove.c; their numbers from the
// kernel's series (Dynamic PAMT v6).
#pragma once

#include "model/tdx/pamt.h"

namespace mmucheck::model::tdx {

namespace detail {

template <class W>
Status lock_pamt_range(W& w, ModuleCall& c) {
  if (!w.platform.version.dynamic_pamt) return {StatusCode::kOperandInvalid, Operand::kRax};
  const Status s =
      lock_explicit_hpa(w, c, c.in.rcx, k2M, LockMode::kExclusive, Operand::kRcx);
  if (s.ok()) c.page = c.in.rcx >> 12;
  return s;
}

}  // namespace detail

struct PhymemPamtAdd {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    return detail::lock_pamt_range(w, c);
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    return c.page_size == k2M && pamt_type(w, k2M, c.page) == Pt::kNda
               ? Status{}
               : Status(StatusCode::kHpaRangeNotFree, Operand::kRcx);
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    set_pamt_type(w, k2M, c.page, Pt::kPamt);
    return {};
  }
};

struct PhymemPamtRemove {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    return detail::lock_pamt_range(w, c);
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    if (c.page_size != k2M || pamt_type(w, k2M, c.page) != Pt::kPamt) {
      return {StatusCode::kNoPamtPagePair, Operand::kRcx};
    }
    for (uint64_t i = 0; i < pages_of(k2M); i++) {
      if (pamt_type(w, k4K, c.page + i) != Pt::kNda) return Status(StatusCode::kPamtPageNotEmpty);
    }
    return {};
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    set_pamt_type(w, k2M, c.page, Pt::kNda);
    return {};
  }
};

}  // namespace mmucheck::model::tdx
