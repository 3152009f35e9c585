// Layer: tools/mmucheck. Contract: the scenario of a counterexample without what its path does not
// need: packets before the start, fields, and numbers that need not be that large, two gfns where
// one will do (checker/shrink). vCPUs stay apart, and each that does something is created. The path
// stays, and so does the loop of one that goes on for ever: the same moves of the same threads, each of
// which shows the same kinds of events. The last one breaks the same rule, the first that is broken, or
// a replay finds the same deadlock or loop behind it. What says which kernel, design and
// VM it is stays, too, and so do the operations. Deterministic; a bounded number of runs of the
// path.
#pragma once

#include "checker/explore/explorer.h"

namespace mmucheck::cli {

struct SmallCounterexample {
  // With the operations on the path alone; as it was, where nothing is left out.
  explore::Scenario scenario;
  std::vector<explore::Packet> packets;  // explore::counterexample() of it, which replays
  size_t left_out = 0;                   // packets
  bool changed = false;                  // that, or other fields
};

// `packets`: explore::counterexample() of the scenario as it is, which replays.
SmallCounterexample small_counterexample(const explore::Scenario& scenario,
                                         const model::Design* design,
                                         const std::string& design_name,
                                         const explore::Exploration& found,
                                         const explore::Bounds& bounds,
                                         const std::vector<explore::Packet>& packets);

}  // namespace mmucheck::cli
