// Layer: checker/prove, inside. Contract: the groups of obligations, a file each, and the words
// that they are written in. Rules are called with D = Term; nothing is encoded a second time.
#pragma once

#include <string>
#include <vector>

#include "checker/prove/obligation.h"

namespace mmucheck::prove {

using T = model::Term;
using U = model::TermU64;
using B = model::TermBool;

inline U var(const char* name) {
  return U::variable(name);
}
inline B implies(const B& a, const B& b) {
  return !a || b;
}
inline B iff(const B& a, const B& b) {
  return (a && b) || (!a && !b);
}
inline U number(const B& b) {
  return T::ite(b, U(1), U(0));
}

std::vector<Obligation> address_obligations();
std::vector<Obligation> walk_obligations();
std::vector<Obligation> iter_obligations();
std::vector<Obligation> range_obligations();
std::vector<Obligation> root_obligations();
std::vector<Obligation> filter_obligations();
std::vector<Obligation> spte_obligations();
std::vector<Obligation> change_obligations();
std::vector<Obligation> slot_obligations();
std::vector<Obligation> shadow_obligations();
std::vector<Obligation> sept_obligations();
std::vector<Obligation> tlb_obligations();
std::vector<Obligation> lock_obligations();
std::vector<Obligation> freeze_obligations();
std::vector<Obligation> order_obligations();
std::vector<Obligation> busy_obligations();
std::vector<Obligation> sept_call_obligations();

}  // namespace mmucheck::prove
