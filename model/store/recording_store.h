// model/store: a wrapper of either store that records the footprint of a step: which cells it read
// and wrote. Partial-order reduction and the scheduling of invariants use it.
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

template <class Store>
class RecordingStore {
 public:
  explicit RecordingStore(Store& store) : store_(store) {}

  Footprint& footprint() { return footprint_; }
  Store& inner() { return store_; }

  uint64_t get(Cell c) const {
    // The holder of the read side who looks whether it is held reads nothing that others change.
    footprint_.add(c, c.kind == CellKind::kLockReaders ? kReadLock : kRead);
    return store_.get(c);
  }
  void set(Cell c, uint64_t v) {
    footprint_.add(c, kWrite);
    store_.set(c, v);
  }
  bool cas(Cell c, uint64_t& expected, uint64_t desired) {
    footprint_.add(c, kRead);
    const bool made = store_.cas(c, expected, desired);
    if (made) footprint_.add(c, kWrite);
    return made;
  }
  uint64_t add(Cell c, uint64_t delta) {
    if (is_counter(c.kind)) {
      footprint_.add(c, kCount);
    } else if (c.kind == CellKind::kLockReaders) {
      footprint_.add(c, kReadLock);
    } else {
      footprint_.add(c, kRead);
      footprint_.add(c, kWrite);
    }
    return store_.add(c, delta);
  }

  uint32_t alloc_table(uint64_t frame) {
    const uint32_t table = store_.alloc_table(frame);
    touch_frame(frame, kWrite);
    if (table != kNoTable) footprint_.add(cell::of(CellKind::kSpState, table), kWrite);
    return table;
  }
  void free_table(uint32_t table) {
    if (!store_.is_live(table)) return;
    touch_frame(store_.get(cell::of(CellKind::kSpPfn, table)), kWrite);
    footprint_.add(cell::of(CellKind::kSpState, table), kWrite);
    store_.free_table(table);
  }
  bool move_table(uint32_t table, uint64_t frame) {
    touch_frame(frame, kWrite);
    if (store_.is_live(table)) touch_frame(store_.get(cell::of(CellKind::kSpPfn, table)), kWrite);
    return store_.move_table(table, frame);
  }
  uint32_t find_table(uint64_t frame) const {
    touch_frame(frame, kRead);
    return store_.find_table(frame);
  }
  bool is_live(uint32_t table) const {
    footprint_.add(cell::of(CellKind::kSpState, table), kRead);
    return store_.is_live(table);
  }
  uint64_t poisoned_reads() const { return store_.poisoned_reads(); }

 private:
  void touch_frame(uint64_t frame, Use use) const {
    footprint_.add(cell::of(CellKind::kSpPfn, kNoTable, frame), use);
  }

  Store& store_;
  mutable Footprint footprint_;
};

}  // namespace mmucheck::model
