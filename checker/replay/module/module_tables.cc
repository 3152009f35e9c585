#include "checker/replay/module/module_tables.h"

namespace mmucheck::replay {
namespace {

struct TableKind {
  ModuleTable table;
  std::string_view header;
};
constexpr TableKind kTables[] = {
    {ModuleTable::kState,
     "op_state,level,state,tracked,op,status,detail,new_state,chldcnt_delta,pamt_type_after"},
    {ModuleTable::kParent, "op_state,parent_L1_state,target_L0_state,op,status,detail,rdx_hex"},
    {ModuleTable::kContention,
     "leaf,level,entry_state_before,op_state,held_lock,mode,status,rax,rcx,rdx,lock_word_before,"
     "lock_word_after_call,entry_raw_before,entry_raw_after_call,guest_accept_after_release,"
     "status_after_release,entry_raw_after_retry,guest_retry_after_host_sept_rd,note"},
};

size_t columns_of(ModuleTable table) {
  for (const TableKind& t : kTables) {
    if (t.table == table) return split_row(t.header).size();
  }
  return 0;
}

}  // namespace

std::optional<ModuleTable> module_table_of(std::string_view header) {
  for (const TableKind& t : kTables) {
    if (header == t.header) return t.table;
  }
  return std::nullopt;
}

TableRow split_row(std::string_view line) {
  TableRow row(1);
  for (const char c : line) {
    if (c == ',') {
      row.emplace_back();
    } else if (c != '\r') {
      row.back() += c;
    }
  }
  return row;
}

std::optional<RowDifference> check_row(ModuleTable table, const TableRow& row) {
  if (row.size() != columns_of(table)) {
    throw BadModuleTable("the row has " + std::to_string(row.size()) + " columns instead of " +
                         std::to_string(columns_of(table)));
  }
  if (table == ModuleTable::kContention) return check_contention_row(row);
  return check_conformance_row(table == ModuleTable::kParent, row);
}

}  // namespace mmucheck::replay
