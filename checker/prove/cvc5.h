// Layer: checker/prove. Contract: what cvc5 says about an obligation: a second solver, in a process
// of its own, that reads the SMT-LIB text which `prove --dump` writes and shares nothing with Z3 or
// with the translation to it. One process answers all queries of an obligation.
//
// Its effort is bounded in time, an obligation: what it has not decided by then is `unknown`. A
// program that dies or answers anything but sat, unsat and unknown is a std::runtime_error.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "checker/prove/solve.h"

namespace mmucheck::prove {

inline constexpr std::string_view kCvc5Package = "cvc5";  // of Debian 12

// Whether there is a program of that name on PATH.
bool cvc5_installed();

// One answer to each of these queries of the obligation; `limits.rlimit` is not cvc5's. Values of a
// counterexample are not asked for.
struct Cvc5Answers {
  std::vector<Answer> answers;
  bool interrupted = false;
};
Cvc5Answers ask_cvc5(const Obligation& obligation, const std::vector<Query>& queries,
                     const Limits& limits = {});

// What the program prints, read as answers to so many queries: two words each, of the premise and
// of the negated conclusion. Missing ones are unknown. Throws std::runtime_error for any other
// word.
std::vector<Answer> read_answers(std::string_view output, size_t queries);

}  // namespace mmucheck::prove
