// mmucheck diff: the shortest execution of a scenario in which two designs do something else, and
// what each of them comes to in all executions.
#include <fmt/format.h>

#include <array>
#include <memory>
#include <stdexcept>

#include "checker/explore/chart.h"
#include "checker/explore/difference.h"
#include "checker/explore/end_states.h"
#include "checker/report/text_writer.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/design_file.h"
#include "tools/mmucheck/explore_table.h"

namespace mmucheck::cli {
namespace {

using explore::Difference;
using explore::Exploration;
using DiffJson = nlohmann::ordered_json;

struct DiffOptions {
  std::string file;
  std::vector<std::string> designs;
  BoundOptions given;
  bool ends = false;
};

struct DiffSide {
  std::string name;
  std::unique_ptr<model::OwnedDesign> design;
  Exploration alone;
};

std::string side_text(const DiffSide& s) {
  const Exploration& x = s.alone;
  std::string verdict = explore::verdict_text(x);
  if (x.violation) {
    verdict += fmt::format("  {} after {} steps", x.violation->invariant, x.path.size());
  }
  return fmt::format("  {:<24}  {} states, {} transitions  {}\n", s.name,
                     report::with_thousands(x.states), report::with_thousands(x.transitions),
                     verdict);
}

// The rule that one of them breaks and the other does not.
std::string separates(const DiffSide& a, const DiffSide& b) {
  const std::string in_a = a.alone.violation ? a.alone.violation->invariant : "";
  const std::string in_b = b.alone.violation ? b.alone.violation->invariant : "";
  if (in_a == in_b) return "";
  if (in_a.empty() || in_b.empty()) return in_a + in_b;
  return in_a + ", " + in_b;
}

void print_diff(const Session& session, const std::string& file, const DiffSide& a,
                const DiffSide& b, const Difference& d,
                const std::vector<explore::ChartStep>& steps) {
  session.print(fmt::format("{}  {}\n", d.found ? "differ" : "same", file));
  session.print(side_text(a) + side_text(b));
  if (const std::string rule = separates(a, b); !rule.empty()) {
    session.print(fmt::format("  separated by {}\n", rule));
  }
  if (!d.found) {
    session.print(fmt::format("\n  every move shows the same in both: {} pairs of states{}\n",
                              report::with_thousands(d.pairs),
                              d.bound.empty() ? "" : ", --" + d.bound + " was hit"));
    return;
  }
  session.print(
      fmt::format("\n  the shortest execution in which they differ, {} steps:\n\n", d.path.size()));
  session.print(explore::chart_text(steps));
  session.print(fmt::format("\n  the last step  {}\n    {}: {}\n    {}: {}\n",
                            fmt::format("(thread {})", d.path.back().thread), a.name, d.in_a,
                            b.name, d.in_b));
}

DiffJson side_json(const DiffSide& s) {
  const Exploration& x = s.alone;
  return {{"design", s.name},
          {"verdict", explore::verdict_text(x)},
          {"invariant", x.violation ? DiffJson(x.violation->invariant) : DiffJson(nullptr)},
          {"states", x.states},
          {"transitions", x.transitions},
          {"steps", x.violation ? DiffJson(x.path.size()) : DiffJson(nullptr)}};
}

DiffJson diff_json(const std::string& file, const DiffSide& a, const DiffSide& b,
                   const Difference& d, const std::vector<explore::ChartStep>& steps) {
  DiffJson path = DiffJson::array();
  for (const explore::ChartStep& s : steps) {
    path.push_back({{"thread", s.thread}, {"events", s.events}});
  }
  const std::string rule = separates(a, b);
  return {{"schema", kJsonSchema},
          {"file", file},
          {"designs", {side_json(a), side_json(b)}},
          {"separated_by", rule.empty() ? DiffJson(nullptr) : DiffJson(rule)},
          {"differ", d.found},
          {"pairs", d.pairs},
          {"steps", path},
          {"last_step", {d.in_a, d.in_b}},
          {"bound_hit", d.bound.empty() ? DiffJson(nullptr) : DiffJson(d.bound)}};
}

// What the two come to where all threads are over.
int run_ends(Session& session, const DiffOptions& o, const explore::Scenario& scenario,
             const explore::Bounds& bounds) {
  explore::EndStates ends[2];
  for (size_t i = 0; i < 2; i++) {
    const auto design = design_from(o.designs[i], "", session.stop_flag());
    ends[i] = explore::end_states(scenario, &design->design, bounds, stopped_by(session));
    if (!ends[i].doubts.empty()) {
      return session.fail(report::kExitInconclusive, o.designs[i] + ": " + ends[i].doubts.front());
    }
  }
  const std::array alone = {explore::only_in(ends[0], ends[1]), explore::only_in(ends[1], ends[0])};
  const bool differ = !alone[0].empty() || !alone[1].empty();
  const bool complete = ends[0].bound.empty() && ends[1].bound.empty();
  const bool broken = ends[0].broken || ends[1].broken;
  if (session.json) {
    DiffJson sides = DiffJson::array();
    for (size_t i = 0; i < 2; i++) {
      sides.push_back({{"design", o.designs[i]},
                       {"states", ends[i].states},
                       {"transitions", ends[i].transitions},
                       {"end_states", ends[i].all.size()},
                       {"alone", alone[i].size()},
                       {"breaks", ends[i].broken}});
    }
    session.print_json({{"schema", kJsonSchema}, {"file", o.file}, {"designs", sides},
                        {"differ", differ}, {"complete", complete}});
  } else {
    session.print(fmt::format("{}  {}\n", differ ? "differ" : "same", o.file));
    for (size_t i = 0; i < 2; i++) {
      session.print(fmt::format("  {:<24}  {} states, {} transitions; {} end states, {} alone{}\n",
                                o.designs[i], report::with_thousands(ends[i].states),
                                report::with_thousands(ends[i].transitions), ends[i].all.size(),
                                alone[i].size(),
                                ends[i].broken ? "; what breaks a rule is not followed" : ""));
    }
    for (size_t i = 0; i < 2; i++) {
      if (alone[i].empty()) continue;
      session.print("\n  only " + o.designs[i] + ":\n" + alone[i].front()->first);
    }
  }
  if (session.stopped()) return report::kExitInterrupted;
  if (differ) return report::kExitViolated;
  return complete && !broken ? report::kExitOk : report::kExitInconclusive;
}

int run_diff(Session& session, const DiffOptions& o) {
  const explore::Scenario scenario = read_scenario_file(session, o.file);
  if (scenario.threads.empty()) {
    return session.fail(report::kExitNothing,
                        o.file + ": no stimulus stands behind packet { explore {} }");
  }
  const explore::Bounds bounds = o.given.of(scenario);
  if (o.ends) {
    try {
      return run_ends(session, o, scenario, bounds);
    } catch (const std::invalid_argument& error) {
      return session.fail(report::kExitUsage, error.what());
    }
  }
  DiffSide sides[2];
  for (size_t i = 0; i < 2; i++) {
    sides[i].name = o.designs[i];
    try {
      sides[i].design = design_from(o.designs[i], "", session.stop_flag());
    } catch (const std::invalid_argument& error) {
      return session.fail(report::kExitUsage, error.what());
    }
    sides[i].alone = explore::explore(scenario, &sides[i].design->design, bounds,
                                      stopped_by(session));
    if (!sides[i].alone.doubts.empty()) {
      return session.fail(report::kExitInconclusive,
                          o.designs[i] + ": " + sides[i].alone.doubts.front());
    }
  }
  const Difference d =
      explore::first_difference(scenario, &sides[0].design->design, &sides[1].design->design,
                                bounds, bounds.max_states,
                                [&session] { return !session.stopped(); });
  std::vector<explore::ChartStep> steps;
  if (d.found) {
    // What both did, and the step before which they were the same.
    std::vector<explore::Move> both(d.path.begin(), d.path.end() - 1);
    steps = explore::chart_steps(scenario, &sides[0].design->design, both, bounds);
  }
  if (session.json) {
    session.print_json(diff_json(o.file, sides[0], sides[1], d, steps));
  } else {
    print_diff(session, o.file, sides[0], sides[1], d, steps);
  }
  if (session.stopped()) return report::kExitInterrupted;
  if (!d.found && !d.bound.empty()) return report::kExitInconclusive;
  return d.found ? report::kExitViolated : report::kExitOk;
}

}  // namespace

void add_diff(CLI::App& app, Session& session) {
  auto o = std::make_shared<DiffOptions>();
  CLI::App* sub = app.add_subcommand("diff", "how two designs differ in a scenario");
  sub->add_option("SCENARIO", o->file, "a scenario, as for explore")->required();
  sub->add_option("--design", o->designs, "NAME or NAME,choice=value,...; twice")
      ->option_text("DESIGN")
      ->required()
      ->expected(2);
  sub->add_option("--max-states", o->given.max_states, "stop at so many states, or pairs of them")
      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000'000}));
  sub->add_option("--busy", o->given.busy,
                  "at most so many SEAMCALLs answer OPERAND_BUSY without a cause in the model")
      ->check(CLI::Range(0u, 16u));
  sub->add_flag("--ends", o->ends,
                "compare only what the VM has come to where all threads are over, by all executions");
  sub->footer(
      "Both designs are led through the same moves, breadth first: the first move that shows\n"
      "something else, breaks another rule, or that only one can make ends the shortest execution\n"
      "in which they differ. Besides, each is explored alone.\n\n"
      "Exit code 0: they do the same; 1: they differ.\n\n"
      "Example:\n"
      "  mmucheck diff traces/scenarios/bugs/zap-busy.txtpb --design linux-7.2 "
      "--design linux-7.2,seamcall_busy=bug");
  sub->callback([o, &session] { session.exit_code = run_diff(session, *o); });
}

}  // namespace mmucheck::cli
