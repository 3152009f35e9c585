// Layer: tools/mmucheck. Contract: a decided claim as text, as a block for a reply to a mailing
// list (no line longer than kMailWidth, plain ASCII), and as JSON (no times: the same bytes each
// run).
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "tools/mmucheck/decide_claim.h"

namespace mmucheck::cli {

inline constexpr size_t kMailWidth = 72;

std::string claim_text(const DecidedClaim& d, bool timings);
std::string claim_email(const DecidedClaim& d);
nlohmann::ordered_json claim_json(const DecidedClaim& d);

}  // namespace mmucheck::cli
