// mmucheck corpus run: every trace below a directory, compared with the verdict that it must give.
#include <memory>

#include "checker/replay/corpus.h"
#include "tools/mmucheck/commands.h"

namespace mmucheck::cli {
namespace {

int run_corpus(Session& session, const std::string& directory, const std::string& format) {
  std::vector<replay::CorpusResult> results;
  int code = report::kExitOk;
  for (const replay::CorpusCase& what : replay::find_corpus(directory)) {
    if (session.stopped()) break;
    results.push_back(replay::run_corpus_case(
        what, [&](const std::string& path) { return session.open(path); }));
    code = report::worse_exit_code(code, results.back().code);
  }
  if (format == "junit") {
    session.print(replay::corpus_junit(results));
  } else if (format == "json" || session.json) {
    session.print(replay::corpus_json(results));
  } else {
    session.print(replay::corpus_text(results, true));
  }
  if (session.stopped()) return report::kExitInterrupted;
  return results.empty() ? report::kExitNothing : code;
}

}  // namespace

void add_corpus(CLI::App& app, Session& session) {
  struct Options {
    std::string directory, format = "text";
  };
  auto options = std::make_shared<Options>();
  CLI::App* corpus = app.add_subcommand("corpus", "a directory of traces with expected verdicts");
  corpus->require_subcommand(1);
  CLI::App* sub = corpus->add_subcommand("run", "run every trace and compare the verdicts");
  sub->add_option("DIR", options->directory,
                  "traces (.txtpb, .pb) and recordings with an expect.json")->required();
  sub->add_option("--format", options->format, "text, json or junit")
      ->check(CLI::IsMember({"text", "json", "junit"}))
      ->capture_default_str();
  sub->footer(
      "Exit code 0: every verdict is as expected; 1: one is not; 3: a trace cannot be read;\n"
      "4: there is no trace.\n\nExample:\n  mmucheck corpus run traces --format junit");
  sub->callback([options, &session] {
    session.exit_code = run_corpus(session, options->directory, options->format);
  });
}

}  // namespace mmucheck::cli
