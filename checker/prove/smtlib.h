// Layer: checker/prove. Contract: a query as SMT-LIB 2 text (QF_BV), for any solver and without
// one: the premise, checked; then the negated conclusion, checked: `unsat` there is a proof.
// Written from the Term itself, not from Z3's expressions; same query, same bytes. Every node that
// is used more than once is a definition of its own, so the text grows with the number of nodes.
#pragma once

#include <string>
#include <string_view>

#include "checker/prove/obligation.h"

namespace mmucheck::prove {

std::string to_smtlib(const Obligation& obligation, const Query& query);

// The k-th query of an obligation, from 1: "address.round-trip.2.smt2".
std::string smtlib_file_name(const Obligation& obligation, size_t k);

}  // namespace mmucheck::prove
