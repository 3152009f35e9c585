// What a hand-written trace says was seen, against the model.
#include <fmt/format.h>

#include "checker/replay/findings.h"
#include "checker/replay/observed_rules.h"
#include "checker/replay/synthetic/stepped_state.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
using invariant::id;
using trace::Event;

namespace {

// Index of the first field that both sides name and that differs.
std::optional<size_t> first_difference(const Event& e, const Predicted& p) {
  for (size_t i = 0; i < trace::kMaxFields; i++) {
    if (p.has(i) && e.has(i) && p.f[i] != e.f[i]) return i;
  }
  return std::nullopt;
}

ObservedStep observed_step(const Event& e, const Predicted* p, const Operation* op,
                           const Primitive* primitive) {
  ObservedStep step{e, p};
  if (op == nullptr) return step;
  if (primitive != nullptr) {
    step.zaps = std::holds_alternative<UnmapOp>(*primitive) ||
                std::holds_alternative<ZapLeafsOp>(*primitive) ||
                std::holds_alternative<ZapAllOp>(*primitive) ||
                std::holds_alternative<ZapRootOp>(*primitive) ||
                std::holds_alternative<ZapInvalidatedRootsOp>(*primitive);
    step.recovers_nx = std::holds_alternative<ZapSpOp>(*primitive);
    if (const auto* op_unmap = std::get_if<UnmapOp>(primitive)) {
      step.attr_filter = op_unmap->unmap.attr_filter;
      step.zap_start = op_unmap->unmap.start;
      step.zap_end = op_unmap->unmap.end;
    }
    return step;
  }
  const Machine& m = op->machine;
  const auto* fault = std::get_if<model::PageFault>(&m);
  step.prefault = fault != nullptr && fault->fault.prefetch;
  step.private_fault = fault != nullptr && fault->fault.is_private;
  if (const auto* call = std::get_if<model::RawSeamcall>(&m)) step.call_level = call->level;
  step.harvests_log = std::holds_alternative<model::DirtyLogChunk>(m);
  step.recovers_nx = std::holds_alternative<model::RecoverNxHugePages>(m);
  if (const auto* update = std::get_if<model::SetMemoryRegion>(&m)) {
    step.removes_slot = update->change == model::SlotChange::kDelete ||
                        update->change == model::SlotChange::kMove;
    step.updates_slot = true;
  }
  if (const auto* range = std::get_if<model::InvalidateRange>(&m)) {
    step.attr_filter = range->attr_filter;
    step.zap_start = range->unmap.start;
    step.zap_end = range->unmap.end;
  }
  if (const auto* hole = std::get_if<model::GmemInvalidate>(&m)) {
    step.attr_filter = hole->zap.found ? hole->zap.unmap.attr_filter : hole->range.attr_filter;
  }
  if (const auto* attributes = std::get_if<model::SetMemAttributes>(&m)) {
    step.attr_filter = attributes->unmap.attr_filter;
    step.zap_start = attributes->start;
    step.zap_end = attributes->end;
  }
  if (const auto* convert = std::get_if<model::GmemConvert>(&m)) {
    step.attr_filter = convert->zap.unmap.attr_filter;
  }
  step.zaps = std::holds_alternative<model::InvalidateRange>(m) ||
              std::holds_alternative<model::GmemInvalidate>(m) ||
              std::holds_alternative<model::ZapGfnRange>(m) ||
              std::holds_alternative<model::DestroyVm>(m) || step.removes_slot;
  return step;
}

std::string operation_text(const Operation& op) {
  return fmt::format("{} started at line {}", op.name, op.line);
}

}  // namespace

void SyntheticReplayer::compare(const Event& e, Thread& t, Vm& v, const Predicted* p) {
  const bool kind_differs = p == nullptr || p->kind != e.kind;
  std::optional<size_t> field;
  if (!kind_differs) {
    field = first_difference(e, *p);
  }
  // The model predicts no role at this place, and the observation may show one.
  const bool agrees = !kind_differs && !field;
  if (agrees && e.kind == K::kSpteChanged) verdict_.spte_changes.predicted++;
  if (agrees && e.kind != K::kTdpMap) return;
  if (!agrees && e.kind == K::kSpteChanged) verdict_.spte_changes.diverged++;
  // The operation may have ended with what was predicted last.
  const Task* task = t.stack.empty() ? nullptr : &t.stack.back();
  const std::string expected = p == nullptr ? "nothing: the operation is over" : event_text(*p);
  ObservedStep step = observed_step(e, p, task ? &task->op : nullptr,
                                    task && task->primitive ? &*task->primitive : nullptr);
  step.fault = t.fault ? &*t.fault : nullptr;
  if (task != nullptr && step.fault != nullptr) {
    if (const auto* now = std::get_if<model::PageFault>(&task->op.machine)) step.fault = &now->fault;
  }
  step.private_may_go = t.private_may_go;
  step.populates = t.populates;
  step.starts_log = t.starts_log;
  step.ages = t.ages;
  // An operation that is over has not done what is seen of it.
  if (task == nullptr) {
    step.attr_filter = t.filter;
    step.zap_start = t.zap_start;
    step.zap_end = t.zap_end;
    step.harvests_log = t.harvests;
  }
  if (t.recovers && t.in.collapse) {
    step.host_level = t.in.collapse->level;
  } else if (t.recovers && e.kind == K::kChangedSpte) {
    namespace x = trace::f::changed_spte;
    step.host_level = host_level(v, static_cast<uint32_t>(e.get(x::as_id)), e.get(x::gfn));
  } else if (t.recovers && e.kind == K::kSpteChanged) {
    namespace x = trace::f::spte_changed;
    step.host_level = host_level(v, static_cast<uint32_t>(e.get(x::as_id)), e.get(x::gfn));
  }
  const auto broken = broken_by(v.monitor->view(), step);
  for (const invariant::Id rule : broken) {
    tally_.evaluated[rule]++;
    tally_.violated[rule]++;
    violated(e, &t, rule, expected, event_text(e));
  }
  if (agrees && broken.empty()) return;
  if (broken.empty()) {
    report::Divergence d;
    d.place = place_of(e);
    d.observed = event_text(e);
    d.expected = expected;
    if (task != nullptr) d.operation = operation_text(task->op);
    if (field) {
      const auto& info = trace::kind_info(e.kind).fields[*field];
      d.value_expected = fmt::format("{} {:x}", info.name, p->f[*field]);
      d.value_seen = fmt::format("{} {:x}", info.name, e.f[*field]);
    }
    verdict_.divergences.push_back(std::move(d));
  }
  v.model->abandoned = true;
  t.stack.clear();
  t.queue.clear();
  t.queue_at = 0;
}

void SyntheticReplayer::violated(const Event& e, const Thread* t, invariant::Id rule,
                                 std::string before, std::string after) {
  report::Violation x = violation_of(rule);
  x.place = place_of(e);
  x.before = std::move(before);
  x.after = std::move(after);
  if (t != nullptr && !t->stack.empty()) x.operation = operation_text(t->stack.back().op);
  verdict_.violations.push_back(std::move(x));
}

void SyntheticReplayer::take_findings(VmModel& v, const Event& e, const Thread* t) {
  v.env.freed.clear();
  for (const BrokenRule& b : v.env.broken) {
    const invariant::Id rule = invariant::find_id(b.rule);
    if (rule == invariant::kNoId) continue;
    const bool first = verdict_.violations.empty();
    violated(e, t, rule, "", "");
    if (first) verdict_.violations.back().state = state_of_violation(v, rule);
  }
  v.env.broken.clear();
}

// A rule of the engine's own, outside any step of the model.
void SyntheticReplayer::check(Vm& v, const Event& e, invariant::Id rule, bool holds) {
  v.monitor->check(rule, holds);
  v.monitor->broken().clear();
  if (!holds) violated(e, nullptr, rule, "", "");
}

void SyntheticReplayer::settle() {
  Event end;
  bool progress = true;
  while (progress) {
    progress = false;
    for (auto& [tid, t] : threads_) {
      if (t.stack.empty() || t.stack.back().by_machine) continue;
      if (run_to_end(end, t)) progress = true;
    }
  }
}

// Of operations that the trace left in the middle, stepped by machine.
void SyntheticReplayer::look_for_stuck() {
  size_t left = 0, stuck = 0;
  for (const auto& [tid, t] : threads_) {
    if (t.stack.empty() || !t.stack.back().by_machine) continue;
    left++;
    stuck += waiting_.count(tid);
  }
  if (left == 0 || vms_.empty()) return;
  check(vms_.begin()->second, last_wait_, id("MMU-LOCK-LIVE"), stuck < left);
}

void SyntheticReplayer::begin_loop(const Event& e) {
  if (e.text != "loop") return;
  if (vms_.size() != 1) return refuse(e, "a loop is of one VM");
  loop_.emplace();
  loop_->begin = SteppedState::parts(*this);
}

void SyntheticReplayer::look_for_loop() {
  if (!loop_ || loop_->ran.empty() || vms_.size() != 1) return;
  bool for_ever = SteppedState::parts(*this) == loop_->begin;
  for (const auto& [tid, t] : threads_) {
    if (!t.stack.empty()) {
      for_ever = for_ever && (loop_->ran.contains(tid) || loop_->waited.contains(tid));
    }
  }
  check(vms_.begin()->second, loop_->last, id("MMU-LOCK-LIVE"), !for_ever);
}

void SyntheticReplayer::finish(const trace::TraceInfo& info) {
  settle();
  look_for_stuck();
  look_for_loop();
  for (auto& [tid, t] : threads_) {
    if (t.stack.empty() || t.stack.back().by_machine) continue;
    verdict_.inconclusive.push_back(
        fmt::format("thread {} still waits: {}", tid, operation_text(t.stack.back().op)));
  }
  put_counts(verdict_, tally_);
  for (const auto& [id, v] : vms_) verdict_.spte_changes.hardware_ad += v.model->env.hardware_ad;
  verdict_.skipped = info.skipped;
  verdict_.malformed = info.malformed;
}

}  // namespace mmucheck::replay
