// States of three threads, each of which holds a number in its own lane, and one lane that names
// the threads: what exchanges make of them is told by hand.
#include "checker/explore/lane_symmetry.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace mmucheck::explore {
namespace {

constexpr unsigned kShared = 3, kAllLanes = 4;
using Lanes = LaneSymmetry<kAllLanes>;
using ToyState = Lanes::State;

// Content i of a thread's lane: it holds i. Content i of the shared lane: 0, or thread i - 1 is in.
uint64_t toy_adds(unsigned lane, uint32_t id) {
  return hash_in_lane(lane, lane == kShared ? 100 + id : id);
}
Lanes::Content toy_content(unsigned lane, uint32_t id) {
  return {lane, id, toy_adds(lane, id)};
}

ToyState toy_state(std::array<uint32_t, kAllLanes> lanes) {
  ToyState s;
  s.lanes = lanes;
  for (unsigned i = 0; i < kAllLanes; i++) s.hash += toy_adds(i, lanes[i]);
  return s;
}

class ThreeThreads : public ::testing::Test {
 protected:
  static constexpr uint32_t kHeld = 4;

  ThreeThreads() {
    symmetry.start({{0, 1, 2}}, {},
                   {toy_adds(0, 0), toy_adds(1, 0), toy_adds(2, 0), toy_adds(3, 0)});
    for (unsigned e = 0; e < 2; e++) {
      for (uint32_t v = 1; v < kHeld; v++) {
        for (unsigned t = 0; t < 3; t++) {
          EXPECT_TRUE(symmetry.define(e, toy_content(t, v), toy_content(symmetry.lane(e, t), v)));
        }
      }
      for (unsigned t = 0; t < 3; t++) {
        EXPECT_TRUE(symmetry.define(e, toy_content(kShared, t + 1),
                                    toy_content(kShared, symmetry.lane(e, t) + 1)));
      }
    }
  }

  Lanes symmetry;
  std::vector<ToyState> work;
};

TEST_F(ThreeThreads, OneOfEachOrbitIsKept) {
  std::map<ToyState, std::pair<uint64_t, uint64_t>> kept;  // seen, said
  uint64_t all = 0;
  for (uint32_t a = 0; a < kHeld; a++) {
    for (uint32_t b = 0; b < kHeld; b++) {
      for (uint32_t c = 0; c < kHeld; c++) {
        for (uint32_t in = 0; in < 4; in++, all++) {
          ToyState s = toy_state({a, b, c, in});
          const std::vector<ToyState> images = symmetry.images(s);
          const uint64_t like = symmetry.canonical(s, work);
          EXPECT_EQ(images.size(), like);
          EXPECT_NE(std::find(images.begin(), images.end(), s), images.end());
          auto& [seen, said] = kept[s];
          seen++;
          said = like;
        }
      }
    }
  }
  uint64_t sum = 0;
  for (const auto& [s, n] : kept) {
    EXPECT_EQ(n.first, n.second);
    sum += n.second;
    EXPECT_EQ(s.hash, toy_state(s.lanes).hash);
  }
  EXPECT_EQ(sum, all);
  // Multisets of 3 of 4 numbers, and of pairs (number, in or not) with one that is in.
  EXPECT_EQ(kept.size(), 20u + 4 * 10);
  EXPECT_TRUE(symmetry.consistent());
}

// All permutations that lead to it, by trying each.
TEST_F(ThreeThreads, WaysToTheOneThatIsKept) {
  const auto put = [](const ToyState& s, const std::array<uint8_t, 3>& to) {
    std::array<uint32_t, kAllLanes> lanes{};
    for (unsigned t = 0; t < 3; t++) lanes[to[t]] = s.lanes[t];
    const uint32_t in = s.lanes[kShared];
    lanes[kShared] = in == 0 ? 0 : to[in - 1] + 1u;
    return toy_state(lanes);
  };
  size_t several = 0;
  for (unsigned n = 0; n < kHeld * kHeld * kHeld * 4; n++) {
    const ToyState s = toy_state({n % 4, n / 4 % 4, n / 16 % 4, n / 64});
    ToyState kept = s;
    symmetry.canonical(kept, work);
    std::set<std::array<uint8_t, 3>> expected, found;
    std::array<uint8_t, 3> to = {0, 1, 2};
    do {
      if (put(s, to) == kept) expected.insert(to);
    } while (std::next_permutation(to.begin(), to.end()));
    for (const auto& way : symmetry.ways_to(s, kept)) found.insert({way[0], way[1], way[2]});
    EXPECT_EQ(found, expected);
    several += found.size() > 1;
  }
  EXPECT_GT(several, 0u);
}

TEST_F(ThreeThreads, AContentHasOneImage) {
  EXPECT_FALSE(symmetry.define(0, toy_content(0, 1), toy_content(1, 2)));
  EXPECT_FALSE(symmetry.define(0, toy_content(kShared, 1), toy_content(kShared, 1)));
  EXPECT_TRUE(symmetry.define(0, toy_content(kShared, 1), toy_content(kShared, 2)));
  EXPECT_EQ(symmetry.image(0, kShared, 9), std::nullopt);
  ToyState to;
  EXPECT_FALSE(symmetry.apply(0, toy_state({0, 0, 0, 9}), to));
  EXPECT_EQ(symmetry.failed(), 0u);
  symmetry.fail(1);
  EXPECT_EQ(symmetry.failed(), 2u);
}

TEST_F(ThreeThreads, ExchangesThatAreNoPermutationsShow) {
  // Of one exchange alone it stays: three in a row then come out elsewhere than in the other order.
  EXPECT_TRUE(symmetry.define(0, toy_content(kShared, 4), toy_content(kShared, 4)));
  EXPECT_TRUE(symmetry.define(1, toy_content(kShared, 4), toy_content(kShared, 5)));
  EXPECT_TRUE(symmetry.define(0, toy_content(kShared, 5), toy_content(kShared, 5)));
  EXPECT_FALSE(symmetry.consistent());
}

}  // namespace
}  // namespace mmucheck::explore
