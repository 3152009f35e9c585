#include "checker/replay/state_text.h"

#include <fmt/format.h>

namespace mmucheck::replay {

using namespace model;  // NOLINT

namespace {

const char* size_of(int level) {
  constexpr const char* kSizes[] = {"", "4K", "2M", "1G", "512G", "256T"};
  return level >= 1 && level <= 5 ? kSizes[level] : "?";
}

struct Range {
  uint64_t gfn = 0, entries = 0, pfn = 0;
  int level = 0;
  std::string what;  // permissions and kind, equal for the whole range
  bool leaf = false;
};

std::string kind_of(const VmModel& v, uint64_t spte, int level) {
  const SpteFormat& f = v.world.fmt;
  if (is_shadow_present_pte<>(spte)) {
    if (!is_last_spte<>(spte, level)) return "table";
    std::string s = has_bits<>(spte, 1) ? "r" : "-";
    s += is_writable_pte<>(spte) ? "w" : "-";
    s += is_executable_pte<>(f, spte) ? "x" : "-";
    if (is_mmu_writable_spte<>(f, spte) && !is_writable_pte<>(spte)) s += " write-protected";
    if (is_access_track_spte<>(f, spte)) s += " access-tracked";
    return s;
  }
  if (is_frozen_spte<>(f, spte)) return "frozen";
  if (is_mmio_spte<>(f, spte)) return "--- MMIO";
  return "---";
}

// The entry that decides how `gfn` is mapped: its value and level.
uint64_t lookup(VmModel& v, uint32_t root, uint64_t gfn, int* level) {
  uint32_t table = root;
  *level = role_level(v.world.role(root));
  for (;;) {
    const uint64_t spte = v.store.get(cell::pte(
        table, spte_index<>(gfn | gfn_root_bits(v.world, root), *level)));
    const uint32_t child = v.world.child_table(spte, *level);
    if (*level == kPgLevel4K || child == kNoTable) return spte;
    table = child;
    --*level;
  }
}

std::string line_of(const Range& r) {
  const uint64_t last = r.gfn + r.entries * pages_per_hpage(r.level) - 1;
  std::string s = last == r.gfn ? fmt::format("{:x}", r.gfn) : fmt::format("{:x}-{:x}", r.gfn, last);
  s = fmt::format("  {:<20} {:<5} {}", s, size_of(r.level), r.what);
  if (r.leaf) s += fmt::format("  pfn {:x}", r.pfn);
  return s;
}

}  // namespace

std::vector<std::string> state_around(VmModel& v, uint64_t gfn, int level, uint64_t radius) {
  std::vector<std::string> lines;
  const uint64_t step = pages_per_hpage(level);
  const uint64_t from = gfn > radius * step ? gfn - radius * step : 0;
  const uint64_t to = gfn + (radius + 1) * step;
  for (uint32_t r = first_root(v.world); r != kNoTable; r = list_next_root(v.world, r)) {
    lines.push_back(fmt::format("root {:x} (role {:x}, {} references{})", v.env.pfn(r) << kPageShift,
                                v.world.role(r), v.world.field(CellKind::kRootRefs, r),
                                v.world.root_invalid(r) ? ", invalid" : ""));
    Range run;
    for (uint64_t at = from; at < to;) {
      int found = 0;
      const uint64_t spte = lookup(v, r, at, &found);
      Range here;
      here.level = found;
      here.gfn = gfn_round_for_level<>(at, found);
      here.entries = 1;
      here.what = kind_of(v, spte, found);
      here.leaf = is_shadow_present_pte<>(spte);
      here.pfn = spte_to_pfn<>(spte);
      const uint64_t run_pages = run.entries * pages_per_hpage(std::max(run.level, 1));
      if (run.entries != 0 && run.level == here.level && run.what == here.what &&
          (!here.leaf || here.pfn == run.pfn + run_pages)) {
        run.entries++;
      } else {
        if (run.entries != 0) lines.push_back(line_of(run));
        run = here;
      }
      at = here.gfn + pages_per_hpage(found);
    }
    if (run.entries != 0) lines.push_back(line_of(run));
  }
  return lines;
}

}  // namespace mmucheck::replay
