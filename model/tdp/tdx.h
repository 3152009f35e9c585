// model/tdp: KVM's side of a TD: what the external hooks of a mirror root do, as SEAMCALLs. Source:
// arch/x86/kvm/vmx/tdx.c (tdx_sept_set_private_spte, tdx_sept_map_leaf_spte,
// tdx_sept_map_nonleaf_spte, tdx_sept_remove_leaf_spte, tdx_track, tdh_do_no_vcpus,
// tdx_sept_free_private_spt, tdx_reclaim_page).
//
// A thread is inside at most one hook at a time; where it stands there is a TdxHook, which the
// environment keeps for the thread that is stepped. gfns have no shared bit; levels are KVM's
// (1 = 4K), the module's own are one less. What the series before 7.x did otherwise is here too:
// v8..v19 and 6.14..6.19, by the design's choices.
#pragma once

#include "model/tdp/mirror_order.h"
#include "model/tdp/pamt.h"

namespace mmucheck::model {

namespace detail {

template <class W>
void pin_page(W& w, TdxHook& hook, uint64_t pfn, bool get) {
  if (!w.design.page_pins) return;
  hook.pins = static_cast<int8_t>(hook.pins + (get ? 1 : -1));
  w.store.add(cell::of(CellKind::kPagePins, 0, pfn), get ? 1 : ~uint64_t{0});
  w.store.add(cell::of(CellKind::kPinnedPages), get ? 1 : ~uint64_t{0});
  if (!get) w.emit(ev::PutPage{pfn});
}

// What a hook that sets an entry tells when it returns. A page that it has mapped has its pin, one
// that it should map or take away has none any more.
template <class W>
ev::ExternalSetRet hook_returns(W& w, const TdxHook& hook) {
  const bool splits = is_shadow_present_pte<>(hook.new_spte) &&
                      !is_last_spte<>(hook.new_spte, hook.level);
  const bool removes = is_shadow_present_pte<>(hook.old_spte) &&
                       is_last_spte<>(hook.old_spte, hook.level) && !splits;
  const bool maps = !is_shadow_present_pte<>(hook.old_spte) && hook.ret == 0 &&
                    is_last_spte<>(hook.new_spte, hook.level);
  if (w.platform != nullptr && w.design.page_pins && hook.pins != (maps ? 1 : removes ? -1 : 0)) {
    w.warn("TDX-PAGE-UNPIN");
  }
  return {hook.ret, hook.shared,
          removes && hook.ret == 0 ? spte_to_pfn<>(hook.old_spte) + 1 : 0};
}

// A hook begins or is over. Removal with mmu_lock held for read may come to the table that it is on.
template <class W>
void hook_under_way(W& w, const TdxHook& hook, bool begins) {
  const uint64_t by = begins ? 1 : ~uint64_t{0};
  if (!w.design.hook_in_rcu) w.store.add(cell::of(CellKind::kRcuLeft), by);
  if (w.design.mirror_removal == MirrorRemoval::kReadLock && hook.table != kNoTable &&
      w.store.is_live(hook.table)) {
    w.store.add(cell::of(CellKind::kHooksOpen, hook.table), by);
  }
}

// Caches were written back since the last line of the TD could get into one.
template <class W>
bool caches_flushed(W& w) {
  auto module = tdx_module(w);
  return module.lifecycle(0) == tdx::TdLifecycle::kTeardown ||
         (module.lifecycle(0) == tdx::TdLifecycle::kBlocked &&
          module.get(CellKind::kTdWbPending) == 0);
}

// Which hook a change calls; `second`: of the two that take a leaf away.
template <class W>
ev::HookKind hook_kind(const W& w, const TdxHook& hook, bool second) {
  const bool several = w.design.external_hook == ExternalHook::kFour ||
                       w.design.external_hook == ExternalHook::kFive;
  if (!several) return ev::HookKind::kSet;
  if (is_shadow_present_pte<>(hook.old_spte)) {
    return w.design.two_pass_zap && !second ? ev::HookKind::kZap : ev::HookKind::kRemove;
  }
  return is_last_spte<>(hook.new_spte, hook.level) ? ev::HookKind::kSet : ev::HookKind::kLink;
}

// A page that a fault before FINALIZE only counted: there is nothing to block.
template <class W>
bool was_premapped(const W& w, tdx::Status block) {
  return w.design.premap_count && !td_runnable(w) && w.field(CellKind::kNrPremapped) != 0 &&
         block.code() == tdx::StatusCode::kEptEntryStateIncorrect;
}

// tdx_track, and the kick that goes with it.
template <class W>
Run track_and_kick(W& w, TdxHook& hook) {
  TdxHook::Part& m = hook.track;
  const bool kick_first = w.design.track_order == TrackOrder::kKickThenTrack;
  MMU_BEGIN(m);
  hook.tdh = {0, tdh(w, tdx::Leaf::kMemTrack, 0, 0, 0)};
  if (kick_first) {
    w.set_field(CellKind::kWaitForSeptZap, 0, 1);
    MMU_LEFT(m, 4);
    if (kick_must_wait(w)) return Run::kBlocked;
    kick_vcpus_out(w);
    MMU_STEP(m, 1);
  }
  MMU_CALL(m, 2, tdh_do_no_vcpus(w, hook.tdh));
  tdx_bug_on(w, hook.tdh.call);
  if (kick_first) {
    w.set_field(CellKind::kWaitForSeptZap, 0, 0);
  } else {
    MMU_LEFT(m, 5);
    if (kick_must_wait(w)) return Run::kBlocked;
    kick_vcpus_out(w);
  }
  MMU_STEP(m, 3);
  MMU_END(m);
}

}  // namespace detail

// Up to v19 a leaf may outlive the HKID: then caches were flushed, and the page is only reclaimed.
template <class W>
Run reclaim_leaf(W& w, TdxHook& hook) {
  TdxHook::Part& m = hook.part;
  MMU_BEGIN(m);
  if (!detail::caches_flushed(w)) w.warn("TDX-RECLAIM-FLUSHED");
  hook.tdh.call = tdh(w, tdx::Leaf::kPhymemPageReclaim, 0, 0,
                      spte_to_pfn<>(hook.old_spte) << kPageShift);
  MMU_CALL(m, 1, seamcall(w, hook.tdh.call));
  hook.ret = tdx_bug_on(w, hook.tdh.call) ? -5 : 0;
  if (hook.ret == 0) detail::pin_page(w, hook, spte_to_pfn<>(hook.old_spte), false);
  MMU_END(m);
}

// tdx_sept_remove_leaf_spte: BLOCK, TRACK once vCPUs may run, kick, REMOVE, write back. With two
// hooks (zap_private_spte, remove_private_spte) the first one returns after the BLOCK.
template <class W>
Run tdx_sept_remove_leaf_spte(W& w, TdxHook& hook) {
  TdxHook::Part& m = hook.part;
  MMU_BEGIN(m);
  hook.ret = -5;
  if (!w.locked_for_write() && removal_excludes_faults(w.design)) {
    w.warn("MMU-MIRROR-REMOVAL");
  }
  if (!is_hkid_assigned(w) || hook.level > w.design.private_max_level) {
    kvm_bug(w, is_hkid_assigned(w) ? "TDX-BUG-LEVEL" : "TDX-BUG-HKID");
    m.pc = 0;
    return Run::kDone;
  }
  hook.tdh = {0, tdh(w, tdx::Leaf::kMemRangeBlock, hook.gfn, hook.level, 0)};
  MMU_CALL(m, 1, tdh_do_no_vcpus(w, hook.tdh));
  if (detail::was_premapped(w, hook.tdh.call.call.status)) {
    w.store.add(cell::of(CellKind::kNrPremapped), ~uint64_t{0});
    detail::pin_page(w, hook, spte_to_pfn<>(hook.old_spte), false);
    hook.ret = 0;
  } else if (!tdx_bug_on(w, hook.tdh.call)) {
    if (w.design.two_pass_zap) {
      MMU_EMIT(m, 6, ev::ExternalSetRet{0, hook.shared});
      MMU_EMIT(m, 7, ev::ExternalSet{hook.gfn, hook.level, hook.old_spte, hook.new_spte,
                                     detail::hook_kind(w, hook, true)});
    }
    if (td_runnable(w)) {
      hook.track = {};
      MMU_CALL(m, 2, detail::track_and_kick(w, hook));
    }
    hook.tdh = {0, tdh(w, tdx::Leaf::kMemPageRemove, hook.gfn, hook.level, 0)};
    MMU_CALL(m, 4, tdh_do_no_vcpus(w, hook.tdh));
    if (!tdx_bug_on(w, hook.tdh.call)) {
      for (hook.next = 0; hook.next < pages_per_hpage(hook.level); hook.next++) {
        hook.tdh = {0, tdh(w, tdx::Leaf::kPhymemPageWbinvd, 0, 0,
                           (spte_to_pfn<>(hook.old_spte) + hook.next) << kPageShift)};
        MMU_CALL(m, 5, tdh_do_no_vcpus(w, hook.tdh));
        if (tdx_bug_on(w, hook.tdh.call)) break;
      }
      if (hook.tdh.call.call.status.ok()) hook.ret = 0;
      if (hook.ret == 0) detail::pin_page(w, hook, spte_to_pfn<>(hook.old_spte), false);
      if (hook.ret == 0 && hook.level == kPgLevel4K) {
        hook.pamt = {};
        MMU_CALL(m, 8, tdx_pamt_put(w, hook, spte_to_pfn<>(hook.old_spte)));
      }
    }
  }
  MMU_END(m);
}

namespace detail {

// tdx_spte_to_sept_pt: the page of the table that a mirror entry points to, for the module.
template <class W>
bool spte_to_sept_page(W& w, uint64_t spte, uint64_t* page) {
  const uint32_t child = w.store.find_table(spte_to_pfn<>(spte));
  const uint64_t external =
      child == kNoTable ? 0 : w.env.external_page(child, w.field(CellKind::kSpExternal, child));
  if (external == 0) return false;
  w.set_field(CellKind::kSpExternal, child, external);
  *page = external - 1;
  return true;
}

// Of 4K: an S-EPT page, or a leaf.
template <class W>
bool takes_pamt_ref(const W& w, const TdxHook& hook) {
  return w.design.dynamic_pamt &&
         (hook.level == kPgLevel4K || !is_last_spte<>(hook.new_spte, hook.level));
}

// tdx_sept_map_leaf_spte; tdx_mem_page_add: before FINALIZE there is a page to copy only while
// KVM_TDX_INIT_MEM_REGION populates. nullptr: neither is a bug.
template <class W>
const char* bug_of_leaf(const W& w, const TdxHook& hook) {
  if (hook.level > gmem_max_mapping_level(w, kMaxHugepageLevel)) return "TDX-BUG-LEVEL";
  const bool adds = !td_runnable(w) && !w.design.premap_count;
  return adds && w.field(CellKind::kPageAddSrc) == 0 ? "TDX-BUG-IMAGE" : nullptr;
}

// Pending: a 2M leaf of a mirror root becomes a table of 4K leafs.
template <class W>
bool splits_private_leaf(const W& w, const TdxHook& hook) {
  return w.design.private_demote && hook.level > kPgLevel4K &&
         is_last_spte<>(hook.old_spte, hook.level) && is_shadow_present_pte<>(hook.new_spte) &&
         !is_last_spte<>(hook.new_spte, hook.level);
}

}  // namespace detail

// tdx_sept_split_private_spte (TDX huge pages v3 09/24): BLOCK, TRACK, kick, DEMOTE; or DEMOTE alone
// where the module can. Under the read lock the former refuses: what is BUSY after BLOCK could not be
// undone. Nothing is unblocked when it fails: the VM is dead.
template <class W>
Run tdx_sept_split_private_spte(W& w, TdxHook& hook) {
  TdxHook::Part& m = hook.part;
  const bool demote_only = w.design.demote_protocol == DemoteProtocol::kDemoteOnly;
  MMU_BEGIN(m);
  hook.ret = -5;
  if (!is_hkid_assigned(w) || !detail::spte_to_sept_page(w, hook.new_spte, &hook.page)) {
    kvm_bug(w, is_hkid_assigned(w) ? "TDX-BUG-SPT" : "TDX-BUG-HKID");
    return Run::kDone;
  }
  if (hook.shared && !demote_only) {
    hook.ret = -95;
    return Run::kDone;
  }
  if (!demote_only) {
    hook.tdh = {0, tdh(w, tdx::Leaf::kMemRangeBlock, hook.gfn, hook.level, 0)};
    MMU_CALL(m, 1, tdh_do_no_vcpus(w, hook.tdh));
    if (tdx_bug_on(w, hook.tdh.call)) {
      m.pc = 0;
      return Run::kDone;
    }
    hook.track = {};
    MMU_CALL(m, 2, detail::track_and_kick(w, hook));
  }
  hook.pamt = {};
  MMU_CALL(m, 3, tdx_pamt_get(w, hook, hook.page));
  hook.ret = hook.pamt_ret;
  if (hook.ret == 0) {
    do {
      hook.tdh = {0, tdh(w, tdx::Leaf::kMemPageDemote, hook.gfn, hook.level,
                         hook.page << kPageShift)};
      hook.tdh.call.call.pamt_pair = w.design.dynamic_pamt;  // for the guest's region
      if (hook.shared) {
        MMU_CALL(m, 4, seamcall(w, hook.tdh.call));
      } else {
        MMU_CALL(m, 5, tdh_do_no_vcpus(w, hook.tdh));
      }
    } while (hook.tdh.call.call.status.code() == tdx::StatusCode::kInterruptedRestartable &&
             w.design.demote_interrupted == DemoteInterrupted::kLoop);
    if (hook.shared && tdx_operand_busy(hook.tdh.call.call.status)) {
      hook.ret = -16;
    } else {
      hook.ret = tdx_bug_on(w, hook.tdh.call) ? -5 : 0;
    }
    hook.pamt = {};
    if (hook.ret != 0) {
      MMU_CALL(m, 6, tdx_pamt_put(w, hook, hook.page));
    } else if (w.design.dynamic_pamt) {
      detail::set_pamt_refs(w, spte_to_pfn<>(hook.old_spte), kSpteEntPerPage);
    }
  } else {
    kvm_bug(w, "TDX-BUG-SEAMCALL");  // blocked, and nothing undoes it
  }
  MMU_END(m);
}

// tdx_sept_map_nonleaf_spte and tdx_sept_map_leaf_spte. BUSY goes back to the fault.
template <class W>
Run tdx_sept_map_spte(W& w, TdxHook& hook) {
  TdxHook::Part& m = hook.part;
  MMU_BEGIN(m);
  hook.ret = -5;
  {
    const bool leaf = is_last_spte<>(hook.new_spte, hook.level);
    tdx::Leaf call = tdx::Leaf::kMemSeptAdd;
    uint64_t page = spte_to_pfn<>(hook.new_spte);
    if (!leaf) {
      if (!detail::spte_to_sept_page(w, hook.new_spte, &page)) {
        kvm_bug(w, "TDX-BUG-SPT");
        m.pc = 0;
        return Run::kDone;
      }
    } else if (const char* bug = detail::bug_of_leaf(w, hook); bug != nullptr) {
      kvm_bug(w, bug);
      m.pc = 0;
      return Run::kDone;
    } else {
      call = td_runnable(w) ? tdx::Leaf::kMemPageAug : tdx::Leaf::kMemPageAdd;
      detail::pin_page(w, hook, page, true);
      if (w.design.premap_count && !td_runnable(w)) {  // tdx_mem_page_record_premap_cnt
        w.store.add(cell::of(CellKind::kNrPremapped), 1);
        hook.ret = 0;
        m.pc = 0;
        return Run::kDone;
      }
    }
    hook.tdh.call = tdh(w, call, hook.gfn, hook.level, page << kPageShift);
  }
  hook.page = hook.tdh.call.hpa >> kPageShift;
  hook.pamt = {};
  hook.pamt_ret = 0;
  if (detail::takes_pamt_ref(w, hook)) {
    hook.next = static_cast<uint16_t>(hook.tdh.call.call.leaf);
    MMU_CALL(m, 2, tdx_pamt_get(w, hook, hook.page));
    hook.tdh.call = tdh(w, static_cast<tdx::Leaf>(hook.next), hook.gfn, hook.level,
                        hook.page << kPageShift);
  }
  if (hook.pamt_ret != 0) {  // the mapper tries again: no error of the module
    hook.ret = hook.pamt_ret;
  } else {
    MMU_CALL(m, 1, seamcall(w, hook.tdh.call));
    if (tdx_operand_busy(hook.tdh.call.call.status) &&
        answer_to_busy(w.design.seamcall_busy, hook.tdh.call.call.leaf) ==
            BusyAnswer::kRetryFault) {
      hook.ret = -16;
    } else if (!tdx_bug_on(w, hook.tdh.call)) {
      hook.ret = 0;
    }
    if (hook.ret != 0 && detail::takes_pamt_ref(w, hook)) {
      hook.pamt = {};
      MMU_CALL(m, 3, tdx_pamt_put(w, hook, hook.page));
    }
  }
  if (hook.ret != 0 && is_last_spte<>(hook.new_spte, hook.level)) {
    detail::pin_page(w, hook, spte_to_pfn<>(hook.new_spte), false);
  }
  MMU_END(m);
}

// set_external_spte: tdx_sept_set_private_spte, or what a script says that the hook answers. Other
// names for it are link_external_spt, remove_external_spte (6.14) and those with `private` (v19).
template <class W>
Run set_external_spte(W& w, TdxHook& hook) {
  MMU_BEGIN(hook);
  w.emit(ev::ExternalSet{hook.gfn, hook.level, hook.old_spte, hook.new_spte,
                         detail::hook_kind(w, hook, false)});
  hook.ret = w.env.external_result(hook.gfn, hook.level, hook.old_spte, hook.new_spte);
  detail::hook_under_way(w, hook, true);
  MMU_STEP(hook, 1);
  if (w.platform == nullptr && hook.ret == 0 && w.design.two_pass_zap &&
      is_shadow_present_pte<>(hook.old_spte)) {
    MMU_EMIT(hook, 6, ev::ExternalSetRet{0, hook.shared});
    w.emit(ev::ExternalSet{hook.gfn, hook.level, hook.old_spte, hook.new_spte,
                           detail::hook_kind(w, hook, true)});
    hook.ret = w.env.external_result(hook.gfn, hook.level, hook.old_spte, hook.new_spte);
    MMU_STEP(hook, 7);
  }
  if (w.platform != nullptr && hook.ret == 0) {
    hook.part = {};
    if (is_shadow_present_pte<>(hook.old_spte) && w.design.leaf_reclaim && !is_hkid_assigned(w)) {
      MMU_CALL(hook, 5, reclaim_leaf(w, hook));
    } else if (detail::splits_private_leaf(w, hook)) {
      MMU_CALL(hook, 8, tdx_sept_split_private_spte(w, hook));
    } else if (is_shadow_present_pte<>(hook.old_spte)) {
      MMU_CALL(hook, 2, tdx_sept_remove_leaf_spte(w, hook));
    } else if (!is_shadow_present_pte<>(hook.new_spte)) {
      kvm_bug(w, "TDX-BUG-NONPRESENT");
      hook.ret = -5;
    } else {
      MMU_CALL(hook, 3, tdx_sept_map_spte(w, hook));
    }
  }
  detail::hook_under_way(w, hook, false);
  MMU_EMIT(hook, 4, detail::hook_returns(w, hook));
  MMU_END(hook);
}

// Seed 004: RANGE.BLOCK on the entry whose table goes, then TRACK and the kick.
template <class W>
Run block_external_spt(W& w, TdxHook& hook) {
  MMU_BEGIN(hook);
  MMU_EMIT(hook, 1, ev::ExternalSet{hook.gfn, hook.level, hook.old_spte, hook.new_spte});
  hook.ret = 0;
  if (w.platform != nullptr) {
    hook.tdh = {0, tdh(w, tdx::Leaf::kMemRangeBlock, hook.gfn, hook.level, 0)};
    MMU_CALL(hook, 2, tdh_do_no_vcpus(w, hook.tdh));
    hook.ret = tdx_bug_on(w, hook.tdh.call) ? -5 : 0;
    if (td_runnable(w)) {
      hook.track = {};
      MMU_CALL(hook, 3, detail::track_and_kick(w, hook));
    }
  }
  MMU_EMIT(hook, 4, ev::ExternalSetRet{hook.ret, hook.shared});
  MMU_END(hook);
}

// free_external_spt: tdx_sept_free_private_spt. A page that the module does not give back is
// leaked, with the table's claim on it.
template <class W>
Run free_external_spt(W& w, TdxHook& hook, uint32_t table) {
  MMU_BEGIN(hook);
  MMU_EMIT(hook, 1, ev::ExternalFree{table});
  hook.ret = 0;
  if (w.platform != nullptr) {
    if (is_hkid_assigned(w)) {
      kvm_bug(w, "TDX-BUG-HKID");
      hook.ret = -5;
    } else {
      if (!detail::caches_flushed(w)) w.warn("TDX-RECLAIM-FLUSHED");
      hook.tdh.call = tdh(w, tdx::Leaf::kPhymemPageReclaim, 0, 0,
                          (w.field(CellKind::kSpExternal, table) - 1) << kPageShift);
      MMU_CALL(hook, 2, seamcall(w, hook.tdh.call));
      if (tdx_bug_on(w, hook.tdh.call)) hook.ret = -5;
      if (hook.ret == 0) {
        hook.pamt = {};
        MMU_CALL(hook, 3, tdx_pamt_put(w, hook, w.field(CellKind::kSpExternal, table) - 1));
      }
    }
  }
  if (hook.ret == 0) {
    if (w.platform != nullptr) {
      auto module = tdx_module(w);
      tdx::free_sept_page(module, w.field(CellKind::kSpExternal, table) - 1);
    }
    // Else tdp_mmu_free_sp() frees it, after the grace period.
    if (w.design.external_free == ExternalFree::kAtOnce) free_external_page(w, table);
  } else {
    w.set_field(CellKind::kSpExternal, table, 0);
  }
  MMU_END(hook);
}

}  // namespace mmucheck::model
