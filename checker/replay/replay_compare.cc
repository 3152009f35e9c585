// What the model said against what the recording shows.
#include <fmt/format.h>

#include "checker/replay/replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;

namespace {

std::string value_text(trace::FieldType type, uint64_t v) {
  switch (type) {
    case trace::FieldType::kHex: return fmt::format("{:x}", v);
    case trace::FieldType::kSigned: return fmt::format("{}", static_cast<int64_t>(v));
    default: return fmt::format("{}", v);
  }
}

template <class E>
std::string describe(K kind, const E& e) {
  std::string s(trace::kind_name(kind));
  const trace::KindInfo* info = &trace::kind_info(kind);
  if (info == nullptr) return s;
  for (size_t i = 0; i < info->fields.size(); i++) {
    if (!e.has(i)) continue;
    s += fmt::format("  {} {}", info->fields[i].name, value_text(info->fields[i].type, e.f[i]));
  }
  return s;
}

}  // namespace

report::Place Replayer::place(const Event& e) const {
  report::Place p;
  p.line = e.source_line;
  p.packet = e.seq;
  p.ts_ns = e.ts_ns;
  p.cpu = e.cpu;
  p.thread = e.thread;
  p.vm = e.vm;
  p.event = std::string(trace::kind_name(e.kind));
  return p;
}

void Replayer::predicted(const Event& e, const Predicted& p) {
  if (sink_) sink_(e, p);
}

// The thread's next visible event, nullptr when its operations are over.
const Predicted* Replayer::advance(const Event& e, Thread& t) {
  if (t.queue_at < t.queue.size()) return &t.queue[t.queue_at++];
  t.queue.clear();
  t.queue_at = 0;
  while (!t.stack.empty()) {
    Operation& op = t.stack.back();
    if (op.vm->abandoned) {
      t.stack.pop_back();
      continue;
    }
    op.vm->env.select(&t.in, &t.queue, t.tid, /*ending=*/false);
    op.vm->env.set_time(events_);
    const model::Run r = run_operation(op);
    take_findings(*op.vm, e, &t);
    if (r == model::Run::kDone) {
      operation_done(t, op);
      t.stack.pop_back();
    }
    if (!t.queue.empty()) break;
    if (r == model::Run::kBlocked) break;
  }
  t.in.clear();
  if (t.queue.empty()) return nullptr;
  return &t.queue[t.queue_at++];
}

void Replayer::compare(const Event& e, Thread& t, const Predicted& p) {
  if (p.kind != e.kind) return diverge(e, t, describe(p.kind, p), "", 0, 0);
  const trace::KindInfo* info = &trace::kind_info(e.kind);
  for (size_t i = 0; i < trace::kMaxFields; i++) {
    if (!p.has(i) || !e.has(i) || p.f[i] == e.f[i]) continue;
    return diverge(e, t, describe(p.kind, p),
                   info ? std::string(info->fields[i].name) : std::string(), p.f[i], e.f[i]);
  }
  if (e.kind == K::kSpteChanged) verdict_.spte_changes.predicted++;
}

void Replayer::diverge(const Event& e, Thread& t, const std::string& expected,
                       const std::string& field, uint64_t want, uint64_t seen) {
  if (e.kind == K::kSpteChanged) verdict_.spte_changes.diverged++;
  VmModel* v = vm_of(e, t);
  if (v != nullptr) v->abandoned = true;
  for (Operation& op : t.stack) op.vm->abandoned = true;
  report::Divergence d;
  d.place = place(e);
  d.observed = describe(e.kind, e);
  d.expected = expected;
  if (!t.stack.empty()) {
    d.operation = fmt::format("{} started at line {}", t.stack.back().name, t.stack.back().line);
  }
  if (!field.empty()) {
    d.value_expected = fmt::format("{} {:x}", field, want);
    d.value_seen = fmt::format("{} {:x}", field, seen);
  }
  verdict_.divergences.push_back(std::move(d));
  t.stack.clear();
  t.queue.clear();
  t.queue_at = 0;
}

// An RCU callback runs on top of any thread; it belongs to the VM that removed the table.
void Replayer::rcu_callback(const Event& e) {
  rcu_expected_.reset();
  const uint64_t pfn = e.get(f::callback_run::spt_pfn);
  for (auto& [id, v] : vms_) {
    if (v->abandoned) continue;
    const uint32_t table = v->store.find_table(pfn);
    if (table == model::kNoTable) continue;
    Predicted p(K::kRcuFreeSp);
    p.set(f::rcu_free_sp::spt_pfn, pfn);
    p.set(f::rcu_free_sp::role, v->world.role(table));
    p.set(f::rcu_free_sp::gfn, v->world.field(model::CellKind::kSpGfn, table));
    std::vector<Predicted> none;
    PendingInputs no_inputs;
    v->env.select(&no_inputs, &none, e.thread, false);
    if (!model::rcu_run_callback(v->world, table)) {
      diverge(e, thread(e), "no callback for a table that is in use", "", 0, 0);
      return;
    }
    rcu_expected_ = p;
    predicted(e, p);
    return;
  }
}

void Replayer::take_findings(VmModel& v, const Event& e, Thread* t) {
  v.env.freed.clear();
  if (v.env.broken.empty()) return;
  for (const BrokenRule& b : v.env.broken) {
    report::Violation x;
    x.invariant = b.rule;
    x.place = place(e);
    if (t != nullptr && !t->stack.empty()) {
      x.operation =
          fmt::format("{} started at line {}", t->stack.back().name, t->stack.back().line);
    }
    verdict_.violations.push_back(std::move(x));
  }
  v.env.broken.clear();
}

}  // namespace mmucheck::replay
