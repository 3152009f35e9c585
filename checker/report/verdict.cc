#include "checker/report/verdict.h"

#include <algorithm>
#include <array>

namespace mmucheck::report {
namespace {

int plain_exit_code(const Verdict& verdict) {
  switch (outcome_of(verdict)) {
    case Outcome::kViolated: return kExitViolated;
    case Outcome::kDiverged: return kExitDiverged;
    case Outcome::kInconclusive: return kExitInconclusive;
    case Outcome::kHolds: break;
  }
  return nothing_checked(verdict) ? kExitNothing : kExitOk;
}

bool names_invariant(const Verdict& verdict, const std::string& id) {
  // A trace that is expected to hold names the invariant that it nearly violates: it must at least
  // have been evaluated.
  return std::any_of(verdict.invariants.begin(), verdict.invariants.end(),
                     [&](const InvariantCount& i) { return i.id == id && i.evaluated > 0; });
}

bool evidence_matches(const Verdict& verdict, const Expectation& expected) {
  const auto matches = [&](const std::string& id, const Place& place) {
    return (expected.invariant.empty() || expected.invariant == id) &&
           (!expected.packet || *expected.packet == place.packet);
  };
  switch (expected.outcome) {
    case Outcome::kViolated:
      return std::any_of(verdict.violations.begin(), verdict.violations.end(),
                         [&](const Violation& v) { return matches(v.invariant, v.place); });
    case Outcome::kDiverged:
      return std::any_of(verdict.divergences.begin(), verdict.divergences.end(),
                         [&](const Divergence& d) { return matches(d.excluded_by, d.place); });
    case Outcome::kHolds:
      return expected.invariant.empty() || names_invariant(verdict, expected.invariant);
    case Outcome::kInconclusive: break;
  }
  return true;
}

}  // namespace

Outcome outcome_of(const Verdict& verdict) {
  if (!verdict.violations.empty()) return Outcome::kViolated;
  if (!verdict.divergences.empty()) return Outcome::kDiverged;
  if (!verdict.lost.empty() || !verdict.inconclusive.empty() || verdict.interrupted) {
    return Outcome::kInconclusive;
  }
  return Outcome::kHolds;
}

bool nothing_checked(const Verdict& verdict) {
  const SpteChanges& c = verdict.spte_changes;
  return c.observed == 0 && c.predicted == 0 && c.inferred == 0 && c.diverged == 0 &&
         std::none_of(verdict.invariants.begin(), verdict.invariants.end(),
                      [](const InvariantCount& i) { return i.evaluated > 0; });
}

bool as_expected(const Verdict& verdict) {
  if (!verdict.expected) return true;
  const Expectation& expected = *verdict.expected;
  if (outcome_of(verdict) != expected.outcome) return false;
  if (expected.exit_code && *expected.exit_code != plain_exit_code(verdict)) return false;
  return evidence_matches(verdict, expected);
}

int exit_code_of(const Verdict& verdict, bool honour_expectation) {
  if (verdict.interrupted) return kExitInterrupted;
  if (honour_expectation && verdict.expected) {
    return as_expected(verdict) ? kExitOk : kExitViolated;
  }
  return plain_exit_code(verdict);
}

int worse_exit_code(int a, int b) {
  static constexpr std::array kOrder = {int{kExitInterrupted},  int{kExitInternal},
                                        int{kExitInput},        int{kExitUsage},
                                        int{kExitViolated},     int{kExitDiverged},
                                        int{kExitInconclusive}, int{kExitNothing}};
  for (int code : kOrder) {
    if (a == code || b == code) return code;
  }
  return kExitOk;
}

const char* name_of(Outcome outcome) {
  switch (outcome) {
    case Outcome::kHolds: return "holds";
    case Outcome::kViolated: return "violated";
    case Outcome::kDiverged: return "diverged";
    case Outcome::kInconclusive: return "inconclusive";
  }
  return "?";
}

const char* name_of(Mode mode) {
  switch (mode) {
    case Mode::kFull: return "full";
    case Mode::kPartial: return "partial";
    case Mode::kTracepoint: return "tracepoint";
    case Mode::kSynthetic: return "synthetic";
  }
  return "?";
}

}  // namespace mmucheck::report
