// model/tdp: eager page splitting. Source: tdp_mmu.c (tdp_mmu_split_huge_pages_root,
// kvm_tdp_mmu_try_split_huge_pages).
//
// The lock is dropped to allocate, which restarts the walk; a failed allocation gives up this root
// and all further ones.
#pragma once

#include "model/tdp/link.h"
#include "model/tdp/roots.h"
#include "model/vm/memslot.h"

namespace mmucheck::model {

struct SplitRoot {
  uint8_t pc = 0;
  bool shared = false;
  bool failed = false;  // -ENOMEM
  int8_t target_level = 1;
  uint32_t root = kNoTable;
  uint32_t sp = kNoTable;
  uint64_t start = 0;
  uint64_t end = 0;
  TdpIter iter = {};
  CondResched resched = {};
  SplitHugePage split = {};
};

template <class W>
Run tdp_mmu_split_huge_pages_root(W& w, SplitRoot& m) {
  MMU_BEGIN(m);
  m.failed = false;
  m.sp = kNoTable;
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kSplitRoot, m.root, m.start, m.end,
                           static_cast<uint64_t>(m.target_level), m.shared});
  m.iter = tdp_iter_walk(w, m.root, m.target_level + 1, m.start);
  while (true) {
    MMU_NEXT_PTE(m, 2, m.iter, walk_end(w, m.root, m.start, m.end));
    while (true) {  // again when the split is lost
      m.resched = {};
      MMU_CALL(m, 3, tdp_mmu_iter_cond_resched(w, m.resched, m.iter, false, m.shared));
      if (m.resched.yielded || !is_shadow_present_pte<>(m.iter.old_spte) ||
          !is_large_pte<>(m.iter.old_spte)) {
        break;
      }
      if (m.sp == kNoTable) {
        mmu_unlock(w, m.shared ? LockMode::kRead : LockMode::kWrite);
        w.env.before(Point::kUnlocked, kNoTable, 0);
        m.sp = tdp_mmu_alloc_sp(w, ev::TableKind::kSplit);
        if (m.sp != kNoTable && w.is_mirror(m.root)) kvm_mmu_alloc_external_spt(w, m.sp);
        MMU_STEP(m, 4);
        if (!w.env.lock_free(!m.shared)) return Run::kBlocked;
        mmu_lock(w, m.shared ? LockMode::kRead : LockMode::kWrite);
        if (m.sp == kNoTable) {
          m.failed = true;
          MMU_EMIT(m, 5, ev::SplitHugePage{m.iter.gfn, m.iter.old_spte, m.iter.level, -12});
          m.pc = 0;
          return Run::kDone;
        }
        m.iter.yielded = true;
        break;
      }
      tdp_mmu_init_child_sp(w, m.sp, m.iter);
      MMU_STEP(m, 6);
      MMU_EMIT(m, 7, ev::GetPage{m.sp, m.iter.gfn, w.role(m.sp)});
      m.split = {};
      MMU_CALL(m, 8, tdp_mmu_split_huge_page(w, m.split, m.iter, m.sp, m.shared));
      if (!m.split.lost) {
        m.sp = kNoTable;
        break;
      }
    }
  }
  if (m.sp != kNoTable) tdp_mmu_free_unused_sp(w, m.sp);
  MMU_END(m);
}

struct TrySplit {
  uint8_t pc = 0;
  bool shared = false;
  int8_t target_level = 1;
  uint32_t slot = kNoSlot;
  uint64_t start = 0;
  uint64_t end = 0;
  RootIter roots = {};
  SplitRoot split = {};
};

// kvm_tdp_mmu_try_split_huge_pages.
template <class W>
Run kvm_tdp_mmu_try_split_huge_pages(W& w, TrySplit& m) {
  MMU_BEGIN(m);
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kTrySplit, kNoTable, m.start, m.end,
                           static_cast<uint64_t>(m.target_level), m.shared, m.slot});
  if (m.shared ? !w.locked_for_read() : !w.locked_for_write()) w.warn("MMU-LOCK-MODE");
  m.roots = root_iter(kValidRoots, static_cast<int>(slot_get(w, m.slot, SlotField::kAsId)));
  while (true) {
    MMU_NEXT_ROOT(m, 2, m.roots);
    m.split = {};
    m.split.root = m.roots.root;
    m.split.start = m.start;
    m.split.end = m.end;
    m.split.target_level = m.target_level;
    m.split.shared = m.shared;
    MMU_CALL(m, 3, tdp_mmu_split_huge_pages_root(w, m.split));
    if (m.split.failed) {
      put_root(w, m.roots.root);
      MMU_STEP(m, 4);
      break;
    }
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
