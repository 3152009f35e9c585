// Layer: checker/prove. Contract: a Term as a Z3 expression, node by node: U64 becomes a bit vector
// of 64 bits, Bool becomes Bool, variables keep their names, shared nodes are translated once.
//
// Comparisons are unsigned and constants are made from uint64_t: z3::expr's own operators compare
// signed and narrow constants, so no rule is ever written over z3::expr.
#pragma once

#include <z3++.h>

#include <unordered_map>

#include "model/domain/term.h"

namespace mmucheck::prove {

class Translator {
 public:
  explicit Translator(z3::context& context) : context_(context) {}

  // Keeps `t` alive: nodes are recognised by address.
  z3::expr operator()(const model::TermPtr& t);

 private:
  z3::expr translate(const model::TermNode& t);

  z3::context& context_;
  std::unordered_map<const model::TermNode*, z3::expr> done_;
  std::vector<model::TermPtr> kept_;
};

}  // namespace mmucheck::prove
