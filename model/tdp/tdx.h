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

#include "model/tdp/page_table.h"
#include "model/tdp/tdx_hook.h"
#include "model/tdx/call.h"
#include "model/vm/step.h"

namespace mmucheck::model {

template <class W>
auto tdx_module(W& w) {
  return tdx::ModuleWorld{w.store, *w.platform};
}

// kvm_tdx->state is TD_STATE_RUNNABLE.
template <class W>
bool td_runnable(const W& w) {
  return w.field(CellKind::kTdRunnable) != 0;
}
template <class W>
bool is_hkid_assigned(const W& w) {
  return w.field(CellKind::kHkidAssigned) != 0;
}

// tdx_operand_busy: whatever the operand.
constexpr bool tdx_operand_busy(tdx::Status s) {
  return s.code() == tdx::StatusCode::kOperandBusy;
}

// A SEAMCALL on the entry of `level` for `gfn`, or on the page `hpa`; 0 and level 0: none.
template <class W>
Seamcall tdh(const W& w, tdx::Leaf leaf, uint64_t gfn, int level, uint64_t hpa) {
  Seamcall m;
  m.gpa = gfn << kPageShift;
  m.level = static_cast<int8_t>(level);
  m.hpa = hpa;
  tdx::ModuleCall& c = m.call;
  c.leaf = leaf;
  const uint64_t tdr = w.platform->tds[0].tdr << kPageShift;
  switch (leaf) {
    case tdx::Leaf::kMemTrack:
    case tdx::Leaf::kMrFinalize:
    case tdx::Leaf::kMngVpflushdone:
    case tdx::Leaf::kMngKeyFreeid: c.in.rcx = tdr; break;
    case tdx::Leaf::kPhymemPageReclaim:
    case tdx::Leaf::kPhymemPageWbinvd: c.in.rcx = hpa; break;
    case tdx::Leaf::kPhymemCacheWb: break;
    case tdx::Leaf::kVpEnter:
    case tdx::Leaf::kVpFlush: break;  // the caller names the vCPU
    default:
      c.in.rcx = m.gpa | static_cast<uint64_t>(level - 1);
      c.in.rdx = tdr;
      c.in.r8 = hpa;
  }
  return m;
}

namespace detail {

// Content and state of an S-EPT entry as RCX and RDX would show them: the HPA, and the
// architectural number of the state in the low byte.
constexpr uint64_t sept_hpa_and_state(uint64_t e, int level) {
  const bool empty = tdx::is_sept_free<>(e) || tdx::is_state<>(e, tdx::SeptEntryState::kRemoved);
  return (empty ? 0 : tdx::sept_hpa<>(e, level)) | tdx::sept_arch_state<>(tdx::sept_state<>(e));
}

template <class W>
void emit_sept_change(W& w, const tdx::ModuleCall& c) {
  if (c.pos.table == kNoTable || !w.store.is_live(c.pos.table)) return;
  constexpr uint64_t locks = tdx::kSeptTdel | tdx::kSeptTdhp;
  const uint64_t now = w.store.get(c.pos.cell()) & ~locks;
  if (now == (c.entry & ~locks)) return;
  const uint64_t gpa = c.gpa & ~(tdx::sept_span(c.pos.level) - 1);
  w.emit(ev::SeptState{gpa, c.pos.level + 1, sept_hpa_and_state(c.entry, c.pos.level),
                       sept_hpa_and_state(now, c.pos.level)});
}

}  // namespace detail

// spin_lock(&kvm_tdx->seamcall_lock), where a waiter is a thread that is blocked.
template <class W>
bool try_seamcall_lock(W& w) {
  if (w.field(CellKind::kSeamcallLock) != 0) return false;
  w.set_field(CellKind::kSeamcallLock, 0, 1);
  return true;
}

// The module's phases are steps of their own. What the environment injects (BUSY from somebody who
// is not stepped, a failure that a trace asks for) takes the place of the call.
template <class W>
Run seamcall(W& w, Seamcall& m) {
  const bool locks = w.design.seamcall_lock && !w.design.seamcall_lock_spans_set;
  MMU_BEGIN(m);
  if (locks && !try_seamcall_lock(w)) return Run::kBlocked;
  MMU_EMIT(m, 1, ev::Seamcall{m.call.leaf, m.gpa, m.level, m.hpa});
  m.call.status = w.env.injected_status(m.call.leaf);
  if (m.call.status.ok()) {
    while (true) {
      {
        auto module = tdx_module(w);
        if (tdx::step(module, m.call) == Run::kDone) break;
      }
      MMU_STEP(m, 2);
    }
    if (m.call.status.ok()) detail::emit_sept_change(w, m.call);
  }
  if (locks) w.set_field(CellKind::kSeamcallLock, 0, 0);
  MMU_EMIT(m, 3, ev::SeamcallRet{m.call.leaf, m.call.status.v,
                                 m.call.pos.table == kNoTable ? 0 : m.call.pos.level + 1,
                                 &m.call});
  MMU_END(m);
}

// TDX_BUG_ON: any status but success.
template <class W>
bool tdx_bug_on(W& w, const Seamcall& m) {
  if (m.call.status.ok()) return false;
  w.store.add(cell::of(CellKind::kTdxBugs), 1);
  kvm_bug(w, "TDX-BUG-SEAMCALL");
  return true;
}

// KVM_REQ_OUTSIDE_GUEST_MODE: returns when every vCPU is out of the guest.
template <class W>
void kick_vcpus_out(W& w) {
  auto module = tdx_module(w);
  for (uint32_t vcpu = 0; vcpu < w.platform->vcpus.size(); vcpu++) {
    if (module.get(CellKind::kTdvpsInside, vcpu) != 0) tdx::td_exit(module, vcpu);
  }
}

namespace detail {

inline void prepare_again(Seamcall& m) {
  const tdx::Registers in = m.call.in;
  const tdx::Leaf leaf = m.call.leaf;
  m.pc = 0;
  m.call = {};
  m.call.leaf = leaf;
  m.call.in = in;
}

}  // namespace detail

// tdh_do_no_vcpus: BUSY once means that a vCPU holds a lock; the second try has none to meet. v19
// spins until REMOVE and TRACK meet no lock: a thread that does is blocked.
template <class W>
Run tdh_do_no_vcpus(W& w, NoVcpus& m) {
  MMU_BEGIN(m);
  MMU_CALL(m, 1, seamcall(w, m.call));
  if (!tdx_operand_busy(m.call.call.status)) {
    // Done.
  } else if (w.design.seamcall_busy == SeamcallBusy::kRetryFault) {
    if (m.call.call.leaf != tdx::Leaf::kMemRangeBlock) {
      detail::prepare_again(m.call);
      m.pc = 1;
      return Run::kBlocked;
    }
  } else if (w.design.seamcall_busy == SeamcallBusy::kKickRetry) {
    w.set_field(CellKind::kWaitForSeptZap, 0, 1);
    MMU_STEP(m, 2);
    kick_vcpus_out(w);
    detail::prepare_again(m.call);
    MMU_CALL(m, 3, seamcall(w, m.call));
    w.set_field(CellKind::kWaitForSeptZap, 0, 0);
  }
  MMU_END(m);
}

namespace detail {

template <class W>
void pin_page(W& w, uint64_t pfn, bool get) {
  if (!w.design.page_pins) return;
  w.store.add(cell::of(CellKind::kPagePins, 0, pfn), get ? 1 : ~uint64_t{0});
  w.store.add(cell::of(CellKind::kPinnedPages), get ? 1 : ~uint64_t{0});
  if (!get) w.emit(ev::PutPage{pfn});
}

// What a hook that sets an entry tells when it returns.
inline ev::ExternalSetRet hook_returns(const TdxHook& hook) {
  const bool removed = hook.ret == 0 && is_shadow_present_pte<>(hook.old_spte) &&
                       is_last_spte<>(hook.old_spte, hook.level);
  return {hook.ret, hook.shared, removed ? spte_to_pfn<>(hook.old_spte) + 1 : 0};
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
    kick_vcpus_out(w);
    MMU_STEP(m, 1);
  }
  MMU_CALL(m, 2, tdh_do_no_vcpus(w, hook.tdh));
  tdx_bug_on(w, hook.tdh.call);
  if (kick_first) {
    w.set_field(CellKind::kWaitForSeptZap, 0, 0);
  } else {
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
  hook.tdh.call = tdh(w, tdx::Leaf::kPhymemPageReclaim, 0, 0,
                      spte_to_pfn<>(hook.old_spte) << kPageShift);
  MMU_CALL(m, 1, seamcall(w, hook.tdh.call));
  hook.ret = tdx_bug_on(w, hook.tdh.call) ? -5 : 0;
  if (hook.ret == 0) detail::pin_page(w, spte_to_pfn<>(hook.old_spte), false);
  MMU_END(m);
}

// tdx_sept_remove_leaf_spte: BLOCK, TRACK once vCPUs may run, kick, REMOVE, write back. With two
// hooks (zap_private_spte, remove_private_spte) the first one returns after the BLOCK.
template <class W>
Run tdx_sept_remove_leaf_spte(W& w, TdxHook& hook) {
  TdxHook::Part& m = hook.part;
  MMU_BEGIN(m);
  hook.ret = -5;
  if (!w.locked_for_write() && w.design.mirror_removal == MirrorRemoval::kWriteLock) {
    w.warn("MMU-MIRROR-REMOVAL");
  }
  if (!is_hkid_assigned(w) || hook.level != kPgLevel4K) {
    kvm_bug(w, is_hkid_assigned(w) ? "TDX-BUG-LEVEL" : "TDX-BUG-HKID");
    m.pc = 0;
    return Run::kDone;
  }
  hook.tdh = {0, tdh(w, tdx::Leaf::kMemRangeBlock, hook.gfn, hook.level, 0)};
  MMU_CALL(m, 1, tdh_do_no_vcpus(w, hook.tdh));
  if (detail::was_premapped(w, hook.tdh.call.call.status)) {
    w.store.add(cell::of(CellKind::kNrPremapped), ~uint64_t{0});
    detail::pin_page(w, spte_to_pfn<>(hook.old_spte), false);
    hook.ret = 0;
  } else if (!tdx_bug_on(w, hook.tdh.call)) {
    if (w.design.two_pass_zap) {
      MMU_EMIT(m, 6, ev::ExternalSetRet{0, hook.shared});
      MMU_EMIT(m, 7, ev::ExternalSet{hook.gfn, hook.level, hook.old_spte, hook.new_spte});
    }
    if (td_runnable(w)) {
      hook.track = {};
      MMU_CALL(m, 2, detail::track_and_kick(w, hook));
    }
    hook.tdh = {0, tdh(w, tdx::Leaf::kMemPageRemove, hook.gfn, hook.level, 0)};
    MMU_CALL(m, 4, tdh_do_no_vcpus(w, hook.tdh));
    if (!tdx_bug_on(w, hook.tdh.call)) {
      hook.tdh.call = tdh(w, tdx::Leaf::kPhymemPageWbinvd, 0, 0,
                          spte_to_pfn<>(hook.old_spte) << kPageShift);
      MMU_CALL(m, 5, seamcall(w, hook.tdh.call));
      if (!tdx_bug_on(w, hook.tdh.call)) hook.ret = 0;
      if (hook.ret == 0) detail::pin_page(w, spte_to_pfn<>(hook.old_spte), false);
    }
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
      const uint32_t child = w.store.find_table(page);
      const uint64_t external =
          child == kNoTable ? 0 : w.env.external_page(child, w.field(CellKind::kSpExternal, child));
      if (external == 0) {
        kvm_bug(w, "TDX-BUG-SPT");
        m.pc = 0;
        return Run::kDone;
      }
      w.set_field(CellKind::kSpExternal, child, external);
      page = external - 1;
    } else if (hook.level > w.vm.tdx_level_limit) {
      kvm_bug(w, "TDX-BUG-LEVEL");
      m.pc = 0;
      return Run::kDone;
    } else {
      call = td_runnable(w) ? tdx::Leaf::kMemPageAug : tdx::Leaf::kMemPageAdd;
      detail::pin_page(w, page, true);
      if (w.design.premap_count && !td_runnable(w)) {  // tdx_mem_page_record_premap_cnt
        w.store.add(cell::of(CellKind::kNrPremapped), 1);
        hook.ret = 0;
        m.pc = 0;
        return Run::kDone;
      }
    }
    hook.tdh.call = tdh(w, call, hook.gfn, hook.level, page << kPageShift);
  }
  MMU_CALL(m, 1, seamcall(w, hook.tdh.call));
  if (tdx_operand_busy(hook.tdh.call.call.status) &&
      w.design.seamcall_busy != SeamcallBusy::kBug) {
    hook.ret = -16;
  } else if (!tdx_bug_on(w, hook.tdh.call)) {
    hook.ret = 0;
  }
  // Where errors go nowhere the mapping stays, and so does its pin.
  if (hook.ret != 0 && is_last_spte<>(hook.new_spte, hook.level) &&
      w.design.hook_errors == HookErrors::kReturned) {
    detail::pin_page(w, spte_to_pfn<>(hook.new_spte), false);
  }
  MMU_END(m);
}

// set_external_spte: tdx_sept_set_private_spte, or what a script says that the hook answers. Other
// names for it are link_external_spt, remove_external_spte (6.14) and those with `private` (v19).
template <class W>
Run set_external_spte(W& w, TdxHook& hook) {
  MMU_BEGIN(hook);
  w.emit(ev::ExternalSet{hook.gfn, hook.level, hook.old_spte, hook.new_spte});
  hook.ret = w.env.external_result(hook.gfn, hook.level, hook.old_spte, hook.new_spte);
  MMU_STEP(hook, 1);
  if (w.platform == nullptr && hook.ret == 0 && w.design.two_pass_zap &&
      is_shadow_present_pte<>(hook.old_spte)) {
    MMU_EMIT(hook, 6, ev::ExternalSetRet{0, hook.shared});
    w.emit(ev::ExternalSet{hook.gfn, hook.level, hook.old_spte, hook.new_spte});
    hook.ret = w.env.external_result(hook.gfn, hook.level, hook.old_spte, hook.new_spte);
    MMU_STEP(hook, 7);
  }
  if (w.platform != nullptr && hook.ret == 0) {
    hook.part = {};
    if (is_shadow_present_pte<>(hook.old_spte) && w.design.leaf_reclaim && !is_hkid_assigned(w)) {
      MMU_CALL(hook, 5, reclaim_leaf(w, hook));
    } else if (is_shadow_present_pte<>(hook.old_spte)) {
      MMU_CALL(hook, 2, tdx_sept_remove_leaf_spte(w, hook));
    } else if (!is_shadow_present_pte<>(hook.new_spte)) {
      kvm_bug(w, "TDX-BUG-NONPRESENT");
      hook.ret = -5;
    } else {
      MMU_CALL(hook, 3, tdx_sept_map_spte(w, hook));
    }
  }
  MMU_EMIT(hook, 4, detail::hook_returns(hook));
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
      hook.tdh.call = tdh(w, tdx::Leaf::kPhymemPageReclaim, 0, 0,
                          (w.field(CellKind::kSpExternal, table) - 1) << kPageShift);
      MMU_CALL(hook, 2, seamcall(w, hook.tdh.call));
      if (tdx_bug_on(w, hook.tdh.call)) hook.ret = -5;
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
