#include "tools/import/ftrace/inputs.h"

#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/input_packet.h"
#include "tools/import/ftrace/markers.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
using trace::PacketClass;
namespace f = trace::f;

constexpr int64_t kEnomem = -12;
constexpr uint64_t kMmuPresent = 1u << 11;
constexpr uint64_t kLargePage = 1u << 7;
constexpr int64_t kChangeFlagsOnly = 3;  // kvm_host.h: KVM_MR_FLAGS_ONLY
constexpr uint64_t kMemLogDirty = 1, kMemReadonly = 2;
constexpr uint32_t kVmTypeTdx = 5;

bool in_interrupt(const Event& e) {
  return e.kind == EventKind::kRcuFreeSp ||
         (e.context & (trace::kContextSoftirq | trace::kContextHardirq)) != 0;
}

uint64_t pages_of_level(uint64_t level) {
  return is_level(level) ? uint64_t{1} << (9 * (level - 1)) : 1;
}

bool is_yield(const Event* e) {
  return e != nullptr && (e->kind == EventKind::kYieldRead || e->kind == EventKind::kYieldWrite);
}

// Operations whose walks owe a flush when they yield.
bool zaps_ranges(Operation operation) {
  switch (operation) {
    case Operation::kSetMemslot:
    case Operation::kSetAttributes:
    case Operation::kNotifier:
    case Operation::kPunchHole:
    case Operation::kGmemRelease:
    case Operation::kGmemInvalidate:
    case Operation::kZapGfnRange: return true;
    default: return false;
  }
}

// The yield, with the gfn that the walk's restart behind it names.
Event yield_here(const Event& e, const LookAhead& ahead, size_t index) {
  Event input = make_packet(e, EventKind::kYieldHere);
  const Event* restart = next_of_thread(e, ahead, index, kFarAhead);
  if (restart != nullptr && restart->kind == EventKind::kIterRestart) {
    input.set(f::yield_here::next_gfn, restart->get(f::iter_restart::next_gfn));
  }
  return input;
}

}  // namespace

const Event* next_of_thread(const Event& event, const LookAhead& ahead, size_t& index,
                            size_t limit) {
  while (index < limit) {
    const Event* e = ahead(index);
    if (e == nullptr) return nullptr;
    ++index;
    if (e->kind == EventKind::kLostEvents) return nullptr;
    if (e->thread != event.thread || in_interrupt(*e)) continue;
    if (event.thread == 0 && e->cpu != event.cpu) continue;
    return e;
  }
  return nullptr;
}

InputSplitter::InputSplitter(const Profile& profile)
    : profile_(profile), nx_told_(profile.nx_at_start) {
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

void InputSplitter::hw_ad(const Event& e, uint64_t spte, Entry entry, Out& out) const {
  bool accessed = false;
  bool dirty = false;
  if (!ad_of(spte, entry.level == 0 ? 1 : entry.level, accessed, dirty)) return;
  Event input = make_packet(e, EventKind::kHwAd);
  input.set(f::hw_ad::accessed, accessed);
  input.set(f::hw_ad::dirty, dirty);
  input.set(f::hw_ad::gfn, entry.gfn);
  input.set(f::hw_ad::level, entry.level);
  if (entry.level == 0) input.set(f::hw_ad::npages, entry.npages);
  out.push_back(input);
}

void InputSplitter::change_inputs(const Event& e, ThreadContext& c, const LookAhead& ahead,
                                  Out& out) {
  const auto written = [&c](uint64_t gfn, uint64_t level, uint64_t value) {
    c.written_valid = true;
    c.written_gfn = gfn;
    c.written_level = level;
    c.written_new = value;
  };
  switch (e.kind) {
    case EventKind::kCmpxchgSpte: {
      namespace x = f::cmpxchg_spte;
      hw_ad(e, e.get(x::old_spte), {e.get(x::gfn), e.get(x::level)}, out);
      if (c.recovering) {
        // A recovered huge page has the bits of the first leaf that was found below.
        hw_ad(e, e.get(x::new_spte), {e.get(x::gfn), 0, pages_of_level(e.get(x::level))}, out);
      }
      if (c.collapsing && (e.get(x::new_spte) & kMmuPresent) == 0) {
        Event input = make_packet(e, EventKind::kCollapseHostLevel);
        input.set(f::collapse_host_level::level, e.get(x::level));
        input.set(f::collapse_host_level::gfn, e.get(x::gfn));
        out.push_back(input);
      }
      c.cmpxchg_valid = true;
      c.cmpxchg_old = e.get(x::old_spte);
      size_t index = 0;
      const Event* ret = next_of_thread(e, ahead, index);
      if (ret != nullptr && ret->kind == EventKind::kCmpxchgSpteRet &&
          ret->get(f::cmpxchg_spte_ret::ret) != 0) {
        Event input = make_packet(e, EventKind::kCmpxchgLost);
        input.set(f::cmpxchg_lost::sptep, e.get(x::sptep));
        out.push_back(input);
      }
      break;
    }
    case EventKind::kChangedSpte: {
      namespace x = f::changed_spte;
      const uint64_t gfn = e.get(x::gfn);
      const uint64_t old_spte = e.get(x::old_spte);
      if (!c.cmpxchg_valid || c.cmpxchg_old != old_spte) {
        hw_ad(e, old_spte, {gfn, e.get(x::level)}, out);
        if (c.recovering) {
          hw_ad(e, e.get(x::new_spte), {gfn, 0, pages_of_level(e.get(x::level))}, out);
        }
      }
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
        hw_ad(e, e.get(x::old_spte), {e.get(x::gfn), e.get(x::level)}, out);
      }
      c.cmpxchg_valid = false;
      written(e.get(x::gfn), e.get(x::level), e.get(x::new_spte));
      break;
    }
    case EventKind::kFastPageFault:
      // The walk ends at a leaf or at a non-present entry, so a present value is a leaf.
      hw_ad(e, e.get(f::fast_page_fault::old_spte), {e.get(f::fast_page_fault::address) >> 12, 0},
            out);
      if (e.get(f::fast_page_fault::spurious) != 0) {
        const bool changed_since = e.get(f::fast_page_fault::old_spte) !=
                                   e.get(f::fast_page_fault::new_spte);
        out.push_back(make_packet(
            e, changed_since ? EventKind::kCmpxchgLost : EventKind::kOthersFirst));
      } else if (e.get(f::fast_page_fault::fixed) == 0 &&
                 (e.get(f::fast_page_fault::old_spte) & kLargePage) != 0) {
        // A huge page is left alone where its slot logs: that may just have begun.
        out.push_back(make_packet(e, EventKind::kOthersFirst));
      }
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
        hw_ad(e, e.get(x::spte), {e.get(x::gfn), e.get(x::level)}, out);
      }
      break;
    }
    case EventKind::kCmpxchgSpteRet:
      if (e.get(f::cmpxchg_spte_ret::ret) != 0) {
        c.cmpxchg_valid = false;
        out.push_back(make_packet(e, EventKind::kCmpxchgLost));
      }
      break;
    case EventKind::kTestAgeRange:
      c.test_start = e.get(f::test_age_range::start);
      c.test_end = e.get(f::test_age_range::end);
      break;
    case EventKind::kTestAgeRangeRet:
      if (e.get(f::test_age_range_ret::young) != 0) {
        Event input = make_packet(e, EventKind::kHwAd);
        input.set(f::hw_ad::accessed, 1);
        input.set(f::hw_ad::dirty, 0);
        input.set(f::hw_ad::gfn, c.test_start);
        input.set(f::hw_ad::level, 0);
        input.set(f::hw_ad::npages, c.test_end - c.test_start);
        out.push_back(input);
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
      Event input = make_packet(e, EventKind::kNewTable);
      input.set(f::new_table::pfn, e.get(f::init_sp::spt_pfn));
      out.push_back(input);
      lost_before_link(e, ahead, out);
      bits_before_split(e, ahead, out);
      break;
    }
    case EventKind::kIterStart: {
      namespace w = f::iter_start;
      if (c.recovering && e.get_signed(w::min_level) == 1) {
        Event input = make_packet(e, EventKind::kCollapseHostLevel);
        input.set(f::collapse_host_level::level, (e.get(w::role) & 15) + 1);
        input.set(f::collapse_host_level::gfn, e.get(w::start));
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
      if (++c.walks > 1) out.push_back(make_packet(e, EventKind::kCmpxchgLost));
      break;
    }
    case EventKind::kFlushRange: {
      namespace r = f::flush_range;
      const uint64_t pages = e.get(r::npages);
      if (!c.collapsing || (pages != 512 && pages != 512 * 512)) break;
      Event input = make_packet(e, EventKind::kCollapseHostLevel);
      input.set(f::collapse_host_level::level, pages == 512 ? 2 : 3);
      input.set(f::collapse_host_level::gfn, e.get(r::gfn));
      out.push_back(input);
      break;
    }
    case EventKind::kFlushAll: {
      // A recording may end before the yield. The last flush of an operation is no yield, but its
      // invalidation ends behind it.
      const Event* next = next_of_thread(e, ahead, index, kFarAhead);
      const bool ends_here =
          next == nullptr && recorded(EventKind::kInvEnd) && zaps_ranges(c.operation);
      const bool yields = is_yield(next) || ends_here;
      if (yields) {
        out.push_back(yield_here(e, ahead, index));
      } else if (c.operation == Operation::kAge || c.after_dirty_chunk) {
        out.push_back(make_packet(e, EventKind::kFlushHere));
      } else if (c.nx_by_inference) {
        c.operation = Operation::kNone;  // the worker's batch ends with its flush
        c.nx_by_inference = false;
      }
      c.yield_told = yields;
      break;
    }
    case EventKind::kYieldRead:
    case EventKind::kYieldWrite:
      if (!c.yield_told) out.push_back(yield_here(e, ahead, index));
      c.yield_told = false;
      break;
    case EventKind::kSplitHugePage:
      if (e.get_signed(f::split_huge_page::err) == kEnomem) {
        // No table was made: what the CPU set in the entry shows here only.
        hw_ad(e, e.get(f::split_huge_page::spte),
              {e.get(f::split_huge_page::gfn), e.get(f::split_huge_page::level)}, out);
        out.push_back(make_packet(e, EventKind::kAllocFailed));
      }
      break;
    default: break;
  }
}

void InputSplitter::operation_inputs(const Event& e, ThreadContext& c, Out& out) {
  const auto capability = [&e, &out](trace::CapabilityName name, uint64_t value) {
    Event input = make_packet(e, EventKind::kCapability);
    input.set(f::capability::name, static_cast<uint64_t>(name));
    input.set(f::capability::value, value);
    out.push_back(input);
  };
  switch (e.kind) {
    case EventKind::kZapAllFast:
    case EventKind::kMmuZapAllFast:
    case EventKind::kInvalidateAllRoots:
    case EventKind::kUnmapGfnRange:
    case EventKind::kTdpUnmapGfnRange:
      if (c.operation != Operation::kSetMemslot || c.zap_seen) break;
      c.zap_seen = true;
      capability(trace::CapabilityName::kSlotZapQuirk,
                 e.kind != EventKind::kUnmapGfnRange && e.kind != EventKind::kTdpUnmapGfnRange);
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
      Event input = make_packet(e, EventKind::kDirtyMask);
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
        Event worker = make_packet(e, EventKind::kNxRecovery);
        worker.cls = PacketClass::kStimulus;
        out.push_back(worker);
      }
      Event input = make_packet(e, EventKind::kNxRecoveryCount);
      input.set(f::nx_recovery_count::count, 1);
      out.push_back(input);
      break;
    }
    default: break;
  }
}

// The entry that the new table is for was read before another thread's store to it.
void InputSplitter::lost_before_link(const Event& e, const LookAhead& ahead, Out& out) const {
  size_t index = 0;
  const Event* next = next_of_thread(e, ahead, index);
  if (next != nullptr && next->kind == EventKind::kGetPage) next = next_of_thread(e, ahead, index);
  if (next == nullptr || next->kind != EventKind::kCmpxchgSpte) return;
  const uint64_t sptep = next->get(f::cmpxchg_spte::sptep);
  const Event* ret = next_of_thread(e, ahead, index);
  if (ret == nullptr || ret->kind != EventKind::kCmpxchgSpteRet ||
      ret->get(f::cmpxchg_spte_ret::ret) == 0) {
    return;
  }
  Event input = make_packet(e, EventKind::kCmpxchgLost);
  input.set(f::cmpxchg_lost::sptep, sptep);
  out.push_back(input);
}

// The pieces of a huge page are made from the entry as it was before the new table got its page.
void InputSplitter::bits_before_split(const Event& e, const LookAhead& ahead, Out& out) const {
  namespace i = f::init_sp;
  const uint64_t level = (e.get(i::role) & 15) + 1;
  size_t index = 0;
  const Event* next = next_of_thread(e, ahead, index);
  if (next != nullptr && next->kind == EventKind::kGetPage) next = next_of_thread(e, ahead, index);
  if (next == nullptr) return;
  const Entry entry{e.get(i::gfn), level};
  if (next->kind == EventKind::kCmpxchgSpte && next->get(f::cmpxchg_spte::level) == level) {
    hw_ad(e, next->get(f::cmpxchg_spte::old_spte), entry, out);
  } else if (next->kind == EventKind::kChangedSpte && next->get(f::changed_spte::level) == level) {
    hw_ad(e, next->get(f::changed_spte::old_spte), entry, out);
  } else if (next->kind == EventKind::kSpteChanged && next->get(f::spte_changed::level) == level) {
    hw_ad(e, next->get(f::spte_changed::old_spte), entry, out);
  }
}

// All that is done for one chunk of a dirty log follows from its slot and mask.
bool InputSplitter::dirty_chunk(const Event& e, const LookAhead& ahead, Out& out) const {
  namespace d = f::clear_dirty_pt;
  const Event* clear = e.kind == EventKind::kClearDirtyPt ? &e : nullptr;
  size_t index = 0;
  while (clear == nullptr) {
    const Event* next = next_of_thread(e, ahead, index, kFarAhead);
    if (next == nullptr) {  // the recording ends inside the chunk, of which nothing is known
      Event rest = make_packet(e, EventKind::kLostEvents);
      rest.set(f::lost_events::how, static_cast<uint64_t>(trace::LossHow::kTruncated));
      out.push_back(rest);
      return true;
    }
    if (next->kind == EventKind::kMarker) return false;
    if (next->kind == EventKind::kClearDirtyPt) clear = next;
  }
  Event s = make_packet(e, EventKind::kDirtyLogClear);
  s.cls = PacketClass::kStimulus;
  s.set(f::dirty_log_clear::slot, clear->get(d::slot));
  s.set(f::dirty_log_clear::as_id, clear->get(d::as_id));
  s.set(f::dirty_log_clear::first_page, clear->get(d::gfn) - clear->get(d::base_gfn));
  s.set(f::dirty_log_clear::mask, clear->get(d::mask));
  out.push_back(s);
  return true;
}

// The paging mode of a vCPU and the workaround's switch, where they are not as last told.
void InputSplitter::vcpu_facts(const Event& e, const ThreadContext& c, const LookAhead& ahead,
                               Out& out) {
  namespace m = f::tdp_map;
  namespace a = f::alloc_root;
  const auto tell = [&](uint32_t vm, uint64_t vcpu, uint64_t role, bool say) {
    if (vcpu_roles_.size() >= kMaxTracked) vcpu_roles_.clear();
    // A fault may still walk a root that was invalidated; the vCPU's mode has no such bit.
    if (profile_.kernel != trace::KernelVersion::kUnknown) {
      const int invalid_bit = profile_.kernel == trace::KernelVersion::k6_12 ? 11 : 12;
      role &= ~(uint64_t{1} << invalid_bit);
    }
    uint64_t& known = vcpu_roles_[uint64_t{vm} << 32 | vcpu];
    if (say && known != role) {
      Event input = make_packet(e, EventKind::kVcpuRole);
      input.vm = vm;
      input.set(f::vcpu_role::vcpu_id, vcpu);
      input.set(f::vcpu_role::role, role);
      out.push_back(input);
    }
    known = role;
  };
  if (e.kind == EventKind::kAllocRoot && e.get(a::mirror) == 0) {
    tell(e.vm, e.get(a::vcpu_id), e.get(a::root_role), false);
  }
  if (e.kind == EventKind::kPageFault) {
    // The root that this fault walks first says in which mode the vCPU exited.
    size_t index = 0;
    const Event* next = next_of_thread(e, ahead, index);
    while (next != nullptr && (next->kind == EventKind::kIterRestart ||
                               next->kind == EventKind::kFaultinRet ||
                               next->kind == EventKind::kGmemGetPfn ||
                               next->kind == EventKind::kFaultStaleRet)) {
      next = next_of_thread(e, ahead, index);
    }
    if (next != nullptr && next->kind == EventKind::kIterStart && next->vm != 0) {
      tell(next->vm, e.get(f::page_fault::vcpu_id), next->get(f::iter_start::role), true);
    } else if (next != nullptr && next->kind == EventKind::kTdpMap && next->has(m::root_role)) {
      tell(next->vm, e.get(f::page_fault::vcpu_id), next->get(m::root_role), true);
    }
    return;
  }
  if (e.kind != EventKind::kTdpMap) return;
  if (e.has(m::root_role) && c.fault != FaultKind::kNone) {
    tell(e.vm, e.get(m::vcpu_id), e.get(m::root_role), true);
  }
  if (!e.has(m::nx_workaround)) return;
  const bool nx = e.get(m::nx_workaround) != 0;
  if (nx_told_ != nx) {
    Event input = make_packet(e, EventKind::kModuleParamSet);
    input.set(f::module_param_set::param, static_cast<uint64_t>(trace::ModuleParam::kNxHugePages));
    input.set(f::module_param_set::value, nx);
    out.push_back(input);
  }
  nx_told_ = nx;
}

void InputSplitter::vm_config(const Event& e, const MirrorFacts* mirror, Out& out) {
  namespace v = f::vm_config;
  const uint32_t type = static_cast<uint32_t>(e.get(f::init_vm::vm_type));
  if (vm_types_.size() < kMaxTracked) vm_types_[e.vm] = type;
  Event config = make_packet(e, EventKind::kVmConfig);
  config.set(v::vm_type, type);
  // x86.h: kvm_arch_has_private_mem(): software-protected, SNP, TDX.
  config.set(v::has_private_mem, type == 1 || type == 4 || type == kVmTypeTdx);
  config.set(v::has_mirror, type == kVmTypeTdx || (mirror != nullptr && mirror->mirror));
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
    Event s = make_packet(e, facts[i].kind);
    s.set(0, facts[i].name);
    s.set(1, facts[i].value);
    if (facts[i].kind == EventKind::kModuleParamSet &&
        facts[i].name == static_cast<uint64_t>(trace::ModuleParam::kNxHugePages)) {
      nx_told_ = facts[i].value != 0;
    }
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
    Event input = make_packet(e, EventKind::kCallbackRun);
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
  // Which vCPU gives up its root, and when, is the vCPU's doing, at the end of its VM too.
  if (e.kind == EventKind::kFreeRoots || e.kind == EventKind::kMmuDestroy) {
    e.cls = PacketClass::kStimulus;
  }
  const bool starts_chunk =
      e.cls == PacketClass::kStimulus &&
      (e.kind == EventKind::kClearDirtyPt || e.kind == EventKind::kWriteProtectGfn ||
       e.kind == EventKind::kTrySplit);
  if (starts_chunk && dirty_chunk(e, ahead, before)) e.cls = PacketClass::kObservation;
  if (e.kind == EventKind::kGmemPunchHole) {
    // The hole is punched in an inode, the invalidation names the file.
    size_t index = 0;
    const Event* next = next_of_thread(e, ahead, index);
    if (next != nullptr && next->kind == EventKind::kGmemInvalidate) {
      e.set(f::gmem_punch_hole::gmem, next->get(f::gmem_invalidate::gmem));
    }
  }
  if (e.cls == PacketClass::kStimulus) gmem_slot(e, ahead, before);
  if (!ends_operation) operation_inputs(e, c, before);
  vcpu_facts(e, c, ahead, before);
  fault_inputs(e, c, ahead, before);
  td_inputs(e, before);
  change_inputs(e, c, ahead, before);
  walk_inputs(e, c, ahead, before);
  mirror_root_put(e, c, before);
  if (e.kind == EventKind::kMarker) marker(e, after);
  follow_fault(e, is_td(e.vm), c);
  c.after_commit = e.kind == EventKind::kCommitMemslot;
  if (e.kind == EventKind::kClearDirtyPt) {
    c.after_dirty_chunk = true;
  } else if (e.cls == PacketClass::kStimulus || e.kind == EventKind::kFlushAll ||
             e.kind == EventKind::kFlushMemslot || e.kind == EventKind::kFlushRange) {
    c.after_dirty_chunk = false;
  }
  if (e.kind != EventKind::kFlushAll && !is_yield(&e)) c.yield_told = false;
}

}  // namespace mmucheck::import
