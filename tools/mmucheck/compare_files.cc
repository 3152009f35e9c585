#include "tools/mmucheck/compare_files.h"

#include <fmt/format.h>

namespace mmucheck::cli {
namespace {

nlohmann::ordered_json compared_json(const std::string& file, const StepWords& words,
                                     const ComparedFile& r) {
  nlohmann::ordered_json json = {{"file", file}, {words.count, r.steps}, {"agree", r.agree}};
  if (r.first_difference) {
    const StepDifference& d = *r.first_difference;
    json["first_difference"] = {
        {"i", d.i}, {words.name, d.name}, {"expected", d.expected}, {"got", d.got}};
  }
  return json;
}

std::string compared_text(const std::string& file, const StepWords& words, const ComparedFile& r) {
  std::string out = fmt::format("{}   {} of {} {} agree\n", file, r.agree, r.steps, words.many);
  if (r.first_difference) {
    const StepDifference& d = *r.first_difference;
    out += fmt::format("  {} {} ({})\n    expected {}\n    got      {}\n", words.one, d.i, d.name,
                       d.expected, d.got);
  }
  return out;
}

int code_of(const ComparedFile& r) {
  if (r.first_difference) return report::kExitDiverged;
  return r.steps == 0 ? report::kExitNothing : report::kExitOk;
}

}  // namespace

int compare_files(const std::vector<std::string>& files, Session& session, const StepWords& words,
                  const std::function<ComparedFile(trace::ByteStream& in)>& compare) {
  int code = report::kExitOk;
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const std::string& file : files) {
    if (session.stopped()) break;
    ComparedFile result;
    try {
      trace::ByteStream in(file, session.stop_flag());
      result = compare(in);
    } catch (const trace::TraceError& e) {
      if (e.kind() == trace::TraceErrorKind::kInterrupted) break;
      session.note(e.what());
      code = report::worse_exit_code(code, report::kExitInput);
      continue;
    }
    code = report::worse_exit_code(code, code_of(result));
    if (session.json) {
      list.push_back(compared_json(file, words, result));
    } else {
      session.print(compared_text(file, words, result));
    }
  }
  if (session.json) session.print_json({{"files", list}});
  return session.stopped() ? report::kExitInterrupted : code;
}

}  // namespace mmucheck::cli
