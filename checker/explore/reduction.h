// Layer: checker/explore. Contract: reductions as wrappers of an Interleaving: the same machines,
// fewer of their states. What they keep: which properties are violated, deadlock among them, and in
// which states everything is over (under symmetry: one of those that differ in names only). A
// violation's path is one of the unreduced system, but not always a shortest one.
//
// Partial order: where the next step of one thread cannot matter to anything that the others can
// still do, it alone is taken. Its footprint must not conflict with the future of any other thread
// (not just with their next steps: futures.h), it must write no cell that broken() looks at, and
// one of its successors must be none that is known from this level or before, or else what the
// others do could be put off for ever. Footprints are those that steps showed; a search under which
// new ones show up is repeated.
//
// Symmetry: threads that run the same program are told apart by their cells only; of states that
// are permutations of one another one is kept, in which the blocks of cells are in order.
//
// Besides what an Interleaving asks for, the machines M say:
// - places(): how many program counters a thread has; place(store, thread): where it is.
// - symmetric(): groups of blocks of cells, a block a thread; blocks of a group are alike.
#pragma once

#include <algorithm>
#include <mutex>
#include <vector>

#include "checker/explore/block_order.h"
#include "checker/explore/exchange.h"
#include "checker/explore/footprint.h"
#include "checker/explore/futures.h"

namespace mmucheck::explore {

// A reduction is wrong: found by self_check.
inline constexpr unsigned kWrongReduction = 0xfffffffcu;

struct Reductions {
  bool partial_order = false;
  bool symmetry = false;
  // In every state: the steps that were put off commute with the one that was taken, and permuted
  // states have permuted successors.
  bool self_check = false;
};

// What the tests break.
struct NoFaults {
  static constexpr bool kForgetsReads = false;    // of cell 0
  static constexpr bool kNextStepsOnly = false;   // of other threads
  static constexpr bool kPutsOffForEver = false;  // no successor need be new
};

template <class M, int Width, class Faults = NoFaults>
class Reduced {
 public:
  static constexpr uint32_t kBlock = 32768, kAlone = 2048;
  using State = Words<Width>;
  using Codec = WordsCodec<Width>;

  Reduced(const M& machines, const Reductions& reductions)
      : machines_(machines),
        system_(machines),
        reductions_(reductions),
        groups_(machines.symmetric()),
        order_(system_.layout(), groups_),
        exchanges_(exchanges(groups_, system_.layout().cells(), program_counters())) {}

  Codec codec() const { return system_.codec(); }
  State initial() const { return canonical(system_.initial()); }
  uint64_t hash(const State& s) const { return hash_words(s); }
  unsigned broken(const State& s) const { return system_.broken(s); }
  uint64_t memory() const { return 0; }

  // After a search: something was seen that it did not know of, so it proves nothing. It is known
  // now.
  bool must_repeat() {
    vain_.begin();
    bool more = known_.join(learned_);
    more |= visible_.join(seen_visible_);
    while (reductions_.symmetry && know_of_all_alike()) {
    }
    known_.close();
    return more;
  }

  // Behind a block of a search, while nobody works: it must be repeated, and may as well be now.
  bool in_vain(uint64_t states) const { return vain_.behind_block(states); }

  class Worker;
  Worker worker() const { return Worker(*this); }

  // The first of its permutations.
  State canonical(const State& s) const { return reductions_.symmetry ? order_.first(s) : s; }

 private:
  using Cells = PackedCells<Width>;

  static std::vector<unsigned> values_of(const Cells& cells, const std::vector<CellNumber>& block) {
    std::vector<unsigned> values;
    for (const CellNumber c : block) values.push_back(cells.get(c));
    return values;
  }
  static void put(Cells& cells, const std::vector<CellNumber>& block,
                  const std::vector<unsigned>& values) {
    for (size_t i = 0; i < block.size(); i++) cells.set(block[i], values[i]);
  }
  using Learned = Futures<StepFootprint>;
  uint32_t place(unsigned thread, unsigned at) const { return thread * machines_.places() + at; }
  uint32_t exchanged(const Exchange& x, uint32_t at) const {
    return place(x.threads[at / machines_.places()], at % machines_.places());
  }
  // In a permuted state another thread of the group does the same: true when that was news.
  bool know_of_all_alike() {
    bool more = false;
    for (const Exchange& x : exchanges_) {
      const Learned known = known_;
      more |= known_.join(
          known, [&](uint32_t at) { return exchanged(x, at); },
          [&](const StepFootprint& f) { return x.of(f); });
      more |= visible_.join(x.of(visible_));
    }
    return more;
  }
  // The cell that tells where a thread is.
  std::vector<CellNumber> program_counters() const {
    std::vector<CellNumber> all;
    for (unsigned t = 0; t < machines_.threads(); t++) {
      StepFootprint looked;
      machines_.place(RecordingCells<Cells>(system_.cells(system_.initial()), looked), t);
      CellNumber c = 0;
      while (c < system_.layout().cells() && !looked.reads.has(c)) c++;
      all.push_back(c);
    }
    return all;
  }
  void note_news() const {
    const std::lock_guard<std::mutex> hold(lock_);
    vain_.news();
  }
  void take(const Learned& learned, const CellSet& visible) const {
    const std::lock_guard<std::mutex> hold(lock_);
    learned_.join(learned);
    seen_visible_.join(visible);
  }

  const M& machines_;
  Interleaving<M, Width> system_;
  Reductions reductions_;
  SymmetricBlocks groups_;
  BlockOrder<Width> order_;
  std::vector<Exchange> exchanges_;
  Learned known_;    // what this search reduces by
  CellSet visible_;  // cells that broken() looks at
  mutable std::mutex lock_;  // of what follows
  mutable InVain vain_;
  mutable Learned learned_;
  mutable CellSet seen_visible_;
};

template <class M, int Width, class Faults>
class Reduced<M, Width, Faults>::Worker {
 public:
  explicit Worker(const Reduced& all) : all_(all) {}
  Worker(const Worker&) = delete;
  ~Worker() { all_.take(learned_, visible_); }

  template <class Steps>
  Fate expand(const State& s, Steps& steps) {
    const Reductions& by = all_.reductions_;
    if (by.self_check && !symmetric(s)) steps.violates(kWrongReduction);
    if (!by.partial_order) return expand_all(s, steps);
    look(s);
    const unsigned threads = all_.machines_.threads();
    moves_.resize(threads);
    Candidates<Steps> candidates{*this, s, all_.system_.cells(s), steps};
    if (const auto t = thread_to_run_alone(threads, candidates, !Faults::kPutsOffForEver)) {
      if (by.self_check && !commutes(*t, s)) steps.violates(kWrongReduction);
      for (const State& next : moves_[*t].successors) steps.made(all_.canonical(next));
      return Fate::kMoved;
    }
    bool moved = false;
    for (const Moves& m : moves_) {
      moved |= !m.successors.empty();
      for (const State& next : m.successors) steps.made(all_.canonical(next));
    }
    return moved ? Fate::kMoved : all_.system_.at_rest(s);
  }
  // Without partial order reduction.
  template <class Steps>
  Fate expand_all(const State& s, Steps& steps) {
    return all_.system_.each_successor(
        s, [&](const State& next) { steps.made(all_.canonical(next)); });
  }

 private:
  struct Moves {
    std::vector<State> successors;
    StepFootprint touched;
  };

  // Into moves_.
  void run(const State& s, unsigned thread) {
    Moves& moves = moves_[thread];
    moves.successors.clear();
    moves.touched = {};
    const Cells before = all_.system_.cells(s);
    const uint32_t place = all_.place(thread, all_.machines_.place(before, thread));
    for (unsigned choice = 0;; choice++) {
      RecordingCells<Cells> next(before, moves.touched);
      const Stepped how = all_.machines_.step(next, thread, choice);
      if constexpr (Faults::kForgetsReads) forget(moves.touched, 0);
      const uint32_t to = all_.place(thread, all_.machines_.place(next.inner(), thread));
      if (learned_.learn(place, moves.touched, to) && !all_.known_.knows(place, moves.touched, to)) {
        all_.note_news();
      }
      if (how == Stepped::kBlocked) break;
      moves.successors.push_back(next.inner().state());
      if (how == Stepped::kRan) break;
    }
  }
  static void forget(StepFootprint& touched, CellNumber c) {
    CellSet others;
    for (CellNumber i = 0; i < kMaxRecordedCells; i++) {
      CellSet one;
      one.add(i);
      if (i != c && one.meets(touched.reads)) others.add(i);
    }
    touched.reads = others;
  }
  // Which cells broken() reads here.
  void look(const State& s) {
    StepFootprint looked;
    const RecordingCells<Cells> cells(all_.system_.cells(s), looked);
    all_.machines_.broken(cells);
    visible_.join(looked.reads);
  }

  template <class Steps>
  struct Candidates {  // what thread_to_run_alone() asks
    Worker& worker;
    const State& state;
    Cells cells;
    const Steps& steps;

    bool may_go(unsigned t) const {
      worker.run(state, t);
      const Moves& m = worker.moves_[t];
      return !m.successors.empty() && !m.touched.writes.meets(worker.all_.visible_);
    }
    bool conflict(unsigned t, unsigned other) const {
      const Reduced& all = worker.all_;
      const uint32_t at = all.place(other, all.machines_.place(cells, other));
      return worker.moves_[t].touched.conflicts(Faults::kNextStepsOnly ? all.known_.own(at)
                                                                       : all.known_.future(at));
    }
    bool leads_on(unsigned t) const {
      const std::vector<State>& all = worker.moves_[t].successors;
      return std::any_of(all.begin(), all.end(),
                         [&](const State& n) { return !steps.known(worker.all_.canonical(n)); });
    }
  };

  // --- self-check ---
  std::vector<State> plain_moves(const State& s, unsigned thread) const {
    std::vector<State> all;
    for (unsigned choice = 0;; choice++) {
      Cells next = all_.system_.cells(s);
      const Stepped how = all_.machines_.step(next, thread, choice);
      if (how == Stepped::kBlocked) break;
      all.push_back(next.state());
      if (how == Stepped::kRan) break;
    }
    return all;
  }
  // The steps of `t` and those of each other thread lead to the same states in either order.
  bool commutes(unsigned t, const State& s) const {
    for (unsigned o = 0; o < moves_.size(); o++) {
      if (o == t) continue;
      std::vector<State> one, other;
      for (const State& n : plain_moves(s, t)) {
        for (const State& both : plain_moves(n, o)) one.push_back(both);
      }
      for (const State& n : plain_moves(s, o)) {
        for (const State& both : plain_moves(n, t)) other.push_back(both);
      }
      std::sort(one.begin(), one.end());
      std::sort(other.begin(), other.end());
      if (one != other) return false;
    }
    return true;
  }
  std::vector<State> canonical_moves(const State& s) const {
    std::vector<State> all;
    for (unsigned t = 0; t < all_.machines_.threads(); t++) {
      for (const State& n : plain_moves(s, t)) all.push_back(all_.canonical(n));
    }
    std::sort(all.begin(), all.end());
    return all;
  }
  // Two neighbours exchanged: the same successors, the same property.
  bool symmetric(const State& s) const {
    if (!all_.reductions_.symmetry) return true;
    const std::vector<State> here = canonical_moves(s);
    for (const auto& blocks : all_.groups_) {
      for (size_t b = 1; b < blocks.size(); b++) {
        Cells cells = all_.system_.cells(s);
        const std::vector<unsigned> x = values_of(cells, blocks[b - 1]);
        const std::vector<unsigned> y = values_of(cells, blocks[b]);
        put(cells, blocks[b - 1], y);
        put(cells, blocks[b], x);
        if (all_.broken(cells.state()) != all_.broken(s)) return false;
        if (canonical_moves(cells.state()) != here) return false;
      }
    }
    return true;
  }

  const Reduced& all_;
  Learned learned_;
  CellSet visible_;
  std::vector<Moves> moves_;
};

}  // namespace mmucheck::explore
