// Layer: checker/replay. Contract: the packets of a hand-written trace, with what its observations say
// of the order of threads made explicit: where something is seen of an operation behind a stimulus or
// an observation of another thread, the operation was not over then, and a `step` of no events behind
// its own stimulus says so (synthetic_replayer.h). It goes on where it is seen, no sooner.
//
// Looks kOverlapPackets ahead once; operations that begin later end before the next packet of another
// thread, whatever is seen of them. The packet that is put in has the place of the stimulus before it.
// Throws what the source throws, when that packet's turn comes.
#pragma once

#include <deque>
#include <exception>

#include "checker/trace/event_source.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::replay {

inline constexpr size_t kOverlapPackets = 65536;

class Overlapping final : public trace::EventSource {
 public:
  explicit Overlapping(trace::EventSource& source) : source_(source) {}
  bool next(trace::Event& event) override;
  const trace::TraceInfo& info() const override { return source_.info(); }

 private:
  void look_ahead();

  trace::EventSource& source_;
  bool looked_ = false;
  std::deque<trace::OwnedEvent> ahead_;
  trace::OwnedEvent now_;        // what the caller's views are of
  std::exception_ptr thrown_;    // behind what is ahead
};

}  // namespace mmucheck::replay
