// Layer: checker/report. Contract: a verdict as plain text for a terminal or a mail: the answer in
// the first line, then the evidence, then what to do next. At most kTextWidth columns except where a
// file name or a value is longer; ASCII only; colour only when asked for.
#pragma once

#include <cstdint>
#include <string>

#include "checker/report/verdict.h"

namespace mmucheck::report {

inline constexpr size_t kTextWidth = 100;

struct TextOptions {
  bool color = false;
  bool verbose = false;       // also list what had nothing to check, and every skipped kind
  size_t max_evidence = 3;    // violations and divergences printed in full; 0: all
};

std::string to_text(const Verdict& verdict, const TextOptions& options = {});

// 1234567 -> "1,234,567".
std::string with_thousands(uint64_t number);

}  // namespace mmucheck::report
