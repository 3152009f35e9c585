// model/tdp: Dynamic PAMT: a reference for each 4K page of a 2M region that the TDX module may use,
// and the pair of PAMT pages that is there while there are references. Source: Dynamic PAMT v6
// (25 May 2026) 04..07: tdx_pamt_get, tdx_pamt_put; v4 and RFC v5 for puts that count outside the
// lock.
//
// A 2M page has no reference: PAGE.DEMOTE takes a pair of its own and leaves 512. The pages of pairs
// are not followed: donating one takes no lock here.
#pragma once

#include "model/tdp/seamcall.h"

namespace mmucheck::model {

constexpr Cell pamt_refs_cell(uint64_t page) {
  return cell::of(CellKind::kPamtRefs, 0, tdx::page_round(page, tdx::k2M));
}

namespace detail {

// What a lockless reader may find from here on.
template <class W>
void set_pamt_refs(W& w, uint64_t page, uint64_t refs) {
  w.store.set(pamt_refs_cell(page), refs);
  auto module = tdx_module(w);
  const bool pair = tdx::pamt_type(module, tdx::k2M, page) == tdx::Pt::kPamt;
  w.emit(ev::PamtRefs{tdx::page_round(page, tdx::k2M), refs, pair});
}

template <class W>
Run pamt_lock(W& w) {
  if (w.field(CellKind::kPamtSpinlock) != 0) return Run::kBlocked;
  w.set_field(CellKind::kPamtSpinlock, 0, 1);
  return Run::kDone;
}
template <class W>
void pamt_unlock(W& w) {
  w.set_field(CellKind::kPamtSpinlock, 0, 0);
}

template <class W>
Seamcall pamt_call(const W& w, tdx::Leaf leaf, uint64_t page) {
  return tdh(w, leaf, 0, 0, tdx::page_round(page, tdx::k2M) << kPageShift);
}

}  // namespace detail

// tdx_pamt_get: hook.pamt_ret is 0 or -EIO.
template <class W>
Run tdx_pamt_get(W& w, TdxHook& hook, uint64_t page) {
  TdxHook::Part& m = hook.pamt;
  const Cell refs = pamt_refs_cell(page);
  MMU_BEGIN(m);
  hook.pamt_ret = 0;
  if (!w.design.dynamic_pamt) return Run::kDone;
  if (w.design.pamt_put != PamtPut::kLocked && w.store.get(refs) != 0) {
    detail::set_pamt_refs(w, page, w.store.get(refs) + 1);
    return Run::kDone;
  }
  MMU_STEP(m, 1);
  MMU_CALL(m, 2, detail::pamt_lock(w));
  MMU_STEP(m, 3);
  if (w.store.get(refs) != 0) {
    detail::set_pamt_refs(w, page, w.store.get(refs) + 1);
  } else {
    hook.tdh.call = detail::pamt_call(w, tdx::Leaf::kPhymemPamtAdd, page);
    MMU_CALL(m, 4, seamcall(w, hook.tdh.call));
    // Where puts count outside the lock the pair may still be there.
    const tdx::Status s = hook.tdh.call.call.status;
    if (s.ok() || (s.code() == tdx::StatusCode::kHpaRangeNotFree &&
                   w.design.pamt_put == PamtPut::kDecOutside)) {
      detail::set_pamt_refs(w, page, 1);
    } else {
      hook.pamt_ret = -5;
    }
  }
  detail::pamt_unlock(w);
  MMU_STEP(m, 5);
  MMU_END(m);
}

// tdx_pamt_put: a pair that the module does not give back stays, with one reference.
template <class W>
Run tdx_pamt_put(W& w, TdxHook& hook, uint64_t page) {
  TdxHook::Part& m = hook.pamt;
  const Cell refs = pamt_refs_cell(page);
  const bool outside = w.design.pamt_put == PamtPut::kDecOutside;
  MMU_BEGIN(m);
  if (!w.design.dynamic_pamt) return Run::kDone;
  if (outside || (w.design.pamt_put == PamtPut::kDecAndLock && w.store.get(refs) > 1)) {
    detail::set_pamt_refs(w, page, w.store.get(refs) - 1);
    if (w.store.get(refs) != 0 || !outside) return Run::kDone;
  }
  MMU_STEP(m, 1);
  MMU_CALL(m, 2, detail::pamt_lock(w));
  MMU_STEP(m, 3);
  if (!outside) detail::set_pamt_refs(w, page, w.store.get(refs) - 1);
  if (w.store.get(refs) == 0) {
    hook.tdh.call = detail::pamt_call(w, tdx::Leaf::kPhymemPamtRemove, page);
    MMU_CALL(m, 4, seamcall(w, hook.tdh.call));
    if (!hook.tdh.call.call.status.ok()) detail::set_pamt_refs(w, page, 1);
  }
  detail::pamt_unlock(w);
  MMU_STEP(m, 5);
  MMU_END(m);
}

}  // namespace mmucheck::model
