// Layer: checker/shrink. Contract: the smallest trace that still fails, found by leaving out and by
// trying again: first packets, in halves, quarters and so on (ddmin), then numbers that stand in several
// places, in all of them at once (a gfn that a fault and a range name), then fields and their values,
// and all again until nothing more can go.
//
// What "fails" means is the caller's function over whole traces; it must give the same answer for
// the same packets, and must be true of the trace that is given. The result then is 1-minimal,
// unless a bound was hit: without any one packet or field, or with one number zero or less by a
// power of two, it does not fail. Deterministic. Every trial costs one call, of at most `max_runs`.
// Source: Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", 2002.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "checker/trace/owned_event.h"

namespace mmucheck::shrink {

using Packets = std::vector<trace::OwnedEvent>;
using Fails = std::function<bool(const Packets&)>;

struct Bounds {
  uint64_t max_runs = 10'000;
};

struct Shrunk {
  Packets packets;
  uint64_t runs = 0;
  bool bounded = false;      // max_runs was hit: something may be left that could go
  bool interrupted = false;
};

// Called before each trial with the runs so far and the packets that are left; false stops.
using Tick = std::function<bool(uint64_t runs, size_t packets)>;

Shrunk shrink(Packets packets, const Fails& fails, const Bounds& bounds = {},
              const Tick& tick = {});

// Fields that are set, the text apart.
uint64_t field_count(const Packets& packets);

}  // namespace mmucheck::shrink
