// mmucheck run-tdp: scripted sequences of the TDP MMU, compared operation by operation.
#include <fmt/format.h>

#include <memory>
#include <vector>

#include "checker/replay/sequence/sequence_file.h"
#include "tools/mmucheck/commands.h"

namespace mmucheck::cli {
namespace {

using replay::SequenceResult;

nlohmann::ordered_json json_of(const std::string& file, const SequenceResult& r) {
  nlohmann::ordered_json json = {{"file", file}, {"ops", r.ops}, {"agree", r.agree}};
  if (r.first_difference) {
    const replay::Difference& d = *r.first_difference;
    json["first_difference"] = {
        {"i", d.i}, {"op", d.op}, {"expected", d.expected}, {"got", d.got}};
  }
  return json;
}

std::string text_of(const std::string& file, const SequenceResult& r) {
  std::string out = fmt::format("{}   {} of {} operations agree\n", file, r.agree, r.ops);
  if (r.first_difference) {
    const replay::Difference& d = *r.first_difference;
    out += fmt::format("  operation {} ({})\n    expected {}\n    got      {}\n", d.i, d.op,
                       d.expected, d.got);
  }
  return out;
}

int code_of(const SequenceResult& r) {
  if (r.first_difference) return report::kExitDiverged;
  return r.ops == 0 ? report::kExitNothing : report::kExitOk;
}

int run_tdp(const std::vector<std::string>& files, Session& session) {
  int code = report::kExitOk;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const std::string& file : files) {
    if (session.stopped()) break;
    SequenceResult result;
    try {
      trace::ByteStream in(file, session.stop_flag());
      result = replay::run_sequence(in, session.stop_flag());
    } catch (const trace::TraceError& e) {
      if (e.kind() == trace::TraceErrorKind::kInterrupted) break;
      session.note(e.what());
      code = report::worse_exit_code(code, report::kExitInput);
      continue;
    }
    code = report::worse_exit_code(code, code_of(result));
    if (session.json) {
      list.push_back(json_of(file, result));
    } else {
      session.print(text_of(file, result));
    }
  }
  if (session.json) session.print_json({{"files", list}});
  return session.stopped() ? report::kExitInterrupted : code;
}

}  // namespace

void add_run_tdp(CLI::App& app, Session& session) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* sub =
      app.add_subcommand("run-tdp", "compare scripted sequences of the TDP MMU with the model");
  sub->add_option("FILE", *files, "sequences (.jsonl, also compressed); - is standard input")
      ->required();
  sub->footer("\nExample:\n  mmucheck run-tdp traces/sequences/*.jsonl.xz");
  sub->callback([files, &session] { session.exit_code = run_tdp(*files, session); });
}

}  // namespace mmucheck::cli
