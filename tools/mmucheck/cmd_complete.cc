// mmucheck complete: what a recording that lost events may have lost.
#include <fmt/format.h>

#include "checker/replay/complete/complete.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/event_text.h"
#include "tools/mmucheck/progress.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;
using replay::Completion;
using replay::CompletionResult;

struct CompleteOptions {
  std::vector<std::string> files;
  size_t events = 20;
};

int exit_code_of(Completion answer) {
  switch (answer) {
    case Completion::kConsistent: return report::kExitOk;
    case Completion::kInconsistent: return report::kExitDiverged;
    case Completion::kNothingLost: return report::kExitNothing;
    case Completion::kUndetermined: break;
  }
  return report::kExitInconclusive;
}

std::string gap_text(const replay::CompletedGap& gap) {
  std::string s = gap.count == 0 ? "unknown number" : fmt::format("{} events", gap.count);
  if (gap.tail) return s + fmt::format(", behind the last event of CPU {}", gap.cpu);
  s += gap.line == 0 ? ", before the first event"
                     : fmt::format(", CPU {}, line {}", gap.cpu, gap.line);
  return s;
}

std::string to_text(const CompletionResult& c, const std::string& path, size_t limit) {
  std::string out = fmt::format("{:<14}{}\n", name_of(c.answer), path);
  if (!c.reason.empty()) {
    out += fmt::format("  {}{}\n", c.reason,
                       c.place.line == 0 ? "" : fmt::format(", line {}", c.place.line));
  }
  if (!c.detail.empty()) out += fmt::format("    {}\n", c.detail);
  if (!c.lacking.empty()) {
    out += "    it would be legal behind these, too:\n";
    for (size_t i = 0; i < c.lacking.size() && i < limit; i++) {
      out += "    " + event_line(c.lacking[i].event(), false) + "\n";
    }
  }
  for (const replay::CompletedGap& gap : c.gaps) {
    out += fmt::format("  lost          {}\n", gap_text(gap));
    if (c.answer != Completion::kConsistent) continue;
    if (gap.witness.empty()) {
      out += "    what is recorded needs none of them\n";
      continue;
    }
    out += fmt::format("    {} of them make the rest legal:\n", gap.witness.size());
    for (size_t i = 0; i < gap.witness.size() && i < limit; i++) {
      out += "    " + event_line(gap.witness[i].event(), false) + "\n";
    }
    if (gap.witness.size() > limit) {
      out += fmt::format("    and {} more (--events 0 prints all)\n", gap.witness.size() - limit);
    }
  }
  return out;
}

Json to_json(const CompletionResult& c, const std::string& path) {
  Json gaps = Json::array();
  for (const replay::CompletedGap& gap : c.gaps) {
    Json witness = Json::array();
    for (const trace::OwnedEvent& e : gap.witness) witness.push_back(event_json(e.event()));
    gaps.push_back({{"line", gap.line},
                    {"tail", gap.tail},
                    {"cpu", gap.cpu},
                    {"count", gap.count == 0 ? Json(nullptr) : Json(gap.count)},
                    {"witness", std::move(witness)}});
  }
  Json lacking = Json::array();
  for (const trace::OwnedEvent& e : c.lacking) lacking.push_back(event_json(e.event()));
  return {{"schema", kJsonSchema},
          {"file", path},
          {"answer", name_of(c.answer)},
          {"reason", c.reason.empty() ? Json(nullptr) : Json(c.reason)},
          {"detail", c.detail.empty() ? Json(nullptr) : Json(c.detail)},
          {"lacking", std::move(lacking)},
          {"line", c.place.line == 0 ? Json(nullptr) : Json(c.place.line)},
          {"gaps", std::move(gaps)},
          {"replays", c.attempts}};
}

int complete_files(Session& session, const CompleteOptions& options) {
  int code = report::kExitOk;
  for (const std::string& path : options.files) {
    int one;
    try {
      const auto source = session.open(path);
      Progress progress;
      const CompletionResult c = replay::complete(*source, [&] {
        progress.tick();
        return !session.stopped();
      });
      if (session.json) {
        session.print_json(to_json(c, path));
      } else {
        session.print(to_text(c, path, options.events == 0 ? SIZE_MAX : options.events));
      }
      one = session.stopped() ? report::kExitInterrupted : exit_code_of(c.answer);
    } catch (const trace::TraceError& error) {
      one = session.fail(error);
    }
    code = report::worse_exit_code(code, one);
    if (session.stopped()) break;
  }
  return code;
}

}  // namespace

void add_complete(CLI::App& app, Session& session) {
  auto options = std::make_shared<CompleteOptions>();
  CLI::App* sub =
      app.add_subcommand("complete", "say what a recording that lost events may have lost");
  sub->add_option("FILE", options->files, "recording, any format; - for standard input")
      ->required();
  sub->add_option("--events", options->events, "events of a gap that are printed (0: all)")
      ->capture_default_str();
  sub->footer(
      "consistent (exit 0): with the events printed, the recording replays without a finding; "
      "more\n"
      "that leave no mark may have been lost. inconsistent (exit 7): no lost event explains what "
      "is\n"
      "recorded. undetermined (exit 5): neither was shown. Exit 4: nothing was lost.\n"
      "\nExamples:\n"
      "  mmucheck complete lossy.txt.xz\n"
      "  mmucheck --json complete --events 0 lossy.txt.xz");
  sub->callback([&session, options] { session.exit_code = complete_files(session, *options); });
}

}  // namespace mmucheck::cli
