#include "checker/replay/replayer.h"

#include <fmt/format.h>

#include <algorithm>

#include "checker/replay/field_ranges.h"
#include "checker/replay/findings.h"
#include "checker/replay/missing_probe.h"
#include "checker/replay/packets.h"
#include "checker/replay/seamcall_probes.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;
using trace::PacketClass;

namespace {

// What a kernel does that no check here looks at.
bool ignored(K kind) {
  switch (kind) {
    case K::kUserspaceExit:
    case K::kMmio:
    case K::kEntry:
    case K::kExit:
    case K::kPagetableWalk:
    case K::kPagingElement:
    case K::kWalkerError:
    case K::kFpu:
    case K::kMarker:
    case K::kUnmapHvaRange:
    case K::kCreateVcpu:
    case K::kEnableCap:
      return true;
    default: return false;
  }
}

uint64_t key_of(const Event& e) {
  return e.thread != 0 ? e.thread : (uint64_t{1} << 32 | e.cpu);
}

bool test(const trace::KindSet& set, K kind) { return set.test(static_cast<size_t>(kind)); }

}  // namespace

bool is_step(K kind) {
  return !ignored(kind) && kind != K::kRcuFreeSp && kind != K::kSoftExitRet;
}

Replayer::Replayer(const trace::TraceInfo& info)
    : visible_(info.capabilities), silent_(info.silent) {
  host_.design = design_of(info.kernel);
  // The probe on __tdp_mmu_set_spte_atomic needs a build that does not inline what is probed.
  host_.noinline_build = test(visible_, K::kCmpxchgSpte) || test(visible_, K::kZapAllFast) ||
                         test(visible_, K::kMmuDestroy);
  verdict_.file = info.file;
  verdict_.kernel = info.kernel_text;
  for (const trace::KindInfo& k : trace::all_kinds()) {
    if (test(visible_, k.kind)) verdict_.capabilities.emplace_back(k.name);
  }
  verdict_.mode = full_engine_can(visible_) ? report::Mode::kFull : report::Mode::kTracepoint;
}

Replayer::~Replayer() = default;

std::vector<VmState> Replayer::state() const {
  std::vector<VmState> all;
  for (const auto& [id, v] : vms_) all.push_back(state_of(*v));
  std::sort(all.begin(), all.end(),
            [](const VmState& a, const VmState& b) { return a.vm < b.vm; });
  return all;
}

void Replayer::event(const Event& e) {
  events_++;
  arguments_.saw(e);
  switch (e.cls) {
    case PacketClass::kConfig: return config(e);
    case PacketClass::kInput:
      verdict_.inputs[std::string(trace::kind_name(e.kind))]++;
      check_field_ranges(verdict_.file, e);
      return input(e);
    case PacketClass::kStimulus:
      verdict_.events++;
      check_field_ranges(verdict_.file, e);
      return stimulus(e);
    case PacketClass::kObservation:
      verdict_.events++;
      observed_ = true;
      return observation(e);
  }
}

void Replayer::config(const Event& e) {
  switch (e.kind) {
    case K::kMmuFormat: {
      namespace m = f::mmu_format;
      model::HostMmu& h = host_.mmu;
      if (e.has(m::format)) {
        const bool npt = e.get(m::format) == static_cast<uint64_t>(trace::SpteFormat::kNpt);
        h.format = npt ? model::PageTableFormat::kNpt : model::PageTableFormat::kEpt;
        verdict_.format = npt ? "NPT" : "EPT";
      }
      take_mmu_format(e, h);
      return;
    }
    case K::kModuleParams: {
      namespace p = f::module_params;
      const auto told = [&](size_t field) {
        return e.has(field) ? std::optional<uint64_t>(e.get(field)) : std::nullopt;
      };
      busy_.set_every(BusyRule::Group::kMap, told(p::mock_busy_every));
      busy_.set_every(BusyRule::Group::kZap, told(p::mock_busy_zap_every));
      return take_module_params(e, host_);
    }
    case K::kVmConfig: vm_configs_[e.vm] = e; return;
    case K::kLostEvents: return lost(e);
    default: return;
  }
}

void Replayer::lost(const Event& e) {
  lossy_ = true;
  report::Lost l;
  l.count = e.get(f::lost_events::count);
  l.cpu = static_cast<uint32_t>(e.get(f::lost_events::cpu));
  l.line = e.source_line;
  verdict_.lost.push_back(l);
  for (auto& [id, v] : vms_) v->abandoned = true;
}

Replayer::Thread& Replayer::thread(const Event& e) {
  Thread& t = threads_[key_of(e)];
  t.tid = e.thread;
  return t;
}

VmModel* Replayer::vm(uint32_t id) {
  const auto it = vms_.find(id);
  return it == vms_.end() ? nullptr : it->second.get();
}

VmModel* Replayer::vm_of(const Event& e, Thread& t) {
  if (e.vm != 0) t.vm = e.vm;
  return vm(t.vm);
}

// A destroyed VM whose last table went back to the allocator has nothing left to predict.
void Replayer::forget_dead_vms() {
  std::erase_if(vms_, [this](const auto& item) {
    VmModel& v = *item.second;
    if (!v.destroyed || v.store.live_tables() != 0) return false;
    for (const auto& [key, t] : threads_) {
      for (const Operation& op : t.stack) {
        if (op.vm == &v) return false;
      }
    }
    count_vm(v);
    return true;
  });
}

void Replayer::count_vm(const VmModel& v) {
  verdict_.spte_changes.hardware_ad += v.env.hardware_ad;
  missed_frees_ += v.missed_frees;
}

// A recording may give a number again before the VM that had it was seen to end.
void Replayer::forget_operations_of(const VmModel& v) {
  for (auto& [key, t] : threads_) {
    std::erase_if(t.stack, [&](const Operation& op) { return op.vm == &v; });
  }
  count_vm(v);
}

void Replayer::create_vm(const Event& e) {
  forget_dead_vms();
  if (vms_.size() >= kMaxVms) {
    verdict_.inconclusive.push_back("more than " + std::to_string(kMaxVms) + " VMs live at once");
    return;
  }
  auto v = std::make_unique<VmModel>(e.vm, host_, visible_);
  v->vm_type = e.get(f::init_vm::vm_type);
  v->abandoned = lossy_;
  model::VmConfig& c = v->world.vm;
  c.default_type = v->vm_type == kVmTypeDefault;
  const auto it = vm_configs_.find(e.vm);
  if (it != vm_configs_.end()) {
    namespace x = f::vm_config;
    c.has_private_mem = it->second.get(x::has_private_mem) != 0;
    c.has_mirror = it->second.get(x::has_mirror) != 0;
    c.gfn_direct_bits = it->second.get(x::direct_gfn_bits);
    vm_configs_.erase(it);
  }
  if (v->vm_type == kVmTypeTdx && host_.mmu.format == model::PageTableFormat::kEpt) {
    v->world.fmt = model::with_td_mmio_value(v->world.fmt);
  }
  // Without the SEAMCALLs' probes the hooks answer by script.
  if (c.has_mirror && test(visible_, K::kMockSeptState)) {
    v->become_td(c.gfn_direct_bits == uint64_t{1} << 39 ? 52 : 48);
  }
  v->env.set_gfn_alias(c.gfn_direct_bits);
  v->env.silent = &silent_;
  watch(*v);
  verdict_.vms++;
  std::unique_ptr<VmModel>& known = vms_[e.vm];
  if (known != nullptr) forget_operations_of(*known);
  known = std::move(v);
}

void Replayer::input(const Event& e) {
  if (e.kind == K::kCallbackRun) return rcu_callback(e);
  Thread& t = thread(e);
  PendingInputs& in = t.in;
  switch (e.kind) {
    case K::kStep: {
      start_deferred(e, t);
      for (uint64_t n = e.get_or(f::step::count, 1); n > 0; n--) {
        const Predicted* p = advance(e, t);
        if (p == nullptr) break;
        const Predicted copy = *p;
        predicted(e, copy);
        went_on(e, t, copy.kind);
      }
      return;
    }
    case K::kFaultPfn: {
      model::FaultinPfn p;
      p.pfn = e.get(f::fault_pfn::pfn);
      p.map_writable = e.get(f::fault_pfn::map_writable) != 0;
      p.max_level = static_cast<uint8_t>(e.get_or(f::fault_pfn::max_level, 3));
      in.fault_pfn = p;
      return;
    }
    case K::kFaultinOutcome:
      take_pending_input(e, in);
      in.no_efault = !can_fail_with_efault(t);
      return;
    case K::kNewTable: in.new_table = e.get(f::new_table::pfn); return;
    case K::kFaultAddress: return take_fault_address(e, t);
    case K::kGmemSlot:
      if (VmModel* v = vm(e.vm)) name_gmem_file(e, *v);
      return;
    case K::kOthersFirst:
      in.others_first = true;
      in.others_froze = e.get_or(f::others_first::frozen, 0) != 0;
      return;
    case K::kVcpuRole:
    case K::kCapability:
      if (VmModel* v = vm_of(e, t)) take_vm_fact(e, *v);
      return;
    default: take_pending_input(e, in);
  }
}

void Replayer::stimulus(const Event& e) {
  if (e.kind == K::kInitVm) return create_vm(e);
  if (ignored(e.kind)) return;
  Thread& t = thread(e);
  if (e.kind == K::kModuleParamSet) {
    take_module_param_set(e, host_);
    const auto param = static_cast<trace::ModuleParam>(e.get(f::module_param_set::param));
    const uint64_t value = e.get(f::module_param_set::value);
    if (param == trace::ModuleParam::kMockBusyEvery) busy_.set_every(BusyRule::Group::kMap, value);
    if (param == trace::ModuleParam::kMockBusyZapEvery) {
      busy_.set_every(BusyRule::Group::kZap, value);
    }
    for (auto& [id, v] : vms_) follow_host(host_, *v);
    return;
  }
  if (!finish_operations(e, t)) return;
  t.has_deferred = false;  // it showed nothing: nobody knows for whom it was
  if (e.kind == K::kPageFault && t.owes_exit != 0 && observed_ &&
      test(visible_, K::kUserspaceExit)) {
    const std::string expected = "userspace_exit  err " + std::to_string(t.owes_exit);
    t.owes_exit = 0;
    VmModel* same = vm_of(e, t);
    if (same != nullptr && !same->abandoned) return diverge(e, t, expected, "", 0, 0);
  }
  // The VM of an event that names none shows in what the thread does next.
  if (e.vm == 0 && (e.kind == K::kAgeHva || e.kind == K::kTestAgeHva ||
                    e.kind == K::kGmemPunchHole || e.kind == K::kGmemRelease ||
                    (e.kind == K::kPageFault && vm(t.vm) == nullptr))) {
    t.deferred = e;
    t.deferred.text = t.deferred.unknown = t.deferred.unknown_outer = {};
    t.has_deferred = true;
    return;
  }
  VmModel* v = vm_of(e, t);
  if (v == nullptr || v->abandoned) return;
  v->env.set_time(events_, t.last_event);
  const bool started = start(e, t, *v);
  t.accepts.reset();
  // KVM_PRE_FAULT_MEMORY has no event: it may have begun at any time since the last one.
  if (e.kind != K::kPrefault) t.last_event = events_;
  t.last_kind = e.kind;
  if (!started) return;
  // These are the operation's own first event.
  if (e.kind == K::kZapAll || e.kind == K::kZapAllFast || e.kind == K::kMmuZapAllFast ||
      e.kind == K::kGmemInvalidate || probe_of(e.kind) != nullptr) {
    observation(e);
  }
}

void Replayer::observation(const Event& e) {
  if (e.kind == K::kSpteChanged) verdict_.spte_changes.observed++;
  if (e.kind == K::kUserspaceExit) {  // of KVM_RUN: whatever the thread did for it is over
    Thread& t = thread(e);
    if (!t.stack.empty() && !finish_operations(e, t)) return;
    t.owes_exit = 0;
    t.accepts.reset();
  }
  if (ignored(e.kind)) return;
  if (e.kind == K::kRcuFreeSp) {
    if (rcu_expected_) {
      Thread& t = thread(e);
      const Predicted p = *rcu_expected_;
      rcu_expected_.reset();
      compare(e, t, p);
    }
    return;
  }
  Thread& t = thread(e);
  VmModel* v = vm_of(e, t);
  const std::string busy = busy_surprise(e, t);
  if (v == nullptr || v->abandoned) return;
  const bool of_td = e.kind == K::kMockFreeid || e.kind == K::kMockTdDestroy;
  if (of_td && v->world.platform == nullptr) return;
  v->env.set_time(events_, t.last_event);
  start_deferred(e, t);
  if (e.kind == K::kSoftExitRet) {
    t.soft_exit.reset();
    if (!finish_operations(e, t)) return;
    t.in.clear();
    const int64_t want = t.owes_exit;
    const int64_t seen = e.get_signed(f::soft_exit_ret::ret);
    t.owes_exit = 0;
    if (want != 0 && want != seen) {
      return diverge(e, t, "soft_exit_ret  ret " + std::to_string(want), "ret",
                     static_cast<uint64_t>(want), static_cast<uint64_t>(seen));
    }
    return;
  }
  const Predicted* p = advance(e, t);
  if (p == nullptr) return diverge(e, t, "nothing: the operation is over", "", 0, 0);
  const Predicted copy = *p;
  predicted(e, copy);
  compare(e, t, copy);
  if (!busy.empty() && !v->abandoned) {
    return diverge(e, t, std::string(trace::kind_name(e.kind)) + "  " + busy, "", 0, 0);
  }
  went_on(e, t, copy.kind);
}

// Follows which calls are under way; why an answer cannot be, or nothing.
std::string Replayer::busy_surprise(const Event& e, const Thread& t) {
  if (const SeamcallProbe* entry = probe_of(e.kind)) {
    namespace x = f::mock_page_aug;
    const int level = e.kind == K::kMockAccept ? 1 : static_cast<int>(e.get_or(x::level, 0));
    busy_.entered(key_of(e), t.vm, entry->leaf, entry->has_place ? e.get(x::gpa) : 0,
                  entry->has_place ? level : 0);
    return {};
  }
  if (returning_probe(e.kind) == nullptr) return {};
  const auto tds = std::count_if(vms_.begin(), vms_.end(), [](const auto& v) {
    return v.second->world.platform != nullptr && !v.second->destroyed;
  });
  model::tdx::Status status;
  status.v = e.get(f::mock_page_aug_ret::ret);
  return busy_.returned(key_of(e), status, tds == 1);
}

// After the visible event `kind`: what the thread does at once.
void Replayer::went_on(const Event& e, Thread& t, K kind) {
  t.last_event = events_;
  t.last_kind = kind;
  // The attributes of huge pages follow before the return; nothing else would tell when.
  if (kind == K::kPostSetAttr && !test(visible_, K::kSetMemAttrRet) && !t.stack.empty() &&
      t.queue_at == t.queue.size()) {
    return run_to_window(e, t);
  }
  if ((kind != K::kFastPageFault && kind != K::kCheckMmioSpte) || t.stack.empty() ||
      t.queue_at != t.queue.size()) {
    return;
  }
  const auto* fault = std::get_if<model::PageFault>(&t.stack.back().machine);
  if (fault != nullptr && !(kind == K::kCheckMmioSpte && fault->mmio_hit)) run_to_window(e, t);
}

// The VM of a stimulus that named none is that of the thread's next event.
void Replayer::start_deferred(const Event& e, Thread& t) {
  if (!t.has_deferred || e.vm == 0) return;
  t.has_deferred = false;
  VmModel* v = vm_of(e, t);
  if (v != nullptr && !v->abandoned) start(t.deferred, t, *v);
}

// The model was told 0 where the recording has no argument, and went on from there.
void Replayer::doubt_findings() {
  if (verdict_.violations.empty() && verdict_.divergences.empty()) return;
  const std::string argument = arguments_.missing();
  if (argument.empty()) return;
  const report::Place& first = verdict_.violations.empty() ? verdict_.divergences[0].place
                                                           : verdict_.violations[0].place;
  verdict_.inconclusive.push_back(
      fmt::format("line {}: {} was not expected; the probe does not record {}, which would tell "
                  "whether it may happen",
                  first.line, first.event, argument));
  verdict_.mode = report::Mode::kPartial;
  verdict_.violations.clear();
  verdict_.divergences.clear();
  tally_.violated = {};
}

void Replayer::finish(const trace::TraceInfo& info) {
  verdict_.skipped = info.skipped;
  verdict_.malformed = info.malformed;
  for (const auto& [id, v] : vms_) count_vm(*v);
  for (auto& [kind, missed] : missed_) {
    if (!lossy_ && missed.count == 1) verdict_.divergences.push_back(std::move(missed.first));
  }
  doubt_findings();
  put_counts(verdict_, tally_);
}

}  // namespace mmucheck::replay
