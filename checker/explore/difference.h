// Layer: checker/explore. Contract: where two designs first do something else in the same scenario.
// Both are led through the same moves, breadth first over pairs of states: the first difference has
// the fewest moves. They differ where one can make a move that the other cannot, where the move
// shows other events, or breaks another rule.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "checker/explore/explorer.h"

namespace mmucheck::explore {

// Called before each pair; false: stop.
using Tick = std::function<bool()>;

struct Difference {
  bool found = false;
  std::vector<Move> path;  // the last one is where they differ
  std::string in_a, in_b;  // what it does there
  uint64_t pairs = 0;      // of states that were looked at
  std::string bound;       // that was hit, or kInterrupted; empty: all pairs were visited
};

// `max_pairs`: pairs of states.
Difference first_difference(const Scenario& scenario, const model::Design* a,
                            const model::Design* b, const Bounds& bounds, uint64_t max_pairs,
                            const Tick& tick = {});

}  // namespace mmucheck::explore
