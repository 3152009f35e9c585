// mmucheck explore: every interleaving of a scenario's threads, within bounds.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <stdexcept>

#include "checker/explore/chart.h"
#include "checker/replay/replay_trace.h"
#include "checker/report/text_writer.h"
#include "checker/trace/open_trace.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/design_file.h"
#include "tools/mmucheck/progress.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;
using explore::Exploration;
using report::with_thousands;

constexpr const char* kInterrupted = "interrupted";

struct ExploreOptions {
  std::string file, design, output;
  explore::Bounds bounds;
  uint64_t memory_mib = 0;
  double seconds = 0;  // 0: no bound
};

std::string plural(uint64_t n, const char* what) {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : "s");
}

bool interrupted(const Exploration& x) {
  return x.bound == kInterrupted;
}

const char* verdict_of(const Exploration& x) {
  if (x.violation) return "violated";
  return x.doubts.empty() && x.bound.empty() ? "holds" : "inconclusive";
}

std::string what_was_bounded(const explore::Scenario& s, const ExploreOptions& o) {
  std::string text = fmt::format("{}, {}", plural(s.threads.size(), "thread"),
                                 plural(s.operations(), "operation"));
  text += o.bounds.busy == 0
              ? "; BUSY only from locks of the model"
              : fmt::format("; BUSY from outside at most {}", plural(o.bounds.busy, "time"));
  if (o.bounds.preemptions) {
    text += fmt::format("; at most {}", plural(*o.bounds.preemptions, "preemption"));
  }
  return text;
}

Exploration search(const Session& session, const explore::Scenario& scenario,
                   const model::Design* design, const ExploreOptions& o) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  StatusLine line;
  return explore::explore(
      scenario, design, o.bounds, [&](const explore::SearchProgress& p) -> std::string {
        const std::chrono::duration<double> passed = Clock::now() - start;
        line.show([&] {
          return fmt::format("{} states, {:.0f} transitions/s, depth {}, {} to go, {} MiB",
                             with_thousands(p.states),
                             static_cast<double>(p.transitions) / passed.count(), p.depth,
                             with_thousands(p.queue), p.memory >> 20);
        });
        if (session.stopped()) return kInterrupted;
        return o.seconds != 0 && passed.count() >= o.seconds ? "time" : "";
      });
}

std::string counts(const Exploration& x) {
  return fmt::format("{} states, {} transitions, depth {}", with_thousands(x.states),
                     with_thousands(x.transitions), x.depth);
}

// The verdict of replaying the file that was written must be the one that was found.
bool replays_to(const Session& session, const std::string& path, const std::string& rule) {
  const auto source = session.open(path);
  const report::Verdict v = replay::replay_trace(*source);
  return !v.violations.empty() && v.violations[0].invariant == rule;
}

void print_text(const Session& session, const Exploration& x, const explore::Scenario& s,
                const ExploreOptions& o, const std::vector<explore::ChartStep>& steps,
                const std::string& wrote) {
  if (x.violation) {
    session.print(fmt::format("violated  {}  \"{}\"\n          {}; {}, shortest{}\n\n",
                              x.violation->invariant, x.violation->statement,
                              what_was_bounded(s, o), counts(x),
                              x.bound.empty() ? "" : "; then --" + x.bound + " was hit"));
    session.print(explore::chart_text(steps));
    session.print(fmt::format("\n  source: {}\n", x.violation->source));
    if (!wrote.empty()) {
      session.print(fmt::format("  wrote {}; replay it: mmucheck replay {}\n", wrote, wrote));
    }
    return;
  }
  if (!x.doubts.empty()) {
    for (const std::string& why : x.doubts) session.print("inconclusive  " + why + "\n");
    return;
  }
  const std::string why = interrupted(x) ? "interrupted" : "--" + x.bound + " was hit";
  session.print(x.bound.empty() ? fmt::format("holds  within bounds: {}\n", what_was_bounded(s, o))
                                : fmt::format("inconclusive  {}: nothing was broken so far; {}\n",
                                              why, what_was_bounded(s, o)));
  session.print(fmt::format(
      "       {}; {}; {}\n"
      "       {} evaluated; sequential consistency, no walk yields, no A/D bits from CPUs\n",
      counts(x), plural(x.end_states, "end state"),
      o.bounds.like_pages ? "tables numbered by thread" : "no reductions",
      plural(x.invariants, "invariant")));
}

void print_json(const Session& session, const Exploration& x, const explore::Scenario& s,
                const ExploreOptions& o, const std::vector<explore::ChartStep>& steps,
                const std::string& wrote) {
  Json path = Json::array();
  for (const explore::ChartStep& step : steps) {
    path.push_back({{"thread", step.thread}, {"events", step.events}});
  }
  Json out = {
      {"schema", kJsonSchema},
      {"file", o.file},
      {"design", o.design.empty() ? Json(nullptr) : Json(o.design)},
      {"verdict", verdict_of(x)},
      {"invariant", x.violation ? Json(x.violation->invariant) : Json(nullptr)},
      {"statement", x.violation ? Json(x.violation->statement) : Json(nullptr)},
      {"states", x.states},
      {"transitions", x.transitions},
      {"depth", x.depth},
      {"end_states", x.end_states},
      {"invariants", x.invariants},
      {"bounds",
       {{"threads", s.threads.size()},
        {"operations", s.operations()},
        {"max_states", o.bounds.max_states},
        {"max_depth", o.bounds.max_depth},
        {"busy", o.bounds.busy},
        {"preemptions", o.bounds.preemptions ? Json(*o.bounds.preemptions) : Json(nullptr)}}},
      {"bound_hit", x.bound.empty() ? Json(nullptr) : Json(x.bound)},
      {"inconclusive", x.doubts},
      {"steps", path},
      {"wrote", wrote.empty() ? Json(nullptr) : Json(wrote)}};
  for (const Exploration::Other& other : x.others) {
    out["others"].push_back(
        {{"invariant", other.violation.invariant}, {"steps", other.path.size()}});
  }
  session.print_json(out);
}

// The file's name. `number`: of the violation, the first is 0.
std::string write_counterexample(const Session& session, const explore::Scenario& scenario,
                                 const model::Design* design, const ExploreOptions& o,
                                 const Exploration& x, size_t number, bool* confirmed) {
  std::filesystem::path name =
      o.output.empty() ? std::filesystem::path(o.file).stem().string() + "-counterexample.txtpb"
                       : o.output;
  if (number != 0) {
    name.replace_filename(
        fmt::format("{}-{}{}", name.stem().string(), number + 1, name.extension().string()));
  }
  const auto sink = trace::create_trace(name.string(), scenario.info, "txtpb");
  for (const explore::Packet& p :
       explore::counterexample(scenario, design, o.design, x, o.bounds)) {
    sink->put(p.event());
  }
  sink->close();
  if (x.violation->invariant != explore::kStuck) {
    *confirmed = replays_to(session, name.string(), x.violation->invariant);
  }
  return name.string();
}

int run_explore(Session& session, ExploreOptions& o) {
  std::unique_ptr<model::OwnedDesign> given;
  try {
    given = design_from(o.design, "", session.stop_flag());
  } catch (const std::invalid_argument& error) {
    return session.fail(report::kExitUsage, error.what());
  }
  const model::Design* design = given == nullptr ? nullptr : &given->design;
  const auto source = session.open(o.file);
  const explore::Scenario scenario = explore::read_scenario(*source);
  if (scenario.threads.empty()) {
    return session.fail(report::kExitNothing, o.file +
                                                  ": nothing to explore: no stimulus stands behind "
                                                  "packet { marker { text: \"explore\" } }");
  }
  o.bounds.max_memory = o.memory_mib << 20;
  const Exploration x = search(session, scenario, design, o);
  std::vector<explore::ChartStep> steps;
  std::string wrote;
  bool confirmed = true;
  if (x.violation) {
    steps = explore::chart_steps(scenario, design, x, o.bounds);
    wrote = write_counterexample(session, scenario, design, o, x, 0, &confirmed);
  }
  (session.json ? print_json : print_text)(session, x, scenario, o, steps, wrote);
  for (size_t i = 0; i < x.others.size() && confirmed; i++) {
    Exploration other = x;
    other.violation = x.others[i].violation;
    other.path = x.others[i].path;
    wrote = write_counterexample(session, scenario, design, o, other, i + 1, &confirmed);
    if (session.json) continue;
    session.print(fmt::format("  also {} \"{}\", {}: {}\n", other.violation->invariant,
                              other.violation->statement, plural(other.path.size(), "step"),
                              wrote));
  }
  if (!confirmed) {
    return session.fail(
        report::kExitInternal,
        wrote + ": a replay of the counterexample does not break " + x.violation->invariant);
  }
  if (x.violation) return report::kExitViolated;
  if (interrupted(x)) return report::kExitInterrupted;
  return x.doubts.empty() && x.bound.empty() ? report::kExitOk : report::kExitInconclusive;
}

}  // namespace

void add_explore(CLI::App& app, Session& session) {
  auto o = std::make_shared<ExploreOptions>();
  CLI::App* sub = app.add_subcommand("explore", "try every interleaving of a scenario's threads");
  sub->add_option("FILE", o->file,
                  "a hand-written trace with packet { marker { text: \"explore\" } }; the stimuli "
                  "behind it run concurrently, a thread each")
      ->required();
  sub->add_option("--design", o->design, "NAME or NAME,choice=value,... instead of the scenario's")
      ->option_text("DESIGN");
  sub->add_option("--max-states", o->bounds.max_states, "stop at so many states")
      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000'000}))
      ->capture_default_str();
  sub->add_option("--max-depth", o->bounds.max_depth,
                  "stop at so many steps from the start (0: no)")
      ->capture_default_str();
  sub->add_option("--memory", o->memory_mib, "stop before the process takes so many MiB (0: no)")
      ->capture_default_str();
  sub->add_option("--time", o->seconds, "stop after so many seconds (0: no)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--threads", o->bounds.workers, "threads that search; the result is the same")
      ->check(CLI::Range(1u, 64u))
      ->capture_default_str();
  sub->add_option("--preemptions", o->bounds.preemptions,
                  "at most so often a thread goes on although the one that moved last could")
      ->option_text("N");
  sub->add_flag("--all", o->bounds.all,
                "one counterexample for each invariant and last step that breaks it");
  sub->add_flag("--self-check", o->bounds.self_check,
                "run again what is known of each step, and compare: exit code 6 where it differs");
  sub->add_flag("--like-pages", o->bounds.like_pages,
                "reduce: page tables are numbered by the thread that allocates them");
  sub->add_option("--busy", o->bounds.busy,
                  "at most so many SEAMCALLs answer OPERAND_BUSY without a cause in the model")
      ->check(CLI::Range(0u, 16u))
      ->capture_default_str();
  sub->add_option("-o,--output", o->output,
                  "where a counterexample goes [NAME-counterexample.txtpb]")
      ->option_text("FILE");
  sub->footer(
      "Breadth first: a violation comes with one of its shortest executions, as a chart and as a\n"
      "trace, which is replayed to confirm it.\n\n"
      "Examples:\n"
      "  mmucheck explore traces/scenarios/seed-004/two-vcpus.txtpb\n"
      "  mmucheck explore --busy 1 traces/scenarios/gmem/fault-against-punch.txtpb\n"
      "  mmucheck --json explore --max-states 100000 scenario.txtpb");
  sub->callback([o, &session] { session.exit_code = run_explore(session, *o); });
}

}  // namespace mmucheck::cli
