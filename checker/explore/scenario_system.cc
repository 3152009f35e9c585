#include "checker/explore/scenario_system.h"

#include <algorithm>
#include <stdexcept>
#include <utility>

#include "checker/replay/findings.h"

namespace mmucheck::explore {

using Worker = ScenarioSystem::Worker;
using replay::SteppedState;

namespace {

constexpr size_t kMostLearned = 1u << 15;  // steps that not all workers know yet
constexpr uint64_t kMemoBytes = uint64_t{48} << 20;
// What the Stepper counts, as cells of no table.
constexpr model::Cell kBusyCount{model::CellKind::kSpRole, model::kNoTable, ~uint64_t{0}};
constexpr model::Cell kYieldCount{model::CellKind::kSpRole, model::kNoTable, ~uint64_t{1}};

}  // namespace

ScenarioSystem::ScenarioSystem(const Scenario& scenario, const model::Design* design,
                               const Options& options)
    : scenario_(scenario),
      design_(design),
      options_(options),
      memo_bytes_(options.max_memory == 0 ? kMemoBytes
                                          : std::min(kMemoBytes, options.max_memory / 16)),
      steps_(Stepper::kMoveKinds * static_cast<uint32_t>(scenario.threads.size()), memo_bytes_),
      futures_(options.faults) {
  if (options.partial_order && options.preemptions) {
    throw std::logic_error("who was put off by partial order reduction is no preemption");
  }
  const Worker worker(*this);
  initial_ = worker.successor();
  options_.coverage = options.coverage && scenario.threads.size() > 1;
  for (unsigned t = 0; t < scenario.threads.size(); t++) idle(t);
  if (!options.symmetric.empty()) start_symmetry(worker);
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

uint64_t ScenarioSystem::evaluated(std::optional<invariant::Id> only) const {
  if (only) return evaluated_[*only];
  return static_cast<uint64_t>(std::count(evaluated_.begin(), evaluated_.end(), true));
}

ScenarioSystem::Codec ScenarioSystem::codec() const {
  Codec empty;
  add_contents(empty);
  return empty.widened();
}

void ScenarioSystem::add_contents(Codec& codec) const {
  for (unsigned lane = 0; lane < lanes(); lane++) {
    for (uint32_t id = codec.known(lane); id < contents_[lane].size(); id++) {
      codec.add(lane, contents_[lane].hash(id));
    }
  }
}

uint64_t ScenarioSystem::memory() const {
  uint64_t all = futures_.memory() + symmetry_.memory() + orders_.memory();
  for (const Contents& c : contents_) all += c.memory();
  return all;
}

void ScenarioSystem::settle() const {
  for (Contents& c : contents_) c.tidy();
  for (const LearnedStep& step : std::exchange(learned_, {})) {
    steps_.learn(step.tree, step.asked, step.found, step.outcome, step.changes);
  }
  settled_++;
  if (options_.partial_order && futures_.learn()) {
    news_ = true;
    vain_.news();
  }
  if (symmetry_.failed() != 0) throw NotSymmetric(pairs_that_failed());
}

// That a reduction is wrong is no news where it knew too little.
bool ScenarioSystem::must_repeat() {
  vain_.begin();
  const bool wrong = wrong_.exchange(false);
  const bool closed = futures_.close();
  if (std::exchange(news_, false) || closed) {
    like_.states = like_.transitions = like_.end_states = 0;
    return true;
  }
  if (wrong) throw std::logic_error("self-check: a move does not commute with one it put off");
  return false;
}

Coverage ScenarioSystem::coverage(std::span<const StepOrders::Kinds> before) const {
  if (!options_.coverage) return {};
  std::vector<Contents::Id> at_rest;
  for (unsigned t = 0; t < scenario_.threads.size(); t++) at_rest.push_back(idle(t));
  return orders_.coverage(scenario_, initial_.lanes, at_rest, before);
}

void ScenarioSystem::check_contents() const {
  for (const Contents& c : contents_) {
    if (!c.consistent()) {
      throw std::logic_error("self-check: equal parts of states have different numbers");
    }
  }
  if (!symmetry_.consistent()) {
    throw std::logic_error("self-check: exchanges of threads are no permutations of states");
  }
}

Worker::Worker(const ScenarioSystem& system)
    : system_(&system),
      stepper_(std::make_unique<Stepper>(system.scenario_, system.design_, system.options_.busy)),
      threads_(threads_of(system.scenario_)),
      fit_(threads_.size()),
      left_(threads_.size()),
      steps_(Stepper::kMoveKinds * static_cast<uint32_t>(threads_.size()),
             system.memo_bytes_ / kStepsShare) {
  if (system.options_.like_pages) {
    own_slots_ = SteppedState::number_by_thread(stepper_->slots(), threads_);
  }
  for (const uint32_t thread : threads_) {
    if (SteppedState::running(stepper_->replayer(), thread)) continue;
    SteppedState::put_thread(stepper_->slots(), thread, {}, nullptr);  // what the prefix has left
  }
  for (Slot i = 0; i < system.lanes(); i++) {
    loaded_.lanes[i] = held_[i] = content(i, {});
    loaded_.hash += hash_in_lane(i, system.contents_[i].hash(held_[i]));
  }
}

Worker::~Worker() {
  if (stepper_ != nullptr) system_->count(stepper_->replayer().tally());
}

std::vector<uint32_t> Worker::threads_of(const Scenario& scenario) {
  std::vector<uint32_t> all;
  for (const auto& [tid, operations] : scenario.threads) all.push_back(tid);
  return all;
}

Worker::Slot Worker::slot_of_thread(uint32_t thread) const {
  const auto at = std::lower_bound(threads_.begin(), threads_.end(), thread);
  return static_cast<Slot>(at - threads_.begin());
}

void Worker::load(const State& s) {
  if (settled_ != system_->settled_) {
    settled_ = system_->settled_;
    steps_.clear();
  }
  loaded_ = s;
}

ScenarioSystem::State Worker::successor() const {
  State s = loaded_;
  s.hash += made_hash_;
  for (const StepMemo::Change& c : made_) s.lanes[c.slot] = c.to;
  return s;
}

uint64_t Worker::hash_of(std::span<const StepMemo::Change> changes) const {
  uint64_t h = 0;
  for (const StepMemo::Change& c : changes) {
    h += system_->hash_of_change(c.slot, loaded_.lanes[c.slot], c.to);
  }
  return h;
}

// --- moves ---

bool Worker::can_move(uint32_t thread) {
  const std::vector<Move> all = moves_;
  return std::any_of(all.begin(), all.end(),
                     [&](const Move& m) { return m.thread == thread && run(m).made; });
}

void Worker::allowed() {
  moves_.clear();
  for (Slot t = 0; t < threads_.size(); t++) moves_of(t);
  if (!system_->options_.preemptions) return;
  const Turn turn = turn_of(loaded_.lanes[progress_slot()]);
  if (!turn.any) return;
  last_can_move_ = can_move(turn.last);
  if (last_can_move_ && turn.used >= *system_->options_.preemptions) {
    std::erase_if(moves_, [&](const Move& m) { return m.thread != turn.last; });
  }
}

void Worker::moves_of(Slot thread) {
  const Id own = loaded_.lanes[thread], counted = loaded_.lanes[progress_slot()];
  const auto known = [](std::vector<Stepper::Kinds>& all, size_t at) -> Stepper::Kinds& {
    if (at >= all.size()) all.resize(at + at / 2 + 1);
    return all[at];
  };
  Stepper::Kinds& fit = known(fit_[thread], own);
  if (fit == 0) fit = kept(thread, own).fit;
  Stepper::Kinds& left = known(left_[thread], counted);
  if (left == 0) {
    put_progress();
    left = stepper_->kinds_left(threads_[thread]);
  }
  const unsigned kinds = fit & left;
  for (unsigned kind = 0; kinds >> kind != 0; kind++) {
    if ((kinds >> kind & 1) != 0) moves_.push_back({threads_[thread], MoveKind(kind)});
  }
}

StepMemo::Outcome Worker::run(const Move& m) {
  const StepMemo::Outcome o = outcome_of(m);
  if (system_->options_.partial_order && telling_) tell(m, o);
  kind_ = o.kind;
  note_ = o.note;
  made_hash_ = o.hash;
  if (system_->options_.preemptions && o.made) follow_turn(m);
  return o;
}

StepMemo::Outcome Worker::outcome_of(const Move& m) {
  const auto at = [this](Slot s) { return loaded_.lanes[s]; };
  StepMemo::Outcome o;
  bool known = false;
  for (const StepMemo* steps : std::array{&system_->steps_, &steps_}) {
    if (known) break;
    const auto found = steps->find(tree_of(m), at, found_);
    if (!found) continue;
    known = true;
    o = *found;
    made_ = found_;
  }
  if (!known) {
    o = run_model(m);
    learn(m, o);
    if (symmetric()) learn_twins(m, o);
    made_ = changes_;
  } else if (system_->options_.self_check) {
    check(m, o, {made_.begin(), made_.end()});
    made_ = changes_;
  }
  return o;
}

// What run_model() has just made.
void Worker::learn(const Move& m, const StepMemo::Outcome& o) {
  std::vector<Id> found_there;
  for (const Slot slot : asked_) found_there.push_back(loaded_.lanes[slot]);
  steps_.learn(tree_of(m), asked_, found_there, o, changes_);
  const std::lock_guard hold(system_->lock_);
  if (system_->learned_.size() < kMostLearned) {
    system_->learned_.push_back({tree_of(m), asked_, std::move(found_there), o, changes_});
  }
}

// Runs the step although it is known.
void Worker::check(const Move& m, const StepMemo::Outcome& known,
                   const std::vector<StepMemo::Change>& expected) {
  const StepMemo::Outcome now = run_model(m);
  const auto same = [](const StepMemo::Change& a, const StepMemo::Change& b) {
    return a.slot == b.slot && a.to == b.to;
  };
  if (now.made != known.made || now.property != known.property ||
      !std::equal(changes_.begin(), changes_.end(), expected.begin(), expected.end(), same)) {
    throw std::logic_error("self-check: a step depends on what its footprint lacks");
  }
  for (Slot i = 0; i < system_->lanes(); i++) {
    if (content(i, turn_of(held_[progress_slot()])) != held_[i]) {
      throw std::logic_error("self-check: a step changes what its footprint lacks");
    }
  }
}

StepMemo::Outcome Worker::run_model(const Move& m) {
  const Slot thread = slot_of_thread(m.thread);
  put_thread(thread);
  put_shared();
  footprint_.clear();
  const auto before = SteppedState::inside(stepper_->replayer());
  SteppedState::record(stepper_->slots(), &footprint_);
  StepMemo::Outcome o;
  o.made = stepper_->apply(m);
  SteppedState::record(stepper_->slots(), nullptr);
  o.property = broken(m.thread);
  std::vector<replay::Predicted> shown;
  if (system_->options_.coverage) shown = SteppedState::shown(stepper_->replayer(), m.thread);
  if (!SteppedState::running(stepper_->replayer(), m.thread)) {
    SteppedState::put_thread(stepper_->slots(), m.thread, {}, nullptr);  // what it has left
  }
  asked_ = {thread};
  if (m.kind != MoveKind::kStep) asked_.push_back(progress_slot());
  if (m.kind == MoveKind::kBegin) {  // what tells no store looks there
    asked_.push_back(slot_of(SteppedState::kMonitorSlot));
    asked_.push_back(slot_of(SteppedState::kFramesSlot));
  }
  changes_.clear();
  const auto changed = [&](Slot slot) {
    const Id now = content(slot, turn_of(held_[progress_slot()]));
    if (now != held_[slot] && o.made) changes_.push_back({slot, now});
    held_[slot] = now;
  };
  const auto& forgets = system_->options_.forgets;
  std::vector<Slot> written = asked_;
  const auto add = [](std::vector<Slot>& all, Slot slot) {
    if (std::find(all.begin(), all.end(), slot) == all.end()) all.push_back(slot);
  };
  for (const model::Touch& t : footprint_.touches()) {
    const Slot slot = slot_of(SteppedState::slot_of(t.cell));
    if (!forgets || slot != slot_of(*forgets)) add(asked_, slot);
    if (t.uses != model::kRead) add(written, slot);
  }
  for (const Slot slot : written) changed(slot);
  if (system_->options_.partial_order || system_->options_.notes) {
    std::vector<model::Cell> counted;
    if (m.kind == MoveKind::kBusy) counted.push_back(kBusyCount);
    if (m.kind == MoveKind::kYield && o.made) counted.push_back(kYieldCount);
    o.note = system_->futures_.note(footprint_, counted, before,
                                    o.made ? SteppedState::inside(stepper_->replayer()) : before);
  }
  std::sort(changes_.begin(), changes_.end(),
            [](const StepMemo::Change& a, const StepMemo::Change& b) { return a.slot < b.slot; });
  o.hash = hash_of(changes_);
  if (system_->options_.coverage && o.made) note_kind(m, o, shown, before);
  return o;
}

// Whose turn it was and is belongs to the state.
void Worker::follow_turn(const Move& m) {
  const Slot slot = progress_slot();
  std::vector<StepMemo::Change> all(made_.begin(), made_.end());
  const auto at = std::find_if(all.begin(), all.end(),
                               [&](const StepMemo::Change& c) { return c.slot >= slot; });
  const bool counted = at != all.end() && at->slot == slot;
  const Turn before = turn_of(loaded_.lanes[slot]);
  Progress after = *kept(slot, counted ? at->to : loaded_.lanes[slot]).progress;
  const bool preempted = before.any && m.thread != before.last && last_can_move_;
  after.turn = {m.thread, before.used + preempted, true};
  if (counted) {
    at->to = progress(after);
  } else {
    all.insert(at, {slot, progress(after)});
  }
  changes_ = std::move(all);
  made_ = changes_;
  made_hash_ = hash_of(made_);
}

// --- the stepper ---

void Worker::put_thread(Slot thread) {
  const Id now = loaded_.lanes[thread];
  if (held_[thread] == now) return;
  SteppedState::put_thread(stepper_->slots(), threads_[thread], system_->contents_[thread].bytes(now),
                           kept(thread, now).thread);
  held_[thread] = now;
}

void Worker::put_progress() {
  const Id now = loaded_.lanes[progress_slot()];
  if (held_[progress_slot()] == now) return;
  stepper_->set_own(kept(progress_slot(), now).progress->own);
  held_[progress_slot()] = now;
}

void Worker::put() {
  for (Slot t = 0; t < progress_slot(); t++) put_thread(t);
  put_shared();
}

void Worker::put_shared() {
  const std::array<Id, kLanes>& now = loaded_.lanes;
  put_progress();
  std::vector<SteppedState::Change> changes;
  for (SteppedState::Slot s = 0; s < SteppedState::kSlots; s++) {
    const Slot i = slot_of(s);
    if (held_[i] == now[i]) continue;
    const Contents& contents = system_->contents_[i];
    changes.push_back({s, &contents.bytes(held_[i]), &contents.bytes(now[i])});
  }
  SteppedState::put(stepper_->slots(), changes);
  std::copy(now.begin() + progress_slot(), now.end(), held_.begin() + progress_slot());
}

Worker::Id Worker::content(Slot slot, const Turn& turn) {
  if (slot == progress_slot()) return progress({stepper_->own(), turn});
  const replay::SyntheticReplayer& r = stepper_->replayer();
  if (slot > progress_slot()) {
    return system_->contents_[slot].add(SteppedState::content(r, slot - slot_of(0)),
                                        [] { return Kept{}; });
  }
  return system_->contents_[slot].add(SteppedState::content_of_thread(r, threads_[slot]), [&] {
    return Kept{SteppedState::keep_thread(r, threads_[slot]),
                {},
                stepper_->kinds_that_fit(threads_[slot])};
  });
}

Worker::Id Worker::progress(const Progress& p) {
  std::string bytes = "progress " + Stepper::content_of(p.own);
  if (system_->options_.preemptions) {
    bytes += " turn " + std::to_string(p.turn.any) + " " + std::to_string(p.turn.last) + " " +
             std::to_string(p.turn.used);
  }
  return system_->contents_[progress_slot()].add(bytes, [&] {
    return Kept{{}, std::make_shared<Progress>(p), 0};
  });
}

Fate Worker::stuck() const {
  const auto& only = system_->options_.only;
  return only && *only != invariant::id("MMU-LOCK-LIVE") ? Fate::kEnded : Fate::kStuck;
}

unsigned Worker::broken(uint32_t thread) {
  std::vector<report::Violation> violations = stepper_->take_violations();
  replay::keep_only(violations, system_->options_.only);
  const std::vector<std::string> doubts = stepper_->take_doubts();
  if (violations.empty()) return doubts.empty() ? kNothing : kInDoubt;
  unsigned last = 0;
  if (system_->options_.all) {
    const auto& shown = SteppedState::shown(stepper_->replayer(), thread);
    if (!shown.empty()) last = static_cast<unsigned>(shown.back().kind);
  }
  return property_of(invariant::find_id(violations.front().invariant), last);
}

// --- which steps are run where ---

void Worker::note_kind(const Move& m, StepMemo::Outcome& o,
                       std::span<const replay::Predicted> shown,
                       const std::array<uint64_t, StepOrders::kInsides>& before) {
  const Slot thread = slot_of_thread(m.thread);
  find_begun();
  StepOrders::Step step{.thread = thread,
                        .begins = m.kind == MoveKind::kBegin,
                        .from = m.kind == MoveKind::kBegin ? begun_[thread] : loaded_.lanes[thread],
                        .to = held_[thread],
                        .before = before,
                        .after = SteppedState::inside(stepper_->replayer())};
  o.kind = system_->orders_.kind_of(step, shown, footprint_);
}

// --- partial order ---

void Worker::find_begun() {
  const Id now = loaded_.lanes[progress_slot()];
  if (begun_of_ != now) {
    begun_of_ = now;
    begun_.clear();
    for (const auto& [tid, n] : kept(progress_slot(), now).progress->own.begun) {
      begun_.push_back(static_cast<uint32_t>(n));
    }
  }
}

void Worker::find_places() {
  find_begun();
  places_.clear();
  for (unsigned t = 0; t < threads_.size(); t++) {
    places_.push_back(system_->futures_.place(key(t)));
  }
}

ThreadFutures::Key Worker::key(unsigned thread) const {
  return {thread, begun_[thread], loaded_.lanes[thread]};
}

// What the thread can do, those can whose image it is.
void Worker::tell(const Move& m, const StepMemo::Outcome& o) {
  if (tell_one(m, o) && symmetric()) tell_twins(m);
}

// What the move has made of its thread.
bool Worker::tell_one(const Move& m, const StepMemo::Outcome& o) {
  const Slot thread = slot_of_thread(m.thread);
  const ThreadFutures::Key from = key(thread);
  ThreadFutures::Key to = from;
  if (o.made) {
    if (m.kind == MoveKind::kBegin) to.begun++;
    for (const StepMemo::Change& c : made_) {
      if (c.slot == thread) to.content = c.to;
    }
  }
  return system_->futures_.tell(seen_, {from, o.note, to});
}

bool Worker::run_all(unsigned thread) {
  bool made = false, fine = true;
  for (const Move& m : moves_) {
    if (m.thread != threads_[thread]) continue;
    const StepMemo::Outcome o = run(m);
    fine = fine && (!o.made || o.property == kNothing);
    made |= o.made;
    ran_.push_back({m, o.made, o.property, o.note, o.kind, o.made ? successor() : State{}});
  }
  return made && fine;
}

bool Worker::Candidates::conflict(unsigned thread, unsigned other) const {
  const ThreadFutures& futures = worker.system_->futures_;
  return std::any_of(worker.ran_.begin(), worker.ran_.end(), [&](const Ran& r) {
    return r.move.thread == worker.threads_[thread] &&
           futures.conflict(worker.places_[thread], *r.note, worker.places_[other]);
  });
}

bool Worker::Candidates::leads_on(unsigned thread) const {
  return std::any_of(worker.ran_.begin(), worker.ran_.end(), [&](const Ran& r) {
    return r.move.thread == worker.threads_[thread] && r.made && !known(r.to);
  });
}

Worker::Ran Worker::run_from(const State& s, const Move& m) {
  load(s);
  const StepMemo::Outcome o = run(m);
  const bool leads_on = o.made && o.property == kNothing;
  return {m, o.made, o.property, nullptr, o.kind, leads_on ? successor() : State{}};
}

void Worker::check_commutes(const State& s, unsigned thread) {
  const std::vector<Move> all = moves_;
  const std::vector<Ran> mine = ran_;
  telling_ = false;
  for (const Move& other : all) {
    if (other.thread == threads_[thread]) continue;
    const Ran theirs = run_from(s, other);
    for (const Ran& r : mine) {
      if (r.move.thread != threads_[thread] || !r.made) continue;
      const Ran behind = run_from(r.to, other);
      bool same = behind.made == theirs.made && behind.property == theirs.property;
      if (same && theirs.made && theirs.property == kNothing) {
        const Ran last = run_from(theirs.to, r.move);
        same = last.made && last.property == kNothing && last.to == behind.to;
      }
      if (!same) system_->wrong_ = true;
    }
  }
  load(s);
  telling_ = true;
}

}  // namespace mmucheck::explore
