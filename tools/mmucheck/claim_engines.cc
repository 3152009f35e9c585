// ClaimEngines: the three engines, each on one piece of evidence.
#include <fmt/format.h>

#include <chrono>
#include <optional>
#include <stdexcept>

#include "checker/explore/chart.h"
#include "checker/explore/end_states.h"
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
  const std::string key = fmt::format("{}|{}|{}|{}|{}|{}|{}|{}|{}|{}|{}", static_cast<int>(e.kind),
                                      e.name, e.design, e.breaks, e.holds, e.same_ends_as, e.fair,
                                      e.max_states, e.busy, e.values, for_all);
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

namespace {

std::string bounds_text(const explore::Scenario& s, unsigned busy, uint64_t states,
                        uint64_t transitions) {
  return fmt::format(
      "{} threads, {} operations, BUSY from outside at most {}; {} states, {} transitions",
      s.threads.size(), s.operations(), busy, report::with_thousands(states),
      report::with_thousands(transitions));
}

void add_chart(Finding& f, const std::string& chart) {
  for (size_t at = 0; at < chart.size();) {
    const size_t end = std::min(chart.find('\n', at), chart.size());
    f.details.push_back(chart.substr(at, end - at));
    at = end + 1;
  }
}

}  // namespace

Finding ClaimEngines::run_scenario(const LedgerEvidence& e, bool for_all) {
  Finding f;
  const auto source = open_(e.name);
  const explore::Scenario scenario = explore::read_scenario(*source);
  const auto design = design_from(e.design, "");
  const model::Design* d = design == nullptr ? nullptr : &design->design;
  explore::Bounds bounds = explore::bounds_of(scenario);
  if (e.max_states != 0) bounds.max_states = e.max_states;
  if (e.busy != 0) bounds.busy = e.busy;
  bounds.fair = e.fair;
  if (!e.holds.empty()) bounds.only = invariant::find_id(e.holds);
  if (!e.same_ends_as.empty()) return run_same_ends(e, scenario, d, bounds);
  const explore::PinnedRun run =
      explore::run_pinned(scenario, d, e.design, bounds, nullptr, stopped_by_flag());
  const explore::Exploration& x = run.found;
  f.reproduce = with_design("mmucheck explore", e);
  if (e.busy != 0) f.reproduce += fmt::format(" --busy {}", e.busy);
  if (e.max_states != 0) f.reproduce += fmt::format(" --max-states {}", e.max_states);
  if (!e.holds.empty()) f.reproduce += " --only " + e.holds;
  if (e.fair) f.reproduce += " --fair";
  f.bounds = bounds_text(scenario, bounds.busy, x.states, x.transitions);
  // What exists is an execution that breaks something, or a design that keeps it.
  const bool wants_kept = for_all || !e.holds.empty();
  if (x.violation) {
    f.result = fmt::format("violated {} after {} steps", x.violation->invariant, x.path.size());
    if (!x.loop.empty()) {
      f.result = fmt::format("{} steps that can go on for ever, after {}", x.loop.size(),
                             x.path.size());
    }
    if (!e.breaks.empty() && x.violation->invariant != e.breaks) {
      f.result += ", before anything could break " + e.breaks;
      return f;
    }
    if (!run.replays) {
      f.result += ", which does not replay";
      return f;
    }
    add_chart(f, explore::chart_text(explore::chart_steps(scenario, d, x, bounds)));
    f.bearing = wants_kept ? Bearing::kAgainst : Bearing::kFor;
    return f;
  }
  if (!x.doubts.empty()) {
    f.result = x.doubts.front();
  } else if (!x.bound.empty()) {
    f.result = x.bound == explore::kInterrupted
                   ? x.bound
                   : "--" + x.bound + " was hit, nothing broken so far";
  } else if (!x.missing.empty()) {
    f.result = fmt::format("nothing to check: {}: {}", x.missing.front().what, x.missing.front().why);
  } else if (x.invariants == 0) {
    f.result = e.holds.empty() ? "no invariant was evaluated" : e.holds + " was not evaluated";
  } else {
    f.result = e.holds.empty() ? "holds within bounds" : e.holds + " holds within bounds";
    if (e.fair) f.result += ", and every fair execution ends";
    f.bearing = wants_kept ? Bearing::kFor : Bearing::kAgainst;
  }
  return f;
}

Finding ClaimEngines::run_same_ends(const LedgerEvidence& e, const explore::Scenario& scenario,
                                    const model::Design* a, const explore::Bounds& bounds) {
  Finding f;
  const auto other = design_from(e.same_ends_as, "");
  const model::Design* b = &other->design;
  const explore::EndStates in_a = explore::end_states(scenario, a, bounds, stopped_by_flag());
  const explore::EndStates in_b = explore::end_states(scenario, b, bounds, stopped_by_flag());
  f.reproduce = with_design("mmucheck diff --ends", e);
  f.reproduce += " --design " + e.same_ends_as;
  f.bounds = bounds_text(scenario, bounds.busy, in_a.states, in_a.transitions) +
             fmt::format("; {} states, {} transitions with {}", report::with_thousands(in_b.states),
                         report::with_thousands(in_b.transitions), e.same_ends_as);
  for (const explore::EndStates* one : {&in_a, &in_b}) {
    if (!one->doubts.empty()) f.result = one->doubts.front();
    if (!one->bound.empty()) f.result = "--" + one->bound + " was hit";
    if (one->broken) f.result = "an execution breaks a rule, and has no end";
  }
  if (!f.result.empty()) return f;
  for (const bool first : {true, false}) {
    const auto alone = explore::only_in(first ? in_a : in_b, first ? in_b : in_a);
    if (alone.empty()) continue;
    const auto& [text, path] = *alone.front();
    f.result = fmt::format("an end state that only {} comes to, after {} steps",
                           first ? e.design : e.same_ends_as, path.size());
    add_chart(f, explore::chart_text(explore::chart_steps(scenario, first ? a : b, path, bounds)));
    add_chart(f, text);
    f.bearing = Bearing::kAgainst;
    return f;
  }
  f.result = fmt::format("the same {} end state{} with {}", in_a.all.size(),
                         in_a.all.size() == 1 ? "" : "s", e.same_ends_as);
  f.bearing = Bearing::kFor;
  return f;
}

explore::SearchTick ClaimEngines::stopped_by_flag() const {
  return [this](const explore::SearchProgress&) {
    return stop_ != nullptr && stop_->load() ? explore::kInterrupted : "";
  };
}

}  // namespace mmucheck::cli
