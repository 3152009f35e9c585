#include "checker/replay/vm_state.h"

#include <fmt/format.h>

#include <algorithm>

namespace mmucheck::replay {

using namespace model;  // NOLINT

namespace {

// The entry that decides how `gfn` is mapped: its value and level.
uint64_t lookup(const VmModel& v, uint32_t root, uint64_t gfn, int* level) {
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

bool joins(const MappedRange& range, const MappedRange& next) {
  return range.level == next.level && range.what == next.what &&
         range.gfn + range.npages == next.gfn &&
         (!next.leaf || next.pfn == range.pfn + range.npages);
}

RootState root_state(const VmModel& v, uint32_t root) {
  RootState s;
  s.spt = v.env.pfn(root) << kPageShift;
  s.role = v.world.role(root);
  s.refs = v.world.field(CellKind::kRootRefs, root);
  s.invalid = v.world.root_invalid(root);
  s.mirror = v.world.is_mirror(root);
  return s;
}

}  // namespace

std::string spte_text(const VmModel& v, uint64_t spte, int level) {
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

std::vector<MappedRange> ranges_of(const VmModel& v, uint32_t root, uint64_t from, uint64_t to) {
  std::vector<MappedRange> ranges;
  for (uint64_t at = from; at < to;) {
    MappedRange here;
    const uint64_t spte = lookup(v, root, at, &here.level);
    here.gfn = gfn_round_for_level<>(at, here.level);
    here.npages = pages_per_hpage(here.level);
    here.what = spte_text(v, spte, here.level);
    here.leaf = is_shadow_present_pte<>(spte);
    here.pfn = here.leaf ? spte_to_pfn<>(spte) : 0;
    at = here.gfn + here.npages;
    if (!ranges.empty() && joins(ranges.back(), here)) {
      ranges.back().npages += here.npages;
    } else {
      ranges.push_back(std::move(here));
    }
  }
  return ranges;
}

VmState state_of(const VmModel& v) {
  VmState s;
  s.vm = v.id;
  s.abandoned = v.abandoned;
  for (uint32_t r = first_root(v.world); r != kNoTable; r = list_next_root(v.world, r)) {
    RootState root = root_state(v, r);
    // The direct bits index the root, but are in no gfn.
    uint64_t end = uint64_t{1} << (9 * role_level(root.role));
    if (gfn_root_bits(v.world, r) != 0) end = std::min(end, gfn_root_bits(v.world, r));
    root.ranges = ranges_of(v, r, 0, end);
    std::erase_if(root.ranges, [](const MappedRange& range) { return range.what == "---"; });
    s.roots.push_back(std::move(root));
  }
  for (uint32_t slot = 0; slot < slot_bound(v.world); slot++) {
    if (!slot_in_use(v.world, slot)) continue;
    const auto get = [&](SlotField f) { return slot_get(v.world, slot, f); };
    s.slots.push_back({get(SlotField::kAsId), get(SlotField::kId), get(SlotField::kBase),
                       get(SlotField::kNpages), get(SlotField::kHva), get(SlotField::kFlags),
                       get(SlotField::kInvalid) != 0});
  }
  // In the order of the gfns.
  v.store.for_each([](uint32_t) {},
                   [&s](Cell c, uint64_t value) {
                     if (c.kind != CellKind::kMemAttr || !(value & kMemoryAttributePrivate)) return;
                     if (s.private_gfns.empty() || s.private_gfns.back().end != c.index) {
                       s.private_gfns.push_back({c.index, c.index});
                     }
                     s.private_gfns.back().end++;
                   });
  s.invalidate_seq = v.world.field(CellKind::kInvalidateSeq);
  s.invalidations = v.world.field(CellKind::kInvalidateInProgress);
  if (s.invalidations != 0) {
    s.invalidating = {v.world.field(CellKind::kInvalidateStart),
                      v.world.field(CellKind::kInvalidateEnd)};
  }
  if (v.world.vm.has_mirror) s.td = td_state_of(v);
  return s;
}

std::vector<std::string> state_around(const VmModel& v, uint64_t gfn, int level,
                                      uint64_t radius) {
  std::vector<std::string> lines;
  const uint64_t step = pages_per_hpage(level);
  const uint64_t from = gfn > radius * step ? gfn - radius * step : 0;
  const uint64_t to = gfn + (radius + 1) * step;
  if (v.world.vm.has_mirror) {
    const uint64_t start = from & ~v.world.vm.gfn_direct_bits;
    return td_table(td_state_of(v, start, start + (to - from)));
  }
  for (uint32_t r = first_root(v.world); r != kNoTable; r = list_next_root(v.world, r)) {
    lines.push_back(text_of(root_state(v, r)));
    for (const MappedRange& range : ranges_of(v, r, from, to)) {
      lines.push_back("  " + text_of(range));
    }
  }
  return lines;
}

const char* size_of(int level) {
  constexpr const char* kSizes[] = {"", "4K", "2M", "1G", "512G", "256T"};
  return level >= 1 && level <= 5 ? kSizes[level] : "?";
}

std::string text_of(const RootState& root) {
  return fmt::format("root {:x} (role {:x}, {} references{}{})", root.spt, root.role, root.refs,
                     root.mirror ? ", mirror" : "", root.invalid ? ", invalid" : "");
}

std::string text_of(const MappedRange& range) {
  std::string s = range.last_gfn() == range.gfn
                      ? fmt::format("{:x}", range.gfn)
                      : fmt::format("{:x}-{:x}", range.gfn, range.last_gfn());
  s = fmt::format("{:<20} {:<5} {}", s, size_of(range.level), range.what);
  if (range.leaf) s += fmt::format("  pfn {:x}", range.pfn);
  return s;
}

}  // namespace mmucheck::replay
