// Layer: checker/prove. Contract: what there is to prove, as data; knows no solver.
//
// An obligation is one statement about rules of model/ or checker/invariant for all values. Its
// structural values (GPAW, level, entry format, mode of a lock) are enumerated: each combination is
// a query over 64-bit variables, with a premise and a conclusion that the rules build as Terms. The
// obligation is proved when the conclusion follows in every query; a premise that nothing satisfies
// is a failure. Names are "group.name" and stable: the ledger of claims (traces/claims.json) names its
// evidence by them. No expectation is stated here.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model/domain/term.h"

namespace mmucheck::prove {

// A value that helps to read a counterexample; the variables themselves are shown anyway.
struct Shown {
  std::string name;
  model::TermU64 value;
};

struct Query {
  std::string instance;  // the structural values, e.g. "GPAW 48, level 4"
  model::TermBool premise = true;
  model::TermBool conclusion = true;
  std::vector<Shown> shown;
};

struct Obligation {
  std::string_view name;
  std::string_view statement;
  std::string_view source;  // kernel function, TDX module function, or mail
  std::string_view bound;   // what the answer covers, a few words
  std::vector<Query> (*queries)();
  // Of an invariant that one step does not keep by itself: what is assumed, and kept, besides.
  std::string_view strengthening = {};

  std::string_view group() const { return name.substr(0, name.find('.')); }
};

// All of them, in the order in which they are printed.
const std::vector<Obligation>& obligations();

// Those that have one of `names` as name or group, each once and in the order of obligations(); all
// of them without names. No value: `unknown` then is the first name that fits none.
std::optional<std::vector<const Obligation*>> select(const std::vector<std::string>& names,
                                                     std::string& unknown);

// The variables of a query: by name, in the order in which premise and conclusion name them first.
std::vector<std::string> variables_of(const Query& query);

}  // namespace mmucheck::prove
