// mmucheck replay: events in, verdict out.
#include <fmt/format.h>

#include "checker/replay/replay_trace.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/replay/synthetic/under_designs.h"
#include "checker/report/json_writer.h"
#include "checker/report/text_writer.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/design_file.h"
#include "tools/mmucheck/design_matrix.h"
#include "tools/mmucheck/progress.h"
#include "tools/mmucheck/then_explore.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;

struct ReplayOptions {
  std::vector<std::string> files;
  bool no_expect = false;
  bool execution = false;
  size_t evidence = 3;
  std::string design, design_file;
  bool all_designs = false;
  bool expectations = false;
  unsigned then_explore = 0;  // operations
  std::string output;         // of a counterexample
  std::unique_ptr<model::OwnedDesign> given;  // of design and design_file
  std::vector<DesignColumn> columns;          // of all_designs
};

// `design`: the one that the user gave, nullptr for the trace's own. `then`: what was explored
// behind the trace, or nullptr.
void print_verdict(Session& session, const ReplayOptions& options, const report::Verdict& verdict,
                   const model::Design* design, const Json* then) {
  if (session.json) {
    std::string text = report::to_json(verdict);
    if (design != nullptr || then != nullptr) {
      Json json = Json::parse(text);
      if (design != nullptr) {
        json["design"] = {{"name", design->name},
                          {"source", design->source},
                          {"not_modelled", not_modelled_json(*design)}};
      }
      if (then != nullptr) json["then_explored"] = *then;
      text = json.dump();
    }
    session.print(text + "\n");
    return;
  }
  report::TextOptions text;
  text.color = session.use_color();
  text.verbose = session.verbose;
  text.max_evidence = options.evidence;
  std::string out = report::to_text(verdict, text);
  if (design != nullptr) {
    out.insert(out.find('\n') + 1, fmt::format("  design {}: {}\n", design->name, design->source));
  }
  session.print(out);
}

void print_designs(Session& session, const ReplayOptions& options) {
  const std::vector<DesignColumn>& columns = options.columns;
  if (columns.empty()) return;
  if (options.expectations) {
    session.print(expectations_text(columns));
  } else if (!session.json) {
    session.print(columns.size() == 1 ? column_text(columns[0]) : matrix_text(columns));
  } else if (columns.size() == 1) {
    Json one = {{"schema", kJsonSchema}};
    one.update(column_json(columns[0]));
    session.print_json(one);
  } else {
    Json all = Json::array();
    for (const DesignColumn& column : columns) all.push_back(column_json(column));
    session.print_json({{"schema", kJsonSchema}, {"traces", all}});
  }
}

// Prints the verdict, and what may come behind the trace where the user wants to know.
int print_and_go_on(Session& session, const ReplayOptions& options, const std::string& path,
                    const report::Verdict& verdict, const model::Design* design) {
  const int code = report::exit_code_of(verdict, design != nullptr || !options.no_expect);
  if (options.then_explore == 0 || code != report::kExitOk) {
    print_verdict(session, options, verdict, design, nullptr);
    return code;
  }
  ThenExplored then;
  try {
    then = then_explore(session, path, design, options.design, options.then_explore,
                        options.output);
  } catch (const std::invalid_argument& error) {
    return session.fail(report::kExitUsage, path + ": " + error.what());
  }
  print_verdict(session, options, verdict, design, &then.json);
  if (!session.json) session.print(then.text);
  return then.exit_code;
}

int replay_file(Session& session, ReplayOptions& options, const std::string& path) {
  if (options.then_explore != 0 && path == "-") {
    return session.fail(report::kExitUsage,
                        "--then-explore reads the trace twice: not from standard input");
  }
  const auto source = session.open(path);
  Progress progress;
  const auto tick = [&] {
    progress.tick();
    return !session.stopped();
  };
  const bool hand_written = replay::is_synthetic(source->info());
  if (options.then_explore != 0 && !hand_written) {
    return session.fail(report::kExitUsage,
                        path + ": --then-explore goes on behind hand-written traces only");
  }
  if (!options.all_designs && options.given == nullptr) {
    const report::Verdict verdict =
        replay::replay_trace(*source, tick, {.execution = options.execution});
    return print_and_go_on(session, options, path, verdict, nullptr);
  }
  if (!hand_written) {
    return session.fail(report::kExitUsage,
                        path +
                            ": a recording of a real kernel has that kernel's design and no "
                            "other; hand-written traces take --design");
  }
  if (options.all_designs) {
    DesignColumn column{path, {}};
    for (const report::Verdict& v : replay::replay_under(*source, model::designs(), tick)) {
      column.cells.push_back(cell_of(v));
    }
    options.columns.push_back(std::move(column));
    return session.stopped() ? report::kExitInterrupted : report::kExitOk;
  }
  const model::Design& design = options.given->design;
  const report::Verdict verdict = replay::replay_under(*source, {&design, 1}, tick)[0];
  return print_and_go_on(session, options, path, verdict, &design);
}

int replay_files(Session& session, ReplayOptions& options) {
  try {
    options.given = design_from(options.design, options.design_file, session.stop_flag());
  } catch (const std::invalid_argument& error) {
    return session.fail(report::kExitUsage, error.what());
  }
  int code = report::kExitOk;
  for (const std::string& path : options.files) {
    int one;
    try {
      one = replay_file(session, options, path);
    } catch (const trace::TraceError& error) {
      one = session.fail(error);
    }
    code = report::worse_exit_code(code, one);
    if (session.stopped()) break;
  }
  if (options.all_designs) print_designs(session, options);
  return code;
}

}  // namespace

void add_replay(CLI::App& app, Session& session) {
  auto options = std::make_shared<ReplayOptions>();
  CLI::App* sub = app.add_subcommand("replay", "check a trace against the model");
  sub->add_option("FILE", options->files, "recording or trace, any format; - for standard input")
      ->required();
  sub->add_flag("--no-expect", options->no_expect, "ignore what the file says its verdict must be");
  sub->add_option("--evidence", options->evidence, "findings printed in full (0: all)")
      ->capture_default_str();
  sub->add_flag("--execution", options->execution,
                "say which operations explain a recording without kprobes, with their lines");
  CLI::Option* design =
      sub->add_option("--design", options->design,
                      "run a hand-written trace under this design: NAME or NAME,choice=value,...")
          ->option_text("DESIGN");
  CLI::Option* file =
      sub->add_option("--design-file", options->design_file, "the same, with the row from a file")
          ->option_text("FILE");
  CLI::Option* all =
      sub->add_flag("--all-designs", options->all_designs,
                    "run hand-written traces under every design: a line each, or a table");
  sub->add_flag("--expectations", options->expectations,
                "print the table as the designs.json that `corpus run` compares")
      ->needs(all);
  CLI::Option* then =
      sub->add_option("--then-explore", options->then_explore,
                      "behind a hand-written trace that holds, try each choice of N further "
                      "operations on its last pages, in every order of their steps")
          ->check(CLI::Range(1u, 4u))
          ->option_text("N")
          ->excludes(all);
  sub->add_option("-o,--output", options->output,
                  "where the counterexample of that goes [NAME-counterexample.txtpb]")
      ->option_text("FILE")
      ->needs(then);
  design->excludes(file)->excludes(all);
  file->excludes(all);
  sub->footer(
      "What a file expects is said of the design that it names: with another one, it is not "
      "compared.\nThe exit code of --all-designs tells of errors only. `mmucheck designs` has the "
      "designs and choices.\n"
      "\nExamples:\n"
      "  mmucheck replay trace.txt.xz\n"
      "  trace-cmd report | mmucheck replay -\n"
      "  mmucheck replay --execution tracepoints.txt\n"
      "  mmucheck replay --design v19,unmap_filter=exclude-flags traces/unmap/*.txtpb\n"
      "  mmucheck replay --all-designs traces/seed-*/*.txtpb\n"
      "  mmucheck replay --then-explore 2 traces/tdx/premap-6.16.txtpb\n"
      "  mmucheck --json replay trace.pb");
  sub->callback([&session, options] { session.exit_code = replay_files(session, *options); });
}

}  // namespace mmucheck::cli
