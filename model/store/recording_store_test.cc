// The recording wrapper by itself: each kind of use, and which of them commute.
#include "model/store/recording_store.h"

#include <gtest/gtest.h>

#include "model/spte/format.h"
#include "model/store/radix_store.h"

namespace mmucheck::model {
namespace {

TEST(Footprint, UsesThatCommute) {
  EXPECT_TRUE(commute(kRead, kRead));
  EXPECT_TRUE(commute(kCount, kCount));
  EXPECT_TRUE(commute(kReadLock, kReadLock));
  EXPECT_FALSE(commute(kRead, kWrite));
  EXPECT_FALSE(commute(kWrite, kWrite));
  EXPECT_FALSE(commute(kRead, kCount));
  EXPECT_FALSE(commute(kRead | kWrite, kRead));
  EXPECT_FALSE(commute(kReadLock, kWrite));
}

// Of what both stores are asked for below.
void expect_uses(const Footprint& f, uint32_t table) {
  EXPECT_EQ(f.uses(cell::pte(table, 1)), kRead);
  EXPECT_EQ(f.uses(cell::pte(table, 3)), kRead | kWrite);
  EXPECT_EQ(f.uses(cell::pte(table, 4)), kWrite);
  EXPECT_EQ(f.uses(cell::of(CellKind::kPageStat, 1)), kCount);
  EXPECT_EQ(f.uses(cell::of(CellKind::kLockReaders)), kReadLock);
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpPfn, kNoTable, 0x41)), kRead);
}

TEST(RecordingStore, RecordsEachUse) {
  RadixStore radix;
  RecordingStore<RadixStore> s(radix);
  const uint32_t table = s.alloc_table(0x40);
  Footprint& f = s.footprint();
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpState, table)), kWrite);
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpPfn, kNoTable, 0x40)), kWrite);
  f.clear();

  EXPECT_EQ(s.get(cell::pte(table, 1)), kNonpresent);
  uint64_t expected = 0;
  EXPECT_FALSE(s.cas(cell::pte(table, 2), expected, 5));
  EXPECT_EQ(expected, kNonpresent);
  EXPECT_TRUE(s.cas(cell::pte(table, 3), expected, 5));
  s.set(cell::pte(table, 4), 6);
  s.add(cell::of(CellKind::kPageStat, 1), 1);
  s.add(cell::of(CellKind::kRootRefs, table), 1);
  s.add(cell::of(CellKind::kLockReaders), 1);
  EXPECT_EQ(s.find_table(0x41), kNoTable);
  EXPECT_EQ(f.touches().size(), 8u);
  EXPECT_EQ(f.uses(cell::pte(table, 2)), kRead);
  expect_uses(f, table);
  EXPECT_EQ(f.uses(cell::of(CellKind::kRootRefs, table)), kRead | kWrite);
  EXPECT_EQ(radix.get(cell::pte(table, 3)), 5u);  // and it was done
  f.clear();
  s.free_table(table);
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpPfn, kNoTable, 0x40)), kWrite);
}

// By itself it tells the same, and of a table's cell that the table must live.
TEST(RadixStore, TellsWhatIsTouched) {
  RadixStore s;
  Footprint f;
  s.record(&f);
  const uint32_t table = s.alloc_table(0x40);
  const Cell state = cell::of(CellKind::kSpState, table);
  EXPECT_EQ(f.uses(state), kWrite);
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpState, kNoTable, table)), kWrite);  // the number is taken
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpPfn, kNoTable, 0x40)), kWrite);
  f.clear();

  EXPECT_EQ(s.get(cell::pte(table, 1)), kNonpresent);
  uint64_t expected = kNonpresent;
  EXPECT_TRUE(s.cas(cell::pte(table, 3), expected, 5));
  s.set(cell::pte(table, 4), 6);
  s.add(cell::of(CellKind::kPageStat, 1), 1);
  s.add(cell::of(CellKind::kRootRefs, table), 1);
  s.add(cell::of(CellKind::kLockReaders), 1);
  EXPECT_EQ(s.find_table(0x41), kNoTable);
  EXPECT_EQ(f.uses(RadixStore::life_of(table)), kRead);
  EXPECT_EQ(f.uses(state), 0);
  expect_uses(f, table);
  // Only who looks at the sum reads it.
  EXPECT_EQ(f.uses(cell::of(CellKind::kRootRefs, table)), kCount);
  EXPECT_EQ(s.add(cell::of(CellKind::kRootRefs, table), 1), 2u);
  EXPECT_EQ(f.uses(cell::of(CellKind::kRootRefs, table)), kRead | kCount);
  EXPECT_EQ(f.touches().size(), 8u);
  f.clear();
  // Shared attempts at a lock commute.
  EXPECT_EQ(s.share(cell::of(CellKind::kTdSeptLock), [](uint64_t word) { return word + 2; }), 0u);
  EXPECT_EQ(f.uses(cell::of(CellKind::kTdSeptLock)), kReadLock);
  EXPECT_EQ(s.get(cell::of(CellKind::kTdSeptLock)), 2u);
  f.clear();
  EXPECT_FALSE(s.is_live(table + 1));
  EXPECT_EQ(f.uses(RadixStore::life_of(table + 1)), kRead);
  s.free_table(table);
  EXPECT_EQ(f.uses(state), kWrite);
  EXPECT_EQ(f.uses(RadixStore::life_of(table)), kRead | kWrite);
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpPfn, kNoTable, 0x40)), kWrite);
  f.clear();

  s.record(nullptr);
  s.set(cell::of(CellKind::kRootHead), 1);
  EXPECT_TRUE(f.touches().empty());
}

TEST(RadixStore, OneTableAndTheOthers) {
  RadixStore s;
  const uint32_t a = s.alloc_table(0x40), b = s.alloc_table(0x41);
  s.set(cell::pte(a, 7), 1);
  s.set(cell::pte(b, 8), 2);
  s.set(cell::of(CellKind::kRootHead), 3);
  s.set(cell::of(CellKind::kPageStat, 1), 4);
  std::vector<Cell> seen;
  const auto see = [&](Cell c, uint64_t) { seen.push_back(c); };
  s.for_table(b, see);
  EXPECT_EQ(seen, (std::vector<Cell>{cell::of(CellKind::kSpPfn, b), cell::of(CellKind::kSpState, b),
                                     cell::pte(b, 8)}));
  seen.clear();
  s.for_table(b + 1, see);
  EXPECT_TRUE(seen.empty());
  s.for_others(see, [](CellKind kind) { return kind == CellKind::kPageStat; });
  EXPECT_EQ(seen, (std::vector<Cell>{cell::of(CellKind::kPageStat, 1)}));
}

}  // namespace
}  // namespace mmucheck::model
