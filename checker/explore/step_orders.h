// Layer: checker/explore. Contract: which conflicting steps of different threads a search has run
// in both orders. What is counted:
//
// - A *step kind* is a thread and what a row of the chart says of a step, without its values: the
//   events that it shows, with their level, and the locks that it takes and drops; of a step that
//   shows nothing, what it writes, and where it writes nothing, what it reads. What waits is no
//   step.
// - Two kinds of different threads *conflict* when steps of theirs that were run have touched one
//   cell in ways that do not commute (model/store/footprint.h; the code yields them). Whether
//   anybody is inside mmu_lock or a hook is no question to a thread that is inside itself. What the
//   monitor of the invariants remembers, and which numbers tables and frames have, are no cells of
//   KVM.
// - The order "a, then b" was *seen* when on some path of the search, from the first state on, a
//   step of kind a comes before one of kind b, however far.
//
// Where threads are exchanged (symmetry) a step is run as each of those that are alike, so all have its
// kind, and what was seen of one is seen of the other.
//
// Kinds and conflicts are noted as the model runs a step that is new; orders take a second look at
// the states that were expanded (order_pass.h). A search that has expanded the same states has the
// same answer, whoever expanded them.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "checker/explore/scenario.h"
#include "checker/replay/synthetic/stepped_state.h"
#include "model/store/footprint.h"

namespace mmucheck::explore {

struct StepKind {
  uint32_t thread = 0;
  std::string operations;  // that have such a step
  std::string what;
  auto operator<=>(const StepKind&) const = default;
};

struct ConflictingSteps {
  StepKind first, second;                   // the first one's thread has the lower number
  std::string cell;                         // one on which they conflict
  bool in_order = false, reversed = false;  // was seen

  bool both() const { return in_order && reversed; }
};

struct Coverage {
  bool counted = false;  // conflicts; not of one thread, nor with more than StepOrders::kMaxKinds
  bool ordered = false;  // and in which orders they were seen
  std::vector<ConflictingSteps> conflicts;  // by thread and name

  size_t seen_in_both() const;
};

// A conflict that a scenario is about and that a search has not seen as it should.
struct MissingConflict {
  std::string what;  // as in ExpectedConflict
  std::string why;   // in words
};

// Of `expected` those that were not seen in both orders, or in the one that is enough; nor is what was
// not looked at.
std::vector<MissingConflict> missing_conflicts(const std::vector<ExpectedConflict>& expected,
                                               const Coverage& coverage);

class StepOrders {
 public:
  using Kind = uint16_t;
  static constexpr Kind kMaxKinds = 256;
  static constexpr size_t kInsides = replay::SteppedState::kInsides;

  class Kinds {  // a set
   public:
    void add(Kind k) { words_[k / 64 % words_.size()] |= uint64_t{1} << k % 64; }
    bool has(Kind k) const { return (words_[k / 64] >> k % 64 & 1) != 0; }
    template <class Visit>
    void for_each(const Visit& visit) const {
      for (size_t i = 0; i < words_.size(); i++) {
        for (uint64_t rest = words_[i]; rest != 0; rest &= rest - 1) {
          visit(static_cast<Kind>(i * 64 + static_cast<size_t>(std::countr_zero(rest))));
        }
      }
    }
    // True when that made it larger.
    bool join(const Kinds& o) {
      uint64_t more = 0;
      for (size_t i = 0; i < words_.size(); i++) {
        more |= o.words_[i] & ~words_[i];
        words_[i] |= o.words_[i];
      }
      return more != 0;
    }
    Kinds without(const Kinds& o) const {
      Kinds rest;
      for (size_t i = 0; i < words_.size(); i++) rest.words_[i] = words_[i] & ~o.words_[i];
      return rest;
    }

   private:
    std::array<uint64_t, kMaxKinds / 64> words_{};
  };

  // What the model has run.
  struct Step {
    unsigned thread = 0;                               // from 0 on
    bool begins = false;                               // an operation; `from` is how many had begun
    uint32_t from = 0, to = 0;                         // what the thread held, numbers of contents
    std::array<uint64_t, kInsides> before{}, after{};  // SteppedState::inside()
  };

  // The kind of a step that was made; any worker may call it.
  Kind kind_of(const Step& step, std::span<const replay::Predicted> shown,
               const model::Footprint& footprint);
  // While nobody works, this and what follows.
  // Bytes, about.
  uint64_t memory() const {
    constexpr uint64_t kPerWay = 64, kPerFootprint = 32;
    return ways_.size() * kPerWay + footprints_.size() * kPerFootprint;
  }
  const std::string& what(Kind k) const { return kinds_[k].what; }
  unsigned thread_of(Kind k) const { return kinds_[k].thread; }
  size_t kinds() const { return too_many_ ? 0 : kinds_.size(); }
  // The same, of another thread; nothing: it has made no such step.
  std::optional<Kind> of_thread(Kind k, unsigned thread) const {
    const auto at = by_name_.find({thread, kinds_[k].what});
    return at == by_name_.end() ? std::nullopt : std::optional<Kind>(at->second);
  }
  // By thread: what it holds at the start, and what between operations. `before`, unless it is
  // empty: by kind, those before it on some path.
  Coverage coverage(const Scenario& scenario, std::span<const uint32_t> initial,
                    std::span<const uint32_t> idle, std::span<const Kinds> before) const;

 private:
  struct CellHash {
    size_t operator()(const model::Cell& c) const;
  };
  struct Known {  // a kind
    unsigned thread = 0;
    std::string what;
    std::unordered_map<model::Cell, uint8_t, CellHash> uses;
  };
  // That leads a thread from one place to another.
  struct Way {
    uint8_t thread = 0;
    bool begins = false;
    uint8_t asked = 0;  // whether anybody is inside, and no more of that cell: a bit each
    Kind kind = 0;
    uint32_t from = 0, to = 0;
    std::array<int8_t, kInsides> change{};  // of how often the thread is inside
    auto operator<=>(const Way&) const = default;
  };
  struct WayHash {
    size_t operator()(const Way& w) const;
  };

  class Places;

  // Nothing: there are too many.
  std::optional<Kind> named(const Step& step, std::span<const replay::Predicted> shown,
                            const model::Footprint& footprint);

  std::mutex lock_;  // of what follows
  std::vector<Known> kinds_;
  std::unordered_map<uint64_t, Kind> by_key_;  // a hash of what the name is made of
  std::map<std::pair<unsigned, std::string>, Kind> by_name_;
  std::unordered_set<uint64_t> footprints_;  // that are known: hashes of kind and footprint
  std::unordered_set<Way, WayHash> ways_;
  bool too_many_ = false;
};

}  // namespace mmucheck::explore
