// checker/prove, tests only: compares a rule over Concrete, Term and Z3: the first two as in
// model/domain/domain_compare_test.h, the third by putting constants for the variables.
#pragma once

#include <string>

#include "checker/prove/translate.h"
#include "model/domain/domain_compare_test.h"

namespace mmucheck::prove {

class ThirdDomain {
 public:
  explicit ThirdDomain(const model::TermPtr& t) : expression_(Translator(context_)(t)) {}

  uint64_t evaluate(const model::TermEnv& env) {
    z3::expr_vector from(context_), to(context_);
    for (const auto& [name, value] : env) {
      from.push_back(context_.bv_const(name.c_str(), 64));
      to.push_back(context_.bv_val(value, 64));
    }
    const z3::expr e = z3::expr(expression_).substitute(from, to).simplify();
    if (e.is_bool()) return e.is_true() ? 1 : 0;
    return e.get_numeral_uint64();
  }

 private:
  z3::context context_;
  z3::expr expression_;
};

inline constexpr uint64_t kTermInputs = 10'000;
inline constexpr uint64_t kZ3Inputs = 1'000;

// `make(rng)` gives an input; the rule must not be 0 on nearly all of them.
template <size_t N, class Rule, class Make>
void three_domains(const std::string& name, Rule rule, Make make) {
  model::TestRng rng(std::hash<std::string>()(name));
  const uint64_t yes = model::compare_domains<N>(name, rng, kTermInputs, rule, make);
  EXPECT_GT(yes, kTermInputs / 1000) << name << " is nearly always 0";

  std::array<model::TermU64, N> variables;
  for (size_t i = 0; i < N; i++) {
    variables[i] = model::TermU64::variable(std::string(1, static_cast<char>('a' + i)));
  }
  ThirdDomain z3(rule(model::Term{}, variables).n);
  for (uint64_t k = 0; k < kZ3Inputs; k++) {
    const std::array<uint64_t, N> in = make(rng);
    model::TermEnv env;
    for (size_t i = 0; i < N; i++)
      env.emplace_back(std::string(1, static_cast<char>('a' + i)), in[i]);
    const auto want = static_cast<uint64_t>(rule(model::Concrete{}, in));
    if (z3.evaluate(env) != want) {
      ADD_FAILURE() << name << ": Z3 differs from Concrete on input " << k;
      return;
    }
  }
}

}  // namespace mmucheck::prove
