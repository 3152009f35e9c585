// Layer: checker/explore. Contract: does some fair execution go on for ever? Weakly fair is one in
// which each thread, again and again, makes a move or has none: nobody who could move all along is
// passed over. Such an execution runs, from some state on, within one strongly connected part of
// the graph of states, in which each thread has a move or a state in which it waits (or is over);
// and where there is such a part, a walk through it is one. SEAMCALLs that answer BUSY without a
// cause, and yields, are bounded, so no cycle has one.
//
// Only with state_graph.h's states: no symmetry, no partial order reduction. Source of the
// property: MMU-LOCK-LIVE.
#pragma once

#include "checker/explore/state_graph.h"

namespace mmucheck::explore {

// One of the shortest ways into such a cycle (`path`), and the cycle (`loop`); the violation is of
// MMU-LOCK-LIVE. Numbers of states and transitions are those of the whole graph. Rules that moves
// break end executions and are no finding here: explore() finds them.
Exploration find_fair_cycle(const Scenario& scenario, const model::Design* design,
                            const Bounds& bounds, const SearchTick& tick = {});

}  // namespace mmucheck::explore
