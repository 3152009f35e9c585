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
    if (vm.td && (root.spt == vm.td->direct_spt || root.spt == vm.td->mirror_spt)) continue;
    for (const replay::MappedRange& range : root.ranges) s += "    " + text_of(range) + '\n';
  }
  if (!vm.td) return s;
  for (const std::string& line : td_lines(*vm.td)) s += "  " + line + '\n';
  return s;
}

namespace {

nlohmann::ordered_json side_json(const replay::TdSide& side) {
  if (side.level == 0) return nullptr;
  nlohmann::ordered_json one = {{"level", side.level}, {"what", side.what}};
  if (side.page) one["pfn"] = side.pfn;
  return one;
}

const char* match_name(replay::MirrorMatch match) {
  switch (match) {
    case replay::MirrorMatch::kAgree: return "agree";
    case replay::MirrorMatch::kDiffer: return "differ";
    case replay::MirrorMatch::kFrozen: return "frozen";
    case replay::MirrorMatch::kNotCompared: break;
  }
  return "not compared";
}

nlohmann::ordered_json row_json(const replay::TdRow& row) {
  nlohmann::ordered_json one = {{"gfn", row.gfn},
                                {"npages", row.npages},
                                {"direct", side_json(row.direct)},
                                {"mirror", side_json(row.mirror)},
                                {"sept", side_json(row.sept)},
                                {"mirror_and_sept", match_name(row.match)}};
  if (row.has_page) one["pamt"] = {{"page", row.page}, {"type", row.pamt}};
  if (row.blocked) {
    one["pamt"]["bepoch"] = row.bepoch;
    one["tracked"] = row.tracked;
  }
  if (!row.attributes.empty()) one["attributes"] = row.attributes;
  return one;
}

nlohmann::ordered_json td_json(const replay::TdState& td) {
  using json = nlohmann::ordered_json;
  json rows = json::array(), vcpus = json::array(), cached = json::array(), pamt = json::object();
  for (const replay::TdRow& row : td.rows) rows.push_back(row_json(row));
  for (const replay::TdVcpu& vcpu : td.vcpus) {
    json one = {{"vcpu", vcpu.vcpu}, {"epoch", vcpu.epoch}, {"inside", vcpu.inside}};
    if (vcpu.associated) one["cpu"] = vcpu.cpu;
    vcpus.push_back(std::move(one));
  }
  for (const replay::CachedRoot& c : td.cached) {
    cached.push_back({{"cpu", c.cpu}, {"root", c.spt}});
  }
  for (const auto& [type, count] : td.pamt) pamt[type] = count;
  json all = {{"rows", rows}, {"hooks", td.hooks}, {"cached", cached}};
  if (!td.module) return all;
  all["op_state"] = td.op_state;
  all["lifecycle"] = td.lifecycle;
  all["hkid_assigned"] = td.hkid_assigned;
  all["chldcnt"] = td.chldcnt;
  all["pamt"] = pamt;
  all["sept_root"] = td.sept_root;
  all["epoch"] = td.epoch;
  all["inside"] = td.inside_now;
  all["inside_before"] = td.inside_before;
  all["vcpus"] = vcpus;
  return all;
}

}  // namespace

nlohmann::ordered_json state_json(const replay::VmState& vm) {
  using json = nlohmann::ordered_json;
  json slots = json::array(), gfns = json::array(), roots = json::array();
  for (const replay::SlotState& slot : vm.slots) {
    slots.push_back({{"as_id", slot.as_id},
                     {"id", slot.id},
                     {"base_gfn", slot.base},
                     {"npages", slot.npages},
                     {"hva", slot.hva},
                     {"flags", slot.flags},
                     {"invalid", slot.invalid}});
  }
  for (const replay::GfnRange& range : vm.private_gfns) {
    gfns.push_back({{"gfn", range.start}, {"npages", range.end - range.start}});
  }
  for (const replay::RootState& root : vm.roots) {
    json ranges = json::array();
    for (const replay::MappedRange& range : root.ranges) {
      json one = {{"gfn", range.gfn},
                  {"npages", range.npages},
                  {"level", range.level},
                  {"what", range.what}};
      if (range.leaf) one["pfn"] = range.pfn;
      ranges.push_back(std::move(one));
    }
    roots.push_back({{"spt", root.spt},
                     {"role", root.role},
                     {"references", root.refs},
                     {"invalid", root.invalid},
                     {"mirror", root.mirror},
                     {"ranges", ranges}});
  }
  json state = {{"schema", kJsonSchema},
                {"vm", vm.vm},
                {"followed", !vm.abandoned},
                {"slots", slots},
                {"private", gfns},
                {"invalidation", {{"seq", vm.invalidate_seq}, {"in_progress", vm.invalidations}}},
                {"roots", roots}};
  if (vm.invalidations != 0) {
    state["invalidation"]["start"] = vm.invalidating.start;
    state["invalidation"]["end"] = vm.invalidating.end;
  }
  if (vm.td) state["td"] = td_json(*vm.td);
  return state;
}

}  // namespace mmucheck::cli
