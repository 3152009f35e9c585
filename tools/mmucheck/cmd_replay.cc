// mmucheck replay: events in, verdict out.
#include "checker/replay/replay_trace.h"
#include "checker/report/json_writer.h"
#include "checker/report/text_writer.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/progress.h"

namespace mmucheck::cli {
namespace {

struct ReplayOptions {
  std::vector<std::string> files;
  bool no_expect = false;
  bool execution = false;
  size_t evidence = 3;
};

int replay_file(Session& session, const ReplayOptions& options, const std::string& path) {
  const auto source = session.open(path);
  Progress progress;
  report::Verdict verdict = replay::replay_trace(
      *source, [&] {
        progress.tick();
        return !session.stopped();
      },
      {.execution = options.execution});
  if (session.json) {
    session.print(report::to_json(verdict) + "\n");
  } else {
    report::TextOptions text;
    text.color = session.use_color();
    text.verbose = session.verbose;
    text.max_evidence = options.evidence;
    session.print(report::to_text(verdict, text));
  }
  return report::exit_code_of(verdict, !options.no_expect);
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
  sub->footer(
      "Examples:\n"
      "  mmucheck replay trace.txt.xz\n"
      "  trace-cmd report | mmucheck replay -\n"
      "  mmucheck replay --execution tracepoints.txt\n"
      "  mmucheck --json replay trace.pb");
  sub->callback([&session, options] {
    int code = report::kExitOk;
    for (const std::string& path : options->files) {
      int one;
      try {
        one = replay_file(session, *options, path);
      } catch (const trace::TraceError& error) {
        one = session.fail(error);
      }
      code = report::worse_exit_code(code, one);
      if (session.stopped()) break;
    }
    session.exit_code = code;
  });
}

}  // namespace mmucheck::cli
