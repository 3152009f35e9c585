#include "checker/replay/corpus_designs.h"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/replay/synthetic/under_designs.h"

namespace mmucheck::replay {
namespace {

using Json = nlohmann::ordered_json;

struct Expected {
  std::vector<model::Design> designs;
  std::vector<std::string> verdicts;  // of each
};

// Throws std::invalid_argument.
Expected expected_of(const Json& verdicts) {
  if (!verdicts.is_object()) throw std::invalid_argument("no object of verdicts");
  Expected x;
  for (const auto& [verdict, names] : verdicts.items()) {
    if (!names.is_array()) throw std::invalid_argument(verdict + " has no list of designs");
    for (const Json& name : names) {
      const model::Design* d =
          name.is_string() ? model::find_design(name.get<std::string>()) : nullptr;
      if (d == nullptr) throw std::invalid_argument("there is no design " + name.dump());
      x.designs.push_back(*d);
      x.verdicts.push_back(verdict);
    }
  }
  return x;
}

std::string verdict_of(const report::Verdict& v) {
  const report::Outcome outcome = report::outcome_of(v);
  if (outcome == report::Outcome::kViolated) {
    return designs_verdict(outcome, v.violations.front().invariant);
  }
  if (outcome == report::Outcome::kDiverged) {
    return designs_verdict(outcome, v.divergences.front().excluded_by);
  }
  return designs_verdict(outcome, "");
}

}  // namespace

std::string designs_verdict(report::Outcome outcome, const std::string& rule) {
  return rule.empty() ? report::name_of(outcome)
                      : fmt::format("{} {}", report::name_of(outcome), rule);
}

CorpusResult run_designs_case(const CorpusCase& what, const OpenTrace& open) {
  CorpusResult r;
  r.what = what;
  const auto input = [&r](const std::string& why) {
    r.problem = why;
    r.code = report::kExitInput;
    return r;
  };
  std::ifstream in(what.expect_file);
  const Json files = Json::parse(in, nullptr, false);
  if (!files.is_object()) return input(what.expect_file + ": not a JSON object");
  size_t cells = 0;
  for (const auto& [name, verdicts] : files.items()) {
    std::vector<report::Verdict> got;
    Expected x;
    try {
      x = expected_of(verdicts);
      const auto source =
          open((std::filesystem::path(what.expect_file).parent_path() / name).string());
      if (!is_synthetic(source->info())) return input(name + " is no hand-written trace");
      got = replay_under(*source, x.designs);
    } catch (const std::invalid_argument& e) {
      return input(fmt::format("{}: {}: {}", what.expect_file, name, e.what()));
    } catch (const trace::TraceError& e) {
      return input(e.what());
    }
    cells += got.size();
    for (size_t i = 0; i < got.size() && r.ok(); i++) {
      r.verdict.events += got[i].events;
      if (verdict_of(got[i]) == x.verdicts[i]) continue;
      r.expected = fmt::format("{} under {}: {}", name, x.designs[i].name, x.verdicts[i]);
      r.got = verdict_of(got[i]);
      r.problem = "another verdict";
      r.code = report::kExitViolated;
    }
  }
  if (!r.ok()) return r;
  r.expected = fmt::format("{} traces under designs, {} verdicts", files.size(), cells);
  r.got = r.expected;
  return r;
}

}  // namespace mmucheck::replay
