// mmucheck shrink: the smallest hand-written trace that still breaks the same invariant.
#include <fmt/format.h>
#include <unistd.h>

#include <memory>
#include <optional>

#include "checker/replay/replay_trace.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/report/text_writer.h"
#include "checker/shrink/shrink.h"
#include "tools/mmucheck/commands.h"

namespace mmucheck::cli {
namespace {

constexpr size_t kMaxShrinkPackets = 1u << 16;
constexpr uint64_t kShrinkProgressEvery = 64;  // runs

struct ShrinkOptions {
  std::string file, output, invariant;
  shrink::Bounds bounds;
};

// What is written keeps every reason for doubt away that the trace did not have.
struct WantedFailure {
  std::string invariant;
  bool doubtful = false;
};

std::optional<std::string> broken_in(const report::Verdict& v, const std::string& wanted) {
  for (const report::Violation& x : v.violations) {
    if (wanted.empty() || x.invariant == wanted) return x.invariant;
  }
  return std::nullopt;
}

bool fails_as(const report::Verdict& v, const WantedFailure& wanted) {
  return broken_in(v, wanted.invariant).has_value() && v.divergences.empty() &&
         (wanted.doubtful || v.inconclusive.empty());
}

shrink::Packets read_packets(Session& session, const ShrinkOptions& o, trace::TraceInfo& info) {
  const auto source = session.open(o.file);
  shrink::Packets packets;
  for (trace::Event e; source->next(e);) {
    if (!replay::is_synthetic(source->info())) break;
    if (packets.size() == kMaxShrinkPackets) {
      trace::TraceError::Where where;
      where.file = o.file;
      where.packet = e.seq;
      throw trace::TraceError(trace::TraceErrorKind::kTooLarge, where,
                              fmt::format("more than {} packets to shrink", kMaxShrinkPackets));
    }
    if (e.kind != trace::EventKind::kExpect) packets.emplace_back(e);
  }
  info = source->info();
  return packets;
}

report::Verdict verdict_of(const trace::TraceInfo& info, const shrink::Packets& packets) {
  trace::OwnedEvents source(info, packets);
  return replay::replay_trace(source);
}

// What is left may be no trace any more.
bool still_fails(const trace::TraceInfo& info, const shrink::Packets& packets,
                 const WantedFailure& wanted) {
  try {
    return fails_as(verdict_of(info, packets), wanted);
  } catch (const trace::TraceError&) {
    return false;
  }
}

void write_shrunk(const ShrinkOptions& o, const trace::TraceInfo& info,
                  const shrink::Packets& packets, const std::string& invariant) {
  const auto sink = trace::create_trace(o.output, info, "");
  trace::Event expect;
  trace::start_event(expect, trace::EventKind::kExpect);
  expect.set(trace::f::expect::verdict, static_cast<uint64_t>(trace::ExpectedVerdict::kViolated));
  expect.text = invariant;
  sink->put(expect);
  for (const trace::OwnedEvent& p : packets) sink->put(p.event());
  sink->close();
}

// Counts on a terminal; true unless the user asked to stop.
class ShrinkProgress {
 public:
  explicit ShrinkProgress(const Session& session)
      : session_(session), shown_(isatty(STDERR_FILENO) != 0) {}
  ~ShrinkProgress() {
    if (drawn_) fmt::print(stderr, "\r\033[K");
  }
  bool operator()(uint64_t runs, size_t packets) {
    if (shown_ && runs % kShrinkProgressEvery == 0) {
      drawn_ = true;
      fmt::print(stderr, "\r{} runs, {} packets left\033[K", report::with_thousands(runs), packets);
      std::fflush(stderr);
    }
    return !session_.stopped();
  }

 private:
  const Session& session_;
  bool shown_, drawn_ = false;
};

int run_shrink(Session& session, const ShrinkOptions& o) {
  trace::TraceInfo info;
  const shrink::Packets packets = read_packets(session, o, info);
  if (!replay::is_synthetic(info)) {
    return session.fail(report::kExitUsage,
                        o.file +
                            ": only hand-written traces shrink; what is left out of a "
                            "recording happened all the same");
  }
  const report::Verdict before = verdict_of(info, packets);
  const auto invariant = broken_in(before, o.invariant);
  if (!invariant || !before.divergences.empty()) {
    return session.fail(report::kExitNothing,
                        fmt::format("{}: {}", o.file,
                                    !before.divergences.empty() ? "diverged, which does not shrink"
                                    : o.invariant.empty()       ? "no invariant is violated"
                                                          : o.invariant + " is not violated"));
  }
  const WantedFailure wanted{*invariant, !before.inconclusive.empty()};
  shrink::Shrunk small;
  {
    ShrinkProgress progress(session);
    small = shrink::shrink(
        packets, [&](const shrink::Packets& trial) { return still_fails(info, trial, wanted); },
        o.bounds, [&](uint64_t runs, size_t left) { return progress(runs, left); });
  }
  write_shrunk(o, info, small.packets, *invariant);
  const char* how = small.interrupted ? "; interrupted"
                    : small.bounded   ? "; --max-runs was hit"
                                      : "";
  if (session.json) {
    session.print_json({{"schema", kJsonSchema},
                        {"file", o.file},
                        {"output", o.output},
                        {"invariant", *invariant},
                        {"packets", {{"before", packets.size()}, {"after", small.packets.size()}}},
                        {"fields",
                         {{"before", shrink::field_count(packets)},
                          {"after", shrink::field_count(small.packets)}}},
                        {"runs", small.runs},
                        {"bound_hit", small.bounded},
                        {"interrupted", small.interrupted}});
  } else if (o.output != "-") {
    session.print(fmt::format("wrote {}: {} of {} packets, {} of {} fields break {}; {} runs{}\n",
                              o.output, small.packets.size(), packets.size(),
                              shrink::field_count(small.packets), shrink::field_count(packets),
                              *invariant, report::with_thousands(small.runs), how));
  }
  return small.interrupted ? report::kExitInterrupted : report::kExitOk;
}

}  // namespace

void add_shrink(CLI::App& app, Session& session) {
  auto o = std::make_shared<ShrinkOptions>();
  CLI::App* sub =
      app.add_subcommand("shrink", "leave out of a violating trace what it does not need");
  sub->add_option("FILE", o->file, "a hand-written trace that violates an invariant")->required();
  sub->add_option("-o,--output", o->output, "OUT.txtpb or OUT.pb; - is text")->required();
  sub->add_option("--invariant", o->invariant, "the one to keep violated [the first one]")
      ->option_text("ID");
  sub->add_option("--max-runs", o->bounds.max_runs, "replay at most so many smaller traces")
      ->check(CLI::Range(uint64_t{1}, uint64_t{100'000'000}))
      ->capture_default_str();
  sub->footer(
      "\nPackets go first, then fields and their values. The result states its expectation.\n\n"
      "Examples:\n  mmucheck shrink counterexample.txtpb -o small.txtpb\n"
      "  mmucheck shrink long.pb --invariant TDX-SEPT-MIRROR -o small.txtpb");
  sub->callback([o, &session] { session.exit_code = run_shrink(session, *o); });
}

}  // namespace mmucheck::cli
