// A second solver on the text that is dumped: cvc5 proves what Z3 proves. prove_test and
// prove_traces_test see which obligations Z3 proves: those that no counterexample is written for.
// Of an obligation with many cases it gets some, evenly spread; `prove --solver both` asks all.
#include "checker/prove/cvc5.h"

#include <gtest/gtest.h>

#include "checker/prove/counterexample_trace.h"

namespace mmucheck::prove {
namespace {

constexpr size_t kCases = 5;

bool is_refuted(const Obligation& o) {
  return counterexample_trace(o, {}).why_none != "no trace is written for it";
}

std::vector<Query> some_of(const std::vector<Query>& all) {
  if (all.size() <= kCases) return all;
  std::vector<Query> some;
  for (size_t k = 0; k < kCases; k++) some.push_back(all[k * (all.size() - 1) / (kCases - 1)]);
  return some;
}

TEST(Cvc5, ProvesWhatIsProved) {
  if (!cvc5_installed()) GTEST_SKIP() << "cvc5 is not installed (Debian: " << kCvc5Package << ")";
  // A process a group: most of its time is the program's start.
  std::map<std::string_view, std::vector<Query>> groups;
  std::map<std::string_view, const Obligation*> first;
  size_t asked = 0;
  for (const Obligation& o : obligations()) {
    if (is_refuted(o)) continue;
    first.emplace(o.group(), &o);
    for (Query q : some_of(o.queries())) {
      q.instance = std::string(o.name) + ": " + q.instance;
      groups[o.group()].push_back(q);
    }
    asked++;
  }
  EXPECT_GT(asked, 100u);
  for (const auto& [group, queries] : groups) {
    const Cvc5Answers r = ask_cvc5(*first[group], queries);
    ASSERT_EQ(r.answers.size(), queries.size()) << group;
    for (size_t i = 0; i < queries.size(); i++) {
      EXPECT_EQ(name_of(r.answers[i]), name_of(Answer::kProved)) << queries[i].instance;
    }
  }
}

TEST(Cvc5, RefutesAndFindsAnEmptyPremise) {
  if (!cvc5_installed()) GTEST_SKIP() << "cvc5 is not installed (Debian: " << kCvc5Package << ")";
  const model::TermU64 x = model::TermU64::variable("x");
  const Obligation o{"a.b", "s", "s", "b", nullptr};
  const std::vector<Query> queries = {{"", x < model::TermU64(9), x < model::TermU64(9), {}},
                                      {"", x < model::TermU64(9), x < model::TermU64(8), {}},
                                      {"", x < model::TermU64(0), x == x, {}}};
  EXPECT_EQ(ask_cvc5(o, queries).answers,
            (std::vector<Answer>{Answer::kProved, Answer::kRefuted, Answer::kVacuous}));
}

}  // namespace
}  // namespace mmucheck::prove
