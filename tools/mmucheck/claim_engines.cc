// ClaimEngines: the three engines, each on one piece of evidence.
#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <stdexcept>

#include "checker/explore/chart.h"
#include "checker/explore/pinned.h"
#include "checker/prove/solve.h"
#include "checker/replay/replay_trace.h"
#include "checker/replay/synthetic/under_designs.h"
#include "checker/report/text_writer.h"
#include "tools/mmucheck/decide_claim.h"
#include "tools/mmucheck/design_file.h"
#include "tools/mmucheck/otherwise.h"

namespace mmucheck::cli {
namespace {

std::string with_design(std::string command, const LedgerEvidence& e) {
  if (!e.design.empty()) command += " --design " + e.design;
  return command + " " + e.name;
}

const report::Violation* violation_of_rule(const report::Verdict& v, const std::string& rule) {
  for (const report::Violation& x : v.violations) {
    if (rule.empty() || x.invariant == rule) return &x;
  }
  return nullptr;
}

std::string place_text(const std::string& file, const report::Place& place) {
  return place.line == 0 ? file : fmt::format("{}:{}", file, place.line);
}

std::string value_text(const prove::Values& values) {
  std::string s;
  for (const auto& [name, value] : values) {
    s += fmt::format("{}{} {:#x}", s.empty() ? "" : ", ", name, value);
  }
  return s;
}

}  // namespace

Finding ClaimEngines::run(const LedgerEvidence& e, bool for_all) {
  const std::string key = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}", static_cast<int>(e.kind), e.name,
                                      e.design, e.breaks, e.max_states, e.busy, e.values, for_all);
  const auto known = done_.find(key);
  if (known != done_.end()) {
    Finding again = known->second;
    again.evidence = &e;
    again.milliseconds = 0;
    return again;
  }
  const auto begin = std::chrono::steady_clock::now();
  Finding f;
  switch (e.kind) {
    case EvidenceKind::kTrace: f = run_trace(e, for_all); break;
    case EvidenceKind::kObligation: f = run_obligation(e, for_all); break;
    case EvidenceKind::kScenario: f = run_scenario(e, for_all); break;
  }
  f.evidence = &e;
  f.milliseconds =
      std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - begin).count();
  done_.emplace(key, f);
  return f;
}

Finding ClaimEngines::run_trace(const LedgerEvidence& e, bool for_all) {
  Finding f;
  const auto source = open_(e.name);
  const auto design = design_from(e.design, "");
  const report::Verdict v = design == nullptr
                                ? replay::replay_trace(*source)
                                : replay::replay_under(*source, {&design->design, 1})[0];
  f.reproduce = with_design("mmucheck replay", e);
  f.bounds = "this trace";
  const report::Violation* broken = e.breaks.empty() ? nullptr : violation_of_rule(v, e.breaks);
  const std::optional<Otherwise> other = e.breaks.empty() ? otherwise(v) : std::nullopt;
  const bool shown = e.breaks.empty() ? other.has_value() : broken != nullptr;
  if (!shown && (!v.inconclusive.empty() || v.events == 0)) {
    f.result = v.inconclusive.empty() ? "there is nothing in it" : v.inconclusive.front();
    return f;
  }
  if (e.breaks.empty()) {
    f.result = "goes as claimed";
    f.bearing = for_all ? Bearing::kInstance : Bearing::kFor;
    if (other) {
      f.result = "does not go as claimed at " + place_text(e.name, other->place);
      f.details = {"claimed  " + other->claimed, "happens  " + other->happens};
      f.bearing = for_all ? Bearing::kAgainst : Bearing::kInstance;
    }
    return f;
  }
  f.result = e.breaks + " is not broken";
  f.bearing = Bearing::kInstance;
  if (broken != nullptr) {
    f.result = fmt::format("violated {} at {}", e.breaks, place_text(e.name, broken->place));
    f.details = {"\"" + broken->statement + "\""};
    f.bearing = for_all ? Bearing::kAgainst : Bearing::kFor;
  }
  return f;
}

Finding ClaimEngines::run_obligation(const LedgerEvidence& e, bool for_all) {
  Finding f;
  std::string unknown;
  const auto found = prove::select({e.name}, unknown);
  if (!found || found->size() != 1 || found->front()->name != e.name) {
    throw std::invalid_argument("there is no obligation '" + e.name + "'");
  }
  const prove::Obligation& o = *found->front();
  const prove::Result r = prove::decide(o, {.stop = stop_});
  f.reproduce = "mmucheck prove " + e.name;
  f.bounds = std::string(o.bound);
  f.details = {fmt::format("\"{}\"", o.statement)};
  if (r.interrupted) {
    f.result = "interrupted";
    return f;
  }
  f.result = prove::name_of(r.answer);
  switch (r.answer) {
    case prove::Answer::kProved: f.bearing = for_all ? Bearing::kFor : Bearing::kAgainst; break;
    case prove::Answer::kRefuted:
      f.bearing = !e.values ? Bearing::kValues : for_all ? Bearing::kAgainst : Bearing::kFor;
      if (!r.instance.empty()) f.details.push_back(r.instance);
      if (!r.first.values.empty()) f.details.push_back(value_text(r.first.values));
      if (!r.first.derived.empty()) f.details.push_back("gives " + value_text(r.first.derived));
      if (r.refuted.size() > 1) {
        std::string all;
        for (const std::string& one : r.refuted) all += (all.empty() ? "" : "; ") + one;
        f.details.push_back(fmt::format("in {} of {} cases: {}", r.refuted.size(), r.queries, all));
      }
      break;
    default: f.result += ": " + r.first.why;
  }
  return f;
}

Finding ClaimEngines::run_scenario(const LedgerEvidence& e, bool for_all) {
  Finding f;
  const auto source = open_(e.name);
  const explore::Scenario scenario = explore::read_scenario(*source);
  const auto design = design_from(e.design, "");
  const model::Design* d = design == nullptr ? nullptr : &design->design;
  explore::Bounds bounds = explore::bounds_of(scenario);
  if (e.max_states != 0) bounds.max_states = e.max_states;
  if (e.busy != 0) bounds.busy = e.busy;
  const explore::PinnedRun run = explore::run_pinned(
      scenario, d, e.design, bounds, nullptr, [this](const explore::SearchProgress&) {
        return stop_ != nullptr && stop_->load() ? explore::kInterrupted : "";
      });
  const explore::Exploration& x = run.found;
  f.reproduce = with_design("mmucheck explore", e);
  if (e.busy != 0) f.reproduce += fmt::format(" --busy {}", e.busy);
  if (e.max_states != 0) f.reproduce += fmt::format(" --max-states {}", e.max_states);
  f.bounds = fmt::format(
      "{} threads, {} operations, BUSY from outside at most {}; {} states, "
      "{} transitions",
      scenario.threads.size(), scenario.operations(), bounds.busy, report::with_thousands(x.states),
      report::with_thousands(x.transitions));
  if (x.violation) {
    f.result = fmt::format("violated {} after {} steps", x.violation->invariant, x.path.size());
    if (!e.breaks.empty() && x.violation->invariant != e.breaks) {
      f.result += ", before anything could break " + e.breaks;
      return f;
    }
    if (!run.replays) {
      f.result += ", which does not replay";
      return f;
    }
    const std::string chart = explore::chart_text(explore::chart_steps(scenario, d, x, bounds));
    for (size_t at = 0; at < chart.size();) {
      const size_t end = std::min(chart.find('\n', at), chart.size());
      f.details.push_back(chart.substr(at, end - at));
      at = end + 1;
    }
    f.bearing = for_all ? Bearing::kAgainst : Bearing::kFor;
    return f;
  }
  if (!x.doubts.empty()) {
    f.result = x.doubts.front();
  } else if (!x.bound.empty()) {
    f.result = x.bound == explore::kInterrupted
                   ? x.bound
                   : "--" + x.bound + " was hit, nothing broken so far";
  } else if (x.invariants == 0) {
    f.result = "no invariant was evaluated";
  } else {
    f.result = "holds within bounds";
    f.bearing = for_all ? Bearing::kFor : Bearing::kAgainst;
  }
  return f;
}

}  // namespace mmucheck::cli
