// model/tdp: a TD's life as KVM leads it: initialisation, the initial memory image, finalization,
// and the way the HKID goes; and what its guest does to the S-EPT by itself. Source:
// arch/x86/kvm/vmx/tdx.c (tdx_td_init, tdx_td_finalize, tdx_mmu_release_hkid), mmu.c
// (kvm_tdp_mmu_map_private_pfn).
#pragma once

#include "model/tdp/map.h"
#include "model/tdx/td_setup.h"

namespace mmucheck::model {

// KVM_TDX_INIT_VM, and what comes before: the TD has its key, and nothing in its S-EPT.
template <class W>
void tdx_td_init(W& w) {
  auto module = tdx_module(w);
  tdx::set_up_td(module, 0, {.op_state = tdx::OpState::kInitialized});
  for (uint32_t vcpu = 0; vcpu < w.platform->vcpus.size(); vcpu++) {
    tdx::set_up_vcpu(module, vcpu, tdx::kNone, 0);
  }
  w.set_field(CellKind::kHkidAssigned, 0, 1);
}

// What differs between versions of the module. KVM does what pending series do only where it can.
inline tdx::ModuleVersion module_version(const Design& design) {
  tdx::ModuleVersion v;
  v.flush_on_vcpu_switch = design.module_switch_flush;
  v.dynamic_pamt = design.dynamic_pamt;
  v.non_blocking_resize = design.demote_protocol == DemoteProtocol::kDemoteOnly;
  return v;
}

struct TdxFinalize {
  uint8_t pc = 0;
  int32_t ret = 0;
  Seamcall call = {};
};

// tdx_td_finalize.
template <class W>
Run tdx_td_finalize(W& w, TdxFinalize& m) {
  MMU_BEGIN(m);
  m.ret = 0;
  if (w.field(CellKind::kNrPremapped) != 0) {  // pages that wait for their PAGE.ADD
    m.ret = -22;
    return Run::kDone;
  }
  m.call = tdh(w, tdx::Leaf::kMrFinalize, 0, 0, 0);
  MMU_CALL(m, 1, seamcall(w, m.call));
  if (!m.call.call.status.ok()) m.ret = -5;
  if (m.call.call.status.ok()) {
    if (!w.design.finalize_barriers && w.env.lock_steps()) {
      w.set_field(CellKind::kPreFaultAllowed, 0, 1);
      MMU_STEP(m, 2);
    }
    w.set_field(CellKind::kTdRunnable, 0, 1);
    w.set_field(CellKind::kPreFaultAllowed, 0, 1);
  }
  MMU_END(m);
}

struct ReleaseHkid {
  uint8_t pc = 0;
  uint8_t next = 0;
  Seamcall call = {};
};

// tdx_mmu_release_hkid: vCPUs, which are out of the guest for good, are flushed from their CPUs,
// caches are written back, the key goes.
template <class W>
Run tdx_mmu_release_hkid(W& w, ReleaseHkid& m) {
  constexpr tdx::Leaf calls[] = {tdx::Leaf::kMngVpflushdone, tdx::Leaf::kPhymemCacheWb,
                                 tdx::Leaf::kMngKeyFreeid};
  MMU_BEGIN(m);
  kick_vcpus_out(w);
  for (m.next = 0; m.next < w.platform->vcpus.size(); m.next++) {
    if (w.field(CellKind::kTdvpsAssoc, m.next) == 0) continue;
    m.call = tdh(w, tdx::Leaf::kVpFlush, 0, 0, 0);
    m.call.call.vcpu = m.next;
    m.call.call.lp = static_cast<uint32_t>(w.field(CellKind::kTdvpsAssoc, m.next) - 1);
    m.call.call.in.rcx = w.platform->vcpus[m.next].tdvpr << kPageShift;
    MMU_CALL(m, 2, seamcall(w, m.call));
    tdx_bug_on(w, m.call);
  }
  for (m.next = 0; m.next < 3; m.next++) {
    if (calls[m.next] == tdx::Leaf::kPhymemCacheWb &&
        w.design.hkid_release == HkidRelease::kBeforeCacheWb) {
      w.set_field(CellKind::kHkidAssigned, 0, 0);
    }
    m.call = tdh(w, calls[m.next], 0, 0, 0);
    MMU_CALL(m, 1, seamcall(w, m.call));
    // The HKID stays, and all that needs it to be gone is leaked; no bug for KVM.
    if (m.call.call.status.code() == tdx::StatusCode::kFlushvpNotDone) break;
    if (tdx_bug_on(w, m.call)) break;
  }
  if (m.next == 3) w.set_field(CellKind::kHkidAssigned, 0, 0);
  MMU_END(m);
}

// The end of a TD: what the module still counts. Its control pages go back, the S-EPT's root among
// them; an S-EPT page that KVM leaked is out of reach with it.
template <class W>
ev::TdDestroy td_destroy(W& w) {
  auto module = tdx_module(w);
  const tdx::TdConfig& td = w.platform->tds[0];
  tdx::free_sept_tree(module, td.sept_root, td.top_level());
  return {module.get(CellKind::kTdChldcnt), module.get(CellKind::kTdEpoch),
          w.field(CellKind::kTdxBugs)};
}

struct RawSeamcall {  // a call that no hook made
  uint8_t pc = 0;
  tdx::Leaf leaf = tdx::Leaf::kMemTrack;
  int8_t level = 0;
  uint16_t vcpu = 0;  // that makes a TDCALL, enters or is flushed
  uint32_t lp = 0;   // CPU
  uint64_t gfn = 0;
  uint64_t hpa = 0;
  Seamcall call = {};
};

template <class W>
bool vcpu_is_inside(const W& w, uint32_t vcpu) {
  return w.field(CellKind::kTdvpsInside, vcpu) != 0;
}

// vcpu_enter_guest: KVM_REQ_VM_DEAD keeps a vCPU out, unless somebody took the request away.
template <class W>
bool vm_dead_is_due(const W& w, uint32_t vcpu) {
  return w.field(CellKind::kVmBugged) != 0 &&
         w.store.get(cell::of(CellKind::kVcpuRequest, vcpu, kVmDeadSeen)) == 0;
}

namespace detail {

template <class W>
void prepare_raw(W& w, RawSeamcall& m, tdx::Leaf leaf) {
  m.call = tdh(w, leaf, m.gfn, m.level, m.hpa);
  m.call.call.vcpu = m.vcpu;
  m.call.call.lp = m.lp;
  if (leaf == tdx::Leaf::kVpFlush || leaf == tdx::Leaf::kVpInit) {
    m.call.call.in.rcx = w.platform->vcpus[m.vcpu].tdvpr << kPageShift;
  }
}

}  // namespace detail

// A SEAMCALL behind KVM's back, or what a guest does. Where machines are driven step by step a vCPU
// enters the TD before a TDCALL, and looks at wait_for_sept_zap and at KVM_REQ_VM_DEAD before that
// (tdx_vcpu_run); one that is on its way out is waited for by who kicks it.
template <class W>
Run raw_seamcall(W& w, RawSeamcall& m) {
  const bool enters = tdx::is_tdcall(m.leaf) || m.leaf == tdx::Leaf::kVpEnter;
  const bool guest = w.env.lock_steps() && (enters || m.leaf == tdx::Leaf::kTdExit);
  const bool looks = (guest && enters) || m.leaf == tdx::Leaf::kVpEnter;
  MMU_BEGIN(m);
  if (guest && enters && !vcpu_is_inside(w, m.vcpu) && w.field(CellKind::kWaitForSeptZap) != 0) {
    return Run::kBlocked;
  }
  if (looks && vm_dead_is_due(w, m.vcpu)) return Run::kDone;
  if (guest) {
    if (enters && !vcpu_is_inside(w, m.vcpu) &&
        w.design.kick_barriers == KickBarriers::kNotOnEntry) {
      MMU_STEP(m, 4);
    }
    w.set_field(CellKind::kVcpuInCall, m.vcpu, 1);
    if (tdx::is_tdcall(m.leaf) && !vcpu_is_inside(w, m.vcpu)) {
      detail::prepare_raw(w, m, tdx::Leaf::kVpEnter);
      MMU_CALL(m, 2, seamcall(w, m.call));
    }
  }
  if (!guest || vcpu_is_inside(w, m.vcpu) == (m.leaf != tdx::Leaf::kVpEnter)) {
    detail::prepare_raw(w, m, m.leaf);
    MMU_CALL(m, 1, seamcall(w, m.call));
  }
  if (guest) {
    w.set_field(CellKind::kVcpuInCall, m.vcpu, 0);
    MMU_LEFT(m, 3);
  }
  MMU_END(m);
}

struct VcpuInit {
  uint8_t pc = 0;
  uint16_t vcpu = 0;
  RawSeamcall init = {};
};

// tdx_td_vcpu_init: TDH.VP.INIT wants the TDR for itself, which no zap may meet (6.19).
template <class W>
Run tdx_td_vcpu_init(W& w, VcpuInit& m) {
  MMU_BEGIN(m);
  if (w.design.vp_init_mmu_lock) MMU_LOCK(m, 20, LockMode::kWrite);
  m.init = {};
  m.init.vcpu = m.vcpu;
  m.init.leaf = tdx::Leaf::kVpInit;
  MMU_CALL(m, 1, raw_seamcall(w, m.init));
  if (w.design.vp_init_mmu_lock) mmu_unlock(w, LockMode::kWrite);
  MMU_END(m);
}

struct ZeroStepEnter {
  uint8_t pc = 0;
  tdx::ModuleCall call = {};
};

// TDH.VP.ENTER while the zero-step mitigation is active: what it does with the tree lock alone.
template <class W>
Run vp_enter_zero_step(W& w, ZeroStepEnter& m) {
  MMU_BEGIN(m);
  if (w.env.lock_steps()) {
    if (w.field(CellKind::kWaitForSeptZap) != 0) return Run::kBlocked;
    w.set_field(CellKind::kVcpuInCall, 0, 1);
  }
  MMU_EMIT(m, 1, ev::Seamcall{tdx::Leaf::kVpEnter, 0, 0, 0});
  m.call = {};
  m.call.status = w.env.injected_status(tdx::Leaf::kVpEnter);
  if (m.call.status.ok()) {
    {
      auto module = tdx_module(w);
      if (!tdx::try_lock(module, m.call, cell::of(CellKind::kTdSeptLock), tdx::HeldKind::kSharex,
                         tdx::LockMode::kExclusive)) {
        m.call.status = {tdx::StatusCode::kOperandBusy, tdx::Operand::kSeptTree};
      }
    }
    MMU_STEP(m, 2);
    {
      auto module = tdx_module(w);
      tdx::release_all(module, m.call);
    }
  }
  if (w.env.lock_steps()) w.set_field(CellKind::kVcpuInCall, 0, 0);
  MMU_EMIT(m, 3, ev::SeamcallRet{tdx::Leaf::kVpEnter, m.call.status.v, 0, nullptr});
  MMU_END(m);
}

struct MapPrivatePfn {
  uint8_t pc = 0;
  uint16_t vcpu = 0;
  uint64_t gfn = 0;
  int32_t ret = 0;
  TdpMmuMap map = {};
  Seamcall add = {};
};

// kvm_tdp_mmu_map_private_pfn: maps a page of the initial memory image; the vCPU has its roots. The
// caller holds slots_lock and the file's invalidation lock (kvm_gmem_populate).
// Where the hook only counts, tdx_gmem_post_populate adds the page afterwards.
template <class W>
Run kvm_tdp_mmu_map_private_pfn(W& w, MapPrivatePfn& m) {
  const uint32_t slot = gfn_to_memslot(w, 0, m.gfn);
  const uint64_t file = slot == kNoSlot ? 0 : slot_get(w, slot, SlotField::kGmem);
  MMU_BEGIN(m);
  if (slots_lock_held(w) || gmem_lock_held(w, file)) return Run::kBlocked;
  set_slots_lock(w, true);
  set_gmem_lock(w, file, true);
  w.set_field(CellKind::kPageAddSrc, 0, 1);
  do {
    m.map = {};
    if (!w.design.populate_has_pfn) {  // kvm_tdp_map_page
      w.warn("MMU-GMEM-LOCK");
      MMU_EMIT(m, 5, ev::Enter{ev::Fn::kGmemGetPfn, kNoTable, {slot, m.gfn}});
    }
    {
      Fault& f = m.map.fault;
      const auto found = w.env.faultin_pfn();
      f.vcpu = m.vcpu;
      f.gfn = m.gfn;
      f.addr = m.gfn << kPageShift;
      f.prefetch = true;
      f.is_private = true;
      f.max_level = kPgLevel4K;
      f.nx_workaround = w.host.nx_huge_pages;
      f.slot = gfn_to_memslot(w, 0, m.gfn);
      f.pfn = found.pfn;
      f.map_writable = true;
    }
    MMU_EMIT(m, 1, tdp_map_entry(m.map.fault));
    MMU_LOCK(m, 20, LockMode::kRead);
    MMU_CALL(m, 2, kvm_tdp_mmu_map(w, m.map));
    mmu_unlock(w, LockMode::kRead);
    m.ret = static_cast<int32_t>(m.map.ret);
    MMU_EMIT(m, 3, ev::Return{ev::Fn::kTdpMap, static_cast<uint64_t>(m.map.ret)});
  } while (m.map.ret == RetPf::kRetry && !w.field(CellKind::kVmBugged));
  if (w.design.premap_count && w.platform != nullptr && !td_runnable(w) &&
      w.field(CellKind::kNrPremapped) != 0 &&
      (m.map.ret == RetPf::kFixed || m.map.ret == RetPf::kSpurious)) {
    m.add = tdh(w, tdx::Leaf::kMemPageAdd, m.gfn, kPgLevel4K, m.map.fault.pfn << kPageShift);
    MMU_CALL(m, 4, seamcall(w, m.add));
    if (m.add.call.status.ok()) {
      w.store.add(cell::of(CellKind::kNrPremapped), ~uint64_t{0});
    } else {
      m.ret = tdx_operand_busy(m.add.call.status) ? -16 : -5;
    }
  }
  w.set_field(CellKind::kPageAddSrc, 0, 0);
  set_gmem_lock(w, file, false);
  set_slots_lock(w, false);
  MMU_END(m);
}

}  // namespace mmucheck::model
