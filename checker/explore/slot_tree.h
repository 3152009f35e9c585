// Layer: checker/explore. Contract: slots of a state as a tree of a PartTable's pairs, loaded and
// changed at the cost of what differs: a subtree that is loaded already is not looked at again. The
// shape depends on the number of slots only; those in front are near the root when there are many.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "checker/explore/step_memo.h"

namespace mmucheck::explore {

template <class Table>
class SlotTree {
 public:
  using Id = typename Table::Id;
  using Change = StepMemo::Change;

  // Slots `first` and up of `slots`, which outlives the tree, belong to it.
  SlotTree(Table& table, std::span<Id> slots, uint32_t first)
      : table_(&table),
        slots_(slots.data()),
        begin_(first),
        end_(first + static_cast<uint32_t>(slots.size())) {
    nodes_.resize(size_t{2} << depth(begin_, end_));
  }

  // Of what the slots hold.
  Id store() { return store(1, begin_, end_); }
  Id root() const { return nodes_[1]; }
  void load(Id root) { load(1, begin_, end_, root); }
  // The tree that the loaded one would be; the slots stay. Changes of other slots are left out;
  // they are in ascending order.
  Id changed(std::span<const Change> changes) const {
    const auto slot_less = [](const Change& c, uint32_t slot) { return c.slot < slot; };
    const auto from = std::lower_bound(changes.begin(), changes.end(), begin_, slot_less);
    const auto to = std::lower_bound(from, changes.end(), end_, slot_less);
    return changed(1, begin_, end_, {from, to});
  }

 private:
  static constexpr uint32_t kBlock = 16;

  static uint32_t middle(uint32_t from, uint32_t to) {
    const uint32_t n = to - from;
    if (n <= kBlock) return from + n / 2;
    return from + (n % kBlock != 0 ? n % kBlock : kBlock);
  }
  static unsigned depth(uint32_t from, uint32_t to) {
    if (to - from <= 1) return 0;
    const uint32_t at = middle(from, to);
    return 1 + std::max(depth(from, at), depth(at, to));
  }
  Id& slot(uint32_t i) const { return slots_[i - begin_]; }

  Id store(size_t node, uint32_t from, uint32_t to) {
    if (to - from == 1) return nodes_[node] = slot(from);
    const uint32_t at = middle(from, to);
    const Id left = store(2 * node, from, at);
    return nodes_[node] = table_->pair(left, store(2 * node + 1, at, to));
  }
  void load(size_t node, uint32_t from, uint32_t to, Id id) {
    if (nodes_[node] == id) return;
    nodes_[node] = id;
    if (to - from == 1) {
      slot(from) = id;
      return;
    }
    const uint32_t at = middle(from, to);
    const auto [left, right] = table_->both(id);
    load(2 * node, from, at, left);
    load(2 * node + 1, at, to, right);
  }
  Id changed(size_t node, uint32_t from, uint32_t to, std::span<const Change> changes) const {
    if (changes.empty()) return nodes_[node];
    if (to - from == 1) return changes[0].to;
    const uint32_t at = middle(from, to);
    size_t n = 0;
    while (n < changes.size() && changes[n].slot < at) n++;
    const Id left = changed(2 * node, from, at, changes.first(n));
    return table_->pair(left, changed(2 * node + 1, at, to, changes.subspan(n)));
  }

  Table* table_;
  Id* slots_;
  uint32_t begin_, end_;
  std::vector<Id> nodes_;  // of the loaded tree: node n has 2n and 2n + 1 below it
};

}  // namespace mmucheck::explore
