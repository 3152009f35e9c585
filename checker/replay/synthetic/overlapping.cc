#include "checker/replay/synthetic/overlapping.h"

#include <map>
#include <set>
#include <utility>

#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using trace::Event;
using trace::PacketClass;
using K = trace::EventKind;

namespace {

// What a thread has begun last.
struct Begun {
  size_t at = 0;
  bool stepped = false;  // the trace says itself when it goes on
  // Stimuli and observations: of all threads up to its own, and of this thread since.
  uint64_t before = 0, own = 0;
};

// The places of stimuli whose operations are seen again behind what another thread begins or shows.
std::set<size_t> overlapped(const std::deque<trace::OwnedEvent>& packets) {
  std::set<size_t> found;
  std::map<uint32_t, Begun> threads;
  size_t at = 0;
  uint64_t all = 0;  // stimuli and observations
  for (const trace::OwnedEvent& packet : packets) {
    const Event e = packet.event();
    const auto own = threads.find(e.thread);
    if (e.cls == PacketClass::kStimulus) {
      threads[e.thread] = {at, false, ++all, 0};
    } else if (own != threads.end() && e.kind == K::kStep) {
      own->second.stepped = true;
    } else if (e.cls == PacketClass::kObservation) {
      if (own != threads.end()) {
        Begun& begun = own->second;
        const bool overtaken = all > begun.before + begun.own;
        if (overtaken && !begun.stepped) found.insert(begun.at);
        begun.own++;
      }
      all++;
    }
    at++;
  }
  return found;
}

trace::OwnedEvent goes_on(const Event& stimulus) {
  Event e = stimulus;
  e.text = e.unknown = e.unknown_outer = {};
  trace::start_event(e, K::kStep);
  e.set(trace::f::step::count, 0);
  return trace::OwnedEvent(e);
}

}  // namespace

void Overlapping::look_ahead() {
  looked_ = true;
  std::deque<trace::OwnedEvent> read;
  try {
    for (Event e; read.size() < kOverlapPackets && source_.next(e);) read.emplace_back(e);
  } catch (...) {
    thrown_ = std::current_exception();
  }
  const std::set<size_t> places = overlapped(read);
  for (size_t at = 0; at < read.size(); at++) {
    ahead_.push_back(std::move(read[at]));
    if (places.contains(at)) ahead_.push_back(goes_on(ahead_.back().event()));
  }
}

bool Overlapping::next(Event& event) {
  if (!looked_) look_ahead();
  if (!ahead_.empty()) {
    now_ = std::move(ahead_.front());
    ahead_.pop_front();
    event = now_.event();
    return true;
  }
  if (thrown_) std::rethrow_exception(std::exchange(thrown_, nullptr));
  return source_.next(event);
}

}  // namespace mmucheck::replay
