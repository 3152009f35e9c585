#include "checker/replay/packets.h"

#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;

const model::Design* design_of(trace::KernelVersion kernel) {
  return model::find_design(kernel == trace::KernelVersion::k6_12 ? "linux-6.12" : "linux-7.2");
}

void take_mmu_format(const Event& e, model::HostMmu& host) {
  namespace m = f::mmu_format;
  host.ad_bits = e.get_or(m::ad_bits, 1) != 0;
  host.maxphyaddr = static_cast<int>(e.get_or(m::maxphyaddr, 48));
  host.max_huge_page_level = static_cast<int>(e.get_or(m::max_huge_level, 3));
  host.ept_memtype_bits = e.get_or(m::memtype_bits, 0);
}

void take_module_params(const Event& e, HostFacts& host) {
  namespace p = f::module_params;
  host.mmu.nx_huge_pages = e.get_or(p::nx_huge_pages, 0) != 0;
  host.mmu.mmio_caching = e.get_or(p::mmio_caching, 1) != 0;
  host.mmu.cpu_dirty_log_size = static_cast<int>(e.get_or(p::pml_size, 0));
  host.mmu.prove_mmu = e.get_or(p::prove_mmu, 0) != 0;
  host.eager_page_split = e.get_or(p::eager_page_split, 1) != 0;
}

void take_module_param_set(const Event& e, HostFacts& host) {
  const auto param = static_cast<trace::ModuleParam>(e.get(f::module_param_set::param));
  const bool on = e.get(f::module_param_set::value) != 0;
  if (param == trace::ModuleParam::kNxHugePages) host.mmu.nx_huge_pages = on;
  if (param == trace::ModuleParam::kEagerPageSplit) host.eager_page_split = on;
}

void follow_host(const HostFacts& host, VmModel& v) {
  v.world.host.nx_huge_pages = host.mmu.nx_huge_pages;
  v.env.eager_split = host.eager_page_split;
}

bool take_pending_input(const Event& e, PendingInputs& in) {
  switch (e.kind) {
    case K::kHostLevel: in.host_level = static_cast<int>(e.get(f::host_level::level)); return true;
    case K::kHwAd:
      in.hw_ad.push_back({e.get(f::hw_ad::gfn), static_cast<int>(e.get(f::hw_ad::level)),
                          e.get_or(f::hw_ad::npages, 1), e.get(f::hw_ad::accessed) != 0,
                          e.get(f::hw_ad::dirty) != 0});
      return true;
    case K::kCmpxchgLost:
      in.cmpxchg_lost = true;
      if (e.has(f::cmpxchg_lost::sptep)) in.lost_sptep = e.get(f::cmpxchg_lost::sptep);
      return true;
    case K::kYieldHere:
      in.yield = true;
      if (e.has(f::yield_here::next_gfn)) in.yield_gfn = e.get(f::yield_here::next_gfn);
      return true;
    case K::kFlushHere: in.flush_here = true; return true;
    case K::kAllocFailed: in.alloc_failed = true; return true;
    case K::kTopupFailed: in.topup_failed = true; return true;
    case K::kFaultinOutcome: in.faultin = e.get_signed(f::faultin_outcome::ret); return true;
    case K::kCollapseHostLevel:
      in.collapse = PendingInputs::Collapse{static_cast<int>(e.get(f::collapse_host_level::level)),
                                            e.get(f::collapse_host_level::gfn)};
      return true;
    case K::kExternalPage: in.external_page = e.get(f::external_page::pfn); return true;
    case K::kExternalResult:
      in.external_result = static_cast<int>(e.get_signed(f::external_result::ret));
      return true;
    case K::kSeamcallStatus: in.seamcall_status.v = e.get(f::seamcall_status::status); return true;
    case K::kNxRecoveryCount: in.nx_pages += e.get(f::nx_recovery_count::count); return true;
    default: return false;
  }
}

void take_vm_fact(const Event& e, VmModel& v) {
  if (e.kind == K::kVcpuRole) {
    const auto vcpu = static_cast<uint32_t>(e.get(f::vcpu_role::vcpu_id));
    const auto role = static_cast<uint32_t>(e.get(f::vcpu_role::role));
    v.env.roles[vcpu] = role;
    model::load_root_of_role(v.world, vcpu, role);
    return;
  }
  const bool on = e.get(f::capability::value) != 0;
  const auto name = static_cast<trace::CapabilityName>(e.get(f::capability::name));
  if (name == trace::CapabilityName::kSlotZapQuirk) v.env.slot_zap_quirk = on;
  if (name == trace::CapabilityName::kInitiallySet) v.env.init_set = on;
}

}  // namespace mmucheck::replay
