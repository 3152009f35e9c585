// mmucheck prove: statements about the rules for all values, decided by Z3, cvc5, or both.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "checker/prove/counterexample_trace.h"
#include "checker/prove/cvc5.h"
#include "checker/prove/smtlib.h"
#include "checker/prove/solvers.h"
#include "checker/replay/replay_trace.h"
#include "checker/trace/output_file.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/otherwise.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;
using prove::Answer;
using prove::Obligation;

struct ProveOptions {
  std::vector<std::string> names;
  bool list = false;
  bool timings = false;
  std::string dump, traces;
  prove::Solver solver = prove::Solver::kZ3;
  prove::Limits limits;
  unsigned workers = prove::default_workers();
};
using Chosen = std::vector<const Obligation*>;

Json head_of(const Obligation& o) {
  Json head = {
      {"name", o.name}, {"statement", o.statement}, {"source", o.source}, {"bound", o.bound}};
  if (!o.strengthening.empty()) head["strengthening"] = o.strengthening;
  return head;
}

// Of an invariant that is not inductive by itself.
std::string strengthening_of(const Obligation& o) {
  return o.strengthening.empty() ? "" : fmt::format("         strengthened: {}\n", o.strengthening);
}

int list(Session& session, const Chosen& chosen) {
  Json all = Json::array();
  for (const Obligation* o : chosen) {
    if (session.json) {
      all.push_back(head_of(*o));
    } else {
      session.print(fmt::format("{:<42} {}\n", o->name, o->statement));
      session.print(strengthening_of(*o));
    }
  }
  if (session.json) session.print_json({{"schema", kJsonSchema}, {"obligations", all}});
  return report::kExitOk;
}

std::string values_of(const prove::Values& values) {
  std::string s;
  for (const auto& [name, value] : values) {
    s += fmt::format("{}{} {:#x}", s.empty() ? "" : ", ", name, value);
  }
  return s;
}

// What stands under the line of an obligation that is not proved.
std::string evidence_of(const Obligation& o, const prove::Result& r) {
  std::string s = fmt::format("         \"{}\"\n         {}\n", o.statement, o.source);
  if (!r.instance.empty()) s += fmt::format("         {}\n", r.instance);
  if (!r.first.values.empty()) s += fmt::format("           {}\n", values_of(r.first.values));
  if (!r.first.derived.empty())
    s += fmt::format("           gives {}\n", values_of(r.first.derived));
  if (!r.first.why.empty()) s += fmt::format("           {}\n", r.first.why);
  if (r.queries > 1) {
    s += fmt::format("         not proved in {} of {} cases\n", r.not_proved, r.queries);
  }
  return s;
}

constexpr std::string_view kNotRun = "not run";
std::string_view verdict_of(const prove::Result& r) {
  return r.interrupted ? kNotRun : prove::name_of(r.answer);
}

std::string text_of(const Obligation& o, const prove::Result& r, bool timings) {
  std::string line = fmt::format("{:<8} {:<42} {}", verdict_of(r), o.name, o.bound);
  if (timings && !r.interrupted) line += fmt::format("  {:.0f} ms", r.milliseconds);
  line += '\n' + strengthening_of(o);
  return r.interrupted || r.answer == Answer::kProved ? line : line + evidence_of(o, r);
}

Json hex_of(const prove::Values& values) {
  Json object = Json::object();
  for (const auto& [name, value] : values) object[name] = fmt::format("{:#x}", value);
  return object;
}

Json json_of(const Obligation& o, const prove::Result& r, bool timings) {
  Json object = head_of(o);
  object["verdict"] = verdict_of(r);
  if (r.interrupted) return object;
  object["cases"] = r.queries;
  object["not_proved"] = r.not_proved;
  if (r.answer != Answer::kProved) {
    object["case"] = r.instance;
    object["values"] = hex_of(r.first.values);
    object["gives"] = hex_of(r.first.derived);
    object["why"] = r.first.why;
  }
  if (timings) object["ms"] = r.milliseconds;
  return object;
}

void dump(const std::string& directory, const Chosen& chosen) {
  for (const Obligation* o : chosen) {
    size_t k = 0;
    for (const prove::Query& q : o->queries()) {
      trace::OutputFile file(directory + "/" + prove::smtlib_file_name(*o, ++k));
      file.write(prove::to_smtlib(*o, q));
      file.commit();
    }
  }
}

// The trace of a refutation, and what a replay makes of it.
struct Written {
  std::string path, why_none, verdict;
  bool confirmed = true;
};
Written write_trace(Session& session, const std::string& directory, const Obligation& o,
                    const prove::Result& r) {
  const prove::CounterexampleTrace t = prove::counterexample_trace(o, r);
  if (t.text.empty()) return {"", t.why_none, "", true};
  Written w;
  w.path = fmt::format("{}/{}.txtpb", directory, o.name);
  trace::OutputFile file(w.path);
  file.write(t.text);
  file.commit();
  const report::Verdict v = replay::replay_trace(*session.open(w.path));
  w.verdict = report::name_of(report::outcome_of(v));
  if (t.breaks.empty()) {
    const std::optional<Otherwise> other = otherwise(v);
    w.confirmed = other.has_value();
    if (other) {
      w.verdict += fmt::format(": seen {}, happens {}", other->claimed, other->happens);
    }
  } else {
    w.verdict += " " + t.breaks;
    w.confirmed = std::any_of(v.violations.begin(), v.violations.end(),
                              [&](const auto& x) { return x.invariant == t.breaks; });
  }
  return w;
}

// A premise that nothing satisfies, or two solvers that differ, is a check that failed itself.
int exit_code_of(Answer a) {
  switch (a) {
    case Answer::kProved: return report::kExitOk;
    case Answer::kUnknown: return report::kExitInconclusive;
    case Answer::kRefuted: return report::kExitViolated;
    case Answer::kVacuous:
    case Answer::kDisagree: break;
  }
  return report::kExitInternal;
}

std::string_view name_of(prove::Solver s) {
  switch (s) {
    case prove::Solver::kZ3: return "z3";
    case prove::Solver::kCvc5: return "cvc5";
    case prove::Solver::kBoth: return "both";
  }
  return "?";
}

std::string summary_of(std::map<Answer, size_t>& count, size_t decided, prove::Solver solver) {
  const std::string premises =
      count[Answer::kVacuous] != 0
          ? fmt::format("{} with a premise that nothing satisfies", count[Answer::kVacuous])
      : count[Answer::kUnknown] != 0 ? "every premise of those proved or refuted satisfiable"
                                     : "every premise satisfiable";
  std::string solvers;
  if (solver == prove::Solver::kCvc5) solvers = " by cvc5";
  if (solver == prove::Solver::kBoth) {
    solvers = fmt::format(" by Z3 and cvc5, which differ on {}", count[Answer::kDisagree]);
  }
  return fmt::format("{} obligation{}{}: {} proved, {} refuted, {} unknown; {}\n", decided,
                     decided == 1 ? "" : "s", solvers, count[Answer::kProved],
                     count[Answer::kRefuted], count[Answer::kUnknown], premises);
}

int run_prove(Session& session, const ProveOptions& o) {
  std::string unknown;
  const auto chosen = prove::select(o.names, unknown);
  if (!chosen) {
    return session.fail(report::kExitUsage, "there is no obligation or group '" + unknown +
                                                "'; prove --list names them all");
  }
  if (o.list) return list(session, *chosen);
  if (!o.dump.empty()) dump(o.dump, *chosen);

  if (o.solver != prove::Solver::kZ3 && !prove::cvc5_installed()) {
    return session.fail(
        report::kExitUsage,
        fmt::format("--solver {}: there is no cvc5 on PATH; Debian has it as the package '{}'",
                    name_of(o.solver), prove::kCvc5Package));
  }
  if (o.solver == prove::Solver::kCvc5 && !o.traces.empty()) {
    return session.fail(report::kExitUsage,
                        "--traces needs the values of counterexamples, which --solver cvc5 does "
                        "not ask for; use z3 or both");
  }

  prove::Limits limits = o.limits;
  limits.stop = session.stop_flag();
  prove::Deciding deciding(*chosen, o.solver, limits, o.workers);
  std::map<Answer, size_t> count;
  size_t not_run = 0;
  Json all = Json::array();
  int code = report::kExitOk;
  for (size_t k = 0; k < chosen->size(); k++) {
    const Obligation& one = *(*chosen)[k];
    const prove::Result r = deciding.result(k);
    if (r.interrupted) {
      not_run++;
    } else {
      count[r.answer]++;
      code = report::worse_exit_code(code, exit_code_of(r.answer));
    }
    Written w;
    const bool write = !o.traces.empty() && !r.interrupted && r.answer == Answer::kRefuted;
    if (write) w = write_trace(session, o.traces, one, r);
    if (!w.confirmed) code = report::worse_exit_code(code, report::kExitInternal);
    if (session.json) {
      all.push_back(json_of(one, r, o.timings));
      if (write) {
        all.back()["trace"] = w.path.empty() ? Json(nullptr) : Json(w.path);
        all.back()["replay"] = w.path.empty() ? w.why_none : w.verdict;
      }
    } else {
      session.print(text_of(one, r, o.timings));
      if (write) {
        session.print(w.path.empty() ? fmt::format("         no trace: {}\n", w.why_none)
                                     : fmt::format("         wrote {}, whose replay is {}\n",
                                                   w.path, w.verdict));
      }
      session.finish();  // a row is there as soon as it is known
    }
  }
  if (not_run != 0) code = report::kExitInterrupted;
  if (session.json) {
    session.print_json({{"schema", kJsonSchema},
                        {"solver", name_of(o.solver)},
                        {"obligations", all},
                        {"proved", count[Answer::kProved]},
                        {"refuted", count[Answer::kRefuted]},
                        {"unknown", count[Answer::kUnknown]},
                        {"vacuous", count[Answer::kVacuous]},
                        {"disagree", count[Answer::kDisagree]},
                        {"undecided", not_run}});
    return code;
  }
  session.print(summary_of(count, chosen->size() - not_run, o.solver));
  if (not_run != 0) session.print(fmt::format("interrupted: {} not run\n", not_run));
  return code;
}

}  // namespace

void add_prove(CLI::App& app, Session& session) {
  auto o = std::make_shared<ProveOptions>();
  CLI::App* sub = app.add_subcommand("prove", "decide statements about the rules for all values");
  sub->add_option("NAME", o->names, "an obligation or a group of them; all without one");
  sub->add_flag("--list", o->list, "every obligation and what it states, one a line");
  sub->add_flag("--timings", o->timings, "say how long each took");
  sub->add_option("--dump", o->dump, "write every question as SMT-LIB, a file a case")
      ->check(CLI::ExistingDirectory)
      ->option_text("DIR");
  sub->add_option("--traces", o->traces,
                  "write the values of each refutation as a trace, and replay it")
      ->check(CLI::ExistingDirectory)
      ->option_text("DIR");
  sub->add_option(
         "--solver", o->solver,
         "z3, cvc5 (a program of its own, on the text of --dump), or both, which must agree")
      ->transform(CLI::CheckedTransformer(
          std::map<std::string, prove::Solver>{{"z3", prove::Solver::kZ3},
                                               {"cvc5", prove::Solver::kCvc5},
                                               {"both", prove::Solver::kBoth}}))
      ->option_text("WHICH [z3]");
  sub->add_option(
         "--jobs", o->workers,
         "threads; the output is the same with any number of them [as many as CPUs, up to 8]")
      ->check(CLI::Range(1u, 64u))
      ->option_text("N");
  sub->add_option("--rlimit", o->limits.rlimit, "Z3's effort a question, in its own units")
      ->option_text("N");
  sub->add_option("--time", o->limits.seconds, "a solver's time an obligation, in seconds")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
  sub->footer(
      "\nExamples:\n  mmucheck prove\n  mmucheck prove walk sept.states-closed --timings\n"
      "  mmucheck prove --solver both tlb\n  mmucheck prove --list");
  sub->callback([o, &session] { session.exit_code = run_prove(session, *o); });
}

}  // namespace mmucheck::cli
