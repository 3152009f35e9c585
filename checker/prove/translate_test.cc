// Z3's expressions and SMT-LIB's text mean what the Terms mean.
#include "checker/prove/translate.h"

#include <gtest/gtest.h>

#include <random>

#include "checker/prove/groups.h"
#include "checker/prove/smtlib.h"
#include "checker/prove/three_domains_test.h"

namespace mmucheck::prove {
namespace {

using model::TermEnv;
using model::TestRng;

U random_u64(TestRng& rng, int depth);
B random_bool(TestRng& rng, int depth) {
  if (depth == 0) return random_u64(rng, 0) < random_u64(rng, 0);
  switch (rng() % 6) {
    case 0: return random_bool(rng, depth - 1) && random_bool(rng, depth - 1);
    case 1: return random_bool(rng, depth - 1) || random_bool(rng, depth - 1);
    case 2: return !random_bool(rng, depth - 1);
    case 3: return random_u64(rng, depth - 1) == random_u64(rng, depth - 1);
    default: return random_u64(rng, depth - 1) < random_u64(rng, depth - 1);
  }
}
U random_u64(TestRng& rng, int depth) {
  if (depth == 0) {
    if (rng() % 4 == 0) return U(model::random_word(rng));
    return var(rng() % 2 == 0 ? "a" : "b");
  }
  const auto sub = [&] { return random_u64(rng, depth - 1); };
  switch (rng() % 9) {
    case 0: return sub() & sub();
    case 1: return sub() | sub();
    case 2: return sub() ^ sub();
    case 3: return sub() + sub();
    case 4: return sub() - sub();
    case 5: return ~sub();
    case 6: return sub() << static_cast<int>(rng() % 70);
    case 7: return sub() >> static_cast<int>(rng() % 70);
    default: return T::ite(random_bool(rng, depth - 1), sub(), sub());
  }
}

TEST(Translate, RandomTerms) {
  TestRng rng(7);
  for (int k = 0; k < 400; k++) {
    const U term = random_u64(rng, 1 + static_cast<int>(rng() % 5));
    const TermEnv env = {{"a", model::random_word(rng)}, {"b", model::random_word(rng)}};
    ThirdDomain z3(term.n);
    ASSERT_EQ(z3.evaluate(env), model::evaluate(term.n, env)) << k;
  }
}

// Premise and conclusion of every obligation, also where they are seldom true.
TEST(Translate, EveryObligation) {
  TestRng rng(11);
  for (const Obligation& o : obligations()) {
    const std::vector<Query> queries = o.queries();
    for (size_t k = 0; k < queries.size(); k += 1 + queries.size() / 2) {
      const Query& q = queries[k];
      ThirdDomain premise(q.premise.n), conclusion(q.conclusion.n);
      for (int i = 0; i < 5; i++) {
        TermEnv env;
        for (const std::string& name : variables_of(q)) {
          env.emplace_back(name, model::random_word(rng));
        }
        ASSERT_EQ(premise.evaluate(env), model::evaluate(q.premise.n, env)) << o.name;
        ASSERT_EQ(conclusion.evaluate(env), model::evaluate(q.conclusion.n, env)) << o.name;
      }
    }
  }
}

// The text is written without Z3's expressions; Z3 reads it and must find the same formulas.
TEST(Translate, SmtLibSaysTheSame) {
  for (const Obligation& o : obligations()) {
    const std::vector<Query> queries = o.queries();
    for (size_t k = 0; k < queries.size(); k += 1 + queries.size() / 2) {
      z3::context context;
      Translator translate(context);
      const z3::expr_vector read = context.parse_string(to_smtlib(o, queries[k]).c_str());
      ASSERT_EQ(read.size(), 2u) << o.name;
      z3::solver solver(context, "QF_BV");
      solver.add(read[0] != translate(queries[k].premise.n) ||
                 read[1] != !translate(queries[k].conclusion.n));
      EXPECT_EQ(solver.check(), z3::unsat) << o.name << " " << queries[k].instance;
    }
  }
}

}  // namespace
}  // namespace mmucheck::prove
