// Layer: checker/explore. Contract: a scenario: a hand-written trace whose packets run in order up
// to `packet { marker { text: "explore" } }`; behind it the stimuli of each thread are its
// operations, in order, and threads are concurrent. An input there belongs to the operation of its
// thread that stands before it. `expect` says what a replay in file order gives and is not looked
// at. Limits: kMaxThreads threads, kMaxOperations operations together. A file that is no scenario,
// or creates or configures anything behind the marker, is trace::TraceError.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checker/trace/event_source.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::explore {

inline constexpr size_t kMaxThreads = 8;
inline constexpr size_t kMaxOperations = 64;

using Packet = trace::OwnedEvent;

struct Operation {
  std::string name;             // of the stimulus
  std::vector<Packet> packets;  // the stimulus, then its inputs
};

struct Scenario {
  trace::TraceInfo info;
  std::vector<Packet> prefix;                          // with the marker at its end
  std::map<uint32_t, std::vector<Operation>> threads;  // empty: there is no marker

  size_t operations() const;
};

Scenario read_scenario(trace::EventSource& source);

}  // namespace mmucheck::explore
