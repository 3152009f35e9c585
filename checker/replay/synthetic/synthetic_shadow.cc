// What the shadow MMU does in a hand-written trace: mmu_set_spte() and the split of a huge page,
// with what the guest's page tables say. The rules of the catalogue are evaluated on what is cached
// then.
#include <fmt/format.h>

#include "checker/replay/synthetic/synthetic_replayer.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT: rules by name
using invariant::id;
namespace f = trace::f;
using trace::Event;

namespace {

constexpr uint64_t kFrames = uint64_t{1} << 40;  // 52 address bits

bool aligned(uint64_t frame, int level) {
  return (frame & (pages_per_hpage(level) - 1)) == 0;
}

}  // namespace

// `given`: by the guest's page tables, or by a fault.
void SyntheticReplayer::check_shadow(Vm& v, const Event& e, invariant::Id rule, uint64_t given,
                                     uint64_t kept) {
  v.monitor->check(rule, given == kept);
  v.monitor->broken().clear();
  if (given != kept) {
    violated(e, nullptr, rule, fmt::format("given {:x}", given), fmt::format("kept {:x}", kept));
  }
}

void SyntheticReplayer::shadow_set_spte(const Event& e, Vm& v) {
  namespace x = f::shadow_set_spte;
  const ReplayWorld& w = v.model->world;
  const ShadowRules rules = shadow_rules(w.design);
  const uint64_t index = e.get(x::index), level = e.get_or(x::level, 1);
  const uint64_t gfn = e.get(x::gfn), pfn = e.get(x::pfn), access = e.get(x::access);
  if (index >= kSpteEntPerPage) return refuse(e, "a page has 512 entries");
  if (level < 1 || level > kMaxHugepageLevel) return refuse(e, "leafs are of level 1 to 3");
  MakeSpte in;
  in.level = static_cast<int>(level);
  if (gfn >= kFrames || pfn >= kFrames || !aligned(gfn, in.level) || !aligned(pfn, in.level)) {
    return refuse(e, "gfn and pfn are below 2^40 and aligned to the level");
  }
  if (access > low_bits(rules.layout.access_bits)) {
    return refuse(e, fmt::format("role.access has {} bits", rules.layout.access_bits));
  }
  const auto known = v.shadow_pages.find(e.get(x::spt_pfn));
  const bool has_page = known != v.shadow_pages.end();
  if (has_page && known->second.level != in.level) return refuse(e, "the page has another level");
  if (!has_page || !known->second.leafs.contains(static_cast<uint32_t>(index))) {
    if (v.shadow_leafs >= kMaxShadowLeafs) {
      return refuse(e, fmt::format("more than {} leafs of shadow pages", kMaxShadowLeafs));
    }
    v.shadow_leafs++;
  }
  ShadowPage& page = v.shadow_pages[e.get(x::spt_pfn)];
  page.level = in.level;
  in.access = static_cast<unsigned>(access);
  in.ad_disabled = !w.host.ad_bits;
  in.host_writable = e.get_or(x::map_writable, 1) != 0;
  in.nx_huge_page_enabled = w.host.nx_huge_pages;
  ShadowEntry& entry = page.leafs[static_cast<uint32_t>(index)];
  entry.leaf = model::shadow_set_spte<>(w.fmt, rules, in, entry.leaf, gfn, pfn);
  entry.made = in;
  check_shadow(v, e, id("MMU-SHADOW-ACCESS"), access,
               shadowed_access<>(rules.layout, entry.leaf.translation));
  check_shadow(v, e, id("MMU-SHADOW-GFN"), gfn,
               shadowed_gfn<>(rules.layout, entry.leaf.translation));
  check_shadow(v, e, id("MMU-SHADOW-RMAP"), gfn, entry.leaf.rmap_gfn);
}

void SyntheticReplayer::shadow_split(const Event& e, Vm& v) {
  namespace x = f::shadow_split;
  const ReplayWorld& w = v.model->world;
  const ShadowRules rules = shadow_rules(w.design);
  const auto page = v.shadow_pages.find(e.get(x::spt_pfn));
  if (page == v.shadow_pages.end()) return refuse(e, "there is no such shadow page");
  if (page->second.level == kPgLevel4K) return refuse(e, "a page of level 1 has no huge leafs");
  const uint64_t index = e.get(x::index);
  const auto at = index < kSpteEntPerPage ? page->second.leafs.find(static_cast<uint32_t>(index))
                                          : page->second.leafs.end();
  if (at == page->second.leafs.end()) return refuse(e, "there is no such leaf");
  const ShadowEntry& entry = at->second;
  const uint64_t access = shadow_child_access<>(w.fmt, rules, entry.leaf);
  check_shadow(v, e, id("MMU-SHADOW-CHILD"), entry.made.access, access);
  MakeSpte fault = entry.made;
  fault.level--;
  const uint64_t pfn = spte_to_pfn<>(entry.leaf.spte);
  const uint64_t given = spte_permissions<>(w.fmt, make_spte<>(w.fmt, fault, pfn, kNonpresent));
  for (uint64_t i = 0; i < kSpteEntPerPage; i++) {
    const uint64_t child =
        shadow_child_spte<>(w.fmt, entry.leaf.spte, access, fault.level, i, w.host.nx_huge_pages);
    const uint64_t permissions = spte_permissions<>(w.fmt, child);
    check_shadow(v, e, id("MMU-SHADOW-CHILD"), given, permissions);
    if (permissions != given) break;  // of all in the same way
  }
  page->second.leafs.erase(at);
  if (page->second.leafs.empty()) v.shadow_pages.erase(page);
  v.shadow_leafs--;
}

}  // namespace mmucheck::replay
