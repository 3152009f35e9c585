#include "tools/mmucheck/ledger.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "checker/replay/replay_trace.h"
#include "checker/trace/byte_stream.h"

namespace mmucheck::cli {
namespace {

using nlohmann::json;
using trace::TraceError;
using trace::TraceErrorKind;

constexpr size_t kMaxLedgerBytes = size_t{1} << 22;
constexpr std::string_view kFormat = "mmucheck claims 1";

std::string text_of(const std::string& path) {
  trace::ByteStream in(path);
  std::string text;
  while (!in.peek(1).empty()) {
    text += in.window();
    in.consume(in.window().size());
    if (text.size() > kMaxLedgerBytes) {
      throw TraceError(TraceErrorKind::kTooLarge, {path}, "a ledger has at most 4 MiB");
    }
  }
  return text;
}

ClaimPart read_part(const json& j, const std::string& base) {
  ClaimPart part;
  part.name = j.value("part", std::string());
  for (const json& t : j.at("traces")) {
    const std::string trace = t.get<std::string>();
    part.traces.push_back(trace.starts_with('/') || base.empty() ? trace : base + "/" + trace);
  }
  return part;
}

Claim read_claim(const json& j, const std::string& base) {
  Claim c;
  c.id = j.at("id").get<std::string>();
  const std::string quantifier = j.at("quantifier").get<std::string>();
  if (quantifier != "all" && quantifier != "exists") {
    throw std::invalid_argument("claim " + c.id + ": a quantifier is \"all\" or \"exists\"");
  }
  c.for_all = quantifier == "all";
  c.text = j.at("text").get<std::string>();
  for (const json& b : j.at("by")) c.by.push_back(b.get<std::string>());
  for (const json& p : j.at("parts")) c.parts.push_back(read_part(p, base));
  if (c.parts.empty()) throw std::invalid_argument("claim " + c.id + " has no parts");
  return c;
}

ClaimEvidence run(const std::string& trace, const OpenTrace& open) {
  ClaimEvidence e;
  e.trace = trace;
  const auto source = open(trace);
  const report::Verdict v = replay::replay_trace(*source);
  if (!v.inconclusive.empty() || v.events == 0) {
    e.why_not = v.inconclusive.empty() ? "there is nothing in it" : v.inconclusive.front();
    return e;
  }
  e.decided = true;
  e.as_claimed = v.divergences.empty();
  if (!e.as_claimed) {
    const report::Divergence& d = v.divergences.front();
    e.where = fmt::format("{}:{}", trace, d.place.line);
    e.claimed = d.observed;
    e.happened = d.expected;
  }
  return e;
}

std::string lacking(const Claim& c) {
  const bool x = std::find(c.by.begin(), c.by.end(), "X") != c.by.end();
  const bool z = std::find(c.by.begin(), c.by.end(), "Z") != c.by.end();
  if (x && z) return "an exploration or a proof";
  return x ? "an exploration" : z ? "a proof" : "more than replays";
}

void decide_part(const Claim& c, ClaimPart& part, const OpenTrace& open) {
  part.evidence.clear();
  bool instance = false, counterexample = false;
  for (const std::string& t : part.traces) {
    part.evidence.push_back(run(t, open));
    const ClaimEvidence& e = part.evidence.back();
    instance |= e.decided && e.as_claimed;
    counterexample |= e.decided && !e.as_claimed;
  }
  if (c.for_all && counterexample) {
    part.verdict = ClaimVerdict::kRefuted;
    part.why = "a counterexample that replays";
  } else if (!c.for_all && instance) {
    part.verdict = ClaimVerdict::kSupported;
    part.why = "a witness that replays";
  } else if (c.for_all && instance) {
    part.why = fmt::format("{} instance{} replay{} as claimed; to support it takes {}",
                           part.evidence.size(), part.evidence.size() == 1 ? "" : "s",
                           part.evidence.size() == 1 ? "s" : "", lacking(c));
  } else {
    part.why = fmt::format("takes {}", lacking(c));
  }
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

std::vector<Claim> read_ledger(const std::string& path) {
  const std::string text = text_of(path);
  const size_t directory = path.rfind('/');
  // traces/claims.json: its paths begin with traces/.
  std::string base = directory == std::string::npos ? ".." : path.substr(0, directory);
  const size_t above = base.rfind('/');
  base = above == std::string::npos ? (base == ".." ? base : std::string()) : base.substr(0, above);
  std::vector<Claim> claims;
  try {
    const json j = json::parse(text);
    if (j.value("format", std::string()) != kFormat) {
      throw std::invalid_argument(fmt::format("no ledger: \"format\" is not \"{}\"", kFormat));
    }
    for (const json& c : j.at("claims")) claims.push_back(read_claim(c, base));
  } catch (const json::parse_error& e) {
    throw TraceError(TraceErrorKind::kCorrupt, {path, 0, 0, static_cast<int64_t>(e.byte)}, e.what());
  } catch (const std::exception& e) {
    throw TraceError(TraceErrorKind::kCorrupt, {path}, e.what());
  }
  return claims;
}

void decide(Claim& claim, const OpenTrace& open) {
  for (ClaimPart& part : claim.parts) decide_part(claim, part, open);
  claim.verdict = claim.parts.front().verdict;
  for (const ClaimPart& part : claim.parts) {
    if (part.verdict == claim.verdict) continue;
    // An undecided part leaves the whole open, unless the other halves already differ.
    const bool open_part = part.verdict == ClaimVerdict::kOpen ||
                           claim.verdict == ClaimVerdict::kOpen;
    claim.verdict = open_part ? ClaimVerdict::kOpen : ClaimVerdict::kDepends;
  }
}

}  // namespace mmucheck::cli
