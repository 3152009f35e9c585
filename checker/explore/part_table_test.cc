// The numbers of parts: equal ones for equal content, whatever the table has grown to.
#include "checker/explore/part_table.h"

#include <gtest/gtest.h>

#include <set>

namespace mmucheck::explore {
namespace {

struct Nothing {
  size_t bytes() const { return 0; }
};
struct Stale : NoTableFaults {
  static constexpr bool kStaleTable = true;
};

// How many numbers `n` leaves and a pair of each get when all are added twice.
template <class Faults>
size_t numbers(PartTable<Nothing, Faults>& table, unsigned n) {
  std::set<uint32_t> leaves, pairs;
  for (int round = 0; round < 2; round++) {
    uint32_t last = table.leaf("first", [] { return Nothing{}; });
    for (unsigned i = 0; i < n; i++) {
      const uint32_t leaf = table.leaf(std::to_string(i), [] { return Nothing{}; });
      leaves.insert(leaf);
      pairs.insert(table.pair(last, leaf));
      last = leaf;
    }
  }
  return leaves.size() + pairs.size();
}

TEST(PartTable, EqualPartsHaveOneNumber) {
  PartTable<Nothing> table;
  EXPECT_EQ(numbers(table, 5000), 10'000u);
  EXPECT_EQ(table.leaves(), 5001u);
  EXPECT_EQ(table.pairs(), 5000u);
  EXPECT_TRUE(table.consistent());
}

TEST(PartTable, AStaleTableIsFound) {
  PartTable<Nothing, Stale> table;
  EXPECT_GT(numbers(table, 5000), 10'000u);
  EXPECT_FALSE(table.consistent());
}

}  // namespace
}  // namespace mmucheck::explore
