#include "tools/mmucheck/explore_compare.h"

#include <fmt/format.h>

#include <algorithm>

#include "checker/explore/compare_reductions.h"
#include "checker/report/text_writer.h"
#include "tools/mmucheck/design_file.h"

namespace mmucheck::cli {
namespace {

using explore::ReducedSearch;
using explore::ReductionsCompared;
using report::with_thousands;
using CompareJson = nlohmann::ordered_json;

struct CompareRow {
  std::string file, design;
  ReductionsCompared compared;
};

std::vector<std::string> designs_of(const explore::Scenario& scenario,
                                    const TableRequest& request) {
  if (!request.designs.empty()) return request.designs;
  std::vector<std::string> all;
  for (const explore::Pinned& p : scenario.pinned) {
    if (std::find(all.begin(), all.end(), p.design) == all.end()) all.push_back(p.design);
  }
  if (all.empty()) all.emplace_back();
  return all;
}

// The states of each search; nothing where threads were to be alike and are not.
std::string states_text(const ReducedSearch& s) {
  if (!s.bound.empty()) return "--" + s.bound;
  if (s.reduction.symmetry && !s.alike) return "-";
  return with_thousands(s.states) + (s.lost.empty() ? "" : "!");
}

std::string row_text(const CompareRow& r, size_t width) {
  const ReductionsCompared& c = r.compared;
  std::string out = fmt::format("  {:<{}}", r.design.empty() ? "-" : r.design, width);
  if (!c.doubts.empty()) return out + "  " + c.doubts.front() + "\n";
  out += fmt::format("  {:>6}  {:>7}", with_thousands(c.broken), with_thousands(c.end_states));
  for (const ReducedSearch& s : c.searches) out += fmt::format("  {:>12}", states_text(s));
  out += "\n";
  for (const ReducedSearch& s : c.searches) {
    for (const std::string& what : s.lost) {
      out += fmt::format("      {}: {}\n", s.reduction.name(), what);
    }
  }
  return out;
}

// Letters for the columns.
std::string short_name(const explore::Reduction& r) {
  std::string text;
  if (r.like_pages) text += "l";
  if (r.partial_order) text += "p";
  if (r.symmetry) text += "s";
  return text.empty() ? "states" : text;
}

std::string compare_text(const std::vector<CompareRow>& rows) {
  size_t width = 6, searches = 0, bounded = 0, lost = 0;
  for (const CompareRow& r : rows) width = std::max(width, r.design.size());
  std::string out = fmt::format("  {:<{}}  {:>6}  {:>7}", "design", width, "broken", "ends");
  for (const explore::Reduction& r : explore::all_reductions()) {
    out += fmt::format("  {:>12}", short_name(r));
  }
  out += "\n";
  std::string file;
  for (const CompareRow& r : rows) {
    if (r.file != file) out += r.file + "\n";
    file = r.file;
    out += row_text(r, width);
    for (const ReducedSearch& s : r.compared.searches) {
      if (s.reduction.name().empty()) continue;
      searches += s.bound.empty();
      lost += !s.lost.empty();
    }
    bounded += !r.compared.whole();
  }
  return out + fmt::format("l: --like-pages, p: --por, s: --symmetry (-: no threads are alike)\n"
                           "{} exploration{}: {} reduced searches found what the whole one did, {} did "
                           "not; {} hit a bound\n",
                           rows.size(), rows.size() == 1 ? "" : "s", searches - lost, lost, bounded);
}

CompareJson compare_json(const std::vector<CompareRow>& rows) {
  CompareJson all = CompareJson::array();
  for (const CompareRow& r : rows) {
    CompareJson searches = CompareJson::array();
    for (const ReducedSearch& s : r.compared.searches) {
      searches.push_back({{"reductions", s.reduction.name()},
                          {"states", s.states},
                          {"transitions", s.transitions},
                          {"threads_alike", s.alike},
                          {"bound_hit", s.bound.empty() ? CompareJson(nullptr) : CompareJson(s.bound)},
                          {"lost", s.lost}});
    }
    all.push_back({{"file", r.file},
                   {"design", r.design.empty() ? CompareJson(nullptr) : CompareJson(r.design)},
                   {"broken", r.compared.broken},
                   {"end_states", r.compared.end_states},
                   {"came_to", r.compared.came_to},
                   {"searches", searches},
                   {"inconclusive", r.compared.doubts}});
  }
  return {{"schema", kJsonSchema}, {"comparisons", all}};
}

}  // namespace

int compare_table(const Session& session, const TableRequest& request) {
  std::vector<CompareRow> rows;
  int code = report::kExitOk;
  for (const TableFile& file : scenario_files(request.paths)) {
    const explore::Scenario scenario = read_scenario_file(session, file.path);
    if (scenario.threads.empty()) continue;
    for (const std::string& design : designs_of(scenario, request)) {
      if (session.stopped()) break;
      const std::unique_ptr<model::OwnedDesign> owned = design_from(design, "");
      CompareRow row{scenario.info.file, design, {}};
      row.compared = explore::compare_reductions(
          scenario, owned == nullptr ? nullptr : &owned->design, request.bounds.of(scenario),
          stopped_by(session));
      if (row.compared.lost()) code = report::worse_exit_code(code, report::kExitInternal);
      if (!row.compared.whole()) code = report::worse_exit_code(code, report::kExitInconclusive);
      rows.push_back(std::move(row));
    }
  }
  if (rows.empty()) {
    return session.fail(report::kExitNothing, "nothing to compare: no scenario among these files");
  }
  if (session.json) {
    session.print_json(compare_json(rows));
  } else {
    session.print(compare_text(rows));
  }
  return session.stopped() ? report::kExitInterrupted : code;
}

}  // namespace mmucheck::cli
