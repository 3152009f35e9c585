#include "tools/mmucheck/then_explore.h"

#include <fmt/format.h>

#include <chrono>
#include <stdexcept>

#include "checker/explore/chart.h"
#include "checker/explore/follow_ups.h"
#include "checker/explore/pinned.h"
#include "checker/report/text_writer.h"
#include "tools/mmucheck/explore_table.h"
#include "tools/mmucheck/progress.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;
using explore::Exploration;
using report::with_thousands;

struct Covered {
  size_t choices = 0, incomplete = 0, doubtful = 0;
  uint64_t states = 0, transitions = 0;
  std::string bound;  // that ended it all, or "interrupted"
};

std::string covered_text(const explore::FollowUps& all, const Covered& c, unsigned n) {
  std::string text =
      fmt::format("       {} of {} choices of {} out of {} operations: {} states, {} transitions\n",
                  c.choices, all.all().size(), std::min<size_t>(n, all.operations()),
                  all.operations(), with_thousands(c.states), with_thousands(c.transitions));
  if (c.incomplete != 0) {
    text += fmt::format("       {} of them to {} states, and not to their end\n", c.incomplete,
                        with_thousands(ThenExplored::kStatesEach));
  }
  if (c.doubtful != 0) text += fmt::format("       {} of them without a verdict\n", c.doubtful);
  return text;
}

}  // namespace

ThenExplored then_explore(const Session& session, const std::string& path,
                          const model::Design* design, const std::string& design_name, unsigned n,
                          const std::string& output) {
  const auto source = session.open(path);
  const explore::FollowUps all(*source, design, n);
  ThenExplored result;
  if (all.operations() == 0) {
    result.exit_code = report::kExitNothing;
    result.text = "then   nothing to explore: the trace names no page of a memslot\n";
    result.json = {{"operations", 0}, {"choices", 0}, {"verdict", "nothing"}};
    return result;
  }
  Covered covered;
  StatusLine line;
  const auto start = Clock::now();
  const auto passed = [&] { return std::chrono::duration<double>(Clock::now() - start).count(); };
  const explore::SearchTick tick = [&](const explore::SearchProgress& p) -> std::string {
    line.show([&] {
      return fmt::format("{} of {} choices, {} states", covered.choices, all.all().size(),
                         with_thousands(covered.states + p.states));
    });
    if (session.stopped()) return explore::kInterrupted;
    return passed() >= ThenExplored::kSeconds ? "time" : "";
  };
  result.json = {{"operations", all.operations()}, {"choices", all.all().size()}};
  for (const explore::FollowUp& choice : all.all()) {
    if (covered.states >= ThenExplored::kStates) covered.bound = "states";
    if (!covered.bound.empty()) break;
    explore::Scenario scenario = all.scenario(choice);
    scenario.info.file = path;
    explore::Bounds bounds;
    bounds.max_states = ThenExplored::kStatesEach;
    const explore::PinnedRun run =
        explore::run_pinned(scenario, design, design_name, bounds, nullptr, tick);
    const Exploration& x = run.found;
    covered.states += x.states;
    covered.transitions += x.transitions;
    if (x.bound == "time" || x.bound == explore::kInterrupted) covered.bound = x.bound;
    covered.choices += covered.bound.empty();
    covered.incomplete += !x.bound.empty() && covered.bound.empty();
    covered.doubtful += !x.doubts.empty();
    if (!x.violation) continue;
    const std::string wrote = write_counterexample(scenario, run.counterexample, output);
    result.exit_code = run.replays ? report::kExitViolated : report::kExitInternal;
    result.text = fmt::format("then   violated  {}  \"{}\"\n       {}\n", x.violation->invariant,
                              x.violation->statement, choice.name) +
                  covered_text(all, covered, n) + "\n" +
                  explore::chart_text(explore::chart_steps(scenario, design, x, bounds)) +
                  fmt::format("\n  source: {}\n  wrote {}; replay it: mmucheck replay {}\n",
                              x.violation->source, wrote, wrote);
    result.json["verdict"] = "violated";
    result.json["invariant"] = x.violation->invariant;
    result.json["by"] = choice.name;
    result.json["wrote"] = wrote;
    break;
  }
  if (result.text.empty()) {
    const bool whole = covered.bound.empty() && covered.incomplete == 0 && covered.doubtful == 0;
    const bool interrupted = covered.bound == explore::kInterrupted;
    result.exit_code = whole         ? report::kExitOk
                       : interrupted ? report::kExitInterrupted
                                     : report::kExitInconclusive;
    result.text = whole ? "then   holds\n"
                        : fmt::format("then   nothing was broken so far{}\n",
                                      covered.bound.empty() ? "" : "; ended by " + covered.bound);
    result.text += covered_text(all, covered, n);
    result.json["verdict"] = whole ? "holds" : "inconclusive";
  }
  result.json["explored"] = covered.choices;
  result.json["incomplete"] = covered.incomplete;
  result.json["doubtful"] = covered.doubtful;
  result.json["states"] = covered.states;
  result.json["transitions"] = covered.transitions;
  return result;
}

}  // namespace mmucheck::cli
