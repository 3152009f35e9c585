// checker/replay/module: tables of what the TDX module answered, a row a call: each row is set up,
// the model makes the call, and the answers are compared.
//
// Three kinds, told apart by their first line: by state of the entry, by state of its parent, and
// by a lock that somebody else holds. Errors of the text are BadModuleTable; a row that the model
// answers otherwise is a difference.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace mmucheck::replay {

struct BadModuleTable : std::runtime_error {
  using std::runtime_error::runtime_error;
};

enum class ModuleTable : uint8_t { kState, kParent, kContention };

// By the first line; nullopt: none of them.
std::optional<ModuleTable> module_table_of(std::string_view header);

using TableRow = std::vector<std::string>;
TableRow split_row(std::string_view line);

struct RowDifference {
  std::string expected, got;
};

// nullopt: the model agrees.
std::optional<RowDifference> check_row(ModuleTable table, const TableRow& row);

// Of one kind each; check_row() chooses.
std::optional<RowDifference> check_conformance_row(bool parent, const TableRow& row);
std::optional<RowDifference> check_contention_row(const TableRow& row);

}  // namespace mmucheck::replay
