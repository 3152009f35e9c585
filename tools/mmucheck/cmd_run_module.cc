// mmucheck run-module: sequences of TDX module calls, and tables of its answers, compared call by
// call with the model.
#include <fmt/format.h>

#include <memory>
#include <vector>

#include "checker/replay/module/module_file.h"
#include "tools/mmucheck/commands.h"

namespace mmucheck::cli {
namespace {

using replay::ModuleResult;

nlohmann::ordered_json json_of(const std::string& file, const ModuleResult& r) {
  nlohmann::ordered_json json = {{"file", file}, {"calls", r.calls}, {"agree", r.agree}};
  if (r.first_difference) {
    const replay::ModuleDifference& d = *r.first_difference;
    json["first_difference"] = {
        {"i", d.i}, {"leaf", d.leaf}, {"expected", d.expected}, {"got", d.got}};
  }
  return json;
}

std::string text_of(const std::string& file, const ModuleResult& r) {
  std::string out = fmt::format("{}   {} of {} calls agree\n", file, r.agree, r.calls);
  if (r.first_difference) {
    const replay::ModuleDifference& d = *r.first_difference;
    out += fmt::format("  call {} ({})\n    expected {}\n    got      {}\n", d.i, d.leaf,
                       d.expected, d.got);
  }
  return out;
}

int code_of(const ModuleResult& r) {
  if (r.first_difference) return report::kExitDiverged;
  return r.calls == 0 ? report::kExitNothing : report::kExitOk;
}

int run_module(const std::vector<std::string>& files, Session& session) {
  int code = report::kExitOk;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const std::string& file : files) {
    if (session.stopped()) break;
    ModuleResult result;
    try {
      trace::ByteStream in(file, session.stop_flag());
      result = replay::run_module_file(in, session.stop_flag());
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

void add_run_module(CLI::App& app, Session& session) {
  auto files = std::make_shared<std::vector<std::string>>();
  CLI::App* sub =
      app.add_subcommand("run-module", "compare sequences of TDX module calls with the model");
  sub->add_option("FILE", *files,
                  "sequences (.jsonl) and tables (.csv), also compressed; - is standard input")
      ->required();
  sub->footer("\nExample:\n  mmucheck run-module traces/module-sequences/*.xz");
  sub->callback([files, &session] { session.exit_code = run_module(*files, session); });
}

}  // namespace mmucheck::cli
