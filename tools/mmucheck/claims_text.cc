#include "tools/mmucheck/claims_text.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <set>

#include "checker/report/text_writer.h"

namespace mmucheck::cli {
namespace {

using ClaimJson = nlohmann::ordered_json;

// Words of `text` in lines of at most `width`, each behind `first` or `next`; a longer word stays
// whole.
std::string filled(const std::string& text, size_t width, const std::string& first,
                   const std::string& next) {
  std::string out, line = first;
  bool empty = true;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find(' ', at), text.size());
    const std::string word = text.substr(at, end - at);
    at = end + 1;
    if (word.empty()) continue;
    if (!empty && line.size() + 1 + word.size() > width) {
      out += line + "\n";
      line = next;
      empty = true;
    }
    if (!empty) line += " ";
    line += word;
    empty = false;
  }
  line.erase(line.find_last_not_of(' ') + 1);
  return out + line + "\n";
}

// What is not ASCII in the texts of the ledger.
std::string plain(std::string text) {
  const std::pair<const char*, const char*> kSigns[] = {
      {"\u21d4", "<=>"}, {"\u21d2", "=>"}, {"\u2192", "->"}, {"\u2013", "-"}};
  for (const auto& [sign, ascii] : kSigns) {
    for (size_t at; (at = text.find(sign)) != std::string::npos;) {
      text.replace(at, std::string(sign).size(), ascii);
    }
  }
  return text;
}

std::string upper(std::string_view v) {
  std::string s(v);
  std::transform(s.begin(), s.end(), s.begin(),
                 [](unsigned char ch) { return static_cast<char>(std::toupper(ch)); });
  return s;
}

const char* engine_of(const Finding& f) {
  switch (f.evidence->kind) {
    case EvidenceKind::kTrace: return "replay";
    case EvidenceKind::kObligation: return "prove";
    case EvidenceKind::kScenario: return "explore";
  }
  return "";
}

std::string source_of(const Finding& f) {
  return f.evidence->design.empty() ? f.evidence->name
                                    : f.evidence->name + ", design " + f.evidence->design;
}

// Every verdict but these needs no more than its line.
bool worth_details(const Finding& f, ClaimVerdict verdict, bool for_all) {
  if (f.bearing == Bearing::kValues || f.bearing == Bearing::kUndecided) return true;
  const Bearing decides =
      for_all == (verdict == ClaimVerdict::kRefuted) ? Bearing::kAgainst : Bearing::kFor;
  return f.bearing == decides &&
         (f.evidence->kind != EvidenceKind::kObligation || f.evidence->values);
}

std::string finding_text(const Finding& f, bool details, bool timings) {
  std::string line = fmt::format("{:<7} {}: {}", engine_of(f), source_of(f), f.result);
  if (f.evidence->kind != EvidenceKind::kTrace && !f.bounds.empty()) line += "; " + f.bounds;
  if (timings) line += fmt::format("  {:.0f} ms", f.milliseconds);
  std::string out = filled(line, report::kTextWidth, "               ", "                 ");
  if (!details) return out;
  // The lines of a chart stay what they are.
  const bool chart = f.evidence->kind == EvidenceKind::kScenario;
  for (const std::string& d : f.details) {
    out += chart ? "                 " + d + "\n"
                 : filled(d, report::kTextWidth, "                 ", "                   ");
  }
  return out;
}

// What a claim covers: the bounds of its evidence, each once.
std::string bounds_of(const DecidedClaim& d) {
  std::set<std::string> seen;
  std::string all;
  for (const DecidedPart& p : d.parts) {
    for (const DecidedCase& c : p.cases) {
      for (const Finding& f : c.findings) {
        if (f.bearing == Bearing::kUndecided || f.bearing == Bearing::kInstance) continue;
        if (f.bounds.empty() || !seen.insert(f.bounds).second) continue;
        all += (all.empty() ? "" : "; ") + f.bounds;
      }
    }
  }
  return all;
}

ClaimJson json_or_null(const std::string& text) {
  return text.empty() ? ClaimJson(nullptr) : ClaimJson(text);
}

ClaimJson finding_json(const Finding& f, const std::string& part, const std::string& when) {
  ClaimJson one = {{"engine", engine_of(f)},
                   {"name", f.evidence->name},
                   {"design", json_or_null(f.evidence->design)},
                   {"bearing", name_of(f.bearing)},
                   {"result", f.result},
                   {"bounds", json_or_null(f.bounds)},
                   {"details", f.details},
                   {"reproduce", f.reproduce}};
  if (!part.empty()) one["part"] = part;
  if (!when.empty()) one["when"] = when;
  return one;
}

}  // namespace

std::string claim_text(const DecidedClaim& d, bool timings) {
  std::string out = filled(d.claim->text, report::kTextWidth,
                           fmt::format("{:<9}  {:<7} {:<6} ", name_of(d.verdict), d.claim->id,
                                       d.claim->for_all ? "all" : "exists"),
                           "                          ");
  for (const DecidedPart& p : d.parts) {
    const std::string head =
        p.name.empty() ? std::string() : fmt::format("({}) {}: ", p.name, name_of(p.verdict));
    if (!p.name.empty() || p.cases.size() <= 1) {
      out += filled(head + p.why, report::kTextWidth, "             ", "               ");
    }
    for (const DecidedCase& c : p.cases) {
      if (!c.when.empty()) {
        out += filled(fmt::format("{}: {}: {}", c.when, name_of(c.verdict), c.why),
                      report::kTextWidth, "             ", "               ");
      }
      for (const Finding& f : c.findings) {
        out += finding_text(f, worth_details(f, c.verdict, d.claim->for_all), timings);
      }
    }
  }
  return out;
}

std::string claim_email(const DecidedClaim& d) {
  std::string out =
      filled(plain(fmt::format("[{}] {}", d.claim->id, d.claim->text)), kMailWidth, "> ", "> ");
  out += "\n";
  if (d.parts.size() > 1) {
    out += filled(upper(name_of(d.verdict)) + (d.condition.empty() ? "" : ": " + d.condition) + ".",
                  kMailWidth, "", "");
  }
  for (const DecidedPart& p : d.parts) {
    const std::string name = p.name.empty() ? std::string() : fmt::format("({}) ", p.name);
    out += filled(fmt::format("{}{}: {}.", name, upper(name_of(p.verdict)), p.why), kMailWidth, "",
                  "  ");
    for (const DecidedCase& c : p.cases) {
      if (!c.when.empty()) {
        out += filled(fmt::format("{}: {}, {}.", c.when, name_of(c.verdict), c.why), kMailWidth,
                      "  ", "    ");
      }
      for (const Finding& f : c.findings) {
        out += filled(fmt::format("{}: {}", engine_of(f), f.result), kMailWidth, "  ", "    ");
        if (!f.bounds.empty()) {
          out += filled("covers " + f.bounds, kMailWidth, "    ", "      ");
        }
        if (worth_details(f, c.verdict, d.claim->for_all)) {
          const bool chart =
              std::all_of(f.details.begin(), f.details.end(),
                          [](const std::string& l) { return l.size() + 4 <= kMailWidth; });
          for (const std::string& line : f.details) {
            out += chart ? "    " + line + "\n" : filled(line, kMailWidth, "    ", "      ");
          }
        }
        out += filled("$ " + f.reproduce, kMailWidth, "    ", "        ");
      }
    }
  }
  return out + "\n";
}

ClaimJson claim_json(const DecidedClaim& d) {
  ClaimJson evidence = ClaimJson::array(), parts = ClaimJson::array();
  bool disagree = false;
  for (const DecidedPart& p : d.parts) {
    ClaimJson cases = ClaimJson::array();
    for (const DecidedCase& c : p.cases) {
      disagree = disagree || c.disagree;
      cases.push_back({{"when", json_or_null(c.when)},
                       {"verdict", name_of(c.verdict)},
                       {"why", c.why},
                       {"engines_disagree", c.disagree}});
      for (const Finding& f : c.findings) evidence.push_back(finding_json(f, p.name, c.when));
    }
    parts.push_back({{"part", json_or_null(p.name)},
                     {"verdict", name_of(p.verdict)},
                     {"condition", json_or_null(p.condition)},
                     {"why", p.why},
                     {"cases", cases}});
  }
  return {{"id", d.claim->id},
          {"quantifier", d.claim->for_all ? "all" : "exists"},
          {"text", d.claim->text},
          {"verdict", name_of(d.verdict)},
          {"condition", json_or_null(d.condition)},
          {"bounds", json_or_null(bounds_of(d))},
          {"engines_disagree", disagree},
          {"parts", parts},
          {"evidence", evidence}};
}

}  // namespace mmucheck::cli
