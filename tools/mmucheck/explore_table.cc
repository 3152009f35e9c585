#include "tools/mmucheck/explore_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "checker/report/text_writer.h"
#include "tools/mmucheck/design_file.h"

namespace mmucheck::cli {
namespace {

using explore::PinnedRun;
using report::with_thousands;
using TableJson = nlohmann::ordered_json;

struct TableRow {
  std::string file, design;
  PinnedRun run;
  bool pinned = false;
  double seconds = 0;
};

// What is pinned of that search, with the reductions that were asked for.
const explore::Pinned* with_reductions(const explore::Scenario& scenario, const explore::Pinned& p,
                                       const BoundOptions& given) {
  explore::Pinned wanted = p;
  wanted.reduction = {given.like_pages, given.partial_order, given.symmetry};
  if (!wanted.reduced()) return &p;
  const auto at = std::find_if(scenario.reduced.begin(), scenario.reduced.end(),
                               [&](const explore::Pinned& r) { return r.same_search(wanted); });
  return at == scenario.reduced.end() ? nullptr : &*at;
}

// A design each, with what is pinned of it for these bounds.
std::vector<std::pair<std::string, const explore::Pinned*>> explorations_of(
    const explore::Scenario& scenario, const TableRequest& request) {
  std::vector<std::pair<std::string, const explore::Pinned*>> all;
  const BoundOptions& given = request.bounds;
  const bool other_bounds = given.max_states || given.max_depth || given.busy ||
                            given.preemptions || given.memory_mib != 0 || given.all || given.fair ||
                            !given.only.empty();
  for (const std::string& design : request.designs) {
    const explore::Pinned* pinned = nullptr;
    for (const explore::Pinned& p : scenario.pinned) {
      if (p.design == design && p.busy == scenario.busy && !other_bounds) {
        pinned = with_reductions(scenario, p, given);
      }
    }
    all.emplace_back(design, pinned);
  }
  if (!all.empty()) return all;
  for (const explore::Pinned& p : scenario.pinned) {
    all.emplace_back(p.design, other_bounds ? nullptr : with_reductions(scenario, p, given));
  }
  if (all.empty()) all.emplace_back("", nullptr);
  return all;
}

TableRow explore_row(const Session& session, const explore::Scenario& scenario,
                     const std::string& design, const explore::Pinned* pinned,
                     const TableRequest& request) {
  TableRow row{scenario.info.file, design, {}, false, 0};
  const std::unique_ptr<model::OwnedDesign> owned = design_from(design, "");
  explore::Bounds bounds = request.bounds.of(scenario);
  if (pinned != nullptr) bounds.busy = pinned->busy;
  const auto begin = std::chrono::steady_clock::now();
  row.run = explore::run_pinned(scenario, owned == nullptr ? nullptr : &owned->design, design,
                                bounds, pinned, stopped_by(session));
  row.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  row.pinned = pinned != nullptr;
  return row;
}

std::string verdict_text(const TableRow& row) {
  const explore::Exploration& x = row.run.found;
  std::string text = explore::verdict_text(x);
  if (x.violation) text += "  " + x.violation->invariant;
  for (const auto& m : x.missing) text += fmt::format("  {}: {}", m.what, m.why);
  if (!x.doubts.empty()) text += "  " + x.doubts.front();
  if (!x.violation && !x.bound.empty()) text += "  --" + x.bound + " was hit";
  if (!row.run.replays) text += ", which does not replay";
  return text;
}

std::string table_text(const std::vector<TableRow>& rows, bool timings) {
  size_t width = 6;
  for (const TableRow& r : rows) width = std::max(width, r.design.size());
  std::string out = fmt::format("  {:<{}}  {:>8}  {:>11}  {:>5}{}  verdict\n", "design", width,
                                "states", "transitions", "steps", timings ? "       s" : "");
  std::string file;
  size_t as_pinned = 0, pinned = 0;
  for (const TableRow& r : rows) {
    if (r.file != file) out += r.file + "\n";
    file = r.file;
    const explore::Exploration& x = r.run.found;
    out += fmt::format("  {:<{}}  {:>8}  {:>11}  {:>5}{}  {}\n", r.design.empty() ? "-" : r.design,
                       width, with_thousands(x.states), with_thousands(x.transitions),
                       x.violation ? std::to_string(x.path.size()) : "",
                       timings ? fmt::format("  {:6.2f}", r.seconds) : "", verdict_text(r));
    for (const std::string& d : r.run.differs) out += fmt::format("      {}\n", d);
    pinned += r.pinned;
    as_pinned += r.pinned && r.run.differs.empty();
  }
  const auto violated = std::count_if(rows.begin(), rows.end(), [](const TableRow& r) {
    return r.run.found.violation.has_value();
  });
  out += fmt::format("{} exploration{}, {} violated", rows.size(), rows.size() == 1 ? "" : "s",
                     violated);
  return out + (pinned == 0 ? "\n" : fmt::format("; {} of {} as pinned\n", as_pinned, pinned));
}

TableJson table_json(const std::vector<TableRow>& rows) {
  TableJson all = TableJson::array();
  for (const TableRow& r : rows) {
    const explore::Exploration& x = r.run.found;
    all.push_back(
        {{"file", r.file},
         {"design", r.design.empty() ? TableJson(nullptr) : TableJson(r.design)},
         {"verdict", explore::verdict_text(x)},
         {"invariant", x.violation ? TableJson(x.violation->invariant) : TableJson(nullptr)},
         {"states", x.states},
         {"transitions", x.transitions},
         {"depth", x.depth},
         {"end_states", x.end_states},
         {"steps", x.violation ? TableJson(x.path.size()) : TableJson(nullptr)},
         {"replays", r.run.replays},
         {"pinned", r.pinned},
         {"differs", r.run.differs},
         {"conflicts_not_seen", conflicts_json(x)},
         {"inconclusive", x.doubts}});
  }
  return {{"schema", kJsonSchema}, {"explorations", all}};
}

int code_of(const TableRow& r) {
  if (!r.run.replays) return report::kExitInternal;
  if (r.pinned) return r.run.differs.empty() ? report::kExitOk : report::kExitViolated;
  return exit_code_of(r.run.found);
}

}  // namespace

explore::Bounds BoundOptions::of(const explore::Scenario& scenario) const {
  explore::Bounds b = explore::bounds_of(scenario);
  b.max_states = max_states.value_or(b.max_states);
  b.max_depth = max_depth.value_or(b.max_depth);
  b.busy = busy.value_or(b.busy);
  b.max_memory = memory_mib << 20;
  b.workers = workers;
  b.all = all;
  b.self_check = self_check;
  b.like_pages = like_pages;
  b.partial_order = partial_order;
  b.symmetry = symmetry;
  b.hash_compact = hash_compact;
  b.preemptions = preemptions;
  b.fair = fair;
  if (!only.empty()) b.only = invariant::find_id(only);
  return b;
}

std::vector<TableFile> scenario_files(const std::vector<std::string>& paths) {
  namespace fs = std::filesystem;
  std::vector<TableFile> files;
  for (const std::string& path : paths) {
    if (!fs::is_directory(path)) {
      files.push_back({path, true});
      continue;
    }
    std::vector<std::string> below;
    for (const fs::directory_entry& e : fs::recursive_directory_iterator(path)) {
      if (e.is_regular_file() && e.path().extension() == ".txtpb") below.push_back(e.path());
    }
    std::sort(below.begin(), below.end());
    for (std::string& file : below) files.push_back({std::move(file), false});
  }
  return files;
}

explore::SearchTick stopped_by(const Session& session) {
  return [&session](const explore::SearchProgress&) {
    return session.stopped() ? explore::kInterrupted : "";
  };
}

explore::Scenario read_scenario_file(const Session& session, const std::string& path) {
  const auto source = session.open(path);
  explore::Scenario scenario = explore::read_scenario(*source);
  scenario.info.file = path;
  return scenario;
}

std::string counterexample_name(const explore::Scenario& scenario, const std::string& output) {
  if (!output.empty()) return output;
  return std::filesystem::path(scenario.info.file).stem().string() + "-counterexample.txtpb";
}

std::string write_counterexample(const explore::Scenario& scenario,
                                 const std::vector<explore::Packet>& packets,
                                 const std::string& output) {
  const std::string name = counterexample_name(scenario, output);
  const auto sink = trace::create_trace(name, scenario.info, "txtpb");
  for (const explore::Packet& p : packets) sink->put(p.event());
  sink->close();
  return name;
}

int exit_code_of(const explore::Exploration& x) {
  if (x.nothing_to_check) return report::kExitNothing;
  switch (explore::verdict_of(x)) {
    case trace::ExpectedVerdict::kHolds: return report::kExitOk;
    case trace::ExpectedVerdict::kViolated: return report::kExitViolated;
    default: return report::kExitInconclusive;
  }
}

nlohmann::ordered_json conflicts_json(const explore::Exploration& x) {
  TableJson all = TableJson::array();
  for (const auto& m : x.missing) all.push_back({{"what", m.what}, {"why", m.why}});
  return all;
}

int explore_table(const Session& session, const TableRequest& request) {
  std::vector<TableRow> rows;
  int code = report::kExitOk;
  for (const TableFile& file : scenario_files(request.paths)) {
    const explore::Scenario scenario = read_scenario_file(session, file.path);
    if (scenario.threads.empty()) continue;
    if (!file.named && request.designs.empty() && scenario.pinned.empty()) continue;
    for (const auto& [design, pinned] : explorations_of(scenario, request)) {
      if (session.stopped()) break;
      rows.push_back(explore_row(session, scenario, design, pinned, request));
      code = report::worse_exit_code(code, code_of(rows.back()));
    }
  }
  if (rows.empty()) {
    return session.fail(report::kExitNothing, "nothing to explore: no scenario among these files");
  }
  if (session.json) {
    session.print_json(table_json(rows));
  } else {
    session.print(table_text(rows, request.timings));
  }
  return session.stopped() ? report::kExitInterrupted : code;
}

}  // namespace mmucheck::cli
