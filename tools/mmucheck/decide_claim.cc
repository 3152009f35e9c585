#include "tools/mmucheck/decide_claim.h"

#include <fmt/format.h>

#include <algorithm>

namespace mmucheck::cli {
namespace {

size_t count(const DecidedCase& c, Bearing b) {
  return static_cast<size_t>(std::count_if(c.findings.begin(), c.findings.end(),
                                           [&](const Finding& f) { return f.bearing == b; }));
}

bool any(const DecidedCase& c, EvidenceKind kind, Bearing b) {
  return std::any_of(c.findings.begin(), c.findings.end(),
                     [&](const Finding& f) { return f.evidence->kind == kind && f.bearing == b; });
}

const char* plural_s(size_t n) {
  return n == 1 ? "" : "s";
}

std::string list_of(const DecidedCase& c, Bearing b) {
  std::string names;
  for (const Finding& f : c.findings) {
    if (f.bearing != b) continue;
    if (!names.empty()) names += ", ";
    names += f.evidence->kind == EvidenceKind::kTrace      ? "a replay"
             : f.evidence->kind == EvidenceKind::kScenario ? "an exploration"
                                                           : "a proof";
  }
  return names;
}

std::string lacking(const LedgerClaim& c) {
  const bool x = std::find(c.by.begin(), c.by.end(), "X") != c.by.end();
  const bool z = std::find(c.by.begin(), c.by.end(), "Z") != c.by.end();
  if (x && z) return "an exploration or a proof";
  return x ? "an exploration" : z ? "a proof" : "more than replays";
}

void judge_all(const LedgerClaim& claim, DecidedCase& c) {
  // All obligations of the case together make its proof.
  const bool by_values = any(c, EvidenceKind::kObligation, Bearing::kAgainst);
  const bool proof = any(c, EvidenceKind::kObligation, Bearing::kFor) &&
                     count(c, Bearing::kValues) == 0 && !by_values;
  const size_t against = count(c, Bearing::kAgainst), instances = count(c, Bearing::kInstance);
  const size_t undecided = count(c, Bearing::kUndecided);
  if (against != 0 && proof) {
    c.disagree = true;
    c.why = "the engines disagree: a proof, and a counterexample that replays";
  } else if (against != 0) {
    c.verdict = ClaimVerdict::kRefuted;
    c.why =
        by_values ? "values for which the rules give otherwise" : "a counterexample that replays";
  } else if (count(c, Bearing::kValues) != 0) {
    c.why = "values refute an obligation, and no trace shows that they replay";
  } else if (undecided != 0) {
    c.why = fmt::format("{} piece{} of evidence undecided", undecided, plural_s(undecided));
  } else if (count(c, Bearing::kFor) != 0) {
    c.verdict = ClaimVerdict::kSupported;
    c.why = list_of(c, Bearing::kFor);
    if (instances != 0) c.why += fmt::format(", and {} instance{}", instances, plural_s(instances));
  } else {
    c.why = fmt::format("{} instance{} replay{} as claimed; to support it takes {}", instances,
                        plural_s(instances), instances == 1 ? "s" : "", lacking(claim));
  }
}

void judge_exists(const LedgerClaim& claim, DecidedCase& c) {
  const bool witness = count(c, Bearing::kFor) != 0;
  const size_t undecided = count(c, Bearing::kUndecided);
  if (witness && any(c, EvidenceKind::kObligation, Bearing::kAgainst)) {
    c.disagree = true;
    c.why = "the engines disagree: a proof that there is none, and a witness that replays";
  } else if (witness) {
    c.verdict = ClaimVerdict::kSupported;
    const bool design = std::any_of(c.findings.begin(), c.findings.end(), [](const Finding& f) {
      return f.bearing == Bearing::kFor && !f.evidence->holds.empty();
    });
    c.why = any(c, EvidenceKind::kObligation, Bearing::kFor) ? "values that the rules confirm"
            : design                                         ? "a design that keeps it"
                                                             : "a witness that replays";
  } else if (count(c, Bearing::kValues) != 0) {
    c.why = "values that fit, and no trace shows that they replay";
  } else if (undecided != 0) {
    c.why = fmt::format("{} piece{} of evidence undecided", undecided, plural_s(undecided));
  } else if (count(c, Bearing::kAgainst) != 0) {
    c.verdict = ClaimVerdict::kRefuted;
    c.why = any(c, EvidenceKind::kObligation, Bearing::kAgainst) ? "a proof that there is none"
                                                                 : "none within the bounds";
  } else {
    c.why = "no witness so far; it takes " + lacking(claim);
  }
}

// What several verdicts that may differ make together; `names` are what they depend on.
struct Several {
  ClaimVerdict verdict = ClaimVerdict::kOpen;
  std::string condition;
};
Several together(const std::vector<std::pair<std::string, ClaimVerdict>>& all) {
  Several s;
  s.verdict = all.front().second;
  bool differ = false, open = false;
  for (const auto& [name, v] : all) {
    differ = differ || v != s.verdict;
    open = open || v == ClaimVerdict::kOpen;
  }
  if (!differ) return s;
  s.verdict = open ? ClaimVerdict::kOpen : ClaimVerdict::kDepends;
  for (const auto& [name, v] : all) {
    s.condition += fmt::format("{}{} {}", s.condition.empty() ? "" : "; ", name, name_of(v));
  }
  return s;
}

DecidedPart decide_part(const LedgerClaim& claim, const LedgerPart& part, ClaimEngines& engines) {
  DecidedPart p;
  p.name = part.name;
  p.why = part.open;
  std::vector<std::pair<std::string, ClaimVerdict>> verdicts;
  for (const LedgerCase& one : part.cases) {
    DecidedCase c;
    c.when = one.when;
    for (const LedgerEvidence& e : one.evidence) {
      c.findings.push_back(engines.run(e, claim.for_all));
    }
    claim.for_all ? judge_all(claim, c) : judge_exists(claim, c);
    verdicts.emplace_back(c.when, c.verdict);
    p.cases.push_back(std::move(c));
  }
  if (p.cases.empty()) return p;
  const Several s = together(verdicts);
  p.verdict = s.verdict;
  p.condition = s.condition;
  p.why = p.cases.size() == 1 ? p.cases.front().why : s.condition;
  if (p.why.empty()) p.why = p.cases.front().why;
  // One counterexample refutes a claim about all, one witness supports that something exists,
  // whatever is still open besides.
  if (p.verdict == ClaimVerdict::kOpen) {
    const ClaimVerdict enough = claim.for_all ? ClaimVerdict::kRefuted : ClaimVerdict::kSupported;
    const ClaimVerdict other = claim.for_all ? ClaimVerdict::kSupported : ClaimVerdict::kRefuted;
    const auto has = [&](ClaimVerdict v) {
      return std::any_of(p.cases.begin(), p.cases.end(),
                         [&](const DecidedCase& c) { return c.verdict == v; });
    };
    if (has(enough) && !has(other)) p.verdict = enough;
  }
  return p;
}

}  // namespace

std::string_view name_of(ClaimVerdict v) {
  switch (v) {
    case ClaimVerdict::kSupported: return "supported";
    case ClaimVerdict::kRefuted: return "refuted";
    case ClaimVerdict::kDepends: return "depends";
    case ClaimVerdict::kOpen: return "open";
  }
  return "";
}

std::string_view name_of(Bearing b) {
  switch (b) {
    case Bearing::kFor: return "for";
    case Bearing::kAgainst: return "against";
    case Bearing::kValues: return "values";
    case Bearing::kInstance: return "instance";
    case Bearing::kUndecided: return "undecided";
  }
  return "";
}

DecidedClaim decide(const LedgerClaim& claim, ClaimEngines& engines) {
  DecidedClaim d;
  d.claim = &claim;
  std::vector<std::pair<std::string, ClaimVerdict>> verdicts;
  for (const LedgerPart& part : claim.parts) {
    d.parts.push_back(decide_part(claim, part, engines));
    verdicts.emplace_back("(" + part.name + ")", d.parts.back().verdict);
  }
  const Several s = together(verdicts);
  d.verdict = s.verdict;
  d.condition = claim.parts.size() == 1 ? d.parts.front().condition : s.condition;
  return d;
}

}  // namespace mmucheck::cli
