// Layer: checker/report. Contract: the one result type of every engine. An engine fills the counts
// and the evidence; the outcome and the exit code follow from them and are never set by hand, so a
// verdict cannot contradict its evidence. Counts are exact; lists are in the order of the trace.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "checker/report/execution.h"

namespace mmucheck::report {

enum class Outcome : uint8_t { kHolds, kViolated, kDiverged, kInconclusive };

// What the recording can tell: all probes, some, tracepoints alone; or it was written by hand.
enum class Mode : uint8_t { kFull, kPartial, kTracepoint, kSynthetic };

// The process exit codes, the same for every subcommand.
enum ExitCode : int {
  kExitOk = 0,
  kExitViolated = 1,  // or: not as expected, where an expectation is stated
  kExitUsage = 2,
  kExitInput = 3,
  kExitNothing = 4,
  kExitInconclusive = 5,
  kExitInternal = 6,
  kExitDiverged = 7,
  kExitInterrupted = 130,
};

// Where in the trace; 0 (or empty) is unknown.
struct Place {
  uint64_t line = 0;    // line of the text, packet of a packet stream
  uint64_t packet = 0;  // event number in the stream
  uint64_t ts_ns = 0;
  uint32_t cpu = 0;
  uint32_t thread = 0;
  uint32_t vm = 0;
  std::string event;  // kind of the event, e.g. "changed_spte"
};

struct SpteChanges {
  uint64_t observed = 0;     // in the recording
  uint64_t predicted = 0;    // computed before the observation was looked at, and equal to it
  uint64_t inferred = 0;     // taken from the observation
  uint64_t hardware_ad = 0;  // predicted with accessed or dirty bits that hardware had set
  uint64_t diverged = 0;     // not what the model computed
};

struct InvariantCount {
  std::string id;
  uint64_t evaluated = 0;
  uint64_t violated = 0;
};

struct Violation {
  std::string invariant;  // id in the catalogue
  std::string statement;
  std::string source;  // kernel function, mail or module function that the rule comes from
  Place place;
  std::string operation;  // what the thread was doing, and since which line
  std::string before, after;
  std::vector<std::string> state;  // lines: the state around it, as ranges
};

struct Divergence {
  Place place;
  std::string observed;
  std::string expected;
  std::string operation;
  std::string excluded_by;  // id of the first rule that excludes the observed step
  std::string statement;
  std::string source;
  std::string value_expected, value_seen;  // the two values that this rule compared
  std::vector<std::string> state;
};

struct Lost {
  uint64_t count = 0;  // 0: unknown
  uint32_t cpu = 0;
  uint64_t line = 0;  // 0: before the first event
  std::string how;    // e.g. "counted", "header"
};

// A check that this recording cannot feed, with the capability that it lacks.
struct SkippedCheck {
  std::string check;
  std::string needs;
  uint64_t count = 0;
};

struct Inference {
  std::string kind;
  std::string reason;  // why no recording of this kind can show it
  uint64_t count = 0;
};

// What the file itself says that it must give.
struct Expectation {
  Outcome outcome = Outcome::kHolds;
  std::string invariant;             // empty: any
  std::optional<uint64_t> packet;    // packet number of the first violation or divergence
  std::optional<int> exit_code;
};

struct Verdict {
  std::string file;
  std::string kernel;  // "6.12.117"; empty: unknown
  std::string format;  // "NPT", "EPT"; empty: unknown
  uint64_t vms = 0, vcpus = 0;
  Mode mode = Mode::kSynthetic;
  std::vector<std::string> capabilities;
  uint64_t events = 0;
  SpteChanges spte_changes;
  std::map<std::string, uint64_t> inputs;  // by event kind
  std::vector<Inference> inferred;
  std::vector<InvariantCount> invariants;
  std::vector<Violation> violations;
  std::vector<Divergence> divergences;
  std::vector<Lost> lost;
  std::vector<std::string> inconclusive;    // further reasons: a bound was hit, ...
  std::map<std::string, uint64_t> skipped;  // events that are not understood, by name
  uint64_t malformed = 0;                   // lines that are no event
  std::vector<SkippedCheck> skipped_checks;
  Execution execution;  // where it was asked for and the recording does not name its operations
  std::optional<Expectation> expected;
  bool interrupted = false;  // the user stopped it: what stands here is what was seen until then
};

// violated before diverged before inconclusive before holds.
Outcome outcome_of(const Verdict& verdict);

// Nothing was compared and no invariant was evaluated.
bool nothing_checked(const Verdict& verdict);

// Whether the verdict is what `expected` demands; true without an expectation.
bool as_expected(const Verdict& verdict);

// `honour_expectation`: with one in the file, 0 means as expected and 1 not as expected.
int exit_code_of(const Verdict& verdict, bool honour_expectation = true);

// The code of several results together: 6, 3, 2, 1, 7, 5, 4, 0 in this order; 130 before all.
int worse_exit_code(int a, int b);

const char* name_of(Outcome outcome);
const char* name_of(Mode mode);

}  // namespace mmucheck::report
