// model/tdp: kvm_tdp_mmu_map: installs the mapping of one fault, with mmu_lock held for read.
// Source: tdp_mmu.c (kvm_tdp_mmu_map, tdp_mmu_map_handle_target_level).
#pragma once

#include "model/tdp/fault.h"
#include "model/tdp/link.h"
#include "model/tdp/roots.h"

namespace mmucheck::model {

struct TargetLevel {
  uint8_t pc = 0;
  RetPf ret = RetPf::kFixed;
  bool wrprot = false;
  uint64_t old_spte = 0;
  uint64_t new_spte = 0;
  SetSpteAtomic set = {};
};

struct TdpMmuMap {
  uint8_t pc = 0;
  RetPf ret = RetPf::kRetry;
  bool at_target = false;
  Fault fault = {};
  uint32_t root = kNoTable;
  uint32_t sp = kNoTable;
  TdpIter iter = {};
  LinkSp link = {};
  SplitHugePage split = {};
  TargetLevel target = {};
};

template <class W>
bool pte_is_write_tracked(const W& w, uint32_t slot, uint64_t gfn) {
  const uint64_t base = slot_get(w, slot, SlotField::kBase);
  return w.store.get(cell::of(CellKind::kWriteTrack, slot, gfn - base)) != 0;
}

// kvm_mmu_page_ad_need_write_protect: PML would log L2's GPAs, so W stands in for D there.
template <class W>
bool ad_need_write_protect(const W& w, uint32_t role) {
  return w.host.cpu_dirty_log_size != 0 && role_guest_mode(role);
}

namespace detail {

template <class W>
uint64_t target_spte(W& w, const Fault& f, const TdpIter& it, bool* wrprot) {
  *wrprot = false;
  const uint64_t gfn = gfn_of_slot(w, it.gfn);
  if (f.slot == kNoSlot) return make_mmio_spte<>(w.fmt, gfn, f.mmio_gen);
  const uint32_t role = w.role(it.table);
  MakeSpte in;
  in.level = it.level;
  in.ad_disabled = role_ad_disabled(role);
  in.wrprot_only = ad_need_write_protect(w, role);
  in.prefetch = f.prefetch;
  in.host_writable = f.map_writable;
  in.write_tracked = pte_is_write_tracked(w, f.slot, gfn);
  in.nx_huge_page_enabled = w.host.nx_huge_pages;
  uint64_t spte = make_spte<>(w.fmt, in, f.pfn, it.old_spte);
  // Up to v19 code of a TD is private memory.
  if (!w.design.shared_exec && w.vm.has_mirror && !role_mirror(role)) spte &= ~w.fmt.exec;
  const bool old_grants = is_last_spte<>(it.old_spte, it.level) && is_writable_pte<>(it.old_spte);
  *wrprot = f.map_writable && in.write_tracked && !old_grants;
  if (is_writable_pte<>(spte) && slot_dirty_track_enabled(w, f.slot)) {
    if (it.level > kPgLevel4K) w.warn("MMU-DIRTY-HUGE");
    mark_page_dirty_in_slot(w, f.slot, gfn);
  }
  return spte;
}

// A table that was replaced must leave the TLBs; so must a leaf that lost MMU-writable, which no
// fault does (7.x checks it).
template <class W>
bool replacement_needs_flush(W& w, const TargetLevel& m, int level) {
  if (!is_shadow_present_pte<>(m.old_spte)) return false;
  if (!is_last_spte<>(m.old_spte, level)) return true;
  if (!w.design.early_spurious || !leaf_change_needs_flush<>(w.fmt, m.old_spte, m.new_spte)) {
    return false;
  }
  w.warn("MMU-FAULT-FLUSH");
  return true;
}

}  // namespace detail

template <class W>
Run tdp_mmu_map_handle_target_level(W& w, TargetLevel& m, const Fault& f, TdpIter& it) {
  MMU_BEGIN(m);
  m.ret = RetPf::kFixed;
  m.set = {};
  if (role_level(w.role(it.table)) != f.goal_level) {
    w.warn("MMU-FAULT-LEVEL");
    m.ret = RetPf::kRetry;
    return Run::kDone;
  }
  if (w.design.early_spurious && is_shadow_present_pte<>(it.old_spte) &&
      (f.prefetch || is_access_allowed<>(w.fmt, {f.write, f.exec}, it.old_spte)) &&
      is_last_spte<>(it.old_spte, it.level)) {
    if (f.pfn != spte_to_pfn<>(it.old_spte)) w.warn("MMU-FAULT-SPURIOUS");
    m.ret = RetPf::kSpurious;
    return Run::kDone;
  }
  m.new_spte = detail::target_spte(w, f, it, &m.wrprot);
  m.old_spte = it.old_spte;
  if (is_shadow_present_pte<>(m.new_spte) && spte_to_pfn<>(m.new_spte) != f.pfn) {
    w.warn("MMU-FAULT-PFN");
  }
  if (m.new_spte == it.old_spte) {
    m.ret = RetPf::kSpurious;
  } else {
    MMU_CALL(m, 1, tdp_mmu_set_spte_atomic(w, m.set, it, m.new_spte));
    if (m.set.lost) {
      m.ret = RetPf::kRetry;
      m.pc = 0;
      return Run::kDone;
    }
    if (detail::replacement_needs_flush(w, m, it.level)) {
      MMU_EMIT(m, 2, ev::Flush{ev::FlushKind::kRange, it.gfn, pages_per_hpage(it.level)});
    }
  }
  if (m.wrprot && f.write) m.ret = RetPf::kWriteProtected;
  if (is_mmio_spte<>(w.fmt, m.new_spte)) {
    m.ret = RetPf::kEmulate;
    MMU_EMIT(m, 3, ev::MarkMmioSpte{it.table, it.index, it.gfn, m.new_spte});
  } else {
    MMU_EMIT(m, 4, ev::SetSpte{it.level, it.gfn, it.table, it.index,
                               w.reread_spte(it.table, it.index)});
  }
  MMU_END(m);
}

// The root that a fault walks.
template <class W>
uint32_t tdp_mmu_get_root_for_fault(const W& w, const Fault& f) {
  return vcpu_root(w, f.vcpu,
                   fault_walks_mirror<>(w.design.root_choice, w.design.fault_addr, f.addr,
                                        f.is_private, w.vm.gfn_direct_bits));
}

namespace detail {

template <class W>
TdpIter fault_walk(W& w, uint32_t root, const Fault& f) {
  const IterIndex index = w.design.iter_index;
  const bool mirror = w.is_mirror(root);
  const uint64_t bits = w.vm.gfn_direct_bits;
  return tdp_iter_init(w, root, kPgLevel4K,
                       fault_walk_gfn<>(w.design.fault_addr, index, mirror, f.addr, f.gfn, bits),
                       iter_gfn_bits<>(index, mirror, bits));
}

// Raw or not, one gfn; the sketch has the end of any walk from the root.
template <class W>
uint64_t fault_walk_end(const W& w, uint32_t root, const Fault& f) {
  if (w.design.iter_index == IterIndex::kGfnBits && w.design.fault_addr != FaultAddr::kRaw) {
    return f.gfn + 1;
  }
  const uint64_t bits = w.vm.gfn_direct_bits;
  const bool mirror = w.is_mirror(root);
  const uint64_t start =
      fault_walk_gfn<>(w.design.fault_addr, w.design.iter_index, mirror, f.addr, f.gfn, bits);
  if (w.design.iter_index != IterIndex::kSeed000Sketch) return start + 1;
  return gfn_for_root<>(mirror, start + 1, bits);
}

}  // namespace detail

template <class W>
Run kvm_tdp_mmu_map(W& w, TdpMmuMap& m) {
  MMU_BEGIN(m);
  m.ret = RetPf::kRetry;
  m.at_target = false;
  m.root = tdp_mmu_get_root_for_fault(w, m.fault);
  kvm_mmu_hugepage_adjust(w, m.fault);
  MMU_EMIT(m, 1, ev::SpteRequested{m.fault.gfn, m.fault.pfn, m.fault.goal_level,
                                   m.fault.req_level});
  if (m.root == kNoTable || (w.host.prove_mmu && w.root_invalid(m.root))) {
    w.warn("MMU-ROOT-INSTALL");
    if (m.root == kNoTable) return Run::kDone;
  }
  m.iter = detail::fault_walk(w, m.root, m.fault);
  while (true) {
    MMU_NEXT_PTE(m, 2, m.iter, detail::fault_walk_end(w, m.root, m.fault));
    if (m.fault.nx_workaround || w.is_mirror(m.root)) {
      disallowed_hugepage_adjust(w, m.fault, m.iter.old_spte, m.iter.level, w.is_mirror(m.root));
    }
    // Frozen by another task: give up rather than allocate a table in vain.
    if (fault_gives_up<>(w.fmt, m.iter.old_spte)) break;
    if (m.iter.level == m.fault.goal_level) {
      m.at_target = true;
      break;
    }
    if (is_shadow_present_pte<>(m.iter.old_spte) && !is_large_pte<>(m.iter.old_spte)) continue;
    m.sp = tdp_mmu_alloc_sp(w, ev::TableKind::kVcpuCache);
    if (m.sp == kNoTable) break;
    tdp_mmu_init_child_sp(w, m.sp, m.iter);
    MMU_STEP(m, 3);
    MMU_EMIT(m, 4, ev::GetPage{m.sp, m.iter.gfn, w.role(m.sp)});
    if (w.is_mirror(m.sp)) kvm_mmu_alloc_external_spt(w, m.sp);
    w.set_field(CellKind::kSpNx, m.sp, m.fault.huge_page_disallowed);
    m.link = {};
    m.split = {};
    if (is_shadow_present_pte<>(m.iter.old_spte)) {
      // Without BLOCK and TRACK a split can be undone, so a fault may do it.
      if (w.is_mirror(m.sp) && w.design.demote_protocol != DemoteProtocol::kDemoteOnly) {
        w.warn("MMU-MIRROR-SPLIT");
      }
      MMU_CALL(m, 5, tdp_mmu_split_huge_page(w, m.split, m.iter, m.sp, true));
      m.link.lost = m.split.lost;
    } else {
      MMU_CALL(m, 6, tdp_mmu_link_sp(w, m.link, m.iter, m.sp, true));
    }
    if (m.link.lost) {
      tdp_mmu_free_unused_sp(w, m.sp);
      break;
    }
    if (m.fault.huge_page_disallowed && m.fault.req_level >= m.iter.level &&
        (w.field(CellKind::kSpNx, m.sp) || !w.design.nx_track_rechecks)) {
      track_possible_nx_huge_page(w, m.sp);
    }
  }
  if (m.at_target) {
    m.target = {};
    MMU_CALL(m, 7, tdp_mmu_map_handle_target_level(w, m.target, m.fault, m.iter));
    m.ret = m.target.ret;
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
