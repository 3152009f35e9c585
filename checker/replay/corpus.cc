#include "checker/replay/corpus.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checker/replay/corpus_designs.h"
#include "checker/replay/replay_trace.h"

namespace mmucheck::replay {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using report::Outcome;

bool is_trace(const std::string& name) {
  static constexpr std::array<std::string_view, 6> kEndings = {
      ".txtpb", ".pb", ".pb.zst", ".txtpb.zst", ".txtpb.xz", ".pb.xz"};
  return std::any_of(kEndings.begin(), kEndings.end(),
                     [&](std::string_view e) { return name.ends_with(e); });
}

std::string recording_in(const fs::path& folder) {
  for (const char* name : {"trace.txt.xz", "trace.txt.zst", "trace.txt.gz", "trace.txt"}) {
    std::error_code ignored;
    if (fs::exists(folder / name, ignored)) return (folder / name).string();
  }
  return {};
}

std::optional<Outcome> outcome_called(const std::string& name) {
  for (const Outcome o : {Outcome::kHolds, Outcome::kViolated, Outcome::kDiverged,
                          Outcome::kInconclusive}) {
    if (name == report::name_of(o)) return o;
  }
  return std::nullopt;
}

std::string summary(Outcome outcome, const std::string& invariant) {
  std::string s = report::name_of(outcome);
  if (!invariant.empty()) s += " " + invariant;
  return s;
}

std::string got_of(const report::Verdict& v) {
  std::string id;
  if (!v.violations.empty()) {
    id = v.violations.front().invariant;
  } else if (!v.divergences.empty()) {
    id = v.divergences.front().excluded_by;
  }
  return summary(report::outcome_of(v), id);
}

struct FileExpectation {
  Outcome outcome = Outcome::kHolds;
  std::optional<uint64_t> observed, predicted;
};

// An empty error: `out` is filled.
std::string read_expectation(const std::string& path, FileExpectation& out) {
  std::ifstream in(path);
  const Json json = Json::parse(in, nullptr, false);
  if (!json.is_object()) return path + ": not a JSON object";
  const auto verdict = json.find("verdict");
  if (verdict == json.end() || !verdict->is_string()) return path + ": no verdict";
  const auto outcome = outcome_called(verdict->get<std::string>());
  if (!outcome) return path + ": no verdict is called " + verdict->get<std::string>();
  out.outcome = *outcome;
  const auto changes = json.find("spte_changes");
  if (changes == json.end()) return {};
  if (!changes->is_object()) return path + ": spte_changes is no object";
  for (const auto& [name, value] : changes->items()) {
    if (!value.is_number_unsigned()) return path + ": " + name + " is no number";
    if (name == "observed") {
      out.observed = value.get<uint64_t>();
    } else if (name == "predicted") {
      out.predicted = value.get<uint64_t>();
    } else {
      return path + ": " + name + " is not compared";
    }
  }
  return {};
}

// What is wrong with the verdict of a recording; empty: nothing.
std::string unmet(const FileExpectation& expected, const report::Verdict& v) {
  if (report::outcome_of(v) != expected.outcome) return "another verdict";
  const report::SpteChanges& c = v.spte_changes;
  if (expected.observed && *expected.observed != c.observed) {
    return fmt::format("{} SPTE changes observed, not {}", c.observed, *expected.observed);
  }
  if (expected.predicted && *expected.predicted != c.predicted) {
    return fmt::format("{} SPTE changes predicted, not {}", c.predicted, *expected.predicted);
  }
  return {};
}

void judge_trace(CorpusResult& r) {
  const report::Verdict& v = r.verdict;
  const report::Expectation expected = v.expected.value_or(report::Expectation{});
  r.expected = summary(expected.outcome, expected.invariant);
  if (v.expected ? report::as_expected(v) : report::outcome_of(v) == Outcome::kHolds) return;
  r.code = report::kExitViolated;
  r.problem = "another verdict";
  if (report::outcome_of(v) == expected.outcome) {
    r.problem = expected.outcome == Outcome::kHolds
                    ? expected.invariant + " was never evaluated"
                    : "another invariant, place or exit code";
  }
}

std::string escaped(const std::string& text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      case '"': out += "&quot;"; break;
      default: out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

size_t failed(const std::vector<CorpusResult>& results) {
  return static_cast<size_t>(std::count_if(results.begin(), results.end(),
                                           [](const CorpusResult& r) { return !r.ok(); }));
}

}  // namespace

std::vector<CorpusCase> find_corpus(const std::string& directory) {
  std::vector<CorpusCase> cases;
  const auto unreadable = [&](const std::string& why) {
    return trace::TraceError(trace::TraceErrorKind::kUnreadable, {.file = directory}, why);
  };
  std::error_code error;
  if (!fs::is_directory(directory, error)) throw unreadable("not a directory");
  fs::recursive_directory_iterator at(directory, error), end;
  for (; !error && at != end; at.increment(error)) {
    if (!at->is_regular_file(error)) continue;
    const fs::path& path = at->path();
    const std::string name = path.filename().string();
    if (name == "expect.json") {
      const fs::path folder = path.parent_path();
      cases.push_back({folder.lexically_relative(directory).generic_string(),
                       recording_in(folder), path.string()});
    } else if (name == kDesignsFile) {
      cases.push_back({path.lexically_relative(directory).generic_string(), {}, path.string()});
    } else if (is_trace(name)) {
      cases.push_back({path.lexically_relative(directory).generic_string(), path.string(), {}});
    }
  }
  if (error) throw unreadable(error.message());
  std::sort(cases.begin(), cases.end(),
            [](const CorpusCase& a, const CorpusCase& b) { return a.path < b.path; });
  return cases;
}

CorpusResult run_corpus_case(const CorpusCase& what, const OpenTrace& open) {
  if (what.expect_file.ends_with(kDesignsFile)) return run_designs_case(what, open);
  CorpusResult r;
  r.what = what;
  FileExpectation expected;
  if (!what.expect_file.empty()) {
    r.problem = read_expectation(what.expect_file, expected);
    if (r.problem.empty() && what.trace.empty()) r.problem = "no recording beside expect.json";
    if (!r.ok()) {
      r.code = report::kExitInput;
      return r;
    }
    r.expected = report::name_of(expected.outcome);
  }
  try {
    const auto source = open(what.trace);
    r.verdict = replay_trace(*source);
  } catch (const trace::TraceError& e) {
    r.problem = e.what();
    r.code = report::kExitInput;
    return r;
  }
  r.got = got_of(r.verdict);
  if (what.expect_file.empty()) {
    judge_trace(r);
  } else {
    r.problem = unmet(expected, r.verdict);
    if (!r.ok()) r.code = report::kExitViolated;
  }
  return r;
}

std::string corpus_text(const std::vector<CorpusResult>& results, bool all) {
  std::string out;
  size_t width = 0;
  for (const CorpusResult& r : results) {
    if (all || !r.ok()) width = std::max(width, r.what.path.size());
  }
  for (const CorpusResult& r : results) {
    if (!all && r.ok()) continue;
    out += fmt::format("{:<4}  {:<{}}  {}", r.ok() ? "ok" : "FAIL", r.what.path, width, r.expected);
    if (!r.ok()) out += fmt::format("\n      got {}: {}", r.got.empty() ? "nothing" : r.got, r.problem);
    const report::SpteChanges& c = r.verdict.spte_changes;
    if (r.ok() && !r.what.trace.empty() && !r.what.expect_file.empty()) {
      out += fmt::format("  {} changes, {} predicted", c.observed, c.predicted);
    }
    out += "\n";
  }
  out += fmt::format("{} traces, {} as expected, {} not\n", results.size(),
                     results.size() - failed(results), failed(results));
  return out;
}

std::string corpus_json(const std::vector<CorpusResult>& results) {
  Json list = Json::array();
  for (const CorpusResult& r : results) {
    const report::SpteChanges& c = r.verdict.spte_changes;
    Json one = {{"trace", r.what.path},     {"ok", r.ok()},   {"expected", r.expected},
                {"verdict", r.got},         {"events", r.verdict.events},
                {"spte_changes", {{"observed", c.observed}, {"predicted", c.predicted}}}};
    if (!r.ok()) one["problem"] = r.problem;
    list.push_back(std::move(one));
  }
  const Json json = {{"schema", 1},
                     {"traces", results.size()},
                     {"as_expected", results.size() - failed(results)},
                     {"results", list}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string corpus_junit(const std::vector<CorpusResult>& results) {
  std::string out = fmt::format(
      "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
      "<testsuite name=\"corpus\" tests=\"{}\" failures=\"{}\">\n",
      results.size(), failed(results));
  for (const CorpusResult& r : results) {
    out += fmt::format("  <testcase classname=\"corpus\" name=\"{}\"", escaped(r.what.path));
    if (r.ok()) {
      out += "/>\n";
      continue;
    }
    out += fmt::format(">\n    <failure message=\"{}\">expected {}, got {}</failure>\n  </testcase>\n",
                       escaped(r.problem), escaped(r.expected), escaped(r.got));
  }
  return out + "</testsuite>\n";
}

}  // namespace mmucheck::replay
