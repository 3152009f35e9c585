// checker/replay: a hand-written trace under designs of the caller's choice, read once.
//
// What the trace expects is said of the design that it names itself: the verdicts have no
// expectation. A recording is of one kernel: it has no other design (is_synthetic).
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"
#include "model/design/design.h"

namespace mmucheck::replay {

// One verdict a design, in their order. `tick` is called for every event; false stops with partial
// verdicts. Throws trace::TraceError for bad input.
std::vector<report::Verdict> replay_under(trace::EventSource& source,
                                          std::span<const model::Design> designs,
                                          const std::function<bool()>& tick = {});

}  // namespace mmucheck::replay
