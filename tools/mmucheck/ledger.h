// Layer: tools/mmucheck. Contract: the ledger of claims as data (a JSON file): what the mails say,
// and the evidence that decides it. No verdict stands in the file.
//
// A claim is about `all` executions, or says that one `exists`. Its parts (a), (b) are decided
// apart; a part may be split into cases by a condition (design, version, vm, lock, range).
// Evidence:
//   {"trace": FILE, "design": D, "breaks": ID}
//       A hand-written trace, replayed. Without `breaks` it is written as the claim says that it
//       goes: its observations are the claim's predictions. With it, the trace shows what the claim
//       is about by whether that invariant is broken.
//   {"obligation": NAME, "values": true}
//       Of `mmucheck prove`. For `all` it states the claim, for `exists` that there is none. With
//       `values` the claim is about a function of numbers: there is no execution to replay, and
//       values that refute the obligation, put into the rules themselves, are its counterexample.
//   {"scenario": FILE, "design": D, "breaks": ID, "max_states": N, "busy": N}
//       Of `mmucheck explore`. For `all` the claim is that it holds, for `exists` that the
//       invariant can be broken.
//   {"scenario": FILE, "design": D, "holds": ID, "fair": true, "max_states": N, "busy": N}
//       The same, of that invariant alone, whatever else is broken. What `exists` is then a design
//       that keeps it. With `fair` no fair execution goes on for ever, either.
//   {"scenario": FILE, "design": D, "same_ends_as": E}
//       Both designs come to the same states where all threads are over (end_states.h).
// `design` is a row, or a row with changes; without it, the file's own. decide_claim.h says how
// each counts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace mmucheck::cli {

enum class EvidenceKind : uint8_t { kTrace, kObligation, kScenario };

struct LedgerEvidence {
  EvidenceKind kind = EvidenceKind::kTrace;
  std::string name;  // of the file, as it is opened, or of the obligation
  std::string design;
  std::string breaks, holds, same_ends_as;
  uint64_t max_states = 0;  // 0: as many as `explore` allows by itself
  unsigned busy = 0;
  bool values = false, fair = false;
};

struct LedgerCase {
  std::string when;  // "range: end below the shared bit"; empty: always
  std::vector<LedgerEvidence> evidence;
};

struct LedgerPart {
  std::string name;  // "a"; empty where the claim has one part
  std::vector<LedgerCase> cases;
  std::string open;  // why nothing is attached
};

struct LedgerClaim {
  std::string id;
  bool for_all = true;
  std::string text;
  std::vector<std::string> by;  // R, X, Z: replay, exploration, proof
  std::vector<LedgerPart> parts;
};

// Throws trace::TraceError for a file that is no ledger. Relative paths of evidence are those of
// the directory above the ledger's.
std::vector<LedgerClaim> read_ledger(const std::string& path);

}  // namespace mmucheck::cli
