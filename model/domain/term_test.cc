// Terms fold constants, evaluate like machine integers, and split into paths, each taken once.
#include "model/domain/term.h"

#include <gtest/gtest.h>

#include <set>

#include "model/domain/domain_compare_test.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kInputs = 100'000;

TEST(Term, FoldsWhatIsConstant) {
  const TermU64 x = TermU64::variable("x");
  const TermBool p = x == TermU64(1);
  EXPECT_EQ((TermU64(12) & TermU64(10)).n->value, 8u);
  EXPECT_EQ((TermU64(12) << 64).n->value, 0u);
  EXPECT_EQ((TermU64(12) << 60).n->value, 12ull << 60);
  EXPECT_EQ((TermU64(12) >> 2).n->value, 3u);
  EXPECT_EQ((TermU64(1) - TermU64(2)).n->value, ~0ull);
  EXPECT_EQ((~TermU64(0)).n->op, TermOp::kConst);
  EXPECT_EQ((TermU64(1) < TermU64(~0ull)).n->value, 1u);  // unsigned
  EXPECT_EQ(Term::ite(TermBool(false), x, TermU64(7)).n->value, 7u);
  EXPECT_EQ(Term::ite(TermBool(true), x, TermU64(7)).n, x.n);
  EXPECT_EQ(Term::lookup(std::array<uint64_t, 3>{5, 6, 7}, TermU64(1)).n->value, 6u);
  EXPECT_EQ((p && TermBool(true)).n, p.n);
  EXPECT_EQ((TermBool(true) || p).n->value, 1u);
  EXPECT_EQ((!!p).n, p.n);
}

TEST(Term, NeutralAndAbsorbingOperandsFold) {
  const TermU64 x = TermU64::variable("x");
  const TermBool p = x < TermU64(9);
  for (const TermU64& r : {x & TermU64(0), TermU64(0) & x}) {
    EXPECT_EQ(r.n->op, TermOp::kConst);
    EXPECT_EQ(r.n->value, 0u);
  }
  for (const TermU64& r : {x | TermU64(~0ull), TermU64(~0ull) | x}) {
    EXPECT_EQ(r.n->op, TermOp::kConst);
    EXPECT_EQ(r.n->value, ~0ull);
  }
  for (const TermU64& r : {x & TermU64(~0ull), TermU64(~0ull) & x, x | TermU64(0), TermU64(0) | x}) {
    EXPECT_EQ(r.n, x.n);
  }
  for (const TermBool& r : {p && TermBool(false), TermBool(false) && p}) {
    EXPECT_EQ(r.n->op, TermOp::kBoolConst);
    EXPECT_EQ(r.n->value, 0u);
  }
  for (const TermBool& r : {p || TermBool(false), TermBool(false) || p, TermBool(true) && p}) {
    EXPECT_EQ(r.n, p.n);
  }
  // x & 1 is no constant although one operand has all bits of a Bool.
  EXPECT_EQ((x & TermU64(1)).n->op, TermOp::kAnd);
}

TEST(Term, MissingVariablesAreZero) {
  const TermU64 sum = TermU64::variable("x") + TermU64::variable("y");
  EXPECT_EQ(evaluate(sum.n, {{"y", 4}}), 4u);
  EXPECT_EQ(evaluate(sum.n, {}), 0u);
}

TEST(Term, OperatorsAgreeWithMachineIntegers) {
  TestRng rng(1);
  const auto two = [](TestRng& r) { return std::array<uint64_t, 2>{random_word(r), random_word(r)}; };
  const auto check = [&](const char* name, auto rule) {
    compare_domains<2>(name, rng, kInputs, rule, two);
  };
#define MMU_CHECK_OPERATOR(op) \
  check(#op, []<class D>(D, const std::array<U64Of<D>, 2>& in) { return in[0] op in[1]; })
  MMU_CHECK_OPERATOR(&);
  MMU_CHECK_OPERATOR(|);
  MMU_CHECK_OPERATOR(^);
  MMU_CHECK_OPERATOR(+);
  MMU_CHECK_OPERATOR(-);
  MMU_CHECK_OPERATOR(==);
  MMU_CHECK_OPERATOR(!=);
  MMU_CHECK_OPERATOR(<);
  MMU_CHECK_OPERATOR(>);
  MMU_CHECK_OPERATOR(<=);
  MMU_CHECK_OPERATOR(>=);
#undef MMU_CHECK_OPERATOR
  for (int shift = 0; shift < 64; shift += 7) {
    compare_domains<2>("<<", rng, kInputs / 10,
                       [&]<class D>(D, const std::array<U64Of<D>, 2>& in) { return in[0] << shift; },
                       two);
    compare_domains<2>(">>", rng, kInputs / 10,
                       [&]<class D>(D, const std::array<U64Of<D>, 2>& in) { return in[0] >> shift; },
                       two);
  }
  check("lookup", []<class D>(D, const std::array<U64Of<D>, 2>& in) {
    return D::lookup(std::array<uint64_t, 4>{9, 8, 7, 6}, in[0] & U64Of<D>(3));
  });
}

// Clamps by early returns, which need branches on data.
template <class D>
U64Of<D> clamp_rule(U64Of<D> v, U64Of<D> limit) {
  if (D::branch(v < U64Of<D>(16))) return U64Of<D>(16);
  if (D::branch(v > limit)) return limit;
  return v;
}

TEST(PathOracle, BranchingRulesAgreeAndTakeExactlyOnePath) {
  TestRng rng(2);
  compare_domains<2>("clamp", rng, kInputs,
                     []<class D>(D, const std::array<U64Of<D>, 2>& in) {
                       return clamp_rule<D>(in[0], in[1]);
                     },
                     [](TestRng& r) {
                       return std::array<uint64_t, 2>{random_word(r), 16 + random_word(r) % 1000};
                     });
}

TEST(PathOracle, EnumeratesEachPathOnce) {
  const TermU64 x = TermU64::variable("x");
  std::set<std::string> ways;
  uint64_t paths = 0;
  std::string way;
  for_each_path(
      [&] {
        way.clear();
        for (int bit = 0; bit < 4; bit++) {
          const bool set = Term::branch(((x >> bit) & TermU64(1)) == TermU64(1));
          way += set ? '1' : '0';
          if (bit == 1 && !set) return x;  // some paths are shorter
        }
        return x;
      },
      [&](const TermU64&, const TermBool& condition) {
        paths++;
        EXPECT_TRUE(ways.insert(way).second) << way << " twice";
        for (uint64_t v = 0; v < 16; v++) {
          bool follows = true;
          for (size_t bit = 0; bit < way.size(); bit++) {
            follows = follows && (v >> bit & 1) == static_cast<uint64_t>(way[bit] - '0');
          }
          EXPECT_EQ(evaluate(condition.n, {{"x", v}}) != 0, follows) << way << " of " << v;
        }
      });
  // Bit 1 clear ends after two decisions: 2 paths; else two more decisions: 2 * 4.
  EXPECT_EQ(paths, 10u);
  EXPECT_EQ(ways.size(), 10u);
}

TEST(PathOracle, ConstantConditionsDoNotSplit) {
  EXPECT_EQ(clamp_rule<Term>(TermU64(40), TermU64(30)).n->value, 30u);  // without an oracle, too
  uint64_t paths = 0;
  for_each_path([] { return clamp_rule<Term>(TermU64(40), TermU64(30)); },
                [&](const TermU64& result, const TermBool& condition) {
                  paths++;
                  EXPECT_EQ(result.n->value, 30u);
                  EXPECT_EQ(condition.n->op, TermOp::kBoolConst);
                });
  EXPECT_EQ(paths, 1u);
}

}  // namespace
}  // namespace mmucheck::model
