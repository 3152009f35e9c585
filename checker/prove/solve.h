// Layer: checker/prove. Contract: what Z3 says about an obligation; Z3 stays behind this header.
//
// Each query is two questions: is the premise satisfiable (if not, the obligation is vacuous), and
// is the premise with the negated conclusion? Unsatisfiable is a proof. A counterexample is made
// the smallest in the order of the variables, so it does not depend on the solver, and is evaluated
// again by Term. The solver's effort is bounded in its own units (rlimit), and its seed is fixed:
// the same query gets the same answer, in any thread. Outside of that there is a limit of time, an
// obligation. What it gives up on is `unknown`, never a pass.
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checker/prove/obligation.h"

namespace mmucheck::prove {

// Worst last.
enum class Answer : uint8_t {
  kProved,
  kUnknown,
  kRefuted,
  kVacuous,
  kDisagree,  // one solver says this, another that
};
std::string_view name_of(Answer a);

struct Limits {
  uint32_t rlimit = 50'000'000;             // a question
  double seconds = 60;                      // an obligation
  const std::atomic<bool>* stop = nullptr;  // looked at between queries
};

using Values = std::vector<std::pair<std::string, uint64_t>>;

struct QueryResult {
  Answer answer = Answer::kUnknown;
  Values values;    // of the counterexample: the variables
  Values derived;   // and what Query::shown makes of them
  std::string why;  // of unknown and vacuous
};

struct Result {
  Answer answer = Answer::kProved;
  size_t queries = 0;                // decided
  size_t not_proved = 0;             // of them
  std::vector<Answer> answers;       // one each
  std::vector<std::string> refuted;  // their instances, as far as there are values against them
  std::string instance;              // the first query with `answer`, unless proved
  QueryResult first;                 // its result
  bool interrupted = false;          // then some queries are undecided
  double milliseconds = 0;
};

// Throws std::logic_error where Term does not confirm a counterexample.
QueryResult decide(const Query& query, const Limits& limits = {});
Result decide(const Obligation& obligation, const Limits& limits = {});

// Adds the answer to the next query of an obligation.
void count_in(Result& r, const Query& query, QueryResult one);

}  // namespace mmucheck::prove
