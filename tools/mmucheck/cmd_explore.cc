// mmucheck explore: every interleaving of a scenario's threads, within bounds.
#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <memory>
#include <stdexcept>

#include "checker/explore/chart.h"
#include "checker/explore/scaled.h"
#include "checker/explore/would_hold.h"
#include "checker/invariant/ids.h"
#include "checker/report/text_writer.h"
#include "checker/trace/open_trace.h"
#include "model/design/choices.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/design_file.h"
#include "tools/mmucheck/explore_compare.h"
#include "tools/mmucheck/explore_forecast.h"
#include "tools/mmucheck/explore_table.h"
#include "tools/mmucheck/small_counterexample.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;
using explore::Exploration;
using report::with_thousands;

// Of so many states the orders of conflicting steps are looked at unasked: it takes about as long as
// the search by one thread, and 33 bytes a state.
constexpr uint64_t kCoverageStates = 100'000;

struct ExploreOptions {
  std::vector<std::string> files;
  std::string design, output;
  BoundOptions given;
  explore::Scale scale;
  double seconds = 0;  // 0: no bound
  bool table = false, compare = false, all_designs = false, timings = false, no_remedy = false;
  bool no_shrink = false, verbose = false, coverage = false, forecast = false;
  explore::Bounds bounds;  // given, or the scenario's

  const std::string& file() const { return files.front(); }
};

// Of a violation.
struct Found {
  std::vector<explore::ChartStep> steps;
  std::string wrote;
  size_t left_out = 0;  // packets of the scenario
  bool smaller = false;
  explore::Remedies remedies;
};

std::string plural(uint64_t n, const char* what, const char* ending = "s") {
  return fmt::format("{} {}{}", n, what, n == 1 ? "" : ending);
}

bool interrupted(const Exploration& x) {
  return x.bound == explore::kInterrupted;
}

std::string what_was_bounded(const explore::Scenario& s, const ExploreOptions& o) {
  std::string text = fmt::format("{}, {}", plural(s.threads.size(), "thread"),
                                 plural(s.operations(), "operation"));
  if (s.yields != 0) text += fmt::format("; at most {}", plural(s.yields, "yield"));
  text += o.bounds.busy == 0
              ? "; BUSY only from locks of the model"
              : fmt::format("; BUSY from outside at most {}", plural(o.bounds.busy, "time"));
  if (o.bounds.preemptions) {
    text += fmt::format("; at most {}", plural(*o.bounds.preemptions, "preemption"));
  }
  return text;
}

// How often the path goes on with another thread.
size_t context_switches(const Exploration& x) {
  size_t n = 0;
  for (size_t i = 1; i < x.path.size(); i++) n += x.path[i].thread != x.path[i - 1].thread;
  return n;
}

std::string remedies_text(const explore::Remedies& r) {
  std::string text;
  for (const explore::Remedy& one : r.found) {
    text += fmt::format("  would hold with    --design {}   ({} states)\n", one.design,
                        with_thousands(one.states));
  }
  if (text.empty() && r.tried != 0) {
    text = fmt::format("  no single choice of the newest designs makes it hold: {} tried\n", r.tried);
  }
  return text;
}

// Of a loop, by the numbers of the chart.
std::string loop_text(const Exploration& x) {
  if (x.loop.empty()) return "";
  return fmt::format("\n  steps {} to {} can go on for ever, and pass over nobody who could move\n",
                     x.path.size() + 1, x.path.size() + x.loop.size());
}

std::string counts(const Exploration& x) {
  return fmt::format("{} states, {} transitions, depth {}", with_thousands(x.states),
                     with_thousands(x.transitions), x.depth);
}

std::string reductions(const explore::Bounds& b, const explore::ThreadGroups& symmetric) {
  std::vector<std::string> all;
  if (b.like_pages) all.emplace_back("tables numbered by thread");
  if (b.partial_order) all.emplace_back("partial order");
  if (b.symmetry && symmetric.empty()) all.emplace_back("no threads are alike");
  for (const auto& group : symmetric) {
    all.push_back(fmt::format("threads {}", fmt::join(group, " = ")));
  }
  return all.empty() ? "no reductions" : fmt::format("{}", fmt::join(all, ", "));
}

// What a reduction by symmetry has left out.
std::string stands_for(const Exploration& x, const explore::Bounds& b) {
  if (x.symmetric.empty() || !x.bound.empty()) return "";
  const std::string ends =
      plural(x.stands_for.end_states, "end state");
  if (b.partial_order) return fmt::format("       for {} by all names\n", ends);
  return fmt::format("       for {} states, {} transitions and {} by all names\n",
                     with_thousands(x.stands_for.states),
                     with_thousands(x.stands_for.transitions), ends);
}

Json stands_for_json(const Exploration& x, const explore::Bounds& b) {
  if (x.symmetric.empty() || !x.bound.empty() || x.violation) return nullptr;
  Json counts = {{"end_states", x.stands_for.end_states}};
  if (!b.partial_order) {
    counts["states"] = x.stands_for.states;
    counts["transitions"] = x.stands_for.transitions;
  }
  return counts;
}

std::string text_of(const explore::StepKind& k) {
  return fmt::format("thread {} [{}] {}", k.thread, k.operations, k.what);
}

// Of a search that found nothing: how much of what could matter was tried.
std::string coverage_text(const explore::Coverage& c, const ExploreOptions& o) {
  if (!c.counted) {
    return fmt::format("       more than {} kinds of steps: their orders were not looked at\n",
                       explore::StepOrders::kMaxKinds);
  }
  if (c.conflicts.empty()) return "";
  std::string text = fmt::format("{} of {}", with_thousands(c.seen_in_both()),
                                 with_thousands(c.conflicts.size()));
  if (!c.ordered) text = with_thousands(c.conflicts.size()) + ", not looked at (--coverage does)";
  text = "       conflicting pairs of steps seen in both orders: " + text + "\n";
  if (!o.verbose || !c.ordered) return text;
  for (const explore::ConflictingSteps& pair : c.conflicts) {
    if (pair.both()) continue;
    const bool never = !pair.in_order && !pair.reversed;
    const auto& [first, second] = pair.reversed ? std::pair(pair.second, pair.first)
                                                : std::pair(pair.first, pair.second);
    text += fmt::format("         {}\n           {} {}   ({})\n", text_of(first),
                        never ? "never with" : "only before", text_of(second), pair.cell);
  }
  return text;
}

std::string about_text(const explore::Scenario& s, const Exploration& x) {
  if (s.expected.empty()) return "";
  std::string text =
      fmt::format("       conflicts that the scenario is about: {} of {} seen\n",
                  s.expected.size() - x.missing.size(), s.expected.size());
  for (const explore::MissingConflict& m : x.missing) {
    text += fmt::format("         {}\n           {}\n", m.what, m.why);
  }
  return text;
}

Json json_of(const explore::StepKind& k) {
  return {{"thread", k.thread}, {"operations", k.operations}, {"step", k.what}};
}

Json coverage_json(const explore::Coverage& c) {
  if (!c.counted) return nullptr;
  Json rest = Json::array(), both = Json::array();
  for (const explore::ConflictingSteps& pair : c.conflicts) {
    if (!c.ordered) continue;
    if (pair.both()) {
      both.push_back(
          {{"first", json_of(pair.first)}, {"second", json_of(pair.second)}, {"cell", pair.cell}});
      continue;
    }
    rest.push_back({{"first", json_of(pair.first)},
                    {"second", json_of(pair.second)},
                    {"cell", pair.cell},
                    {"first_before_second", pair.in_order},
                    {"second_before_first", pair.reversed}});
  }
  return {{"conflicting_pairs", c.conflicts.size()},
          {"both_orders", c.ordered ? Json(c.seen_in_both()) : Json(nullptr)},
          {"in_both_orders", both},
          {"not_in_both_orders", rest}};
}

void print_text(const Session& session, const Exploration& x, const explore::Scenario& s,
                const ExploreOptions& o, const Found& found) {
  const auto& [steps, wrote, left_out, smaller, remedies] = found;
  if (x.violation) {
    session.print(fmt::format("violated  {}  \"{}\"\n          {}\n"
                              "          {}; {}, {}{}\n\n",
                              x.violation->invariant, x.violation->statement,
                              what_was_bounded(s, o), counts(x),
                              x.shortest ? "shortest" : "shortest known",
                              plural(context_switches(x), "context switch", "es"),
                              x.bound.empty() ? "" : "; then --" + x.bound + " was hit"));
    session.print(explore::chart_text(steps) + loop_text(x));
    session.print(fmt::format("\n  source: {}\n", x.violation->source) + remedies_text(remedies));
    if (smaller) {
      session.print(fmt::format(
          "  smaller than the scenario by {}, with the least numbers that do (--no-shrink: as it is)\n",
          plural(left_out, "packet")));
    }
    if (!wrote.empty()) {
      session.print(fmt::format("  wrote {}; replay it: mmucheck replay {}\n", wrote, wrote));
    }
    return;
  }
  if (!x.doubts.empty()) {
    for (const std::string& why : x.doubts) session.print("inconclusive  " + why + "\n");
    return;
  }
  const std::string why = interrupted(x) ? x.bound : "--" + x.bound + " was hit";
  session.print(x.bound.empty() ? fmt::format("{}  within bounds: {}\n", explore::verdict_text(x),
                                              what_was_bounded(s, o))
                                : fmt::format("inconclusive  {}: {}; {}\n", why,
                                              x.not_rebuilt.empty()
                                                  ? "nothing was broken so far"
                                                  : x.not_rebuilt + ", no path there is known",
                                              what_was_bounded(s, o)));
  session.print(fmt::format(
      "       {}; {}; {}\n"
      "{}"
      "       {} evaluated; sequential consistency, no A/D bits from CPUs{}\n",
      counts(x), plural(x.end_states, "end state"), reductions(o.bounds, x.symmetric),
      stands_for(x, o.bounds),
      plural(x.invariants, "invariant"), s.yields == 0 ? ", no walk yields" : ""));
  if (x.omissions != 0) {
    session.print(fmt::format("       told apart by 64 bits of a hash: {:.1e} states are expected to be "
                              "left out at most\n",
                              x.omissions));
  }
  if (s.threads.size() > 1) session.print(coverage_text(x.coverage, o));
  if (explore::verdict_of(x) == trace::ExpectedVerdict::kHolds) session.print(about_text(s, x));
  if (x.nothing_to_check && x.missing.empty()) {
    session.print("       no step of a thread conflicts with one of another: their order is no question\n");
  }
}

void print_json(const Session& session, const Exploration& x, const explore::Scenario& s,
                const ExploreOptions& o, const Found& found) {
  const auto& [steps, wrote, left_out, smaller, remedies] = found;
  Json path = Json::array();
  for (const explore::ChartStep& step : steps) {
    path.push_back({{"thread", step.thread}, {"events", step.events}});
  }
  Json out = {{"schema", kJsonSchema},
              {"file", o.file()},
              {"design", o.design.empty() ? Json(nullptr) : Json(o.design)},
              {"verdict", explore::verdict_text(x)},
              {"invariant", x.violation ? Json(x.violation->invariant) : Json(nullptr)},
              {"statement", x.violation ? Json(x.violation->statement) : Json(nullptr)},
              {"states", x.states},
              {"transitions", x.transitions},
              {"depth", x.depth},
              {"end_states", x.end_states},
              {"symmetric", x.symmetric},
              {"stands_for", stands_for_json(x, o.bounds)},
              {"expected_omissions", x.omissions},
              {"invariants", x.invariants},
              {"coverage", coverage_json(x.coverage)},
              {"nothing_checked", x.nothing_to_check},
              {"conflicts_expected", s.expected.size()},
              {"conflicts_not_seen", conflicts_json(x)},
              {"bounds",
               {{"threads", s.threads.size()},
                {"operations", s.operations()},
                {"max_states", o.bounds.max_states},
                {"max_depth", o.bounds.max_depth},
                {"busy", o.bounds.busy},
                {"yields", s.yields},
                {"preemptions", o.bounds.preemptions ? Json(*o.bounds.preemptions) : Json(nullptr)}}},
              {"bound_hit", x.bound.empty() ? Json(nullptr) : Json(x.bound)},
              {"inconclusive", x.doubts},
              {"steps", path},
              {"loop_from", x.loop.empty() ? Json(nullptr) : Json(x.path.size() + 1)},
              {"wrote", wrote.empty() ? Json(nullptr) : Json(wrote)}};
  if (x.violation) {
    out["context_switches"] = context_switches(x);
    out["left_out"] = left_out;
    out["smaller"] = smaller;
    out["would_hold_with"] = Json::array();
    for (const explore::Remedy& r : remedies.found) {
      out["would_hold_with"].push_back({{"design", r.design}, {"states", r.states}});
    }
  }
  for (const Exploration& other : x.others) {
    out["others"].push_back(
        {{"invariant", other.violation->invariant}, {"steps", other.path.size()}});
  }
  session.print_json(out);
}

// Refused packets make no verdict doubtful: they are no scenario.
void refuse_what_is_refused(const Exploration& x, const explore::Scenario& s,
                            const model::Design* design) {
  if (x.doubts.empty() || (design != nullptr && !model::not_modelled(*design).empty())) return;
  trace::TraceError::Where where;
  where.file = s.info.file;
  throw trace::TraceError(trace::TraceErrorKind::kCorrupt, where, x.doubts.front());
}

int run_table(Session& session, const ExploreOptions& o) {
  TableRequest request{o.files, {}, o.given, o.timings};
  if (!o.design.empty()) request.designs = {o.design};
  if (o.all_designs) {
    for (const model::Design& d : model::designs()) request.designs.emplace_back(d.name);
  }
  try {
    return o.compare ? compare_table(session, request) : explore_table(session, request);
  } catch (const std::invalid_argument& error) {
    return session.fail(report::kExitUsage, error.what());
  }
}

// The file's name. `number`: of the violation, the first is 0.
std::string write_numbered(const explore::Scenario& scenario,
                           const std::vector<explore::Packet>& packets, const ExploreOptions& o,
                           size_t number) {
  std::filesystem::path name = counterexample_name(scenario, o.output);
  if (number != 0) {
    name.replace_filename(
        fmt::format("{}-{}{}", name.stem().string(), number + 1, name.extension().string()));
  }
  return write_counterexample(scenario, packets, name.string());
}

SmallCounterexample small_of(const explore::Scenario& scenario, const model::Design* design,
                             const ExploreOptions& o, const Exploration& x,
                             const std::vector<explore::Packet>& packets) {
  if (o.no_shrink) return {scenario, packets, 0, false};
  return small_counterexample(scenario, design, o.design, x, o.bounds, packets);
}

int run_explore(Session& session, ExploreOptions& o) {
  if (o.table || o.all_designs || o.compare) {
    if (!o.scale.any()) return run_table(session, o);
    return session.fail(report::kExitUsage, "--vcpus and --gfns do not go with a table");
  }
  if (o.files.size() != 1 || std::filesystem::is_directory(o.file())) {
    return session.fail(report::kExitUsage, "several scenarios go with --table");
  }
  std::unique_ptr<model::OwnedDesign> given;
  try {
    given = design_from(o.design, "", session.stop_flag());
  } catch (const std::invalid_argument& error) {
    return session.fail(report::kExitUsage, error.what());
  }
  const model::Design* design = given == nullptr ? nullptr : &given->design;
  explore::Scenario scenario = read_scenario_file(session, o.file());
  if (scenario.threads.empty()) {
    return session.fail(report::kExitNothing, o.file() +
                                                  ": nothing to explore: no stimulus stands behind "
                                                  "packet { explore {} }");
  }
  try {
    scenario = explore::scaled(scenario, o.scale);
  } catch (const std::invalid_argument& error) {
    return session.fail(report::kExitUsage, error.what());
  }
  o.bounds = o.given.of(scenario);
  o.bounds.coverage = o.coverage ? ~uint64_t{0} : kCoverageStates;
  if (o.forecast) return run_forecast(session, scenario, design, o.design, o.bounds);
  const explore::SearchTick tick =
      progress_tick(session, scenario, design, o.bounds, o.seconds);
  const explore::PinnedRun run =
      explore::run_pinned(scenario, design, o.design, o.bounds, nullptr, tick);
  const Exploration& x = run.found;
  refuse_what_is_refused(x, scenario, design);
  Found found;
  if (x.violation) {
    const SmallCounterexample small = small_of(scenario, design, o, x, run.counterexample);
    found.steps = explore::chart_steps(small.scenario, design, x, o.bounds);
    found.left_out = small.left_out;
    found.smaller = small.changed;
    found.wrote = write_numbered(scenario, small.packets, o, 0);
    if (!o.no_remedy) found.remedies = explore::would_hold(scenario, design, o.bounds, tick);
  }
  (session.json ? print_json : print_text)(session, x, scenario, o, found);
  bool confirmed = run.replays;
  for (size_t i = 0; i < x.others.size() && confirmed; i++) {
    const Exploration& other = x.others[i];
    const auto packets = explore::counterexample(scenario, design, o.design, other, o.bounds);
    confirmed = explore::replays_to(scenario.info, packets, other.violation->invariant,
                                    o.bounds.only);
    const SmallCounterexample small = small_of(scenario, design, o, other, packets);
    found.wrote = write_numbered(scenario, small.packets, o, i + 1);
    if (session.json) continue;
    session.print(fmt::format("  also {} \"{}\", {}: {}\n", other.violation->invariant,
                              other.violation->statement, plural(other.path.size(), "step"),
                              found.wrote));
  }
  if (!confirmed) {
    return session.fail(
        report::kExitInternal,
        found.wrote + ": a replay of the counterexample does not break " + x.violation->invariant);
  }
  return !x.violation && interrupted(x) ? report::kExitInterrupted : exit_code_of(x);
}

}  // namespace

void add_explore(CLI::App& app, Session& session) {
  auto o = std::make_shared<ExploreOptions>();
  CLI::App* sub = app.add_subcommand("explore", "try every interleaving of a scenario's threads");
  sub->add_option("FILE", o->files,
                  "a hand-written trace with packet { explore {} }; the stimuli behind it run "
                  "concurrently, a thread each; with --table several, or directories")
      ->required();
  sub->add_option("--design", o->design, "NAME or NAME,choice=value,... instead of the scenario's")
      ->option_text("DESIGN");
  sub->add_flag("--table", o->table,
                "a line for each scenario and each design that it names, compared with what the "
                "scenario says comes out");
  sub->add_flag("--all-designs", o->all_designs, "a line for each scenario and each row of designs");
  sub->add_flag("--timings", o->timings, "with a table: how long each exploration took");
  sub->add_option("--vcpus", o->scale.vcpus,
                  "so many vCPUs fault, the further ones as the first [as in the scenario]")
      ->check(CLI::Range(1u, 8u));
  sub->add_option("--gfns", o->scale.gfns,
                  "on so many pages from the first fault's on, which the ranges of the other threads "
                  "then have [as in the scenario]")
      ->check(CLI::Range(1u, 512u));
  sub->add_option("--max-states", o->given.max_states,
                  "stop at so many states [as the scenario says, or 1000000]")
      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000'000}));
  sub->add_option("--max-depth", o->given.max_depth,
                  "stop at so many steps from the start [as the scenario says]; 0: no");
  sub->add_option("--memory", o->given.memory_mib,
                  "stop before the process takes so many MiB (0: no)")
      ->capture_default_str();
  sub->add_option("--time", o->seconds, "stop after so many seconds (0: no)")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  sub->add_option("--threads", o->given.workers, "threads that search; the result is the same")
      ->check(CLI::Range(1u, 64u))
      ->capture_default_str();
  auto* const preemptions =
      sub->add_option("--preemptions", o->given.preemptions,
                      "at most so often a thread goes on although the one that moved last could")
          ->option_text("N");
  sub->add_flag("--por", o->given.partial_order,
                "reduce: a thread whose next steps do not matter to the others is run alone")
      ->excludes(preemptions);
  sub->add_flag("--all", o->given.all,
                "one counterexample for each invariant and last step that breaks it");
  sub->add_flag("--no-remedy", o->no_remedy,
                "of a violation: do not look which single choice of the newest designs avoids it");
  sub->add_flag("--forecast", o->forecast,
                "only say how many states and how much time it will take, by random walks; a search that "
                "takes over a second on a terminal says so by itself");
  sub->add_flag("--coverage", o->coverage,
                "look which conflicting steps were seen in both orders in a search of more than "
                "100,000 states, too");
  sub->add_flag("-v,--verbose", o->verbose,
                "also list the pairs of conflicting steps that were not seen in both orders");
  sub->add_flag("--no-shrink", o->no_shrink,
                "of a violation: leave in the trace what its steps do not need, and numbers as they are");
  sub->add_flag("--self-check", o->given.self_check,
                "run again what is known of each step, and compare: exit code 6 where it differs");
  sub->add_flag("--like-pages", o->given.like_pages,
                "reduce: page tables are numbered by the thread that allocates them");
  sub->add_flag("--symmetry", o->given.symmetry,
                "reduce: of states that differ in which of several threads that are alike is which, one "
                "is kept; which threads are alike shows in their steps")
      ->excludes(preemptions);
  sub->add_flag("--hash-compact", o->given.hash_compact,
                "of states that were expanded keep 64 bits of hash alone: less memory where states are "
                "large, and inconclusive in place of holds")
      ->excludes("--all")
      ->excludes("--table")
      ->excludes("--all-designs")
      ->excludes("--self-check")
      ->excludes("--coverage");
  sub->add_option("--only", o->given.only, "look at this invariant alone, whatever else is broken")
      ->option_text("ID")
      ->check([](const std::string& id) -> std::string {
        return invariant::find_id(id) != invariant::kNoId ? "" : "there is no invariant " + id;
      });
  sub->add_flag("--fair", o->given.fair,
                "where nothing is broken: look for an execution that never ends although no thread that "
                "could move is passed over")
      ->excludes("--like-pages")
      ->excludes("--symmetry")
      ->excludes("--hash-compact")
      ->excludes("--preemptions");
  sub->add_option("--busy", o->given.busy,
                  "at most so many SEAMCALLs answer OPERAND_BUSY without a cause in the model "
                  "[as the scenario says, or 0]")
      ->check(CLI::Range(0u, 16u));
  sub->add_flag("--compare", o->compare,
                "a line for each scenario and each design: does a search with each reduction, alone and "
                "with others, break the same rules and end in the same states as the whole one? exit "
                "code 6 where it does not")
      ->excludes("--like-pages")
      ->excludes("--por")
      ->excludes("--symmetry")
      ->excludes("--preemptions")
      ->excludes("--self-check")
      ->excludes("--hash-compact")
      ->excludes("--max-depth")
      ->excludes("--fair")
      ->excludes("--all");
  sub->add_option("-o,--output", o->output,
                  "where a counterexample goes [NAME-counterexample.txtpb]")
      ->option_text("FILE");
  sub->footer(
      "Breadth first: a violation comes with one of its shortest executions, of these with one of the\n"
      "fewest context switches, as a chart and as a trace, which is replayed to confirm it. Then each\n"
      "choice in which the design differs from upstream-7.x and linux-7.2 is changed alone.\n\n"
      "Examples:\n"
      "  mmucheck explore --design naive traces/scenarios/seed-004/child-first.txtpb\n"
      "  mmucheck explore --table traces/scenarios/bugs\n"
      "  mmucheck explore --compare --max-states 3000000 traces/scenarios\n"
      "  mmucheck explore --busy 1 traces/scenarios/gmem/fault-against-punch.txtpb\n"
      "  mmucheck explore --vcpus 3 --gfns 2 --like-pages traces/scenarios/sept-race/two-vcpus.txtpb\n"
      "  mmucheck --json explore --max-states 100000 scenario.txtpb");
  sub->callback([o, &session] { session.exit_code = run_explore(session, *o); });
}

}  // namespace mmucheck::cli
