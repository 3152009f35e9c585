// The numbers of contents: equal ones for equal content, whatever the table has grown to.
#include "checker/explore/content_table.h"

#include <gtest/gtest.h>

#include <set>
#include <thread>
#include <vector>

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

// Workers add at the same time and look without a lock; under the tsan preset that is shown to race
// with nothing.
TEST(ContentTable, WorkersAgreeOnTheNumbers) {
  constexpr unsigned kWorkers = 4, kContents = 20'000;
  ContentTable<Nothing> table;
  std::vector<std::vector<uint32_t>> ids(kWorkers, std::vector<uint32_t>(kContents));
  std::vector<std::thread> workers;
  for (unsigned w = 0; w < kWorkers; w++) {
    workers.emplace_back([&table, &mine = ids[w], w] {
      for (unsigned n = 0; n < kContents; n++) {
        const unsigned i = w % 2 == 0 ? n : kContents - 1 - n;  // from either end
        mine[i] = table.add(std::to_string(i), [] { return Nothing{}; });
      }
    });
  }
  for (std::thread& w : workers) w.join();
  for (unsigned w = 1; w < kWorkers; w++) EXPECT_EQ(ids[w], ids[0]);
  EXPECT_EQ(table.size(), kContents);
  EXPECT_TRUE(table.consistent());
}

TEST(ContentTable, AStaleTableIsFound) {
  ContentTable<Nothing, Stale> table;
  EXPECT_GT(numbers(table, 5000), 5000u);
  EXPECT_FALSE(table.consistent());
}

}  // namespace
}  // namespace mmucheck::explore
