// model/tdp: a vCPU of a TD that accepts a page, as often as it takes: TDG.MEM.PAGE.ACCEPT, the EPT
// violation that it ends in where nothing is mapped, KVM's fault, and the way back into the TD.
// Source: tdx_guest: try_accept_one(); tdx.c (tdx_handle_ept_violation).
#pragma once

#include "model/tdp/kvm_fault.h"
#include "model/tdp/kvm_tdx.h"

namespace mmucheck::model {

struct GuestAccept {
  uint8_t pc = 0;
  uint8_t vcpu = 0;
  int8_t level = 1;   // KVM's, of the ACCEPT
  bool again = false;  // the last try was BUSY
  uint64_t gfn = 0;
  RawSeamcall call = {};
  PageFault fault = {};
};

template <class W>
Run guest_accept(W& w, GuestAccept& m) {
  MMU_BEGIN(m);
  while (true) {
    // Others that wait for the epoch's lock leave no trace in its word when it is let go.
    if (m.again && (w.field(CellKind::kTdEpochLock) & tdx::kLockExclusive) != 0) {
      return Run::kBlocked;
    }
    m.call = {};
    m.call.leaf = tdx::Leaf::kPageAccept;
    m.call.vcpu = m.vcpu;
    m.call.level = m.level;
    m.call.gfn = m.gfn;
    MMU_CALL(m, 1, raw_seamcall(w, m.call));
    // A guest tries again on BUSY, KVM on a TD that it could not enter.
    if (w.field(CellKind::kVmBugged) != 0) break;
    m.again = tdx_operand_busy(m.call.call.call.status);
    if (m.again) continue;
    if (m.call.call.call.status.code() != tdx::StatusCode::kTdExitEptViolation) break;
    m.fault = {};
    m.fault.fault.vcpu = m.vcpu;
    m.fault.fault.gfn = m.gfn;
    m.fault.fault.addr = m.gfn << kPageShift;
    m.fault.fault.write = true;
    m.fault.fault.is_private = true;
    MMU_CALL(m, 2, kvm_mmu_page_fault(w, m.fault));
    if (m.fault.faultin < 0) break;  // to user space
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
