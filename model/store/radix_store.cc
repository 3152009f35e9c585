#include "model/store/radix_store.h"

#include "model/spte/format.h"

namespace mmucheck::model {

RadixStore::RadixStore(const RadixStore& o) {
  *this = o;
}

RadixStore& RadixStore::operator=(const RadixStore& o) {
  if (this == &o) return *this;
  tables_.clear();
  for (const auto& t : o.tables_) tables_.push_back(t ? std::make_unique<Table>(*t) : nullptr);
  free_ids_ = o.free_ids_;
  by_pfn_ = o.by_pfn_;
  scalar_ = o.scalar_;
  sparse_ = o.sparse_;
  live_ = o.live_;
  poisoned_reads_ = o.poisoned_reads_;
  return *this;
}

uint32_t RadixStore::alloc_table(uint64_t pfn) {
  if (footprint_ != nullptr) note_frame(pfn, kWrite);
  if (by_pfn_.contains(pfn)) return kNoTable;
  uint32_t id;
  if (const auto free = free_ids_.lower_bound(first_id_); free != free_ids_.end()) {
    id = *free;
    free_ids_.erase(free);
  } else {
    id = std::max(first_id_, table_bound());
    if (id >= kMaxTables) return kNoTable;
    while (table_bound() < id) {
      free_ids_.insert(table_bound());
      tables_.emplace_back();
    }
    tables_.emplace_back();
  }
  if (footprint_ != nullptr) {
    for (uint32_t taken = first_id_; taken < id; taken++) note_number(taken, kRead);
    note_number(id, kWrite);
    note_table(id, kWrite);
    footprint_->add(cell::of(CellKind::kSpState, id), kWrite);
  }
  tables_[id] = std::make_unique<Table>();
  tables_[id]->pte.fill(kNonpresent);
  put(cell::of(CellKind::kSpPfn, id), pfn);
  put(cell::of(CellKind::kSpState, id), static_cast<uint64_t>(SpState::kAllocated));
  by_pfn_.emplace(pfn, id);
  live_++;
  return id;
}

void RadixStore::free_table(uint32_t table) {
  if (!is_live(table)) return;
  const uint64_t pfn = get(cell::of(CellKind::kSpPfn, table));
  if (footprint_ != nullptr) {
    note_frame(pfn, kWrite);
    note_number(table, kWrite);
    note_table(table, kWrite);
    footprint_->add(cell::of(CellKind::kSpState, table), kWrite);
  }
  by_pfn_.erase(pfn);
  tables_[table].reset();
  free_ids_.insert(table);
  live_--;
}

bool RadixStore::move_table(uint32_t table, uint64_t pfn) {
  if (!is_live(table)) return false;
  const uint64_t old_pfn = get(cell::of(CellKind::kSpPfn, table));
  if (old_pfn == pfn) return true;
  if (footprint_ != nullptr) {
    note_frame(pfn, kWrite);
    note_frame(old_pfn, kWrite);
  }
  if (by_pfn_.contains(pfn)) return false;
  by_pfn_.erase(old_pfn);
  by_pfn_.emplace(pfn, table);
  set(cell::of(CellKind::kSpPfn, table), pfn);
  return true;
}

void RadixStore::put_table(uint32_t table, std::span<const std::pair<Cell, uint64_t>> cells) {
  if (is_live(table)) return;
  while (tables_.size() <= table) {
    free_ids_.insert(static_cast<uint32_t>(tables_.size()));
    tables_.emplace_back();
  }
  free_ids_.erase(table);
  tables_[table] = std::make_unique<Table>();
  tables_[table]->pte.fill(kNonpresent);
  for (const auto& [c, v] : cells) set(c, v);
  by_pfn_.emplace(get(cell::of(CellKind::kSpPfn, table)), table);
  live_++;
}

uint32_t RadixStore::find_table(uint64_t pfn) const {
  if (footprint_ != nullptr) [[unlikely]]
    note_frame(pfn, kRead);
  const auto it = by_pfn_.find(pfn);
  return it == by_pfn_.end() ? kNoTable : it->second;
}

}  // namespace mmucheck::model
