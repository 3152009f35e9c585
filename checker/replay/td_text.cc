// A TD's trees side by side, as text.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "checker/replay/td_state.h"
#include "checker/replay/vm_state.h"

namespace mmucheck::replay {

namespace {

constexpr size_t kTextColumns = 100;
constexpr size_t kIndent = 4;  // where verdicts and `show` put the lines
constexpr uint64_t kRowsAround = 2;

using TdCells = std::array<std::string, 7>;

std::string side_text(const TdSide& s) {
  if (s.level == 0) return "-";
  if (s.empty) return s.what == "---" ? "-" : s.what;
  return fmt::format("{} {}", size_of(s.level), s.what);
}

std::string gfns_text(const TdRow& row) {
  return row.npages == 1 ? fmt::format("{:x}", row.gfn)
                         : fmt::format("{:x}-{:x}", row.gfn, row.last_gfn());
}

std::string pamt_text(const TdRow& row) {
  if (!row.has_page) return "-";
  std::string s = fmt::format("{:x} {}", row.page, row.pamt);
  if (row.blocked) s += fmt::format(" BEPOCH {}", row.bepoch);
  return s;
}

// An empty entry that differs still has a size.
std::string sept_text(const TdRow& row) {
  if (row.match == MirrorMatch::kDiffer && row.sept.empty) {
    return fmt::format("{} {}", size_of(row.sept.level), row.sept.what);
  }
  return side_text(row.sept);
}

TdCells cells_of(const TdState& td, const TdRow& row) {
  TdCells cells;
  cells[0] = gfns_text(row);
  if (td.has_direct) cells[1] = side_text(row.direct);
  cells[2] = side_text(row.mirror);
  if (td.module) {
    cells[3] = sept_text(row);
    cells[4] = pamt_text(row);
  }
  cells[5] = row.attributes;
  if (row.match == MirrorMatch::kDiffer) cells[6] = "<- differ";
  if (row.match == MirrorMatch::kFrozen) cells[6] = "<- frozen";
  return cells;
}

TdCells header_of(const TdState& td) {
  return {"gfn range",
          td.has_direct ? "direct" : "",
          "mirror",
          td.module ? "S-EPT" : "",
          td.module ? "PAMT" : "",
          "attributes",
          ""};
}

std::string cached_text(const TdState& td, const TdRow& row) {
  std::string s = fmt::format("{} {} in epoch {}, {}", gfns_text(row), row.sept.what, row.bepoch,
                              row.tracked ? "tracked" : "not tracked");
  const char* separator = ": may be cached by ";
  for (const TdVcpu& vcpu : td.vcpus) {
    if (row.tracked || !vcpu.inside || vcpu.epoch > row.bepoch) continue;
    s += fmt::format("{}vcpu {} on CPU {}", separator, vcpu.vcpu, vcpu.cpu);
    separator = ", ";
  }
  return s;
}

bool disagrees(const TdRow& row) {
  return row.match == MirrorMatch::kDiffer || row.match == MirrorMatch::kFrozen;
}

}  // namespace

std::vector<std::string> td_table(const TdState& td) {
  std::vector<TdCells> table = {header_of(td)};
  for (const TdRow& row : td.rows) table.push_back(cells_of(td, row));
  std::array<size_t, std::tuple_size_v<TdCells>> width{};
  for (size_t column = 0; column < width.size(); column++) {
    bool used = false;
    for (size_t i = 0; i < table.size(); i++) {
      width[column] = std::max(width[column], table[i][column].size());
      used |= i > 0 && !table[i][column].empty();
    }
    if (!used && column > 0) width[column] = 0;
  }
  std::vector<std::string> lines;
  for (const TdCells& cells : table) {
    std::string line;
    for (size_t column = 0; column + 1 < cells.size(); column++) {
      if (width[column] != 0) line += fmt::format("{:<{}}  ", cells[column], width[column]);
    }
    if (kIndent + line.size() + cells.back().size() > kTextColumns && !cells.back().empty()) {
      lines.push_back(line.substr(0, line.find_last_not_of(' ') + 1));
      line = fmt::format("{:>{}}", cells.back(), kTextColumns - kIndent);
    } else {
      line += cells.back();
    }
    lines.push_back(line.substr(0, line.find_last_not_of(' ') + 1));
  }
  return lines;
}

std::vector<std::string> td_lines(const TdState& td) {
  std::vector<std::string> lines;
  if (td.module) {
    std::string s = fmt::format("TD {}, {}, HKID {}   CHLDCNT {}   PAMT", td.op_state, td.lifecycle,
                                td.hkid_assigned ? "assigned" : "freed", td.chldcnt);
    const char* separator = " ";
    for (const auto& [type, count] : td.pamt) {
      s += fmt::format("{}{} {}", separator, count, type);
      separator = ", ";
    }
    lines.push_back(s);
  }
  std::string roots = "roots";
  if (td.has_direct) roots += fmt::format("  direct {:x}", td.direct_spt);
  if (td.has_mirror) roots += fmt::format("  mirror {:x}", td.mirror_spt);
  if (td.module) roots += fmt::format("  S-EPT {:x}", td.sept_root);
  lines.push_back(roots);
  if (!td.rows.empty()) {
    for (const std::string& line : td_table(td)) lines.push_back("  " + line);
  }
  for (const std::string& hook : td.hooks) lines.push_back(hook);
  if (!td.module) return lines;
  lines.push_back(fmt::format("TLBs  TD epoch {}: vCPUs inside {} of it, {} of the one before",
                              td.epoch, td.inside_now, td.inside_before));
  for (const TdVcpu& vcpu : td.vcpus) {
    if (!vcpu.associated) continue;
    lines.push_back(fmt::format("  vcpu {} on CPU {}, entered in epoch {}, {}", vcpu.vcpu, vcpu.cpu,
                                vcpu.epoch, vcpu.inside ? "inside" : "outside"));
  }
  for (const CachedRoot& c : td.cached) {
    lines.push_back(fmt::format("  CPU {} may cache root {:x}", c.cpu, c.spt));
  }
  for (const TdRow& row : td.rows) {
    if (row.blocked) lines.push_back("  " + cached_text(td, row));
  }
  return lines;
}

std::vector<std::string> td_disagreement(const VmModel& v) {
  TdState td = td_state_of(v);
  std::vector<TdRow> shown;
  for (size_t i = 0; i < td.rows.size(); i++) {
    bool near = false;
    for (size_t j = i < kRowsAround ? 0 : i - kRowsAround;
         j <= i + kRowsAround && j < td.rows.size(); j++) {
      near |= disagrees(td.rows[j]);
    }
    if (near) shown.push_back(td.rows[i]);
  }
  td.rows = std::move(shown);
  if (td.rows.empty()) return {};
  return td_table(td);
}

}  // namespace mmucheck::replay
