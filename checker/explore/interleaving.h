// Layer: checker/explore. Contract: threads that are step machines over cells, in every order, as a
// system for Search. A cell is a number from 0 on and has some bits; all locals of the machines are
// cells too. The machines M say:
//   threads()                      how many
//   cells()                        the bits of each cell, 1 to 32; all are 0 in the first state
//   step(store, thread, choice)    one atomic step, or the one of several that `choice` (from 0)
//                                  names. What blocks has changed nothing.
//   broken(store)                  a property that the state breaks, or kNothing
//   over(store)                    it is no deadlock when nothing can move
// for any store with get(cell) and set(cell, value).
#pragma once

#include <vector>

#include "checker/explore/search.h"

namespace mmucheck::explore {

using CellNumber = unsigned;

enum class Stepped : uint8_t {
  kBlocked,
  kRan,
  kRanOne,  // and there is a next choice
};

// Where cells lie in the words of a state: no cell crosses a word, small ones fill what is left.
class CellLayout {
 public:
  struct Field {
    uint32_t mask;
    uint8_t word, shift;
  };
  explicit CellLayout(const std::vector<unsigned>& bits);

  const Field* fields() const { return fields_.data(); }
  unsigned cells() const { return static_cast<unsigned>(fields_.size()); }
  unsigned bytes() const { return bytes_; }
  unsigned words() const { return (bytes_ + 7) / 8; }

 private:
  std::vector<Field> fields_;
  unsigned bytes_ = 1;
};

template <int W>
class PackedCells {
 public:
  PackedCells(const CellLayout::Field* fields, const Words<W>& state)
      : fields_(fields), state_(state) {}
  unsigned get(CellNumber c) const {
    const CellLayout::Field f = fields_[c];
    return static_cast<uint32_t>(state_[f.word] >> f.shift) & f.mask;
  }
  void set(CellNumber c, unsigned v) {
    const CellLayout::Field f = fields_[c];
    uint64_t& word = state_[f.word];
    word = (word & ~(uint64_t{f.mask} << f.shift)) | uint64_t{v} << f.shift;
  }
  const Words<W>& state() const { return state_; }

 private:
  const CellLayout::Field* fields_;
  Words<W> state_;
};

template <class M, int Width>
class Interleaving {
 public:
  using State = Words<Width>;
  using Codec = WordsCodec<Width>;
  static constexpr uint32_t kBlock = 65536, kAlone = 2048;

  explicit Interleaving(const M& machines) : machines_(machines), layout_(machines.cells()) {}

  const CellLayout& layout() const { return layout_; }
  unsigned bytes() const { return std::max(layout_.bytes(), 8u * (Width - 1) + 1); }
  Codec codec() const { return Codec(bytes()); }
  State initial() const { return {}; }
  uint64_t hash(const State& s) const { return hash_words(s); }
  uint64_t memory() const { return 0; }
  unsigned broken(const State& s) const { return machines_.broken(cells(s)); }

  struct Worker {
    const Interleaving& system;
    template <class Steps>
    Fate expand(const State& s, Steps& steps) {
      return system.each_successor(s, [&](const State& next) { steps.made(next); });
    }
  };
  Worker worker() const { return {*this}; }

  PackedCells<Width> cells(const State& s) const { return {layout_.fields(), s}; }
  const M& machines() const { return machines_; }

  // visit(successor), for each step of each thread.
  template <class Visit>
  Fate each_successor(const State& s, const Visit& visit) const {
    bool moved = false;
    for (unsigned thread = 0; thread < machines_.threads(); thread++) {
      for (unsigned choice = 0;; choice++) {
        PackedCells<Width> next = cells(s);
        const Stepped how = machines_.step(next, thread, choice);
        if (how == Stepped::kBlocked) break;
        moved = true;
        visit(next.state());
        if (how == Stepped::kRan) break;
      }
    }
    return moved ? Fate::kMoved : at_rest(s);
  }
  // Of a state in which nothing moves.
  Fate at_rest(const State& s) const {
    return machines_.over(cells(s)) ? Fate::kEnded : Fate::kStuck;
  }

 private:
  const M& machines_;
  CellLayout layout_;
};

}  // namespace mmucheck::explore
