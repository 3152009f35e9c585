// model/tdp: what becomes of small mappings when dirty logging of a slot ends. Source: tdp_mmu.c
// (6.12: zap_collapsible_spte_range; 7.x: recover_huge_pages_range, tdp_mmu_make_huge_spte).
#pragma once

#include "model/tdp/roots.h"
#include "model/tdp/set_spte.h"
#include "model/vm/memslot.h"

namespace mmucheck::model {

namespace detail {

// Could a leaf of this entry's level stand here? Never for what reaches over the slot.
template <class W>
bool may_be_huge(W& w, const TdpIter& it, uint32_t slot, uint64_t start, uint64_t end) {
  if (it.level > kMaxHugepageLevel || !is_shadow_present_pte<>(it.old_spte) ||
      is_last_spte<>(it.old_spte, it.level) || gfn_of_slot(w, it.gfn) < start ||
      gfn_of_slot(w, it.gfn) >= end) {
    return false;
  }
  return kvm_mmu_max_mapping_level(w, slot, gfn_of_slot(w, it.gfn), kMaxHugepageLevel, false) >=
         it.level;
}

}  // namespace detail

struct ZapCollapsible {  // one root; read lock
  uint8_t pc = 0;
  uint32_t root = kNoTable;
  uint32_t slot = kNoSlot;
  uint64_t start = 0;
  uint64_t end = 0;
  TdpIter iter = {};
  CondResched resched = {};
  ZapSpteAtomic zap = {};
};

template <class W>
Run zap_collapsible_spte_range(W& w, ZapCollapsible& m) {
  MMU_BEGIN(m);
  m.iter = tdp_iter_walk(w, m.root, kPgLevel2M, m.start);
  while (true) {
    MMU_NEXT_PTE(m, 1, m.iter, walk_end(w, m.root, m.start, m.end));
    while (true) {  // again when the exchange is lost
      m.resched = {};
      MMU_CALL(m, 2, tdp_mmu_iter_cond_resched(w, m.resched, m.iter, false, true));
      if (m.resched.yielded || !detail::may_be_huge(w, m.iter, m.slot, m.start, m.end)) break;
      m.zap = {};
      MMU_CALL(m, 3, tdp_mmu_zap_spte_atomic(w, m.zap, m.iter));
      if (!m.zap.lost) break;
    }
  }
  MMU_END(m);
}

enum class MakeHuge : uint8_t { kMade, kNone, kAgain };

struct MakeHugeSpte {
  uint8_t pc = 0;
  MakeHuge result = MakeHuge::kNone;
  uint64_t huge_spte = 0;
  TdpIter iter = {};
};

// tdp_mmu_make_huge_spte: from the first present leaf below `parent`.
template <class W>
Run tdp_mmu_make_huge_spte(W& w, MakeHugeSpte& m, TdpIter& parent) {
  MMU_BEGIN(m);
  m.result = MakeHuge::kNone;
  {
    const uint32_t child = w.child_table(parent.old_spte, parent.level);
    if (child == kNoTable) return Run::kDone;
    m.iter = tdp_iter_init(w, child, kPgLevel4K, parent.gfn, parent.gfn_bits);
  }
  while (true) {
    MMU_NEXT_PTE(m, 1, m.iter, parent.gfn + pages_per_hpage(parent.level));
    if (!is_shadow_present_pte<>(m.iter.old_spte) ||
        !is_last_spte<>(m.iter.old_spte, m.iter.level)) {
      continue;
    }
    // The parent's iterator decides about progress, or the caller would never get past it.
    if (w.env.need_resched(parent) && parent.next_last_level_gfn != parent.yielded_gfn) {
      m.result = MakeHuge::kAgain;
    } else {
      m.result = MakeHuge::kMade;
      m.huge_spte =
          make_huge_spte<>(w.fmt, m.iter.old_spte, parent.level, w.host.nx_huge_pages);
    }
    break;
  }
  MMU_END(m);
}

struct RecoverRange {  // one root; read lock
  uint8_t pc = 0;
  bool flush = false;
  uint32_t root = kNoTable;
  uint32_t slot = kNoSlot;
  uint64_t start = 0;
  uint64_t end = 0;
  TdpIter iter = {};
  CondResched resched = {};
  MakeHugeSpte make = {};
  SetSpteAtomic set = {};
};

template <class W>
Run recover_huge_pages_range(W& w, RecoverRange& m) {
  MMU_BEGIN(m);
  m.flush = false;
  if (slot_dirty_track_enabled(w, m.slot)) {
    w.warn("MMU-DIRTY-RECOVER");
    return Run::kDone;
  }
  m.iter = tdp_iter_walk(w, m.root, kPgLevel2M, m.start);
  while (true) {
    MMU_NEXT_PTE(m, 1, m.iter, walk_end(w, m.root, m.start, m.end));
    while (true) {  // again when a reschedule is due or the exchange is lost
      m.resched = {};
      MMU_CALL(m, 2, tdp_mmu_iter_cond_resched(w, m.resched, m.iter, m.flush, true));
      if (m.resched.yielded) {
        m.flush = false;
        break;
      }
      if (!detail::may_be_huge(w, m.iter, m.slot, m.start, m.end)) break;
      m.make = {};
      MMU_CALL(m, 3, tdp_mmu_make_huge_spte(w, m.make, m.iter));
      if (m.make.result == MakeHuge::kAgain) continue;
      if (m.make.result == MakeHuge::kNone) break;
      m.set = {};
      MMU_CALL(m, 4, tdp_mmu_set_spte_atomic(w, m.set, m.iter, m.make.huge_spte));
      if (!m.set.lost) m.flush = true;
      if (!m.set.lost || m.set.refused) break;
    }
  }
  if (m.flush) MMU_EMIT(m, 5, ev::Flush{ev::FlushKind::kMemslot, m.start, m.end - m.start, m.slot});
  MMU_END(m);
}

struct CollapseSlot {
  uint8_t pc = 0;
  uint32_t slot = kNoSlot;
  RootIter roots = {};
  ZapCollapsible zap = {};
  RecoverRange recover = {};
};

// kvm_tdp_mmu_zap_collapsible_sptes or kvm_tdp_mmu_recover_huge_pages, by design.
template <class W>
Run collapse_slot(W& w, CollapseSlot& m) {
  MMU_BEGIN(m);
  MMU_EMIT(m, 1, ev::Enter{w.design.collapse == Collapse::kZapCollapsible
                               ? ev::Fn::kZapCollapsible : ev::Fn::kRecoverHuge,
                           kNoTable, m.slot, 0, 0, 0});
  if (!w.locked_for_read()) w.warn("MMU-LOCK-SHARED");
  m.roots = root_iter(kValidRoots, static_cast<int>(slot_get(w, m.slot, SlotField::kAsId)));
  while (true) {
    MMU_NEXT_ROOT(m, 2, m.roots);
    m.zap = {};
    m.recover = {};
    m.zap.root = m.recover.root = m.roots.root;
    m.zap.slot = m.recover.slot = m.slot;
    m.zap.start = m.recover.start = slot_get(w, m.slot, SlotField::kBase);
    m.zap.end = m.recover.end = m.zap.start + slot_get(w, m.slot, SlotField::kNpages);
    if (w.design.collapse == Collapse::kZapCollapsible) {
      MMU_CALL(m, 3, zap_collapsible_spte_range(w, m.zap));
    } else {
      MMU_CALL(m, 4, recover_huge_pages_range(w, m.recover));
    }
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
