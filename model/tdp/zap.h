// model/tdp: zapping: leafs of a range, a whole root by levels, all roots, one table. Source:
// tdp_mmu.c (tdp_mmu_zap_leafs, __tdp_mmu_zap_root, tdp_mmu_zap_root, kvm_tdp_mmu_zap_leafs,
// kvm_tdp_mmu_zap_all, kvm_tdp_mmu_zap_invalidated_roots, kvm_tdp_mmu_unmap_gfn_range).
#pragma once

#include <algorithm>

#include "model/tdp/roots.h"
#include "model/tdp/set_spte.h"

namespace mmucheck::model {

struct ZapLeafs {
  uint8_t pc = 0;
  bool can_yield = false;
  bool flush = false;  // in and out
  bool zap_private = true;
  uint32_t root = kNoTable;
  uint64_t start = 0;
  uint64_t end = 0;
  WalkRange<> range = {};
  TdpIter iter = {};
  CondResched resched = {};
  SetSpte set = {};
};

// tdp_mmu_zap_leafs: one root, write lock held. A leaf that only overlaps the range goes whole.
// Up to v19 it is told whether it may zap a private root, and forgets the caller's flush if not.
template <class W>
Run tdp_mmu_zap_leafs(W& w, ZapLeafs& m) {
  MMU_BEGIN(m);
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapLeafsRoot, m.root, m.start, m.end, m.can_yield, m.flush});
  if (!w.locked_for_write()) w.warn("MMU-LOCK-EXCLUSIVE");
  if (!m.zap_private && w.is_mirror(m.root)) {
    m.flush = flush_past_spared_root<>(w.design.zap_drops_flush, m.flush);
    MMU_EMIT(m, 6, ev::Return{ev::Fn::kZapLeafsRoot, m.flush});
    m.pc = 0;
    return Run::kDone;
  }
  m.end = std::min(m.end, max_gfn_exclusive(w.host.maxphyaddr));
  m.range = zap_range<>(w.design.zap_bounds, w.design.iter_index, w.is_mirror(m.root), m.start,
                        m.end, w.vm.gfn_direct_bits);
  m.iter = tdp_iter_init(
      w, m.root, kPgLevel4K, m.range.start,
      iter_gfn_bits<>(w.design.iter_index, w.is_mirror(m.root), w.vm.gfn_direct_bits));
  while (true) {
    MMU_NEXT_PTE(m, 2, m.iter, m.range.end);
    if (m.can_yield) {
      m.resched = {};
      MMU_CALL(m, 3, tdp_mmu_iter_cond_resched(w, m.resched, m.iter, m.flush, false));
      if (m.resched.yielded) {
        m.flush = false;
        continue;
      }
    }
    if (!is_shadow_present_pte<>(m.iter.old_spte) ||
        !is_last_spte<>(m.iter.old_spte, m.iter.level)) {
      continue;
    }
    MMU_READ_THEN_WRITE(m, 7, m.iter);
    m.set = {};
    MMU_CALL(m, 4, tdp_mmu_iter_set_spte(w, m.set, m.iter, kNonpresent));
    // No vCPU can keep running on an invalid root: its reload flushes.
    if (!w.root_invalid(m.root)) m.flush = true;
  }
  MMU_EMIT(m, 5, ev::Return{ev::Fn::kZapLeafsRoot, m.flush});
  MMU_END(m);
}

struct ZapRange {  // several roots
  uint8_t pc = 0;
  uint8_t types = kDirectRoots;
  bool can_yield = true;
  bool flush = false;  // in and out
  bool zap_private = true;
  bool zap_gfn_range = false;  // for kvm_zap_gfn_range
  int16_t as_id = kAnyAsId;
  uint64_t start = 0;
  uint64_t end = 0;
  RootIter roots = {};
  ZapLeafs leafs = {};
};

// The loop over roots that kvm_tdp_mmu_zap_leafs and kvm_tdp_mmu_unmap_gfn_range share.
template <class W>
Run zap_leafs_of_roots(W& w, ZapRange& m) {
  MMU_BEGIN(m);
  m.roots = root_iter(m.types, m.as_id);
  while (true) {
    MMU_NEXT_ROOT(m, 1, m.roots);
    m.leafs = {};
    m.leafs.root = m.roots.root;
    m.leafs.start = m.start;
    m.leafs.end = m.end;
    m.leafs.can_yield = m.can_yield;
    m.leafs.flush = m.flush && w.design.zap_flush == ZapFlush::kAccumulated;
    m.leafs.zap_private = m.zap_gfn_range ? w.design.zap_range_mirror : m.zap_private;
    MMU_CALL(m, 2, tdp_mmu_zap_leafs(w, m.leafs));
    m.flush = m.leafs.flush || (m.flush && w.design.zap_flush == ZapFlush::kOwn);
  }
  MMU_END(m);
}

// kvm_tdp_mmu_zap_leafs: every valid root of both kinds.
inline ZapRange kvm_tdp_mmu_zap_leafs(uint64_t start, uint64_t end, bool flush) {
  ZapRange m;
  m.types = kValidRoots;
  m.zap_gfn_range = true;
  m.start = start;
  m.end = end;
  m.flush = flush;
  return m;
}

// kvm_tdp_mmu_unmap_gfn_range: roots of one address space, by filter, invalid ones too.
template <class W>
ZapRange kvm_tdp_mmu_unmap_gfn_range(W& w, uint32_t as_id, uint64_t start, uint64_t end,
                                     uint32_t attr_filter, bool may_block, bool flush) {
  ZapRange m;
  uint8_t kinds = kDirectRoots;
  if (w.design.filter_selects_roots) {
    const AliasesZapped zapped =
        aliases_zapped(w.design.unmap_filter, w.vm.has_mirror, attr_filter);
    switch (w.design.unmap_filter) {
      case UnmapFilter::kAttrFilter: kinds = gfn_range_filter_to_root_types(w, attr_filter); break;
      case UnmapFilter::kOnlyPrivateShared:  // visits the private roots that it spares
        kinds = kValidRoots;
        m.zap_private = zapped.in_mirror;
        break;
      default:
        kinds = static_cast<uint8_t>((zapped.in_mirror ? kMirrorRoots : 0) |
                                     (zapped.in_direct ? kDirectRoots : 0));
    }
  }
  m.types = static_cast<uint8_t>(kinds | kInvalidRoots);
  m.as_id = static_cast<int16_t>(as_id);
  m.start = start;
  m.end = end;
  m.can_yield = may_block;
  m.flush = flush;
  return m;
}

struct ZapRoot {
  uint8_t pc = 0;
  bool shared = false;
  int8_t zap_level = 0;
  uint32_t root = kNoTable;
  TdpIter iter = {};
  CondResched resched = {};
  SetSpte set = {};
  SetSpteAtomic atomic = {};
};

// __tdp_mmu_zap_root: one pass over all that a root can hold. gfn_bits is 0: a TD's direct root
// shows raw gfns here. Only the sketch has no walk without its mask.
template <class W>
Run tdp_mmu_zap_root_pass(W& w, ZapRoot& m) {
  MMU_BEGIN(m);
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapRoot, m.root, m.shared, static_cast<uint64_t>(m.zap_level),
                           0, 0});
  m.iter = w.design.iter_index == IterIndex::kSeed000Sketch
               ? tdp_iter_walk(w, m.root, m.zap_level, 0)
               : tdp_iter_init(w, m.root, m.zap_level, 0, 0);
  while (true) {
    MMU_NEXT_PTE(m, 2, m.iter, max_gfn_exclusive(w.host.maxphyaddr));
    while (true) {  // again when the exchange is lost
      m.resched = {};
      MMU_CALL(m, 3, tdp_mmu_iter_cond_resched(w, m.resched, m.iter, false, m.shared));
      if (m.resched.yielded || !is_shadow_present_pte<>(m.iter.old_spte) ||
          m.iter.level > m.zap_level) {
        break;
      }
      m.set = {};
      m.atomic = {};
      if (!m.shared) {
        MMU_CALL(m, 4, tdp_mmu_iter_set_spte(w, m.set, m.iter, kNonpresent));
        break;
      }
      MMU_CALL(m, 5, tdp_mmu_set_spte_atomic(w, m.atomic, m.iter, kNonpresent));
      if (!m.atomic.lost || m.atomic.refused) break;
    }
  }
  MMU_END(m);
}

struct ZapRootPasses {
  uint8_t pc = 0;
  bool shared = false;
  uint8_t pass = 0;
  uint32_t root = kNoTable;
  ZapRoot zap = {};
};

// tdp_mmu_zap_root: leafs first, then ever larger tables, so that no step takes long.
template <class W>
Run tdp_mmu_zap_root(W& w, ZapRootPasses& m) {
  MMU_BEGIN(m);
  if (w.field(CellKind::kRootRefs, m.root) == 0) w.warn("MMU-ROOT-ZAPREF");
  if (m.shared ? !w.locked_for_read() : !w.locked_for_write()) w.warn("MMU-LOCK-MODE");
  for (m.pass = w.host.prove_mmu ? 2 : 0; m.pass < 4; m.pass++) {
    m.zap = {};
    m.zap.root = m.root;
    m.zap.shared = m.shared;
    m.zap.zap_level =
        static_cast<int8_t>(m.pass < 3 ? m.pass + 1 : role_level(w.role(m.root)));
    MMU_CALL(m, 1, tdp_mmu_zap_root_pass(w, m.zap));
  }
  MMU_END(m);
}

struct ZapAll {
  uint8_t pc = 0;
  RootIter roots = {};
  ZapRootPasses zap = {};
};

// kvm_tdp_mmu_zap_all: every direct root, invalid ones too; write lock.
template <class W>
Run kvm_tdp_mmu_zap_all(W& w, ZapAll& m) {
  MMU_BEGIN(m);
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapAll, kNoTable, 0, 0, 0, 0});
  if (!w.locked_for_write()) w.warn("MMU-LOCK-EXCLUSIVE");
  m.roots = root_iter(w.design.zap_all_spares_mirror
                          ? static_cast<uint8_t>(kDirectRoots | kInvalidRoots) : kAllRoots);
  while (true) {
    MMU_NEXT_ROOT(m, 2, m.roots);
    m.zap = {};
    m.zap.root = m.roots.root;
    MMU_CALL(m, 3, tdp_mmu_zap_root(w, m.zap));
  }
  MMU_END(m);
}

struct ZapInvalidatedRoots {
  uint8_t pc = 0;
  bool shared = true;
  RootIter roots = {};
  ZapRootPasses zap = {};
};

// kvm_tdp_mmu_zap_invalidated_roots with mmu_lock held in the mode that `shared` says.
template <class W>
Run kvm_tdp_mmu_zap_invalidated_roots(W& w, ZapInvalidatedRoots& m) {
  MMU_BEGIN(m);
  m.roots = root_iter(kAllRoots);
  while (true) {
    MMU_NEXT_ROOT(m, 1, m.roots);
    if (!w.field(CellKind::kRootScheduled, m.roots.root)) continue;
    w.set_field(CellKind::kRootScheduled, m.roots.root, 0);
    if (!w.root_invalid(m.roots.root)) w.warn("MMU-ROOT-SCHEDULED");
    m.zap = {};
    m.zap.root = m.roots.root;
    m.zap.shared = m.shared;
    MMU_CALL(m, 2, tdp_mmu_zap_root(w, m.zap));
    // The TDP MMU's own reference, put only now: the root stayed reachable for notifiers.
    put_root(w, m.roots.root);
    MMU_STEP(m, 3);
  }
  MMU_END(m);
}

struct ZapSp {
  uint8_t pc = 0;
  bool zapped = false;
  uint32_t sp = kNoTable;
  TdpIter iter = {};
  SetSpte set = {};
  SetSpteAtomic atomic = {};
};

namespace detail {

// An iterator that stands on the entry that maps `sp`; false for a root.
template <class W>
bool iter_at_parent(W& w, uint32_t sp, TdpIter& it) {
  const uint64_t parent = w.field(CellKind::kSpParent, sp);
  if (parent == 0) return false;
  it = {};
  it.table = static_cast<uint32_t>((parent - 1) / kSpteEntPerPage);
  it.index = static_cast<uint32_t>((parent - 1) % kSpteEntPerPage);
  it.level = static_cast<int8_t>(role_level(w.role(sp)) + 1);
  it.gfn = w.field(CellKind::kSpGfn, sp);
  it.as_id = role_as_id(w.role(sp));
  it.old_spte = w.read_spte(it.table, it.index);
  return true;
}

}  // namespace detail

// kvm_tdp_mmu_zap_sp (6.12): removes one table, write lock.
template <class W>
Run kvm_tdp_mmu_zap_sp(W& w, ZapSp& m) {
  MMU_BEGIN(m);
  m.zapped = false;
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapSp, m.sp, 0, 0, 0, 0});
  if (!detail::iter_at_parent(w, m.sp, m.iter)) {
    w.warn("MMU-NX-ROOT");
    return Run::kDone;
  }
  if (!is_shadow_present_pte<>(m.iter.old_spte)) {
    w.warn("MMU-NX-GONE");
    return Run::kDone;
  }
  m.set = {};
  MMU_CALL(m, 2, tdp_mmu_iter_set_spte(w, m.set, m.iter, kNonpresent));
  m.zapped = true;
  MMU_END(m);
}

// kvm_tdp_mmu_zap_possible_nx_huge_page (7.x): the same under the read lock, and only if the
// entry still maps this very table.
template <class W>
Run kvm_tdp_mmu_zap_possible_nx_huge_page(W& w, ZapSp& m) {
  MMU_BEGIN(m);
  m.zapped = false;
  MMU_EMIT(m, 1, ev::Enter{ev::Fn::kZapPossibleNx, m.sp, 0, 0, 0, 0});
  if (!w.locked_for_read()) w.warn("MMU-LOCK-SHARED");
  if (!detail::iter_at_parent(w, m.sp, m.iter)) {
    w.warn("MMU-NX-ROOT");
    return Run::kDone;
  }
  if (!w.design.nx_zap_checks_table) {  // what kvm_tdp_mmu_zap_sp() does, and may not here
    if (!is_shadow_present_pte<>(m.iter.old_spte)) {
      w.warn("MMU-NX-GONE");
      return Run::kDone;
    }
  } else if (w.child_table(m.iter.old_spte, m.iter.level) != m.sp) {
    return Run::kDone;
  }
  m.atomic = {};
  MMU_CALL(m, 2, tdp_mmu_set_spte_atomic(w, m.atomic, m.iter, kNonpresent));
  if (m.atomic.lost && w.child_table(m.iter.old_spte, m.iter.level) == m.sp) {
    w.warn("MMU-NX-STILL");
  }
  m.zapped = !m.atomic.lost;
  MMU_END(m);
}

}  // namespace mmucheck::model
