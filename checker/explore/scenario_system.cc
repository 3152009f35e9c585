#include "checker/explore/scenario_system.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace mmucheck::explore {

using Worker = ScenarioSystem::Worker;

ScenarioSystem::ScenarioSystem(const Scenario& scenario, const model::Design* design, unsigned busy,
                               std::optional<unsigned> preemptions)
    : scenario_(scenario), design_(design), busy_(busy), preemptions_(preemptions) {
  initial_ = Worker(*this).state();
}

ScenarioSystem::Worker ScenarioSystem::worker() const {
  return Worker(*this);
}

void ScenarioSystem::count(const invariant::Tally& tally) const {
  const std::lock_guard<std::mutex> hold(lock_);
  for (size_t i = 0; i < evaluated_.size(); i++) {
    evaluated_[i] = evaluated_[i] || tally.evaluated[i] != 0;
  }
}

uint64_t ScenarioSystem::evaluated() const {
  return static_cast<uint64_t>(std::count(evaluated_.begin(), evaluated_.end(), true));
}

std::vector<Move> ScenarioSystem::moves(const std::vector<State>& path,
                                        std::optional<uint64_t> last_step) const {
  Worker worker(*this);
  std::vector<Move> all;
  for (size_t i = 1; i < path.size(); i++) {
    all.push_back(worker.move_between(path[i - 1], path[i]));
  }
  if (last_step) all.push_back(worker.move_at(path.back(), *last_step));
  return all;
}

Worker::Worker(const ScenarioSystem& system)
    : system_(&system),
      stepper_(std::make_unique<Stepper>(system.scenario_, system.design_, system.busy_)) {}

Worker::~Worker() {
  if (stepper_ != nullptr) system_->count(stepper_->replayer().tally());
}

ScenarioSystem::State Worker::state() {
  const std::vector<std::string> parts = stepper_->parts();
  now_.clear();
  for (size_t i = 0; i < parts.size(); i++) {
    now_.push_back(system_->table_.leaf(parts[i], [&] { return Kept{stepper_->keep(i), {}}; }));
  }
  std::vector<Table::Id> all = now_;
  if (system_->preemptions_) {
    const std::string turn = "turn " + std::to_string(turn_.any) + " " +
                             std::to_string(turn_.last) + " " + std::to_string(turn_.used);
    all.push_back(system_->table_.leaf(turn, [&] { return Kept{{}, turn_}; }));
  }
  const std::span<const Table::Id> tree = all;
  const size_t half = tree.size() / 2;
  loaded_ = {uint64_t{system_->table_.tree(tree.first(half))} << 32 |
             system_->table_.tree(tree.subspan(half))};
  return loaded_;
}

void Worker::load(const State& s) {
  if (!now_.empty() && loaded_ == s) return;
  std::vector<Table::Id> wanted;
  system_->table_.leaves_of(left(s), wanted);
  system_->table_.leaves_of(right(s), wanted);
  if (system_->preemptions_) {
    turn_ = system_->table_.kept(wanted.back()).turn;
    wanted.pop_back();
  }
  std::vector<const Stepper::Part*> from, to;
  for (const Table::Id id : now_) from.push_back(&system_->table_.kept(id).part);
  for (const Table::Id id : wanted) to.push_back(&system_->table_.kept(id).part);
  stepper_->put(from, to);
  now_ = std::move(wanted);
  loaded_ = s;
}

bool Worker::can_move(uint32_t thread) {
  const State here = loaded_;
  const Turn turn = turn_;
  for (const Move& m : stepper_->moves()) {
    if (m.thread != thread) continue;
    const bool applied = apply(m);
    broken();
    load(here);
    turn_ = turn;
    if (applied) return true;
  }
  return false;
}

std::vector<Move> Worker::allowed() {
  std::vector<Move> all = stepper_->moves();
  if (!system_->preemptions_ || !turn_.any) return all;
  last_can_move_ = can_move(turn_.last);
  if (last_can_move_ && turn_.used >= *system_->preemptions_) {
    std::erase_if(all, [&](const Move& m) { return m.thread != turn_.last; });
  }
  return all;
}

bool Worker::apply(const Move& m) {
  if (!stepper_->apply(m)) return false;
  now_.clear();
  const bool preempted = turn_.any && m.thread != turn_.last && last_can_move_;
  turn_ = {m.thread, turn_.used + preempted, true};
  return true;
}

unsigned Worker::broken() {
  const std::vector<report::Violation> violations = stepper_->take_violations();
  if (!violations.empty()) return invariant::find_id(violations.front().invariant);
  return stepper_->take_doubts().empty() ? kNothing : kInDoubt;
}

Move Worker::move_between(const State& from, const State& to) {
  load(from);
  for (const Move& m : allowed()) {
    load(from);
    if (apply(m) && broken() == kNothing && state() == to) return m;
  }
  throw std::logic_error("no move leads from a state to the next one of its path");
}

Move Worker::move_at(const State& from, uint64_t step) {
  load(from);
  for (const Move& m : allowed()) {
    load(from);
    if (!apply(m)) continue;
    broken();
    if (step-- == 0) return m;
  }
  throw std::logic_error("a state has no such step");
}

}  // namespace mmucheck::explore
