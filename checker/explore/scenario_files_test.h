// Layer: checker/explore, for tests. Contract: the scenarios that are shipped, by name: the path below
// traces/scenarios, without its ending. A file that is none is trace::TraceError.
#pragma once

#include <string>

#include "checker/explore/scenario.h"
#include "checker/trace/open_trace.h"

namespace mmucheck::explore {

inline std::string scenario_file(const std::string& name) {
  return "traces/scenarios/" + name + ".txtpb";
}

inline Scenario open_scenario(const std::string& name) {
  const auto source = trace::open_trace(scenario_file(name), trace::own_formats());
  return read_scenario(*source);
}

}  // namespace mmucheck::explore
