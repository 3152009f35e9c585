#include "checker/explore/explorer.h"

#include <algorithm>
#include <deque>
#include <unordered_map>
#include <unordered_set>

#include "checker/replay/findings.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {

using K = trace::EventKind;
using trace::Event;

namespace {

// States by their content: each part gets a number when it is first seen, a state is the numbers of
// its parts. Exact, and short where states share most of what they are made of.
class Visited {
 public:
  // False when it was there.
  bool insert(const std::vector<std::string>& parts) {
    std::u32string key;
    for (const std::string& p : parts) {
      key.push_back(numbers_.try_emplace(p, static_cast<char32_t>(numbers_.size())).first->second);
    }
    return states_.insert(std::move(key)).second;
  }
  uint64_t size() const { return states_.size(); }

 private:
  std::unordered_map<std::string, char32_t> numbers_;
  std::unordered_set<std::u32string> states_;
};

struct Node {  // how a state was first reached
  size_t parent = 0;
  Move move;
  uint64_t depth = 0;
};

std::vector<Move> path_to(const std::vector<Node>& nodes, size_t at) {
  std::vector<Move> path;
  for (; at != 0; at = nodes[at].parent) path.push_back(nodes[at].move);
  std::reverse(path.begin(), path.end());
  return path;
}

uint64_t evaluated(const invariant::Tally& tally) {
  return static_cast<uint64_t>(std::count_if(std::begin(tally.evaluated), std::end(tally.evaluated),
                                             [](uint64_t n) { return n != 0; }));
}

}  // namespace

Exploration explore(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                    const Tick& tick) {
  Exploration x;
  Stepper stepper(scenario, design, bounds.busy);
  uint64_t last_level = ~uint64_t{0};
  const auto found = [&](report::Violation broken, std::vector<Move> path, uint64_t level) {
    last_level = level;
    if (x.violation && x.path.size() <= path.size()) return;
    x.violation = std::move(broken);
    x.path = std::move(path);
  };
  x.doubts = stepper.doubts();
  if (!x.doubts.empty()) return x;
  if (auto broken = stepper.take_violations(); !broken.empty()) {
    found(std::move(broken.front()), {}, 0);
    return x;
  }
  Visited visited;
  std::vector<Node> nodes(1);
  std::deque<std::pair<size_t, Stepper::State>> frontier;
  visited.insert(stepper.parts());
  frontier.emplace_back(0, stepper.save());
  while (!frontier.empty() && x.bound.empty() && x.doubts.empty()) {
    if (nodes[frontier.front().first].depth > last_level) break;
    if (tick && !tick()) {
      x.interrupted = true;
      break;
    }
    const auto [at, state] = std::move(frontier.front());
    frontier.pop_front();
    const uint64_t depth = nodes[at].depth;
    x.depth = std::max(x.depth, depth);
    stepper.restore(state);
    if (stepper.over()) {
      x.end_states++;
      continue;
    }
    if (bounds.max_depth != 0 && depth >= bounds.max_depth) {
      x.bound = "max-depth";
      break;
    }
    bool moved = false;
    const std::vector<Move> moves = stepper.moves();
    for (size_t i = 0; i < moves.size(); i++) {
      if (i != 0) stepper.restore(state);
      if (!stepper.apply(moves[i])) continue;
      moved = true;
      x.transitions++;
      if (auto broken = stepper.take_violations(); !broken.empty()) {
        std::vector<Move> path = path_to(nodes, at);
        path.push_back(moves[i]);
        found(std::move(broken.front()), std::move(path), depth);
        continue;
      }
      x.doubts = stepper.doubts();
      if (!x.doubts.empty()) break;
      if (!visited.insert(stepper.parts())) continue;
      nodes.push_back({at, moves[i], depth + 1});
      frontier.emplace_back(nodes.size() - 1, stepper.save());
      if (visited.size() >= bounds.max_states) {
        x.bound = "max-states";
        break;
      }
    }
    if (!moved) {
      found(replay::violation_of(invariant::find_id(kStuck)), path_to(nodes, at), depth);
    }
  }
  if (x.violation) x.depth = x.path.size();
  x.states = visited.size();
  x.invariants = evaluated(stepper.replayer().tally());
  return x;
}

std::vector<Packet> counterexample(const Scenario& scenario, const model::Design* design,
                                   const std::string& design_name, const Exploration& found,
                                   const Bounds& bounds) {
  std::vector<Packet> all;
  size_t expects = 0;
  if (found.violation) {
    Event e;
    trace::start_event(e, K::kExpect);
    e.set(trace::f::expect::verdict, static_cast<uint64_t>(trace::ExpectedVerdict::kViolated));
    e.text = found.violation->invariant;
    all.emplace_back(e);
    expects = all.size();
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
  const bool stuck = found.violation && found.violation->invariant == kStuck;
  Stepper stepper(scenario, design, bounds.busy);
  for (size_t i = 0; i < found.path.size(); i++) {
    std::vector<Packet> packets = stepper.packets(found.path[i]);
    // An operation that breaks a rule as it begins.
    if (i + 1 == found.path.size() && found.path[i].kind == MoveKind::kBegin && !stuck) {
      packets.resize(1);
    }
    for (Packet& p : packets) all.push_back(std::move(p));
    stepper.apply(found.path[i]);
  }
  if (stuck) {
    for (const Move& m : stepper.moves()) {
      if (m.kind != MoveKind::kStep) continue;
      for (Packet& p : stepper.packets(m)) all.push_back(std::move(p));
    }
  }
  if (expects != 0 && (stuck || !found.path.empty()))
    all[expects - 1].set(trace::f::expect::step, all.size());
  return all;
}

bool replays_to(const trace::TraceInfo& info, const std::vector<Packet>& packets,
                const std::string& rule) {
  replay::SyntheticReplayer replayer(info);
  for (size_t i = 0; i < packets.size(); i++) {
    if (!replayer.verdict().violations.empty()) return false;
    replayer.event(packets[i].event());
  }
  replayer.finish(info);
  const report::Verdict& v = replayer.verdict();
  return v.inconclusive.empty() && !v.violations.empty() && v.violations[0].invariant == rule;
}

}  // namespace mmucheck::explore
