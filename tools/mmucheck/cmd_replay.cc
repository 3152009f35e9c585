// mmucheck replay: events in, verdict out.
#include <fmt/format.h>

#include "checker/replay/replay_trace.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/replay/synthetic/under_designs.h"
#include "checker/report/json_writer.h"
#include "checker/report/text_writer.h"
#include "model/design/choices.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/design_file.h"
#include "tools/mmucheck/progress.h"

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
  std::unique_ptr<model::OwnedDesign> given;  // of the two above
};

Json not_modelled_json(const model::Design& design) {
  Json names = Json::array();
  for (const model::Choice* c : model::not_modelled(design)) names.push_back(c->name);
  return names;
}

// `design`: the one that the user gave, nullptr for the trace's own.
void print_verdict(Session& session, const ReplayOptions& options, const report::Verdict& verdict,
                   const model::Design* design) {
  if (session.json) {
    std::string text = report::to_json(verdict);
    if (design != nullptr) {
      Json json = Json::parse(text);
      json["design"] = {{"name", design->name},
                        {"source", design->source},
                        {"not_modelled", not_modelled_json(*design)}};
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

// What made the verdict, in one line: the first broken rule and its packet, or the first doubt.
struct Reason {
  std::string rule;
  uint64_t packet = 0;
  std::string doubt;
};

Reason reason_of(const report::Verdict& v) {
  switch (report::outcome_of(v)) {
    case report::Outcome::kViolated:
      return {v.violations[0].invariant, v.violations[0].place.packet, ""};
    case report::Outcome::kDiverged:
      return {v.divergences[0].excluded_by, v.divergences[0].place.packet, ""};
    case report::Outcome::kInconclusive:
      return {"", 0, v.inconclusive.empty() ? "events were lost" : v.inconclusive[0]};
    default: return {"", 0, report::nothing_checked(v) ? "nothing to check" : ""};
  }
}

void print_all(Session& session, const std::vector<report::Verdict>& verdicts,
               const std::string& path) {
  Json all = Json::array();
  if (!session.json) session.print(path + "\n");
  for (size_t i = 0; i < verdicts.size(); i++) {
    const model::Design& design = model::designs()[i];
    const Reason why = reason_of(verdicts[i]);
    const char* outcome = report::name_of(report::outcome_of(verdicts[i]));
    if (session.json) {
      all.push_back({{"design", design.name},
                     {"verdict", outcome},
                     {"invariant", why.rule.empty() ? Json(nullptr) : Json(why.rule)},
                     {"packet", why.packet == 0 ? Json(nullptr) : Json(why.packet)},
                     {"reason", why.doubt.empty() ? Json(nullptr) : Json(why.doubt)},
                     {"not_modelled", not_modelled_json(design)}});
      continue;
    }
    std::string line = fmt::format("  {:<20}{:<14}{}", design.name, outcome, why.rule);
    if (!why.rule.empty() && why.packet != 0) line += "  ";
    if (why.packet != 0) line += fmt::format("packet {}", why.packet);
    line += why.doubt;
    line.erase(line.find_last_not_of(' ') + 1);
    if (line.size() > report::kTextWidth) line = line.substr(0, report::kTextWidth - 3) + "...";
    session.print(line + "\n");
  }
  if (session.json) {
    session.print_json({{"schema", kJsonSchema}, {"file", path}, {"designs", all}});
  }
}

int replay_file(Session& session, const ReplayOptions& options, const std::string& path) {
  const auto source = session.open(path);
  Progress progress;
  const auto tick = [&] {
    progress.tick();
    return !session.stopped();
  };
  if (!options.all_designs && options.given == nullptr) {
    const report::Verdict verdict =
        replay::replay_trace(*source, tick, {.execution = options.execution});
    print_verdict(session, options, verdict, nullptr);
    return report::exit_code_of(verdict, !options.no_expect);
  }
  if (!replay::is_synthetic(source->info())) {
    return session.fail(report::kExitUsage,
                        path +
                            ": a recording of a real kernel has that kernel's design and no "
                            "other; hand-written traces take --design");
  }
  if (options.all_designs) {
    print_all(session, replay::replay_under(*source, model::designs(), tick), path);
    return session.stopped() ? report::kExitInterrupted : report::kExitOk;
  }
  const model::Design& design = options.given->design;
  const report::Verdict verdict = replay::replay_under(*source, {&design, 1}, tick)[0];
  print_verdict(session, options, verdict, &design);
  return report::exit_code_of(verdict);
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
  CLI::Option* all = sub->add_flag("--all-designs", options->all_designs,
                                   "run a hand-written trace under every design, a line each");
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
      "  mmucheck replay --all-designs traces/zap/all.txtpb\n"
      "  mmucheck --json replay trace.pb");
  sub->callback([&session, options] { session.exit_code = replay_files(session, *options); });
}

}  // namespace mmucheck::cli
