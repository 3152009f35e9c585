#include "tools/mmucheck/strip_observations.h"

#include "checker/replay/replayer.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::cli {

using trace::Event;
using trace::EventKind;
using trace::PacketClass;

StripObservations::StripObservations(std::unique_ptr<trace::EventSource> source)
    : source_(std::move(source)), hand_written_(replay::is_synthetic(source_->info())) {}

bool StripObservations::next(Event& event) {
  if (has_ahead_) {
    event = ahead_;  // its views are those of the last read, and nothing was read since
    has_ahead_ = false;
  } else if (!source_->next(event)) {
    return false;
  }
  // What no thread's operation shows says nothing about when a thread went on.
  while (event.cls == PacketClass::kObservation && !replay::is_step(event.kind)) {
    if (!source_->next(event)) return false;
  }
  event.seq = ++seq_;
  if (event.cls != PacketClass::kObservation) return true;

  uint64_t count = 1;
  while ((has_ahead_ = source_->next(ahead_))) {
    if (ahead_.cls == PacketClass::kObservation && !replay::is_step(ahead_.kind)) continue;
    const bool same_run = ahead_.cls == PacketClass::kObservation &&
                          ahead_.thread == event.thread && ahead_.cpu == event.cpu &&
                          ahead_.vm == event.vm && ahead_.context == event.context &&
                          (!hand_written_ || ahead_.kind == event.kind);
    if (!same_run) break;
    ++count;
  }
  const EventKind kind = event.kind;
  event.reset_body(EventKind::kStep, PacketClass::kInput);
  event.set(trace::f::step::count, count);
  if (hand_written_) event.set(trace::f::step::until, static_cast<uint64_t>(kind));
  return true;
}

}  // namespace mmucheck::cli
