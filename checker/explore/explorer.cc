#include "checker/explore/explorer.h"

#include <algorithm>
#include <set>
#include <stdexcept>

#include "checker/explore/order_pass.h"
#include "checker/explore/state_graph.h"
#include "checker/explore/symmetric_search.h"
#include "checker/replay/findings.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {

using K = trace::EventKind;
using trace::Event;

namespace {

// One round behind a marker. A thread that has no move in it tries one in vain where it waits; that
// it has tried is part of its state, so that there is a round before, too.
void append_loop(std::vector<Packet>& all, Stepper& stepper, const Scenario& scenario,
                 const std::vector<Move>& loop) {
  std::set<uint32_t> idle;
  for (const auto& [tid, operations] : scenario.threads) idle.insert(tid);
  for (const Move& m : loop) idle.erase(m.thread);
  std::erase_if(
      idle, [&](uint32_t tid) { return !replay::SteppedState::running(stepper.replayer(), tid); });
  const auto put = [&](const Move& m) {
    for (Packet& p : stepper.packets(m)) all.push_back(std::move(p));
  };
  for (int round = idle.empty() ? 1 : 0; round < 2; round++) {
    if (round == 1) {
      Event e;
      trace::start_event(e, K::kMarker);
      e.text = "loop";
      all.emplace_back(e);
    }
    std::set<uint32_t> to_try = idle;
    for (const Move& m : loop) {
      std::erase_if(to_try, [&](uint32_t tid) {
        const Stepper::State before = stepper.save();
        const Move vain{tid, MoveKind::kStep};
        std::vector<Packet> packets = stepper.packets(vain);
        if (stepper.apply(vain)) {
          stepper.restore(before);
          return false;
        }
        for (Packet& p : packets) all.push_back(std::move(p));
        return true;
      });
      put(m);
      stepper.apply(m);
    }
  }
}

// Runs the path again: what it breaks, or why that cannot be judged.
void take_path(Exploration& x, Stepper& stepper, std::optional<invariant::Id> only) {
  for (const Move& m : x.path) {
    if (only) stepper.take_violations();  // of other rules
    stepper.apply(m);
  }
  x.doubts = stepper.take_doubts();
  if (!x.doubts.empty()) return x.path.clear();
  if (x.deadlock) {
    x.violation = replay::violation_of(invariant::find_id(kStuck));
    return;
  }
  std::vector<report::Violation> broken = stepper.take_violations();
  replay::keep_only(broken, only);
  if (broken.empty()) throw std::logic_error("a path breaks nothing the second time");
  x.violation = std::move(broken.front());
}

// What --self-check compares: rules that are broken, a deadlock too, and states where all is over;
// where the order of steps is not reduced, all states and transitions. States of a reduced search,
// and those that they stand for, are some of the whole one's, so equal numbers are equal sets.
struct Ends {
  std::set<unsigned> broken;
  StateCounts counts;
  bool whole = true;

  explicit Ends(const Searched& s)
      : counts(s.stands_for()), whole(s.result.bound.empty()) {
    for (const auto& v : s.result.violations) broken.insert(v.property);
  }
};

// Throws where a reduction has lost something. Where a search hits a bound there is nothing to
// compare.
void compare_with_whole(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                        SearchBounds limits, const SearchTick& tick) {
  ScenarioSystem::Options with = options_of(bounds);
  with.all = limits.all = true;
  ScenarioSystem::Options without = with;
  without.partial_order = without.self_check = false;
  const Ends whole(symmetric_search(scenario, design, without, limits, false, tick));
  if (!whole.whole) return;
  Ends less(symmetric_search(scenario, design, with, limits, bounds.symmetry, tick));
  if (bounds.partial_order) {
    less.counts.states = whole.counts.states;
    less.counts.transitions = whole.counts.transitions;
  }
  if (less.whole && (less.broken != whole.broken || less.counts != whole.counts)) {
    throw std::logic_error("self-check: a reduction has lost violations or states");
  }
}

// Which kinds of steps were seen before which; nothing where that was not asked for, would take too
// much memory, or where something was found: then other things matter.
std::vector<StepOrders::Kinds> orders_of(const ScenarioSystem& system,
                                         const Search<ScenarioSystem>& search,
                                         const SearchResult<ScenarioSystem::State>& done,
                                         const Bounds& bounds, const SearchTick& tick) {
  const uint64_t memory = done.memory + system.memory() + OrderPass::bytes(done.states);
  if (bounds.coverage == 0 || bounds.hash_compact || !done.violations.empty() || !system.covers() ||
      done.states > bounds.coverage || (bounds.max_memory != 0 && memory > bounds.max_memory)) {
    return {};
  }
  const auto stop = [&] {
    return tick && !tick({.states = done.states, .transitions = done.transitions}).empty();
  };
  return OrderPass(system, search).run(stop);
}

// A path that a reduction left over bounds how far a search without it has to go.
void find_shortest(Exploration& x, const Scenario& scenario, const model::Design* design,
                   Bounds bounds, const SearchTick& tick) {
  x.shortest = false;
  if (bounds.all) return;
  bounds.partial_order = false;
  bounds.max_depth = x.path.size();
  Exploration whole = explore(scenario, design, bounds, tick);
  if (!whole.violation) return;
  x.shortest = true;
  x.path = std::move(whole.path);
  x.deadlock = whole.deadlock;
}

// What was found by hashes, with its path.
Exploration rebuilt(Exploration x, const Searched& searched, const Scenario& scenario,
                    const model::Design* design, Bounds bounds, const SearchTick& tick) {
  const auto& v = searched.result.violations.front();
  bounds.hash_compact = false;
  bounds.max_depth = v.steps();
  Exploration whole = explore(scenario, design, bounds, tick);
  if (!whole.violation) {
    const bool stuck = v.property == kDeadlock;
    if (whole.bound == "max-depth" || whole.bound.empty()) {
      throw std::logic_error("what is broken is not found the second time");
    }
    x.bound = whole.bound;
    x.not_rebuilt = std::string(stuck ? kStuck : invariant::kIds[rule_of(v.property)]) +
                    " is broken " + std::to_string(v.steps()) + " steps from the start";
    return x;
  }
  whole.states = x.states;
  whole.transitions = x.transitions;
  whole.depth = x.depth;
  whole.end_states = x.end_states;
  whole.memory = std::max(whole.memory, x.memory);
  whole.omissions = x.omissions;
  return whole;
}

}  // namespace

Exploration explore(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                    const SearchTick& tick) {
  Exploration x;
  Stepper stepper(scenario, design, bounds.busy);
  x.doubts = stepper.take_doubts();
  if (!x.doubts.empty()) return x;
  if (auto broken = stepper.take_violations(); !broken.empty()) {
    x.violation = std::move(broken.front());
    return x;
  }
  const SearchBounds limits = {.max_states = bounds.max_states,
                               .max_depth = bounds.max_depth,
                               .max_memory = bounds.max_memory,
                               .workers = bounds.workers,
                               .all = bounds.all,
                               .hash_compact = bounds.hash_compact};
  std::vector<StepOrders::Kinds> orders;
  const Searched searched = symmetric_search(
      scenario, design, options_of(bounds), limits, bounds.symmetry, tick,
      [&](const ScenarioSystem& of, const auto& search, const auto& done) {
        orders = orders_of(of, search, done, bounds, tick);
      });
  const ScenarioSystem& system = *searched.system;
  const SearchResult<ScenarioSystem::State>& r = searched.result;
  x.states = r.states;
  x.transitions = r.transitions;
  x.depth = r.depth;
  x.end_states = r.end_states;
  x.memory = r.memory + system.memory();
  x.bound = r.bound;
  if (bounds.hash_compact) x.omissions = expected_omissions(r.states);
  x.symmetric = searched.symmetric;
  x.stands_for = searched.stands_for();
  x.invariants = system.evaluated(bounds.only);
  x.coverage = system.coverage(orders);
  if (bounds.self_check) system.check_contents();
  if (bounds.self_check && (bounds.partial_order || bounds.symmetry)) {
    compare_with_whole(scenario, design, bounds, limits, tick);
  }
  if (r.violations.empty()) {
    x.nothing_to_check = system.threads() > 1 && bounds.busy == 0 && x.bound.empty() &&
                         x.coverage.counted && x.coverage.conflicts.empty();
    return x;
  }
  if (bounds.hash_compact) return rebuilt(x, searched, scenario, design, bounds, tick);
  const auto& v = r.violations.front();
  x.path = system.moves(v.path, v.last_step);
  x.deadlock = v.property == kDeadlock;
  if (bounds.partial_order) find_shortest(x, scenario, design, bounds, tick);
  take_path(x, stepper, bounds.only);
  for (size_t i = 1; i < r.violations.size(); i++) {
    Exploration other;
    other.path = system.moves(r.violations[i].path, r.violations[i].last_step);
    other.deadlock = r.violations[i].property == kDeadlock;
    Stepper again(scenario, design, bounds.busy);
    take_path(other, again, bounds.only);
    if (other.violation) x.others.push_back(std::move(other));
  }
  return x;
}

std::vector<Packet> counterexample(const Scenario& scenario, const model::Design* design,
                                   const std::string& design_name, const Exploration& found,
                                   const Bounds& bounds) {
  std::vector<Packet> all;
  if (found.violation) {
    Event e;
    trace::start_event(e, K::kExpect);
    e.set(trace::f::expect::verdict, static_cast<uint64_t>(trace::ExpectedVerdict::kViolated));
    e.text = found.violation->invariant;
    all.emplace_back(e);
  }
  bool named = design_name.empty();
  for (const Packet& p : scenario.prefix) {
    const K kind = p.event().kind;
    if (kind == K::kExpect || kind == K::kExplore) continue;
    if (kind == K::kDesign && !design_name.empty()) continue;
    // Behind what says which kernel it is, before the VM.
    if (!named && p.event().cls == trace::PacketClass::kStimulus) {
      Event e;
      trace::start_event(e, K::kDesign);
      e.text = design_name;
      all.emplace_back(e);
      named = true;
    }
    all.push_back(p);
  }
  Stepper stepper(scenario, design, bounds.busy);
  for (size_t i = 0; i < found.path.size(); i++) {
    std::vector<Packet> packets = stepper.packets(found.path[i]);
    // An operation that breaks a rule as it begins.
    if (i + 1 == found.path.size() && found.path[i].kind == MoveKind::kBegin && !found.deadlock &&
        found.loop.empty()) {
      packets.resize(1);
    }
    for (Packet& p : packets) all.push_back(std::move(p));
    stepper.apply(found.path[i]);
  }
  if (!found.loop.empty()) append_loop(all, stepper, scenario, found.loop);
  if (found.deadlock) {
    for (const Move& m : stepper.moves()) {
      if (m.kind != MoveKind::kStep) continue;
      for (Packet& p : stepper.packets(m)) all.push_back(std::move(p));
    }
  }
  if (found.violation && (found.deadlock || !found.loop.empty() || !found.path.empty())) {
    all.front().set(trace::f::expect::step, all.size());
  }
  return all;
}

bool replays_to(const trace::TraceInfo& info, const std::vector<Packet>& packets,
                const std::string& rule, std::optional<invariant::Id> only) {
  replay::SyntheticReplayer replayer(info);
  report::Verdict& v = replayer.verdict();
  for (const Packet& p : packets) {
    replay::keep_only(v.violations, only);
    if (!v.violations.empty()) return false;
    replayer.event(p.event());
  }
  replayer.finish(info);
  replay::keep_only(v.violations, only);
  return v.inconclusive.empty() && !v.violations.empty() && v.violations[0].invariant == rule;
}

}  // namespace mmucheck::explore
