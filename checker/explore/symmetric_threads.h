// Layer: checker/explore. Contract: which threads of a scenario may be alike. Candidates are those
// that begin the same operations, whichever vCPU and addresses these name: whether they are, their
// steps say (scenario_system.h), and a search that finds two of them apart starts again with other
// groups (symmetric_search()).
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <stdexcept>
#include <utility>
#include <vector>

#include "checker/explore/scenario.h"
#include "checker/replay/synthetic/stepped_state.h"

namespace mmucheck::explore {

using ThreadGroups = std::vector<std::vector<uint32_t>>;  // by id, each of two at least
using ThreadPairs = std::set<std::pair<uint32_t, uint32_t>>;

// Permutations of all groups together: a step that is new is run in each of them.
inline constexpr uint64_t kMostPermutations = 720;

// Of a search under symmetry, or of what it stands for.
struct StateCounts {
  uint64_t states = 0, transitions = 0, end_states = 0;
  bool operator==(const StateCounts&) const = default;
};

class NotSymmetric : public std::runtime_error {
 public:
  explicit NotSymmetric(ThreadPairs threads)
      : std::runtime_error("threads are not interchangeable"), pairs(std::move(threads)) {}

  ThreadPairs pairs;
};

// What the tests break.
struct SymmetryFaults {
  bool trusts = false;  // that what does not fit an exchange of threads is no sign against it
  std::optional<replay::SteppedState::Slot> forgets = std::nullopt;  // what is there stays
};

// In groups as large as may be, of which no two threads are `apart`.
ThreadGroups candidates(const Scenario& scenario, const ThreadPairs& apart);

}  // namespace mmucheck::explore
