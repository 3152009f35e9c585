#include "checker/explore/scenario.h"

#include "checker/replay/synthetic/synthetic_replayer.h"

namespace mmucheck::explore {

using K = trace::EventKind;
using trace::Event;
using trace::PacketClass;

namespace {

[[noreturn]] void refuse(const trace::TraceInfo& info, const Event& e, const std::string& why) {
  trace::TraceError::Where where;
  where.file = info.file;
  where.packet = e.seq;
  where.line = e.stream_line;
  throw trace::TraceError(trace::TraceErrorKind::kCorrupt, where,
                          std::string(trace::kind_name(e.kind)) + ": " + why);
}

// What would change more than a thread's steps change. Of shadow pages no state knows.
bool changes_the_world(K kind) {
  switch (kind) {
    case K::kVmCreate:
    case K::kInitVm:
    case K::kVmDestroy:
    case K::kDestroyVm:
    case K::kVcpuCreate:
    case K::kVcpuDestroy:
    case K::kModuleParamSet:
    case K::kEnableCap:
    case K::kWriteTrack:
    case K::kShadowSetSpte:
    case K::kShadowSplit:
    case K::kHostLevelChange: return true;
    default: return false;
  }
}

}  // namespace

size_t Scenario::operations() const {
  size_t n = 0;
  for (const auto& [tid, operations] : threads) n += operations.size();
  return n;
}

Scenario read_scenario(trace::EventSource& source) {
  Scenario s;
  s.info = source.info();
  bool marked = false;
  size_t vms = 0;
  for (Event e; source.next(e);) {
    if (!replay::is_synthetic(source.info())) refuse(s.info, e, "a recording is no scenario");
    if (!marked) {
      s.prefix.emplace_back(e);
      if (e.kind == K::kVmCreate || e.kind == K::kInitVm) vms++;
      marked = e.kind == K::kMarker && e.text == "explore";
      if (marked && vms != 1) refuse(s.info, e, "a scenario has one VM");
      continue;
    }
    switch (e.cls) {
      case PacketClass::kConfig:
        if (e.kind == K::kExpect || e.kind == K::kMarker) break;
        refuse(s.info, e, "configuration stands before the marker \"explore\"");
      case PacketClass::kObservation:
        refuse(s.info, e, "behind the marker \"explore\" nothing was observed yet");
      case PacketClass::kInput: {
        const auto at = s.threads.find(e.thread);
        if (at == s.threads.end()) refuse(s.info, e, "an input stands behind its stimulus");
        if (e.kind == K::kStep) refuse(s.info, e, "exploring decides who steps");
        at->second.back().packets.emplace_back(e);
        break;
      }
      case PacketClass::kStimulus:
        if (changes_the_world(e.kind)) refuse(s.info, e, "stands before the marker \"explore\"");
        if (s.operations() >= kMaxOperations) refuse(s.info, e, "more than 64 operations");
        if (s.threads.size() >= kMaxThreads && !s.threads.contains(e.thread)) {
          refuse(s.info, e, "more than 8 threads");
        }
        s.threads[e.thread].push_back({std::string(trace::kind_name(e.kind)), {Packet(e)}});
        break;
    }
  }
  return s;
}

}  // namespace mmucheck::explore
