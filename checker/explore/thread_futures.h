// Layer: checker/explore. Contract: what the threads of a scenario can still touch: places, cells
// and footprints of a ScenarioSystem by number, and the Futures of all places.
//
// A place is a thread, how many of its operations have begun, and all that the thread itself holds
// (its machine, by content). Of mmu_lock and of hooks it is known besides whether a thread at a
// place is inside, by counting what its steps add from the start on: what asks only whether anybody
// is inside cannot be changed by others while oneself is; and a step that found nobody inside
// cannot be taken by others while somebody is (Futures' kinds).
//
// Workers look, and note what is new to them; learn() takes it over while nobody looks, so that
// what a search reduces by does not depend on who was first.
#pragma once

#include <array>
#include <memory>
#include <mutex>
#include <span>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "checker/explore/futures.h"
#include "checker/replay/synthetic/stepped_state.h"
#include "model/store/footprint.h"

namespace mmucheck::explore {

struct CellUse {
  uint32_t cell;  // by number
  uint8_t uses;   // of model::Use
  bool operator==(const CellUse&) const = default;
};

// By cell: how it is used.
class CellUses {
 public:
  bool join(std::span<const CellUse> o) {
    bool more = false;
    for (const CellUse& u : o) more |= add(u.cell, u.uses);
    return more;
  }
  bool join(const CellUses& o) {
    bool more = false;
    if (uses_.size() < o.uses_.size()) uses_.resize(o.uses_.size());
    for (size_t i = 0; i < o.uses_.size(); i++) {
      more |= (o.uses_[i] & ~uses_[i]) != 0;
      uses_[i] |= o.uses_[i];
    }
    return more;
  }
  bool add(uint32_t cell, uint8_t uses) {
    if (cell >= uses_.size()) uses_.resize(cell + 1);
    const bool more = (uses & ~uses_[cell]) != 0;
    uses_[cell] |= uses;
    return more;
  }
  bool conflict(CellUse u) const {
    return u.cell < uses_.size() && uses_[u.cell] != 0 && !model::commute(u.uses, uses_[u.cell]);
  }

 private:
  std::vector<uint8_t> uses_;
};

// What is kept of a step.
struct StepNote {
  static constexpr size_t kInsides = replay::SteppedState::kInsides;
  std::vector<CellUse> uses;              // by number of the cell
  std::vector<CellUse> looked;            // the same, of what it only looks at
  std::array<int8_t, kInsides> change{};  // of how often its thread is inside
  uint8_t asked = 0;       // bit i: whether anybody is inside, and no more of that cell
  uint8_t found_none = 0;  // bit i: asked, and nobody was when the step began
  bool operator==(const StepNote&) const = default;
};

// What the tests break.
struct PartialOrderFaults {
  std::optional<replay::SteppedState::Slot> forgets_reads = std::nullopt;  // of the cells there
  bool next_steps_only = false;                                            // of other threads
  bool puts_off_for_ever = false;  // no successor need be new
};

class ThreadFutures {
 public:
  struct Key {
    uint32_t thread = 0, begun = 0;
    uint32_t content = 0;
    bool operator==(const Key&) const = default;
  };
  using Place = uint32_t;
  static constexpr Place kUnseen = ~Place{0};
  struct Step {
    Key from;
    const StepNote* note = nullptr;
    Key to;
    bool operator==(const Step&) const = default;
  };
  struct StepHash {
    size_t operator()(const Step& s) const;
  };
  // Steps that a worker has seen.
  using Seen = std::unordered_set<Step, StepHash>;

  explicit ThreadFutures(const PartialOrderFaults& faults);
  // Of a cell of SteppedState::inside_cell() in notes.
  static constexpr uint32_t number_of_inside(size_t which) { return static_cast<uint32_t>(which); }

  // The note of a footprint, one for all equal ones: valid as long as this. `extra`: cells of no
  // store that the step writes.
  const StepNote* note(const model::Footprint& footprint, std::span<const model::Cell> extra,
                       const std::array<uint64_t, StepNote::kInsides>& before,
                       const std::array<uint64_t, StepNote::kInsides>& after) const;

  // --- what workers look at and tell ---
  Place place(const Key& k) const {
    const auto at = places_.find(k);
    return at == places_.end() ? kUnseen : at->second;
  }
  // Does a step at `mine` conflict with what a thread at `other` can still do?
  bool conflict(Place mine, const StepNote& step, Place other) const;
  // False: it has seen that before.
  bool tell(Seen& seen, const Step& step) const;

  // --- while nobody looks ---
  // True when anything was new that matters to whom one may run alone.
  bool learn();
  // Behind a search; true when that was news.
  bool close() { return futures_.close(); }
  // Bytes, about.
  uint64_t memory() const {
    constexpr uint64_t kPerPlace = 512, kPerStep = 256;
    return places_.size() * (kPerPlace + (1 + kKinds) * cells_.size()) + learned_.size() * kPerStep;
  }

 private:
  struct KeyHash {
    size_t operator()(const Key& k) const;
  };
  using Name = std::array<uint64_t, 2>;  // of a cell
  struct NameHash {
    size_t operator()(const Name& n) const;
  };
  struct Inside {
    bool known = false, unknown = false;  // unknown: it depends on the way there
    std::array<int8_t, StepNote::kInsides> counts{};
    std::vector<std::pair<Place, const StepNote*>> steps;
  };
  enum Kind : unsigned { kFree, kReaderInside, kWriterInside, kKinds };

  uint32_t number(model::Cell c) const;
  Place made_place(const Key& k);
  bool follow(Place from, Place to, const StepNote& note);
  // The thread is inside itself, whatever others do.
  bool is_inside(Place p, size_t of) const {
    return p != kUnseen && inside_[p].known && !inside_[p].unknown && inside_[p].counts[of] > 0;
  }
  bool asks(Place p, const StepNote& step, size_t inside) const {
    return (step.asked >> inside & 1) != 0 && !is_inside(p, inside);
  }

  PartialOrderFaults faults_;
  Futures<CellUses, kKinds> futures_;
  std::unordered_map<Key, Place, KeyHash> places_;
  std::vector<Inside> inside_;
  Seen learned_;
  mutable std::mutex lock_;  // of what follows
  mutable std::unordered_map<Name, uint32_t, NameHash> cells_;
  mutable std::unordered_multimap<uint64_t, std::unique_ptr<const StepNote>> notes_;
  mutable std::vector<Step> told_;
};

}  // namespace mmucheck::explore
