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
  EXPECT_EQ(f.uses(cell::pte(table, 1)), kRead);
  EXPECT_EQ(f.uses(cell::pte(table, 2)), kRead);
  EXPECT_EQ(f.uses(cell::pte(table, 3)), kRead | kWrite);
  EXPECT_EQ(f.uses(cell::pte(table, 4)), kWrite);
  EXPECT_EQ(f.uses(cell::of(CellKind::kPageStat, 1)), kCount);
  EXPECT_EQ(f.uses(cell::of(CellKind::kRootRefs, table)), kRead | kWrite);
  EXPECT_EQ(f.uses(cell::of(CellKind::kLockReaders)), kReadLock);
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpPfn, kNoTable, 0x41)), kRead);
  EXPECT_EQ(radix.get(cell::pte(table, 3)), 5u);  // and it was done
  f.clear();
  s.free_table(table);
  EXPECT_EQ(f.uses(cell::of(CellKind::kSpPfn, kNoTable, 0x40)), kWrite);
}

}  // namespace
}  // namespace mmucheck::model
