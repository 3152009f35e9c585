// Layer: tools/mmucheck. Contract: a source without observations. Each run of observations that
// stand together and belong to one thread of one VM becomes one `step` input with their number: it
// says that the thread went on to its next visible event that often, and nothing of what it did
// there. Order and everything else stay.
// In a hand-written trace an observation also says which events its thread is stepped by: there a
// run is of one kind, and the step names the kind.
#pragma once

#include <memory>
#include <string>

#include "checker/trace/event_source.h"

namespace mmucheck::cli {

class StripObservations final : public trace::EventSource {
 public:
  explicit StripObservations(std::unique_ptr<trace::EventSource> source);

  bool next(trace::Event& event) override;
  const trace::TraceInfo& info() const override { return source_->info(); }

 private:
  std::unique_ptr<trace::EventSource> source_;
  trace::Event ahead_;  // read, but not yet returned
  bool has_ahead_ = false;
  bool hand_written_ = false;
  uint64_t seq_ = 0;
};

}  // namespace mmucheck::cli
