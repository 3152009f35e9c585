// Layer: checker/explore. Contract: visits every state that the threads of a scenario come to,
// breadth first, and evaluates the invariants of the catalogue in each step; the first violation
// is therefore one of the shortest. The level in which it is found is finished, so that the numbers
// do not depend on the order. Deterministic: states are compared whole, by content, and moves are
// tried in the order of threads.
//
// Memory is sequentially consistent, a step is atomic. Not taken as outcomes: A and D bits that a
// CPU sets on its own, failed allocations; RCU callbacks run when a packet says so. A state with
// equal behaviour but other numbers of tables is another one.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checker/explore/stepper.h"
#include "checker/report/verdict.h"

namespace mmucheck::explore {

struct Bounds {
  uint64_t max_states = 1'000'000;
  uint64_t max_depth = 0;  // moves; 0: none
  unsigned busy = 0;       // at most so many SEAMCALLs answer BUSY without a cause in the model
};

// Rule that a state breaks in which some thread is not over and none can move: a deadlock.
inline constexpr const char* kStuck = "MMU-LOCK-LIVE";

struct Exploration {
  uint64_t states = 0;       // that were reached, the first one too
  uint64_t transitions = 0;  // moves that were made, to known states too
  uint64_t depth = 0;        // moves from the first state to the farthest one
  uint64_t end_states = 0;   // where every thread is over
  std::string bound;         // that was hit; empty: every state was visited
  bool interrupted = false;
  std::optional<report::Violation> violation;
  std::vector<Move> path;           // to it
  std::vector<std::string> doubts;  // why there is no verdict; nothing was explored then
  uint64_t invariants = 0;          // that were evaluated
};

// Called now and then; false stops.
using Tick = std::function<bool()>;

Exploration explore(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                    const Tick& tick = {});

// The path as a trace: the prefix, then its moves; where it ends in a deadlock, the steps that the
// threads then try in vain. It expects its violation, at its last packet. `design_name` names the
// design, empty: the scenario's own.
std::vector<Packet> counterexample(const Scenario& scenario, const model::Design* design,
                                   const std::string& design_name, const Exploration& found,
                                   const Bounds& bounds);

// Does the model, given these packets one by one, break `rule` in the last one and nothing before?
bool replays_to(const trace::TraceInfo& info, const std::vector<Packet>& packets,
                const std::string& rule);

}  // namespace mmucheck::explore
