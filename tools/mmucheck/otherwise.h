// Layer: tools/mmucheck. Contract: where a hand-written trace does not go as it is written: the first
// observation that the model does not predict, whether a rule excludes it (a violation that has both
// sides) or not (a divergence).
#pragma once

#include <optional>
#include <string>

#include "checker/report/verdict.h"

namespace mmucheck::cli {

struct Otherwise {
  report::Place place;
  std::string claimed;  // as written
  std::string happens;  // as predicted
};

// No value: it goes as written.
std::optional<Otherwise> otherwise(const report::Verdict& v);

}  // namespace mmucheck::cli
