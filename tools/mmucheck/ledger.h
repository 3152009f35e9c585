// Layer: tools/mmucheck. Contract: the ledger of claims: what the mails say, as data (a JSON file),
// and what running the attached evidence makes of it. No verdict stands in the file.
//
// A claim is about `all` executions or says that one `exists`; where its parts (a), (b) are decided
// apart, each is. A trace is written as the claim says it goes: its observations are the claim's
// predictions. Where the model does something else, the trace is a counterexample; what invariants
// are broken on the way is the trace's own affair. A trace that goes as claimed is an instance: a
// witness of an existence, and no support of a claim about all executions, which needs an
// exploration or a proof.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checker/trace/event_source.h"

namespace mmucheck::cli {

enum class ClaimVerdict { kSupported, kRefuted, kDepends, kOpen };
std::string_view name_of(ClaimVerdict v);

struct ClaimEvidence {
  std::string trace;
  bool as_claimed = false;
  bool decided = false;  // the trace could be run to its end
  std::string where, claimed, happened;  // of the first difference
  std::string why_not;                   // decided is false
};

struct ClaimPart {
  std::string name;  // "a"; empty where the claim has one part
  std::vector<std::string> traces;
  std::vector<ClaimEvidence> evidence;  // after decide()
  ClaimVerdict verdict = ClaimVerdict::kOpen;
  std::string why;
};

struct Claim {
  std::string id;
  bool for_all = true;
  std::string text;
  std::vector<std::string> by;  // R, X, Z: what may decide it
  std::vector<ClaimPart> parts;
  ClaimVerdict verdict = ClaimVerdict::kOpen;
};

// Throws trace::TraceError for a file that is no ledger. Relative paths of traces are those of the
// directory above the ledger's.
std::vector<Claim> read_ledger(const std::string& path);

using OpenTrace = std::function<std::unique_ptr<trace::EventSource>(const std::string& path)>;

// Runs the evidence of `claim` and sets its verdicts.
void decide(Claim& claim, const OpenTrace& open);

}  // namespace mmucheck::cli
