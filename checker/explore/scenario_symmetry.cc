// Symmetry of the threads of a ScenarioSystem: a step that the model runs is run in all its images,
// too, and what these make of it says which contents are images of one another. A state that is
// stored has an image by each exchange then, and the moves of that are the images of its moves.
#include <algorithm>
#include <stdexcept>

#include "checker/explore/scenario_system.h"

namespace mmucheck::explore {

using SymmetricWorker = ScenarioSystem::Worker;

void ScenarioSystem::start_symmetry(const Worker& worker) {
  if (options_.preemptions) {
    throw std::logic_error("whose turn it was is not told under symmetry");
  }
  LaneSymmetry<kLanes>::Groups groups;
  ThreadPairs pairs;
  for (const auto& group : options_.symmetric) {
    auto& slots = groups.emplace_back();
    for (const uint32_t thread : group) {
      slots.push_back(worker.slot_of_thread(thread));
      if (thread != group.front()) pairs.insert(std::minmax(group.front(), thread));
    }
  }
  const replay::SteppedState::OwnSlots own = worker.own_slots_;
  if (options_.like_pages && own.each == 0) throw NotSymmetric(pairs);
  std::vector<uint64_t> adds;
  for (unsigned lane = 0; lane < lanes(); lane++) {
    adds.push_back(hash_in_lane(lane, contents_[lane].hash(0)));
  }
  symmetry_.start(groups, {own.each == 0 ? 0 : worker.slot_of(own.first), own.each}, adds);
  for (unsigned e = 0; e < symmetry_.exchanges(); e++) {
    for (unsigned lane = 0; lane < lanes(); lane++) {
      if (!worker.alike(e, lane, 0, 0)) symmetry_.fail(e);
    }
  }
  if (symmetry_.failed() != 0) throw NotSymmetric(pairs_that_failed());
}

ThreadPairs ScenarioSystem::pairs_that_failed() const {
  const std::vector<uint32_t> threads = Worker::threads_of(scenario_);
  ThreadPairs pairs;
  for (unsigned e = 0; e < symmetry_.exchanges(); e++) {
    const auto& x = symmetry_.exchange(e);
    if ((symmetry_.failed() >> e & 1) != 0) {
      pairs.insert(std::minmax(threads[x.a], threads[x.b]));
    }
  }
  return pairs;
}

void SymmetricWorker::not_symmetric(unsigned exchange) const {
  if (!system_->options_.symmetry_faults.trusts) system_->symmetry_.fail(exchange);
}

// Which moves a thread has does not show in its steps, but depends on these.
bool SymmetricWorker::alike(unsigned exchange, Slot slot, Id from, Id to) const {
  const auto& x = system_->symmetry_.exchange(exchange);
  const Slot there = x.lane[slot];
  if (slot < progress_slot()) return kept(slot, from).fit == kept(there, to).fit;
  if (slot != progress_slot()) return true;
  const Stepper::Own& one = kept(slot, from).progress->own;
  const Stepper::Own& other = kept(slot, to).progress->own;
  if (one.busy != other.busy || one.yields != other.yields) return false;
  for (Slot t = 0; t < threads_.size(); t++) {
    if (one.begun.at(threads_[t]) != other.begun.at(threads_[x.lane[t]])) return false;
  }
  return true;
}

bool SymmetricWorker::define(unsigned exchange, Slot slot, Id from, Id to) {
  LaneSymmetry<kLanes>& symmetry = system_->symmetry_;
  const auto content = [this](Slot s, Id id) {
    return LaneSymmetry<kLanes>::Content{s, id, hash_in_lane(s, system_->contents_[s].hash(id))};
  };
  const Slot there = symmetry.lane(exchange, slot);
  const auto& forgets = system_->options_.symmetry_faults.forgets;
  if (forgets && slot == slot_of(*forgets) && slot == there) {
    symmetry.define(exchange, content(slot, from), content(slot, from));
    symmetry.define(exchange, content(slot, to), content(slot, to));
    return from == to;
  }
  return alike(exchange, slot, from, to) &&
         symmetry.define(exchange, content(slot, from), content(there, to));
}

// Do two steps that are images of one another look at the same, and make the same?
void SymmetricWorker::compare_twins(unsigned exchange, const Twin& one, const Twin& other) {
  const auto& x = system_->symmetry_.exchange(exchange);
  std::vector<Slot> asked;
  for (const Slot s : one.asked) asked.push_back(x.lane[s]);
  std::vector<Slot> asked_there = other.asked;
  std::sort(asked.begin(), asked.end());
  std::sort(asked_there.begin(), asked_there.end());
  bool fits = asked == asked_there && one.outcome.made == other.outcome.made &&
              one.outcome.property == other.outcome.property;
  if (fits && one.outcome.made && one.outcome.property == kNothing) {
    fits = one.changes.size() == other.changes.size();
    for (const StepMemo::Change& c : one.changes) {
      const auto at =
          std::find_if(other.changes.begin(), other.changes.end(),
                       [&](const StepMemo::Change& o) { return o.slot == x.lane[c.slot]; });
      fits = at != other.changes.end() && define(exchange, c.slot, c.to, at->to) && fits;
    }
  }
  if (!fits) not_symmetric(exchange);
}

void SymmetricWorker::learn_twins(const Move& m, const StepMemo::Outcome& o) {
  const LaneSymmetry<kLanes>& symmetry = system_->symmetry_;
  std::vector<Twin> all = {{loaded_, slot_of_thread(m.thread), o, asked_, changes_}};
  for (size_t i = 0; i < all.size(); i++) {
    for (unsigned e = 0; e < symmetry.exchanges(); e++) {
      State at;
      if (!symmetry.apply(e, all[i].at, at)) {
        not_symmetric(e);
        continue;
      }
      const Slot thread = symmetry.lane(e, all[i].thread);
      size_t j = 0;
      while (j < all.size() && !(all[j].thread == thread && all[j].at == at)) j++;
      if (j == all.size()) {
        const Move twin{threads_[thread], m.kind};
        loaded_ = at;
        const StepMemo::Outcome there = run_model(twin);
        learn(twin, there);
        all.push_back({at, thread, there, asked_, changes_});
      }
      if (j >= i) compare_twins(e, all[i], all[j]);
    }
  }
  loaded_ = all[0].at;
  asked_ = all[0].asked;
  changes_ = all[0].changes;
}

// Of a move of the loaded state: what it told, its images tell.
void SymmetricWorker::tell_twins(const Move& m) {
  const LaneSymmetry<kLanes>& symmetry = system_->symmetry_;
  const State here = loaded_;
  std::vector<std::pair<State, Slot>> all = {{here, slot_of_thread(m.thread)}};
  for (size_t i = 0; i < all.size(); i++) {
    for (unsigned e = 0; e < symmetry.exchanges(); e++) {
      std::pair<State, Slot> twin{{}, symmetry.lane(e, all[i].second)};
      if (!symmetry.apply(e, all[i].first, twin.first)) continue;
      if (std::find(all.begin(), all.end(), twin) != all.end()) continue;
      all.push_back(twin);
      loaded_ = twin.first;
      find_places();
      const Move move{threads_[twin.second], m.kind};
      tell_one(move, outcome_of(move));
    }
  }
  loaded_ = here;
  find_places();
  outcome_of(m);
}

void SymmetricWorker::count_like(const State& s, uint64_t made, Fate fate) {
  State copy = s;
  const uint64_t n = system_->symmetry_.canonical(copy, images_);
  system_->like_.states += n;
  system_->like_.transitions += n * made;
  if (fate == Fate::kEnded) system_->like_.end_states += n;
}

// The moves of the state's images are the images of its moves, whatever was learned of them.
void SymmetricWorker::check_symmetric(const State& s) {
  const LaneSymmetry<kLanes>& symmetry = system_->symmetry_;
  telling_ = false;
  const auto all_from = [this](const State& from) {
    load(from);
    allowed();
    std::vector<Ran> all;
    for (const Move& m : std::vector<Move>(moves_)) all.push_back(run_from(from, m));
    return all;
  };
  const std::vector<Ran> here = all_from(s);
  for (unsigned e = 0; e < symmetry.exchanges(); e++) {
    State image;
    bool same = symmetry.apply(e, s, image);
    const std::vector<Ran> there = same ? all_from(image) : here;
    same = same && there.size() == here.size();
    for (const Ran& r : here) {
      const Move twin{threads_[symmetry.lane(e, slot_of_thread(r.move.thread))], r.move.kind};
      const auto at =
          std::find_if(there.begin(), there.end(), [&](const Ran& o) { return o.move == twin; });
      same = same && at != there.end() && at->made == r.made && at->property == r.property;
      if (same && r.made && r.property == kNothing) {
        State to;
        same = symmetry.apply(e, r.to, to) && to == at->to;
      }
    }
    if (!same && symmetry.failed() == 0) {
      throw std::logic_error("self-check: with threads exchanged a state has other successors");
    }
  }
}

}  // namespace mmucheck::explore
