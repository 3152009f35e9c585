// Layer: tools/mmucheck. Contract: the scenario of a counterexample without what its path does not
// need: packets before the start, fields, and numbers that need not be that large, two gfns where
// one will do (checker/shrink). vCPUs stay apart, and each that does something is created. The path
// stays: the same moves of the same threads, each of which shows the same kinds of events, and the
// last of which breaks the same rule, the first that is broken. What says which kernel, design and
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

// `packets`: explore::counterexample() of the scenario as it is, which replays. Of a deadlock and
// of a loop nothing is left out.
SmallCounterexample small_counterexample(const explore::Scenario& scenario,
                                         const model::Design* design,
                                         const std::string& design_name,
                                         const explore::Exploration& found,
                                         const explore::Bounds& bounds,
                                         const std::vector<explore::Packet>& packets);

}  // namespace mmucheck::cli
