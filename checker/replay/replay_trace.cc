#include "checker/replay/replay_trace.h"

#include <fmt/format.h>

#include <string_view>
#include <utility>

#include "checker/replay/missing_probe.h"
#include "checker/replay/packets.h"
#include "checker/replay/replayer.h"
#include "checker/replay/synthetic/overlapping.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;

namespace {

// What a prediction is about: changes, results, flushes, tables that come and go.
bool is_printed(K kind) {
  switch (kind) {
    case K::kSpteChanged:
    case K::kChangedSpte:
    case K::kFastPageFault:
    case K::kSetSpte:
    case K::kSplitHugePage:
    case K::kTdpMapRet:
    case K::kFaultinRet:
    case K::kFaultStaleRet:
    case K::kTdpUnmapGfnRangeRet:
    case K::kZapLeafsRootRet:
    case K::kAgeRangeRet:
    case K::kTestAgeRangeRet:
    case K::kSetMemslotRet:
    case K::kSetMemAttrRet:
    case K::kFlushAll:
    case K::kFlushRange:
    case K::kFlushMemslot:
    case K::kInitSp:
    case K::kRemovedPt:
    case K::kRcuFreeSp:
    case K::kPutRoot:
      return true;
    default: return false;
  }
}

std::string line_of(const trace::Event& at, const Predicted& p) {
  std::string s = fmt::format("vm {} thread {}  {}", at.vm, at.thread, trace::kind_name(p.kind));
  const trace::KindInfo& info = trace::kind_info(p.kind);
  for (size_t i = 0; i < info.fields.size(); i++) {
    if (!p.has(i)) continue;
    const bool hexadecimal = info.fields[i].type == trace::FieldType::kHex;
    s += hexadecimal ? fmt::format("  {} {:x}", info.fields[i].name, p.f[i])
                     : fmt::format("  {} {}", info.fields[i].name, static_cast<int64_t>(p.f[i]));
  }
  s += '\n';
  return s;
}

}  // namespace

namespace {

// Nothing can be predicted where events are missing, or the probes that tell what was asked for.
bool needs_tracepoint_engine(const trace::TraceInfo& info) {
  if (info.loss == trace::LossState::kLost) return true;
  return info.capabilities_known && !full_engine_can(info.capabilities);
}

// Kernels whose rules were measured, or are known to be the same; of one without a version its
// signs tell which it is.
bool is_recorded_kernel(std::string_view version) {
  return version.empty() || version.starts_with("6.12") || version.starts_with("7.2") ||
         version.starts_with("7.3");
}

// The recording's kernel is another one than that whose rules it was judged by: what it did otherwise
// it may do. A broken rule is broken in every kernel.
void doubt_findings(report::Verdict& v, std::string_view rules) {
  if (v.divergences.empty() || !v.violations.empty()) return;
  const report::Place& first = v.divergences[0].place;
  v.inconclusive.push_back(
      fmt::format("line {}: {} is not what is known of {}; Linux {} may have other rules",
                  first.line, first.event, rules, v.kernel));
  v.mode = report::Mode::kPartial;
  v.divergences.clear();
  v.spte_changes.inferred += std::exchange(v.spte_changes.diverged, 0);
}

template <class Engine>
report::Verdict replay_with(trace::EventSource& source, const Tick& tick, Engine&& replayer) {
  trace::Event e;
  bool stopped = false;
  while (!stopped && source.next(e)) {
    replayer.event(e);
    if (tick) stopped = !tick();
  }
  replayer.finish(source.info());
  replayer.verdict().interrupted = stopped;
  return std::move(replayer.verdict());
}

}  // namespace

report::Verdict replay_trace(trace::EventSource& source, const Tick& tick,
                             const ReplayOptions& options) {
  const trace::TraceInfo& info = source.info();
  if (is_synthetic(info)) {
    Overlapping ordered(source);
    return replay_with(ordered, tick, SyntheticReplayer(info));
  }
  report::Verdict v = needs_tracepoint_engine(info)
                          ? replay_with(source, tick, TracepointReplayer(info, options.execution))
                          : replay_with(source, tick, Replayer(info));
  if (!is_recorded_kernel(v.kernel)) doubt_findings(v, design_of(info.kernel)->source);
  return v;
}

namespace {

template <class Engine>
std::vector<VmState> state_with(trace::EventSource& source,
                                const std::function<bool(const trace::Event&)>& at) {
  Engine replayer(source.info());
  for (trace::Event e; source.next(e);) {
    replayer.event(e);
    if (at(e)) return replayer.state();
  }
  replayer.finish(source.info());  // the last operations come to their end
  return replayer.state();
}

}  // namespace

std::optional<std::vector<VmState>> state_in_trace(
    trace::EventSource& source, const std::function<bool(const trace::Event&)>& at) {
  if (is_synthetic(source.info())) {
    Overlapping ordered(source);
    return state_with<SyntheticReplayer>(ordered, at);
  }
  if (needs_tracepoint_engine(source.info())) return std::nullopt;
  return state_with<Replayer>(source, at);
}

void predict_trace(trace::EventSource& source,
                   const std::function<void(const std::string&)>& line) {
  trace::Event e;
  if (is_synthetic(source.info())) {
    SyntheticReplayer replayer(source.info());
    trace::KindSet printed;
    for (const trace::KindInfo& k : trace::all_kinds()) {
      if (is_printed(k.kind)) printed.set(static_cast<size_t>(k.kind));
    }
    replayer.set_prediction_sink(
        [&](const trace::Event& at, const Predicted& p) { line(line_of(at, p)); }, printed);
    Overlapping ordered(source);
    while (ordered.next(e)) replayer.event(e);
    replayer.finish(source.info());
    return;
  }
  Replayer replayer(source.info());
  replayer.set_prediction_sink([&](const trace::Event& at, const Predicted& p) {
    if (is_printed(p.kind)) line(line_of(at, p));
  });
  while (source.next(e)) replayer.event(e);
  replayer.finish(source.info());
}

}  // namespace mmucheck::replay
