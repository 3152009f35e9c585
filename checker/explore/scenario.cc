#include "checker/explore/scenario.h"

#include <algorithm>
#include <stdexcept>

#include "checker/invariant/catalogue.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/trace/event_kinds.h"
#include "model/design/spec.h"

namespace mmucheck::explore {

using K = trace::EventKind;
using trace::Event;
using trace::PacketClass;

namespace {

[[noreturn]] void refuse(const trace::TraceInfo& info, K kind, uint64_t packet, uint64_t line,
                         const std::string& why) {
  trace::TraceError::Where where;
  where.file = info.file;
  where.packet = packet;
  where.line = line;
  throw trace::TraceError(trace::TraceErrorKind::kCorrupt, where,
                          std::string(trace::kind_name(kind)) + ": " + why);
}
[[noreturn]] void refuse(const trace::TraceInfo& info, const Event& e, const std::string& why) {
  refuse(info, e.kind, e.seq, e.stream_line, why);
}

// What would change more than a thread's steps change. Of shadow pages no state knows.
bool changes_the_world(K kind) {
  switch (kind) {
    case K::kVmCreate:
    case K::kInitVm:
    case K::kVmDestroy:
    case K::kDestroyVm:
    case K::kVcpuCreate:
    case K::kVcpuDestroy:
    case K::kModuleParamSet:
    case K::kEnableCap:
    case K::kShadowSetSpte:
    case K::kShadowSplit:
    case K::kHostLevelChange: return true;
    default: return false;
  }
}

void take_bounds(Scenario& s, const Event& e) {
  namespace x = trace::f::explore;
  s.title = std::string(e.text);
  if (e.get(x::busy) > kMaxOutcomes || e.get(x::yields) > kMaxOutcomes) {
    refuse(s.info, e, "busy and yields are 0 to 16");
  }
  s.busy = static_cast<unsigned>(e.get(x::busy));
  s.yields = static_cast<unsigned>(e.get(x::yields));
  s.max_states = e.get_or(x::max_states, s.max_states);
  s.max_depth = e.get(x::max_depth);
  if (s.max_states == 0 || s.max_states > kMaxStates) {
    refuse(s.info, e, "max_states is 1 to 100000000");
  }
}

void take_pinned(Scenario& s, const Event& e) {
  namespace x = trace::f::explored;
  Pinned p;
  const std::string what(e.text);
  const size_t colon = what.find(':');
  p.design = what.substr(0, colon);
  if (colon != std::string::npos) {
    p.invariant = what.substr(std::min(what.find_first_not_of(' ', colon + 1), what.size()));
  }
  p.verdict = static_cast<trace::ExpectedVerdict>(e.get(x::verdict));
  p.states = e.get(x::states);
  p.transitions = e.get(x::transitions);
  p.depth = e.get(x::depth);
  p.steps = e.get(x::steps);
  p.busy = static_cast<unsigned>(e.get_or(x::busy, s.busy));
  p.reduction = {e.get(x::like_pages) != 0, e.get(x::por) != 0, e.get(x::symmetry) != 0};
  const bool violated = p.verdict == trace::ExpectedVerdict::kViolated;
  if (const model::ParsedDesign parsed = model::parse_design_spec(p.design);
      parsed.design == nullptr) {
    refuse(s.info, e, parsed.error);
  }
  if (violated != !p.invariant.empty() || violated != (p.steps != 0)) {
    refuse(s.info, e, "a violation, and nothing else, has an invariant and a number of steps");
  }
  if (violated && invariant::find(p.invariant) == nullptr) {
    refuse(s.info, e, "there is no invariant " + p.invariant);
  }
  if (p.states == 0) refuse(s.info, e, "without a number of states");
  if (p.states > s.max_states) refuse(s.info, e, "more states than max_states");
  std::vector<Pinned>& all = p.reduced() ? s.reduced : s.pinned;
  if (std::any_of(all.begin(), all.end(), [&](const Pinned& o) { return o.same_search(p); })) {
    refuse(s.info, e, p.design + " is there twice");
  }
  if (p.reduced() && std::none_of(s.pinned.begin(), s.pinned.end(), [&](const Pinned& o) {
        return o.design == p.design && o.busy == p.busy;
      })) {
    refuse(s.info, e, p.design + " stands before without reductions");
  }
  all.push_back(std::move(p));
}

void take_expected(Scenario& s, const Event& e) try {
  if (s.expected.size() >= kMaxExpected) refuse(s.info, e, "more than 64 of them");
  ExpectedConflict c = parse_expected_conflict(e.text);
  c.one_order = e.get(trace::f::expected_conflict::one_order) != 0;
  c.packet = e.seq;
  c.line = e.stream_line;
  s.expected.push_back(std::move(c));
} catch (const std::invalid_argument& error) {
  refuse(s.info, e, error.what());
}

// Are there such threads, with such operations?
void check_expected(const Scenario& s, const ExpectedConflict& c) {
  for (const StepName* step : {&c.first, &c.second}) {
    const auto at = s.threads.find(step->thread);
    if (at == s.threads.end()) {
      refuse(s.info, K::kExpectedConflict, c.packet, c.line,
             "there is no thread " + std::to_string(step->thread));
    }
    std::vector<std::string> names;
    for (const Operation& o : at->second) names.push_back(o.name);
    if (step->operation.empty() ||
        std::find(names.begin(), names.end(), step->operation) != names.end()) {
      continue;
    }
    refuse(s.info, K::kExpectedConflict, c.packet, c.line,
           "thread " + std::to_string(step->thread) + " has no operation " + step->operation +
               near_names(step->operation, names));
  }
}

}  // namespace

void Operation::set_thread(uint32_t tid) {
  for (Packet& p : packets) {
    Event e = p.event();
    e.thread = tid;
    p = Packet(e);
  }
}

std::string Reduction::name() const {
  std::string all;
  if (like_pages) all += " --like-pages";
  if (partial_order) all += " --por";
  if (symmetry) all += " --symmetry";
  return all.empty() ? all : all.substr(1);
}

size_t Scenario::operations() const {
  size_t n = 0;
  for (const auto& [tid, operations] : threads) n += operations.size();
  return n;
}

Scenario read_scenario(trace::EventSource& source) {
  Scenario s;
  s.info = source.info();
  bool marked = false;
  size_t vms = 0;
  for (Event e; source.next(e);) {
    if (!replay::is_synthetic(source.info())) refuse(s.info, e, "a recording is no scenario");
    const bool starts =
        e.kind == K::kExplore || (e.kind == K::kMarker && e.text == "explore");
    if (starts && marked) refuse(s.info, e, "a scenario starts to explore once");
    if (!marked) {
      if (e.kind == K::kExplored || e.kind == K::kExpectedConflict) {
        refuse(s.info, e, "stands behind packet { explore {} }");
      }
      s.prefix.emplace_back(e);
      if (e.kind == K::kVmCreate || e.kind == K::kInitVm) vms++;
      marked = starts;
      if (e.kind == K::kExplore) take_bounds(s, e);
      if (marked && vms != 1) refuse(s.info, e, "a scenario has one VM");
      continue;
    }
    switch (e.cls) {
      case PacketClass::kConfig:
        if (e.kind == K::kExpect || e.kind == K::kMarker) break;
        if (e.kind == K::kExplored) {
          take_pinned(s, e);
          break;
        }
        if (e.kind == K::kExpectedConflict) {
          take_expected(s, e);
          break;
        }
        refuse(s.info, e, "configuration stands before the start of the exploration");
      case PacketClass::kObservation:
        refuse(s.info, e, "nothing was observed yet behind the start of the exploration");
      case PacketClass::kInput: {
        const auto at = s.threads.find(e.thread);
        if (at == s.threads.end()) refuse(s.info, e, "an input stands behind its stimulus");
        if (e.kind == K::kStep) refuse(s.info, e, "exploring decides who steps");
        at->second.back().packets.emplace_back(e);
        break;
      }
      case PacketClass::kStimulus:
        if (changes_the_world(e.kind)) refuse(s.info, e, "stands before the start of the exploration");
        if (s.operations() >= kMaxOperations) refuse(s.info, e, "more than 64 operations");
        if (s.threads.size() >= kMaxThreads && !s.threads.contains(e.thread)) {
          refuse(s.info, e, "more than 8 threads");
        }
        s.threads[e.thread].push_back({std::string(trace::kind_name(e.kind)), {Packet(e)}});
        break;
    }
  }
  for (const ExpectedConflict& c : s.expected) check_expected(s, c);
  return s;
}

}  // namespace mmucheck::explore
