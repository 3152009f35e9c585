// Layer: checker/trace. Contract: an event that outlives its source: it owns its text. Fields of a
// newer version, which have no names here, are left behind. A list of them is a source.
#pragma once

#include <span>
#include <string>
#include <utility>

#include "checker/trace/event_source.h"

namespace mmucheck::trace {

class OwnedEvent {
 public:
  OwnedEvent() = default;
  explicit OwnedEvent(const Event& e) : event_(e), text_(e.text) {
    event_.text = event_.unknown = event_.unknown_outer = {};
  }
  // Valid as long as this lives and is not assigned to.
  Event event() const {
    Event e = event_;
    e.text = text_;
    return e;
  }
  void set(size_t field, uint64_t value) { event_.set(field, value); }

 private:
  Event event_;
  std::string text_;
};

// The packets of a trace, numbered anew; they must outlive it.
class OwnedEvents final : public EventSource {
 public:
  OwnedEvents(TraceInfo info, std::span<const OwnedEvent> packets)
      : info_(std::move(info)), packets_(packets) {
    info_.packets = 0;
  }
  bool next(Event& event) override {
    if (info_.packets == packets_.size()) return false;
    event = packets_[info_.packets++].event();
    event.seq = info_.packets;
    event.stream_line = event.source_offset = 0;
    return true;
  }
  const TraceInfo& info() const override { return info_; }

 private:
  TraceInfo info_;
  std::span<const OwnedEvent> packets_;
};

}  // namespace mmucheck::trace
