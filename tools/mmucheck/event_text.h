// Layer: tools/mmucheck. Contract: one event as a line of text and as a JSON object. Values keep the
// trace's own style: hexadecimal without 0x where the table says so, decimal elsewhere.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "checker/trace/event.h"

namespace mmucheck::cli {

// "   12 :4312    35.841138 cpu1 tid502 vm1 O changed_spte as_id=0 gfn=40005 ..."; no line end.
// The letter is the class: C configuration, S stimulus, I input, O observation.
std::string event_line(const trace::Event& event, bool counter_clock);

nlohmann::ordered_json event_json(const trace::Event& event);

}  // namespace mmucheck::cli
