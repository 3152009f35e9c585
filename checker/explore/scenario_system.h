// Layer: checker/explore. Contract: a scenario as a system for Search: its states are those of a
// Stepper, its transitions what the moves of the threads make of them. A state is two numbers of a
// PartTable: whole, and what many states share is there once.
//
// A bound of preemptions: so often a thread may go on although the one that moved last could; the
// last thread and their number then belong to the state.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "checker/explore/part_table.h"
#include "checker/explore/search.h"
#include "checker/explore/stepper.h"

namespace mmucheck::explore {

// A step after which the model cannot say what is right; properties below are invariant::Ids.
inline constexpr unsigned kInDoubt = 0xfffffffdu;

class ScenarioSystem {
 public:
  static constexpr int kWords = 1;
  static constexpr uint32_t kBlock = 1024, kAlone = 8;
  using State = Words<1>;

  // Nothing may be broken or in doubt behind the prefix.
  ScenarioSystem(const Scenario& scenario, const model::Design* design, unsigned busy,
                 std::optional<unsigned> preemptions);

  unsigned bytes() const { return sizeof(State); }
  State initial() const { return initial_; }
  uint64_t hash(const State& s) const { return table_.hash_of_pair(left(s), right(s)); }
  static unsigned broken(const State&) { return kNothing; }
  uint64_t memory() const { return table_.memory(); }

  class Worker;
  Worker worker() const;

  // The moves that lead along a path, and then the `last_step`th one.
  std::vector<Move> moves(const std::vector<State>& path, std::optional<uint64_t> last_step) const;
  // Invariants that the workers have evaluated.
  uint64_t evaluated() const;

 private:
  // The thread that moved last, and the preemptions so far.
  struct Turn {
    uint32_t last = 0;
    unsigned used = 0;
    bool any = false;
  };
  struct Kept {
    Stepper::Part part;
    Turn turn;
  };
  using Table = PartTable<Kept>;
  static Table::Id left(const State& s) { return static_cast<Table::Id>(s[0] >> 32); }
  static Table::Id right(const State& s) { return static_cast<Table::Id>(s[0]); }
  void count(const invariant::Tally& tally) const;

  const Scenario& scenario_;
  const model::Design* design_;
  unsigned busy_;
  std::optional<unsigned> preemptions_;
  mutable Table table_;
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
    if (stepper_->over()) return Fate::kEnded;
    bool moved = false;
    for (const Move& m : allowed()) {
      load(s);
      if (!apply(m)) continue;
      moved = true;
      if (const unsigned property = broken(); property != kNothing) {
        steps.violates(property);
      } else {
        steps.made(state());
      }
    }
    return moved ? Fate::kMoved : Fate::kStuck;
  }

  // The move of `from` that leads to `to`; the `step`th of those that are none that wait.
  Move move_between(const State& from, const State& to);
  Move move_at(const State& from, uint64_t step);

 private:
  friend class ScenarioSystem;
  void load(const State& s);
  // The moves that are tried, in the order of threads; the state is loaded then.
  std::vector<Move> allowed();
  bool apply(const Move& m);
  unsigned broken();
  // The stepper's.
  State state();
  bool can_move(uint32_t thread);

  const ScenarioSystem* system_;
  std::unique_ptr<Stepper> stepper_;
  std::vector<Table::Id> now_;  // what the stepper holds; empty: it is not known
  State loaded_{};
  Turn turn_;
  bool last_can_move_ = false;  // the thread of `turn_`
};

}  // namespace mmucheck::explore
