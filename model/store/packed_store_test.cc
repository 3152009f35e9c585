// The packed store by itself: places, refusals, what a scenario did not foresee.
#include "model/store/packed_store.h"

#include <gtest/gtest.h>

#include "model/spte/format.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kFrozen = 0x80000000000001a0;

TEST(PackedLayout, PlacesFieldsWithoutCrossingWords) {
  PackedLayout layout(kFrozen);
  layout.add_number(cell::of(CellKind::kInvalidateSeq), 40, 7);
  layout.add_number(cell::of(CellKind::kInvalidateStart), 40);
  layout.add_number(cell::of(CellKind::kInvalidateEnd), 24);
  layout.add_constant(cell::of(CellKind::kMemslotGen), 1234567);
  ASSERT_TRUE(layout.finish()) << layout.error();
  EXPECT_EQ(layout.bits(), 104);
  EXPECT_EQ(layout.words(), 2);
  PackedStore<2> store(layout);
  EXPECT_EQ(store.get(cell::of(CellKind::kInvalidateSeq)), 7u);
  store.set(cell::of(CellKind::kInvalidateStart), (uint64_t{1} << 40) - 1);
  store.set(cell::of(CellKind::kInvalidateEnd), 0xabcdef);
  EXPECT_EQ(store.add(cell::of(CellKind::kInvalidateSeq), 2), 9u);
  EXPECT_EQ(store.get(cell::of(CellKind::kInvalidateStart)), (uint64_t{1} << 40) - 1);
  EXPECT_EQ(store.get(cell::of(CellKind::kInvalidateEnd)), 0xabcdefu);
  EXPECT_EQ(store.get(cell::of(CellKind::kMemslotGen)), 1234567u);
  EXPECT_EQ(store.error(), PackedError::kNone);
}

TEST(PackedLayout, RefusesWhatDoesNotFit) {
  const auto error_of = [](auto declare) {
    PackedLayout layout(kFrozen);
    declare(layout);
    EXPECT_FALSE(layout.finish());
    return layout.error();
  };
  EXPECT_NE(error_of([](PackedLayout& l) { l.add_number(cell::of(CellKind::kRootHead), 3, 8); }),
            "");
  EXPECT_NE(error_of([](PackedLayout& l) { l.add_constant(cell::pte(0, 0), kNonpresent); }), "");
  EXPECT_NE(error_of([](PackedLayout& l) {
              l.add_table(5);
              l.add_values(cell::pte(0, 0), {kFrozen, kNonpresent});
            }),
            "");
  EXPECT_NE(error_of([](PackedLayout& l) {
              l.add_number(cell::of(CellKind::kRootHead), 3);
              l.add_number(cell::of(CellKind::kRootHead), 3);
            }),
            "");
  EXPECT_NE(error_of([](PackedLayout& l) {
              l.add_table(5);
              l.add_table(5);
            }),
            "");
  EXPECT_NE(error_of([](PackedLayout& l) {
              for (uint32_t i = 0; i < 9; i++) l.add_number(cell::of(CellKind::kTlb, i), 64);
            }),
            "");
}

TEST(PackedStore, ReportsWhatTheScenarioDidNotForesee) {
  PackedLayout layout(kFrozen);
  const uint32_t table = layout.add_table(0x40);
  layout.add_values(cell::pte(table, 3), {kNonpresent, 0x1000e67});
  layout.add_number(cell::of(CellKind::kRootHead), 2);
  ASSERT_TRUE(layout.finish());
  const PackedStore<1> fresh(layout);

  PackedStore<1> s = fresh;
  EXPECT_EQ(s.get(cell::pte(table, 3)), 0u);  // not allocated
  EXPECT_EQ(s.error(), PackedError::kPoisoned);
  EXPECT_EQ(s.poisoned_reads(), 1u);

  s = fresh;
  ASSERT_EQ(s.alloc_table(0x40), table);
  EXPECT_EQ(s.find_table(0x40), table);
  EXPECT_EQ(s.get(cell::pte(table, 3)), kNonpresent);
  EXPECT_EQ(s.get(cell::pte(table, 4)), kNonpresent);
  s.set(cell::pte(table, 3), 0x1000e67);
  s.set(cell::pte(table, 4), kFrozen);  // what a removal stores everywhere
  EXPECT_EQ(s.error(), PackedError::kNone);
  const auto mapped = s.state();
  s.set(cell::pte(table, 3), 0x2000e67);
  EXPECT_EQ(s.error(), PackedError::kValue);
  EXPECT_EQ(s.error_cell(), cell::pte(table, 3));
  EXPECT_EQ(s.error_value(), 0x2000e67u);
  EXPECT_EQ(s.state(), mapped);

  s.set_state(mapped);
  EXPECT_EQ(s.error(), PackedError::kNone);
  s.set(cell::pte(table, 4), 0x1000e67);
  EXPECT_EQ(s.error(), PackedError::kUndeclared);

  s.set_state(mapped);
  EXPECT_EQ(s.add(cell::of(CellKind::kRootHead), 4), 4u);
  EXPECT_EQ(s.error(), PackedError::kValue);

  s.set_state(mapped);
  EXPECT_EQ(s.alloc_table(0x40), kNoTable);  // lives already
  EXPECT_EQ(s.error(), PackedError::kFrame);

  s.set_state(mapped);
  s.free_table(table);
  EXPECT_EQ(s.state(), fresh.state());  // nothing of it is left
  EXPECT_EQ(s.find_table(0x40), kNoTable);
}

TEST(PackedStore, CasTellsWhatItFound) {
  PackedLayout layout(kFrozen);
  layout.add_values(cell::of(CellKind::kMemslotGen), {4, 6, 8});
  ASSERT_TRUE(layout.finish());
  PackedStore<1> s(layout);
  uint64_t expected = 6;
  EXPECT_FALSE(s.cas(cell::of(CellKind::kMemslotGen), expected, 8));
  EXPECT_EQ(expected, 4u);
  EXPECT_TRUE(s.cas(cell::of(CellKind::kMemslotGen), expected, 8));
  EXPECT_EQ(s.get(cell::of(CellKind::kMemslotGen)), 8u);
}

}  // namespace
}  // namespace mmucheck::model
