// model/domain, tests only: compares a rule over Concrete with the same rule over Term.
//
// A rule here is a callable `rule(D{}, in)` with `in` an array of U64Of<D>, giving a U64Of<D> or a
// BoolOf<D>. It is instantiated once with variables, whose paths are evaluated on each input, and
// now and then with constants, which must fold to one constant.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <random>
#include <string>
#include <type_traits>
#include <vector>

#include "model/domain/concrete.h"
#include "model/domain/term.h"

namespace mmucheck::model {

using TestRng = std::mt19937_64;

// Values near the edges of fields: few bits set, few clear, a random word, a random short one.
inline uint64_t random_word(TestRng& rng) {
  switch (rng() % 6) {
    case 0: return rng() & rng() & rng();
    case 1: return rng() | rng() | rng();
    case 2: return uint64_t{1} << (rng() % 64);
    case 3: return rng() >> (rng() % 64);
    default: return rng();
  }
}

// Runs `rule` on `inputs` inputs that `make(rng)` (-> std::array<uint64_t, N>) gives. Returns how
// often the result was not 0, for tests that want to see both outcomes.
template <size_t N, class Rule, class Make>
uint64_t compare_domains(const std::string& name, TestRng& rng, uint64_t inputs, Rule rule,
                         Make make) {
  std::array<TermU64, N> variables;
  for (size_t i = 0; i < N; i++) {
    variables[i] = TermU64::variable(std::string(1, static_cast<char>('a' + i)));
  }
  struct Path {
    TermPtr value, condition;
  };
  std::vector<Path> paths;
  for_each_path([&] { return rule(Term{}, variables); },
                [&](const auto& result, const TermBool& condition) {
                  paths.push_back({result.n, condition.n});
                });
  uint64_t nonzero = 0;
  TermEnv env(N);
  for (size_t i = 0; i < N; i++) env[i].first = variables[i].n->name;
  for (uint64_t k = 0; k < inputs; k++) {
    const std::array<uint64_t, N> in = make(rng);
    const auto want = static_cast<uint64_t>(rule(Concrete{}, in));
    for (size_t i = 0; i < N; i++) env[i].second = in[i];
    uint64_t taken = 0, got = ~want;
    for (const Path& p : paths) {
      if (evaluate(p.condition, env) == 0) continue;
      taken++;
      got = evaluate(p.value, env);
    }
    if (taken != 1 || got != want) {
      ADD_FAILURE() << name << ": input " << k << " takes " << taken << " paths, Term gives "
                    << got << ", Concrete " << want;
      return nonzero;
    }
    nonzero += want != 0;
    if (k % 64 != 0) continue;
    std::array<TermU64, N> constants;
    for (size_t i = 0; i < N; i++) constants[i] = TermU64(in[i]);
    const auto folded = rule(Term{}, constants).n;
    const bool is_bool = std::is_same_v<decltype(rule(Concrete{}, in)), bool>;
    EXPECT_EQ(folded->op, is_bool ? TermOp::kBoolConst : TermOp::kConst) << name;
    EXPECT_EQ(folded->value, want) << name;
  }
  return nonzero;
}

}  // namespace mmucheck::model
