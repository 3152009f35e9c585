// checker/replay: a whole trace at once: the entry points of the subcommands.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "checker/replay/vm_state.h"
#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

// Called for every event; false stops with a partial verdict.
using Tick = std::function<bool()>;

struct ReplayOptions {
  // Say which operations explain a recording that does not name them (Verdict::execution).
  bool execution = false;
};

// Throws trace::TraceError for bad input.
report::Verdict replay_trace(trace::EventSource& source, const Tick& tick = {},
                             const ReplayOptions& options = {});

// The model's state directly after the first event of which `at` is true, else at the end of the
// trace. Nothing where the model does not run: a recording without the probes that predict.
std::optional<std::vector<VmState>> state_in_trace(
    trace::EventSource& source, const std::function<bool(const trace::Event&)>& at);

// A line for each SPTE change, result, flush, removed and freed table that the model predicts.
void predict_trace(trace::EventSource& source, const std::function<void(const std::string&)>& line);

}  // namespace mmucheck::replay
