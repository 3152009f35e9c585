// model/tdp: KVM's side of a TD: what the external hooks of a mirror root do, as SEAMCALLs. Source:
// arch/x86/kvm/vmx/tdx.c (tdx_sept_set_private_spte, tdx_sept_map_leaf_spte,
// tdx_sept_map_nonleaf_spte, tdx_sept_remove_leaf_spte, tdx_track, tdh_do_no_vcpus,
// tdx_sept_free_private_spt, tdx_reclaim_page).
//
// A thread is inside at most one hook at a time; where it stands there is a TdxHook, which the
// environment keeps for the thread that is stepped. gfns have no shared bit; levels are KVM's
// (1 = 4K), the module's own are one less.
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

// The module's phases are steps of their own. What the environment injects (BUSY from somebody who
// is not stepped, a failure that a trace asks for) takes the place of the call.
template <class W>
Run seamcall(W& w, Seamcall& m) {
  MMU_BEGIN(m);
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
  MMU_EMIT(m, 3, ev::SeamcallRet{m.call.leaf, m.call.status.v,
                                 m.call.pos.table == kNoTable ? 0 : m.call.pos.level + 1});
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

// tdh_do_no_vcpus: BUSY once means that a vCPU holds a lock; the second try has none to meet.
template <class W>
Run tdh_do_no_vcpus(W& w, NoVcpus& m) {
  MMU_BEGIN(m);
  MMU_CALL(m, 1, seamcall(w, m.call));
  if (tdx_operand_busy(m.call.call.status)) {
    w.set_field(CellKind::kWaitForSeptZap, 0, 1);
    MMU_STEP(m, 2);
    kick_vcpus_out(w);
    {
      const tdx::Registers in = m.call.call.in;
      const tdx::Leaf leaf = m.call.call.leaf;
      m.call.pc = 0;
      m.call.call = {};
      m.call.call.leaf = leaf;
      m.call.call.in = in;
    }
    MMU_CALL(m, 3, seamcall(w, m.call));
    w.set_field(CellKind::kWaitForSeptZap, 0, 0);
  }
  MMU_END(m);
}

// tdx_sept_remove_leaf_spte: BLOCK, TRACK once vCPUs may run, kick, REMOVE, write back.
template <class W>
Run tdx_sept_remove_leaf_spte(W& w, TdxHook& hook) {
  TdxHook::Part& m = hook.part;
  MMU_BEGIN(m);
  hook.ret = -5;
  if (!w.locked_for_write()) w.warn("MMU-MIRROR-REMOVAL");
  if (!is_hkid_assigned(w) || hook.level != kPgLevel4K) {
    kvm_bug(w, is_hkid_assigned(w) ? "TDX-BUG-LEVEL" : "TDX-BUG-HKID");
    m.pc = 0;
    return Run::kDone;
  }
  hook.tdh = {0, tdh(w, tdx::Leaf::kMemRangeBlock, hook.gfn, hook.level, 0)};
  MMU_CALL(m, 1, tdh_do_no_vcpus(w, hook.tdh));
  if (!tdx_bug_on(w, hook.tdh.call)) {
    if (td_runnable(w)) {  // tdx_track
      hook.tdh = {0, tdh(w, tdx::Leaf::kMemTrack, 0, 0, 0)};
      MMU_CALL(m, 2, tdh_do_no_vcpus(w, hook.tdh));
      tdx_bug_on(w, hook.tdh.call);
      kick_vcpus_out(w);
      MMU_STEP(m, 3);
    }
    hook.tdh = {0, tdh(w, tdx::Leaf::kMemPageRemove, hook.gfn, hook.level, 0)};
    MMU_CALL(m, 4, tdh_do_no_vcpus(w, hook.tdh));
    if (!tdx_bug_on(w, hook.tdh.call)) {
      hook.tdh.call = tdh(w, tdx::Leaf::kPhymemPageWbinvd, 0, 0,
                          spte_to_pfn<>(hook.old_spte) << kPageShift);
      MMU_CALL(m, 5, seamcall(w, hook.tdh.call));
      if (!tdx_bug_on(w, hook.tdh.call)) hook.ret = 0;
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
    }
    hook.tdh.call = tdh(w, call, hook.gfn, hook.level, page << kPageShift);
  }
  MMU_CALL(m, 1, seamcall(w, hook.tdh.call));
  if (tdx_operand_busy(hook.tdh.call.call.status)) {
    hook.ret = -16;
  } else if (!tdx_bug_on(w, hook.tdh.call)) {
    hook.ret = 0;
  }
  MMU_END(m);
}

// set_external_spte: tdx_sept_set_private_spte, or what a script says that the hook answers.
template <class W>
Run set_external_spte(W& w, TdxHook& hook) {
  MMU_BEGIN(hook);
  w.emit(ev::ExternalSet{hook.gfn, hook.level, hook.old_spte, hook.new_spte});
  hook.ret = w.env.external_result(hook.gfn, hook.level, hook.old_spte, hook.new_spte);
  MMU_STEP(hook, 1);
  if (w.platform != nullptr && hook.ret == 0) {
    hook.part = {};
    if (is_shadow_present_pte<>(hook.old_spte)) {
      MMU_CALL(hook, 2, tdx_sept_remove_leaf_spte(w, hook));
    } else if (!is_shadow_present_pte<>(hook.new_spte)) {
      kvm_bug(w, "TDX-BUG-NONPRESENT");
      hook.ret = -5;
    } else {
      MMU_CALL(hook, 3, tdx_sept_map_spte(w, hook));
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
    free_external_page(w, table);
  } else {
    w.set_field(CellKind::kSpExternal, table, 0);
  }
  MMU_END(hook);
}

}  // namespace mmucheck::model
