#include "tools/mmucheck/state_text.h"

#include <fmt/format.h>

#include "tools/mmucheck/session.h"

namespace mmucheck::cli {

std::string state_text(const replay::VmState& vm) {
  std::string s = fmt::format("vm {}{}\n", vm.vm,
                              vm.abandoned ? "   not followed since a divergence or a loss" : "");
  for (const replay::SlotState& slot : vm.slots) {
    s += fmt::format("  memslot {} as_id {}  {:x}-{:x}  hva {:x}  flags {:x}{}\n", slot.id,
                     slot.as_id, slot.base, slot.base + slot.npages - 1, slot.hva, slot.flags,
                     slot.invalid ? "  invalid" : "");
  }
  for (const replay::GfnRange& range : vm.private_gfns) {
    s += fmt::format("  private {:x}-{:x}\n", range.start, range.end - 1);
  }
  s += fmt::format("  mmu_invalidate_seq {}", vm.invalidate_seq);
  if (vm.invalidations != 0) {
    s += fmt::format("   {} in progress, range [{:x}, {:x})", vm.invalidations,
                     vm.invalidating.start, vm.invalidating.end);
  }
  s += '\n';
  for (const replay::RootState& root : vm.roots) {
    s += "  " + text_of(root) + '\n';
    for (const replay::MappedRange& range : root.ranges) s += "    " + text_of(range) + '\n';
  }
  return s;
}

nlohmann::ordered_json state_json(const replay::VmState& vm) {
  using json = nlohmann::ordered_json;
  json slots = json::array(), gfns = json::array(), roots = json::array();
  for (const replay::SlotState& slot : vm.slots) {
    slots.push_back({{"as_id", slot.as_id}, {"id", slot.id}, {"base_gfn", slot.base},
                     {"npages", slot.npages}, {"hva", slot.hva}, {"flags", slot.flags},
                     {"invalid", slot.invalid}});
  }
  for (const replay::GfnRange& range : vm.private_gfns) {
    gfns.push_back({{"gfn", range.start}, {"npages", range.end - range.start}});
  }
  for (const replay::RootState& root : vm.roots) {
    json ranges = json::array();
    for (const replay::MappedRange& range : root.ranges) {
      json one = {{"gfn", range.gfn}, {"npages", range.npages}, {"level", range.level},
                  {"what", range.what}};
      if (range.leaf) one["pfn"] = range.pfn;
      ranges.push_back(std::move(one));
    }
    roots.push_back({{"spt", root.spt}, {"role", root.role}, {"references", root.refs},
                     {"invalid", root.invalid}, {"mirror", root.mirror}, {"ranges", ranges}});
  }
  json state = {{"schema", kJsonSchema}, {"vm", vm.vm}, {"followed", !vm.abandoned},
                {"slots", slots}, {"private", gfns},
                {"invalidation", {{"seq", vm.invalidate_seq}, {"in_progress", vm.invalidations}}},
                {"roots", roots}};
  if (vm.invalidations != 0) {
    state["invalidation"]["start"] = vm.invalidating.start;
    state["invalidation"]["end"] = vm.invalidating.end;
  }
  return state;
}

}  // namespace mmucheck::cli
