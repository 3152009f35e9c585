// TDs of a hand-written trace: SEAMCALLs behind KVM's back, TDCALLs of the guest, its accesses to
// private memory, the initial memory image.
#include <fmt/format.h>

#include "checker/replay/field_ranges.h"
#include "checker/replay/seamcall_probes.h"
#include "checker/replay/synthetic/synthetic_replayer.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT: machines by name
using invariant::id;
using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;

// 48 or 52, and the shared bit where that has it, or nothing is said.
void SyntheticReplayer::check_gpaw(const Event& e) const {
  namespace x = f::vm_config;
  const uint64_t gpaw = e.get_or(x::gpaw, 48);
  if (gpaw != 48 && gpaw != 52) {
    bad_packet(verdict_.file, e, fmt::format("gpaw is {}, not 48 or 52", gpaw));
  }
  if (!e.has(x::gpaw)) return;
  const uint64_t shared = gfn_direct_bits_for_gpaw(static_cast<int>(gpaw));
  if (e.get_or(x::direct_gfn_bits, shared) != shared) {
    bad_packet(verdict_.file, e,
               fmt::format("direct_gfn_bits is {:#x}, but gpaw {} has the shared bit {:#x}",
                           e.get(x::direct_gfn_bits), gpaw, shared));
  }
}

void SyntheticReplayer::start_td(const Event& e, Thread& t, Vm& v) {
  if (v.model->destroyed) bad_packet(verdict_.file, e, "the TD was destroyed");
  ReplayWorld& w = v.model->world;
  const auto known = [&](uint64_t vcpu) {
    if (vcpu < w.platform->vcpus.size()) return true;
    refuse(e, "the TD has no such vCPU");
    return false;
  };
  switch (e.kind) {
    case K::kMockFinalize: return push(t, v, e, TdxFinalize{});
    case K::kMockZeroStep: return push(t, v, e, ZeroStepEnter{});
    case K::kMockReleaseHkid:
      if (w.field(CellKind::kHkidAssigned) == 0) return refuse(e, "the TD has no HKID any more");
      return push(t, v, e, ReleaseHkid{});
    case K::kVcpuInit: {
      if (!known(e.get(f::vcpu_init::vcpu_id))) return;
      return push(t, v, e, VcpuInit{0, static_cast<uint16_t>(e.get(f::vcpu_init::vcpu_id)), {}});
    }
    case K::kMapPrivatePfn: {
      namespace x = f::map_private_pfn;
      if (!known(e.get(x::vcpu_id))) return;
      MapPrivatePfn m;
      m.vcpu = static_cast<uint16_t>(e.get(x::vcpu_id));
      m.gfn = e.get(x::gfn);
      if (is_gfn_alias<>(w.vm.gfn_direct_bits, {m.gfn}) || m.gfn >= kFrameLimit) {
        bad_packet(verdict_.file, e, fmt::format("gfn {:#x} is not private", m.gfn));
      }
      if (const uint32_t root = vcpu_root(w, m.vcpu, w.vm.has_mirror);
          root == kNoTable || w.root_invalid(root)) {
        return refuse(e, "the vCPU has no root to map it under");
      }
      if (!t.in.fault_pfn) t.in.fault_pfn = FaultinPfn{kBackingFrame + m.gfn, true, kPgLevel4K};
      return push(t, v, e, m);
    }
    case K::kGuestAccept: {
      namespace x = f::guest_accept;
      if (!known(e.get(x::vcpu_id))) return;
      GuestAccept m;
      m.vcpu = static_cast<uint16_t>(e.get(x::vcpu_id));
      m.level = static_cast<int8_t>(e.get_or(x::level, 1));
      m.gfn = e.get(x::gpa) >> kPageShift;
      private_backing(t, v, m.gfn);
      return push(t, v, e, m);
    }
    case K::kVcpuEnter:
    case K::kVcpuExit: {
      RawSeamcall m;
      m.leaf = e.kind == K::kVcpuEnter ? tdx::Leaf::kVpEnter : tdx::Leaf::kTdExit;
      if (!known(e.get(f::vcpu_enter::vcpu_id))) return;
      m.vcpu = static_cast<uint16_t>(e.get(f::vcpu_enter::vcpu_id));
      if (e.kind == K::kVcpuEnter) m.lp = static_cast<uint32_t>(e.get(f::vcpu_enter::on_cpu));
      if (e.kind == K::kVcpuExit && w.field(CellKind::kTdvpsInside, m.vcpu) == 0) {
        return refuse(e, "the vCPU is not in the TD");
      }
      return push(t, v, e, m);
    }
    case K::kVcpuMigrate: {  // tdx_vcpu_load: the vCPU is flushed where it was
      RawSeamcall m;
      m.leaf = tdx::Leaf::kVpFlush;
      if (!known(e.get(f::vcpu_migrate::vcpu_id))) return;
      m.vcpu = static_cast<uint16_t>(e.get(f::vcpu_migrate::vcpu_id));
      m.lp = static_cast<uint32_t>(e.get(f::vcpu_migrate::from_cpu));
      return push(t, v, e, m);
    }
    case K::kExternalHook: {
      namespace x = f::external_hook;
      HookOp op;
      op.hook.gfn = e.get(x::gfn);
      op.hook.level = static_cast<int8_t>(e.get_or(x::level, 1));
      op.hook.old_spte = e.get(x::old_spte);
      op.hook.new_spte = e.get(x::new_spte);
      if (static_cast<trace::HookKind>(e.get(x::hook)) != trace::HookKind::kSet) {
        return refuse(e, "the hook that can be called is HOOK_KIND_SET");
      }
      return push(t, v, e, op);
    }
    default: break;
  }
  namespace x = f::seamcall;
  constexpr auto kLastLeaf = static_cast<uint64_t>(trace::SeamcallLeaf::kPhymemPamtRemove);
  if (e.get(x::leaf) == 0 || e.get(x::leaf) > kLastLeaf) {
    bad_packet(verdict_.file, e, fmt::format("there is no leaf {}", e.get(x::leaf)));
  }
  const auto leaf = leaf_of(static_cast<trace::SeamcallLeaf>(e.get(x::leaf)));
  if (!leaf) return refuse(e, "the model has no such leaf");
  // KVM_TDX_FINALIZE_VM is KVM's own.
  if (*leaf == tdx::Leaf::kMrFinalize) return push(t, v, e, TdxFinalize{});
  // What no entry has is for the module to refuse.
  RawSeamcall m;
  m.leaf = *leaf;
  m.level = static_cast<int8_t>(e.get_or(x::level, 1));
  m.gfn = e.get(x::gpa) >> kPageShift;
  m.hpa = e.get(x::hpa);
  push(t, v, e, m);
}

// An access to private memory goes through the S-EPT: false when `e` is none. An EPT violation is
// KVM's fault to handle, always as a write; #VE is the guest's affair. A vCPU that has entered the TD
// uses and fills the TLB of its CPU, and is out of the TD after an EPT violation.
bool SyntheticReplayer::private_access(const Event& e, Thread& t, Vm& v) {
  namespace x = f::guest_access;
  ReplayWorld& w = v.model->world;
  if (v.model->destroyed) bad_packet(verdict_.file, e, "the TD was destroyed");
  const uint64_t gpa = e.get(x::gpa);
  const int gpaw = w.platform->tds[0].gpaw;
  if (gpa >> gpaw != 0) {
    bad_packet(verdict_.file, e, fmt::format("gpa {:#x} has more than {} bits", gpa, gpaw));
  }
  if (is_addr_direct<>(w.vm.gfn_direct_bits, Gpa<>{gpa})) return false;
  const auto vcpu = static_cast<uint32_t>(e.get(x::vcpu_id));
  if (vcpu >= w.platform->vcpus.size()) {
    refuse(e, "the TD has no such vCPU");
    return true;
  }
  tdx::ModuleCall call;
  call.leaf = tdx::Leaf::kGuestAccess;
  call.vcpu = vcpu;
  call.in.rcx = gpa;
  call.access_write = e.get(x::write) != 0;
  call.access_exec = e.get(x::exec) != 0;
  tdx::Status status;
  if (w.field(CellKind::kTdvpsInside, vcpu) != 0) {
    if (!v.model->follow(gpa & tdx::kSeptHpa)) {
      refuse(e, "too many pages are accessed from inside the TD");
      return true;
    }
    auto module = tdx_module(w);
    call.lp = static_cast<uint32_t>(w.field(CellKind::kTdvpsAssoc, vcpu) - 1);
    tdx::run_call(module, call);
    status = call.status;
    if (status.code() == tdx::StatusCode::kAccessOk) {
      check(v, e, id("TDX-TLB-STALE"), invariant::page_of_td(v.monitor->view(), call.accessed_page));
    }
  } else {
    // No VP.ENTER was asked for: the walk alone, without a TD exit to balance one.
    auto module = tdx_module(w);
    status = tdx::GuestAccess::acquire(module, call);
    if (status.ok()) status = tdx::GuestAccess::check(module, call);
  }
  if (status.ok() || status.code() == tdx::StatusCode::kAccessOk ||
      status.code() == tdx::StatusCode::kVe) {
    return true;
  }
  PageFault m;
  m.fault.vcpu = static_cast<uint16_t>(vcpu);
  m.fault.addr = gpa;
  m.fault.gfn = gpa >> kPageShift;
  m.fault.write = true;
  m.fault.is_private = true;
  private_backing(t, v, m.fault.gfn);
  page_fault(e, t, v, m);
  return true;
}

// Private memory of a TD is that of a file, whose folios are as large as a host_level_change says.
void SyntheticReplayer::private_backing(Thread& t, const Vm& v, uint64_t gfn) const {
  if (t.in.fault_pfn) return;
  t.in.fault_pfn = FaultinPfn{backing_frame(v, 0, gfn, true), true,
                              static_cast<uint8_t>(host_level(v, 0, gfn))};
}

}  // namespace mmucheck::replay
