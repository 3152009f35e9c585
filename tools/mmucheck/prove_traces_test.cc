// Every refutation has a trace whose replay shows it, or a reason why no trace can.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "checker/prove/counterexample_trace.h"
#include "checker/replay/replay_trace.h"
#include "tools/mmucheck/otherwise.h"
#include "tools/mmucheck/session.h"

namespace mmucheck::cli {
namespace {

std::string own_file(const std::string& name) {
  return testing::TempDir() + std::to_string(getpid()) + "-" + name;
}

constexpr const char* kNotWritten = "no trace is written for it";

// prove_test sees that every refuted obligation is one of these.
bool is_written(const prove::Obligation& o) {
  return prove::counterexample_trace(o, {}).why_none != kNotWritten;
}

TEST(ProveTraces, OfEveryRefutationReplay) {
  size_t shown = 0, not_shown = 0;
  for (const prove::Obligation& o : prove::obligations()) {
    if (!is_written(o)) continue;
    const prove::Result r = prove::decide(o);
    ASSERT_EQ(r.answer, prove::Answer::kRefuted) << o.name;
    const prove::CounterexampleTrace t = prove::counterexample_trace(o, r);
    if (t.text.empty()) {
      EXPECT_FALSE(t.why_none.empty()) << o.name;
      not_shown++;
      continue;
    }
    const std::string path = own_file(std::string(o.name) + ".txtpb");
    std::ofstream(path) << t.text;
    const report::Verdict v = replay::replay_trace(*Session().open(path));
    EXPECT_TRUE(v.inconclusive.empty()) << o.name << ": " << v.inconclusive.front();
    const bool breaks =
        std::any_of(v.violations.begin(), v.violations.end(),
                    [&](const report::Violation& x) { return x.invariant == t.breaks; });
    EXPECT_TRUE(t.breaks.empty() ? otherwise(v).has_value() : breaks) << o.name << "\n" << t.text;
    shown++;
  }
  EXPECT_EQ(shown, 33u);
  EXPECT_EQ(not_shown, 11u);
}

// A trace shows the values, not the obligation: under a design without the fault it is clean.
TEST(ProveTraces, TurnWithTheDesign) {
  for (const prove::Obligation& o : prove::obligations()) {
    if (o.name != "range.mapped-bounds") continue;
    std::string text = prove::counterexample_trace(o, prove::decide(o)).text;
    const size_t at = text.find("addr-raw");
    ASSERT_NE(at, std::string::npos);
    text.replace(at, 8, "upstream-7.x");
    const std::string path = own_file("turned.txtpb");
    std::ofstream(path) << text;
    EXPECT_EQ(report::outcome_of(replay::replay_trace(*Session().open(path))),
              report::Outcome::kHolds);
  }
}

}  // namespace
}  // namespace mmucheck::cli
