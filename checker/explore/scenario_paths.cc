// Paths of a ScenarioSystem, as moves of its threads. Under symmetry the states of a path are those
// that are kept: the moves then lead through states that these are kept for.
#include <algorithm>
#include <set>
#include <stdexcept>

#include "checker/explore/scenario_system.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {

using PathWorker = ScenarioSystem::Worker;

namespace {

// That an operation names, if it is about one.
std::optional<uint64_t> page_of(const trace::Event& stimulus) {
  const trace::KindInfo& kind = trace::kind_info(stimulus.kind);
  if (const auto gfn = kind.field("gfn")) return stimulus.get_or(*gfn, 0);
  if (const auto gpa = kind.field("gpa")) return stimulus.get_or(*gpa, 0) / kPageBytes;
  return std::nullopt;
}

}  // namespace

std::vector<std::vector<ScenarioSystem::State>> ScenarioSystem::unfolded(
    const std::vector<std::vector<State>>& layers) const {
  constexpr uint64_t kMost = Search<ScenarioSystem>::kMaxOnPaths;
  std::vector<std::vector<State>> all(layers.size());
  uint64_t count = 0;
  for (size_t d = 0; d < layers.size(); d++) {
    for (const State& s : layers[d]) {
      const std::vector<State> images = symmetry_.images(s);
      count += images.size();
      if (count > kMost) return {};
      all[d].insert(all[d].end(), images.begin(), images.end());
    }
  }
  return all;
}

ChosenPath<ScenarioSystem::State> ScenarioSystem::choose(
    const std::vector<std::vector<State>>& layers, unsigned property) const {
  Worker worker(*this);
  if (symmetry_.any()) {
    if (const auto whole = unfolded(layers); !whole.empty()) {
      worker.unfolded_ = true;
      return fewest_switches(worker, whole, property);
    }
  }
  return fewest_switches(worker, layers, property);
}

std::vector<Move> ScenarioSystem::moves(const std::vector<State>& path,
                                        std::optional<uint64_t> last_step) const {
  Worker worker(*this);
  std::vector<Move> all;
  State at = path.front();
  for (size_t i = 1; i < path.size(); i++) {
    const auto [move, to] = worker.move_between(at, path[i]);
    all.push_back(move);
    at = to;
  }
  if (last_step) all.push_back(worker.move_at(path.back(), *last_step, at));
  return all;
}

uint32_t PathWorker::takes(const State& s, std::optional<unsigned> thread) {
  constexpr uint32_t kThread = 256;
  static_assert(kMaxThreads * kThread + kThread - 1 <= kMostTaken);
  load(s);
  find_begun();
  const auto begins = [&](unsigned t) {
    return thread == t && kept(t, s.lanes[t]).fit == Stepper::bit(MoveKind::kBegin);
  };
  uint32_t threads = 0;
  std::set<uint64_t> pages;
  unsigned t = 0;
  for (const auto& [tid, operations] : system_->scenario_.threads) {
    const size_t begun = begun_[t] + begins(t);
    threads += begun != 0;
    for (size_t i = 0; i < std::min(begun, operations.size()); i++) {
      if (const auto page = page_of(operations[i].packets.front().event())) pages.insert(*page);
    }
    t++;
  }
  return threads * kThread + std::min(static_cast<uint32_t>(pages.size()), kThread - 1);
}

std::pair<Move, ScenarioSystem::State> PathWorker::move_between(const State& from,
                                                                const State& to) {
  load(from);
  allowed();
  const State kept = canonical(to);
  std::optional<std::pair<Move, State>> like;
  for (const Move& m : moves_) {
    const StepMemo::Outcome o = run(m);
    if (!o.made || o.property != kNothing) continue;
    const State next = successor();
    if (next == to) return {m, next};
    if (!like && symmetric() && canonical(next) == kept) like = {m, next};
  }
  if (!like) throw std::logic_error("no move leads from a state to the next one of its path");
  return *like;
}

Move PathWorker::move_at(const State& from, uint64_t step, const State& like) {
  load(from);
  allowed();
  unsigned property = kNothing;
  std::optional<Move> found;
  for (const Move& m : moves_) {
    const StepMemo::Outcome o = run(m);
    if (!o.made || step-- != 0) continue;
    found = m;
    property = o.property;
    break;
  }
  if (found && from == like) return *found;
  load(like);
  allowed();
  for (const Move& m : moves_) {
    const StepMemo::Outcome o = run(m);
    if (found && o.made && o.property == property && m.kind == found->kind) return m;
  }
  throw std::logic_error("a state has no such step");
}

}  // namespace mmucheck::explore
