#include "tools/corrupt/lose_events.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "checker/trace/open_trace.h"
#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::corrupt {

using trace::Event;
using trace::OwnedEvent;

namespace {

Event lost_events(const Event& behind, uint64_t count) {
  namespace l = trace::f::lost_events;
  Event lost;
  trace::start_event(lost, trace::EventKind::kLostEvents);
  lost.cpu = behind.cpu;
  lost.ts_ns = behind.ts_ns;
  lost.source_line = behind.source_line;
  lost.set(l::count, count);
  lost.set(l::cpu, behind.cpu);
  lost.set(l::how, static_cast<uint64_t>(trace::LossHow::kCounted));
  return lost;
}

bool agrees(const Event& witness, const Event& lost) {
  if (witness.kind != lost.kind) return false;
  for (size_t i = 0; i < trace::kMaxFields; i++) {
    if (witness.has(i) && lost.has(i) && witness.get(i) != lost.get(i)) return false;
  }
  return true;
}

}  // namespace

Recording import_recording(std::string text, const std::string& path) {
  const std::vector<trace::Format> formats{import::ftrace_format()};
  const auto source =
      trace::open_trace(trace::ByteStream::from_memory(std::move(text), path), formats);
  Recording r;
  for (Event e; source->next(e);) r.events.emplace_back(e);
  r.info = source->info();
  return r;
}

bool is_recorded(const OwnedEvent& e) {
  const trace::PacketClass c = e.event().cls;
  return c == trace::PacketClass::kStimulus || c == trace::PacketClass::kObservation;
}

Recording lose(const Recording& whole, size_t at, size_t count, std::vector<OwnedEvent>& gone) {
  Recording r;
  r.info = whole.info;
  r.info.loss = trace::LossState::kLost;
  std::map<uint32_t, uint64_t> owed;
  for (size_t i = 0; i < whole.events.size(); i++) {
    const OwnedEvent& e = whole.events[i];
    if (i >= at && gone.size() < count && e.event().cls != trace::PacketClass::kConfig) {
      if (is_recorded(e)) {
        gone.push_back(e);
        owed[e.event().cpu]++;
        if (const auto it = r.info.lost_in_all.find(e.event().cpu);
            it != r.info.lost_in_all.end()) {
          it->second++;
        }
      }
      continue;
    }
    if (const auto it = owed.find(e.event().cpu); it != owed.end()) {
      r.events.emplace_back(lost_events(e.event(), it->second));
      owed.erase(it);
    }
    r.events.push_back(e);
  }
  return r;
}

bool agrees(const std::vector<OwnedEvent>& witness, std::vector<OwnedEvent> lost) {
  for (const OwnedEvent& w : witness) {
    const auto it = std::find_if(lost.begin(), lost.end(),
                                 [&](const OwnedEvent& l) { return agrees(w.event(), l.event()); });
    if (it == lost.end()) return false;
    lost.erase(it);
  }
  return true;
}

}  // namespace mmucheck::corrupt
