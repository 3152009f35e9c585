// Layer: checker/explore. Contract: what a search is told, its bounds, and what it tells: numbers, and
// paths to what is violated (search.h).
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace mmucheck::explore {

inline constexpr unsigned kNothing = 0xffffffffu;
// The bound of a search that its system has given up, to have it repeated (in_vain()).
inline constexpr const char* kInVain = "in vain";
// No thread can move, and some are not over.
inline constexpr unsigned kDeadlock = 0xfffffffeu;

enum class Fate : uint8_t {
  kMoved,  // it has successors
  kEnded,  // none, and that is as it should be
  kStuck,  // none, and that is a deadlock
};

struct SearchBounds {
  uint64_t max_states = 0;  // 0, here and below: none
  uint64_t max_depth = 0;   // moves
  uint64_t max_memory = 0;  // bytes of the process
  unsigned workers = 1;
  bool all = false;  // go on behind a violation: one of each property
  // Of states that were expanded keep only 64 bits of hash, which stand for them: some may be left
  // out. What is found has no path then.
  bool hash_compact = false;
};
// How many of so many states are expected to be left out at most: pairs of them with equal hashes.
constexpr double expected_omissions(uint64_t states) {
  const double n = static_cast<double>(states);
  return n * n / 0x1p65;
}

struct SearchProgress {
  uint64_t states = 0, transitions = 0, depth = 0, queue = 0, memory = 0;
};
// Called after each block; not empty: stop, for that reason.
using SearchTick = std::function<std::string(const SearchProgress&)>;

template <class State>
struct SearchResult {
  uint64_t states = 0;       // that were reached, the first one too
  uint64_t transitions = 0;  // that were made, to known states too
  uint64_t depth = 0;        // transitions from the first state to the farthest one
  uint64_t end_states = 0;
  uint64_t memory = 0;  // bytes of the states and the table
  std::string bound;    // that was hit; empty: every state was visited
  struct Violation {
    unsigned property = kNothing;
    uint64_t depth = 0;                 // moves from the first state to the violating one
    std::vector<State> path;            // of them; none where only hashes are kept
    std::optional<uint64_t> last_step;  // behind the path: which step of its last state violates

    uint64_t steps() const { return depth + (last_step ? 1 : 0); }
  };
  std::vector<Violation> violations;  // the shortest first; one unless all were asked for
};

}  // namespace mmucheck::explore
