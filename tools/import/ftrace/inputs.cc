#include "tools/import/ftrace/inputs.h"

#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/markers.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
using trace::PacketClass;
namespace f = trace::f;

constexpr int64_t kEnomem = -12;
constexpr uint64_t kErrorPfn = uint64_t{1} << 63;  // kvm_types.h: KVM_PFN_NOSLOT and errors
constexpr uint64_t kMmuPresent = 1u << 11;
constexpr uint64_t kLargePage = 1u << 7;
constexpr int64_t kChangeFlagsOnly = 3;  // kvm_host.h: KVM_MR_FLAGS_ONLY
constexpr uint64_t kMemLogDirty = 1, kMemReadonly = 2;
constexpr uint32_t kVmTypeTdx = 5;
constexpr size_t kMaxOwnEvents = 64;  // how far in its own thread a fault's address may lie

Event make(const Event& at, EventKind kind) {
  Event e;
  e.ts_ns = at.ts_ns;
  e.cpu = at.cpu;
  e.thread = at.thread;
  e.vm = at.vm;
  e.context = at.context;
  e.source_line = at.source_line;
  e.source_offset = at.source_offset;
  trace::start_event(e, kind);
  return e;
}

bool in_interrupt(const Event& e) {
  return e.kind == EventKind::kRcuFreeSp ||
         (e.context & (trace::kContextSoftirq | trace::kContextHardirq)) != 0;
}

bool is_yield(const Event* e) {
  return e != nullptr && (e->kind == EventKind::kYieldRead || e->kind == EventKind::kYieldWrite);
}

}  // namespace

const Event* next_of_thread(const Event& event, const LookAhead& ahead, size_t& index) {
  while (const Event* e = ahead(index)) {
    ++index;
    if (e->kind == EventKind::kLostEvents) return nullptr;
    if (e->thread != event.thread || in_interrupt(*e)) continue;
    if (event.thread == 0 && e->cpu != event.cpu) continue;
    return e;
  }
  return nullptr;
}

InputSplitter::InputSplitter(const Profile& profile) : profile_(profile) {
  for (const EventKind kind :
       {EventKind::kTrySplit, EventKind::kWrprotSlot, EventKind::kClearDirtySlot,
        EventKind::kFlushMemslot, EventKind::kFlushAll, EventKind::kIterStart}) {
    any_memslot_work_ = any_memslot_work_ || recorded(kind);
  }
}

bool InputSplitter::recorded(EventKind kind) const {
  return profile_.kinds.test(static_cast<size_t>(kind));
}

bool InputSplitter::is_td(uint32_t vm) const {
  const auto it = vm_types_.find(vm);
  return it != vm_types_.end() && it->second == kVmTypeTdx;
}

// Bit positions: spte.h of both kernels; EPT entries say in two bits whether they have A/D.
bool InputSplitter::ad_of(uint64_t spte, uint64_t level, bool& accessed, bool& dirty) const {
  if ((spte & kMmuPresent) == 0) return false;
  if (level != 1 && (spte & kLargePage) == 0) return false;
  if (profile_.format == trace::SpteFormat::kNpt) {
    accessed = (spte >> 5 & 1) != 0;
    dirty = (spte >> 6 & 1) != 0;
    return true;
  }
  if (profile_.format != trace::SpteFormat::kEpt) return false;
  const int type_shift = profile_.kernel == trace::KernelVersion::k6_12 ? 52 : 60;
  if ((spte >> type_shift & 3) == 1) return false;
  accessed = (spte >> 8 & 1) != 0;
  dirty = (spte >> 9 & 1) != 0;
  return true;
}

void InputSplitter::hw_ad(const Event& e, uint64_t spte, uint64_t level, Out& out) const {
  bool accessed = false;
  bool dirty = false;
  if (!ad_of(spte, level, accessed, dirty)) return;
  Event input = make(e, EventKind::kHwAd);
  input.set(f::hw_ad::accessed, accessed);
  input.set(f::hw_ad::dirty, dirty);
  out.push_back(input);
}

void InputSplitter::open_unseen_fault(const Event& e, ThreadContext& c, const LookAhead& ahead,
                                      Out& out) {
  const Event* map = e.kind == EventKind::kTdpMap ? &e : nullptr;
  const Event* fast = nullptr;
  const Event* gmem = e.kind == EventKind::kGmemGetPfn ? &e : nullptr;
  size_t index = 0;
  for (size_t n = 0; map == nullptr && fast == nullptr && n < kMaxOwnEvents; ++n) {
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
  c.mapping = false;
  c.walks = 0;
  c.rsvd = false;
  // A fault by the CPU whose exit is not recorded is not a prefault.
  const bool by_cpu =
      map != nullptr && map->has(f::tdp_map::prefetch) && map->get(f::tdp_map::prefetch) == 0;
  Event s = make(e, by_cpu ? EventKind::kPageFault : EventKind::kPrefault);
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
      Event input = make(e, EventKind::kFaultinOutcome);
      input.set(f::faultin_outcome::ret, e.get(f::faultin_ret::ret));
      out.push_back(input);
      break;
    }
    case EventKind::kTdpMap: {
      if (c.fault == FaultKind::kNone) open_unseen_fault(e, c, ahead, out);
      if ((e.get(f::tdp_map::pfn) & kErrorPfn) != 0) break;
      Event input = make(e, EventKind::kFaultPfn);
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
        Event pfn = make(e, EventKind::kFaultPfn);
        pfn.set(f::fault_pfn::pfn, e.get(f::spte_requested::pfn));
        out.push_back(pfn);
      }
      Event input = make(e, EventKind::kHostLevel);
      input.set(f::host_level::level, e.get(f::spte_requested::level));
      out.push_back(input);
      break;
    }
    case EventKind::kTdpMapRet:
      if (e.get(f::tdp_map_ret::ret) == 1 && !recorded(EventKind::kCmpxchgSpte)) {
        out.push_back(make(e, EventKind::kCmpxchgLost));
      }
      break;
    case EventKind::kSoftExitRet:
      if (e.get_signed(f::soft_exit_ret::ret) == kEnomem) {
        out.push_back(make(e, EventKind::kTopupFailed));
      }
      break;
    case EventKind::kAllocRoot: {
      Event input = make(e, EventKind::kVcpuRole);
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

void InputSplitter::change_inputs(const Event& e, ThreadContext& c, Out& out) {
  const auto written = [&c](uint64_t gfn, uint64_t level, uint64_t value) {
    c.written_valid = true;
    c.written_gfn = gfn;
    c.written_level = level;
    c.written_new = value;
  };
  switch (e.kind) {
    case EventKind::kCmpxchgSpte: {
      namespace x = f::cmpxchg_spte;
      hw_ad(e, e.get(x::old_spte), e.get(x::level), out);
      c.cmpxchg_valid = true;
      c.cmpxchg_gfn = e.get(x::gfn);
      c.cmpxchg_old = e.get(x::old_spte);
      break;
    }
    case EventKind::kChangedSpte: {
      namespace x = f::changed_spte;
      const uint64_t gfn = e.get(x::gfn);
      const uint64_t old_spte = e.get(x::old_spte);
      if (!c.cmpxchg_valid || c.cmpxchg_old != old_spte) hw_ad(e, old_spte, e.get(x::level), out);
      c.cmpxchg_valid = false;
      written(gfn, e.get(x::level), e.get(x::new_spte));
      if (c.open_change_count == c.open_changes.size()) {  // tracepoints that never came
        for (size_t i = 1; i < c.open_changes.size(); ++i) {
          c.open_changes[i - 1] = c.open_changes[i];
        }
        --c.open_change_count;
      }
      c.open_changes[c.open_change_count++] = {gfn, e.get(x::level), old_spte, e.get(x::new_spte)};
      break;
    }
    case EventKind::kSpteChanged: {
      namespace x = f::spte_changed;
      for (uint32_t i = c.open_change_count; i-- > 0;) {
        const ThreadContext::Change& open = c.open_changes[i];
        if (open.gfn == e.get(x::gfn) && open.level == e.get(x::level) &&
            open.old_spte == e.get(x::old_spte) && open.new_spte == e.get(x::new_spte)) {
          c.open_change_count = i;
          return;
        }
      }
      if (!c.cmpxchg_valid || c.cmpxchg_old != e.get(x::old_spte)) {
        hw_ad(e, e.get(x::old_spte), e.get(x::level), out);
      }
      c.cmpxchg_valid = false;
      written(e.get(x::gfn), e.get(x::level), e.get(x::new_spte));
      break;
    }
    case EventKind::kFastPageFault:
      // The walk ends at a leaf or at a non-present entry, so a present value is a leaf.
      hw_ad(e, e.get(f::fast_page_fault::old_spte), 1, out);
      break;
    case EventKind::kSetSpte: {
      namespace x = f::set_spte;
      bool accessed = false, dirty = false, accessed_before = false, dirty_before = false;
      if (!ad_of(e.get(x::spte), e.get(x::level), accessed, dirty)) break;
      if (c.written_valid && c.written_gfn == e.get(x::gfn) && c.written_level == e.get(x::level)) {
        ad_of(c.written_new, c.written_level, accessed_before, dirty_before);
      }
      c.written_valid = false;
      if ((accessed && !accessed_before) || (dirty && !dirty_before)) {
        hw_ad(e, e.get(x::spte), e.get(x::level), out);
      }
      break;
    }
    case EventKind::kCmpxchgSpteRet:
      if (e.get(f::cmpxchg_spte_ret::ret) != 0) {
        out.push_back(make(e, EventKind::kCmpxchgLost));
        c.cmpxchg_valid = false;
      }
      break;
    case EventKind::kTdpMap: c.written_valid = false; break;
    default: break;
  }
}

void InputSplitter::walk_inputs(const Event& e, ThreadContext& c, const LookAhead& ahead,
                                Out& out) {
  size_t index = 0;
  switch (e.kind) {
    case EventKind::kInitSp: {
      if (!e.has(f::init_sp::spt_pfn)) break;
      Event input = make(e, EventKind::kNewTable);
      input.set(f::new_table::pfn, e.get(f::init_sp::spt_pfn));
      out.push_back(input);
      break;
    }
    case EventKind::kIterStart: {
      namespace w = f::iter_start;
      if (c.recovering && e.get_signed(w::min_level) == 1) {
        Event input = make(e, EventKind::kCollapseHostLevel);
        input.set(f::collapse_host_level::level, (e.get(w::role) & 15) + 1);
        out.push_back(input);
        break;
      }
      // Without A/D bits every fault tries the fast path, a prefault's too: it is then the first
      // that is seen of it.
      if (c.fault == FaultKind::kNone && profile_.ad_bits == false &&
          e.get_signed(w::min_level) == 1) {
        const Event* next = next_of_thread(e, ahead, index);
        while (next != nullptr &&
               (next->kind == EventKind::kIterRestart || next->kind == EventKind::kIterStart)) {
          next = next_of_thread(e, ahead, index);
        }
        if (next != nullptr && next->kind == EventKind::kFastPageFault) {
          open_unseen_fault(e, c, ahead, out);
        }
      }
      if (c.fault == FaultKind::kNone || c.mapping || c.rsvd) break;
      if (++c.walks > 1) out.push_back(make(e, EventKind::kCmpxchgLost));
      break;
    }
    case EventKind::kFlushRange: {
      namespace r = f::flush_range;
      const uint64_t pages = e.get(r::npages);
      if (!c.collapsing || (pages != 512 && pages != 512 * 512)) break;
      Event input = make(e, EventKind::kCollapseHostLevel);
      input.set(f::collapse_host_level::level, pages == 512 ? 2 : 3);
      out.push_back(input);
      break;
    }
    case EventKind::kFlushAll: {
      const bool yields = is_yield(next_of_thread(e, ahead, index));
      if (yields) {
        out.push_back(make(e, EventKind::kYieldHere));
      } else if (c.nx_by_inference) {
        c.operation = Operation::kNone;  // the worker's batch ends with its flush
        c.nx_by_inference = false;
      }
      c.yield_told = yields;
      break;
    }
    case EventKind::kYieldRead:
    case EventKind::kYieldWrite:
      if (!c.yield_told) out.push_back(make(e, EventKind::kYieldHere));
      c.yield_told = false;
      break;
    case EventKind::kSplitHugePage:
      if (e.get_signed(f::split_huge_page::err) == kEnomem) {
        out.push_back(make(e, EventKind::kAllocFailed));
      }
      break;
    default: break;
  }
}

void InputSplitter::operation_inputs(const Event& e, ThreadContext& c, Out& out) {
  const auto capability = [&e, &out](trace::CapabilityName name, uint64_t value) {
    Event input = make(e, EventKind::kCapability);
    input.set(f::capability::name, static_cast<uint64_t>(name));
    input.set(f::capability::value, value);
    out.push_back(input);
  };
  switch (e.kind) {
    case EventKind::kZapAllFast:
    case EventKind::kMmuZapAllFast:
    case EventKind::kInvalidateAllRoots:
    case EventKind::kUnmapGfnRange:
      if (c.operation != Operation::kSetMemslot || c.zap_seen) break;
      c.zap_seen = true;
      capability(trace::CapabilityName::kSlotZapQuirk, e.kind != EventKind::kUnmapGfnRange);
      break;
    case EventKind::kCommitMemslot:
      c.zap_seen = true;
      c.change = e.get_signed(f::commit_memslot::change);
      break;
    case EventKind::kSetMemslotRet:
      if (c.after_commit && any_memslot_work_ && c.change == kChangeFlagsOnly &&
          (c.mflags & kMemLogDirty) != 0 && (c.mflags & kMemReadonly) == 0) {
        capability(trace::CapabilityName::kInitiallySet, 1);
      }
      break;
    case EventKind::kClearDirtyPt: {
      Event input = make(e, EventKind::kDirtyMask);
      input.set(f::dirty_mask::mask, e.get(f::clear_dirty_pt::mask));
      out.push_back(input);
      break;
    }
    case EventKind::kZapSp:
    case EventKind::kZapNx: {
      if (c.operation != Operation::kNxRecovery) {
        c.operation = Operation::kNxRecovery;
        c.operation_vm = e.vm;
        c.nx_by_inference = true;
        Event worker = make(e, EventKind::kNxRecovery);
        worker.cls = PacketClass::kStimulus;
        out.push_back(worker);
      }
      Event input = make(e, EventKind::kNxRecoveryCount);
      input.set(f::nx_recovery_count::count, 1);
      out.push_back(input);
      break;
    }
    default: break;
  }
}

void InputSplitter::vm_config(const Event& e, const MirrorFacts* mirror, Out& out) {
  namespace v = f::vm_config;
  const uint32_t type = static_cast<uint32_t>(e.get(f::init_vm::vm_type));
  if (vm_types_.size() < kMaxTracked) vm_types_[e.vm] = type;
  Event config = make(e, EventKind::kVmConfig);
  config.set(v::vm_type, type);
  // x86.h: kvm_arch_has_private_mem(): software-protected, SNP, TDX.
  config.set(v::has_private_mem, type == 1 || type == 4 || type == kVmTypeTdx);
  config.set(v::has_mirror, mirror != nullptr && mirror->mirror);
  if (mirror != nullptr && mirror->direct_gfn_bits != 0) {
    config.set(v::direct_gfn_bits, mirror->direct_gfn_bits);
    if (mirror->direct_gfn_bits == uint64_t{1} << 35) config.set(v::gpaw, 48);
    if (mirror->direct_gfn_bits == uint64_t{1} << 39) config.set(v::gpaw, 52);
  }
  out.push_back(config);
}

void InputSplitter::marker(const Event& e, Out& out) {
  MarkerFacts facts[2];
  const size_t count = read_marker(e.text, facts);
  for (size_t i = 0; i < count; ++i) {
    Event s = make(e, facts[i].kind);
    s.set(0, facts[i].name);
    s.set(1, facts[i].value);
    out.push_back(s);
  }
}

void InputSplitter::split(Event& e, const MirrorFacts* mirror, const LookAhead& ahead, Out& before,
                          Out& after) {
  if (e.kind == EventKind::kLostEvents) {
    forget_threads();
    return;
  }
  if (e.kind == EventKind::kRcuFreeSp) {
    if (!e.has(f::rcu_free_sp::spt_pfn)) return;
    Event input = make(e, EventKind::kCallbackRun);
    input.set(f::callback_run::spt_pfn, e.get(f::rcu_free_sp::spt_pfn));
    before.push_back(input);
    return;
  }
  ThreadContext& c = threads_.of(e);
  // These look at the operation that classify() is about to end.
  const bool ends_operation = e.kind == EventKind::kSetMemslotRet;
  if (ends_operation) operation_inputs(e, c, before);
  if (e.kind == EventKind::kInitVm) vm_config(e, mirror, before);
  e.cls = classify(e, c);
  if (!ends_operation) operation_inputs(e, c, before);
  fault_inputs(e, c, ahead, before);
  change_inputs(e, c, before);
  walk_inputs(e, c, ahead, before);
  if (e.kind == EventKind::kMarker) marker(e, after);
  follow_fault(e, is_td(e.vm), c);
  c.after_commit = e.kind == EventKind::kCommitMemslot;
  if (e.kind != EventKind::kFlushAll && !is_yield(&e)) c.yield_told = false;
}

}  // namespace mmucheck::import
