// model/tdx: a vCPU enters and leaves the TD; the TLB of a CPU.
//
// Translations belong to a CPU and a TD, not to a vCPU: a vCPU that comes to another CPU can meet
// what a sibling left there. They are emptied where the module flushes: at VP.ENTER for a new epoch
// (unless the vCPU is newly associated) and when another vCPU ran last on the CPU, and at VP.FLUSH.
// Source: TDX module 1.5, tdh_vp_enter.c, td_exit.c, tdh_vp_flush.c, helpers.c:
// adjust_tlb_tracking_state, associate_vcpu.
#pragma once

#include "model/tdx/prologue.h"

namespace mmucheck::model::tdx {

// The cached entry of a followed page; 0 for none. The place does not depend on which pages are
// followed besides.
constexpr Cell translation_cell(uint32_t lp, uint32_t td, uint64_t gpa) {
  return cell::of(CellKind::kLpTranslation, lp,
                  static_cast<uint64_t>(td) << 40 | (gpa & kSeptHpa) >> 12);
}
constexpr uint64_t translated_gpa(uint64_t index) {
  return (index << 12) & kSeptHpa;
}
template <class W>
void flush_translations(W& w, uint32_t lp, uint32_t td) {
  for (const uint64_t gpa : w.platform.followed) w.store.set(translation_cell(lp, td, gpa), 0);
}

// TDVPR by its address, and its TD's TDR, which the vCPU leads to.
template <class W>
Status lock_tdvpr_and_tdr(W& w, ModuleCall& c, uint64_t tdvpr_hpa, LockMode mode,
                          LockMode tdr = LockMode::kShared) {
  const Status s = lock_explicit_hpa(w, c, tdvpr_hpa, k4K, mode, Operand::kRcx);
  if (!s.ok()) return s;
  const uint64_t page = tdvpr_hpa >> 12;
  const uint32_t vcpu = w.platform.vcpu_of(page);
  if (c.page_size != k4K || pamt_type(w, k4K, page) != Pt::kTdvpr || vcpu == kNone) {
    return {StatusCode::kPageMetadataIncorrect, Operand::kRcx};
  }
  c.vcpu = vcpu;
  c.td = w.platform.vcpus[vcpu].td;
  if (!lock_pamt(w, c, k4K, tdr_page(w, c), tdr)) {
    return {StatusCode::kOperandBusy, Operand::kTdr};
  }
  return {};
}

struct VpEnter {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    if (c.vcpu >= w.platform.vcpus.size()) return {StatusCode::kOperandInvalid, Operand::kRcx};
    const uint64_t tdvpr = w.platform.vcpus[c.vcpu].tdvpr << 12;
    Status s = lock_tdvpr_and_tdr(w, c, tdvpr, LockMode::kShared);
    if (s.ok()) s = check_td_and_lock_op_state(w, c);
    return s;
  }

  // associate_vcpu is a compare and exchange: the second CPU loses.
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const uint64_t assoc = w.get(CellKind::kTdvpsAssoc, c.vcpu);
    if (assoc != 0 && assoc != c.lp + 1) return Status(StatusCode::kVcpuAssociated);
    c.value = assoc == 0;
    if (assoc == 0) {
      w.set(CellKind::kTdvpsAssoc, c.vcpu, 0, c.lp + 1);
      w.add(CellKind::kTdNumAssoc, c.td, 0, 1);
    }
    if (!try_lock(w, c, cell::of(CellKind::kTdEpochLock, c.td), HeldKind::kSharex,
                  epoch_lock_of(c.leaf))) {
      return {StatusCode::kOperandBusy, Operand::kTdEpoch};
    }
    return {};
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    const uint64_t epoch = w.get(CellKind::kTdEpoch, c.td);
    w.add(CellKind::kTdRefcount, c.td, epoch & 1, 1);
    c.flushed_epoch =
        enter_flushes_for_epoch<>(w.get(CellKind::kTdvpsEpoch, c.vcpu), epoch, c.value != 0);
    w.set(CellKind::kTdvpsEpoch, c.vcpu, 0, epoch);
    c.flushed_switch = w.platform.version.flush_on_vcpu_switch &&
                       w.get(CellKind::kLpLastVcpu, c.lp) != c.vcpu + 1;
    w.set(CellKind::kLpLastVcpu, c.lp, 0, c.vcpu + 1);
    if (c.flushed_epoch || c.flushed_switch) flush_translations(w, c.lp, c.td);
    w.set(CellKind::kTdvpsInside, c.vcpu, 0, 1);
    keep_entry_locks(w, c);
    return {};
  }

 private:
  // TDVPR (three entries) and TDR stay locked until the TD exit; op state and epoch do not.
  template <class W>
  static void keep_entry_locks(W& w, ModuleCall& c) {
    while (c.held[c.held_count - 1].cell.kind != CellKind::kPamtLock) release_last(w, c);
    c.held_count = 0;
  }
};

// The part of a TD exit that the memory side sees.
template <class W>
void td_exit(W& w, uint32_t vcpu) {
  const VcpuConfig& v = w.platform.vcpus[vcpu];
  w.add(CellKind::kTdRefcount, v.td, w.get(CellKind::kTdvpsEpoch, vcpu) & 1, ~uint64_t{0});
  w.set(CellKind::kTdvpsInside, vcpu, 0, 0);
  const auto let_go = [&w](int size, uint64_t page) {
    release(w, {pamt_cell(CellKind::kPamtLock, size, page), HeldKind::kHostPriority, false});
  };
  let_go(k4K, w.platform.tds[v.td].tdr);
  for (const int size : {k4K, k2M, k1G}) let_go(size, v.tdvpr);
}

// Its locks alone, of version 1: what a vCPU is made of is set up elsewhere (td_setup.h).
struct VpInit {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    return lock_tdvpr_and_tdr(w, c, c.in.rcx, LockMode::kExclusive, LockMode::kExclusive);
  }
  template <class W>
  static Status check(W&, ModuleCall&) {
    return {};
  }
  template <class W>
  static Status commit(W&, ModuleCall&) {
    return {};
  }
};

struct VpFlush {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    return lock_tdvpr_and_tdr(w, c, c.in.rcx, LockMode::kExclusive);
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    if (w.lifecycle(c.td) != TdLifecycle::kKeysConfigured) {
      return Status(StatusCode::kTdKeysNotConfigured);
    }
    return w.get(CellKind::kTdvpsAssoc, c.vcpu) == c.lp + 1
               ? Status{}
               : Status(StatusCode::kVcpuNotAssociated);
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    flush_translations(w, c.lp, c.td);
    w.set(CellKind::kTdvpsAssoc, c.vcpu, 0, 0);
    w.set(CellKind::kLpLastVcpu, c.lp, 0, 0);
    w.add(CellKind::kTdNumAssoc, c.td, 0, ~uint64_t{0});
    return {};
  }
};

}  // namespace mmucheck::model::tdx
