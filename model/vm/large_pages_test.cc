// Large pages of slots and ranges, by hand.
#include "model/vm/large_pages.h"

#include <gtest/gtest.h>

namespace mmucheck::model {
namespace {

TEST(LargePages, EntriesOfASlot) {
  EXPECT_EQ(gfn_to_index<>(0x1ff, 0x180, kPgLevel2M), 0u);
  EXPECT_EQ(gfn_to_index<>(0x200, 0x180, kPgLevel2M), 1u);
  EXPECT_EQ(lpage_entries<>(0x180, 0x400, kPgLevel2M), 3u);  // 180 to 57f
  EXPECT_EQ(lpage_entries<>(0x200, 0x200, kPgLevel2M), 1u);
  EXPECT_EQ(lpage_entries<>(0x180, 0x400, kPgLevel1G), 1u);
}

TEST(LargePages, NeverLarge) {
  const auto never = [](uint64_t npages, uint64_t ugfn, uint64_t index) {
    return never_large<>(0x180, npages, ugfn, kPgLevel2M, index);
  };
  const uint64_t congruent = 0x7f0000180, other = 0x7f0000181;
  EXPECT_TRUE(never(0x400, congruent, 0));   // its head is before the slot
  EXPECT_FALSE(never(0x400, congruent, 1));  // 200 to 3ff
  EXPECT_TRUE(never(0x400, congruent, 2));   // its tail is behind the slot
  EXPECT_FALSE(never(0x480, congruent, 2));  // the slot ends with it
  EXPECT_TRUE(never(0x400, other, 1));
  EXPECT_TRUE(large_page_in_slot<>(0x180, 0x400, 0x200, kPgLevel2M));
  EXPECT_FALSE(large_page_in_slot<>(0x180, 0x400, 0, kPgLevel2M));
  EXPECT_FALSE(large_page_in_slot<>(0x180, 0x400, 0x400, kPgLevel2M));
}

TEST(LargePages, CutByARange) {
  const CutPages<> head = cut_pages<>(0x180, 0x600, kPgLevel2M);
  EXPECT_EQ(head.head, 0u);
  EXPECT_EQ(head.tail, 0x400u);
  EXPECT_TRUE(head.cuts_head);
  EXPECT_FALSE(head.cuts_tail);
  const CutPages<> tail = cut_pages<>(0x200, 0x580, kPgLevel2M);
  EXPECT_FALSE(tail.cuts_head);
  EXPECT_TRUE(tail.cuts_tail);
  const CutPages<> both = cut_pages<>(0x210, 0x220, kPgLevel2M);  // within one page
  EXPECT_TRUE(both.cuts_head);
  EXPECT_FALSE(both.cuts_tail);
}

}  // namespace
}  // namespace mmucheck::model
