// Steps of a walk, and what a root makes of a gfn, by hand.
#include "model/address/walk_steps.h"

#include <gtest/gtest.h>

#include "model/address/alias.h"

namespace mmucheck::model {
namespace {

TEST(WalkSteps, ByHand) {
  EXPECT_EQ(gfn_beside<>(0x12345, kPgLevel4K), 0x12346u);
  EXPECT_EQ(gfn_beside<>(0x12200, kPgLevel2M), 0x12400u);
  EXPECT_EQ(gfn_above<>(0x123ff, kPgLevel2M), 0x12200u);
  EXPECT_EQ(gfn_below<>(0x12345, kPgLevel2M), 0x12200u);
  EXPECT_EQ(gfn_below<>(0x12345, kPgLevel1G), 0u);
  EXPECT_TRUE(is_last_entry<>(0x123ff, 0, kPgLevel4K));
  EXPECT_FALSE(is_last_entry<>(0x123fe, 0, kPgLevel4K));
  EXPECT_FALSE(is_last_entry<>(0x123ff, 0, kPgLevel2M));
}

TEST(WalkSteps, RootsByHand) {
  const uint64_t bits = gfn_direct_bits_for_gpaw(48);
  EXPECT_EQ(gfn_for_root<>(bits, false, Gfn<>{0x123}).v, bits | 0x123);
  EXPECT_EQ(gfn_for_root<>(bits, true, Gfn<>{0x123}).v, 0x123u);
  EXPECT_EQ(gfn_bits_of_root<>(bits, false), bits);
  EXPECT_EQ(gfn_bits_of_root<>(bits, true), 0u);
  EXPECT_EQ(entry_gfn<>({0x12200}, 0x145, kPgLevel4K).v, 0x12345u);
  EXPECT_EQ(entry_gfn<>({0}, 3, kPgLevel2M).v, 0x600u);
}

}  // namespace
}  // namespace mmucheck::model
