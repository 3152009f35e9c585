// Every row of the tables of the module's answers, and a row that is not what the module does.
#include "checker/replay/module/module_tables.h"

#include <gtest/gtest.h>

#include "checker/trace/byte_stream.h"

namespace mmucheck::replay {
namespace {

std::vector<std::string> lines_of(const std::string& path) {
  trace::ByteStream in(path);
  std::vector<std::string> lines(1);
  while (true) {
    const std::string_view window = in.peek(1);
    if (window.empty()) break;
    for (const char c : window) {
      if (c == '\n') {
        lines.emplace_back();
      } else {
        lines.back() += c;
      }
    }
    in.consume(window.size());
  }
  if (lines.back().empty()) lines.pop_back();
  return lines;
}

// Returns how many rows there are.
size_t check_table(const std::string& path, ModuleTable want) {
  const std::vector<std::string> lines = lines_of(path);
  const std::optional<ModuleTable> table = module_table_of(lines.at(0));
  EXPECT_EQ(table, want) << path;
  for (size_t i = 1; i < lines.size(); i++) {
    const auto d = check_row(want, split_row(lines[i]));
    EXPECT_FALSE(d) << path << ":" << i + 1 << ": " << lines[i] << "\n  expected " << d->expected
                    << "\n  got      " << d->got;
  }
  return lines.size() - 1;
}

TEST(ModuleTables, ByStateOfTheEntry) {
  EXPECT_EQ(check_table("traces/module-sequences/conformance.csv.xz", ModuleTable::kState), 2040u);
}
TEST(ModuleTables, ByStateOfTheParent) {
  EXPECT_EQ(check_table("traces/module-sequences/conformance-parent.csv.xz", ModuleTable::kParent),
            1190u);
}

TEST(ModuleTables, WithALockHeld) {
  EXPECT_EQ(check_table("traces/module-sequences/contention.csv.xz", ModuleTable::kContention),
            274u);
}

TEST(ModuleTables, AWrongRowIsNoticed) {
  const TableRow good =
      split_row("RUN,0,BLOCKED,1,TDH.MEM.PAGE.REMOVE,TDX_SUCCESS,,FREE,-1,NDA");
  EXPECT_FALSE(check_row(ModuleTable::kState, good));
  for (const size_t column : {3, 5, 7, 8, 9}) {
    TableRow bad = good;
    bad[column] = column == 3 ? "0" : column == 7 ? "REMOVED" : column == 8 ? "0" : "REG";
    EXPECT_TRUE(check_row(ModuleTable::kState, bad)) << column;
  }
  TableRow broken = good;
  broken[2] = "NO_STATE";
  EXPECT_THROW(check_row(ModuleTable::kState, broken), BadModuleTable);
  broken.pop_back();
  EXPECT_THROW(check_row(ModuleTable::kState, broken), BadModuleTable);
}

}  // namespace
}  // namespace mmucheck::replay
