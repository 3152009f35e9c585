// model/tdp: a SEAMCALL as KVM makes it: its operands, its steps, what is done about BUSY, and what
// counts as a bug. Source: arch/x86/kvm/vmx/tdx.c (tdh_do_no_vcpus, TDX_BUG_ON), tdx_ops.h.
#pragma once

#include "model/tdp/page_table.h"
#include "model/tdp/tdx_hook.h"
#include "model/tdx/call.h"
#include "model/vm/step.h"

namespace mmucheck::model {

template <class W>
auto tdx_module(W& w) {
  return tdx::ModuleWorld{w.store, *w.platform};
}

// kvm_tdx->state is TD_STATE_RUNNABLE.
template <class W>
bool td_runnable(const W& w) {
  return w.field(CellKind::kTdRunnable) != 0;
}
template <class W>
bool is_hkid_assigned(const W& w) {
  return w.field(CellKind::kHkidAssigned) != 0;
}

// tdx_operand_busy: whatever the operand.
constexpr bool tdx_operand_busy(tdx::Status s) {
  return s.code() == tdx::StatusCode::kOperandBusy;
}

// What KVM does about BUSY: BusyAnswer::kBug is TDX_BUG_ON.
enum class BusyAnswer : uint8_t { kBug, kRetryFault, kSpin, kKickOnce };
constexpr bool populates(tdx::Leaf leaf) {
  return leaf == tdx::Leaf::kMemSeptAdd || leaf == tdx::Leaf::kMemPageAdd ||
         leaf == tdx::Leaf::kMemPageAug;
}
constexpr BusyAnswer answer_to_busy(SeamcallBusy design, tdx::Leaf leaf) {
  const bool loops = design == SeamcallBusy::kBugButTrack && leaf == tdx::Leaf::kMemTrack;
  if (loops) return BusyAnswer::kSpin;
  if (design == SeamcallBusy::kBug || design == SeamcallBusy::kBugButTrack) return BusyAnswer::kBug;
  if (leaf == tdx::Leaf::kPhymemPageWbinvd && design == SeamcallBusy::kKickRetry) {
    return BusyAnswer::kBug;  // tdx_sept_remove_leaf_spte() calls it bare
  }
  if (populates(leaf)) return BusyAnswer::kRetryFault;
  if (design == SeamcallBusy::kKickRetry) return BusyAnswer::kKickOnce;
  return leaf == tdx::Leaf::kMemRangeBlock ? BusyAnswer::kBug : BusyAnswer::kSpin;
}

// A SEAMCALL on the entry of `level` for `gfn`, or on the page `hpa`; 0 and level 0: none.
template <class W>
Seamcall tdh(const W& w, tdx::Leaf leaf, uint64_t gfn, int level, uint64_t hpa) {
  Seamcall m;
  m.gpa = gfn << kPageShift;
  m.level = static_cast<int8_t>(level);
  m.hpa = hpa;
  tdx::ModuleCall& c = m.call;
  c.leaf = leaf;
  const uint64_t tdr = w.platform->tds[0].tdr << kPageShift;
  switch (leaf) {
    case tdx::Leaf::kMemTrack:
    case tdx::Leaf::kMrFinalize:
    case tdx::Leaf::kMngVpflushdone:
    case tdx::Leaf::kMngKeyFreeid: c.in.rcx = tdr; break;
    case tdx::Leaf::kPhymemPageReclaim:
    case tdx::Leaf::kPhymemPamtAdd:
    case tdx::Leaf::kPhymemPamtRemove:
    case tdx::Leaf::kPhymemPageWbinvd: c.in.rcx = hpa; break;
    case tdx::Leaf::kPhymemCacheWb: break;
    case tdx::Leaf::kVpEnter:
    case tdx::Leaf::kVpInit:
    case tdx::Leaf::kVpFlush: break;  // the caller names the vCPU
    default:
      c.in.rcx = m.gpa | static_cast<uint64_t>(level - 1);
      c.in.rdx = tdr;
      c.in.r8 = hpa;
  }
  return m;
}

namespace detail {

// Content and state of an S-EPT entry as RCX and RDX would show them: the HPA, and the
// architectural number of the state in the low byte.
constexpr uint64_t sept_hpa_and_state(uint64_t e, int level) {
  const bool empty = tdx::is_sept_free<>(e) || tdx::is_state<>(e, tdx::SeptEntryState::kRemoved);
  return (empty ? 0 : tdx::sept_hpa<>(e, level)) | tdx::sept_arch_state<>(tdx::sept_state<>(e));
}

template <class W>
void emit_sept_change(W& w, const tdx::ModuleCall& c) {
  if (c.pos.table == kNoTable || !w.store.is_live(c.pos.table)) return;
  constexpr uint64_t locks = tdx::kSeptTdel | tdx::kSeptTdhp;
  const uint64_t now = w.store.get(c.pos.cell()) & ~locks;
  if (now == (c.entry & ~locks)) return;
  const uint64_t gpa = c.gpa & ~(tdx::sept_span(c.pos.level) - 1);
  w.emit(ev::SeptState{gpa, c.pos.level + 1, sept_hpa_and_state(c.entry, c.pos.level),
                       sept_hpa_and_state(now, c.pos.level)});
}

}  // namespace detail

// spin_lock(&kvm_tdx->seamcall_lock), where a waiter is a thread that is blocked.
template <class W>
bool try_seamcall_lock(W& w) {
  if (w.field(CellKind::kSeamcallLock) != 0) return false;
  w.set_field(CellKind::kSeamcallLock, 0, 1);
  return true;
}

// It works on the memory of a TD: TDH.MEM.*, and TDH.MR.EXTEND.
constexpr bool works_on_memory(tdx::Leaf leaf) { return leaf <= tdx::Leaf::kMemTrack; }

// The hooks make it, in which v8 takes its lock: not what the guest does, nor the end of the TD.
constexpr bool belongs_to_hooks(tdx::Leaf leaf) {
  return works_on_memory(leaf) || leaf == tdx::Leaf::kPhymemPageReclaim ||
         leaf == tdx::Leaf::kPhymemPageWbinvd;
}

// The module's phases are steps of their own. What the environment injects (BUSY from somebody who
// is not stepped, a failure that a trace asks for) takes the place of the call.
template <class W>
Run seamcall(W& w, Seamcall& m) {
  const bool locks = w.design.seamcall_lock && !w.design.seamcall_lock_spans_set &&
                     belongs_to_hooks(m.call.leaf) &&
                     (w.design.seamcall_lock_track || m.call.leaf != tdx::Leaf::kMemTrack);
  const bool alone = w.design.seamcalls_serial && works_on_memory(m.call.leaf);
  MMU_BEGIN(m);
  if (locks && !try_seamcall_lock(w)) return Run::kBlocked;
  if (alone && w.store.add(cell::of(CellKind::kMemCalls), 1) > 1) w.warn("TDX-CALL-SERIAL");
  MMU_EMIT(m, 1, ev::Seamcall{m.call.leaf, m.gpa, m.level, m.hpa});
  m.call.status = w.env.injected_status(m.call.leaf);
  if (m.call.status.ok()) {
    while (true) {
      {
        auto module = tdx_module(w);
        if (tdx::step(module, m.call) == Run::kDone) break;
      }
      MMU_STEP(m, 2);
    }
    if (m.call.status.ok()) detail::emit_sept_change(w, m.call);
  }
  if (alone) w.store.add(cell::of(CellKind::kMemCalls), ~uint64_t{0});
  if (locks) w.set_field(CellKind::kSeamcallLock, 0, 0);
  MMU_EMIT(m, 3, ev::SeamcallRet{m.call.leaf, m.call.status.v,
                                 m.call.pos.table == kNoTable ? 0 : m.call.pos.level + 1,
                                 &m.call});
  MMU_END(m);
}

// TDX_BUG_ON: any status but success.
template <class W>
bool tdx_bug_on(W& w, const Seamcall& m) {
  if (m.call.status.ok()) return false;
  w.store.add(cell::of(CellKind::kTdxBugs), 1);
  kvm_bug(w, "TDX-BUG-SEAMCALL");
  return true;
}

// Is a vCPU past its look at wait_for_sept_zap, or in a TDCALL? A kick waits for it.
template <class W>
bool kick_must_wait(const W& w) {
  if (!w.env.lock_steps()) return false;
  for (uint32_t vcpu = 0; vcpu < w.platform->vcpus.size(); vcpu++) {
    if (w.field(CellKind::kVcpuInCall, vcpu) != 0) return true;
  }
  return false;
}

// KVM_REQ_OUTSIDE_GUEST_MODE: returns when every vCPU is out of the guest.
template <class W>
void kick_vcpus_out(W& w) {
  auto module = tdx_module(w);
  for (uint32_t vcpu = 0; vcpu < w.platform->vcpus.size(); vcpu++) {
    if (module.get(CellKind::kTdvpsInside, vcpu) != 0) tdx::td_exit(module, vcpu);
  }
}

namespace detail {

inline void prepare_again(Seamcall& m) {
  const tdx::Registers in = m.call.in;
  const tdx::Leaf leaf = m.call.leaf;
  const bool pamt_pair = m.call.pamt_pair;
  m.pc = 0;
  m.call = {};
  m.call.leaf = leaf;
  m.call.pamt_pair = pamt_pair;
  m.call.in = in;
}

// Of a call that takes something away.
template <class W>
BusyAnswer removal_answer(const W& w, const Seamcall& m) {
  return answer_to_busy(w.design.seamcall_busy, m.call.leaf);
}

}  // namespace detail

// tdh_do_no_vcpus: BUSY once means that a vCPU holds a lock; the second try has none to meet. v19
// spins until REMOVE and TRACK meet no lock: a thread that does is blocked.
template <class W>
Run tdh_do_no_vcpus(W& w, NoVcpus& m) {
  MMU_BEGIN(m);
  MMU_CALL(m, 1, seamcall(w, m.call));
  if (!tdx_operand_busy(m.call.call.status)) {
    // Done.
  } else if (detail::removal_answer(w, m.call) == BusyAnswer::kSpin) {
    detail::prepare_again(m.call);
    m.pc = 1;
    return Run::kBlocked;
  } else if (detail::removal_answer(w, m.call) == BusyAnswer::kKickOnce) {
    if (w.design.kick_barriers != KickBarriers::kNotInKick) {
      w.set_field(CellKind::kWaitForSeptZap, 0, 1);
    }
    MMU_STEP(m, 2);
    if (kick_must_wait(w)) return Run::kBlocked;
    kick_vcpus_out(w);
    if (w.design.kick_barriers == KickBarriers::kNotInKick) {
      MMU_STEP(m, 4);
      w.set_field(CellKind::kWaitForSeptZap, 0, 1);
    }
    detail::prepare_again(m.call);
    MMU_CALL(m, 3, seamcall(w, m.call));
    w.set_field(CellKind::kWaitForSeptZap, 0, 0);
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
