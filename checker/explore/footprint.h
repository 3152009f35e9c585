// Layer: checker/explore. Contract: what a step touches, as the code itself shows when it runs over
// RecordingCells.
#pragma once

#include <array>
#include <cstdint>

#include "checker/explore/interleaving.h"

namespace mmucheck::explore {

inline constexpr unsigned kMaxRecordedCells = 256;

class CellSet {
 public:
  void add(CellNumber c) { words_.at(c / 64) |= uint64_t{1} << c % 64; }
  bool has(CellNumber c) const { return (words_.at(c / 64) >> c % 64 & 1) != 0; }
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

}  // namespace mmucheck::explore
