// What the model said against what the recording shows.
#include <fmt/format.h>

#include "checker/replay/findings.h"
#include "checker/replay/missing_probe.h"
#include "checker/invariant/catalogue.h"
#include "checker/replay/replayer.h"
#include "checker/replay/vm_state.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;

namespace {

bool is_refs(K kind, size_t field) {
  switch (kind) {
    case K::kIterStart: return field == f::iter_start::refs;
    case K::kPutRoot: return field == f::put_root::refs;
    case K::kZapLeafsRoot: return field == f::zap_leafs_root::refs;
    case K::kZapRoot: return field == f::zap_root::refs;
    case K::kSplitRoot: return field == f::split_root::refs;
    case K::kWrprotRange: return field == f::wrprot_range::refs;
    case K::kClearDirtyRange: return field == f::clear_dirty_range::refs;
    default: return false;
  }
}

// Values that a tracepoint reads once more, after the fact.
bool is_reread(K kind, size_t field) {
  return (kind == K::kSetSpte && field == f::set_spte::spte) ||
         (kind == K::kFastPageFault && field == f::fast_page_fault::new_spte);
}

}  // namespace

report::Place Replayer::place(const Event& e) const {
  report::Place p = place_of(e);
  p.line = e.source_line;
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
  run_others_first(e, t);
  while (!t.stack.empty()) {
    Operation& op = t.stack.back();
    if (op.vm->abandoned) {
      t.stack.pop_back();
      continue;
    }
    op.vm->env.select(&t.in, &t.queue, t.tid, /*ending=*/false);
    op.vm->env.set_time(events_, t.last_event);
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

namespace {

// The fast page fault whose walk has begun and whose end has not been seen.
const model::FastPageFault* fast_fault(const Operation& op) {
  const auto* fault = std::get_if<model::PageFault>(&op.machine);
  if (fault == nullptr || fault->pc != 4) return nullptr;
  const model::TdpIter& it = fault->fast.iter;
  return it.started || it.pc == 1 ? &fault->fast : nullptr;
}

// The map of a fault whose target was not reached yet, or not stored to.
const model::TdpMmuMap* mapping(const Operation& op) {
  const auto* fault = std::get_if<model::PageFault>(&op.machine);
  return fault != nullptr && fault->pc == 10 ? &fault->map : nullptr;
}

// Does the walk of a fault end at a present leaf already?
bool finds_leaf(VmModel& v, const model::TdpMmuMap& map) {
  uint32_t table = map.root;
  while (table != model::kNoTable && v.store.is_live(table)) {
    const int level = model::role_level(v.world.role(table));
    const uint64_t gfn = map.fault.gfn | model::gfn_root_bits(v.world, map.root);
    const uint64_t spte = v.store.get(model::cell::pte(table, model::spte_index<>(gfn, level)));
    if (!model::is_shadow_present_pte<>(spte)) return false;
    if (model::is_last_spte<>(spte, level)) return true;
    table = v.world.child_table(spte, level);
  }
  return false;
}

const model::SetSpteAtomic& change_of(const model::TdpMmuMap& map) {
  return map.at_target ? map.target.set : map.link.atomic;
}

// Where a map whose exchange has begun stands, if nobody has changed the entry yet.
const model::TdpIter* entry_in_exchange(const VmModel& v, const Operation& op) {
  const model::TdpMmuMap* map = mapping(op);
  if (map == nullptr || !model::in_exchange(change_of(*map))) return nullptr;
  const model::TdpIter& it = map->iter;
  const model::Cell entry = model::cell::pte(it.table, it.index);
  return v.store.get(entry) == it.old_spte ? &it : nullptr;
}
bool wins_exchange(const Operation& op, const model::TdpIter& lost) {
  const model::TdpMmuMap* map = mapping(op);
  return map != nullptr && model::in_exchange(change_of(*map)) && map->iter.table == lost.table &&
         map->iter.index == lost.index;
}

// A memslot update whose new flags are about to be there.
bool changes_flags(const Operation& op) {
  const auto* update = std::get_if<model::SetMemoryRegion>(&op.machine);
  return update != nullptr && update->change == model::SlotChange::kFlagsOnly && update->pc == 8;
}

// A memslot that is about to be there.
bool brings_slot(const Operation& op) {
  const auto* update = std::get_if<model::SetMemoryRegion>(&op.machine);
  return update != nullptr && (update->change == model::SlotChange::kCreate ||
                               update->change == model::SlotChange::kMove);
}

// A root that was initialised and is about to become visible to others.
bool adds_root(const Operation& op) {
  const auto* load = std::get_if<model::MmuLoad>(&op.machine);
  return load != nullptr && load->alloc.pc == 3;
}

}  // namespace

// Is `theirs` in the middle of a store to an entry on the way of `mine`: its exchange, or where that
// freezes a mirror entry, the thaw? `froze`: only the former will do. Without a probe on the
// exchange, a map of the same table may be there.
bool Replayer::stands_in_the_way(VmModel& v, const model::TdpMmuMap& mine,
                                 const model::TdpMmuMap& theirs, bool froze) const {
  const uint64_t pages = model::pages_per_hpage(theirs.iter.level);
  if (theirs.root != mine.root) return false;
  if (!visible_.test(static_cast<size_t>(K::kCmpxchgSpte))) {
    return theirs.fault.gfn >> 9 == mine.fault.gfn >> 9;
  }
  if ((mine.fault.gfn ^ theirs.iter.gfn) & ~(pages - 1)) return false;
  const model::SetSpteAtomic& set = change_of(theirs);
  if (model::in_exchange(set)) return froze || !v.world.is_mirror(theirs.root);
  return !froze && v.world.is_mirror(theirs.root) && model::about_to_thaw(set);
}

// What `t` is about to find may be the work of a thread whose own event is logged only later: the
// tracepoint of a fast page fault stands behind its compare-exchange, the end of
// kvm_tdp_mmu_alloc_root behind the root's way into the list.
void Replayer::run_others_first(const Event& e, Thread& t) {
  if (t.stack.empty()) return;
  const Operation& mine = t.stack.back();
  const model::FastPageFault* my_fault = t.in.others_first ? fast_fault(mine) : nullptr;
  const bool finds_root = std::holds_alternative<model::MmuLoad>(mine.machine) &&
                          std::get<model::MmuLoad>(mine.machine).pc == 1 && !t.in.new_table;
  const model::TdpMmuMap* my_map = t.in.others_first ? mapping(mine) : nullptr;
  if (my_map != nullptr && finds_leaf(*mine.vm, *my_map)) my_map = nullptr;
  const model::TdpIter* lost = t.in.cmpxchg_lost ? entry_in_exchange(*mine.vm, mine) : nullptr;
  const auto* fault = std::get_if<model::PageFault>(&mine.machine);
  const bool finds_slot = fault != nullptr && fault->pc == 8 && t.in.fault_pfn &&
                          fault->fault.slot == model::kNoSlot &&
                          fault->gone_slot == model::kNoSlot;
  if (my_fault == nullptr && my_map == nullptr && !finds_root && !finds_slot &&
      lost == nullptr) {
    return;
  }
  for (auto& [key, other] : threads_) {
    if (&other == &t || other.stack.empty() || other.queue_at != other.queue.size() ||
        other.stack.back().vm != mine.vm) {
      continue;
    }
    const model::FastPageFault* theirs = fast_fault(other.stack.back());
    const bool same_entry = my_fault != nullptr && theirs != nullptr &&
                            theirs->fault.gfn >> 9 == my_fault->fault.gfn >> 9;
    const model::TdpMmuMap* their_map = mapping(other.stack.back());
    const bool same_leaf = my_map != nullptr && their_map != nullptr &&
                           stands_in_the_way(*mine.vm, *my_map, *their_map, t.in.others_froze);
    const bool logs_now = my_fault != nullptr && changes_flags(other.stack.back());
    const bool wins = lost != nullptr && wins_exchange(other.stack.back(), *lost);
    const bool slot_comes = finds_slot && brings_slot(other.stack.back());
    if (!same_entry && !same_leaf && !logs_now && !slot_comes && !wins &&
        !(finds_root && adds_root(other.stack.back()))) {
      continue;
    }
    VmModel& v = *mine.vm;
    other.queue.clear();
    other.queue_at = 0;
    v.env.set_time(events_, other.last_event);
    v.env.select(&other.in, &other.queue, other.tid, /*ending=*/false);
    run_operation(other.stack.back());
    take_findings(v, e, &other);
  }
}

// Reference counts show the temporary references of walks that other threads are in the middle of.
bool Replayer::refs_may_differ(const Thread& t, uint64_t want, uint64_t seen) const {
  if (t.stack.empty()) return false;
  uint64_t others = 0;
  for (const auto& [key, x] : threads_) {
    if (&x != &t && !x.stack.empty() && x.stack.back().vm == t.stack.back().vm) others++;
  }
  const uint64_t apart = want > seen ? want - seen : seen - want;
  return apart <= others;
}

// A tracepoint that reads the entry again may show a store that is logged a little later; the store
// must come.
void Replayer::witness(const Event& e, VmModel& v, uint64_t sptep, uint64_t value) {
  constexpr uint64_t kSoon = 512;  // events
  v.env.expect_store({v.store.find_table(sptep >> model::kPageShift),
                      static_cast<uint32_t>(sptep / 8 % model::kSpteEntPerPage), value,
                      events_ + kSoon, e.source_line});
}

void Replayer::compare(const Event& e, Thread& t, const Predicted& p) {
  if (p.kind != e.kind) return diverge(e, t, event_text(p), "", 0, 0, p.kind, &p);
  const trace::KindInfo* info = &trace::kind_info(e.kind);
  for (size_t i = 0; i < trace::kMaxFields; i++) {
    if (!p.has(i) || !e.has(i) || p.f[i] == e.f[i]) continue;
    if (is_refs(e.kind, i) && refs_may_differ(t, p.f[i], e.f[i])) continue;
    VmModel* v = vm_of(e, t);
    if (v != nullptr && is_reread(e.kind, i)) {
      const size_t at = e.kind == K::kSetSpte ? size_t{f::set_spte::sptep}
                                              : size_t{f::fast_page_fault::sptep};
      witness(e, *v, e.get(at), e.f[i]);
      continue;
    }
    return diverge(e, t, event_text(p),
                   info ? std::string(info->fields[i].name) : std::string(), p.f[i], e.f[i],
                   trace::EventKind::kNone, &p);
  }
  if (e.kind == K::kSpteChanged) verdict_.spte_changes.predicted++;
}

// The page tables around the entry that the event is about, and the rule that its value breaks.
void Replayer::explain(const Event& e, VmModel& v, report::Divergence& d) {
  const trace::KindInfo& info = trace::kind_info(e.kind);
  const auto field_of = [&](std::string_view name) -> std::optional<uint64_t> {
    for (size_t i = 0; i < info.fields.size(); i++) {
      if (info.fields[i].name == name && e.has(i)) return e.f[i];
    }
    return std::nullopt;
  };
  const auto gfn = field_of("gfn");
  const auto level = field_of("level");
  if (!gfn || !level || *level < 1 || *level > 5) return;
  d.state = state_around(v, *gfn, static_cast<int>(*level));
  const auto old_spte = field_of("old_spte");
  const auto new_spte = field_of("new_spte");
  if (!old_spte || !new_spte) return;
  const model::ChangeRule broken = model::first_broken_rule(
      v.world.fmt, *gfn, static_cast<int>(*level), *old_spte, *new_spte);
  const invariant::Invariant* rule = invariant::find(model::detail::rule_id(broken));
  if (rule == nullptr) return;
  d.excluded_by = std::string(rule->id);
  d.statement = std::string(rule->statement);
  d.source = std::string(rule->source);
}

void Replayer::diverge(const Event& e, Thread& t, const std::string& expected,
                       const std::string& field, uint64_t want, uint64_t seen, K expected_kind,
                       const Predicted* predicted) {
  VmModel* v = vm_of(e, t);
  Surprise surprise;
  surprise.event = &e;
  surprise.vm = v;
  surprise.op = t.stack.empty() ? nullptr : &t.stack.back();
  surprise.expected = expected_kind;
  surprise.before = t.last_kind;
  surprise.values_differ = !field.empty();
  const std::string_view missing = missing_probe(visible_, surprise);
  if (!missing.empty()) {
    verdict_.inconclusive.push_back(
        fmt::format("line {}: {} was not expected; a probe on {} would tell whether it may happen",
                    e.source_line, trace::kind_name(e.kind), missing));
    verdict_.mode = report::Mode::kPartial;
    if (v != nullptr) v->abandoned = true;
    for (Operation& op : t.stack) op.vm->abandoned = true;
    t.stack.clear();
    t.queue.clear();
    t.queue_at = 0;
    return;
  }
  if (e.kind == K::kSpteChanged) verdict_.spte_changes.diverged++;
  if (v != nullptr) v->abandoned = true;
  for (Operation& op : t.stack) op.vm->abandoned = true;
  report::Divergence d;
  d.place = place(e);
  d.observed = event_text(e);
  d.expected = expected;
  if (!t.stack.empty()) {
    d.operation = fmt::format("{} started at line {}", t.stack.back().name, t.stack.back().line);
  }
  if (!field.empty()) {
    d.value_expected = fmt::format("{} {:x}", field, want);
    d.value_seen = fmt::format("{} {:x}", field, seen);
  }
  if (v != nullptr) explain(e, *v, d);
  if (v == nullptr || !take_violations(e, *v, d, predicted)) verdict_.divergences.push_back(std::move(d));
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

// No prediction can stand where nothing comes, so these wait for the end of the trace.
void Replayer::take_missed(VmModel& v, const Event& e, const Thread* t) {
  for (const K kind : v.env.missed) {
    Missed& missed = missed_[kind];
    if (missed.count++ != 0) continue;
    report::Divergence& d = missed.first;
    d.place = place(e);
    d.observed = fmt::format("no {}, here or anywhere", trace::kind_name(kind));
    d.expected = std::string(trace::kind_name(kind));
    if (t != nullptr && !t->stack.empty()) {
      d.operation =
          fmt::format("{} started at line {}", t->stack.back().name, t->stack.back().line);
    }
  }
  v.env.missed.clear();
}

void Replayer::take_findings(VmModel& v, const Event& e, Thread* t) {
  take_missed(v, e, t);
  if (const auto late = v.env.overdue_store()) {
    report::Divergence d;
    d.place = place(e);
    d.place.line = late->line;
    d.observed = fmt::format("an entry read again with the value {:x}", late->value);
    d.expected = "a store of that value by another thread";
    verdict_.divergences.push_back(std::move(d));
    v.abandoned = true;
  }
  v.env.freed.clear();
  if (v.env.broken.empty()) return;
  for (const BrokenRule& b : v.env.broken) {
    const invariant::Id rule = invariant::find_id(b.rule);
    report::Violation x = rule == invariant::kNoId ? report::Violation{} : violation_of(rule);
    x.invariant = b.rule;
    x.place = place(e);
    if (rule != invariant::kNoId && verdict_.violations.empty()) {
      x.state = state_of_violation(v, rule);
    }
    if (t != nullptr && !t->stack.empty()) {
      x.operation =
          fmt::format("{} started at line {}", t->stack.back().name, t->stack.back().line);
    }
    verdict_.violations.push_back(std::move(x));
  }
  v.env.broken.clear();
}

}  // namespace mmucheck::replay
