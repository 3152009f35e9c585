#include "checker/replay/missing_probe.h"

#include <initializer_list>

#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;

namespace {

bool has(const trace::KindSet& kinds, K kind) { return kinds.test(static_cast<size_t>(kind)); }

bool any(K kind, std::initializer_list<K> of) {
  for (const K each : of) {
    if (each == kind) return true;
  }
  return false;
}

std::string_view first_absent(const trace::KindSet& kinds, std::initializer_list<K> wanted) {
  for (const K kind : wanted) {
    if (!has(kinds, kind)) return trace::kind_name(kind);
  }
  return {};
}

bool zaps_nx_under_read_lock(const VmModel& vm) {
  return vm.world.design.nx_recovery == model::NxRecovery::kReadLockZapPossibleNx;
}

// The recovery worker takes a table away; its entry is all that shows of it.
bool removes_nx_table(const Surprise& s) {
  if (s.vm == nullptr || s.vm->world.field(model::CellKind::kNxHead) == 0) return false;
  const bool cmpxchg = s.event->kind == K::kCmpxchgSpte;
  const uint64_t before = s.event->get(cmpxchg ? size_t{f::cmpxchg_spte::old_spte}
                                               : size_t{f::changed_spte::old_spte});
  const uint64_t after = s.event->get(cmpxchg ? size_t{f::cmpxchg_spte::new_spte}
                                              : size_t{f::changed_spte::new_spte});
  return model::is_shadow_present_pte<>(before) && !model::is_shadow_present_pte<>(after);
}

// Ranges are unmapped for a notifier, an attribute, a hole in a file, kvm_zap_gfn_range().
std::string_view missing_invalidation(const trace::KindSet& kinds, const VmModel* vm) {
  std::string_view name = first_absent(kinds, {K::kMnInvStart});
  if (name.empty() && vm != nullptr && vm->world.vm.has_private_mem) {
    name = first_absent(kinds, {K::kSetMemAttr, K::kGmemPunchHole, K::kGmemRelease});
  }
  return name.empty() ? first_absent(kinds, {K::kZapGfnRange}) : name;
}

// What a thread without an operation is seen to do may be the first that shows of one whose own
// event is missing. What can only come later in it needs a start that was seen.
std::string_view missing_start(const trace::KindSet& kinds, const Surprise& s) {
  const VmModel* vm = s.vm;
  switch (s.event->kind) {
    case K::kInvBegin:
    case K::kInvAdd: return missing_invalidation(kinds, vm);
    case K::kMmuUnmapGfnRange:
    case K::kUnmapGfnRange:
    case K::kTdpUnmapGfnRange:
    case K::kZapLeafsRoot:
    case K::kZapLeafs:
      if (has(kinds, K::kInvBegin)) return {};  // comes before
      return missing_invalidation(kinds, vm);
    case K::kInvEnd: return first_absent(kinds, {K::kMnInvEnd});
    case K::kVmSetMemAttributes:
    case K::kPreSetAttr:
    case K::kPostSetAttr:
    case K::kSetMemAttrRet: return first_absent(kinds, {K::kSetMemAttr});
    case K::kGmemInvalidate: return first_absent(kinds, {K::kGmemPunchHole, K::kGmemRelease});
    case K::kGmemInvalidateEnd: return first_absent(kinds, {K::kGmemInvalidate});
    case K::kPutRoot: return first_absent(kinds, {K::kFreeRoots, K::kDestroyVm});
    case K::kZapAll:
    case K::kInvalidateAllRoots:
    case K::kZapInvalidatedRoots:
    case K::kZapInvalidatedRootsRet: return first_absent(kinds, {K::kDestroyVm});
    case K::kZapRoot: return first_absent(kinds, {K::kZapAll, K::kDestroyVm});
    case K::kMmuZapAllFast:
      // The probe inside it needs a build that does not inline what is probed.
      if (!has(kinds, K::kCmpxchgSpte) && !has(kinds, K::kMmuDestroy)) return {};
      return first_absent(kinds, {K::kZapAllFast});
    case K::kIterStart:
    case K::kSplitRoot:
    case K::kTrySplit:
    case K::kWriteProtectGfn: {
      if (vm == nullptr || vm->world.field(model::CellKind::kDirtyLoggingSlots) == 0) return {};
      const std::string_view name = first_absent(kinds, {K::kClearDirtyPt});
      return name.empty() && s.event->kind == K::kSplitRoot ? first_absent(kinds, {K::kTrySplit})
                                                            : name;
    }
    case K::kZapNx:
    case K::kZapSp: {
      // A batch that was interrupted goes on after the yield.
      const std::string_view name = first_absent(kinds, {K::kNxRecover});
      if (!name.empty() || vm == nullptr) return name;
      return first_absent(kinds, {zaps_nx_under_read_lock(*vm) ? K::kYieldRead : K::kYieldWrite});
    }
    case K::kCmpxchgSpte:
    case K::kChangedSpte:
      if (!removes_nx_table(s)) return {};
      return first_absent(kinds, {zaps_nx_under_read_lock(*vm) ? K::kZapNx : K::kZapSp});
    default: return {};
  }
}

// kvm_mmu_slot_apply_flags(): did the update switch the slot's dirty log?
bool switches_log(const model::SetMemoryRegion& m) {
  return m.change == model::SlotChange::kFlagsOnly && (m.pc == 6 || m.pc == 7) &&
         ((m.old_flags ^ m.region.flags) & model::kMemLogDirtyPages) != 0;
}

std::string_view missing_in_update(const trace::KindSet& kinds, const Surprise& s) {
  const auto& m = std::get<model::SetMemoryRegion>(s.op->machine);
  if (!switches_log(m)) return {};
  // Nothing after the commit: pages count as dirty from the start. It takes both to see that.
  if ((m.region.flags & model::kMemLogDirtyPages) != 0) {
    return first_absent(kinds, {K::kCommitMemslot, K::kSetMemslotRet});
  }
  // The caller's event comes whenever a log is switched off, so it was not probed. What the host
  // maps huge is looked for inside it only.
  if (s.op->vm->world.design.collapse == model::Collapse::kRecoverHuge) {
    return first_absent(kinds, {K::kRecoverHuge});
  }
  const std::string_view name = first_absent(kinds, {K::kZapCollapsible});
  return name.empty() && s.event->kind == K::kFlushAll ? first_absent(kinds, {K::kFlushRange})
                                                       : name;
}

// The probe that tells when a walk of the operation drops mmu_lock; kNone: none of them does.
K yield_probe(const Operation& op) {
  const model::Design& design = op.vm->world.design;
  if (const auto* range = std::get_if<model::InvalidateRange>(&op.machine)) {
    return range->may_block ? K::kYieldWrite : K::kNone;
  }
  if (const auto* update = std::get_if<model::SetMemoryRegion>(&op.machine)) {
    const bool unmaps = update->pc == 3 || update->pc == 4;
    return unmaps ? K::kYieldWrite : K::kYieldRead;
  }
  if (const auto* end = std::get_if<model::DestroyVm>(&op.machine)) {
    const bool shared = design.vm_destroy == model::VmDestroyZap::kSharedSilentInvalidate;
    return end->pc >= 3 && shared ? K::kYieldRead : K::kYieldWrite;
  }
  if (std::holds_alternative<model::RecoverNxHugePages>(op.machine)) {
    return zaps_nx_under_read_lock(*op.vm) ? K::kYieldRead : K::kYieldWrite;
  }
  if (std::holds_alternative<model::ZapAllFast>(op.machine)) return K::kYieldRead;
  const bool writes = std::holds_alternative<model::SetMemAttributes>(op.machine) ||
                      std::holds_alternative<model::GmemInvalidate>(op.machine) ||
                      std::holds_alternative<model::ZapGfnRange>(op.machine) ||
                      std::holds_alternative<model::FlushShadowAll>(op.machine) ||
                      std::holds_alternative<model::DirtyLogChunk>(op.machine);
  return writes ? K::kYieldWrite : K::kNone;
}

// A walk that yielded is seen to restart, or to flush before. It yields between entries: never
// before its own restart, never inside a change or the removal of what a change cut off.
std::string_view missing_yield(const trace::KindSet& kinds, const Surprise& s) {
  if (!any(s.event->kind, {K::kIterRestart, K::kFlushAll})) return {};
  if (!any(s.before, {K::kIterRestart, K::kSpteChanged, K::kChangedSpte, K::kCmpxchgSpteRet,
                      K::kRemovedPt, K::kPrepareZapPage, K::kSplitHugePage, K::kFlushAll})) {
    return {};
  }
  if (any(s.expected, {K::kSpteChanged, K::kCmpxchgSpteRet, K::kRemovedPt, K::kPrepareZapPage}) ||
      (s.expected == K::kChangedSpte && s.before == K::kCmpxchgSpteRet)) {
    return {};
  }
  const K probe = yield_probe(*s.op);
  // Recovery yields between tables, where no change is due.
  if (std::holds_alternative<model::RecoverNxHugePages>(s.op->machine) &&
      any(s.expected, {K::kChangedSpte, K::kCmpxchgSpte})) {
    return {};
  }
  return probe == K::kNone ? std::string_view() : first_absent(kinds, {probe});
}

std::string_view missing_in_fault(const trace::KindSet& kinds, const Surprise& s) {
  if (s.values_differ) {
    // When an update takes effect for MMIO generations, and when a fast fault looks at its entry.
    const bool fast = s.event->kind == K::kFastPageFault;
    return fast ? first_absent(kinds, {K::kIterRestart, K::kCommitMemslot})
                : first_absent(kinds, {K::kCommitMemslot});
  }
  // get_user_pages() runs notifiers in the thread of the fault.
  if (!any(s.expected, {K::kFaultinRet, K::kGmemGetPfn})) return {};
  if (s.event->kind == K::kInvBegin) return first_absent(kinds, {K::kMnInvStart});
  if (s.event->kind == K::kInvEnd) return first_absent(kinds, {K::kMnInvEnd});
  return {};
}

// Nothing tells that the operation is over, so what comes may be another one.
bool may_be_over(const Operation& op) {
  const auto* fault = std::get_if<model::PageFault>(&op.machine);
  if (fault != nullptr) {
    return fault->fault.prefetch && fault->pc >= 7 && fault->ret == model::RetPf::kRetry;
  }
  return std::holds_alternative<DirtyLogFlush>(op.machine);
}

}  // namespace

bool full_engine_can(const trace::KindSet& kinds) {
  for (const K kind : {K::kChangedSpte, K::kTdpMap, K::kInitSp, K::kIterStart, K::kMmuLoad,
                       K::kAllocRoot, K::kFaultinRet, K::kFaultStaleRet, K::kTdpMapRet, K::kInitVm,
                       K::kSetMemslot, K::kSpteRequested}) {
    if (!has(kinds, kind)) return false;
  }
  // Half of a pair; or the end of an access whose fault is not told of.
  return has(kinds, K::kInvBegin) <= has(kinds, K::kInvEnd) &&
         has(kinds, K::kCmpxchgSpteRet) == has(kinds, K::kCmpxchgSpte) &&
         has(kinds, K::kSoftExit) == has(kinds, K::kSoftExitRet) &&
         has(kinds, K::kSoftExit) <= has(kinds, K::kPageFault);
}

std::string_view missing_probe(const trace::KindSet& kinds, const Surprise& s) {
  // A removed table that is freed while it is in use: the remover's own event is still to come.
  if (s.event->kind == K::kCallbackRun) return first_absent(kinds, {K::kPutRoot, K::kFlushAll});
  if (s.op == nullptr) return s.values_differ ? std::string_view() : missing_start(kinds, s);
  const Machine& machine = s.op->machine;
  // Each of these shows the event by itself, so its absence says that it was not probed.
  if (std::holds_alternative<model::MmuLoad>(machine)) {
    return first_absent(kinds, {K::kAllocRootRet});  // when the root can be found by others
  }
  if (const auto* age = std::get_if<model::AgeHva>(&machine)) {
    return age->test_only ? first_absent(kinds, {K::kTestAgeRange, K::kTestAgeRangeRet})
                          : first_absent(kinds, {K::kAgeRangeRet});
  }
  std::string_view name;
  if (std::holds_alternative<model::GmemInvalidate>(machine)) {
    name = first_absent(kinds, {K::kGmemInvalidate});  // names the file
  } else if (std::holds_alternative<model::SetMemoryRegion>(machine)) {
    name = missing_in_update(kinds, s);
  } else if (std::holds_alternative<model::PageFault>(machine)) {
    name = missing_in_fault(kinds, s);
  } else if (std::holds_alternative<model::DestroyVm>(machine) && s.event->kind == K::kPutRoot) {
    name = first_absent(kinds, {K::kFreeRoots});
  }
  if (name.empty() && !s.values_differ) name = missing_yield(kinds, s);
  if (name.empty() && !s.values_differ && may_be_over(*s.op)) name = missing_start(kinds, s);
  return name;
}

}  // namespace mmucheck::replay
