// mmucheck show: the events of a trace, filtered, or what the model holds at one of them.
#include <fmt/format.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <optional>

#include "checker/replay/replay_trace.h"
#include "checker/trace/event_kinds.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/event_text.h"
#include "tools/mmucheck/progress.h"
#include "tools/mmucheck/state_text.h"

namespace mmucheck::cli {
namespace {

constexpr size_t kAround = 5;  // events before and after --at

struct ShowOptions {
  std::string file;
  std::vector<std::string> kinds, classes;
  std::optional<uint32_t> thread, cpu, vm;
  std::optional<uint64_t> from, to, at, limit;
  bool state = false;
};

bool contains(const std::vector<std::string>& list, std::string_view name) {
  return list.empty() || std::find(list.begin(), list.end(), name) != list.end();
}

bool matches(const ShowOptions& o, const trace::Event& e) {
  return (!o.from || e.seq >= *o.from) && (!o.thread || e.thread == *o.thread) &&
         (!o.cpu || e.cpu == *o.cpu) && (!o.vm || e.vm == *o.vm) &&
         contains(o.kinds, trace::kind_name(e.kind)) &&
         contains(o.classes, trace::class_name(e.cls));
}

// The number that diagnostics call a place by: the line of a recording or of a text, else the packet.
bool reached(const trace::Event& e, uint64_t at) {
  if (e.source_line != 0) return e.source_line >= at;
  return e.cls != trace::PacketClass::kConfig && (e.stream_line != 0 ? e.stream_line : e.seq) >= at;
}

std::string rendered(const Session& session, const trace::Event& e, const trace::TraceInfo& info) {
  if (session.json) {
    return event_json(e).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  }
  return event_line(e, info.clock == trace::ClockKind::kCounter) + "\n";
}

// Prints the events around a place; false when the trace ends before it.
bool show_around(const ShowOptions& o, Session& session, trace::EventSource& source) {
  std::deque<std::string> before;
  size_t after = 0;
  Progress progress;
  for (trace::Event e; !session.stopped() && source.next(e); progress.tick()) {
    if (!matches(o, e)) continue;
    const std::string text = rendered(session, e, source.info());
    const std::string_view margin = session.json ? "" : "  ";
    if (after > 0) {
      session.print(fmt::format("{}{}", margin, text));
      if (++after > kAround) return true;
    } else if (reached(e, *o.at)) {
      for (const std::string& line : before) session.print(fmt::format("{}{}", margin, line));
      session.print(fmt::format("{}{}", session.json ? "" : "> ", text));
      after = 1;
    } else {
      before.push_back(text);
      if (before.size() > kAround) before.pop_front();
    }
  }
  return after > 0;
}

uint64_t show_all(const ShowOptions& o, Session& session, trace::EventSource& source) {
  uint64_t shown = 0;
  for (trace::Event e; !session.stopped() && source.next(e);) {
    if (o.to && e.seq > *o.to) break;
    if (!matches(o, e)) continue;
    if (o.limit && shown == *o.limit) break;
    session.print(rendered(session, e, source.info()));
    ++shown;
  }
  return shown;
}

// The model's page tables after --at, or at the end.
int show_state(const ShowOptions& o, Session& session, trace::EventSource& source) {
  Progress progress;
  bool found = !o.at;
  const auto state = replay::state_in_trace(source, [&](const trace::Event& e) {
    progress.tick();
    if (o.at && reached(e, *o.at)) found = true;
    return session.stopped() || (o.at && found);
  });
  if (session.stopped()) return report::kExitInterrupted;
  if (!state) {
    return session.fail(report::kExitInconclusive,
                        o.file + ": events or probes are missing, so the model has no state");
  }
  if (!found) return session.fail(report::kExitNothing, o.file + ": the trace ends before that");
  for (const replay::VmState& vm : *state) {
    if (o.vm && vm.vm != *o.vm) continue;
    if (session.json) {
      session.print_json(state_json(vm));
    } else {
      session.print(state_text(vm));
    }
  }
  return report::kExitOk;
}

void check_names(const ShowOptions& o) {
  for (const std::string& kind : o.kinds) {
    if (trace::kind_by_name(kind) == trace::EventKind::kNone) {
      throw CLI::ValidationError("--kind", "there is no event kind '" + kind + "'");
    }
  }
}

int show(const ShowOptions& o, Session& session) {
  check_names(o);
  const auto source = session.open(o.file, true);
  if (o.state) return show_state(o, session, *source);
  const bool any = o.at ? show_around(o, session, *source) : show_all(o, session, *source) > 0;
  if (session.stopped()) return report::kExitInterrupted;
  if (any) return report::kExitOk;
  return session.fail(report::kExitNothing, o.file + ": no event to show");
}

}  // namespace

void add_show(CLI::App& app, Session& session) {
  auto o = std::make_shared<ShowOptions>();
  CLI::App* sub = app.add_subcommand("show", "print the events of a trace, or the state at one of them");
  sub->add_option("FILE", o->file, "a trace; - is standard input")->required();
  sub->add_option("--kind", o->kinds, "only these event kinds, e.g. changed_spte,tdp_map")
      ->delimiter(',');
  sub->add_option("--class", o->classes, "only config, stimulus, input or observation")
      ->delimiter(',')
      ->check(CLI::IsMember({"config", "stimulus", "input", "observation"}));
  sub->add_option("--thread", o->thread, "only this thread id");
  sub->add_option("--cpu", o->cpu, "only this CPU");
  sub->add_option("--vm", o->vm, "only this VM (numbered from 1)");
  sub->add_option("--from", o->from, "first packet number");
  CLI::Option* to = sub->add_option("--to", o->to, "last packet number");
  CLI::Option* limit = sub->add_option("--limit", o->limit, "at most so many events");
  sub->add_option("--at", o->at, "the events around this line of a recording or text, or this packet")
      ->excludes(to)
      ->excludes(limit);
  sub->add_flag("--state", o->state,
                "the model's page tables after --at, or at the end, as ranges");
  sub->footer(
      "\nExamples:\n  mmucheck show trace.txt.xz --kind changed_spte --limit 10\n"
      "  mmucheck show trace.txt.xz --at 4312 --thread 502\n"
      "  mmucheck show trace.txt.xz --state --at 4312");
  sub->callback([o, &session] { session.exit_code = show(*o, session); });
}

}  // namespace mmucheck::cli
