// Layer: checker/explore. Contract: a scenario whose threads are moved one step at a time, with its
// state to save, to come back to and to compare. Moves are the packets of a trace (a stimulus, or
// `step { machine: true }`), run by the replayer of hand-written traces: a path is a trace.
//
// A move of a thread begins its next operation (the look at guest memory or memslots that starts
// it), or is one atomic step of its machine: from one MMU_STEP of the model to the next. Coming to
// mmu_lock ends a step; taking it begins the next, which nobody can do who would have to wait.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "checker/explore/scenario.h"
#include "checker/replay/synthetic/stepped_state.h"

namespace mmucheck::explore {

enum class MoveKind : uint8_t {
  kBegin,
  kStep,
  kBusy,   // a step in which a SEAMCALL answers OPERAND_BUSY without looking
  kYield,  // a step in which a walk drops mmu_lock
};

struct Move {
  uint32_t thread = 0;
  MoveKind kind = MoveKind::kStep;
  bool operator==(const Move&) const = default;
};

class Stepper {
 public:
  // What is no state of the replayer.
  struct Own {
    std::map<uint32_t, size_t> begun;  // operations
    unsigned busy = 0;                 // SEAMCALLs that were without a cause
    unsigned yields = 0;
  };
  struct State {
    replay::SteppedState replay;
    Own own;
  };
  // Runs the prefix. `scenario` and `design` (nullptr: as the scenario says) must outlive this.
  // `busy`: how many SEAMCALLs may answer BUSY without a cause in the model.
  Stepper(const Scenario& scenario, const model::Design* design, unsigned busy);

  State save() const { return {replay::SteppedState(*replayer_), own_}; }
  void restore(const State& s);
  // Equal parts: the same future. Lengths vary.
  std::vector<std::string> parts() const;

  // --- slot by slot (stepped_state.h) ---
  const Own& own() const { return own_; }
  void set_own(const Own& own) { own_ = own; }
  static std::string content_of(const Own& own);
  replay::SyntheticReplayer& slots() { return *replayer_; }

  // Those to try in this state, in the order of threads: of the kinds that fit where a thread is
  // those of which there are some left, by what is counted.
  std::vector<Move> moves() const;
  // Kinds of moves, a bit each.
  using Kinds = uint8_t;
  static constexpr Kinds bit(MoveKind kind) { return static_cast<Kinds>(1u << unsigned(kind)); }
  static constexpr unsigned kMoveKinds = 4;
  Kinds kinds_that_fit(uint32_t thread) const;
  Kinds kinds_left(uint32_t thread) const;
  // False where the thread waits for a lock, or has nowhere to yield: what it has done up to there is
  // no state of its own.
  bool apply(const Move& m);
  // The packets that do `m` in this state.
  std::vector<Packet> packets(const Move& m) const;
  // Every thread has come to the end of its operations.
  bool over() const;

  // What was broken since the last call.
  std::vector<report::Violation> take_violations();
  // Why the scenario cannot be judged, since the last call; empty: it can.
  std::vector<std::string> take_doubts();
  const replay::SyntheticReplayer& replayer() const { return *replayer_; }

 private:
  const Scenario& scenario_;
  std::unique_ptr<replay::SyntheticReplayer> replayer_;
  unsigned busy_limit_;
  Own own_;
};

}  // namespace mmucheck::explore
