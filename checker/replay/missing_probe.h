// checker/replay: could it be that a probe was not set, rather than that the kernel went wrong?
//
// A recording's capabilities are the kinds that occur in it. A kind that never occurs may never
// have happened, or its probe was missing. full_engine_can() asks for the probes without which
// nothing can be predicted; missing_probe() names one whose absence explains a step that the model
// did not expect, so that the answer is "inconclusive" instead of "diverged".
#pragma once

#include <string_view>

#include "checker/replay/operation.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

bool full_engine_can(const trace::KindSet& kinds);

// `op`: what the thread was doing, nullptr for nothing. `expected`: what should have come, kNone
// when nothing. `values_differ`: it came,
// with other values. Empty when no missing probe explains it.
std::string_view missing_probe(const trace::KindSet& kinds, const Operation* op,
                               trace::EventKind expected, trace::EventKind observed,
                               bool values_differ);

}  // namespace mmucheck::replay
