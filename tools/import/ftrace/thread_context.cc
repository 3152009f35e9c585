#include "tools/import/ftrace/thread_context.h"

#include "checker/trace/event_kinds.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
using trace::PacketClass;
namespace f = trace::f;

constexpr int64_t kRetPfContinue = 0;  // mmu_internal.h: RET_PF_*
constexpr int64_t kRetPfRetry = 1;

constexpr uint32_t bit(Operation op) {
  return 1u << static_cast<uint32_t>(op);
}

constexpr uint32_t kInvalidators = bit(Operation::kSetAttributes) | bit(Operation::kNotifier) |
                                   bit(Operation::kPunchHole) | bit(Operation::kGmemRelease) |
                                   bit(Operation::kGmemInvalidate) | bit(Operation::kZapGfnRange) |
                                   bit(Operation::kInvalidation) | bit(Operation::kDestroyVm);

struct Dependence {
  uint32_t explained_by = 0;               // operations that call this function
  Operation otherwise = Operation::kNone;  // what the thread is in when it comes out of the blue
};

// Callers as in kvm_main.c, guest_memfd.c, x86.c, mmu.c; both kernels.
bool dependence(EventKind kind, Dependence& d) {
  switch (kind) {
    case EventKind::kUnmapGfnRange:
    case EventKind::kMmuUnmapGfnRange:
      d = {kInvalidators | bit(Operation::kSetMemslot), Operation::kRangeUnmap};
      return true;
    case EventKind::kTdpUnmapGfnRange:
      d = {kInvalidators | bit(Operation::kSetMemslot) | bit(Operation::kRangeUnmap),
           Operation::kRangeUnmap};
      return true;
    case EventKind::kInvBegin:
    case EventKind::kInvAdd:
    case EventKind::kInvEnd: d = {kInvalidators, Operation::kInvalidation}; return true;
    case EventKind::kUnmapHvaRange:
      d = {bit(Operation::kNotifier), Operation::kNotifier};
      return true;
    case EventKind::kAgeRange:
    case EventKind::kTestAgeRange:
      d = {bit(Operation::kAge) | bit(Operation::kNotifier), Operation::kNone};
      return true;
    case EventKind::kGmemInvalidate:
    case EventKind::kGmemInvalidateEnd:
      d = {bit(Operation::kPunchHole) | bit(Operation::kGmemRelease) |
               bit(Operation::kGmemInvalidate) | bit(Operation::kDestroyVm),
           Operation::kGmemInvalidate};
      return true;
    case EventKind::kVmSetMemAttributes:
    case EventKind::kPreSetAttr:
    case EventKind::kPostSetAttr:
      d = {bit(Operation::kSetAttributes), Operation::kSetAttributes};
      return true;
    case EventKind::kZapLeafs: d = {bit(Operation::kZapGfnRange), Operation::kNone}; return true;
    case EventKind::kZapAllFast:
      d = {bit(Operation::kSetMemslot), Operation::kZapAllFast};
      return true;
    case EventKind::kMmuZapAllFast:
    case EventKind::kInvalidateAllRoots:
    case EventKind::kZapInvalidatedRoots:
      d = {bit(Operation::kSetMemslot) | bit(Operation::kZapAllFast) | bit(Operation::kDestroyVm),
           Operation::kZapAllFast};
      return true;
    case EventKind::kZapAll:
    case EventKind::kFreeRoots:
    case EventKind::kMmuDestroy:
    case EventKind::kMockReleaseHkid:
      d = {bit(Operation::kDestroyVm), Operation::kNone};
      return true;
    case EventKind::kTrySplit:
      d = {bit(Operation::kSetMemslot), Operation::kDirtyChunk};
      return true;
    case EventKind::kWriteProtectGfn:
      d = {bit(Operation::kDirtyChunk), Operation::kDirtyChunk};
      return true;
    case EventKind::kWrprotSlot:
    case EventKind::kClearDirtySlot:
    case EventKind::kZapCollapsibleKvm:
    case EventKind::kRecoverHuge:
    case EventKind::kCommitMemslot:
      d = {bit(Operation::kSetMemslot), Operation::kNone};
      return true;
    case EventKind::kAllocRoot: d = {bit(Operation::kMmuLoad), Operation::kMmuLoad}; return true;
    default: return false;
  }
}

// Events that begin an operation whenever they come.
Operation started_by(EventKind kind) {
  switch (kind) {
    case EventKind::kSetMemslot: return Operation::kSetMemslot;
    case EventKind::kSetMemAttr: return Operation::kSetAttributes;
    case EventKind::kGmemPunchHole: return Operation::kPunchHole;
    case EventKind::kGmemRelease: return Operation::kGmemRelease;
    case EventKind::kZapGfnRange: return Operation::kZapGfnRange;
    case EventKind::kDestroyVm: return Operation::kDestroyVm;
    case EventKind::kAgeHva:
    case EventKind::kTestAgeHva: return Operation::kAge;
    case EventKind::kNxRecover: return Operation::kNxRecovery;
    case EventKind::kMmuLoad: return Operation::kMmuLoad;
    default: return Operation::kNone;
  }
}

void begin(Operation op, uint32_t vm, ThreadContext& c) {
  c.operation = op;
  c.operation_vm = vm;
  c.nx_by_inference = false;
  c.collapsing = false;
  c.recovering = false;
}

}  // namespace

PacketClass classify(const Event& e, ThreadContext& c) {
  if (c.notifier_ending) {  // kvm_mmu_notifier_invalidate_range_end() calls at most inv_end
    c.operation = c.outer;
    c.operation_vm = 0;
    c.outer = Operation::kNone;
    c.notifier_ending = false;
    if (e.kind == EventKind::kInvEnd) return PacketClass::kObservation;
  }
  if (const Operation op = started_by(e.kind); op != Operation::kNone) {
    begin(op, e.vm, c);
    c.zap_seen = false;
    c.after_commit = false;
    c.mflags = e.kind == EventKind::kSetMemslot ? e.get(f::set_memslot::mflags) : 0;
    return PacketClass::kStimulus;
  }
  switch (e.kind) {
    case EventKind::kMockSetExternal: c.in_external_hook = true; break;
    case EventKind::kMockSetExternalRet: c.in_external_hook = false; break;
    // Behind KVM's back.
    case EventKind::kMockSeptAdd:
    case EventKind::kMockPageAdd:
    case EventKind::kMockPageAug:
    case EventKind::kMockRangeBlock:
    case EventKind::kMockTrack:
    case EventKind::kMockPageRemove:
      return c.in_external_hook ? PacketClass::kObservation : PacketClass::kStimulus;
    case EventKind::kMnInvStart:
      c.outer = c.operation == Operation::kNotifier ? Operation::kNone : c.operation;
      c.operation = Operation::kNotifier;
      c.operation_vm = e.vm;
      return PacketClass::kStimulus;
    case EventKind::kMnInvEnd: c.notifier_ending = true; return PacketClass::kStimulus;
    case EventKind::kSetMemslotRet:
    case EventKind::kSetMemAttrRet:
    case EventKind::kClearDirtyPt: {
      const bool chunk = e.kind == EventKind::kClearDirtyPt;
      const bool ends = !chunk || c.operation == Operation::kDirtyChunk;
      if (ends) begin(Operation::kNone, 0, c);
      return chunk && !ends ? PacketClass::kStimulus : PacketClass::kObservation;
    }
    case EventKind::kZapCollapsible: c.collapsing = true; break;
    default: break;
  }
  Dependence d;
  if (!dependence(e.kind, d)) return trace::kind_info(e.kind).cls;
  const bool same_vm = c.operation_vm == 0 || e.vm == 0 || c.operation_vm == e.vm;
  // kvm_mmu_slot_try_split_huge_pages() splits shared, kvm_mmu_try_split_huge_pages() does not.
  const bool other_caller = e.kind == EventKind::kTrySplit && e.has(f::try_split::shared) &&
                            e.get(f::try_split::shared) == 0;
  const bool explained = same_vm && !other_caller && (d.explained_by & bit(c.operation)) != 0;
  if (!explained && d.otherwise != Operation::kNone) begin(d.otherwise, e.vm, c);
  if (e.kind == EventKind::kRecoverHuge) c.recovering = true;
  return explained ? PacketClass::kObservation : PacketClass::kStimulus;
}

void follow_fault(const Event& e, bool is_td, ThreadContext& c) {
  if (e.kind != EventKind::kIterStart && e.kind != EventKind::kIterRestart) c.walks = 0;
  c.walking = e.kind == EventKind::kIterRestart;
  const auto attempt_ends = [&c, is_td](bool retry) {
    c.mapping = false;
    // KVM_PRE_FAULT_MEMORY, the soft CPU's exit and a TD's violation handler go round again.
    const bool again = retry && (c.fault == FaultKind::kPrefault || is_td);
    if (c.fault != FaultKind::kSoft && !again) c.fault = FaultKind::kNone;
  };
  switch (e.kind) {
    case EventKind::kPageFault:
      if (c.fault != FaultKind::kSoft) c.fault = FaultKind::kExit;
      c.rsvd = (e.get(f::page_fault::error_code) & 8) != 0;
      c.mapping = false;
      break;
    case EventKind::kSoftExit:
      c.fault = FaultKind::kSoft;
      c.rsvd = (e.get(f::soft_exit::error_code) & 8) != 0;
      c.mapping = false;
      break;
    case EventKind::kSoftExitRet:
      c.fault = FaultKind::kNone;
      c.mapping = false;
      break;
    case EventKind::kMapPrivatePfn:
      c.fault = FaultKind::kPrivatePfn;
      c.mapping = false;
      break;
    case EventKind::kFaultinRet:
      if (e.get_signed(f::faultin_ret::ret) != kRetPfContinue) {
        attempt_ends(e.get_signed(f::faultin_ret::ret) == kRetPfRetry);
      }
      break;
    case EventKind::kFaultStaleRet:
      if (e.get(f::fault_stale_ret::stale) != 0) attempt_ends(true);
      break;
    case EventKind::kTdpMap: c.mapping = true; break;
    case EventKind::kTdpMapRet:
      attempt_ends(e.get_signed(f::tdp_map_ret::ret) == kRetPfRetry);
      break;
    case EventKind::kFastPageFault:
      if (e.get(f::fast_page_fault::spurious) != 0 || e.get(f::fast_page_fault::fixed) != 0) {
        attempt_ends(false);
      }
      break;
    case EventKind::kHandleMmioPageFault: attempt_ends(false); break;
    case EventKind::kUserspaceExit:
    case EventKind::kMarker:
    case EventKind::kMmuLoad:
      if (c.fault != FaultKind::kSoft && c.fault != FaultKind::kPrivatePfn) {
        c.fault = FaultKind::kNone;
      }
      break;
    default: break;
  }
}

}  // namespace mmucheck::import
