// model/store: the sparse store that replay uses: page tables on demand, everything else in maps.
//
// Contract: get of a cell never written gives 0, but for entries of a fresh table, which hold
// kNonpresent. alloc_table gives the lowest free id; free_table poisons it: a
// later get of one of its cells counts in poisoned_reads() and gives 0. Live tables: at most
// kMaxTables (documented limit; alloc_table then answers kNoTable). record() makes it tell what is
// touched from then on; a table's cell is touched together with the table's life (life_of()), and
// who allocates or frees touches {kSpState, kNoTable, number} too: whether that number is free.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>
#include <set>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "model/spte/format.h"
#include "model/store/cell.h"
#include "model/store/footprint.h"

namespace mmucheck::model {

class RadixStore {
 public:
  RadixStore() = default;
  RadixStore(const RadixStore& o);
  RadixStore& operator=(const RadixStore& o);

  static constexpr uint32_t kMaxTables = 1u << 22;

  uint64_t get(Cell c) const;
  void set(Cell c, uint64_t v);
  // Compare and exchange; `expected` receives what was found.
  bool cas(Cell c, uint64_t& expected, uint64_t desired);
  // The new value; who only adds, and does not look at it, counts.
  class Sum {
   public:
    Sum(const RadixStore& store, Cell c, uint64_t v) : store_(store), cell_(c), v_(v) {}
    operator uint64_t() const {  // NOLINT: it is one
      store_.touch(cell_, kRead);
      return v_;
    }

   private:
    const RadixStore& store_;
    Cell cell_;
    uint64_t v_;
  };
  Sum add(Cell c, uint64_t delta);
  // A shared attempt at a lock word, or its end, which is `rule` of the word: two of them commute.
  // The word that was found.
  template <class Rule>
  uint64_t share(Cell c, const Rule& rule) {
    if (footprint_ != nullptr) [[unlikely]]
      note(c, kReadLock);
    const uint64_t found = peek(c);
    if (const uint64_t after = rule(found); after != found) put(c, after);
    return found;
  }

  // Tables get the lowest free number from `first` on; a copy of the store does not take that over.
  void allocate_from(uint32_t first) { first_id_ = first; }
  // `pfn` names the page frame; kNoTable when the limit is reached or the frame is a live table.
  uint32_t alloc_table(uint64_t pfn);
  void free_table(uint32_t table);
  // Gives a live table another frame; false when that frame is a live table's.
  bool move_table(uint32_t table, uint64_t pfn);
  // The table that lives in frame `pfn`, or kNoTable.
  uint32_t find_table(uint64_t pfn) const;
  // A table that is not live becomes it, with the cells that for_each() showed of it: its frame is
  // no live table's.
  void put_table(uint32_t table, std::span<const std::pair<Cell, uint64_t>> cells);
  bool is_live(uint32_t table) const {
    if (footprint_ != nullptr) [[unlikely]]
      note_table(table, kRead);
    return live(table);
  }

  // Visits what makes the store's content, in an order that depends on the content only:
  // table(id) for each live table, then cell(Cell, value) for its cells that are not those of a
  // fresh table; after the last, table(kNoTable) and all other cells that are not 0.
  template <class TableF, class CellF>
  void for_each(TableF table, CellF cell) const;
  // The same of one table, live or not, and of the cells of no table whose kind is `wanted(kind)`.
  template <class CellF>
  void for_table(uint32_t id, CellF cell) const;
  template <class CellF, class Wanted>
  void for_others(CellF cell, Wanted wanted) const;

  // Of what is touched from here on; nullptr: of nothing. A copy of the store tells nothing.
  void record(Footprint* footprint) { footprint_ = footprint; }
  // Whether a table lives, as a cell of its own: all that is done to one depends on that.
  static constexpr Cell life_of(uint32_t table) {
    return cell::of(CellKind::kSpRole, kNoTable, kLives | table);
  }
  static constexpr uint64_t kLives = uint64_t{1} << 32;
  // By who keeps what belongs to the state elsewhere, under a name that no cell has.
  void touch(Cell c, Use use) const {
    if (footprint_ != nullptr) [[unlikely]]
      footprint_->add(c, use);
  }

  uint64_t poisoned_reads() const { return poisoned_reads_; }
  uint32_t live_tables() const { return live_; }
  uint32_t table_bound() const { return static_cast<uint32_t>(tables_.size()); }

 private:
  static constexpr size_t kTableFields =
      static_cast<size_t>(kLastTableField) - static_cast<size_t>(kFirstTableField) + 1;
  static constexpr size_t kScalars =
      static_cast<size_t>(kLastScalar) - static_cast<size_t>(kFirstScalar) + 1;
  struct Table {
    std::array<uint64_t, 512> pte;
    std::array<uint64_t, kTableFields> field{};
  };
  struct Key {
    uint64_t a, b;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const {
      uint64_t h = (k.a ^ (k.b * 0x9e3779b97f4a7c15ull)) * 0xbf58476d1ce4e5b9ull;
      return static_cast<size_t>(h ^ (h >> 31));
    }
  };
  bool live(uint32_t table) const { return table < tables_.size() && tables_[table] != nullptr; }
  void note(Cell c, uint8_t uses) const {
    if (c.kind <= kLastTableField) note_table(c.object, kRead);
    footprint_->add(c, uses);
  }
  void note_table(uint32_t table, Use use) const { footprint_->add(life_of(table), use); }
  // Is the number of a table free?
  void note_number(uint32_t table, Use use) const {
    footprint_->add(cell::of(CellKind::kSpState, kNoTable, table), use);
  }
  void note_frame(uint64_t frame, Use use) const {
    footprint_->add(cell::of(CellKind::kSpPfn, kNoTable, frame), use);
  }
  // Get and set that tell nothing.
  uint64_t peek(Cell c) const;
  void put(Cell c, uint64_t v);
  static Key key(Cell c) { return {static_cast<uint64_t>(c.kind) << 32 | c.object, c.index}; }

  std::vector<std::unique_ptr<Table>> tables_;
  std::set<uint32_t> free_ids_;
  std::unordered_map<uint64_t, uint32_t> by_pfn_;
  std::array<uint64_t, kScalars> scalar_{};
  std::unordered_map<Key, uint64_t, KeyHash> sparse_;
  uint32_t live_ = 0;
  mutable uint64_t poisoned_reads_ = 0;
  Footprint* footprint_ = nullptr;
  uint32_t first_id_ = 0;  // that may be allocated
};

template <class TableF, class CellF>
void RadixStore::for_each(TableF table, CellF cell) const {
  for (uint32_t id = 0; id < tables_.size(); id++) {
    if (tables_[id] == nullptr) continue;
    table(id);
    for_table(id, cell);
  }
  table(kNoTable);
  for_others(cell, [](CellKind) { return true; });
}

template <class CellF>
void RadixStore::for_table(uint32_t id, CellF cell) const {
  if (!live(id)) return;
  const auto first = static_cast<size_t>(kFirstTableField);
  for (size_t i = 0; i < kTableFields; i++) {
    const uint64_t v = tables_[id]->field[i];
    if (v != 0) cell(Cell{static_cast<CellKind>(first + i), id, 0}, v);
  }
  for (uint32_t i = 0; i < tables_[id]->pte.size(); i++) {
    const uint64_t v = tables_[id]->pte[i];
    if (v != kNonpresent) cell(Cell{CellKind::kPte, id, i}, v);
  }
}

template <class CellF, class Wanted>
void RadixStore::for_others(CellF cell, Wanted wanted) const {
  for (size_t i = 0; i < kScalars; i++) {
    const auto kind = static_cast<CellKind>(static_cast<size_t>(kFirstScalar) + i);
    if (scalar_[i] != 0 && wanted(kind)) cell(Cell{kind, 0, 0}, scalar_[i]);
  }
  std::vector<std::pair<Key, uint64_t>> rest;
  for (const auto& [k, v] : sparse_) {
    if (v != 0 && wanted(static_cast<CellKind>(k.a >> 32))) rest.emplace_back(k, v);
  }
  std::sort(rest.begin(), rest.end(), [](const auto& x, const auto& y) {
    return std::pair(x.first.a, x.first.b) < std::pair(y.first.a, y.first.b);
  });
  for (const auto& [k, v] : rest) {
    cell(Cell{static_cast<CellKind>(k.a >> 32), static_cast<uint32_t>(k.a), k.b}, v);
  }
}

inline uint64_t RadixStore::get(Cell c) const {
  if (footprint_ != nullptr) [[unlikely]]
    note(c, kRead);
  return peek(c);
}

inline uint64_t RadixStore::peek(Cell c) const {
  if (c.kind == CellKind::kPte) {
    if (!live(c.object)) [[unlikely]] {
      poisoned_reads_++;
      return 0;
    }
    return tables_[c.object]->pte[c.index];
  }
  if (c.kind <= kLastTableField) {
    if (!live(c.object)) [[unlikely]] {
      poisoned_reads_++;
      return 0;
    }
    return tables_[c.object]
        ->field[static_cast<size_t>(c.kind) - static_cast<size_t>(kFirstTableField)];
  }
  if (c.kind <= kLastScalar) {
    return scalar_[static_cast<size_t>(c.kind) - static_cast<size_t>(kFirstScalar)];
  }
  const auto it = sparse_.find(key(c));
  return it == sparse_.end() ? 0 : it->second;
}

inline void RadixStore::set(Cell c, uint64_t v) {
  if (footprint_ != nullptr) [[unlikely]]
    note(c, kWrite);
  put(c, v);
}

inline void RadixStore::put(Cell c, uint64_t v) {
  if (c.kind == CellKind::kPte) {
    if (live(c.object)) tables_[c.object]->pte[c.index] = v;
  } else if (c.kind <= kLastTableField) {
    if (live(c.object)) {
      tables_[c.object]
          ->field[static_cast<size_t>(c.kind) - static_cast<size_t>(kFirstTableField)] = v;
    }
  } else if (c.kind <= kLastScalar) {
    scalar_[static_cast<size_t>(c.kind) - static_cast<size_t>(kFirstScalar)] = v;
  } else if (v == 0) {
    // Locks of the module come and go with every call: their cells stay.
    if (c.kind < kFirstModuleCell) {
      sparse_.erase(key(c));
    } else if (const auto it = sparse_.find(key(c)); it != sparse_.end()) {
      it->second = 0;
    }
  } else {
    sparse_[key(c)] = v;
  }
}

inline bool RadixStore::cas(Cell c, uint64_t& expected, uint64_t desired) {
  const uint64_t found = get(c);
  if (found != expected) {
    expected = found;
    return false;
  }
  set(c, desired);
  return true;
}

inline RadixStore::Sum RadixStore::add(Cell c, uint64_t delta) {
  if (footprint_ != nullptr) [[unlikely]]
    note(c, c.kind == CellKind::kLockReaders ? kReadLock : kCount);
  const uint64_t v = peek(c) + delta;
  put(c, v);
  return {*this, c, v};
}

}  // namespace mmucheck::model
