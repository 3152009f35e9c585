#include "checker/replay/synthetic/primitive.h"

namespace mmucheck::replay {
namespace {

using namespace model;  // NOLINT: machines by name

LockMode mode_of(bool shared) { return shared ? LockMode::kRead : LockMode::kWrite; }

struct Runner {
  ReplayWorld& w;

  Run operator()(UnmapOp& m) {
    MMU_BEGIN(m);
    MMU_LOCK(m, 20, LockMode::kWrite);
    MMU_CALL(m, 1, kvm_unmap_gfn_range(w, m.unmap));
    if (m.unmap.flush) MMU_EMIT(m, 2, ev::Flush{ev::FlushKind::kAll, 0, 0});
    mmu_unlock(w, LockMode::kWrite);
    MMU_END(m);
  }
  Run operator()(ZapLeafsOp& m) {
    MMU_BEGIN(m);
    MMU_LOCK(m, 21, LockMode::kWrite);
    MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapLeafs, kNoTable, {m.zap.start, m.zap.end, m.zap.flush}});
    MMU_CALL(m, 2, zap_leafs_of_roots(w, m.zap));
    if (m.zap.flush) MMU_EMIT(m, 3, ev::Flush{ev::FlushKind::kAll, 0, 0});
    mmu_unlock(w, LockMode::kWrite);
    MMU_END(m);
  }
  Run operator()(ZapRootOp& m) {
    MMU_BEGIN(m);
    MMU_LOCK(m, 22, mode_of(m.zap.shared));
    MMU_CALL(m, 1, tdp_mmu_zap_root(w, m.zap));
    MMU_EMIT(m, 2, ev::Flush{ev::FlushKind::kAll, 0, 0});
    mmu_unlock(w, mode_of(m.zap.shared));
    MMU_END(m);
  }
  Run operator()(ZapAllOp& m) {
    MMU_BEGIN(m);
    MMU_LOCK(m, 23, LockMode::kWrite);
    MMU_CALL(m, 1, kvm_tdp_mmu_zap_all(w, m.zap));
    MMU_EMIT(m, 2, ev::Flush{ev::FlushKind::kAll, 0, 0});
    mmu_unlock(w, LockMode::kWrite);
    MMU_END(m);
  }
  Run operator()(ZapSpOp& m) {
    const bool shared = w.design.nx_recovery == NxRecovery::kReadLockZapPossibleNx;
    MMU_BEGIN(m);
    MMU_LOCK(m, 24, mode_of(shared));
    if (shared) {
      MMU_CALL(m, 1, kvm_tdp_mmu_zap_possible_nx_huge_page(w, m.zap));
    } else {
      MMU_CALL(m, 2, kvm_tdp_mmu_zap_sp(w, m.zap));
    }
    if (m.zap.zapped) MMU_EMIT(m, 3, ev::Flush{ev::FlushKind::kAll, 0, 0});
    mmu_unlock(w, mode_of(shared));
    MMU_END(m);
  }
  Run operator()(InvalidateRootsOp& m) {
    MMU_BEGIN(m);
    MMU_LOCK(m, 25, LockMode::kWrite);
    w.emit(ev::Enter{ev::Fn::kInvalidateRoots, kNoTable, {m.types}});
    invalidate_roots(w, m.types);
    MMU_STEP(m, 1);
    mmu_unlock(w, LockMode::kWrite);
    MMU_END(m);
  }
  Run operator()(ZapInvalidatedRootsOp& m) {
    MMU_BEGIN(m);
    MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapInvalidatedRoots, kNoTable, {m.zap.shared}});
    MMU_LOCK(m, 26, mode_of(m.zap.shared));
    MMU_CALL(m, 2, kvm_tdp_mmu_zap_invalidated_roots(w, m.zap));
    mmu_unlock(w, mode_of(m.zap.shared));
    MMU_EMIT(m, 3, ev::Return{ev::Fn::kZapInvalidatedRoots, 0});
    MMU_END(m);
  }
  // mmu_lock around one machine.
  template <class Op, class CallF>
  Run locked(Op& m, LockMode mode, CallF call) {
    MMU_BEGIN(m);
    MMU_LOCK(m, 27, mode);
    MMU_CALL(m, 1, call());
    mmu_unlock(w, mode);
    MMU_END(m);
  }
  Run operator()(SplitOp& m) {
    return locked(m, mode_of(m.split.shared),
                  [&] { return kvm_tdp_mmu_try_split_huge_pages(w, m.split); });
  }
  Run operator()(RecoverOp& m) {
    return locked(m, LockMode::kRead, [&] { return collapse_slot(w, m.collapse); });
  }
  Run operator()(DirtySlotOp& m) {
    MMU_BEGIN(m);
    MMU_LOCK(m, 29, LockMode::kRead);
    MMU_CALL(m, 1, dirty_slot(w, m.dirty));
    mmu_unlock(w, LockMode::kRead);
    if (m.dirty.spte_set) {
      MMU_EMIT(m, 2, ev::Enter{ev::Fn::kFlushMemslot, kNoTable, {m.dirty.slot}});
    }
    MMU_END(m);
  }
  Run operator()(WriteProtectOp& m) {
    MMU_BEGIN(m);
    MMU_LOCK(m, 30, LockMode::kWrite);
    if (m.tracks != Tracks::kAsBefore) track(m);
    if (m.tracks == Tracks::kNoMore) {
      mmu_unlock(w, LockMode::kWrite);
      m.pc = 0;
      return Run::kDone;
    }
    MMU_CALL(m, 1, kvm_tdp_mmu_write_protect_gfn(w, m.protect));
    if (m.protect.spte_set) {
      MMU_EMIT(m, 2, ev::Flush{ev::FlushKind::kRange, m.protect.gfn, 1});
    }
    mmu_unlock(w, LockMode::kWrite);
    MMU_END(m);
  }
  // There is no large page where a gfn is tracked.
  void track(const WriteProtectOp& m) {
    const bool on = m.tracks == Tracks::kFromNow;
    const uint32_t slot = m.protect.slot;
    const uint64_t base = slot_get(w, slot, SlotField::kBase);
    w.store.set(cell::of(CellKind::kWriteTrack, slot, m.protect.gfn - base), on);
    for (int level = kPgLevel2M; level <= kMaxHugepageLevel; level++) {
      w.store.add(lpage_cell(slot, level, gfn_to_index(m.protect.gfn, base, level)),
                  on ? 1 : ~uint64_t{0});
    }
  }
  Run operator()(AgeOp& m) {
    const bool locked = w.design.ageing == Ageing::kWriteLockAllRoots;
    MMU_BEGIN(m);
    if (locked) MMU_LOCK(m, 31, LockMode::kWrite);
    MMU_CALL(m, 1, kvm_tdp_mmu_age_gfn_range(w, m.age));
    if (locked) mmu_unlock(w, LockMode::kWrite);
    MMU_END(m);
  }
  Run operator()(RcuRunOp& m) {
    MMU_BEGIN(m);
    // Whoever walks is inside a read-side section; those that begin now need not be waited for, but
    // this waits for them, too.
    const bool walks = w.field(CellKind::kLockReaders) > w.field(CellKind::kRcuLeft);
    if (w.env.lock_steps() && (walks || w.locked_for_write() ||
                               w.field(CellKind::kRcuReaders) != 0)) {
      return Run::kBlocked;
    }
    for (; m.count > 0 && rcu_first(w) != kNoTable; m.count--) rcu_run_callback(w, rcu_first(w));
    MMU_END(m);
  }
  Run operator()(ReapOp& m) {
    return locked(m, LockMode::kRead, [&] { return reap_removed_spt(w, m.reap); });
  }
  Run operator()(HookOp& m) {
    return locked(m, LockMode::kWrite, [&] { return set_external_spte(w, m.hook); });
  }
  Run operator()(FlushOp& m) {
    MMU_BEGIN(m);
    if (m.npages == 0) {
      MMU_EMIT(m, 1, ev::Flush{ev::FlushKind::kAll, 0, 0});
    } else {
      MMU_EMIT(m, 2, ev::Flush{ev::FlushKind::kRange, m.start, m.npages});
    }
    MMU_END(m);
  }
};

}  // namespace

model::Run run_primitive(ReplayWorld& w, Primitive& p) {
  w.env.walks_locked(!std::holds_alternative<AgeOp>(p) ||
                     w.design.ageing == Ageing::kWriteLockAllRoots);
  return std::visit(Runner{w}, p);
}

}  // namespace mmucheck::replay
