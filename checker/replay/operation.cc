#include "checker/replay/operation.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace {

using namespace model;  // NOLINT: one line a machine

Run dirty_log_flush(ReplayWorld& w, DirtyLogFlush& m) {
  MMU_BEGIN(m);
  if (w.env.flush_here()) {  // a dirty ring was reset: no slot to name
    MMU_EMIT(m, 1, ev::Flush{ev::FlushKind::kAll, 0, 0});
  } else {
    MMU_EMIT(m, 2, ev::Enter{ev::Fn::kFlushMemslot, kNoTable, {m.slot}});
  }
  MMU_END(m);
}

struct Runner {
  ReplayWorld& w;

  Run operator()(PageFault& m) { return kvm_mmu_page_fault(w, m); }
  Run operator()(MmuLoad& m) { return kvm_mmu_load(w, m); }
  Run operator()(FreeRoots& m) { return kvm_mmu_free_roots(w, m); }
  Run operator()(MmuDestroy& m) { return kvm_mmu_destroy(w, m); }
  Run operator()(InvalidateRange& m) { return invalidate_range_start(w, m); }
  Run operator()(InvalidateRangeEnd& m) { return invalidate_range_end(w, m); }
  Run operator()(AgeHva& m) { return kvm_age_hva(w, m); }
  Run operator()(SetMemoryRegion& m) { return kvm_set_memory_region(w, m); }
  Run operator()(SetMemAttributes& m) { return kvm_vm_set_mem_attributes(w, m); }
  Run operator()(GmemInvalidate& m) { return kvm_gmem_invalidate(w, m); }
  Run operator()(ZapGfnRange& m) { return kvm_zap_gfn_range(w, m); }
  Run operator()(FlushShadowAll& m) { return kvm_flush_shadow_all(w, m); }
  Run operator()(DestroyVm& m) { return kvm_destroy_vm(w, m); }
  Run operator()(DirtyLogChunk& m) { return locked(m); }
  Run operator()(DirtyLogFlush& m) { return dirty_log_flush(w, m); }
  Run operator()(RecoverNxHugePages& m) { return recover(m); }
  Run operator()(ZapAllFast& m) { return kvm_mmu_zap_all_fast(w, m); }
  Run operator()(MapPrivatePfn& m) { return kvm_tdp_mmu_map_private_pfn(w, m); }
  Run operator()(TdxFinalize& m) { return tdx_td_finalize(w, m); }
  Run operator()(RawSeamcall& m) { return raw_seamcall(w, m); }
  Run operator()(ZeroStepEnter& m) { return vp_enter_zero_step(w, m); }
  Run operator()(GmemRelease& m) { return kvm_gmem_release(w, m); }
  Run operator()(VcpuInit& m) { return tdx_td_vcpu_init(w, m); }
  Run operator()(ReleaseHkid& m) { return tdx_mmu_release_hkid(w, m); }
  Run operator()(GuestAccept& m) { return guest_accept(w, m); }
  Run operator()(GmemConvert& m) { return kvm_gmem_set_attributes(w, m); }

  // Callers that take mmu_lock around one machine and show nothing of it. The ioctls of dirty logs
  // hold slots_lock, too, and find no slot that was deleted before.
  Run locked(DirtyLogChunk& m) {
    if (!m.locked_each) {
      if (slots_lock_held(w) || !w.env.lock_free(true)) return Run::kBlocked;
      if (!slot_in_use(w, m.slot)) return Run::kDone;
      set_slots_lock(w, true);
      mmu_lock(w, LockMode::kWrite);
    }
    m.locked_each = true;
    const Run r = enable_log_dirty_pt_masked(w, m);
    if (r != Run::kDone) return r;
    mmu_unlock(w, LockMode::kWrite);
    set_slots_lock(w, false);
    return r;
  }
  Run recover(RecoverNxHugePages& m) {
    const LockMode mode = w.design.nx_recovery == NxRecovery::kReadLockZapPossibleNx
                              ? LockMode::kRead : LockMode::kWrite;
    if (m.pc == 0) {
      if (!w.env.lock_free(mode == LockMode::kWrite)) return Run::kBlocked;
      mmu_lock(w, mode);
    }
    const Run r = kvm_recover_nx_huge_pages(w, m);
    if (r == Run::kDone) mmu_unlock(w, mode);
    return r;
  }
};

}  // namespace

Run run_operation(Operation& op) {
  // Lockless walks: the fast path of a fault, and ageing where it takes no lock.
  bool locked = true;
  if (const auto* fault = std::get_if<PageFault>(&op.machine)) locked = fault->pc >= 9;
  if (std::holds_alternative<AgeHva>(op.machine)) {
    locked = op.vm->world.design.ageing == Ageing::kWriteLockAllRoots;
  }
  op.vm->env.walks_locked(locked);
  return std::visit(Runner{op.vm->world}, op.machine);
}

bool may_nest(const Operation& outer, K kind) {
  switch (kind) {
    case K::kMnInvStart:
    case K::kMnInvEnd:
    case K::kAgeHva:
    case K::kTestAgeHva: {
      const auto* fault = std::get_if<PageFault>(&outer.machine);
      return fault != nullptr && fault->pc <= 6;  // before or inside faultin
    }
    case K::kFreeRoots:
    case K::kMmuDestroy:
      return std::holds_alternative<DestroyVm>(outer.machine) ||
             std::holds_alternative<MmuDestroy>(outer.machine);  // kvm_mmu_unload
    case K::kMmuLoad: {  // kvm_mmu_reload, before the first page is mapped
      const auto* map = std::get_if<MapPrivatePfn>(&outer.machine);
      return map != nullptr && map->pc == 0;
    }
    case K::kSoftAd: return true;
    default: return false;
  }
}

}  // namespace mmucheck::replay
