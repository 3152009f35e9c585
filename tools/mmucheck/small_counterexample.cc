#include "tools/mmucheck/small_counterexample.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "checker/replay/findings.h"
#include "checker/shrink/shrink.h"
#include "checker/trace/event_kinds.h"
#include "checker/trace/event_source.h"

namespace mmucheck::cli {
namespace {

using explore::Move;
using explore::MoveKind;
using explore::Packet;
using explore::Scenario;
using trace::Event;
using trace::EventKind;

// Runs of the path, and moves of all of them.
constexpr uint64_t kMaxPathRuns = 2000, kMaxPathMoves = 100'000;

constexpr uint64_t kFewPages = 4096;

// What is said of the steps of a path: the rule that each one breaks, and the events that it shows.
struct ShownStep {
  std::string breaks;
  std::vector<EventKind> events;
  bool operator==(const ShownStep&) const = default;
};

// Nothing where the path cannot be gone.
std::vector<ShownStep> steps_of(const Scenario& scenario, const model::Design* design,
                                const explore::Exploration& found, const explore::Bounds& bounds,
                                const std::vector<ShownStep>* like) try {
  std::vector<ShownStep> steps;
  explore::Stepper stepper(scenario, design, bounds.busy);
  const auto fine = [&] { return stepper.take_doubts().empty(); };
  const auto broken = [&] {
    auto violations = stepper.take_violations();
    replay::keep_only(violations, bounds.only);
    return violations.empty() ? std::string() : violations.front().invariant;
  };
  if (!fine() || !broken().empty()) return {};
  std::vector<Move> path = found.path;
  path.insert(path.end(), found.loop.begin(), found.loop.end());
  for (const Move& m : path) {
    const std::vector<Move> can = stepper.moves();
    if (std::find(can.begin(), can.end(), m) == can.end() || !stepper.apply(m)) return {};
    ShownStep& step = steps.emplace_back();
    for (const auto& p : replay::SteppedState::shown(stepper.replayer(), m.thread)) {
      step.events.push_back(p.kind);
    }
    step.breaks = broken();
    if (!fine() || (like != nullptr && !(step == (*like)[steps.size() - 1]))) return {};
  }
  return steps;
} catch (const trace::TraceError&) {
  return {};
}

// Whether the path is one to what was found: where no step breaks a rule, a deadlock behind it or that
// its loop leads back is for a replay to say.
bool leads_there(const Scenario& scenario, const model::Design* design,
                 const std::string& design_name, const explore::Exploration& found,
                 const explore::Bounds& bounds, const std::vector<ShownStep>& like) {
  if (steps_of(scenario, design, found, bounds, &like).empty()) return false;
  if (!found.deadlock && found.loop.empty()) return true;
  return explore::replays_to(
      scenario.info, explore::counterexample(scenario, design, design_name, found, bounds),
      found.violation->invariant, bounds.only);
}

bool stays(const Event& e) {
  return e.cls == trace::PacketClass::kConfig || e.kind == EventKind::kVmCreate ||
         e.kind == EventKind::kExplore || e.kind == EventKind::kMarker;
}

// The vCPU that a packet names, by default the first.
std::optional<uint64_t> vcpu_of(const Event& e) {
  const auto field = trace::kind_info(e.kind).field("vcpu_id");
  return field ? std::optional(e.get_or(*field, 0)) : std::nullopt;
}
// Pages, or bytes, from start to end: what the model goes through one by one must not become long
// because its start is a smaller number.
uint64_t length_of(const Event& e) {
  const trace::KindInfo& kind = trace::kind_info(e.kind);
  const auto start = kind.field("start"), end = kind.field("end");
  if (!start || !end || e.get_or(*end, 0) < e.get_or(*start, 0)) return 0;
  return e.get_or(*end, 0) - e.get_or(*start, 0);
}
// The model asks for neither, but no vCPU runs without.
bool makes_vcpu(const Event& e) {
  return e.kind == EventKind::kVcpuCreate || e.kind == EventKind::kRootLoad;
}

// The scenario as a list of packets, and back: those of operations are told by their numbers.
class Flat {
 public:
  Flat(const Scenario& scenario, const explore::Exploration& found) : scenario_(scenario) {
    for (const Packet& p : scenario.prefix) add(p, stays(p.event()));
    std::map<uint32_t, size_t> begun;
    for (const Move& m : found.path) begun[m.thread] += m.kind == MoveKind::kBegin;
    scenario_.threads.clear();
    for (const auto& [tid, operations] : scenario.threads) {
      std::vector<explore::Operation> on_path = operations;
      on_path.resize(begun[tid]);
      if (on_path.empty()) continue;
      for (const explore::Operation& o : on_path) {
        for (const Packet& p : o.packets) add(p, false);
      }
      scenario_.threads[tid] = std::move(on_path);
    }
    prefix_ = scenario.prefix.size();
  }

  const shrink::Packets& packets() const { return packets_; }
  // False: something is missing that must be there, as it was.
  bool unflatten(const shrink::Packets& some, Scenario& to) const {
    std::map<uint64_t, const Packet*> by_number;
    std::set<uint64_t> vcpus;  // that do something
    for (const Packet& p : some) {
      const Event e = p.event();
      by_number[e.seq] = &p;
      const Event was = packets_[e.seq - 1].event();
      if (length_of(e) > std::max(length_of(was), kFewPages)) return false;
      const auto vcpu = vcpu_of(e);
      if (vcpu != vcpu_of(was)) return false;  // one vCPU is one thread
      if (vcpu && !makes_vcpu(e)) vcpus.insert(*vcpu);
    }
    to = scenario_;
    to.prefix.clear();
    for (size_t i = 0; i < packets_.size(); i++) {
      const auto at = by_number.find(i + 1);
      const bool there = at != by_number.end();
      if (fixed_[i] && !(there && same(at->second->event(), packets_[i].event()))) return false;
      const Event was = packets_[i].event();
      if (!there && makes_vcpu(was) && vcpus.contains(*vcpu_of(was))) return false;
      if (i < prefix_) {
        if (there) to.prefix.push_back(*at->second);
      } else if (!there) {
        return false;
      }
    }
    size_t next = prefix_;
    for (auto& [tid, operations] : to.threads) {
      for (explore::Operation& o : operations) {
        for (Packet& p : o.packets) p = *by_number.at(++next);
      }
    }
    return true;
  }

  bool changed(const shrink::Packets& some) const {
    return std::any_of(some.begin(), some.end(), [&](const Packet& p) {
      const Event e = p.event();
      return !same(e, packets_[e.seq - 1].event());
    });
  }

 private:
  static bool same(const Event& a, const Event& b) {
    return a.present == b.present && a.f == b.f && a.cpu == b.cpu && a.context == b.context;
  }
  void add(const Packet& p, bool fixed) {
    Event e = p.event();
    e.seq = packets_.size() + 1;
    packets_.emplace_back(e);
    fixed_.push_back(fixed);
  }

  Scenario scenario_;
  shrink::Packets packets_;
  std::vector<bool> fixed_;
  size_t prefix_ = 0;  // packets of it
};

}  // namespace

SmallCounterexample small_counterexample(const Scenario& scenario, const model::Design* design,
                                         const std::string& design_name,
                                         const explore::Exploration& found,
                                         const explore::Bounds& bounds,
                                         const std::vector<Packet>& packets) {
  SmallCounterexample whole{scenario, packets, 0, false};
  if (!found.violation || (found.path.empty() && found.loop.empty())) return whole;
  const std::vector<ShownStep> like = steps_of(scenario, design, found, bounds, nullptr);
  if (like.empty()) return whole;
  const Flat flat(scenario, found);
  Scenario trial;
  const auto fails = [&](const shrink::Packets& some) {
    return flat.unflatten(some, trial) &&
           leads_there(trial, design, design_name, found, bounds, like);
  };
  const uint64_t runs =
      std::min(kMaxPathRuns, kMaxPathMoves / (found.path.size() + found.loop.size()));
  const shrink::Shrunk shrunk = shrink::shrink(flat.packets(), fails, {.max_runs = runs});
  SmallCounterexample small;
  small.left_out = flat.packets().size() - shrunk.packets.size();
  small.changed = small.left_out != 0 || flat.changed(shrunk.packets);
  if (!flat.unflatten(shrunk.packets, small.scenario)) return whole;
  small.packets = explore::counterexample(small.scenario, design, design_name, found, bounds);
  const std::string& rule = found.violation->invariant;
  return explore::replays_to(scenario.info, small.packets, rule, bounds.only) ? small : whole;
}

}  // namespace mmucheck::cli
