#include "checker/replay/synthetic/synthetic_replayer.h"

#include <fmt/format.h>

#include <algorithm>

#include "checker/replay/field_ranges.h"
#include "checker/replay/findings.h"
#include "checker/replay/flatten.h"
#include "checker/replay/observed_rules.h"
#include "checker/replay/packets.h"
#include "checker/replay/seamcall_probes.h"
#include "checker/replay/synthetic/show_between.h"
#include "checker/trace/event_kinds.h"
#include "model/design/choices.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;
using trace::PacketClass;
using invariant::id;

namespace {

constexpr int kLocalTries = 3;  // of a fault that is retried without an exit: then a signal is pending

report::Outcome outcome(uint64_t expected) {
  switch (static_cast<trace::ExpectedVerdict>(expected)) {
    case trace::ExpectedVerdict::kViolated: return report::Outcome::kViolated;
    case trace::ExpectedVerdict::kDiverged: return report::Outcome::kDiverged;
    case trace::ExpectedVerdict::kInconclusive: return report::Outcome::kInconclusive;
    default: return report::Outcome::kHolds;
  }
}

bool has_private_side(const model::VmConfig& vm) {
  return vm.has_private_mem || vm.has_mirror || vm.gfn_direct_bits != 0;
}

// Nothing but another thread ends the attempts of such a fault.
bool retries_locally(const Operation& op) {
  const auto* accept = std::get_if<model::GuestAccept>(&op.machine);
  const auto* fault =
      accept != nullptr ? &accept->fault : std::get_if<model::PageFault>(&op.machine);
  return fault != nullptr && (fault->fault.prefetch ||
                              (op.vm->world.vm.has_mirror && fault->fault.is_private));
}

}  // namespace

bool is_synthetic(const trace::TraceInfo& info) {
  return info.capabilities.none() && (info.encoding == "txtpb" || info.encoding == "pb");
}

SyntheticReplayer::SyntheticReplayer(const trace::TraceInfo& info, const model::Design* design)
    : design_given_(design != nullptr) {
  host_.design = design_given_ ? design : design_of(info.kernel);
  verdict_.file = info.file;
  verdict_.kernel = info.kernel_text;
  verdict_.mode = report::Mode::kSynthetic;
}

SyntheticReplayer::~SyntheticReplayer() = default;

std::vector<VmState> SyntheticReplayer::state() const {
  std::vector<VmState> all;
  for (const auto& [id, v] : vms_) all.push_back(state_of(*v.model));
  return all;
}

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
      check_field_ranges(verdict_.file, e);
      return input(e);
    case PacketClass::kStimulus:
      verdict_.events++;
      check_field_ranges(verdict_.file, e);
      return stimulus(e);
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
      if (!design_given_) {
        host_.design = design_of(static_cast<trace::KernelVersion>(e.get(f::kernel::version)));
      }
      if (!e.text.empty()) verdict_.kernel = std::string(e.text);
      return;
    }
    case K::kDesign: return choose_design(e);
    case K::kMarker: return begin_loop(e);
    case K::kMmuFormat: {
      namespace m = f::mmu_format;
      model::HostMmu& h = host_.mmu;
      const bool ept = e.get(m::format) == static_cast<uint64_t>(trace::SpteFormat::kEpt);
      h.format = ept ? model::PageTableFormat::kEpt : model::PageTableFormat::kNpt;
      verdict_.format = ept ? "EPT" : "NPT";
      take_mmu_format(e, h);
      levels_ = e.get_or(m::levels, 4);
      maxphyaddr_told_ = e.has(m::maxphyaddr);
      if (h.maxphyaddr < 32 || h.maxphyaddr > 52 || levels_ < 4 || levels_ > 5) {
        h.maxphyaddr = 48;
        levels_ = 4;
        refuse(e, "maxphyaddr is 32 to 52, levels are 4 or 5");
      }
      return;
    }
    case K::kModuleParams: return take_module_params(e, host_);
    case K::kVmConfig:
      check_gpaw(e);
      vm_configs_[e.vm] = e;
      return;
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

void SyntheticReplayer::choose_design(const Event& e) {
  auto known = own_designs_.find(e.text);
  if (known == own_designs_.end()) {
    if (own_designs_.size() >= kMaxSyntheticDesigns) {
      return refuse(e, fmt::format("more than {} designs", kMaxSyntheticDesigns));
    }
    model::ParsedDesign parsed = model::parse_design_spec(e.text);
    if (parsed.design == nullptr) return refuse(e, parsed.error);
    known = own_designs_.emplace(e.text, std::move(parsed.design)).first;
  }
  if (!design_given_) host_.design = &known->second->design;
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
  auto config = vm_configs_.find(e.vm);
  if (config == vm_configs_.end()) config = vm_configs_.find(0);
  Vm v;
  v.model = std::make_unique<VmModel>(number, host_, visible_);
  VmModel& m = *v.model;
  m.env.in_order = true;
  m.vm_type = e.get(f::vm_create::vm_type);
  m.env.frames_from(kFirstFrame * number);
  m.world.vm.default_type = m.vm_type == kVmTypeDefault;
  const bool td = m.vm_type == kVmTypeTdx;
  m.world.vm.has_private_mem = m.vm_type == kVmTypeSwProtected || td;
  m.world.vm.has_mirror = td;
  if (td) m.world.vm.gfn_direct_bits = uint64_t{1} << 35;
  if (td && host_.mmu.format == model::PageTableFormat::kEpt) {
    m.world.fmt = model::with_td_mmio_value(m.world.fmt);
  }
  if (config != vm_configs_.end()) {
    namespace x = f::vm_config;
    const Event& c = config->second;
    model::VmConfig& vc = m.world.vm;
    vc.has_private_mem = c.get_or(x::has_private_mem, vc.has_private_mem) != 0;
    vc.has_mirror = c.get_or(x::has_mirror, vc.has_mirror) != 0;
    if (c.get_or(x::gpaw, 48) == 52 && td) vc.gfn_direct_bits = uint64_t{1} << 39;
    vc.gfn_direct_bits = c.get_or(x::direct_gfn_bits, vc.gfn_direct_bits);
    m.world.fmt.mmio_value = c.get_or(x::mmio_value, m.world.fmt.mmio_value);
    m.world.fmt.mmio_mask = c.get_or(x::mmio_mask, m.world.fmt.mmio_mask);
    m.env.slot_zap_quirk = c.get_or(x::slot_zap_quirk, 1) != 0;
    m.env.init_set = c.get(x::initially_set) != 0;
  }
  // A host that has TDs of GPAW 52 has all address bits: the shared half begins at the last.
  const bool wide = m.world.vm.gfn_direct_bits == model::gfn_direct_bits_for_gpaw(52);
  if (wide && !maxphyaddr_told_) m.world.host.maxphyaddr = 52;
  if (td) m.become_td(m.world.vm.gfn_direct_bits == uint64_t{1} << 39 ? 52 : 48);
  if (const auto lacking = model::not_modelled(*host_.design);
      !lacking.empty() && has_private_side(m.world.vm) && !told_not_modelled_) {
    told_not_modelled_ = true;
    std::string names;
    for (const model::Choice* c : lacking) {
      if (!names.empty()) names += ", ";
      names += c->name;
    }
    refuse(e, fmt::format("not modelled of design {}: {}", host_.design->name, names));
  }
  if (td && host_.design->external_hook == model::ExternalHook::kNone) {
    refuse(e, fmt::format("design {} has no mirror roots, and no TDs", host_.design->name));
    m.abandoned = true;
  }
  // Written traces look at the entry at each access of an MMIO page.
  m.env.mmio_info_cache = false;
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
    case K::kStep: {
      if (e.get(f::step::machine) != 0) {
        if (!t.stack.empty()) t.stack.back().stepped = t.stack.back().by_machine = true;
        for (uint64_t n = e.get_or(f::step::count, 1); n > 0 && !t.stack.empty(); n--) {
          const bool stepped = machine_step(e, t) != model::Run::kBlocked;
          if (loop_) {
            (stepped ? loop_->ran : loop_->waited).insert(t.tid);
            loop_->last = e;
          }
          if (stepped) {
            waiting_.clear();
            continue;
          }
          waiting_.insert(t.tid);
          last_wait_ = e;
          break;
        }
        return;
      }
      const uint64_t until = e.get(f::step::until);
      if (until >= trace::kEventKindLimit) return refuse(e, "there is no such kind of event");
      if (until != 0) {
        look_for(t, static_cast<K>(until));
      } else {
        visible_.set();
        if (!t.stack.empty()) t.stack.back().stepped = true;
      }
      for (uint64_t n = e.get_or(f::step::count, 1); n > 0 && advance(e, t) != nullptr; n--) {
      }
      return;
    }
    case K::kFaultPfn:
      names_frames_ = true;
      in.fault_pfn = model::FaultinPfn{e.get(f::fault_pfn::pfn),
                                       e.get_or(f::fault_pfn::map_writable, 1) != 0,
                                       static_cast<uint8_t>(e.get_or(f::fault_pfn::max_level, 3))};
      return;
    case K::kNewTable: t.frames.push_back(e.get(f::new_table::pfn)); return;
    case K::kCapability:
    case K::kVcpuRole: {
      Vm* v = vm(e);
      if (v == nullptr) return refuse(e, "there is no such VM");
      return take_vm_fact(e, *v->model);
    }
    default:
      if (!take_pending_input(e, in)) refuse(e, "no operation takes this input");
      return;
  }
}

void SyntheticReplayer::stimulus(const Event& e) {
  if (e.kind == K::kVmCreate || e.kind == K::kInitVm) return create_vm(e);
  Thread& t = thread(e);
  if (e.kind == K::kNotifierEnd || e.kind == K::kMnInvEnd) flush_before_end(e, t);
  // What began before ends before this, but for threads that the trace steps.
  for (auto& [tid, other] : threads_) {
    const bool own = &other == &t;
    if (!other.stack.empty() && (own || !other.stack.back().stepped)) run_to_end(e, other);
    if (own) {
      other.in.clear();
      other.frames.clear();
    }
  }
  if (e.kind == K::kModuleParamSet) return set_module_param(e, t);
  Vm* v = vm(e);
  if (v == nullptr) return refuse(e, "there is no such VM");
  if (v->model->abandoned) return;
  waiting_.clear();
  v->model->env.set_time(events_, t.last_event);
  t.fault.reset();
  t.zap_start = t.zap_end = 0;
  start(e, t, *v);
  t.last_event = events_;
}

// The notifier's other half begins: a flush that is still due was left out by who has shown one before.
void SyntheticReplayer::flush_before_end(const Event& e, Thread& t) {
  const auto seen = [](const trace::KindSet& kinds, K kind) {
    return kinds.test(static_cast<size_t>(kind));
  };
  if (t.stack.empty() || t.stack.back().stepped || t.stack.front().op.vm->abandoned) return;
  const trace::KindSet& observed = t.stack.front().observed;
  if (!seen(observed, K::kChangedSpte) && !seen(observed, K::kSpteChanged)) return;
  if (!seen(shown_, K::kFlushAll) && !seen(shown_, K::kFlushRange)) return;
  visible_.reset();
  visible_.set(static_cast<size_t>(K::kFlushAll));
  visible_.set(static_cast<size_t>(K::kFlushRange));
  VmModel& v = *t.stack.front().op.vm;
  const Predicted* p = advance(e, t);
  if (p == nullptr || v.abandoned) return;
  tally_.evaluated[id("MMU-TLB-COVERED")]++;
  tally_.violated[id("MMU-TLB-COVERED")]++;
  violated(e, &t, id("MMU-TLB-COVERED"), event_text(*p), event_text(e));
  v.abandoned = true;
}

// set_nx_huge_pages: what is mapped was mapped by the old rule, and goes.
void SyntheticReplayer::set_module_param(const Event& e, Thread& t) {
  const bool nx = host_.mmu.nx_huge_pages;
  take_module_param_set(e, host_);
  for (auto& [id, v] : vms_) {
    follow_host(host_, *v.model);
    if (nx != host_.mmu.nx_huge_pages && !v.model->abandoned) push(t, v, e, model::ZapAllFast{});
  }
}

// The thread goes on to its next event of a kind that was seen of this operation.
void SyntheticReplayer::look_for(Thread& t, K kind) {
  shown_.set(static_cast<size_t>(kind));
  if (t.stack.empty()) return;
  trace::KindSet& of_its_like = shown_of_[std::string(t.stack.front().op.name)];
  of_its_like.set(static_cast<size_t>(kind));
  show_between(shown_, of_its_like, t.stack.front().observed, kind);
  t.stack.front().observed.set(static_cast<size_t>(kind));
  visible_ = t.stack.front().observed;
}

void SyntheticReplayer::observation(const Event& e) {
  if (e.kind == K::kSpteChanged) verdict_.spte_changes.observed++;
  Thread& t = thread(e);
  Vm* v = vm(e);
  if (v == nullptr) return refuse(e, "there is no such VM");
  if (v->model->abandoned) return;
  for (auto& [tid, other] : threads_) {
    if (&other != &t && !other.stack.empty() && !other.stack.back().stepped) run_to_end(e, other);
  }
  look_for(t, e.kind);
  busy_as_seen(e, t);
  const Predicted* p = advance(e, t);
  t.in.seamcall_leaf.reset();
  if (v->model->abandoned) return;
  compare(e, t, *v, p);
  t.last_event = events_;
}

// The thread's next call of this leaf meets a lock.
void SyntheticReplayer::busy_as_seen(const Event& e, Thread& t) const {
  const SeamcallProbe* probe = returning_probe(e.kind);
  if (probe == nullptr || !e.has(0) || !t.in.seamcall_status.ok()) return;
  model::tdx::Status seen;
  seen.v = e.f[0];
  if (seen.code() != model::tdx::StatusCode::kOperandBusy) return;
  t.in.seamcall_leaf = {probe->leaf, seen};
}

namespace {

// KVM_FILTER_* bits of an operation that unmaps a range of one kind; 0 for any other.
uint8_t unmap_filter(const Machine& machine) {
  if (const auto* range = std::get_if<model::InvalidateRange>(&machine)) return range->attr_filter;
  if (const auto* change = std::get_if<model::SetMemAttributes>(&machine)) {
    const bool to_private = (change->attributes & model::kMemoryAttributePrivate) != 0;
    return to_private ? model::kFilterShared : model::kFilterPrivate;
  }
  if (const auto* hole = std::get_if<model::GmemInvalidate>(&machine)) {
    return hole->zap.found ? hole->zap.unmap.attr_filter : hole->range.attr_filter;
  }
  return 0;
}

// The slot is logged from now on.
bool starts_log(const Machine& machine) {
  const auto* update = std::get_if<model::SetMemoryRegion>(&machine);
  return update != nullptr && update->region.npages != 0 &&
         (update->region.flags & model::kMemLogDirtyPages) != 0;
}

// May private memory go that a guest has accepted? Not by what hosts do to memory of theirs.
bool takes_private_memory(const Machine& machine) {
  if (const auto* change = std::get_if<model::SetMemAttributes>(&machine)) {
    return (change->attributes & model::kMemoryAttributePrivate) == 0;
  }
  if (const auto* convert = std::get_if<model::GmemConvert>(&machine)) {
    return (convert->attributes & model::kMemoryAttributePrivate) == 0;
  }
  if (const auto* update = std::get_if<model::SetMemoryRegion>(&machine)) {
    return update->region.npages == 0 || update->change == model::SlotChange::kMove;
  }
  return !std::holds_alternative<model::InvalidateRange>(machine) &&
         !std::holds_alternative<model::AgeHva>(machine) &&
         !std::holds_alternative<model::RecoverNxHugePages>(machine) &&
         !std::holds_alternative<model::DirtyLogChunk>(machine) &&
         !std::holds_alternative<model::PageFault>(machine);
}

}  // namespace

void SyntheticReplayer::push(Thread& t, Vm& v, const Event& e, Machine machine) {
  if (t.stack.size() >= kMaxTasks) return refuse(e, "too much to do at once");
  t.filter = unmap_filter(machine);
  t.recovers = std::holds_alternative<model::SetMemoryRegion>(machine);
  t.harvests = std::holds_alternative<model::DirtyLogChunk>(machine);
  t.starts_log = starts_log(machine);
  t.ages = std::holds_alternative<model::AgeHva>(machine);
  t.populates = std::holds_alternative<model::MapPrivatePfn>(machine);
  t.private_may_go = takes_private_memory(machine);
  Task task;
  task.op.machine = std::move(machine);
  task.op.vm = v.model.get();
  task.op.line = e.stream_line;
  task.op.name = trace::kind_name(e.kind);
  t.stack.push_back(std::move(task));
}

void SyntheticReplayer::push(Thread& t, Vm& v, const Event& e, Primitive primitive) {
  push(t, v, e, Machine{});
  t.recovers = std::holds_alternative<RecoverOp>(primitive);
  t.starts_log = std::holds_alternative<DirtySlotOp>(primitive);
  t.ages = std::holds_alternative<AgeOp>(primitive);
  t.private_may_go = !std::holds_alternative<ZapAllOp>(primitive) && !t.recovers;
  if (!t.stack.empty()) t.stack.back().primitive = std::move(primitive);
}

// A fault that has tried so often in one place: was it going to try for ever?
void SyntheticReplayer::given_up(VmModel& v, const Event& e, Thread& t, const Operation& op) {
  const auto* fault = std::get_if<model::PageFault>(&op.machine);
  if (fault == nullptr || !fault->fault.prefetch) return;
  v.env.monitor->check(id("MMU-LOCK-LIVE"), !model::retries_for_ever(v.world, fault->fault));
  for (const invariant::Id rule : v.env.monitor->broken()) violated(e, &t, rule, "", "");
  v.env.monitor->broken().clear();
}

model::Run SyntheticReplayer::run(const Event& e, Thread& t, Task& task) {
  VmModel& v = *task.op.vm;
  if (!t.in.new_table && !t.frames.empty()) {
    t.in.new_table = t.frames.front();
    t.frames.erase(t.frames.begin());
  }
  const bool retries = retries_locally(task.op) && !task.by_machine;
  v.env.select(&t.in, &t.queue, t.tid, /*ending=*/task.windows >= kLocalTries,
               /*to_window=*/retries);
  v.env.set_time(events_, t.last_event);
  const uint32_t tables = v.store.live_tables();
  const model::Run r =
      task.primitive ? run_primitive(v.world, *task.primitive) : run_operation(task.op);
  if (v.store.live_tables() != tables) t.in.new_table.reset();
  if (retries && r != model::Run::kDone && t.queue.empty() && ++task.windows == kLocalTries) {
    given_up(v, e, t, task.op);
  }
  take_findings(v, e, &t);
  return r;
}

void SyntheticReplayer::task_done(Thread& t) {
  Task& task = t.stack.back();
  if (std::holds_alternative<model::DestroyVm>(task.op.machine)) task.op.vm->destroyed = true;
  if (const auto* fault = std::get_if<model::PageFault>(&task.op.machine)) t.fault = fault->fault;
  if (const uint8_t filter = unmap_filter(task.op.machine); filter != 0) t.filter = filter;
  if (const auto* range = std::get_if<model::InvalidateRange>(&task.op.machine)) {
    t.zap_start = range->unmap.start;
    t.zap_end = range->unmap.end;
  }
  const trace::KindSet observed = task.observed;
  const bool stepped = task.stepped;
  const bool by_machine = task.by_machine;
  t.stack.pop_back();
  if (t.stack.empty()) return;
  t.stack.back().observed |= observed;
  t.stack.back().stepped |= stepped;
  t.stack.back().by_machine |= by_machine;
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

// One atomic step of the thread's machine; what it showed is left in the queue.
model::Run SyntheticReplayer::machine_step(const Event& e, Thread& t) {
  t.queue.clear();
  t.queue_at = 0;
  visible_.set();
  Task& task = t.stack.back();
  ReplayEnv& env = task.op.vm->env;
  env.drive_steps(true);
  last_run_ = run(e, t, task);
  env.drive_steps(false);
  if (last_run_ == model::Run::kDone) task_done(t);
  for (const Predicted& p : t.queue) {
    if (sink_ && printed_.test(static_cast<size_t>(p.kind))) sink_(e, p);
  }
  t.queue_at = t.queue.size();
  return last_run_;
}

// The thread's next event of a visible kind, nullptr when its operations are over. What one step of
// the model shows besides stays in the queue, of whatever kind: the next observation may be of it.
// Of the functions that call each other for one flush, a trace shows as many as it likes.
const Predicted* SyntheticReplayer::advance(const Event& e, Thread& t) {
  const trace::KindSet wanted = visible_;
  const auto comes_behind = [&] {
    return std::any_of(t.queue.begin() + static_cast<ptrdiff_t>(t.queue_at), t.queue.end(),
                       [&](const Predicted& p) { return p.kind == e.kind; });
  };
  const auto next_wanted = [&](bool of_this_step) -> const Predicted* {
    while (t.queue_at < t.queue.size()) {
      const Predicted& p = t.queue[t.queue_at++];
      if (flushes_tlbs(p.kind) && p.kind != e.kind && (!of_this_step || comes_behind())) continue;
      if (wanted.test(static_cast<size_t>(p.kind))) return &p;
    }
    return nullptr;
  };
  if (const Predicted* p = next_wanted(/*of_this_step=*/false)) return p;
  while (!t.stack.empty()) {
    t.queue.clear();
    t.queue_at = 0;
    Task& task = t.stack.back();
    if (task.op.vm->abandoned) {
      t.stack.pop_back();
      continue;
    }
    visible_ = wanted;
    if (sink_) visible_ |= printed_;
    visible_.set(static_cast<size_t>(K::kInitSp));  // one frame a table
    const model::Run r = run(e, t, task);
    visible_ = wanted;
    if (r == model::Run::kDone) task_done(t);
    for (const Predicted& p : t.queue) {
      if (sink_ && printed_.test(static_cast<size_t>(p.kind))) sink_(e, p);
    }
    if (const Predicted* p = next_wanted(/*of_this_step=*/true)) return p;
    if (r == model::Run::kBlocked) break;
  }
  return nullptr;
}

}  // namespace mmucheck::replay
