// model/tdx: the platform and a TD as the calls that create them would leave them: PAMT entries of
// the reserved pages and of the TD's own, its fields, its vCPUs, an empty S-EPT.
// Those calls (MNG.CREATE .. VP.INIT) are not modelled.
#pragma once

#include "model/tdx/prologue.h"

namespace mmucheck::model::tdx {

struct TdStart {
  TdLifecycle lifecycle = TdLifecycle::kKeysConfigured;
  OpState op_state = OpState::kRunnable;
  uint64_t epoch = 1;
  uint64_t chldcnt = 0;
};

// KVM has seen to a pair of PAMT pages for what it hands in, where they are not static.
template <class W>
void set_up_pamt_pair(W& w, uint64_t page) {
  if (w.platform.version.dynamic_pamt) set_pamt_type(w, k2M, page, Pt::kPamt);
}

template <class W>
void set_up_td(W& w, uint32_t td, const TdStart& start) {
  const TdConfig& config = w.platform.tds[td];
  set_up_pamt_pair(w, config.tdr);
  set_pamt_type(w, k4K, config.tdr, Pt::kTdr);
  w.set(CellKind::kTdLifecycle, td, 0, static_cast<uint64_t>(start.lifecycle));
  w.set(CellKind::kTdOpState, td, 0, static_cast<uint64_t>(start.op_state));
  w.set(CellKind::kTdEpoch, td, 0, start.epoch);
  w.set(CellKind::kTdChldcnt, td, 0, start.chldcnt);
  if (config.sept_root != 0) new_sept_page(w, config.sept_root, 0, config.top_level());
}

// A page that the TD owns without an S-EPT entry: TDCX, TDVPR.
template <class W>
void set_up_td_page(W& w, uint32_t td, uint64_t page, Pt pt) {
  set_up_pamt_pair(w, page);
  pamt_use(w, k4K, page, pt, w.platform.tds[td].tdr);
}

// A vCPU, associated with CPU `lp`; kNone: with none.
template <class W>
void set_up_vcpu(W& w, uint32_t vcpu, uint32_t lp, uint64_t epoch) {
  const VcpuConfig& v = w.platform.vcpus[vcpu];
  set_up_td_page(w, v.td, v.tdvpr, Pt::kTdvpr);
  w.set(CellKind::kTdvpsEpoch, vcpu, 0, epoch);
  w.add(CellKind::kTdNumVcpus, v.td, 0, 1);
  if (lp == kNone) return;
  w.set(CellKind::kTdvpsAssoc, vcpu, 0, uint64_t{lp} + 1);
  w.add(CellKind::kTdNumAssoc, v.td, 0, 1);
}

}  // namespace mmucheck::model::tdx
