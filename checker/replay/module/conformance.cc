// The tables by state of the entry and by state of its parent.
#include <array>
#include <charconv>

#include "checker/replay/module/module_fixture.h"
#include "checker/replay/module/module_tables.h"

namespace mmucheck::replay {
namespace {

using model::CellKind;
using tdx::Leaf;

tdx::SeptEntryState state_at(const TableRow& row, size_t column) {
  const tdx::SeptStateInfo* s = find_sept_state(row[column]);
  if (s == nullptr) throw BadModuleTable("\"" + row[column] + "\" is no state of an entry");
  return s->state;
}

tdx::OpState op_state_at(const TableRow& row, size_t column) {
  if (row[column] == "INIT") return tdx::OpState::kInitialized;
  if (row[column] == "RUN") return tdx::OpState::kRunnable;
  throw BadModuleTable("\"" + row[column] + "\" is no op state");
}

Leaf leaf_at(const TableRow& row, size_t column) {
  const tdx::LeafInfo* info = tdx::find_leaf(row[column]);
  if (info == nullptr) throw BadModuleTable("\"" + row[column] + "\" is no call");
  return info->leaf;
}

int digit_at(const TableRow& row, size_t column, int max) {
  const std::string& s = row[column];
  if (s.size() != 1 || s[0] < '0' || s[0] - '0' > max) {
    throw BadModuleTable("\"" + s + "\" is no number up to " + std::to_string(max));
  }
  return s[0] - '0';
}

// Status and detail as these tables write them: an exit's detail is the level where it stopped.
std::string answer_of(const tdx::ModuleCall& c) {
  std::string text = tdx::status_text(c.status);
  const size_t colon = text.find(':');
  std::string detail = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (colon != std::string::npos) text.resize(colon);
  if (c.status == tdx::kTdExit && c.leaf != Leaf::kPageAttrRd) {
    detail = "L" + std::to_string(c.exit.err_level);
  }
  return text + "," + detail;
}

// The tables hold for two versions, which differ in one operand.
std::string detail_of_1_5_01(const std::string& detail) {
  return detail == "SEPT_TREE(1.5.01)/RCX(>=1.5.05)" ? "SEPT_TREE" : detail;
}

}  // namespace

std::optional<RowDifference> check_conformance_row(bool parent, const TableRow& row) {
  ModuleFixture f(op_state_at(row, 0));
  const auto differ = [&](const std::string& expected, const std::string& got)
      -> std::optional<RowDifference> {
    if (expected == got) return std::nullopt;
    return RowDifference{expected, got};
  };
  if (parent) {
    f.set_target_below(0, state_at(row, 2), state_at(row, 1), ModuleFixture::kEpoch - 1);
    tdx::ModuleCall c = f.call(leaf_at(row, 3));
    f.run(c);
    std::array<char, 17> hex{};
    std::to_chars(hex.data(), hex.data() + 16, c.out.rdx, 16);
    const bool has_rdx = !row[6].empty();  // of a guest call it is not in the table
    return differ(row[4] + "," + detail_of_1_5_01(row[5]) + (has_rdx ? "," + row[6] : ""),
                  answer_of(c) + (has_rdx ? "," + std::string(hex.data()) : ""));
  }
  const int level = digit_at(row, 1, 1);
  const bool tracked = digit_at(row, 3, 1) != 0;
  const Leaf leaf = leaf_at(row, 4);
  f.set_target(level, state_at(row, 2), ModuleFixture::kEpoch - (tracked ? 1 : 0));
  if (leaf == Leaf::kMemPagePromote && !tdx::is_sept_leaf<>(f.target_entry()) && level > 0 &&
      f.page_size == tdx::k4K) {
    f.set_mapped_children();
  }
  tdx::ModuleCall c = f.call(leaf);
  // What FREE and REMOVED are offered is 4K for the calls that take no other.
  if (leaf == Leaf::kMemSeptAdd && tdx::is_sept_free<>(f.target_entry())) {
    f.page = ModuleFixture::kNewPage;
    f.page_size = tdx::k4K;
  }
  f.run(c);
  const auto delta = static_cast<int64_t>(f.world.get(CellKind::kTdChldcnt) -
                                          ModuleFixture::kChldcnt);
  return differ(row[5] + "," + detail_of_1_5_01(row[6]) + "," + row[7] + "," + row[8] + "," +
                    row[9],
                answer_of(c) + "," + tdx::sept_state_name(f.target_entry()) + "," +
                    std::to_string(delta) + "," +
                    tdx::pt_name(tdx::pamt_type(f.world, f.page_size, f.page)));
}

}  // namespace mmucheck::replay
