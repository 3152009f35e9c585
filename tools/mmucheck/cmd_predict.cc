// mmucheck predict: what the model says happens, from stimuli and inputs alone.
#include "checker/replay/replay_trace.h"
#include "tools/mmucheck/commands.h"

namespace mmucheck::cli {

void add_predict(CLI::App& app, Session& session) {
  auto path = std::make_shared<std::string>();
  CLI::App* sub = app.add_subcommand(
      "predict", "print the changes, results, flushes and frees that the model predicts");
  sub->add_option("FILE", *path, "recording or trace, any format; - for standard input")->required();
  sub->footer(
      "Observations in the trace are not looked at: the output is the same, byte for byte, for the\n"
      "whole trace and for one without them.\n\n"
      "Examples:\n"
      "  mmucheck predict trace.txt.xz\n"
      "  mmucheck convert trace.txt.xz --strip-observations -o stripped.pb\n"
      "  mmucheck predict stripped.pb");
  sub->callback([&session, path] {
    const auto source = session.open(*path);
    std::string buffer;
    replay::predict_trace(*source, [&](const std::string& line) {
      buffer += line;
      if (buffer.size() > 1u << 16) {
        session.print(buffer);
        buffer.clear();
      }
    });
    session.print(buffer);
    session.exit_code = report::kExitOk;
  });
}

}  // namespace mmucheck::cli
