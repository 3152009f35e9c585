// Layer: checker/explore. Contract: a scenario as a system for Search: its states are those of a
// Stepper, its transitions what the moves of the threads make of them. A state has a lane for each
// slot (lanes.h), with the number of what it holds (content_table.h): whole, and what many states
// share is there once.
//
// The model runs a step only when what the step looks at is new (step_memo.h): else what it made of
// that is put together with the rest of the state, which it did not look at. That takes a footprint
// of everything it may look at: the cells, which the store tells, the thread itself, what is in no
// cell, and, where a move is more than a step, the numbers that the Stepper counts.
//
// Partial order: a thread whose next moves cannot matter to what the others can still do is run
// alone (futures.h, thread_futures.h). Nothing that is looked at lies outside of steps: what a step
// breaks shows in the step, which reads what the invariants look at. A search is repeated while
// must_repeat().
//
// Symmetry: of states that differ in which of some threads is which one is kept (lane_symmetry.h),
// by what exchanging two threads makes of each step: the model runs it both ways when it is new
// (scenario_symmetry.cc). Threads that turn out to be no images of one another end the search
// (NotSymmetric), so what it finds to its end is what all states show. What a step tells of what a
// thread can still do, its images tell of theirs: partial order reduction looks at the state that is
// kept, and does in the others what is the image of that.
//
// A bound of preemptions: so often a thread may go on although the one that moved last could; the
// last thread and their number then belong to the state.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "checker/explore/content_table.h"
#include "checker/explore/fewest_switches.h"
#include "checker/explore/lane_symmetry.h"
#include "checker/explore/lanes.h"
#include "checker/explore/search.h"
#include "checker/explore/step_memo.h"
#include "checker/explore/step_orders.h"
#include "checker/explore/stepper.h"
#include "checker/explore/symmetric_threads.h"
#include "checker/explore/thread_futures.h"

namespace mmucheck::explore {

// A step after which the model cannot say what is right.
inline constexpr unsigned kInDoubt = 0xfffffffdu;
// Properties below: an invariant::Id, and, where all violations are asked for, what the step showed
// last, so that one is found for each.
constexpr unsigned property_of(invariant::Id rule, unsigned last_shown) {
  return rule << 16 | last_shown;
}
constexpr invariant::Id rule_of(unsigned property) {
  return static_cast<invariant::Id>(property >> 16);
}

class ScenarioSystem {
 public:
  // Those of the threads in their order, then what the Stepper counts, then the slots of
  // SteppedState.
  static constexpr unsigned kLanes = kMaxThreads + 2 + replay::SteppedState::kSlots;
  static constexpr uint32_t kBlock = 4096, kAlone = 128;
  // Of the memory for what is known of steps: what each worker takes for kinds of moves, and for
  // steps that not all know yet.
  static constexpr uint64_t kWorkerShare = 8, kStepsShare = 8;
  using State = LaneState<kLanes>;
  using Codec = LaneCodec<kLanes>;

  struct Options {
    unsigned busy = 0;
    std::optional<unsigned> preemptions = std::nullopt;
    uint64_t max_memory = 0;                           // of the process; 0: no bound
    std::optional<invariant::Id> only = std::nullopt;  // no other rule is looked at
    bool all = false;            // tell violations of a rule by different steps apart
    bool partial_order = false;  // not with preemptions
    bool like_pages = false;     // pages differ by who allocated them, not by when
    ThreadGroups symmetric = {};  // threads that are taken to be alike; not with preemptions
    bool notes = false;     // keep what steps touch, see Worker::note()
    bool coverage = false;  // note which steps are run in which order (step_orders.h)
    // What is wrong throws std::logic_error: a step that depends on what its footprint lacks, a
    // table of parts that knows equal ones by several numbers, moves that do not commute with what
    // was put off for them.
    bool self_check = false;
    std::optional<replay::SteppedState::Slot> forgets =
        std::nullopt;  // what the tests break: no step looks there
    PartialOrderFaults faults = {};
    SymmetryFaults symmetry_faults = {};
  };

  // Nothing may be broken or in doubt behind the prefix.
  ScenarioSystem(const Scenario& scenario, const model::Design* design, const Options& options);

  Codec codec() const;
  // While nobody works: it knows all contents then.
  void add_contents(Codec& codec) const;
  State initial() const { return initial_; }
  static uint64_t hash(const State& s) { return s.hash; }
  static unsigned broken(const State&) { return kNothing; }
  uint64_t memory() const;
  // All of a state but its threads: equal where that is.
  State vm_of(State s) const {
    s.hash = 0;
    std::fill_n(s.lanes.begin(), scenario_.threads.size(), 0);
    return s;
  }
  // What is known of steps, and what workers take for themselves.
  uint64_t working_bytes(unsigned workers) const {
    return memo_bytes_ + workers * (memo_bytes_ / kWorkerShare + memo_bytes_ / kStepsShare);
  }

  class Worker;
  Worker worker() const;

  // Of the shortest paths through the layers, whose last one has a move that breaks `property`, the
  // one on which threads take turns the least often; and which move it is.
  ChosenPath<State> choose(const std::vector<std::vector<State>>& layers, unsigned property) const;

  // The moves that lead along a path, and then the `last_step`th one. Where its states are kept for
  // others the moves are those of a path through such.
  std::vector<Move> moves(const std::vector<State>& path, std::optional<uint64_t> last_step) const;
  // While nobody works: what steps have shown is known from now on.
  // Throws NotSymmetric.
  void settle() const;
  // After a search: steps were seen that it did not know of, so it proves nothing.
  bool must_repeat();
  // Behind a block of it: it may as well be repeated now.
  bool in_vain(uint64_t states) const { return vain_.behind_block(states); }
  // Invariants that the workers have evaluated; of `only`, 1 or 0.
  uint64_t evaluated(std::optional<invariant::Id> only = std::nullopt) const;
  // While nobody works, where the options ask for it; `before` as in step_orders.h.
  Coverage coverage(std::span<const StepOrders::Kinds> before = {}) const;
  const StepOrders& orders() const { return orders_; }
  bool covers() const { return options_.coverage; }
  size_t threads() const { return scenario_.threads.size(); }
  // Those that a state stands for, itself first: with threads exchanged.
  std::vector<State> images(const State& s) const {
    return symmetry_.any() ? symmetry_.images(s) : std::vector<State>{s};
  }
  // How many that is; 1 without symmetry.
  uint64_t kept_for(State s) const {
    std::vector<State> images;
    return symmetry_.any() ? symmetry_.canonical(s, images) : 1;
  }
  const LaneSymmetry<kLanes>& symmetry() const { return symmetry_; }
  // While nobody works.
  void check_contents() const;
  // Of a search that has visited all states, what it would have found without symmetry.
  StateCounts stands_for() const { return {like_.states, like_.transitions, like_.end_states}; }

 private:
  // The thread that moved last, and the preemptions so far.
  struct Turn {
    uint32_t last = 0;
    unsigned used = 0;
    bool any = false;
  };
  struct Progress {
    Stepper::Own own;
    Turn turn;
  };
  struct Kept {
    replay::SteppedState::KeptThread thread;
    std::shared_ptr<const Progress> progress;
    Stepper::Kinds fit = Stepper::bit(MoveKind::kBegin);  // moves, of a thread

    size_t bytes() const {
      return (thread == nullptr ? 0 : replay::SteppedState::bytes_of(*thread)) +
             (progress == nullptr ? 0 : sizeof(Progress) + progress->own.begun.size() * 64);
    }
  };
  using Contents = ContentTable<Kept>;
  unsigned lanes() const {
    return static_cast<unsigned>(scenario_.threads.size()) + 1 + replay::SteppedState::kSlots;
  }
  // What a change of a lane makes of the hash of a state.
  uint64_t hash_of_change(unsigned lane, Contents::Id from, Contents::Id to) const {
    return hash_in_lane(lane, contents_[lane].hash(to)) -
           hash_in_lane(lane, contents_[lane].hash(from));
  }
  void count(const invariant::Tally& tally) const;
  void start_symmetry(const Worker& worker);
  ThreadPairs pairs_that_failed() const;
  // What the images of the states of a layer make of it; nothing where that is too many.
  std::vector<std::vector<State>> unfolded(const std::vector<std::vector<State>>& layers) const;
  // What a thread holds between operations.
  Contents::Id idle(unsigned thread) const {
    return contents_[thread].add({}, [] { return Kept{}; });
  }

  const Scenario& scenario_;
  const model::Design* design_;
  Options options_;
  uint64_t memo_bytes_;
  mutable std::array<Contents, kLanes> contents_;  // by lane
  // What workers have found out of steps by the last settle(), and since.
  struct LearnedStep {
    uint32_t tree;
    std::vector<StepMemo::Slot> asked;
    std::vector<Contents::Id> found;  // there
    StepMemo::Outcome outcome;
    std::vector<StepMemo::Change> changes;
  };
  mutable StepMemo steps_;
  mutable std::vector<LearnedStep> learned_;  // under lock_
  mutable uint64_t settled_ = 0;              // times
  mutable ThreadFutures futures_;
  mutable StepOrders orders_;
  mutable bool news_ = false;
  mutable InVain vain_;
  mutable std::atomic<bool> wrong_ = false;  // a move did not commute with one that it put off
  mutable LaneSymmetry<kLanes> symmetry_;
  struct Like {  // of the states that were expanded, with those that they stand for
    std::atomic<uint64_t> states = 0, transitions = 0, end_states = 0;
  };
  mutable Like like_;
  State initial_{};
  mutable std::mutex lock_;  // of what follows
  mutable std::array<bool, invariant::kIdCount> evaluated_{};
};

class ScenarioSystem::Worker {
 public:
  explicit Worker(const ScenarioSystem& system);
  Worker(Worker&&) = default;
  ~Worker();

  template <class Steps>
  Fate expand(const State& s, Steps& steps) {
    if (system_->options_.self_check && symmetric()) check_symmetric(s);
    Counted<Steps> counted{steps};
    const Fate fate = expand_some(s, counted);
    if (symmetric()) count_like(s, counted.made_here, fate);
    return fate;
  }
  // Without partial order reduction, which may leave out some.
  template <class Steps>
  Fate expand_all(const State& s, Steps& steps) {
    return each_made(s, [&](const Move&, unsigned property) {
      if (property != kNothing) return steps.violates(property);
      if constexpr (requires { steps.made(made_hash_, made_); }) {
        if (!symmetric()) return steps.made(loaded_.hash + made_hash_, made_);
      }
      steps.made(canonical(successor()));
    });
  }
  // The same, a move each: visit(move, property, successor); it has none where a property is
  // broken.
  template <class Visit>
  Fate each(const State& s, const Visit& visit) {
    return each_made(s, [&](const Move& m, unsigned property) {
      visit(m, property, property == kNothing ? successor() : State{});
    });
  }
  // The state that the last move of expand() has made: symmetry may keep another one for it.
  const State& made_itself() const { return made_itself_; }
  void keep_made() { keeps_made_ = true; }
  // Of the move that was told last (made, violates, visit), where the options ask for coverage.
  StepOrders::Kind kind() const { return kind_; }
  // The same, of each(), where they ask for notes.
  const StepNote* note() const { return note_; }
  unsigned number_of(uint32_t thread) const { return slot_of_thread(thread); }
  // Every thread is over.
  bool ended(const State& s) {
    load(s);
    allowed();
    return moves_.empty();
  }
  // Its stepper, in that state.
  const Stepper& at(const State& s) {
    load(s);
    put();
    return *stepper_;
  }

  // With the number of the thread that moves; successors are those that are kept.
  template <class Visit>
  Fate each_move(const State& s, const Visit& visit) {
    return each(s, [&](const Move& m, unsigned property, const State& to) {
      visit(slot_of_thread(m.thread), property, unfolded_ ? to : canonical(to));
    });
  }
  // What a path takes that ends here, with a move of that thread: threads that have begun something
  // first, then pages that their operations name (`gfn`, `gpa`), however often.
  uint32_t takes(const State& s, std::optional<unsigned> thread);
  // The move of `from` that leads to `to`, else to one that `to` is kept for; where it does lead
  // (scenario_paths.cc).
  std::pair<Move, State> move_between(const State& from, const State& to);
  // The `step`th of the moves of `from` that are none that wait, or the one of `like`, which may be
  // kept for it, that breaks the same.
  Move move_at(const State& from, uint64_t step, const State& like);

 private:
  friend class ScenarioSystem;
  using Id = Contents::Id;
  using Slot = StepMemo::Slot;


  // --- partial order ---
  struct Ran {  // of a move of the loaded state
    Move move;
    bool made;
    unsigned property;
    const StepNote* note;
    StepOrders::Kind kind;
    State to;
    bool operator==(const Ran&) const = default;
  };
  struct Candidates {  // what thread_to_run_alone() asks
    Worker& worker;
    std::function<bool(const State&)> known;

    bool may_go(unsigned thread) { return worker.run_all(thread); }
    bool conflict(unsigned thread, unsigned other) const;
    bool leads_on(unsigned thread) const;
  };
  // Runs the moves of a thread, into ran_. False where none is made, or one breaks something.
  bool run_all(unsigned thread);
  template <class Steps>
  Fate expand_some(const State& s, Steps& steps) {
    if constexpr (requires { steps.known(s); }) {
      if (system_->options_.partial_order) return expand_reduced(s, steps);
    }
    return expand_all(s, steps);
  }
  template <class Steps>
  Fate expand_reduced(const State& s, Steps& steps) {
    load(s);
    allowed();
    if (moves_.empty()) return Fate::kEnded;
    ran_.clear();
    find_places();
    telling_ = true;
    Candidates candidates{*this, [&](const State& n) { return steps.known(canonical(n)); }};
    const auto alone = thread_to_run_alone(static_cast<unsigned>(threads_.size()), candidates,
                                           !system_->options_.faults.puts_off_for_ever);
    if (!alone) return all_that_ran(steps);
    if (system_->options_.self_check) check_commutes(s, *alone);
    for (const Ran& r : ran_) {
      if (r.move.thread != threads_[*alone] || !r.made) continue;
      kind_ = r.kind;
      steps.made(canonical(r.to));
    }
    return Fate::kMoved;
  }
  template <class Steps>
  Fate all_that_ran(Steps& steps) {
    bool moved = false;
    for (const Ran& r : ran_) {
      if (!r.made) continue;
      moved = true;
      kind_ = r.kind;
      if (r.property != kNothing) {
        steps.violates(r.property);
      } else {
        steps.made(canonical(r.to));
      }
    }
    return moved ? Fate::kMoved : Fate::kStuck;
  }
  // The moves of the thread and those of each other one lead to the same, in either order.
  void check_commutes(const State& s, unsigned thread);
  Ran run_from(const State& s, const Move& m);
  ThreadFutures::Key key(unsigned thread) const;
  void find_begun();
  void find_places();
  void tell(const Move& m, const StepMemo::Outcome& o);
  // False: it was told before.
  bool tell_one(const Move& m, const StepMemo::Outcome& o);

  // --- symmetry (scenario_symmetry.cc) ---
  template <class Steps>
  struct Counted {  // what a state makes
    Steps& steps;
    uint64_t made_here = 0;

    void made(const State& s) {
      made_here++;
      steps.made(s);
    }
    template <class Change>
    void made(uint64_t hash, std::span<const Change> changes)
      requires requires(Steps& of) { of.made(hash, changes); }
    {
      made_here++;
      steps.made(hash, changes);
    }
    void violates(unsigned property) {
      made_here++;
      steps.violates(property);
    }
    bool known(const State& s) const
      requires requires(const Steps& of) { of.known(s); }
    {
      return steps.known(s);
    }
  };
  struct Twin {  // a step of the loaded state, in one of its images
    State at;
    Slot thread;
    StepMemo::Outcome outcome;
    std::vector<Slot> asked;
    std::vector<StepMemo::Change> changes;
  };
  bool symmetric() const { return system_->symmetry_.any(); }
  State canonical(State s) {
    if (keeps_made_) made_itself_ = s;
    if (symmetric()) system_->symmetry_.canonical(s, images_);
    return s;
  }
  void count_like(const State& s, uint64_t made, Fate fate);
  // Of the step that the model has just made: its images are made and learned, too.
  void learn_twins(const Move& m, const StepMemo::Outcome& o);
  void compare_twins(unsigned exchange, const Twin& one, const Twin& other);
  bool define(unsigned exchange, Slot slot, Id from, Id to);
  bool alike(unsigned exchange, Slot slot, Id from, Id to) const;
  void not_symmetric(unsigned exchange) const;
  void tell_twins(const Move& m);
  void check_symmetric(const State& s);

  // Slots: the threads in their order, what the stepper counts, and those of SteppedState.
  Slot progress_slot() const { return static_cast<Slot>(threads_.size()); }
  Slot slot_of(replay::SteppedState::Slot s) const { return progress_slot() + 1 + s; }
  Slot slot_of_thread(uint32_t thread) const;
  // visit(move, property): what is made of the loaded state say made_ and made_hash_.
  template <class Visit>
  Fate each_made(const State& s, const Visit& visit) {
    telling_ = false;
    load(s);
    allowed();
    if (moves_.empty()) return Fate::kEnded;
    bool moved = false;
    for (const Move& m : moves_) {
      const StepMemo::Outcome o = run(m);
      if (!o.made) continue;
      moved = true;
      visit(m, o.property);
    }
    return moved ? Fate::kMoved : stuck();
  }

  // --- which steps are run where ---
  void note_kind(const Move& m, StepMemo::Outcome& o, std::span<const replay::Predicted> shown,
                 const std::array<uint64_t, StepOrders::kInsides>& before);

  static std::vector<uint32_t> threads_of(const Scenario& scenario);
  void load(const State& s);
  // Makes moves_ those that are tried in the loaded state, in the order of threads.
  void allowed();
  void moves_of(Slot thread);
  // What the loaded state becomes is what made_ says.
  StepMemo::Outcome run(const Move& m);
  // From what is known, else by the model, and then it is known.
  StepMemo::Outcome outcome_of(const Move& m);
  // What the model makes of it: asked_, and changes_ where it is made.
  StepMemo::Outcome run_model(const Move& m);
  void learn(const Move& m, const StepMemo::Outcome& o);
  uint32_t tree_of(const Move& m) const {
    return static_cast<uint32_t>(m.kind) * progress_slot() + slot_of_thread(m.thread);
  }
  void check(const Move& m, const StepMemo::Outcome& known,
             const std::vector<StepMemo::Change>& changes);
  uint64_t hash_of(std::span<const StepMemo::Change> changes) const;
  void follow_turn(const Move& m);
  State successor() const;
  bool can_move(uint32_t thread);

  // --- the stepper ---
  void put();  // makes its state the loaded one
  void put_thread(Slot thread);  // of that no more than these
  void put_progress();
  void put_shared();  // all but the threads: a step looks at no other thread
  Id content(Slot slot, const Turn& turn);
  Turn turn_of(Id progress) const { return kept(progress_slot(), progress).progress->turn; }
  const Kept& kept(Slot slot, Id id) const { return system_->contents_[slot].kept(id); }
  Id progress(const Progress& p);
  unsigned broken(uint32_t thread);
  Fate stuck() const;  // what it is that nothing can move

  const ScenarioSystem* system_;
  std::unique_ptr<Stepper> stepper_;
  std::vector<uint32_t> threads_;
  State loaded_;
  std::array<Id, kLanes> held_{};  // by the stepper
  std::vector<Move> moves_;
  std::vector<StepMemo::Change> changes_;     // of a step that the model has made
  std::vector<StepMemo::Change> found_;       // of one that is remembered
  std::span<const StepMemo::Change> made_{};  // of any, until the next one
  uint64_t made_hash_ = 0;                    // what they make of the state's
  // By thread: which kinds of moves fit what its lane holds (next to each other, as its contents are
  // not), and are left by what is counted; 0: not known yet.
  std::vector<std::vector<Stepper::Kinds>> fit_, left_;
  StepMemo steps_;  // what it has found out since settled_
  uint64_t settled_ = 0;
  model::Footprint footprint_;
  std::vector<Slot> asked_;
  bool last_can_move_ = false;  // the thread of the turn
  std::vector<Ran> ran_;
  ThreadFutures::Seen seen_;
  bool telling_ = false;        // the search expands a state
  StepOrders::Kind kind_ = 0;   // of the step that was told last
  const StepNote* note_ = nullptr;
  std::optional<Id> begun_of_;  // what is counted there
  std::vector<uint32_t> begun_;
  std::vector<ThreadFutures::Place> places_;  // where the threads are
  replay::SteppedState::OwnSlots own_slots_{};
  bool unfolded_ = false;  // successors are told as they are
  std::vector<State> images_;
  bool keeps_made_ = false;
  State made_itself_;
};

}  // namespace mmucheck::explore
