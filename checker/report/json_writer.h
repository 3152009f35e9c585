// Layer: checker/report. Contract: a verdict as one JSON object (one line, then a newline), keys in
// a fixed order. `schema` is kSchemaVersion; within one version fields are only added. Names are
// UTF-8; bytes of a file name that are not become U+FFFD.
#pragma once

#include <string>

#include "checker/report/verdict.h"

namespace mmucheck::report {

inline constexpr int kSchemaVersion = 1;

std::string to_json(const Verdict& verdict);

}  // namespace mmucheck::report
