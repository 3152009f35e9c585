// The part of InputSplitter that deals with page faults: see inputs.h.
#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/input_packet.h"
#include "tools/import/ftrace/inputs.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
using trace::PacketClass;
namespace f = trace::f;

constexpr int64_t kEnomem = -12;
constexpr uint64_t kErrorPfn = uint64_t{1} << 63;  // kvm_types.h: KVM_PFN_NOSLOT and errors
constexpr size_t kMaxEventsToAddress = 64;  // how far in its own thread a fault's address may lie

}  // namespace

void InputSplitter::open_unseen_fault(const Event& e, ThreadContext& c, const LookAhead& ahead,
                                      Out& out) {
  const Event* map = e.kind == EventKind::kTdpMap ? &e : nullptr;
  const Event* fast = nullptr;
  const Event* gmem = e.kind == EventKind::kGmemGetPfn ? &e : nullptr;
  size_t index = 0;
  for (size_t n = 0; map == nullptr && fast == nullptr && n < kMaxEventsToAddress; ++n) {
    const Event* next = next_of_thread(e, ahead, index);
    if (next == nullptr) break;
    if (next->kind == EventKind::kTdpMap) map = next;
    if (next->kind == EventKind::kFastPageFault) fast = next;
    if (next->kind == EventKind::kGmemGetPfn && gmem == nullptr) gmem = next;
    if (next->kind == EventKind::kPageFault || next->kind == EventKind::kUserspaceExit ||
        next->kind == EventKind::kMarker || next->kind == EventKind::kMmuLoad ||
        next->kind == EventKind::kSoftExit || next->kind == EventKind::kTdpMapRet) {
      break;
    }
  }
  c.fault = FaultKind::kPrefault;
  c.address_told = map != nullptr || fast != nullptr || gmem != nullptr;
  c.mapping = false;
  c.walks = 0;
  c.rsvd = false;
  // A fault by the CPU whose exit is not recorded is not a prefault.
  const bool by_cpu =
      map != nullptr && map->has(f::tdp_map::prefetch) && map->get(f::tdp_map::prefetch) == 0;
  Event s = make_packet(e, by_cpu ? EventKind::kPageFault : EventKind::kPrefault);
  s.cls = PacketClass::kStimulus;
  if (map != nullptr) {
    namespace m = f::tdp_map;
    c.fault_gfn = map->get(m::gfn);
    s.vm = map->vm;
    if (by_cpu) {
      s.set(f::page_fault::vcpu_id, map->get(m::vcpu_id));
      s.set(f::page_fault::address, map->get(m::addr));
      s.set(f::page_fault::error_code, map->get(m::error_code));
    } else {
      s.set(f::prefault::vcpu_id, map->get(m::vcpu_id));
      s.set(f::prefault::gpa, map->get(m::addr));
      s.set(f::prefault::is_private, map->get(m::is_private));
      s.set(f::prefault::error_code, map->get(m::error_code));
    }
  } else if (fast != nullptr) {
    namespace p = f::fast_page_fault;
    c.fault_gfn = fast->get(p::address) >> 12;
    s.set(f::prefault::vcpu_id, fast->get(p::vcpu_id));
    s.set(f::prefault::gpa, fast->get(p::address));
    s.set(f::prefault::error_code, fast->get(p::error_code));
  } else if (gmem != nullptr) {
    c.fault_gfn = gmem->get(f::gmem_get_pfn::gfn);
    s.vm = gmem->vm;
    s.set(f::prefault::gpa, c.fault_gfn << 12);
    s.set(f::prefault::is_private, 1);
  }
  out.push_back(s);
}

// Where the prefault's start did not tell its address, the map that comes next does.
void InputSplitter::late_address(const Event& e, ThreadContext& c, const LookAhead& ahead,
                                 Out& out) {
  constexpr size_t kAttempt = 4;  // events of one try: gmem_get_pfn, faultin_ret, fault_stale_ret
  if (c.address_told || c.fault != FaultKind::kPrefault) return;
  const Event* map = nullptr;
  size_t index = 0;
  for (size_t n = 0; map == nullptr && n < kAttempt; ++n) {
    const Event* next = next_of_thread(e, ahead, index);
    if (next == nullptr || next->kind == EventKind::kMarker) return;
    if (next->kind == EventKind::kTdpMap) map = next;
  }
  if (map == nullptr) return;
  namespace m = f::tdp_map;
  Event input = make_packet(e, EventKind::kFaultAddress);
  input.set(f::fault_address::vcpu_id, map->get(m::vcpu_id));
  input.set(f::fault_address::gpa, map->get(m::addr));
  input.set(f::fault_address::is_private, map->get(m::is_private));
  out.push_back(input);
  c.address_told = true;
  c.fault_gfn = map->get(m::gfn);
}

void InputSplitter::fault_inputs(const Event& e, ThreadContext& c, const LookAhead& ahead,
                                 Out& out) {
  const bool next_attempt = e.kind == EventKind::kGmemGetPfn || e.kind == EventKind::kFaultinRet;
  if (next_attempt && c.mapping && c.fault == FaultKind::kPrefault) {
    c.fault = FaultKind::kNone;  // its tdp_map_ret was not recorded
  }
  switch (e.kind) {
    case EventKind::kGmemGetPfn:
      if (c.fault == FaultKind::kPrefault && c.fault_gfn != e.get(f::gmem_get_pfn::gfn)) {
        c.fault = FaultKind::kNone;
      }
      if (c.fault == FaultKind::kNone) open_unseen_fault(e, c, ahead, out);
      break;
    case EventKind::kFaultinRet: {
      if (c.fault == FaultKind::kNone) open_unseen_fault(e, c, ahead, out);
      late_address(e, c, ahead, out);
      Event input = make_packet(e, EventKind::kFaultinOutcome);
      input.set(f::faultin_outcome::ret, e.get(f::faultin_ret::ret));
      out.push_back(input);
      break;
    }
    case EventKind::kFaultStaleRet: {
      Event input = make_packet(e, EventKind::kFaultinOutcome);
      input.set(f::faultin_outcome::ret, e.get(f::fault_stale_ret::stale));
      out.push_back(input);
      break;
    }
    case EventKind::kTdpMap: {
      if (c.fault == FaultKind::kNone) open_unseen_fault(e, c, ahead, out);
      if ((e.get(f::tdp_map::pfn) & kErrorPfn) != 0) break;
      Event input = make_packet(e, EventKind::kFaultPfn);
      input.set(f::fault_pfn::pfn, e.get(f::tdp_map::pfn));
      if (e.has(f::tdp_map::map_writable)) {
        input.set(f::fault_pfn::map_writable, e.get(f::tdp_map::map_writable));
      }
      if (e.has(f::tdp_map::max_level)) {
        input.set(f::fault_pfn::max_level, e.get(f::tdp_map::max_level));
      }
      out.push_back(input);
      break;
    }
    case EventKind::kSpteRequested: {
      if (!recorded(EventKind::kTdpMap)) {
        Event pfn = make_packet(e, EventKind::kFaultPfn);
        pfn.set(f::fault_pfn::pfn, e.get(f::spte_requested::pfn));
        out.push_back(pfn);
      }
      Event input = make_packet(e, EventKind::kHostLevel);
      input.set(f::host_level::level, e.get(f::spte_requested::level));
      out.push_back(input);
      break;
    }
    case EventKind::kTdpMapRet:
      if (e.get(f::tdp_map_ret::ret) == 1 && !recorded(EventKind::kCmpxchgSpte)) {
        out.push_back(make_packet(e, EventKind::kCmpxchgLost));
      }
      if (e.get(f::tdp_map_ret::ret) == 6) out.push_back(make_packet(e, EventKind::kOthersFirst));
      if (e.get(f::tdp_map_ret::ret) == 1 && c.walking && recorded(EventKind::kCmpxchgSpte)) {
        Event input = make_packet(e, EventKind::kOthersFirst);
        input.set(f::others_first::frozen, 1);
        out.push_back(input);
      }
      break;
    case EventKind::kSoftExitRet:
      if (e.get_signed(f::soft_exit_ret::ret) == kEnomem) {
        out.push_back(make_packet(e, EventKind::kTopupFailed));
      }
      break;
    case EventKind::kAllocRoot: {
      Event input = make_packet(e, EventKind::kVcpuRole);
      input.set(f::vcpu_role::vcpu_id, e.get(f::alloc_root::vcpu_id));
      input.set(f::vcpu_role::role, e.get(f::alloc_root::root_role));
      if (e.has(f::alloc_root::mirror)) {
        input.set(f::vcpu_role::mirror, e.get(f::alloc_root::mirror));
      }
      out.push_back(input);
      break;
    }
    default: break;
  }
}

}  // namespace mmucheck::import
