// Two solvers and several threads: what a disagreement, a solver that gives up and a stop make of
// the result. No cvc5 is needed here.
#include "checker/prove/solvers.h"

#include <gtest/gtest.h>

#include <stdexcept>

#include "checker/prove/cvc5.h"
#include "checker/prove/groups.h"

namespace mmucheck::prove {
namespace {

using enum Answer;
using Answers = std::vector<Answer>;

TEST(Solvers, ReadsWhatCvc5Prints) {
  EXPECT_EQ(read_answers("sat\nunsat\nsat\nsat\nunsat\nunsat\n", 3),
            (Answers{kProved, kRefuted, kVacuous}));
  EXPECT_EQ(read_answers("sat\nunknown\nunknown\nunsat\n", 2), (Answers{kUnknown, kUnknown}));
}

TEST(Solvers, WhatIsMissingIsUnknown) {
  EXPECT_EQ(read_answers("", 2), (Answers{kUnknown, kUnknown}));
  EXPECT_EQ(read_answers("sat\nunsat\nsat\n", 2), (Answers{kProved, kUnknown}));
  EXPECT_EQ(read_answers("sat\nunsat\nsat\nuns", 2), (Answers{kProved, kUnknown}));
}

TEST(Solvers, AnythingElseIsAnError) {
  EXPECT_THROW(read_answers("(error \"no such logic\")\n", 1), std::runtime_error);
  EXPECT_THROW(read_answers("sat\nunsat\nsat\nunsat\n", 1), std::runtime_error);
}

// One case holds, the other does not.
Obligation half_true() {
  return {"a.b", "s", "s", "b", [] {
            const U x = var("x");
            return std::vector<Query>{{"holds", true, x == x, {}}, {"fails", true, x < U(5), {}}};
          }};
}

TEST(Solvers, AgreementChangesNothing) {
  const Obligation o = half_true();
  const Result z3 = decide(o), r = both(o, z3, {kProved, kRefuted});
  EXPECT_EQ(r.answer, kRefuted);
  EXPECT_EQ(r.first.values, (Values{{"x", 5}}));
  EXPECT_EQ(r.answers, z3.answers);
}

TEST(Solvers, ADisagreementIsAnAnswerOfItsOwn) {
  const Obligation o = half_true();
  const Result r = both(o, decide(o), {kRefuted, kRefuted});
  EXPECT_EQ(r.answer, kDisagree);
  EXPECT_EQ(r.instance, "holds");
  EXPECT_EQ(r.first.why, "Z3: proved; cvc5: refuted");
  EXPECT_EQ(both(o, decide(o), {kProved, kProved}).answer, kDisagree);
}

TEST(Solvers, AProofNeedsBoth) {
  const Obligation o{"a.b", "s", "s", "b", [] {
                       return std::vector<Query>{{"", true, var("x") == var("x"), {}}};
                     }};
  const Result r = both(o, decide(o), {kUnknown});
  EXPECT_EQ(r.answer, kUnknown);
  EXPECT_EQ(r.not_proved, 1u);
  // A counterexample that Term has confirmed stands by itself.
  EXPECT_EQ(both(half_true(), decide(half_true()), {kProved, kUnknown}).answer, kRefuted);
}

std::vector<const Obligation*> chosen(const char* group) {
  std::string unknown;
  return *select({group}, unknown);
}

TEST(Solvers, TheSameWithAnyNumberOfWorkers) {
  const std::vector<const Obligation*> list = chosen("filter");
  Deciding one(list, Solver::kZ3, {}, 1), three(list, Solver::kZ3, {}, 3);
  for (size_t k = 0; k < list.size(); k++) {
    const Result a = one.result(k), b = three.result(k);
    EXPECT_EQ(a.answers, b.answers) << list[k]->name;
    EXPECT_EQ(a.instance, b.instance) << list[k]->name;
    EXPECT_EQ(a.first.values, b.first.values) << list[k]->name;
  }
}

TEST(Solvers, AfterAStopNothingIsRun) {
  const std::vector<const Obligation*> list = chosen("tlb");
  const std::atomic<bool> stop = true;
  Deciding d(list, Solver::kZ3, {.stop = &stop}, 2);
  for (size_t k = 0; k < list.size(); k++) EXPECT_TRUE(d.result(k).interrupted) << list[k]->name;
}

TEST(Solvers, AnExceptionComesOut) {
  const Obligation bad{"a.b", "s", "s", "b",
                       []() -> std::vector<Query> { throw std::logic_error("bad"); }};
  Deciding d({&bad}, Solver::kZ3, {}, 2);
  EXPECT_THROW(d.result(0), std::logic_error);
}

// Time runs out before the first question.
TEST(Solvers, NoTimeIsUnknown) {
  const Result r = decide(half_true(), {.seconds = 0});
  EXPECT_EQ(r.answer, kUnknown);
  EXPECT_EQ(r.answers, (Answers{kUnknown, kUnknown}));
}

}  // namespace
}  // namespace mmucheck::prove
