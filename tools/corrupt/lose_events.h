// tools/corrupt: a recording of which some events in a row are missing, as a ring buffer loses
// them.
//
// Contract: of the recorded events `count` from an index on are taken away; what the importer made
// from what stands around them goes with them. Each CPU tells how many of its own it lost with its
// next event, as trace_pipe does; a CPU without one tells of nothing.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "checker/trace/event_source.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::corrupt {

struct Recording {
  trace::TraceInfo info;
  std::vector<trace::OwnedEvent> events;
};

// `path` names the recording that the text is of: side files are looked for there.
Recording import_recording(std::string text, const std::string& path);

// A stimulus or an observation: what a ring can lose.
bool is_recorded(const trace::OwnedEvent& e);

Recording lose(const Recording& whole, size_t at, size_t count,
               std::vector<trace::OwnedEvent>& gone);

// Each event of the witness is one that was lost, another one each, in all fields that it sets: it
// sets those that a rule demands.
bool agrees(const std::vector<trace::OwnedEvent>& witness, std::vector<trace::OwnedEvent> lost);

}  // namespace mmucheck::corrupt
