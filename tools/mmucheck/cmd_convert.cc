// mmucheck convert: any trace into .pb or .txtpb, whole, stripped or salvaged.
#include <fmt/format.h>

#include <memory>

#include "checker/report/text_writer.h"
#include "checker/trace/event_kinds.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/progress.h"
#include "tools/mmucheck/strip_observations.h"

namespace mmucheck::cli {
namespace {

struct ConvertOptions {
  std::string in, out, encoding;
  bool strip = false;
  bool salvage = false;
};

bool can_salvage(const trace::TraceError& error) {
  switch (error.kind()) {
    case trace::TraceErrorKind::kCorrupt:
    case trace::TraceErrorKind::kTruncated:
    case trace::TraceErrorKind::kHashMismatch: return true;
    default: return false;
  }
}

// Ends a salvaged trace: what follows is lost, so no verdict on it may claim otherwise.
void put_loss(trace::EventSink& sink, trace::Event& last) {
  last.reset_body(trace::EventKind::kLostEvents, trace::PacketClass::kConfig);
  last.set(trace::f::lost_events::count, 0);
  last.set(trace::f::lost_events::how, static_cast<uint64_t>(trace::LossHow::kTruncated));
  sink.put(last);
}

void report_result(const Session& session, const ConvertOptions& o, uint64_t packets, uint64_t dropped,
                   const std::string& salvaged) {
  if (!salvaged.empty()) {
    session.note(fmt::format("{}\n          kept the first {} packets", salvaged,
                             report::with_thousands(packets)));
  }
  if (dropped != 0) {
    session.note(fmt::format("{} packets have parts of a newer version that text cannot carry",
                             report::with_thousands(dropped)));
  }
  if (o.out == "-") return;
  if (session.json) {
    const nlohmann::ordered_json json = {{"schema", kJsonSchema},
                                         {"file", o.in},
                                         {"output", o.out},
                                         {"packets", packets},
                                         {"dropped", dropped},
                                         {"salvaged", !salvaged.empty()}};
    session.print_json(json);
  } else {
    session.print(
        fmt::format("wrote {}: {} packets\n", o.out, report::with_thousands(packets)));
  }
}

int convert(const ConvertOptions& o, Session& session) {
  std::unique_ptr<trace::EventSource> source = session.open(o.in, true);
  if (o.strip) source = std::make_unique<StripObservations>(std::move(source));
  const auto sink = trace::create_trace(o.out, source->info(), o.encoding);
  uint64_t packets = 0;
  std::string salvaged;
  trace::Event event;
  Progress progress;
  while (!session.stopped()) {
    try {
      if (!source->next(event)) break;
    } catch (const trace::TraceError& error) {
      if (!o.salvage || packets == 0 || !can_salvage(error)) throw;
      salvaged = error.what();
      put_loss(*sink, event);
      break;
    }
    sink->put(event);
    ++packets;
    progress.tick();
  }
  if (session.stopped()) {
    return session.fail(report::kExitInterrupted, "interrupted; " + o.out + " was not written");
  }
  if (packets == 0) return session.fail(report::kExitNothing, o.in + ": no event to convert");
  sink->close();
  report_result(session, o, packets, sink->dropped(), salvaged);
  return report::kExitOk;
}

}  // namespace

void add_convert(CLI::App& app, Session& session) {
  auto o = std::make_shared<ConvertOptions>();
  CLI::App* sub = app.add_subcommand("convert", "write a trace as .pb or .txtpb");
  sub->add_option("IN", o->in, "a trace; - is standard input")->required();
  sub->add_option("-o,--output", o->out, "OUT.pb or OUT.txtpb, also with .zst; - is text")
      ->required();
  sub->add_option("--to", o->encoding, "pb or txtpb, whatever the name of the output")
      ->check(CLI::IsMember({"pb", "txtpb"}));
  sub->add_flag("--strip-observations", o->strip,
                "leave out what the kernel was seen to do; its threads' steps stay as counts");
  sub->add_flag("--salvage", o->salvage, "of a damaged file, keep what stands before the damage");
  sub->footer(
      "\nExamples:\n  mmucheck convert trace.pb -o trace.txtpb\n"
      "  mmucheck convert trace.txt.xz --strip-observations -o stripped.pb.zst\n"
      "  mmucheck convert half.pb --salvage -o intact.pb");
  sub->callback([o, &session] { session.exit_code = convert(*o, session); });
}

}  // namespace mmucheck::cli
