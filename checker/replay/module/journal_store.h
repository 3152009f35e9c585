// checker/replay/module: a store that remembers what each cell held before the current call, so
// that what the call changed can be listed without looking at everything.
#pragma once

#include <cstdint>
#include <optional>
#include <unordered_map>
#include <vector>

#include "model/store/radix_store.h"
#include "model/tdx/module.h"

namespace mmucheck::replay {

class JournalStore {
 public:
  uint64_t get(model::Cell c) const { return store_.get(c); }
  void set(model::Cell c, uint64_t v) {
    note(c);
    store_.set(c, v);
  }
  uint64_t add(model::Cell c, uint64_t delta) {
    note(c);
    return store_.add(c, delta);
  }
  uint32_t alloc_table(uint64_t frame) {
    const uint32_t table = store_.alloc_table(frame);
    if (table != model::kNoTable) tables_[table].born = true;
    return table;
  }
  void free_table(uint32_t table) {
    if (!store_.is_live(table)) return;
    for (uint32_t i = 0; i < model::tdx::kSeptEntries; i++) note(model::cell::pte(table, i));
    place_of(table);
    tables_[table].died = true;
    store_.free_table(table);
  }
  uint32_t find_table(uint64_t frame) const { return store_.find_table(frame); }
  bool is_live(uint32_t table) const { return store_.is_live(table); }
  uint64_t poisoned_reads() const { return store_.poisoned_reads(); }
  uint32_t live_tables() const { return store_.live_tables(); }

  // Forgets what has changed so far.
  void begin() {
    old_.clear();
    order_.clear();
    tables_.clear();
  }

  // One S-EPT entry that is not what it was; no value: it was, or is, in no page of the tree.
  struct EntryChange {
    int level = 0;
    uint64_t gpa = 0;
    std::optional<uint64_t> before, after;
  };
  std::vector<EntryChange> entry_changes();

  // Takes back everything since begin().
  void revert();

  // What a cell held when the call began.
  uint64_t before(model::Cell c) const {
    const auto it = old_.find(key(c));
    return it == old_.end() ? store_.get(c) : it->second;
  }
  // Cells that were written to, in order of the first time.
  const std::vector<model::Cell>& touched() const { return order_; }

 private:
  struct Key {
    uint64_t a, b;
    bool operator==(const Key&) const = default;
  };
  struct KeyHash {
    size_t operator()(const Key& k) const {
      const uint64_t h = (k.a ^ (k.b * 0x9e3779b97f4a7c15ull)) * 0xbf58476d1ce4e5b9ull;
      return static_cast<size_t>(h ^ (h >> 31));
    }
  };
  struct TableNote {
    bool born = false, died = false, placed = false;
    int level = 0;
    uint64_t frame = 0;
    uint64_t base = 0;  // gpa
  };
  static Key key(model::Cell c) {
    return {static_cast<uint64_t>(c.kind) << 32 | c.object, c.index};
  }
  void note(model::Cell c) {
    if (old_.emplace(key(c), store_.get(c)).second) order_.push_back(c);
  }
  TableNote& place_of(uint32_t table) {
    TableNote& t = tables_[table];
    if (!t.placed) {
      t.level = static_cast<int>(store_.get(model::cell::of(model::CellKind::kSpRole, table)));
      t.base = store_.get(model::cell::of(model::CellKind::kSpGfn, table)) << 12;
      t.frame = store_.get(model::cell::of(model::CellKind::kSpPfn, table));
      t.placed = true;
    }
    return t;
  }

  model::RadixStore store_;
  std::unordered_map<Key, uint64_t, KeyHash> old_;
  std::vector<model::Cell> order_;
  std::unordered_map<uint32_t, TableNote> tables_;
};

inline std::vector<JournalStore::EntryChange> JournalStore::entry_changes() {
  namespace tdx = model::tdx;
  std::vector<EntryChange> changes;
  for (const model::Cell c : order_) {
    if (c.kind != model::CellKind::kPte) continue;
    const TableNote t = place_of(c.object);
    EntryChange change;
    change.level = t.level;
    change.gpa = t.base + c.index * tdx::sept_span(t.level);
    if (!t.born) change.before = before(c);
    if (!t.died) change.after = store_.get(c);
    if (change.before == change.after) continue;
    // An entry that is FREE and one that does not exist are the same to every walk.
    const auto nothing = [](const std::optional<uint64_t>& e) {
      return !e || tdx::is_sept_free<>(*e);
    };
    if (!(change.before && change.after) && nothing(change.before) && nothing(change.after)) {
      continue;
    }
    changes.push_back(change);
  }
  return changes;
}

inline void JournalStore::revert() {
  namespace tdx = model::tdx;
  for (const auto& [table, t] : tables_) {
    if (t.born && !t.died) store_.free_table(table);
  }
  const auto born = [this](uint32_t table) {
    const auto it = tables_.find(table);
    return it != tables_.end() && it->second.born;
  };
  for (const auto& [table, t] : tables_) {
    if (!t.died || t.born) continue;
    const uint32_t again = store_.alloc_table(t.frame);
    if (again == model::kNoTable) continue;
    store_.set(model::cell::of(model::CellKind::kSpRole, again), static_cast<uint64_t>(t.level));
    store_.set(model::cell::of(model::CellKind::kSpGfn, again), t.base >> 12);
    for (uint32_t i = 0; i < tdx::kSeptEntries; i++) {
      store_.set(model::cell::pte(again, i), old_.at(key(model::cell::pte(table, i))));
    }
  }
  for (const model::Cell c : order_) {
    const bool of_table = c.kind <= model::kLastTableField;
    const auto it = of_table ? tables_.find(c.object) : tables_.end();
    if (of_table && (born(c.object) || (it != tables_.end() && it->second.died))) continue;
    store_.set(c, old_.at(key(c)));
  }
  begin();
}

}  // namespace mmucheck::replay
