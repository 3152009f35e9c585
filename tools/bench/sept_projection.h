// tools/bench: the race of explore-vs-peers and the model itself, side by side: what of their reachable
// states both have variables for. That is the mirror's entries (P of the page table, L of its leafs),
// the S-EPT's at the same places (SP, SL), and mmu_lock.
//
// Pages that the guest has not accepted (PENDING) count as MAPPED. Where the walk of a tree ends
// above the leafs, they are NONE or FREE.
#pragma once

#include <array>
#include <compare>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "checker/explore/explorer.h"
#include "tools/bench/sept_race.h"

namespace mmucheck::bench {

enum class MirrorEntry : uint8_t { kNone, kFrozen, kPresent };
enum class SeptEntry : uint8_t { kFree, kMapped, kBlocked, kNonleaf };

struct SharedState {
  static constexpr unsigned kMaxLeafs = 4;

  MirrorEntry p = MirrorEntry::kNone;
  SeptEntry sp = SeptEntry::kFree;
  std::array<MirrorEntry, kMaxLeafs> l{};
  std::array<SeptEntry, kMaxLeafs> sl{};
  unsigned readers = 0;
  bool writer = false;

  auto operator<=>(const SharedState&) const = default;
};
using SharedStates = std::set<SharedState>;

// P:SP L:SL..., mmu_lock
std::string text_of(const SharedState& s, unsigned leafs);

// Every state that the race comes to, violated or not.
SharedStates states_of(SeptRace race);

// Every state that the scenario comes to under `design`, its violations passed over, while each of the
// vCPUs' faults is on any of the `leafs` gfns from `first_gfn` on, as the race chooses them. Throws
// std::runtime_error where a bound is hit.
SharedStates states_of(const explore::Scenario& scenario, const model::Design* design,
                       uint64_t first_gfn, unsigned leafs);

// What the two are compared to be, and why they differ where they do. A reason is tried on each state:
// the state that it says stands for this one must be among those of the other side.
struct Projection {
  size_t of_race = 0, of_model = 0, both = 0;
  // Each state of one side alone, with its reason; empty: none is known.
  std::map<SharedState, std::string> race_only, model_only;

  bool explained() const;
};
Projection compare(const SeptRace& race, const SharedStates& model);

}  // namespace mmucheck::bench
