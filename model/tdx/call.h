// model/tdx: one call as a step machine: step() performs the next of its phases, run_call() all of
// them. What calls have in common at their beginning and end stands here.
#pragma once

#include "model/tdx/guest.h"
#include "model/tdx/lifecycle.h"
#include "model/tdx/mem_data.h"
#include "model/tdx/mem_page.h"
#include "model/tdx/mem_range.h"
#include "model/tdx/mem_sept.h"
#include "model/tdx/mem_size.h"
#include "model/tdx/phymem_pamt.h"
#include "model/vm/step.h"

namespace mmucheck::model::tdx {

namespace detail {

// A TD exit that the guest or the host asks for, without any call.
struct TdExit {
  template <class W>
  static Status acquire(W&, ModuleCall&) {
    return {};
  }
  template <class W>
  static Status check(W&, ModuleCall&) {
    return {};
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    td_exit(w, c.vcpu);
    return {};
  }
};

template <class L, class W>
Status run_phase_of(W& w, ModuleCall& c) {
  switch (c.pc) {
    case CallPhase::kAcquire: return L::acquire(w, c);
    case CallPhase::kCheck: return L::check(w, c);
    default: return L::commit(w, c);
  }
}

template <class W>
Status run_phase(W& w, ModuleCall& c) {
  switch (c.leaf) {
    case Leaf::kMemPageAdd: return run_phase_of<MemPageAdd>(w, c);
    case Leaf::kMemSeptAdd: return run_phase_of<MemSeptAdd>(w, c);
    case Leaf::kMemPageRelocate: return run_phase_of<MemPageRelocate>(w, c);
    case Leaf::kMemPageAug: return run_phase_of<MemPageAug>(w, c);
    case Leaf::kMemRangeBlock: return run_phase_of<MemRangeBlock>(w, c);
    case Leaf::kMemRd:
    case Leaf::kMemWr: return run_phase_of<MemRdWr>(w, c);
    case Leaf::kMemPageDemote: return run_phase_of<MemPageDemote>(w, c);
    case Leaf::kMrExtend: return run_phase_of<MrExtend>(w, c);
    case Leaf::kMemPagePromote: return run_phase_of<MemPagePromote>(w, c);
    case Leaf::kMemSeptRd: return run_phase_of<MemSeptRd>(w, c);
    case Leaf::kMemPageRemove: return run_phase_of<MemPageRemove>(w, c);
    case Leaf::kMemSeptRemove: return run_phase_of<MemSeptRemove>(w, c);
    case Leaf::kMemRangeUnblock: return run_phase_of<MemRangeUnblock>(w, c);
    case Leaf::kMemTrack: return run_phase_of<MemTrack>(w, c);
    case Leaf::kMrFinalize: return run_phase_of<MrFinalize>(w, c);
    case Leaf::kVpEnter: return run_phase_of<VpEnter>(w, c);
    case Leaf::kVpFlush: return run_phase_of<VpFlush>(w, c);
    case Leaf::kVpInit: return run_phase_of<VpInit>(w, c);
    case Leaf::kMngVpflushdone: return run_phase_of<MngVpflushdone>(w, c);
    case Leaf::kMngKeyFreeid: return run_phase_of<MngKeyFreeid>(w, c);
    case Leaf::kPhymemCacheWb: return run_phase_of<PhymemCacheWb>(w, c);
    case Leaf::kPhymemPageReclaim: return run_phase_of<PhymemPageReclaim>(w, c);
    case Leaf::kPhymemPageWbinvd: return run_phase_of<PhymemPageWbinvd>(w, c);
    case Leaf::kPhymemPamtAdd: return run_phase_of<PhymemPamtAdd>(w, c);
    case Leaf::kPhymemPamtRemove: return run_phase_of<PhymemPamtRemove>(w, c);
    case Leaf::kPageAccept: return run_phase_of<PageAccept>(w, c);
    case Leaf::kPageAttrRd: return run_phase_of<PageAttrRd>(w, c);
    case Leaf::kPageAttrWr: return run_phase_of<PageAttrWr>(w, c);
    case Leaf::kGuestAccess: return run_phase_of<GuestAccess>(w, c);
    case Leaf::kTdExit: return run_phase_of<TdExit>(w, c);
  }
  return {};
}

// Leaves that answer with an S-EPT entry or a page in RCX and RDX: 0 unless they say otherwise.
constexpr bool clears_rcx_and_rdx(Leaf leaf) {
  return leaf_info(leaf).states != 0 && leaf < Leaf::kPageAccept;
}

// P0: the version, and the registers that hold nothing yet. Only leaves that have a version 1 look
// at it themselves; for the others the dispatcher does, and no register changes.
inline Status begin_call(ModuleCall& c) {
  const LeafInfo& info = leaf_info(c.leaf);
  const Status bad_version(StatusCode::kOperandInvalid, Operand::kRax);
  c.out = c.in;
  if (info.max_version == 0 && c.version > 0) return bad_version;
  if (clears_rcx_and_rdx(c.leaf)) c.out.rcx = c.out.rdx = 0;
  if (c.leaf == Leaf::kMemRd || c.leaf == Leaf::kMemWr) c.out.r8 = 0;
  if (c.leaf == Leaf::kPhymemPageReclaim) c.out = {};
  const bool frees_l2_pages = c.leaf == Leaf::kMemPagePromote || c.leaf == Leaf::kMemSeptRemove;
  if (frees_l2_pages && c.version > 0) c.out.r9 = c.out.r10 = c.out.r11 = kNullPa;
  if (c.leaf == Leaf::kMemSeptAdd && c.version > 0) {
    for (uint64_t* r : {&c.out.r8, &c.out.r9, &c.out.r10, &c.out.r11}) *r = MemSeptAdd::page_of(*r);
  }
  return c.version > info.max_version ? bad_version : Status{};
}

template <class W>
void end_call(W& w, ModuleCall& c) {
  if (c.children_locked > 0) MemPagePromote::release_children(w, c);
  release_all(w, c);
  const bool exits = c.status.code() == StatusCode::kTdExitEptViolation;
  // A trace may have a guest's calls without the VP.ENTER before them.
  if (exits && w.get(CellKind::kTdvpsInside, c.vcpu) != 0) td_exit(w, c.vcpu);
  const bool attr = c.leaf == Leaf::kPageAttrRd || c.leaf == Leaf::kPageAttrWr;
  if (attr && !exits && !c.status.ok()) c.out.rcx = c.out.rdx = 0;
}

}  // namespace detail

// The next phase of the call. kDone: c.status and c.out are its answer.
template <class W>
Run step(W& w, ModuleCall& c) {
  if (c.pc == CallPhase::kDone) return Run::kDone;
  if (c.pc == CallPhase::kRelease) {
    detail::end_call(w, c);
    c.pc = CallPhase::kDone;
    return Run::kDone;
  }
  if (c.pc == CallPhase::kAcquire) c.status = detail::begin_call(c);
  if (c.status.ok()) c.status = detail::run_phase(w, c);
  const bool last = c.pc == CallPhase::kCommit || !c.status.ok();
  c.pc = last ? CallPhase::kRelease : static_cast<CallPhase>(static_cast<int>(c.pc) + 1);
  return Run::kRan;
}

// Runs the call to its end, with nothing in between.
template <class W>
void run_call(W& w, ModuleCall& c) {
  while (step(w, c) != Run::kDone) {
  }
}

}  // namespace mmucheck::model::tdx
