// model/tdx: TDH.MR.FINALIZE and the way to the end: VPFLUSHDONE, CACHE.WB, KEY.FREEID,
// PHYMEM.PAGE.RECLAIM, PHYMEM.PAGE.WBINVD.
// Source: TDX module 1.5, tdh_mr_finalize.c, tdh_mng_vpflushdone.c, tdh_phymem_cache_wb.c,
// tdh_mng_key_freeid.c, tdh_phymem_page_reclaim.c, tdh_phymem_page_wbinvd.c.
#pragma once

#include "model/tdx/prologue.h"

namespace mmucheck::model::tdx {

struct MrFinalize {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    const Status s = lock_tdr(w, c, c.in.rcx, Operand::kRcx);
    return s.ok() ? check_td_and_lock_op_state(w, c) : s;
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    return w.get(CellKind::kTdNumVcpus, c.td) == 0 ? Status(StatusCode::kNoVcpus) : Status{};
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    w.set(CellKind::kTdOpState, c.td, 0, static_cast<uint64_t>(OpState::kRunnable));
    return {};
  }
};

namespace detail {
template <class W>
Status lock_kot(W& w, ModuleCall& c) {
  return try_lock(w, c, cell::of(CellKind::kKotLock), HeldKind::kSharex, LockMode::kExclusive)
             ? Status{}
             : Status(StatusCode::kOperandBusy, Operand::kKot);
}
template <class W>
void set_lifecycle(W& w, const ModuleCall& c, TdLifecycle to) {
  w.set(CellKind::kTdLifecycle, c.td, 0, static_cast<uint64_t>(to));
}
}  // namespace detail

struct MngVpflushdone {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    const Status s = lock_tdr(w, c, c.in.rcx, Operand::kRcx);
    return s.ok() ? detail::lock_kot(w, c) : s;
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const TdLifecycle at = w.lifecycle(c.td);
    if (at != TdLifecycle::kHkidAssigned && at != TdLifecycle::kKeysConfigured) {
      return Status(StatusCode::kLifecycleStateIncorrect);
    }
    // op_state_is_any_initialized: before MNG.INIT there is no vCPU to count.
    const bool counts = w.op_state(c.td) != OpState::kUninitialized;
    return counts && w.get(CellKind::kTdNumAssoc, c.td) != 0 ? Status(StatusCode::kFlushvpNotDone)
                                                             : Status{};
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    detail::set_lifecycle(w, c, TdLifecycle::kBlocked);
    w.set(CellKind::kTdWbPending, c.td, 0, 1);
    return {};
  }
};

// All packages at once, for all TDs.
struct PhymemCacheWb {
  template <class W>
  static Status acquire(W&, ModuleCall&) {
    return {};
  }
  template <class W>
  static Status check(W&, ModuleCall&) {
    return {};
  }
  template <class W>
  static Status commit(W& w, ModuleCall&) {
    for (uint32_t td = 0; td < w.platform.tds.size(); td++) {
      w.set(CellKind::kTdWbPending, td, 0, 0);
    }
    return {};
  }
};

struct MngKeyFreeid {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    const Status s = lock_tdr(w, c, c.in.rcx, Operand::kRcx);
    if (!s.ok()) return s;
    if (w.lifecycle(c.td) != TdLifecycle::kBlocked) {
      return Status(StatusCode::kLifecycleStateIncorrect);
    }
    return detail::lock_kot(w, c);
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    return w.get(CellKind::kTdWbPending, c.td) != 0 ? Status(StatusCode::kWbcacheNotComplete)
                                                    : Status{};
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    detail::set_lifecycle(w, c, TdLifecycle::kTeardown);
    return {};
  }
};

// Any page in any order, the TDR last; what the S-EPT says of it is neither read nor changed.
struct PhymemPageReclaim {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    Status s = lock_explicit_hpa(w, c, c.in.rcx, k4K, LockMode::kExclusive, Operand::kRcx);
    if (!s.ok()) return s;
    c.page = c.in.rcx >> 12;
    const Pt pt = pamt_type(w, c.page_size, c.page);
    const uint64_t owner = w.store.get(pamt_cell(CellKind::kPamtOwner, c.page_size, c.page));
    if (pt == Pt::kNda || pt == Pt::kRsvd) {
      return {StatusCode::kPageMetadataIncorrect, Operand::kRcx};
    }
    c.out.rcx = static_cast<uint64_t>(pt);
    c.out.rdx = pt == Pt::kTdr ? 0 : owner << 12;
    c.out.r8 = static_cast<uint64_t>(c.page_size);
    if (c.page != page_round(c.page, c.page_size)) {
      return {StatusCode::kOperandInvalid, Operand::kRcx};
    }
    c.value = pt == Pt::kTdr;
    c.td = w.platform.td_of(c.value != 0 ? c.page : owner);
    if (c.td == kNone) return Status(StatusCode::kModuleFatal);
    if (c.value == 0 && !lock_pamt(w, c, k4K, owner, LockMode::kShared)) {
      return {StatusCode::kOperandBusy, Operand::kTdr};
    }
    return {};
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    if (w.lifecycle(c.td) != TdLifecycle::kTeardown) {
      return Status(StatusCode::kLifecycleStateIncorrect);
    }
    if (c.value != 0 && w.get(CellKind::kTdChldcnt, c.td) != 0) {
      return Status(StatusCode::kTdAssociatedPagesExist);
    }
    return {};
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    pamt_free(w, c.page_size, c.page);
    if (c.value == 0) add_chldcnt(w, c, ~pages_of(c.page_size) + 1);
    return {};
  }
};

struct PhymemPageWbinvd {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    const uint64_t hpa = c.in.rcx & ~w.platform.hkid_mask;  // which key does not matter
    return lock_explicit_hpa(w, c, hpa, k4K, LockMode::kShared, Operand::kRcx);
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const uint64_t page = (c.in.rcx & ~w.platform.hkid_mask) >> 12;
    const bool small = c.page_size == k4K || (c.page_size == k2M && w.platform.version.dynamic_pamt);
    return small && pamt_type(w, c.page_size, page) == Pt::kNda
               ? Status{}
               : Status(StatusCode::kPageMetadataIncorrect, Operand::kRcx);
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    const uint64_t page = (c.in.rcx & ~w.platform.hkid_mask) >> 12;
    w.set(CellKind::kPageUnflushed, 0, page, 0);
    return {};
  }
};

}  // namespace mmucheck::model::tdx
