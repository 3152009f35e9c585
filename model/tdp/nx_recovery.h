// model/tdp: recovery of huge pages that the NX workaround had split. Source: mmu.c
// (kvm_recover_nx_huge_pages; 6.12 under the write lock, 7.x under the read lock).
#pragma once

#include "model/tdp/zap.h"
#include "model/vm/memslot.h"

namespace mmucheck::model {

struct RecoverNxHugePages {
  uint8_t pc = 0;
  bool flush = false;
  uint64_t ratio = 0;   // nx_huge_pages_recovery_ratio; 0: nothing is zapped
  bool counted = true;  // false: the environment says when the batch ends
  uint64_t to_zap = 0;
  uint32_t sp = kNoTable;
  ZapSp zap = {};
};

namespace detail {

// Is the table's region in a slot whose dirty log is on? Such pages come back small at once.
template <class W>
bool sp_dirty_logging_enabled(const W& w, uint32_t sp) {
  if (w.field(CellKind::kDirtyLoggingSlots) == 0) return false;
  const uint32_t slot =
      gfn_to_memslot(w, role_as_id(w.role(sp)), gfn_of_slot(w, w.field(CellKind::kSpGfn, sp)));
  return slot_dirty_track_enabled(w, slot);
}

}  // namespace detail

// kvm_recover_nx_huge_pages with mmu_lock held in the design's mode.
template <class W>
Run kvm_recover_nx_huge_pages(W& w, RecoverNxHugePages& m) {
  const bool shared = w.design.nx_recovery == NxRecovery::kReadLockZapPossibleNx;
  MMU_BEGIN(m);
  m.flush = false;
  m.to_zap = !m.counted ? ~uint64_t{0}
             : m.ratio == 0 ? 0
                          : (w.field(shared ? CellKind::kNxCount : CellKind::kNxSplits) + m.ratio -
                             1) / m.ratio;
  for (; m.to_zap > 0; m.to_zap--) {
    if (w.field(CellKind::kNxHead) == 0) break;
    m.sp = static_cast<uint32_t>(w.field(CellKind::kNxHead) - 1);
    // A page that only leaves the list is not seen: it goes when one behind it is zapped.
    if (!w.env.nx_goes_on(!detail::sp_dirty_logging_enabled(w, m.sp))) break;
    if (!w.field(CellKind::kSpNx, m.sp)) w.warn("MMU-NX-FLAG");
    m.zap = {};
    m.zap.sp = m.sp;
    if (shared) {
      unaccount_nx_huge_page(w, m.sp);
      if (!detail::sp_dirty_logging_enabled(w, m.sp)) {
        MMU_CALL(m, 1, kvm_tdp_mmu_zap_possible_nx_huge_page(w, m.zap));
        m.flush |= m.zap.zapped;
      }
    } else if (detail::sp_dirty_logging_enabled(w, m.sp)) {
      unaccount_nx_huge_page(w, m.sp);
    } else {
      MMU_CALL(m, 2, kvm_tdp_mmu_zap_sp(w, m.zap));
      m.flush |= m.zap.zapped;
    }
    if (w.store.is_live(m.sp) && w.field(CellKind::kSpNx, m.sp)) w.warn("MMU-NX-UNTRACK");
    {
      TdpIter nowhere;
      nowhere.next_last_level_gfn = ~uint64_t{0};
      if (!w.env.need_resched(nowhere)) continue;
    }
    if (m.flush && w.design.nx_recovery_flush == NxRecoveryFlush::kBeforeUnlock) {
      MMU_EMIT(m, 3, ev::Flush{ev::FlushKind::kAll, 0, 0});
      m.flush = false;
    }
    mmu_lock_drop(w, !shared, true);
    w.emit(ev::Yield{!shared});
    w.env.before(Point::kUnlocked, kNoTable, 0);
    MMU_STEP(m, 4);
    if (!w.env.lock_free(!shared)) return Run::kBlocked;
    mmu_lock_drop(w, !shared, false);
  }
  if (m.flush && w.design.nx_recovery_flush != NxRecoveryFlush::kNever) {
    MMU_EMIT(m, 5, ev::Flush{ev::FlushKind::kAll, 0, 0});
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
