// Steps of a walk, and what a root makes of a gfn, by hand.
#include "model/address/walk_steps.h"

#include <gtest/gtest.h>

#include "model/address/alias.h"
#include "model/spte/change.h"
#include "model/spte/role.h"
#include "model/spte/shadowed_translation.h"
#include "model/spte/test_formats.h"

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

TEST(Roles, OfAChild) {
  EXPECT_EQ(role_child(0x86f84), 0x86f83u);  // of a mirror root
  EXPECT_EQ(role_child(0x6f84), 0x6f83u);
}

TEST(ShadowedTranslation, ByHand) {
  EXPECT_EQ(shadowed_translation<>(kShadowedV2, 0x123, 5), 0x123u << 3 | 5);
  EXPECT_EQ(shadowed_gfn<>(kShadowedV2, 0x91d), 0x123u);
  EXPECT_EQ(shadowed_translation<>(kShadowedLanded, 0x123, 5), 0x123005u);
}

TEST(Changes, ByHand) {
  EXPECT_TRUE(change_removes_table<>({true, true, false, true, false}));    // by a leaf
  EXPECT_TRUE(change_removes_table<>({true, false, false, false, true}));   // by nothing
  EXPECT_FALSE(change_removes_table<>({true, true, false, false, false}));  // A/D bits
  EXPECT_FALSE(change_removes_table<>({true, false, true, false, true}));   // a leaf goes
  const SpteFormat f = test_format("linux-7.2", PageTableFormat::kNpt, true).fmt;
  EXPECT_TRUE(leaf_change_needs_flush<>(f, 0x1000e67, 0x1000a65));
  EXPECT_FALSE(leaf_change_needs_flush<>(f, 0x1000e67, 0x1000e65));  // W alone
  EXPECT_FALSE(leaf_change_needs_flush<>(f, 0x1000a65, 0x1000a65));
}

}  // namespace
}  // namespace mmucheck::model
