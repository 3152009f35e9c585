// Layer: checker/explore. Contract: what a step touches, as the code itself shows when it runs over
// RecordingCells, and what a thread can still touch, learned place by place.
//
// A *place* is a thread's program counter. Of each place are known the cells that its steps,
// blocked ones too, have touched, and the places they led to; the future of a place is all that the
// places behind it touch, and itself. What is learned while a search reduces by what was known
// before makes the search invalid: it is repeated with all that is known by then (reduction.h).
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "checker/explore/interleaving.h"

namespace mmucheck::explore {

inline constexpr unsigned kMaxRecordedCells = 256;

class CellSet {
 public:
  void add(CellNumber c) { words_.at(c / 64) |= uint64_t{1} << c % 64; }
  bool meets(const CellSet& o) const {
    uint64_t both = 0;
    for (size_t i = 0; i < words_.size(); i++) both |= words_[i] & o.words_[i];
    return both != 0;
  }
  // True when that made it larger.
  bool join(const CellSet& o) {
    uint64_t more = 0;
    for (size_t i = 0; i < words_.size(); i++) {
      more |= o.words_[i] & ~words_[i];
      words_[i] |= o.words_[i];
    }
    return more != 0;
  }

 private:
  std::array<uint64_t, kMaxRecordedCells / 64> words_{};
};

struct StepFootprint {
  CellSet reads, writes;

  // Of two steps: the order may matter.
  bool conflicts(const StepFootprint& o) const {
    return writes.meets(o.writes) || writes.meets(o.reads) || reads.meets(o.writes);
  }
  bool join(const StepFootprint& o) {
    const bool more = reads.join(o.reads);
    return writes.join(o.writes) || more;
  }
};

// A store that records.
template <class Store>
class RecordingCells {
 public:
  RecordingCells(const Store& store, StepFootprint& footprint)
      : store_(store), footprint_(footprint) {}

  unsigned get(CellNumber c) const {
    footprint_.reads.add(c);
    return store_.get(c);
  }
  void set(CellNumber c, unsigned v) {
    footprint_.writes.add(c);
    store_.set(c, v);
  }
  const Store& inner() const { return store_; }

 private:
  Store store_;
  StepFootprint& footprint_;
};

// Of all threads, `places` each.
class Futures {
 public:
  Futures(unsigned threads, unsigned places)
      : places_(places), own_(threads * places), next_(threads * places), future_(own_) {
    for (std::vector<bool>& to : next_) to.resize(places);
  }

  // A step of `thread` at `place`, and where it led to (itself when it blocked).
  void learn(unsigned thread, unsigned place, const StepFootprint& touched, unsigned to) {
    own_[at(thread, place)].join(touched);
    next_[at(thread, place)][to] = true;
  }
  // True when `o` knows anything that this does not; it does then.
  bool join(const Futures& o) {
    bool more = false;
    for (size_t i = 0; i < own_.size(); i++) {
      more |= own_[i].join(o.own_[i]);
      for (unsigned to = 0; to < places_; to++) {
        if (!o.next_[i][to] || next_[i][to]) continue;
        next_[i][to] = true;
        more = true;
      }
    }
    if (more) close();
    return more;
  }
  const StepFootprint& own(unsigned thread, unsigned place) const {
    return own_[at(thread, place)];
  }
  const StepFootprint& future(unsigned thread, unsigned place) const {
    return future_[at(thread, place)];
  }

 private:
  size_t at(unsigned thread, unsigned place) const { return size_t{thread} * places_ + place; }
  void close() {
    future_ = own_;
    for (bool more = true; more;) {
      more = false;
      for (size_t i = 0; i < own_.size(); i++) {
        const size_t first = i - i % places_;
        for (unsigned to = 0; to < places_; to++) {
          if (next_[i][to]) more |= future_[i].join(future_[first + to]);
        }
      }
    }
  }

  unsigned places_;
  std::vector<StepFootprint> own_;
  std::vector<std::vector<bool>> next_;
  std::vector<StepFootprint> future_;
};

}  // namespace mmucheck::explore
