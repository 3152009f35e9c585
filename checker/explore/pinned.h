// Layer: checker/explore. Contract: explores a scenario under one design and compares what comes
// out with what the scenario says: verdict, broken invariant, numbers of states and transitions,
// depth, length of the shortest counterexample. A counterexample must replay to the same violation
// in its last packet.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checker/explore/explorer.h"

namespace mmucheck::explore {

struct PinnedRun {
  Exploration found;
  bool replays = true;                 // what was found; true where nothing was
  std::vector<std::string> differs;    // from what is pinned: "states 12, 13 are pinned"
  std::vector<Packet> counterexample;  // empty where nothing was found
};

// What the command line does not say, the scenario does.
Bounds bounds_of(const Scenario& scenario);

// holds, violated or inconclusive.
trace::ExpectedVerdict verdict_of(const Exploration& x);
const char* name_of(trace::ExpectedVerdict verdict);
// The same in words; what has nothing to check does not hold.
const char* verdict_text(const Exploration& x);

// Where nothing is broken and `bounds` say so, fair executions that go on for ever are looked for, too
// (fair_cycle.h). What holds has nothing to check unless the conflicts were seen that the scenario is
// about. `design_name` as in counterexample(); nothing differs from `pinned` where that is null.
PinnedRun run_pinned(const Scenario& scenario, const model::Design* design,
                     const std::string& design_name, const Bounds& bounds, const Pinned* pinned,
                     const SearchTick& tick = {});

}  // namespace mmucheck::explore
