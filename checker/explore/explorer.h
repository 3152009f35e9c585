// Layer: checker/explore. Contract: visits every state that the threads of a scenario come to,
// breadth first, and evaluates the invariants of the catalogue in each step; the first violation
// is therefore one of the shortest; the level in which it was found is finished. States are
// compared whole, by content; the result is the same for any number of workers (search.h).
//
// Memory is sequentially consistent, a step is atomic. Not taken as outcomes: A and D bits that a
// CPU sets on its own, failed allocations; RCU callbacks run when a packet says so. A state with
// equal behaviour but other numbers of tables is another one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checker/explore/search.h"
#include "checker/explore/step_orders.h"
#include "checker/explore/stepper.h"
#include "checker/explore/symmetric_threads.h"
#include "checker/report/verdict.h"

namespace mmucheck::explore {

struct Bounds {
  uint64_t max_states = 1'000'000;
  uint64_t max_depth = 0;   // moves; 0: none
  uint64_t max_memory = 0;  // bytes of the process; 0: none
  unsigned workers = 1;     // that search; the result is the same for any number
  unsigned busy = 0;        // at most so many SEAMCALLs answer BUSY without a cause in the model
  // At most so often a thread goes on although the one that moved last could.
  std::optional<unsigned> preemptions = std::nullopt;
  // A reduction: steps that do not matter to others are not put in every order. A violation is then
  // looked for once more without it, to find a shortest path.
  bool partial_order = false;
  // A reduction: states that differ only in which thread allocated a table first are one.
  bool like_pages = false;
  // A reduction: states that differ only in which of several threads that are alike is which are
  // one. Not with preemptions, and of no account to what `fair` looks for.
  bool symmetry = false;
  std::optional<invariant::Id> only = std::nullopt;  // no other rule is looked at
  bool fair = false;        // then look for fair executions that go on for ever (pinned.h)
  bool all = false;         // go on behind a violation: one of each invariant and last step
  // Of at most so many states: in which orders conflicting steps were run (step_orders.h).
  uint64_t coverage = 0;
  // Of states that were expanded keep hashes alone, 8 bytes: nothing `holds` then. A path to what is
  // found is looked for by a second search, without that, no farther than it takes.
  bool hash_compact = false;
  bool self_check = false;  // throws std::logic_error where the search or a reduction is wrong
};

// Rule that a state breaks in which some thread is not over and none can move: a deadlock.
inline constexpr const char* kStuck = "MMU-LOCK-LIVE";

// What a tick says of a run that the user stops.
inline constexpr const char* kInterrupted = "interrupted";

struct Exploration {
  uint64_t states = 0;       // that were reached, the first one too
  uint64_t transitions = 0;  // moves that were made, to known states too
  uint64_t depth = 0;        // moves from the first state to the farthest one
  uint64_t end_states = 0;   // where every thread is over
  ThreadGroups symmetric;    // that were taken to be alike
  // What was found without that, where every state was visited; under partial order reduction its
  // end states alone are what all orders have.
  StateCounts stands_for;
  uint64_t memory = 0;       // bytes of the states, and of what they are made of
  std::string bound;         // that was hit, or what the tick said; empty: every state was visited
  double omissions = 0;      // states that are expected to be left out at most (hash_compact)
  std::string not_rebuilt;   // what is broken, where the search for its path hit that bound
  std::optional<report::Violation> violation;
  std::vector<Move> path;           // to it
  bool shortest = true;             // no shorter one breaks anything
  bool deadlock = false;            // behind the path no thread can move
  std::vector<Move> loop;           // behind the path, and so for ever (fair_cycle.h)
  // Where all were asked for, the other violations, their paths and deadlocks, the shortest first.
  std::vector<Exploration> others;
  std::vector<std::string> doubts;  // why there is no verdict; nothing was explored then
  uint64_t invariants = 0;          // that were evaluated
  Coverage coverage;
  // Nothing was found, all is there, and no step of a thread conflicts with one of another: their
  // order was no question. Not of a scenario of one thread, nor where others make SEAMCALLs BUSY.
  // Or run_pinned() has not seen the conflicts that the scenario is about.
  bool nothing_to_check = false;
  std::vector<MissingConflict> missing;
};

Exploration explore(const Scenario& scenario, const model::Design* design, const Bounds& bounds,
                    const SearchTick& tick = {});

// The path as a trace: the prefix, then its moves; where it ends in a deadlock, the steps that the
// threads then try in vain. It expects its violation, at its last packet. `design_name` names the
// design, empty: the scenario's own.
std::vector<Packet> counterexample(const Scenario& scenario, const model::Design* design,
                                   const std::string& design_name, const Exploration& found,
                                   const Bounds& bounds);

// Does the model, given these packets one by one, break `rule` in the last one and nothing before, or
// nothing that `only` looks at?
bool replays_to(const trace::TraceInfo& info, const std::vector<Packet>& packets,
                const std::string& rule, std::optional<invariant::Id> only = std::nullopt);

}  // namespace mmucheck::explore
