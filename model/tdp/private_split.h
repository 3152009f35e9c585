// model/tdp: pending: leafs of mirror roots that are split before a part of what they map goes, or
// because the guest accepts smaller pages. Source: TDX huge pages v3 (20260106101646.24809) 13, 16;
// RFC v5 (20260129011517.3545883) 41, 43..45.
//
// All of it is done with mmu_lock held for write, which is dropped to allocate a table.
#pragma once

#include "model/tdp/kvm_unmap.h"
#include "model/tdp/split.h"

namespace mmucheck::model {

struct SplitPrivate {
  uint8_t pc = 0;
  bool failed = false;  // -ENOMEM
  int8_t target_level = kPgLevel4K;
  int16_t as_id = 0;
  uint64_t start = 0;
  uint64_t end = 0;
  RootIter roots = {};
  SplitRoot split = {};
};

// Every leaf of a valid mirror root that maps a gfn of [start, end) gets target_level at most.
template <class W>
Run split_private_leafs(W& w, SplitPrivate& m) {
  MMU_BEGIN(m);
  m.failed = false;
  m.roots = root_iter(kMirrorRoots, m.as_id);
  while (true) {
    MMU_NEXT_ROOT(m, 1, m.roots);
    m.split = {};
    m.split.root = m.roots.root;
    m.split.start = m.start;
    m.split.end = m.end;
    m.split.target_level = m.target_level;
    MMU_CALL(m, 2, tdp_mmu_split_huge_pages_root(w, m.split));
    if (m.split.failed) {
      m.failed = true;
      put_root(w, m.roots.root);
      MMU_STEP(m, 3);
      break;
    }
  }
  MMU_END(m);
}

struct SplitBoundary {
  uint8_t pc = 0;
  bool failed = false;
  bool tail = false;
  int16_t as_id = 0;
  uint64_t start = 0;
  uint64_t end = 0;
  SplitPrivate split = {};
};

// The 2M blocks that `start` or `end` divides.
template <class W>
Run split_boundary_leafs(W& w, SplitBoundary& m) {
  MMU_BEGIN(m);
  m.failed = false;
  for (m.tail = false;; m.tail = true) {
    m.split = {};
    m.split.as_id = m.as_id;
    m.split.start = gfn_round_for_level<>(m.tail ? m.end : m.start, kPgLevel2M);
    m.split.end = m.split.start + pages_per_hpage(kPgLevel2M);
    if (m.split.start != (m.tail ? m.end : m.start) &&
        !(m.tail && m.start > m.split.start)) {
      MMU_CALL(m, 1, split_private_leafs(w, m.split));
      m.failed = m.split.failed;
    }
    if (m.tail || m.failed) break;
  }
  MMU_END(m);
}

struct SplitParts {
  uint8_t pc = 0;
  bool failed = false;
  SlotWalk slots = {};
  SplitBoundary split = {};
};

// The same for each slot that a range lies in, in a section of mmu_lock of its own.
template <class W>
Run kvm_gmem_split_private(W& w, SplitParts& m) {
  MMU_BEGIN(m);
  m.failed = false;
  m.slots.started = false;
  while (!m.failed && next_slot_part(w, m.slots)) {
    m.split = {};
    m.split.as_id = static_cast<int16_t>(slot_get(w, m.slots.part.slot, SlotField::kAsId));
    m.split.start = m.slots.part.start;
    m.split.end = m.slots.part.end;
    MMU_LOCK(m, 20, LockMode::kWrite);
    MMU_CALL(m, 1, split_boundary_leafs(w, m.split));
    m.failed = m.split.failed;
    mmu_unlock(w, LockMode::kWrite);
    MMU_LEFT(m, 21);
  }
  MMU_END(m);
}

struct AcceptLevel {
  uint8_t pc = 0;
  bool failed = false;
  int8_t level = kPgLevel4K;  // that the guest accepts
  uint32_t slot = kNoSlot;
  uint64_t gfn = 0;
  SplitPrivate split = {};
};

// tdx_check_accept_level: the guest accepts pages of `level`. A bit of lpage_info says that larger
// ones are not wanted; it is set in the section that splits and never cleared, so that whoever reads
// it without a lock may go on.
template <class W>
Run tdx_check_accept_level(W& w, AcceptLevel& m) {
  MMU_BEGIN(m);
  m.failed = false;
  m.slot = gfn_to_memslot(w, 0, m.gfn);
  if (w.design.accept_inhibit == AcceptInhibit::kNone || m.slot == kNoSlot ||
      m.level >= kMaxHugepageLevel ||
      (lpage_disallow(w, m.slot, m.gfn, m.level + 1) & kLpageGuestInhibit) != 0) {
    return Run::kDone;
  }
  MMU_STEP(m, 1);
  MMU_LOCK(m, 20, LockMode::kWrite);
  if (w.design.private_demote) {
    m.split = {};
    m.split.target_level = m.level;
    m.split.start = gfn_round_for_level<>(m.gfn, m.level);
    m.split.end = m.split.start + pages_per_hpage(m.level);
    MMU_CALL(m, 2, split_private_leafs(w, m.split));
    m.failed = m.split.failed;
  }
  for (int level = m.level + 1; !m.failed && level <= kMaxHugepageLevel; level++) {
    const Cell c = lpage_cell(m.slot, level,
                              gfn_to_index(m.gfn, slot_get(w, m.slot, SlotField::kBase), level));
    w.store.set(c, w.store.get(c) | kLpageGuestInhibit);
  }
  MMU_STEP(m, 3);
  mmu_unlock(w, LockMode::kWrite);
  MMU_LEFT(m, 21);
  MMU_END(m);
}

}  // namespace mmucheck::model
