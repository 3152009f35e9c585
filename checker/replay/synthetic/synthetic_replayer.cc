#include "checker/replay/synthetic/synthetic_replayer.h"

#include <fmt/format.h>

#include "checker/replay/findings.h"
#include "checker/replay/flatten.h"
#include "checker/replay/observed_rules.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;
using trace::PacketClass;

namespace {

constexpr int kPrefaultTries = 3;  // then a signal is pending

report::Outcome outcome(uint64_t expected) {
  switch (static_cast<trace::ExpectedVerdict>(expected)) {
    case trace::ExpectedVerdict::kViolated: return report::Outcome::kViolated;
    case trace::ExpectedVerdict::kDiverged: return report::Outcome::kDiverged;
    case trace::ExpectedVerdict::kInconclusive: return report::Outcome::kInconclusive;
    default: return report::Outcome::kHolds;
  }
}

bool is_prefault(const Operation& op) {
  const auto* fault = std::get_if<model::PageFault>(&op.machine);
  return fault != nullptr && fault->fault.prefetch;
}

}  // namespace

bool is_synthetic(const trace::TraceInfo& info) {
  return info.capabilities.none() && (info.encoding == "txtpb" || info.encoding == "pb");
}

SyntheticReplayer::SyntheticReplayer(const trace::TraceInfo& info) {
  const bool old = info.kernel == trace::KernelVersion::k6_12;
  host_.design = model::find_design(old ? "linux-6.12" : "linux-7.2");
  verdict_.file = info.file;
  verdict_.kernel = info.kernel_text;
  verdict_.mode = report::Mode::kSynthetic;
}

SyntheticReplayer::~SyntheticReplayer() = default;

void SyntheticReplayer::set_prediction_sink(Sink sink, const trace::KindSet& kinds) {
  sink_ = std::move(sink);
  printed_ = kinds;
}

void SyntheticReplayer::event(const Event& e) {
  events_++;
  switch (e.cls) {
    case PacketClass::kConfig: return config(e);
    case PacketClass::kInput:
      verdict_.inputs[std::string(trace::kind_name(e.kind))]++;
      return input(e);
    case PacketClass::kStimulus: verdict_.events++; return stimulus(e);
    case PacketClass::kObservation: verdict_.events++; return observation(e);
  }
}

void SyntheticReplayer::refuse(const Event& e, const std::string& why) {
  verdict_.inconclusive.push_back(
      fmt::format("packet {} ({}): {}", e.seq, trace::kind_name(e.kind), why));
}

void SyntheticReplayer::config(const Event& e) {
  switch (e.kind) {
    case K::kKernel: {
      const auto version = static_cast<trace::KernelVersion>(e.get(f::kernel::version));
      const bool old = version == trace::KernelVersion::k6_12;
      host_.design = model::find_design(old ? "linux-6.12" : "linux-7.2");
      if (!e.text.empty()) verdict_.kernel = std::string(e.text);
      return;
    }
    case K::kDesign: {
      const model::Design* d = model::find_design(e.text);
      if (d == nullptr) return refuse(e, fmt::format("there is no design called '{}'", e.text));
      host_.design = d;
      return;
    }
    case K::kMmuFormat: {
      namespace m = f::mmu_format;
      model::HostMmu& h = host_.mmu;
      const bool ept = e.get(m::format) == static_cast<uint64_t>(trace::SpteFormat::kEpt);
      h.format = ept ? model::PageTableFormat::kEpt : model::PageTableFormat::kNpt;
      verdict_.format = ept ? "EPT" : "NPT";
      h.ad_bits = e.get_or(m::ad_bits, 1) != 0;
      h.maxphyaddr = static_cast<int>(e.get_or(m::maxphyaddr, 48));
      h.max_huge_page_level = static_cast<int>(e.get_or(m::max_huge_level, 3));
      h.ept_memtype_bits = e.get_or(m::memtype_bits, 0);
      levels_ = e.get_or(m::levels, 4);
      if (h.maxphyaddr < 32 || h.maxphyaddr > 52 || levels_ < 4 || levels_ > 5) {
        h.maxphyaddr = 48;
        levels_ = 4;
        refuse(e, "maxphyaddr is 32 to 52, levels are 4 or 5");
      }
      return;
    }
    case K::kModuleParams: {
      namespace p = f::module_params;
      host_.mmu.nx_huge_pages = e.get_or(p::nx_huge_pages, 0) != 0;
      host_.mmu.mmio_caching = e.get_or(p::mmio_caching, 1) != 0;
      host_.mmu.cpu_dirty_log_size = static_cast<int>(e.get_or(p::pml_size, 0));
      host_.mmu.prove_mmu = e.get_or(p::prove_mmu, 0) != 0;
      host_.eager_page_split = e.get_or(p::eager_page_split, 1) != 0;
      return;
    }
    case K::kVmConfig: vm_configs_[e.vm] = e; return;
    case K::kLostEvents: {
      report::Lost l;
      l.count = e.get(f::lost_events::count);
      l.cpu = static_cast<uint32_t>(e.get(f::lost_events::cpu));
      l.line = e.stream_line;
      verdict_.lost.push_back(l);
      return;
    }
    case K::kExpect: {
      report::Expectation x;
      x.outcome = outcome(e.get(f::expect::verdict));
      x.invariant = std::string(e.text);
      if (e.get(f::expect::step) != 0) x.packet = e.get(f::expect::step);
      if (e.has(f::expect::exit_code)) x.exit_code = static_cast<int>(e.get(f::expect::exit_code));
      verdict_.expected = x;
      return;
    }
    default: return;
  }
}

SyntheticReplayer::Thread& SyntheticReplayer::thread(const Event& e) {
  uint32_t tid = e.thread;
  if (threads_.size() >= kMaxSyntheticThreads && !threads_.contains(tid)) {
    refuse(e, fmt::format("more than {} threads", kMaxSyntheticThreads));
    tid = 0;
  }
  Thread& t = threads_[tid];
  t.tid = tid;
  return t;
}

SyntheticReplayer::Vm* SyntheticReplayer::vm(const Event& e) {
  const auto it = vms_.find(e.vm == 0 ? 1 : e.vm);
  return it == vms_.end() ? nullptr : &it->second;
}

void SyntheticReplayer::create_vm(const Event& e) {
  const uint32_t number = e.vm == 0 ? 1 : e.vm;
  if (vms_.size() >= kMaxSyntheticVms) {
    return refuse(e, fmt::format("more than {} VMs live at once", kMaxSyntheticVms));
  }
  for (auto& [tid, t] : threads_) {
    std::erase_if(t.stack, [&](const Task& task) { return task.op.vm->id == number; });
  }
  vms_.erase(number);
  Vm v;
  v.model = std::make_unique<VmModel>(number, host_, visible_);
  VmModel& m = *v.model;
  m.vm_type = e.get(f::vm_create::vm_type);
  m.env.frames_from(kFirstFrame * number);
  m.world.vm.default_type = m.vm_type == kVmTypeDefault;
  m.world.vm.has_private_mem = m.vm_type == kVmTypeSwProtected;
  auto config = vm_configs_.find(e.vm);
  if (config == vm_configs_.end()) config = vm_configs_.find(0);
  if (config != vm_configs_.end()) {
    namespace x = f::vm_config;
    const Event& c = config->second;
    model::VmConfig& vc = m.world.vm;
    vc.has_private_mem = c.get_or(x::has_private_mem, vc.has_private_mem) != 0;
    vc.has_mirror = c.get(x::has_mirror) != 0;
    vc.gfn_direct_bits = c.get(x::direct_gfn_bits);
    m.world.fmt.mmio_value = c.get_or(x::mmio_value, m.world.fmt.mmio_value);
    m.world.fmt.mmio_mask = c.get_or(x::mmio_mask, m.world.fmt.mmio_mask);
    m.env.slot_zap_quirk = c.get_or(x::slot_zap_quirk, 1) != 0;
    m.env.init_set = c.get(x::initially_set) != 0;
  }
  m.env.set_gfn_alias(m.world.vm.gfn_direct_bits);
  v.monitor = std::make_unique<invariant::Monitor>(view_of(m), tally_);
  m.env.monitor = v.monitor.get();
  v.monitor->vm_created();
  for (const invariant::Id rule : v.monitor->broken()) violated(e, nullptr, rule, "", "");
  v.monitor->broken().clear();
  verdict_.vms++;
  vms_.emplace(number, std::move(v));
}

void SyntheticReplayer::input(const Event& e) {
  Thread& t = thread(e);
  PendingInputs& in = t.in;
  switch (e.kind) {
    case K::kStep:
      visible_.set();
      if (!t.stack.empty()) t.stack.back().stepped = true;
      for (uint64_t n = e.get_or(f::step::count, 1); n > 0 && advance(e, t) != nullptr; n--) {
      }
      return;
    case K::kFaultPfn:
      in.fault_pfn = model::FaultinPfn{e.get(f::fault_pfn::pfn),
                                       e.get_or(f::fault_pfn::map_writable, 1) != 0,
                                       static_cast<uint8_t>(e.get_or(f::fault_pfn::max_level, 3))};
      return;
    case K::kHostLevel: in.host_level = static_cast<int>(e.get(f::host_level::level)); return;
    case K::kNewTable: t.frames.push_back(e.get(f::new_table::pfn)); return;
    case K::kHwAd:
      in.hw_ad.push_back({e.get(f::hw_ad::gfn), static_cast<int>(e.get(f::hw_ad::level)),
                          e.get_or(f::hw_ad::npages, 1), e.get(f::hw_ad::accessed) != 0,
                          e.get(f::hw_ad::dirty) != 0});
      return;
    case K::kCmpxchgLost: in.cmpxchg_lost = true; return;
    case K::kYieldHere:
      in.yield = true;
      if (e.has(f::yield_here::next_gfn)) in.yield_gfn = e.get(f::yield_here::next_gfn);
      return;
    case K::kFlushHere: in.flush_here = true; return;
    case K::kAllocFailed: in.alloc_failed = true; return;
    case K::kTopupFailed: in.topup_failed = true; return;
    case K::kFaultinOutcome: in.faultin = e.get_signed(f::faultin_outcome::ret); return;
    case K::kCollapseHostLevel:
      in.collapse =
          PendingInputs::Collapse{static_cast<int>(e.get(f::collapse_host_level::level)),
                                  e.get(f::collapse_host_level::gfn)};
      return;
    case K::kNxRecoveryCount: in.nx_pages += e.get(f::nx_recovery_count::count); return;
    case K::kCapability:
    case K::kVcpuRole: {
      Vm* v = vm(e);
      if (v == nullptr) return refuse(e, "there is no such VM");
      ReplayEnv& env = v->model->env;
      if (e.kind == K::kVcpuRole) {
        const auto vcpu = static_cast<uint32_t>(e.get(f::vcpu_role::vcpu_id));
        env.roles[vcpu] = static_cast<uint32_t>(e.get(f::vcpu_role::role));
        model::load_root_of_role(v->model->world, vcpu, env.roles[vcpu]);
        return;
      }
      const bool on = e.get(f::capability::value) != 0;
      const auto name = static_cast<trace::CapabilityName>(e.get(f::capability::name));
      if (name == trace::CapabilityName::kSlotZapQuirk) env.slot_zap_quirk = on;
      if (name == trace::CapabilityName::kInitiallySet) env.init_set = on;
      return;
    }
    default: return refuse(e, "no operation takes this input");
  }
}

void SyntheticReplayer::stimulus(const Event& e) {
  if (e.kind == K::kVmCreate || e.kind == K::kInitVm) return create_vm(e);
  Thread& t = thread(e);
  // What began before ends before this, but for threads that the trace steps.
  for (auto& [tid, other] : threads_) {
    const bool own = &other == &t;
    if (!other.stack.empty() && (own || !other.stack.back().stepped)) run_to_end(e, other);
    if (own) {
      other.in.clear();
      other.frames.clear();
    }
  }
  if (e.kind == K::kModuleParamSet) {
    const auto param = static_cast<trace::ModuleParam>(e.get(f::module_param_set::param));
    const bool on = e.get(f::module_param_set::value) != 0;
    if (param == trace::ModuleParam::kNxHugePages) host_.mmu.nx_huge_pages = on;
    if (param == trace::ModuleParam::kEagerPageSplit) host_.eager_page_split = on;
    for (auto& [id, v] : vms_) {
      v.model->world.host.nx_huge_pages = host_.mmu.nx_huge_pages;
      v.model->env.eager_split = host_.eager_page_split;
    }
    return;
  }
  Vm* v = vm(e);
  if (v == nullptr) return refuse(e, "there is no such VM");
  if (v->model->abandoned) return;
  v->model->env.set_time(events_, t.last_event);
  start(e, t, *v);
  t.last_event = events_;
}

void SyntheticReplayer::observation(const Event& e) {
  if (e.kind == K::kSpteChanged) verdict_.spte_changes.observed++;
  Thread& t = thread(e);
  Vm* v = vm(e);
  if (v == nullptr) return refuse(e, "there is no such VM");
  if (v->model->abandoned) return;
  if (!t.stack.empty()) {
    t.stack.front().observed.set(static_cast<size_t>(e.kind));
    visible_ = t.stack.front().observed;
  }
  const Predicted* p = advance(e, t);
  if (v->model->abandoned) return;
  compare(e, t, *v, p);
  t.last_event = events_;
}

void SyntheticReplayer::push(Thread& t, Vm& v, const Event& e, Machine machine) {
  if (t.stack.size() >= kMaxTasks) return refuse(e, "too much to do at once");
  Task task;
  task.op.machine = std::move(machine);
  task.op.vm = v.model.get();
  task.op.line = e.stream_line;
  task.op.name = trace::kind_name(e.kind);
  t.stack.push_back(std::move(task));
}

void SyntheticReplayer::push(Thread& t, Vm& v, const Event& e, Primitive primitive) {
  push(t, v, e, Machine{});
  if (!t.stack.empty()) t.stack.back().primitive = std::move(primitive);
}

model::Run SyntheticReplayer::run(const Event& e, Thread& t, Task& task) {
  VmModel& v = *task.op.vm;
  if (!t.in.new_table && !t.frames.empty()) {
    t.in.new_table = t.frames.front();
    t.frames.erase(t.frames.begin());
  }
  const bool prefault = is_prefault(task.op);
  v.env.select(&t.in, &t.queue, t.tid, /*ending=*/task.windows >= kPrefaultTries,
               /*to_window=*/prefault);
  v.env.set_time(events_, t.last_event);
  const uint32_t tables = v.store.live_tables();
  const model::Run r =
      task.primitive ? run_primitive(v.world, *task.primitive) : run_operation(task.op);
  if (v.store.live_tables() != tables) t.in.new_table.reset();
  if (prefault && r != model::Run::kDone && t.queue.empty()) task.windows++;
  take_findings(v, e, &t);
  return r;
}

void SyntheticReplayer::task_done(Thread& t) {
  Task& task = t.stack.back();
  if (std::holds_alternative<model::DestroyVm>(task.op.machine)) task.op.vm->destroyed = true;
  const trace::KindSet observed = task.observed;
  const bool stepped = task.stepped;
  t.stack.pop_back();
  if (t.stack.empty()) return;
  t.stack.back().observed |= observed;
  t.stack.back().stepped |= stepped;
}

// False when the thread waits for another one.
bool SyntheticReplayer::run_to_end(const Event& e, Thread& t) {
  t.queue.clear();
  t.queue_at = 0;
  visible_ = sink_ ? printed_ : trace::KindSet{};
  visible_.set(static_cast<size_t>(K::kInitSp));  // one frame a table
  while (!t.stack.empty()) {
    Task& task = t.stack.back();
    if (task.op.vm->abandoned) {
      t.stack.pop_back();
      continue;
    }
    const model::Run r = run(e, t, task);
    for (const Predicted& p : t.queue) {
      if (sink_ && printed_.test(static_cast<size_t>(p.kind))) sink_(e, p);
    }
    t.queue.clear();
    if (r == model::Run::kBlocked) return false;
    if (r == model::Run::kDone) task_done(t);
  }
  return true;
}

// The thread's next event of a visible kind, nullptr when its operations are over.
const Predicted* SyntheticReplayer::advance(const Event& e, Thread& t) {
  if (t.queue_at < t.queue.size()) return &t.queue[t.queue_at++];
  t.queue.clear();
  t.queue_at = 0;
  const trace::KindSet wanted = visible_;
  while (!t.stack.empty() && t.queue.empty()) {
    Task& task = t.stack.back();
    if (task.op.vm->abandoned) {
      t.stack.pop_back();
      continue;
    }
    visible_ = wanted;
    if (sink_) visible_ |= printed_;
    visible_.set(static_cast<size_t>(K::kInitSp));  // one frame a table
    const model::Run r = run(e, t, task);
    if (r == model::Run::kDone) task_done(t);
    for (const Predicted& p : t.queue) {
      if (sink_ && printed_.test(static_cast<size_t>(p.kind))) sink_(e, p);
    }
    std::erase_if(t.queue, [&](const Predicted& p) {
      return !wanted.test(static_cast<size_t>(p.kind));
    });
    if (r == model::Run::kBlocked) break;
  }
  visible_ = wanted;
  return t.queue.empty() ? nullptr : &t.queue[t.queue_at++];
}

}  // namespace mmucheck::replay
