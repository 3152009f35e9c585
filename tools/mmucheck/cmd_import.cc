// mmucheck import: a recording into a trace, with a report of what was found in it.
#include <fmt/format.h>

#include <memory>

#include "checker/report/text_writer.h"
#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/ftrace_source.h"
#include "tools/mmucheck/commands.h"
#include "tools/mmucheck/progress.h"

namespace mmucheck::cli {
namespace {

struct ImportOptions {
  std::string in, out;
};

nlohmann::ordered_json report_json(const ImportOptions& o, const import::ImportReport& r, uint64_t packets) {
  nlohmann::ordered_json gaps = nlohmann::ordered_json::array();
  for (const import::CapabilityGap& gap : import::capability_gaps(r.capabilities, r.kernel)) {
    gaps.push_back({{"kind", trace::kind_name(gap.kind)}, {"missing", gap.missing}});
  }
  nlohmann::ordered_json lost = nlohmann::ordered_json::array();
  for (const trace::LostEvents& l : r.lost) {
    nlohmann::ordered_json count = nullptr;
    if (l.count != 0) count = l.count;
    lost.push_back({{"count", count}, {"cpu", l.cpu}, {"line", l.source_line}});
  }
  nlohmann::ordered_json json;
  json["schema"] = kJsonSchema;
  json["file"] = o.in;
  json["output"] = o.out;
  json["packets"] = packets;
  json["lines"] = r.lines;
  json["vms"] = r.vms;
  json["read"] = r.read;
  json["written"] = r.written;
  json["skipped"] = r.skipped;
  json["bad"] = r.bad;
  json["malformed"] = r.malformed;
  json["overlong"] = r.overlong;
  json["lost"] = lost;
  json["missing_capabilities"] = gaps;
  return json;
}

int import_file(const ImportOptions& o, Session& session) {
  const auto source = session.open(o.in);
  const auto* recording = dynamic_cast<const import::FtraceSource*>(source.get());
  if (recording == nullptr) {
    return session.fail(report::kExitUsage,
                        fmt::format("{}: is a trace already ({}); `mmucheck convert` copies it",
                                    o.in, source->info().encoding));
  }
  std::unique_ptr<trace::EventSink> sink;
  if (!o.out.empty()) sink = trace::create_trace(o.out, source->info());
  uint64_t packets = 0;
  Progress progress;
  for (trace::Event event; !session.stopped() && source->next(event); progress.tick()) {
    if (sink) sink->put(event);
    ++packets;
  }
  if (session.stopped()) return session.fail(report::kExitInterrupted, "interrupted");
  const import::ImportReport& r = recording->report();
  if (r.read.empty()) return session.fail(report::kExitNothing, o.in + ": no known event");
  if (sink) sink->close();
  if (o.out == "-") {
    session.note(import::format_report(r));
  } else if (session.json) {
    session.print_json(report_json(o, r, packets));
  } else {
    session.print(import::format_report(r));
    if (sink) {
      session.print(fmt::format("wrote {}: {} packets\n", o.out, report::with_thousands(packets)));
    }
  }
  return report::kExitOk;
}

}  // namespace

void add_import(CLI::App& app, Session& session) {
  auto o = std::make_shared<ImportOptions>();
  CLI::App* sub = app.add_subcommand("import", "store a recording as a trace; say what is in it");
  sub->add_option("IN", o->in, "ftrace text, plain or compressed; - is standard input")->required();
  sub->add_option("-o,--output", o->out, "OUT.pb or OUT.txtpb, also with .zst; none: report only");
  sub->footer("\nExample:\n  mmucheck import trace.txt.xz -o trace.pb.zst");
  sub->callback([o, &session] { session.exit_code = import_file(*o, session); });
}

}  // namespace mmucheck::cli
