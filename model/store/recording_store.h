// model/store: a wrapper of either store that records the footprint of a step (footprint.h).
#pragma once

#include <cstdint>

#include "model/store/footprint.h"

namespace mmucheck::model {

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
    footprint_.add(c, uses_of_add(c.kind));
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
