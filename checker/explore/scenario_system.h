// Layer: checker/explore. Contract: a scenario as a system for Search: its states are those of a
// Stepper, its transitions what the moves of the threads make of them. A state is two numbers of a
// PartTable: whole, and what many states share is there once.
//
// The model runs a step only when what the step looks at is new (step_memo.h): else what it made of
// that is put together with the rest of the state, which it did not look at. That takes a footprint
// of everything it may look at: the cells, which the store tells, the thread itself, what is in no
// cell, and, where a move is more than a step, the numbers that the Stepper counts. How an
// operation begins depends on more, and is always run.
//
// A bound of preemptions: so often a thread may go on although the one that moved last could; the
// last thread and their number then belong to the state.
#pragma once

#include <memory>
#include <optional>
#include <shared_mutex>
#include <vector>

#include "checker/explore/part_table.h"
#include "checker/explore/search.h"
#include "checker/explore/slot_tree.h"
#include "checker/explore/step_memo.h"
#include "checker/explore/stepper.h"

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
  static constexpr int kWords = 1;
  static constexpr uint32_t kBlock = 1024, kAlone = 64;
  static constexpr uint64_t kWorkerShare = 8;  // of the memory for what is known of steps
  using State = Words<1>;

  struct Options {
    unsigned busy = 0;
    std::optional<unsigned> preemptions = std::nullopt;
    uint64_t max_memory = 0;  // of the process; 0: no bound
    std::optional<invariant::Id> only = std::nullopt;  // no other rule is looked at
    bool all = false;         // tell violations of a rule by different steps apart
    bool like_pages = false;  // pages differ by who allocated them, not by when
    // What is wrong throws std::logic_error: a step that depends on what its footprint lacks, a
    // table of parts that knows equal ones by several numbers.
    bool self_check = false;
    std::optional<replay::SteppedState::Slot> forgets =
        std::nullopt;  // what the tests break: no step looks there
  };

  // Nothing may be broken or in doubt behind the prefix.
  ScenarioSystem(const Scenario& scenario, const model::Design* design, const Options& options);

  unsigned bytes() const { return sizeof(State); }
  State initial() const { return initial_; }
  uint64_t hash(const State& s) const { return table_.hash_of_pair(left(s), right(s)); }
  static unsigned broken(const State&) { return kNothing; }
  uint64_t memory() const { return table_.memory(); }
  // What is known of steps, and what workers take for themselves.
  uint64_t working_bytes(unsigned workers) const {
    return memo_bytes_ + workers * (memo_bytes_ / kWorkerShare);
  }

  class Worker;
  Worker worker() const;

  // The moves that lead along a path, and then the `last_step`th one.
  std::vector<Move> moves(const std::vector<State>& path, std::optional<uint64_t> last_step) const;
  // Invariants that the workers have evaluated; of `only`, 1 or 0.
  uint64_t evaluated(std::optional<invariant::Id> only = std::nullopt) const;
  // While nobody works.
  void check_table() const;

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

    size_t bytes() const {
      return (thread == nullptr ? 0 : replay::SteppedState::bytes_of(*thread)) +
             (progress == nullptr ? 0 : sizeof(Progress) + progress->own.begun.size() * 64);
    }
  };
  using Table = PartTable<Kept>;
  static Table::Id left(const State& s) { return static_cast<Table::Id>(s[0] >> 32); }
  static Table::Id right(const State& s) { return static_cast<Table::Id>(s[0]); }
  void count(const invariant::Tally& tally) const;

  const Scenario& scenario_;
  const model::Design* design_;
  Options options_;
  uint64_t memo_bytes_;
  mutable Table table_;
  mutable std::shared_mutex steps_lock_;  // of what follows: workers share what they found out
  mutable StepMemo steps_;
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
    load(s);
    allowed();
    if (moves_.empty()) return Fate::kEnded;
    bool moved = false;
    for (const Move& m : moves_) {
      const StepMemo::Outcome o = run(m);
      if (!o.made) continue;
      moved = true;
      if (o.property != kNothing) {
        steps.violates(o.property);
      } else {
        steps.made(successor());
      }
    }
    return moved ? Fate::kMoved : stuck();
  }
  // The same, a move each: visit(move, property, successor); it has none where a property is broken.
  template <class Visit>
  Fate each(const State& s, const Visit& visit) {
    load(s);
    allowed();
    if (moves_.empty()) return Fate::kEnded;
    bool moved = false;
    for (const Move& m : moves_) {
      const StepMemo::Outcome o = run(m);
      if (!o.made) continue;
      moved = true;
      visit(m, o.property, o.property == kNothing ? successor() : State{});
    }
    return moved ? Fate::kMoved : stuck();
  }
  // Its stepper, in that state.
  const Stepper& at(const State& s) {
    load(s);
    put();
    return *stepper_;
  }

  // The move of `from` that leads to `to`; the `step`th of those that are none that wait.
  Move move_between(const State& from, const State& to);
  Move move_at(const State& from, uint64_t step);

 private:
  friend class ScenarioSystem;
  using Id = Table::Id;
  using Slot = StepMemo::Slot;

  // Slots: the threads in their order, what the stepper counts, and those of SteppedState.
  Slot progress_slot() const { return static_cast<Slot>(threads_.size()); }
  Slot slot_of(replay::SteppedState::Slot s) const { return progress_slot() + 1 + s; }
  Slot slot_of_thread(uint32_t thread) const;

  static std::vector<uint32_t> threads_of(const Scenario& scenario);
  void load(const State& s);
  // Makes moves_ those that are tried in the loaded state, in the order of threads.
  void allowed();
  void moves_of(Slot thread);
  // What the loaded state becomes is what changes_ says.
  StepMemo::Outcome run(const Move& m);
  // What the model makes of it: asked_, and changes_ where it is made.
  StepMemo::Outcome run_model(const Move& m);
  void check(const Move& m, const StepMemo::Outcome& known,
             const std::vector<StepMemo::Change>& changes);
  void follow_turn(const Move& m);
  State successor();
  Id changed_rest();
  bool can_move(uint32_t thread);

  // --- the stepper ---
  void put();  // makes its state the loaded one
  Id content(Slot slot);
  Id progress(const Progress& p);
  unsigned broken(uint32_t thread);
  Fate stuck() const;  // what it is that nothing can move

  const ScenarioSystem* system_;
  std::unique_ptr<Stepper> stepper_;
  std::vector<uint32_t> threads_;
  std::unique_ptr<Id[]> loaded_, held_;       // by slot: of the loaded state, of the stepper's
  SlotTree<Table> threads_tree_, rest_tree_;  // of the loaded state
  std::vector<Move> moves_;
  std::vector<StepMemo::Change> changes_;
  StepMemo kinds_;  // of moves, by thread
  // What a tree became by the changes of an outcome, the last time.
  struct Became {
    Id from = 0;
    uint32_t outcome = 0, generation = 0;
    Id to = 0;
  };
  std::vector<Became> became_;
  uint32_t generation_ = 0;          // of what is known of steps, when outcome_ was found
  std::optional<uint32_t> outcome_;  // whose changes changes_ has, and no others
  model::Footprint footprint_;
  std::vector<Slot> asked_;
  bool last_can_move_ = false;  // the thread of the turn
};

}  // namespace mmucheck::explore
