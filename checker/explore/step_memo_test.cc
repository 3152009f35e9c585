// The memory of steps, by a step whose next question depends on the last answer.
#include "checker/explore/step_memo.h"

#include <gtest/gtest.h>

#include <array>

namespace mmucheck::explore {
namespace {

using Slots = std::array<uint32_t, 4>;

// Looks at slot 1 where slot 0 has an even number, else at slots 2 and 3; writes what it saw last.
struct Step {
  std::vector<StepMemo::Slot> asked;
  std::vector<StepMemo::Change> changes;

  explicit Step(const Slots& s) {
    asked = s[0] % 2 == 0 ? std::vector<uint32_t>{0, 1} : std::vector<uint32_t>{0, 2, 3};
    changes = {{0, s[asked.back()]}};
  }
};

TEST(StepMemo, GivesWhatTheStepGives) {
  StepMemo memo(2, 1 << 20);
  unsigned runs = 0;
  for (int round = 0; round < 2; round++) {
    for (uint32_t n = 0; n < 256; n++) {
      const Slots s = {n & 3, n >> 2 & 3, n >> 4 & 3, n >> 6};
      const auto at = [&](StepMemo::Slot slot) { return s[slot]; };
      const Step step(s);
      std::vector<StepMemo::Change> changes;
      std::optional<StepMemo::Outcome> o = memo.find(1, at, changes);
      if (!o) {
        runs++;
        std::vector<StepMemo::Id> found;
        for (const StepMemo::Slot slot : step.asked) found.push_back(at(slot));
        memo.learn(1, step.asked, found, {.made = true,
                    .property = 7 + s[0],
                    .kind = static_cast<uint16_t>(0xff00 + s[0]),
                    .hash = ~uint64_t{n}},
                   step.changes);
        o = memo.find(1, at, changes);
        ASSERT_TRUE(o.has_value());
      }
      EXPECT_TRUE(o->made);
      EXPECT_EQ(o->property, 7 + s[0]);
      EXPECT_EQ(o->kind, 0xff00 + s[0]);
      EXPECT_EQ(o->hash >> 8, ~uint64_t{0} >> 8);
      ASSERT_EQ(changes.size(), 1u);
      EXPECT_EQ(changes[0].to, step.changes[0].to);
      EXPECT_FALSE(memo.find(0, at, changes).has_value());
    }
  }
  EXPECT_EQ(runs, 2 * 4 + 2 * 16u);  // what it looks at, not the 256 of them all
}

TEST(StepMemo, ForgetsWhenItIsFull) {
  StepMemo memo(1, 1 << 18);
  const std::vector<StepMemo::Slot> asked = {0};
  const auto known = [&](uint32_t n) {
    std::vector<StepMemo::Change> changes;
    return memo.find(0, [&](StepMemo::Slot) { return n; }, changes).has_value();
  };
  uint32_t n = 0;
  for (; n < 100'000 && (n == 0 || known(0)); n++) {
    memo.learn(0, asked, std::array{n}, {.made = true, .property = n}, {});
  }
  EXPECT_GT(n, 1000u);
  EXPECT_LT(n, 100'000u);
  EXPECT_FALSE(known(n - 2));
  EXPECT_TRUE(known(n - 1));
}

}  // namespace
}  // namespace mmucheck::explore
