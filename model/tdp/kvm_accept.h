// model/tdp: a guest accepts a page, and KVM handles the EPT violations that TDG.MEM.PAGE.ACCEPT
// meets, until the guest has its answer. Source: tdx.c (tdx_handle_ept_violation), TDX module 1.5:
// tdg_mem_page_accept.c; TDX huge pages v3 13/24 for the level of the violation.
//
// What a guest does with TDX_PAGE_SIZE_MISMATCH, to accept smaller pages, is another operation.
#pragma once

#include "model/tdp/kvm_fault.h"
#include "model/tdp/kvm_tdx.h"
#include "model/tdp/private_split.h"

namespace mmucheck::model {

struct GuestAccept {
  uint8_t pc = 0;
  uint16_t vcpu = 0;
  int8_t level = kPgLevel4K;
  uint8_t tries = 0;
  bool entered = false;  // by this operation
  uint64_t gfn = 0;
  RawSeamcall call = {};
  AcceptLevel accept = {};
  PageFault fault = {};
};

// So often does the guest run the call again: the first try may find no table, the second a page of
// another size, and BUSY may come in between. Where machines are driven step by step it never gives
// up, and runs the call again that was BUSY itself.
inline constexpr uint8_t kAcceptTries = 8;

namespace detail {

// Whoever tries meanwhile changes the lock's word, which would make a state of each try.
template <class W>
bool epoch_is_held(const W& w) {
  return w.env.lock_steps() && (w.field(CellKind::kTdEpochLock) & tdx::kLockExclusive) != 0;
}

inline RawSeamcall call_of_vcpu(tdx::Leaf leaf, const GuestAccept& m) {
  RawSeamcall call;
  call.leaf = leaf;
  call.level = m.level;
  call.vcpu = m.vcpu;
  call.lp = m.vcpu;
  call.gfn = m.gfn;
  return call;
}

}  // namespace detail

template <class W>
Run guest_accept(W& w, GuestAccept& m) {
  MMU_BEGIN(m);
  m.entered = false;
  for (m.tries = 0; m.tries < kAcceptTries;) {
    if (!w.env.lock_steps()) m.tries++;
    if (!vcpu_is_inside(w, m.vcpu)) {
      m.call = detail::call_of_vcpu(tdx::Leaf::kVpEnter, m);
      MMU_CALL(m, 1, raw_seamcall(w, m.call));
      if (w.field(CellKind::kVmBugged) != 0 && !vcpu_is_inside(w, m.vcpu)) break;
      if (!m.call.call.call.status.ok()) {
        MMU_LEFT(m, 6);
        if (detail::epoch_is_held(w)) return Run::kBlocked;
        continue;
      }
      m.entered = true;
    }
    m.call = detail::call_of_vcpu(tdx::Leaf::kPageAccept, m);
    MMU_CALL(m, 2, raw_seamcall(w, m.call));
    if (w.env.lock_steps() && tdx_operand_busy(m.call.call.call.status)) {
      MMU_LEFT(m, 7);
      if (detail::epoch_is_held(w)) return Run::kBlocked;
      continue;
    }
    if (m.call.call.call.status.code() != tdx::StatusCode::kTdExitEptViolation) break;
    m.accept = {};
    m.accept.level = m.level;
    m.accept.gfn = m.gfn;
    MMU_CALL(m, 3, tdx_check_accept_level(w, m.accept));
    if (m.accept.failed) break;
    m.fault = {};
    m.fault.fault.vcpu = m.vcpu;
    m.fault.fault.addr = m.gfn << kPageShift;
    m.fault.fault.gfn = m.gfn;
    m.fault.fault.write = true;
    m.fault.fault.is_private = true;
    MMU_CALL(m, 4, kvm_mmu_page_fault(w, m.fault));
    if (m.fault.faultin < 0 || w.field(CellKind::kVmBugged) != 0) break;
  }
  if (m.entered && vcpu_is_inside(w, m.vcpu)) {
    m.call = detail::call_of_vcpu(tdx::Leaf::kTdExit, m);
    MMU_CALL(m, 5, raw_seamcall(w, m.call));
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
