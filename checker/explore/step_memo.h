// Layer: checker/explore. Contract: what a step makes of the slots of a state, remembered by what
// it looked at: a step that finds there what it found before does what it did before, whatever the
// other slots hold. A step asks for one slot after the other, and which one it asks for next
// depends on what it has found so far, so what is remembered are trees: a node asks for a slot, a
// branch is what was found there, a leaf is the outcome.
//
// Which states a search visits does not depend on it. When the memory is full all is forgotten.
// Nothing here is locked; find() may run at the same time as find().
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace mmucheck::explore {

struct StepNote;

class StepMemo {
 public:
  using Slot = uint32_t;
  using Id = uint32_t;  // of a content
  struct Change {
    Slot slot;
    Id to;
  };
  struct Outcome {
    bool made = false;  // else the thread waits
    unsigned property = 0;
    const StepNote* note = nullptr;  // of whoever keeps one, nothing here looks at it
    uint32_t first = 0, count = 0;   // of its changes
  };

  // `trees`: kinds of steps; `bytes`: what it takes at most, about.
  StepMemo(uint32_t trees, uint64_t bytes) : trees_(trees), limit_(bytes / kPerBranch) { clear(); }

  // `at(slot)` is what the slot holds. nullptr: not known; else valid until the next learn().
  template <class At>
  const Outcome* find(uint32_t tree, const At& at) const {
    uint32_t node = tree;
    while (nodes_[node] < kAsks) {
      if (nodes_[node] == kUnknown) return nullptr;
      const uint32_t to = branches_.find(node, at(nodes_[node]));
      if (to == 0) return nullptr;
      node = to;
    }
    return &outcomes_[nodes_[node] - kAsks];
  }
  // Outcomes of one generation that have changes differ in `first`.
  uint32_t generation() const { return generation_; }
  std::span<const Change> changes(const Outcome& o) const {
    return std::span(changes_).subspan(o.first, o.count);
  }

  // A step of `tree` that asked for these slots, in that order, once each, and at least for one.
  template <class At>
  const Outcome* learn(uint32_t tree, std::span<const Slot> asked, const At& at, Outcome o,
                       std::span<const Change> changes) {
    if (branches_.size() + asked.size() > limit_) clear();
    o.first = static_cast<uint32_t>(changes_.size());
    o.count = static_cast<uint32_t>(changes.size());
    changes_.insert(changes_.end(), changes.begin(), changes.end());
    uint32_t node = tree;
    for (const Slot slot : asked) {
      nodes_[node] = slot;
      uint32_t& to = branches_.place(node, at(slot));
      if (to == 0) {
        to = static_cast<uint32_t>(nodes_.size());
        nodes_.push_back(kUnknown);
      }
      node = to;
    }
    nodes_[node] = kAsks + static_cast<uint32_t>(outcomes_.size());
    outcomes_.push_back(o);
    return &outcomes_.back();
  }

  // All is forgotten.
  void clear() {
    if (outcomes_.empty() && generation_ != 0) return;
    generation_++;
    nodes_.assign(trees_ + 1, kUnknown);
    outcomes_.clear();
    changes_.clear();
    branches_ = {};
  }

 private:
  static constexpr uint64_t kPerBranch = 40;   // bytes, with a node and a share of an outcome
  static constexpr uint32_t kAsks = 1u << 30;  // below: a slot; from there on: an outcome
  static constexpr uint32_t kUnknown = kAsks - 1;

  // From a node and an id to a node that is not 0.
  class Branches {
   public:
    Branches() : slots_(1u << 12) {}
    size_t size() const { return size_; }
    uint32_t find(uint32_t node, Id id) const {
      for (size_t i = home(node, id);; i = (i + 1) & (slots_.size() - 1)) {
        const Branch& b = slots_[i];
        if (b.to == 0 || (b.node == node && b.id == id)) return b.to;
      }
    }
    uint32_t& place(uint32_t node, Id id) {
      if (size_ * 3 >= slots_.size() * 2) grow();
      size_t i = home(node, id);
      while (slots_[i].to != 0 && (slots_[i].node != node || slots_[i].id != id)) {
        i = (i + 1) & (slots_.size() - 1);
      }
      if (slots_[i].to == 0) size_++;
      slots_[i].node = node;
      slots_[i].id = id;
      return slots_[i].to;
    }

   private:
    struct Branch {
      uint32_t node = 0;
      Id id = 0;
      uint32_t to = 0;
    };
    size_t home(uint32_t node, Id id) const {
      const uint64_t h = ((uint64_t{node} << 32 | id) + 1) * 0x9e3779b97f4a7c15ull;
      return static_cast<size_t>(h >> 32) & (slots_.size() - 1);
    }
    void grow() {
      std::vector<Branch> old(slots_.size() * 2);
      old.swap(slots_);
      for (const Branch& b : old) {
        if (b.to == 0) continue;
        size_t i = home(b.node, b.id);
        while (slots_[i].to != 0) i = (i + 1) & (slots_.size() - 1);
        slots_[i] = b;
      }
    }

    std::vector<Branch> slots_;
    size_t size_ = 0;
  };

  uint32_t trees_;
  uint32_t generation_ = 0;
  uint64_t limit_;               // of branches
  std::vector<uint32_t> nodes_;  // those of the trees first
  std::vector<Outcome> outcomes_;
  std::vector<Change> changes_;
  Branches branches_;
};

}  // namespace mmucheck::explore
