#include "checker/replay/tracepoint/entry_book.h"

#include <algorithm>

namespace mmucheck::replay {

TableRow* EntryBook::add(uint64_t pfn, uint64_t gfn, int level, int as_id, uint32_t vm,
                         uint64_t fill) {
  const bool root = pfn == 0 && fill != kUnknownSpte;
  if (root) {
    // A root that was used meanwhile is idle no more.
    std::erase_if(idle_roots_, [](const TableRow* r) { return r->as_id >= 0; });
    if (idle_roots_.size() >= kMaxIdleRoots) {
      TableRow* oldest = idle_roots_.front();
      erase(oldest);
    }
  }
  if (size_ >= kMaxTables) return nullptr;
  auto row = std::make_unique<TableRow>();
  row->pfn = pfn;
  row->gfn = base(level, gfn);
  row->level = level;
  row->as_id = as_id;
  row->vm = vm;
  row->e.fill(fill);
  if (root) {
    row->root = ++roots_;
    live_roots_++;
  }
  TableRow* raw = row.get();
  groups_[key(level, gfn)].push_back(std::move(row));
  size_++;
  added_++;
  if (pfn != 0) {
    by_pfn_[pfn] = raw;
  } else if (root) {
    idle_roots_.push_back(raw);
  }
  return raw;
}

std::span<const std::unique_ptr<TableRow>> EntryBook::at(int level, uint64_t gfn) const {
  const auto it = groups_.find(key(level, gfn));
  if (it == groups_.end()) return {};
  return it->second;
}

TableRow* EntryBook::by_pfn(uint64_t pfn) const {
  const auto it = by_pfn_.find(pfn);
  return it == by_pfn_.end() ? nullptr : it->second;
}

void EntryBook::set_page(TableRow* row, uint64_t pfn) {
  by_pfn_.erase(row->pfn);
  row->pfn = row->page = pfn;
  by_pfn_[pfn] = row;
}

void EntryBook::each_below(int level, uint64_t gfn,
                           const std::function<void(TableRow&)>& row) const {
  const uint64_t first = base(level - 1, gfn);
  for (const auto& [group, rows] : groups_) {
    for (const auto& r : rows) {
      if (r->level < level && base(level - 1, r->gfn) == first) row(*r);
    }
  }
}

uint64_t EntryBook::root_page(uint32_t root) const {
  const auto it = root_pages_.find(root);
  return it == root_pages_.end() ? 0 : it->second;
}

void EntryBook::learn_root_page(uint32_t root, uint64_t page) {
  if (root == 0 || page == 0) return;
  const auto [of, is_new] = root_of_page_.try_emplace(page, root);
  if (!is_new && of->second != root) {
    root_pages_.erase(of->second);
    of->second = root;
  }
  root_pages_[root] = page;
}

bool EntryBook::erased_lately(uint64_t pfn) const {
  return std::find(erased_.begin(), erased_.end(), pfn) != erased_.end();
}

void EntryBook::erase(TableRow* row) {
  const uint64_t pfn = row->pfn;
  if (pfn != 0) {
    const auto it = by_pfn_.find(pfn);
    if (it != by_pfn_.end() && it->second == row) by_pfn_.erase(it);
    erased_.push_back(pfn);
    if (erased_.size() > kMaxRecentlyErased) erased_.pop_front();
  } else {
    std::erase(idle_roots_, row);
    if (row->root != 0) live_roots_--;
  }
  const auto group = groups_.find(key(row->level, row->gfn));
  std::erase_if(group->second, [&](const auto& r) { return r.get() == row; });
  if (group->second.empty()) groups_.erase(group);
  size_--;
}

void EntryBook::clear() {
  groups_.clear();
  by_pfn_.clear();
  erased_.clear();
  idle_roots_.clear();
  size_ = live_roots_ = 0;
}

}  // namespace mmucheck::replay
