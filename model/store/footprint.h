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

constexpr bool commute(uint8_t a, uint8_t b) {
  return (a == kRead && b == kRead) || (a == kCount && b == kCount) ||
         (a == kReadLock && b == kReadLock);
}

class Footprint {
 public:
  void clear() { touches_.clear(); }
  const std::vector<Touch>& touches() const { return touches_; }  // in order of first use

  void add(Cell c, Use use) {
    for (Touch& t : touches_) {
      if (t.cell == c) {
        t.uses |= use;
        return;
      }
    }
    touches_.push_back({c, use});
  }
  // 0 when the cell was not touched.
  uint8_t uses(Cell c) const {
    for (const Touch& t : touches_)
      if (t.cell == c) return t.uses;
    return 0;
  }
  bool depends_on(const Footprint& o) const {
    for (const Touch& t : touches_) {
      const uint8_t other = o.uses(t.cell);
      if (other != 0 && !commute(t.uses, other)) return true;
    }
    return false;
  }

 private:
  std::vector<Touch> touches_;
};

}  // namespace mmucheck::model
