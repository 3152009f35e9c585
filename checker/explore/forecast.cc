#include "checker/explore/forecast.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "checker/explore/scenario_system.h"
#include "checker/explore/state_graph.h"

namespace mmucheck::explore {
namespace {

constexpr uint64_t kMaxSteps = 20'000;  // of a walk
constexpr uint64_t kOften = 8;          // to one BUSY or yield, of which there are few on a way
constexpr uint64_t kSettle = 64;        // walks, until steps are known to all

class Random {  // splitmix64
 public:
  explicit Random(uint64_t seed) : x_(seed) {}
  uint64_t below(uint64_t n) { return next() % n; }

 private:
  uint64_t next() {
    uint64_t z = x_ += 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
  }
  uint64_t x_;
};

class Walk {
 public:
  using State = ScenarioSystem::State;

  // Adds what it sees to `levels`, by depth.
  Walk(const ScenarioSystem& system, ScenarioSystem::Worker& worker, Random& random,
       std::vector<double>& levels)
      : system_(system),
        worker_(worker),
        random_(random),
        state_(system.initial()),
        levels_(levels) {
    note();
  }

  // False: it is over.
  bool step() {
    moves_.clear();
    worker_.each(state_, [&](const Move& m, unsigned property, const State& to) {
      const unsigned thread = worker_.number_of(m.thread);
      const bool rare = m.kind == MoveKind::kBusy || m.kind == MoveKind::kYield;
      moves_.push_back({thread, property, (threads_[thread].steps + 1) * (rare ? 1 : kOften),
                        worker_.note(), to});
    });
    if (moves_.empty()) return false;
    uint64_t all = 0;
    for (const Possible& m : moves_) all += m.likely;
    uint64_t at = random_.below(all);
    const Possible* chosen = moves_.data();
    for (; at >= chosen->likely; chosen++) at -= chosen->likely;
    broken = chosen->property != kNothing;
    const uint32_t held = chosen->to.lanes[chosen->thread];
    if (broken || !been_.insert({chosen->thread, held}).second) return false;
    const double forwards = static_cast<double>(chosen->likely) / static_cast<double>(all);
    take(*chosen);
    weight_ *= backwards(chosen->thread) / forwards;
    steps++;
    note();
    return steps < kMaxSteps;
  }

  uint64_t steps = 0;
  bool broken = false;

 private:
  struct Possible {
    unsigned thread;
    unsigned property;
    uint64_t likely;
    const StepNote* note;
    State to;
  };
  struct Thread {
    uint64_t steps = 0;
    const StepNote* last = nullptr;  // nullptr: some later step conflicts with it
    std::array<int, StepNote::kInsides> inside{}, inside_then{};  // now, and before `last`
  };

  void note() {
    if (steps >= levels_.size()) levels_.resize(steps + 1);
    levels_[steps] += weight_ / static_cast<double>(system_.kept_for(state_));
  }
  void take(const Possible& m) {
    Thread& mine = threads_[m.thread];
    mine.steps++;
    for (Thread& other : threads_) {
      if (&other != &mine && other.last != nullptr &&
          (conflict(*other.last, other.inside_then, *m.note) ||
           conflict(*m.note, mine.inside, *other.last))) {
        other.last = nullptr;
      }
    }
    mine.last = m.note;
    mine.inside_then = mine.inside;
    for (size_t i = 0; i < mine.inside.size(); i++) mine.inside[i] += m.note->change[i];
    state_ = m.to;
  }
  double backwards(unsigned thread) const {
    uint64_t all = 0;
    for (const Thread& t : threads_) all += t.last != nullptr ? t.steps : 0;
    return static_cast<double>(threads_[thread].steps) / static_cast<double>(all);
  }
  // Of a step of a thread that is inside of something, with one of another thread.
  static bool conflict(const StepNote& a, const std::array<int, StepNote::kInsides>& inside,
                       const StepNote& b) {
    const auto uses_of = [&](uint32_t cell) {
      const auto at = std::lower_bound(b.uses.begin(), b.uses.end(), cell,
                                       [](const CellUse& u, uint32_t c) { return u.cell < c; });
      return at == b.uses.end() || at->cell != cell ? uint8_t{0} : at->uses;
    };
    for (uint32_t i = 0; i < StepNote::kInsides; i++) {
      if ((a.asked >> i & 1) == 0 || inside[i] > 0) continue;
      const uint8_t theirs = uses_of(ThreadFutures::number_of_inside(i));
      if (theirs != 0 && !model::commute(theirs, model::kRead)) return true;
    }
    for (const CellUse& u : a.uses) {
      const uint8_t theirs = uses_of(u.cell);
      if (theirs != 0 && !model::commute(theirs, u.uses)) return true;
    }
    return false;
  }

  const ScenarioSystem& system_;
  ScenarioSystem::Worker& worker_;
  Random& random_;
  State state_;
  std::vector<double>& levels_;
  double weight_ = 1;
  std::array<Thread, kMaxThreads> threads_{};
  std::vector<Possible> moves_;
  std::set<std::pair<unsigned, uint32_t>> been_;  // by thread, what it held
};

double expected(const Forecast& f, const SearchedSoFar& so_far, size_t batch) {
  double seen = 0, behind = 0;
  const std::vector<double>& levels = f.levels[batch];
  for (size_t d = 0; d < levels.size(); d++) (d <= so_far.depth ? seen : behind) += levels[d];
  const auto states = static_cast<double>(so_far.states);
  return seen == 0 ? states : states + behind * (states / seen);
}

// Throws NotSymmetric.
Forecast walk_through(const ScenarioSystem& system, const ForecastEffort& effort,
                      const std::function<bool()>& stop) {
  Forecast f;
  auto worker = system.worker();
  Random random(effort.seed);
  while (f.walks < effort.walks && f.steps < effort.steps && !(stop && stop())) {
    const size_t batch = f.walks % Forecast::kBatches;
    Walk walk(system, worker, random, f.levels[batch]);
    while (walk.step()) {
    }
    f.walks++;
    f.steps += walk.steps;
    f.depth = std::max(f.depth, walk.steps);
    f.violated = f.violated || walk.broken;
    if (f.walks % kSettle == 0) system.settle();
  }
  system.settle();
  return f;
}

// Groups without those of two threads that are not alike after all.
ThreadGroups groups_without(const ThreadGroups& groups, const ThreadPairs& apart) {
  ThreadGroups left;
  for (const auto& group : groups) {
    const bool alike = std::none_of(apart.begin(), apart.end(), [&](const auto& pair) {
      return std::count(group.begin(), group.end(), pair.first) != 0 &&
             std::count(group.begin(), group.end(), pair.second) != 0;
    });
    if (alike) left.push_back(group);
  }
  return left;
}

}  // namespace

Forecast::Estimate Forecast::states(const SearchedSoFar& so_far) const {
  std::array<double, kBatches> of;
  for (size_t b = 0; b < kBatches; b++) of[b] = expected(*this, so_far, b);
  std::sort(of.begin(), of.end());
  return {(of[kBatches / 2 - 1] + of[kBatches / 2]) / 2, of[1], of[kBatches - 2]};
}

Forecast forecast(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                  const ForecastEffort& effort, const std::function<bool()>& stop,
                  const ThreadGroups& symmetric) {
  ScenarioSystem::Options options = options_of(bounds);
  options.partial_order = options.self_check = options.coverage = false;
  options.preemptions.reset();
  options.notes = true;
  options.symmetric = symmetric;
  try {
    return walk_through(ScenarioSystem(scenario, design, options), effort, stop);
  } catch (const NotSymmetric& found) {
    return forecast(scenario, design, bounds, effort, stop, groups_without(symmetric, found.pairs));
  }
}

}  // namespace mmucheck::explore
