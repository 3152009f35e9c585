// Lanes in as few bits as their numbers need, before and behind their growth.
#include "checker/explore/lanes.h"

#include <gtest/gtest.h>

#include "checker/explore/state_set.h"
#include "checker/explore/successors.h"

namespace mmucheck::explore {
namespace {

constexpr unsigned kLanes = 12;
using State = LaneState<kLanes>;
using Codec = LaneCodec<kLanes>;

uint64_t content(unsigned lane, uint32_t id) {
  return (uint64_t{lane} << 32 | id) * 0x9e3779b97f4a7c15ull;
}
// `n` contents in a lane, of which it had some.
void know(Codec& codec, unsigned lane, uint32_t n) {
  for (uint32_t id = codec.known(lane); id < n; id++) codec.add(lane, content(lane, id));
}
// The `i`th state of those that have at most n + lane numbers in each lane.
State state(uint32_t i, uint32_t n) {
  State s;
  for (unsigned lane = 0; lane < kLanes; lane++) {
    s.lanes[lane] = (i * 2654435761u >> lane) % (n + lane);
    s.hash += hash_in_lane(lane, content(lane, s.lanes[lane]));
  }
  return s;
}
Codec codec_for(uint32_t n) {
  Codec codec;
  for (unsigned lane = 0; lane < kLanes; lane++) know(codec, lane, n + lane);
  return codec.widened();
}

TEST(Lanes, UnpacksWhatItPacked) {
  for (const uint32_t n : {1u, 2u, 30u, 300u, 70'000u}) {
    const Codec codec = codec_for(n);
    EXPECT_FALSE(codec.outgrown());
    for (uint32_t i = 0; i < 500; i++) {
      const State s = state(i, n);
      ASSERT_TRUE(codec.fits(s));
      const Codec::Packed p = codec.pack(s);
      EXPECT_EQ(codec.unpack(p), s);
      EXPECT_EQ(codec.hash(p), s.hash);
    }
  }
  EXPECT_EQ(codec_for(1).bytes(), 8u);  // 33 bits
}

TEST(Lanes, HasNoRoomForMoreNumbersUntilItIsWidened) {
  Codec codec = codec_for(2);
  State s = state(0, 2);
  s.lanes[0] = 1000;
  EXPECT_FALSE(codec.fits(s));
  know(codec, 0, 1001);
  EXPECT_TRUE(codec.outgrown());
  codec = codec.widened();
  EXPECT_FALSE(codec.outgrown());
  EXPECT_TRUE(codec.fits(s));
}

// What waits as changes of a parent is what the state itself is, in whatever layout.
TEST(Lanes, SuccessorsByChangeAreTheStates) {
  constexpr uint32_t kStates = 500;
  Codec codec = codec_for(40);
  ChangedSuccessors<Codec> waiting;
  for (uint32_t i = 0; i < kStates; i++) {
    const State parent = state(i, 40);
    waiting.of(parent, codec.pack(parent), codec);
    waiting.add(state(i + 1, 40).hash, state(i + 1, 40));
    waiting.add(parent.hash, parent);
  }
  const auto expect_all = [&] {
    std::array<size_t, kShards> at{};
    const auto expect = [&](const State& s) {
      const unsigned shard = shard_of(s.hash);
      ASSERT_LT(at[shard], waiting.size(shard));
      EXPECT_EQ(waiting.hash(shard, at[shard], 0), s.hash);
      EXPECT_EQ(codec.unpack(waiting.packed(shard, at[shard]++, codec)), s);
    };
    for (uint32_t i = 0; i < kStates; i++) {
      expect(state(i + 1, 40));
      expect(state(i, 40));
    }
  };
  expect_all();
  const Codec before = codec;
  for (unsigned lane = 0; lane < kLanes; lane++) know(codec, lane, 70'000);
  codec = codec.widened();
  ASSERT_GT(codec.words(), before.words());
  waiting.recode(codec, before);
  expect_all();
}

// States keep their numbers and are found under their hashes when they are stored anew.
TEST(Lanes, StatesSurviveARecode) {
  constexpr uint32_t kStates = 20'000;
  const auto here = [](const auto& work) {
    for (unsigned shard = 0; shard < kShards; shard++) work(shard);
  };
  Codec codec = codec_for(40);
  StateSet<Codec> set(codec);
  set.reserve(kStates, here, [](const State& s) { return s.hash; });
  for (uint32_t i = 0; i < kStates; i++) set.insert(state(i, 40).hash, set.codec().pack(state(i, 40)));
  const uint64_t size = set.size();
  const unsigned bytes = set.codec().bytes();
  for (unsigned lane = 0; lane < kLanes; lane++) know(set.codec(), lane, 4000);
  ASSERT_TRUE(set.codec().outgrown());
  set.recode(set.codec().widened(), here);
  EXPECT_GT(set.codec().bytes(), bytes);
  for (uint32_t i = 0; i < kStates; i++) {
    const State s = state(i, 40);
    const uint32_t at = set.find(s.hash, s);
    ASSERT_NE(at, kNoState);
    EXPECT_EQ(set.at(shard_of(s.hash), at), s);
  }
  EXPECT_EQ(set.size(), size);
  const State more = state(3, 4000 - kLanes);
  EXPECT_EQ(set.find(more.hash, more), kNoState);
  EXPECT_TRUE(set.insert(more.hash, set.codec().pack(more)));
  EXPECT_FALSE(set.insert(more.hash, set.codec().pack(more)));
}

}  // namespace
}  // namespace mmucheck::explore
