// model/store: the footprint of a step: which cells it read and wrote. Partial-order reduction, the
// scheduling of invariants and the memory of a search use it. RecordingStore and RadixStore fill
// it.
//
// A touch is a cell and how it was used. Two uses of one cell commute when both only read it, both
// only count (statistics that no step reads back in the same breath), or both only take or drop the
// read side of mmu_lock. Allocation, release and lookup of a table touch its state, and the frame
// as a cell of its own (object kNoTable): a lookup that finds nothing depends on an allocation.
#pragma once

#include <cstdint>
#include <vector>

#include "model/store/cell.h"

namespace mmucheck::model {

enum Use : uint8_t { kRead = 1, kWrite = 2, kCount = 4, kReadLock = 8 };

struct Touch {
  Cell cell;
  uint8_t uses = 0;  // of Use
};

// Cells that are only ever added to, and whose sum no operation of the TDP MMU looks at.
constexpr bool is_counter(CellKind kind) {
  return kind == CellKind::kPageStat || kind == CellKind::kTdpMmuPages ||
         kind == CellKind::kNxShadowCount;
}

// What is added to is read and written, but for counters and the read side of mmu_lock.
constexpr uint8_t uses_of_add(CellKind kind) {
  if (is_counter(kind)) return kCount;
  return kind == CellKind::kLockReaders ? kReadLock : kRead | kWrite;
}

constexpr bool commute(uint8_t a, uint8_t b) {
  return (a == kRead && b == kRead) || (a == kCount && b == kCount) ||
         (a == kReadLock && b == kReadLock);
}

class Footprint {
 public:
  void clear() {
    touches_.clear();
    places_.clear();
  }
  const std::vector<Touch>& touches() const { return touches_; }  // in order of first use

  void add(Cell c, uint8_t uses) {  // of Use
    if (const size_t at = find(c); at < touches_.size()) {
      touches_[at].uses |= uses;
      return;
    }
    touches_.push_back({c, uses});
    if (touches_.size() <= kFew) return;
    if (touches_.size() * 2 <= places_.size()) return place(touches_.size() - 1);
    places_.assign(touches_.size() * 4, 0);
    for (size_t i = 0; i < touches_.size(); i++) place(i);
  }
  // 0 when the cell was not touched.
  uint8_t uses(Cell c) const {
    const size_t at = find(c);
    return at < touches_.size() ? touches_[at].uses : 0;
  }
  bool depends_on(const Footprint& o) const {
    for (const Touch& t : touches_) {
      const uint8_t other = o.uses(t.cell);
      if (other != 0 && !commute(t.uses, other)) return true;
    }
    return false;
  }

 private:
  static constexpr size_t kFew = 24;  // are looked through; a table that is filled is more

  size_t home(Cell c) const {
    const uint64_t name = static_cast<uint64_t>(c.kind) << 32 | c.object;
    return ((name * 0x9e3779b97f4a7c15ull ^ c.index) * 0xd6e8feb86659fd93ull >> 32) %
           places_.size();
  }
  // touches_.size(): it is not there.
  size_t find(Cell c) const {
    if (places_.empty()) {
      size_t i = 0;
      while (i < touches_.size() && !(touches_[i].cell == c)) i++;
      return i;
    }
    size_t i = home(c);
    while (places_[i] != 0 && !(touches_[places_[i] - 1].cell == c)) i = (i + 1) % places_.size();
    return places_[i] == 0 ? touches_.size() : places_[i] - 1;
  }
  void place(size_t touch) {
    size_t i = home(touches_[touch].cell);
    while (places_[i] != 0) i = (i + 1) % places_.size();
    places_[i] = static_cast<uint32_t>(touch + 1);
  }

  std::vector<Touch> touches_;
  std::vector<uint32_t> places_;  // by hash of the cell: place in touches_, + 1; empty: few
};

}  // namespace mmucheck::model
