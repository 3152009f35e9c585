// model/tdx: TDH.MEM.RANGE.BLOCK, RANGE.UNBLOCK, TRACK.
// Source: TDX module 1.5, tdh_mem_range_block.c, tdh_mem_range_unblock.c, tdh_mem_track.c.
#pragma once

#include "model/tdx/prologue.h"

namespace mmucheck::model::tdx {

struct MemRangeBlock : SeptCall {
  template <class W>
  static Status check(W&, ModuleCall& c) {
    if (sept_state_is_any_blocked<>(c.entry)) {
      return with_details(c, c.entry, {StatusCode::kGpaRangeAlreadyBlocked, Operand::kRcx});
    }
    return check_state(c);
  }

  // This one entry, and nothing below it; the epoch goes into the PAMT entry of the page that it
  // points to, without that entry's lock.
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    resolve_page(c);
    commit_entry(w, c);
    w.store.set(pamt_cell(CellKind::kPamtBepoch, c.page_size, c.page),
                w.get(CellKind::kTdEpoch, c.td));
    return {};
  }
};

struct MemRangeUnblock : SeptCall {
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const Status s = check_state(c);
    if (!s.ok()) return s;
    if (tracking_applies(w, c) &&
        refused_as_not_tracked<>(w.op_state(c.td), c.entry, entry_page_tracked(w, c))) {
      return {StatusCode::kTlbTrackingNotDone, w.platform.version.untracked_unblock};
    }
    return {};
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    commit_entry(w, c);
    return {};
  }
};

struct MemTrack {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    Status s = lock_tdr(w, c, c.in.rcx, Operand::kRcx);
    if (s.ok()) s = check_td_and_lock_op_state(w, c);
    if (s.ok() && !try_lock(w, c, cell::of(CellKind::kTdEpochLock, c.td), HeldKind::kSharex,
                            epoch_lock_of(c.leaf))) {
      s = {StatusCode::kOperandBusy, Operand::kTdEpoch};
    }
    return s;
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    return epoch_may_advance<>(w.epoch_and_refcount(c.td))
               ? Status{}
               : Status(StatusCode::kPreviousTlbEpochBusy);
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    w.add(CellKind::kTdEpoch, c.td, 0, 1);
    return {};
  }
};

}  // namespace mmucheck::model::tdx
