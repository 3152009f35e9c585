// Layer: checker/prove. Contract: the values of a refutation as a hand-written trace, in protobuf
// text: what the rule makes of them, replayed, breaks the invariant `breaks`, or is not what the
// trace says was seen (the statement's own words as observations). Knows no replay; who writes the
// text replays it.
#pragma once

#include <string>

#include "checker/prove/solve.h"

namespace mmucheck::prove {

struct CounterexampleTrace {
  std::string text;      // empty: there is none
  std::string why_none;  // then
  std::string breaks;    // empty: what was seen is not what happens
};

// `r` is a refutation of `o`.
CounterexampleTrace counterexample_trace(const Obligation& o, const Result& r);

}  // namespace mmucheck::prove
