// Layer: tools/mmucheck. Contract: runs what the ledger attaches to a claim and draws the verdict;
// nothing is decided that was not just computed.
//
// A claim about `all`: a proof, or an exploration that visited every state within its bounds,
// supports it; a trace that does not go as claimed, or a violation found by exploring whose trace
// replays, refutes it; a trace that goes as claimed is an instance and supports nothing. A refuted
// obligation refutes only together with a trace of the same case that replays, unless the ledger
// says that the claim is about values alone. A claim that one
// `exists`: a witness that replays supports it; a proof that there is none, or an exploration that
// found none within its bounds, refutes it. Where a scenario is to keep one invariant, what exists is a
// design: an exploration in which it keeps it supports the claim, a violation speaks against it.
// Cases of a part that are decided differently make it depend on their conditions, parts that are
// decided differently the claim. A proof and a counterexample of one case are a disagreement of the
// engines: the case stays open and says so. What was run once is not run again.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checker/explore/explorer.h"
#include "checker/trace/event_source.h"
#include "tools/mmucheck/ledger.h"

namespace mmucheck::cli {

enum class ClaimVerdict { kSupported, kRefuted, kDepends, kOpen };
std::string_view name_of(ClaimVerdict v);

// What one piece of evidence says about the claim as it stands in the ledger.
enum class Bearing {
  kFor,        // proof, exhausted bounds; for `exists` a witness that replays, or a design
  kAgainst,    // counterexample that replays; for `exists` a proof or exhausted bounds
  kValues,     // values that refute an obligation: a trace must show that they replay
  kInstance,   // goes as claimed, and decides nothing
  kUndecided,  // see `result`
};
std::string_view name_of(Bearing b);

struct Finding {
  const LedgerEvidence* evidence = nullptr;
  Bearing bearing = Bearing::kUndecided;
  std::string result;                // one line: "proved", "violated MMU-INV-DONE at FILE:12"
  std::string bounds;                // what it covers
  std::vector<std::string> details;  // claimed and happens, values, a chart
  std::string reproduce;             // the command
  double milliseconds = 0;
};

struct DecidedCase {
  std::string when;
  ClaimVerdict verdict = ClaimVerdict::kOpen;
  std::string why;
  bool disagree = false;
  std::vector<Finding> findings;
};

struct DecidedPart {
  std::string name;
  ClaimVerdict verdict = ClaimVerdict::kOpen;
  std::string condition;  // of kDepends
  std::string why;
  std::vector<DecidedCase> cases;
};

struct DecidedClaim {
  const LedgerClaim* claim = nullptr;
  ClaimVerdict verdict = ClaimVerdict::kOpen;
  std::string condition;  // of kDepends
  std::vector<DecidedPart> parts;
};

// Engines, with what they have found already.
class ClaimEngines {
 public:
  using OpenTrace = std::function<std::unique_ptr<trace::EventSource>(const std::string& path)>;

  // `stop` is looked at between steps; evidence that was stopped is undecided.
  explicit ClaimEngines(OpenTrace open, const std::atomic<bool>* stop = nullptr)
      : open_(std::move(open)), stop_(stop) {}

  // Throws trace::TraceError where a file cannot be read, std::invalid_argument where a design or
  // an obligation is not known.
  Finding run(const LedgerEvidence& e, bool for_all);

 private:
  Finding run_trace(const LedgerEvidence& e, bool for_all);
  Finding run_obligation(const LedgerEvidence& e, bool for_all);
  Finding run_scenario(const LedgerEvidence& e, bool for_all);
  Finding run_same_ends(const LedgerEvidence& e, const explore::Scenario& scenario,
                        const model::Design* a, const explore::Bounds& bounds);
  explore::SearchTick stopped_by_flag() const;

  OpenTrace open_;
  const std::atomic<bool>* stop_;
  std::map<std::string, Finding> done_;
};

DecidedClaim decide(const LedgerClaim& claim, ClaimEngines& engines);

}  // namespace mmucheck::cli
