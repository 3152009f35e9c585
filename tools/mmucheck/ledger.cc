#include "tools/mmucheck/ledger.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "checker/invariant/catalogue.h"
#include "checker/trace/byte_stream.h"
#include "checker/trace/event_source.h"

namespace mmucheck::cli {
namespace {

using nlohmann::json;
using trace::TraceError;
using trace::TraceErrorKind;

constexpr size_t kMaxLedgerBytes = size_t{1} << 22;
constexpr std::string_view kFormat = "mmucheck claims 2";
constexpr std::array<const char*, 5> kConditions = {"design", "version", "vm", "lock", "range"};

std::string ledger_text(const std::string& path) {
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

struct LedgerReader {
  std::string base;  // directory that paths are relative to

  std::string file(const std::string& name) const {
    return name.starts_with('/') || base.empty() ? name : base + "/" + name;
  }

  LedgerEvidence evidence(const json& j) const {
    LedgerEvidence e;
    const bool trace = j.contains("trace"), scenario = j.contains("scenario");
    if (trace + scenario + j.contains("obligation") != 1) {
      throw std::invalid_argument("evidence is a trace, a scenario or an obligation");
    }
    e.kind = trace      ? EvidenceKind::kTrace
             : scenario ? EvidenceKind::kScenario
                        : EvidenceKind::kObligation;
    e.name = e.kind == EvidenceKind::kObligation
                 ? j.at("obligation").get<std::string>()
                 : file(j.at(trace ? "trace" : "scenario").get<std::string>());
    e.design = j.value("design", std::string());
    e.breaks = j.value("breaks", std::string());
    e.max_states = j.value("max_states", uint64_t{0});
    e.busy = j.value("busy", 0u);
    e.values = j.value("values", false);
    e.holds = j.value("holds", std::string());
    e.same_ends_as = j.value("same_ends_as", std::string());
    e.fair = j.value("fair", false);
    if (!e.breaks.empty() + !e.holds.empty() + !e.same_ends_as.empty() > 1) {
      throw std::invalid_argument("evidence " + e.name +
                                  " has one of breaks, holds and same_ends_as");
    }
    if (!e.holds.empty() && invariant::find(e.holds) == nullptr) {
      throw std::invalid_argument("there is no invariant " + e.holds);
    }
    for (const auto& [key, _] : j.items()) {
      const bool file_key = key == "design" || key == "breaks";
      const bool scenario_key = key == "max_states" || key == "busy" || key == "holds" ||
                                key == "same_ends_as" || key == "fair";
      if (key == "trace" || key == "scenario" || key == "obligation") continue;
      if (file_key && e.kind != EvidenceKind::kObligation) continue;
      if (scenario_key && e.kind == EvidenceKind::kScenario) continue;
      if (key == "values" && e.kind == EvidenceKind::kObligation) continue;
      throw std::invalid_argument("evidence " + e.name + " takes no " + key);
    }
    return e;
  }

  static std::string condition(const json& j) {
    std::string when;
    for (const auto& [key, value] : j.items()) {
      bool known = false;
      for (const char* c : kConditions) known = known || key == c;
      if (!known) throw std::invalid_argument("no condition is called " + key);
      when += fmt::format("{}{}: {}", when.empty() ? "" : ", ", key, value.get<std::string>());
    }
    return when;
  }

  LedgerCase read_case(const json& j) const {
    LedgerCase c;
    if (j.contains("when")) c.when = condition(j.at("when"));
    for (const json& e : j.at("evidence")) c.evidence.push_back(evidence(e));
    return c;
  }

  LedgerPart part(const json& j) const {
    LedgerPart p;
    p.name = j.value("part", std::string());
    p.open = j.value("open", std::string());
    if (j.contains("cases")) {
      for (const json& c : j.at("cases")) p.cases.push_back(read_case(c));
    } else if (j.contains("evidence")) {
      p.cases.push_back(read_case(j));
    }
    if (p.cases.empty() == p.open.empty()) {
      throw std::invalid_argument("a part has evidence, or says why it is open");
    }
    return p;
  }

  LedgerClaim claim(const json& j) const {
    LedgerClaim c;
    c.id = j.at("id").get<std::string>();
    const std::string quantifier = j.at("quantifier").get<std::string>();
    if (quantifier != "all" && quantifier != "exists") {
      throw std::invalid_argument("a quantifier is \"all\" or \"exists\"");
    }
    c.for_all = quantifier == "all";
    c.text = j.at("text").get<std::string>();
    for (const json& b : j.at("by")) c.by.push_back(b.get<std::string>());
    for (const json& p : j.at("parts")) c.parts.push_back(part(p));
    if (c.parts.empty()) throw std::invalid_argument("it has no parts");
    return c;
  }
};

}  // namespace

std::vector<LedgerClaim> read_ledger(const std::string& path) {
  const std::string text = ledger_text(path);
  const size_t directory = path.rfind('/');
  // traces/claims.json: its paths begin with traces/.
  std::string base = directory == std::string::npos ? ".." : path.substr(0, directory);
  const size_t above = base.rfind('/');
  base = above == std::string::npos ? (base == ".." ? base : std::string()) : base.substr(0, above);
  const LedgerReader reader{base};
  std::vector<LedgerClaim> claims;
  try {
    const json j = json::parse(text);
    if (j.value("format", std::string()) != kFormat) {
      throw std::invalid_argument(fmt::format("no ledger: \"format\" is not \"{}\"", kFormat));
    }
    for (const json& c : j.at("claims")) {
      try {
        claims.push_back(reader.claim(c));
      } catch (const std::exception& e) {
        const std::string id = c.is_object() ? c.value("id", std::string("?")) : "?";
        throw std::invalid_argument("claim " + id + ": " + e.what());
      }
    }
  } catch (const json::parse_error& e) {
    throw TraceError(TraceErrorKind::kCorrupt, {path, 0, 0, static_cast<int64_t>(e.byte)},
                     e.what());
  } catch (const std::exception& e) {
    throw TraceError(TraceErrorKind::kCorrupt, {path}, e.what());
  }
  return claims;
}

}  // namespace mmucheck::cli
