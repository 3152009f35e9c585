// The numbers of contents: equal ones for equal content, whatever the table has grown to.
#include "checker/explore/content_table.h"

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

// How many numbers `n` contents get when all are added twice.
template <class Faults>
size_t numbers(ContentTable<Nothing, Faults>& table, unsigned n) {
  std::set<uint32_t> all;
  for (int round = 0; round < 2; round++) {
    for (unsigned i = 0; i < n; i++) {
      const uint32_t id = table.add(std::to_string(i), [] { return Nothing{}; });
      EXPECT_EQ(table.bytes(id), std::to_string(i));
      all.insert(id);
    }
  }
  return all.size();
}

TEST(ContentTable, EqualContentsHaveOneNumber) {
  ContentTable<Nothing> table;
  EXPECT_EQ(numbers(table, 5000), 5000u);
  EXPECT_EQ(table.size(), 5000u);
  EXPECT_TRUE(table.consistent());
}

TEST(ContentTable, AStaleTableIsFound) {
  ContentTable<Nothing, Stale> table;
  EXPECT_GT(numbers(table, 5000), 5000u);
  EXPECT_FALSE(table.consistent());
}

}  // namespace
}  // namespace mmucheck::explore
