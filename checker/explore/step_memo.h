// Layer: checker/explore. Contract: what a step makes of the slots of a state, remembered by what
// it looked at: a step that finds there what it found before does what it did before, whatever the
// other slots hold. A step asks for one slot after the other, and which one it asks for next
// depends on what it has found so far, so what is remembered are trees: a node asks for the slots
// that all steps that came to it asked for next, a branch is what was found in them, a leaf is the
// outcome. Where a step turns out to ask for others behind the first ones, the node is split there.
// The root asks for one slot, the same for all steps of the tree (the thread's own, which says where
// it is), and has its branches by number.
//
// Which states a search visits does not depend on it. When the memory is full all is forgotten.
// Nothing here is locked; find() may run at the same time as find().
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <stdexcept>
#include <vector>

#include "checker/explore/lanes.h"

namespace mmucheck::explore {

struct StepNote;

class StepMemo {
 public:
  using Slot = uint32_t;
  using Id = uint32_t;                       // of a content
  static constexpr size_t kMostSlots = 128;  // that a step may ask for
  using Change = LaneChange;
  struct Outcome {
    bool made = false;  // else the thread waits
    unsigned property = 0;
    const StepNote* note = nullptr;  // of whoever keeps one, nothing here looks at it
    uint16_t kind = 0;               // the same (step_orders.h)
    uint64_t hash = 0;               // what its changes add to that of a state
  };

  // `trees`: kinds of steps; `bytes`: what it takes at most, about.
  StepMemo(uint32_t trees, uint64_t bytes) : limit_(bytes), roots_(trees), branches_(kFewest) {}

  // `at(slot)` is what the slot holds. Nothing: not known; else `changes` are those of the outcome.
  template <class At>
  std::optional<Outcome> find(uint32_t tree, const At& at, std::vector<Change>& changes) const {
    std::array<Id, kMostSlots> ids;
    const Root& root = roots_[tree];
    const Id first = root.branches.empty() ? 0 : at(root.slot);
    if (first >= root.branches.size()) return std::nullopt;
    for (uint32_t to = root.branches[first]; to != kNone;) {
      if (to >= kOutcome) return outcome(&pool_[to - kOutcome], changes);
      const Node& n = nodes_[to];
      for (uint32_t i = 0; i < n.count; i++) ids[i] = at(slots_[n.first + i]);
      to = branches_[look(to, {ids.data(), n.count})].to;
    }
    return std::nullopt;
  }

  // A step of `tree` that asked for these slots, in that order, once each, and what it found there.
  // Throws std::logic_error where the first one is another than that of the tree's other steps.
  void learn(uint32_t tree, std::span<const Slot> asked, std::span<const Id> found,
             const Outcome& o, std::span<const Change> changes) {
    if (bytes() + (asked.size() + changes.size()) * kPerSlot > limit_) {
      clear();
      for (Root& root : roots_) root = {};
      root_bytes_ = 0;
    }
    const Leaf leaf{o, changes};
    while (!put(tree, asked, found, leaf)) {
    }
  }

  // All is forgotten.
  void clear() {
    if (pool_.empty()) return;
    nodes_.clear();
    for (Root& root : roots_) {
      root_bytes_ -= root.taken.size() * sizeof(Id);
      root.clear();
    }
    slots_.clear();
    lists_.clear();
    pool_.clear();
    branches_.assign(kFewest, {});
    used_ = 0;
  }

 private:
  static constexpr uint32_t kNone = ~uint32_t{0};
  static constexpr uint32_t kOutcome = uint32_t{1} << 31;  // from there on: where one is, no node
  static constexpr uint64_t kPerSlot = 20;                 // bytes, for the next step
  static constexpr size_t kFewest = size_t{1} << 12;       // branches there is room for
  struct Root {
    Slot slot = 0;
    std::vector<uint32_t> branches;  // by what is found there: where they lead to
    std::vector<Id> taken;

    void clear() {
      for (const Id id : taken) branches[id] = kNone;
      taken.clear();
    }
  };
  struct Node {
    uint32_t first = 0, count = 0;  // of the slots it asks for
    uint32_t last = kNone;          // branch of it: where its ids begin
  };
  struct Branch {
    uint32_t node = 0, ids = 0;  // where they begin, behind where those of the node's one before do
    uint32_t hash = 0;
    uint32_t to = kNone;  // kNone: free
  };

  struct Leaf {
    const Outcome& outcome;
    std::span<const Change> changes;
  };

  uint64_t bytes() const {
    return branches_.size() * sizeof(Branch) + pool_.size() * sizeof(Id) +
           slots_.size() * sizeof(Slot) + nodes_.size() * sizeof(Node) + root_bytes_;
  }

  // --- outcomes: where they were found out, right behind what was found in the slots ---
  uint32_t add(const Leaf& leaf) {
    const auto at = static_cast<uint32_t>(pool_.size());
    const Outcome& o = leaf.outcome;
    const auto note = reinterpret_cast<uintptr_t>(o.note);
    const auto high = [](uint64_t v) { return static_cast<uint32_t>(v >> 32); };
    const auto low = [](uint64_t v) { return static_cast<uint32_t>(v); };
    const auto count = static_cast<uint32_t>(leaf.changes.size());
    pool_.insert(pool_.end(), {uint32_t{o.kind} << 16 | count << 1 | o.made, o.property, high(note), low(note), high(o.hash),
                               low(o.hash)});
    for (const Change& c : leaf.changes) pool_.insert(pool_.end(), {c.slot, c.to});
    return kOutcome + at;
  }
  static Outcome outcome(const uint32_t* at, std::vector<Change>& changes) {
    const auto both = [](const uint32_t* of) { return uint64_t{of[0]} << 32 | of[1]; };
    const uint32_t count = at[0] >> 1 & 0x7fff;
    changes.resize(count);
    for (uint32_t i = 0; i < count; i++) changes[i] = {at[6 + 2 * i], at[7 + 2 * i]};
    return {.made = (at[0] & 1) != 0,
            .property = at[1],
            .note = reinterpret_cast<const StepNote*>(static_cast<uintptr_t>(both(at + 2))),
            .kind = static_cast<uint16_t>(at[0] >> 16),
            .hash = both(at + 4)};
  }

  // True: done. False: a node was split, and the way through it is another one.
  bool put(uint32_t tree, std::span<const Slot> asked, std::span<const Id> found,
           const Leaf& leaf) {
    uint32_t* to = &root_branch(roots_[tree], asked[0], found[0]);
    asked = asked.subspan(1);
    found = found.subspan(1);
    while (!asked.empty()) {
      if (*to >= kOutcome) {  // none, or, since a footprint lacked something, where it was an outcome
        *to = static_cast<uint32_t>(nodes_.size());
        nodes_.emplace_back();
        ask(*to, asked);
      }
      const uint32_t node = *to;
      const Node n = nodes_[node];
      const std::span<const Slot> asks = std::span(slots_).subspan(n.first, n.count);
      const auto differ = std::mismatch(asks.begin(), asks.end(), asked.begin(), asked.end()).first;
      if (differ != asks.end()) {
        *to = split_of(node, static_cast<uint32_t>(differ - asks.begin()), asked);
        move_branches(node, *to);
        return false;
      }
      if (used_ * 3 >= branches_.size() * 2) {
        grow();
        return false;
      }
      to = &branches_[branch(node, found.first(n.count))].to;
      asked = asked.subspan(n.count);
      found = found.subspan(n.count);
    }
    *to = add(leaf);
    return true;
  }
  uint32_t& root_branch(Root& root, Slot slot, Id id) {
    if (root.branches.empty()) root.slot = slot;
    if (root.slot != slot) throw std::logic_error("steps of a tree ask for different slots first");
    if (id >= root.branches.size()) {
      const size_t more = id + id / 2 + 1 - root.branches.size();
      root.branches.resize(root.branches.size() + more, kNone);
      root_bytes_ += more * sizeof(uint32_t);
    }
    uint32_t& to = root.branches[id];
    if (to == kNone) {
      root.taken.push_back(id);
      root_bytes_ += sizeof(Id);
    }
    return to;
  }
  // Nodes that ask for the same share where that stands.
  void ask(uint32_t node, std::span<const Slot> slots) {
    auto [at, fresh] = lists_.try_emplace({slots.begin(), slots.end()}, slots_.size());
    nodes_[node].first = at->second;
    nodes_[node].count = static_cast<uint32_t>(slots.size());
    if (fresh) slots_.insert(slots_.end(), slots.begin(), slots.end());
  }
  // A node that asks for the first `same` slots of another one; or, where even the first one
  // differs, since a footprint lacks something, for those that are asked now.
  uint32_t split_of(uint32_t node, uint32_t same, std::span<const Slot> asked) {
    const auto split = static_cast<uint32_t>(nodes_.size());
    nodes_.push_back({nodes_[node].first, same, kNone});
    if (same == 0) ask(split, asked);
    return split;
  }
  // What is known behind `from` is then known behind `to`, which asks for less at once.
  void move_branches(uint32_t from, uint32_t to) {
    const uint32_t same = nodes_[to].count, all = nodes_[from].count;
    if (same == 0 || nodes_[to].first != nodes_[from].first) return;
    for (uint32_t at = nodes_[from].last; at != kNone; at = pool_[at - 1]) {
      const std::vector<Id> ids(pool_.begin() + at, pool_.begin() + at + all);
      const uint32_t leads_to = branches_[look(from, ids)].to;
      while ((used_ + 2) * 3 >= branches_.size() * 2) grow();
      uint32_t& between = branches_[branch(to, std::span(ids).first(same))].to;
      if (between == kNone) {
        between = static_cast<uint32_t>(nodes_.size());
        nodes_.push_back({nodes_[from].first + same, all - same, kNone});
      }
      const uint32_t node = between;
      branches_[branch(node, std::span(ids).subspan(same))].to = leads_to;
    }
  }

  // --- branches ---
  // A multiplier for each place: sums of products do not wait for each other.
  static constexpr std::array<uint64_t, kMostSlots> kMultipliers = [] {
    std::array<uint64_t, kMostSlots> all{};
    uint64_t x = 0;
    for (uint64_t& m : all) {
      x += 0x9e3779b97f4a7c15ull;
      m = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull | 1;
    }
    return all;
  }();
  static uint32_t hash(uint32_t node, std::span<const Id> ids) {
    uint64_t h = (uint64_t{node} + 1) * 0xd6e8feb86659fd93ull;
    for (size_t i = 0; i < ids.size(); i++) h += (uint64_t{ids[i]} + 1) * kMultipliers[i];
    return static_cast<uint32_t>((h ^ h >> 29) * 0x9e3779b97f4a7c15ull >> 32);
  }
  // Where it is, or would be.
  uint32_t look(uint32_t node, std::span<const Id> ids) const {
    const uint32_t h = hash(node, ids);
    for (size_t i = h & (branches_.size() - 1);; i = (i + 1) & (branches_.size() - 1)) {
      const Branch& b = branches_[i];
      if (b.to == kNone || (b.hash == h && b.node == node && same(ids, &pool_[b.ids]))) {
        return static_cast<uint32_t>(i);
      }
    }
  }
  static bool same(std::span<const Id> ids, const Id* others) {
    Id differ = 0;
    for (size_t i = 0; i < ids.size(); i++) differ |= ids[i] ^ others[i];
    return differ == 0;
  }
  // There must be room; a new one leads nowhere yet, and must before the next one.
  uint32_t branch(uint32_t node, std::span<const Id> ids) {
    const uint32_t at = look(node, ids);
    Branch& b = branches_[at];
    if (b.to == kNone) {
      pool_.push_back(nodes_[node].last);
      nodes_[node].last = static_cast<uint32_t>(pool_.size());
      b = {node, nodes_[node].last, hash(node, ids), kNone};
      pool_.insert(pool_.end(), ids.begin(), ids.end());
      used_++;
    }
    return at;
  }
  void grow() {
    std::vector<Branch> old(branches_.size() * 2);
    old.swap(branches_);
    for (const Branch& b : old) {
      if (b.to == kNone) continue;
      size_t i = b.hash & (branches_.size() - 1);
      while (branches_[i].to != kNone) i = (i + 1) & (branches_.size() - 1);
      branches_[i] = b;
    }
  }

  uint64_t limit_, root_bytes_ = 0;
  std::vector<Root> roots_;  // by tree
  std::vector<Node> nodes_;
  std::vector<Slot> slots_;
  std::map<std::vector<Slot>, uint32_t> lists_;  // where they stand in slots_
  std::vector<uint32_t> pool_;                   // of branches what was found, and outcomes
  std::vector<Branch> branches_;
  size_t used_ = 0;
};

}  // namespace mmucheck::explore
