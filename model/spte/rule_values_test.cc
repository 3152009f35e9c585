// Rules of roles, changes and shadowed translations, by hand.
#include <gtest/gtest.h>

#include "model/spte/change.h"
#include "model/spte/role.h"
#include "model/spte/shadowed_translation.h"
#include "model/spte/test_formats.h"

namespace mmucheck::model {
namespace {

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
