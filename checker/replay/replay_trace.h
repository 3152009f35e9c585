// checker/replay: a whole trace at once: the entry points of the subcommands.
#pragma once

#include <functional>
#include <string>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

// Called for every event; false stops with a partial verdict.
using Tick = std::function<bool()>;

// Throws trace::TraceError for bad input.
report::Verdict replay_trace(trace::EventSource& source, const Tick& tick = {});

// A line for each SPTE change, result, flush, removed and freed table that the model predicts.
void predict_trace(trace::EventSource& source, const std::function<void(const std::string&)>& line);

}  // namespace mmucheck::replay
