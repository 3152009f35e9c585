// Layer: checker/report. Contract: an execution for people, a line an operation (wrapped under it
// where it has many ranges), and as JSON, all of it.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "checker/report/execution.h"

namespace mmucheck::report {

void put_execution(std::string& out, const Execution& execution);
void put_execution(nlohmann::ordered_json& json, const Execution& execution);

}  // namespace mmucheck::report
