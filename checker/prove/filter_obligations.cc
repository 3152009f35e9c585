// Filters: which alias an unmap zaps and which flush it returns, in each encoding (seed 001).
#include <fmt/format.h>

#include <array>

#include "checker/prove/groups.h"
#include "checker/prove/vm_kind.h"
#include "model/tdp/alias.h"

namespace mmucheck::prove {
namespace {

using namespace model;

struct NamedCaller {
  const char* name;
  UnmapCaller caller;
};
constexpr NamedCaller kCallers[] = {{"notifier", UnmapCaller::kNotifier},
                                    {"guest_memfd", UnmapCaller::kGmem},
                                    {"attributes to private", UnmapCaller::kToPrivate},
                                    {"attributes to shared", UnmapCaller::kToShared},
                                    {"slot", UnmapCaller::kSlot}};

// What an encoding makes of a caller.
using Zapped = AliasesZapped (*)(bool td, UnmapCaller);
AliasesZapped by_v19(bool td, UnmapCaller c) {
  return v19_aliases_zapped(td, only_flags_of(c));
}
AliasesZapped by_exclude(bool td, UnmapCaller c) {
  return aliases_zapped(UnmapFilter::kExcludeFlags, td, attr_filter_of(c));
}
AliasesZapped by_design(const Design& d, bool td, UnmapCaller c) {
  return d.unmap_filter == UnmapFilter::kOnlyPrivateShared
             ? by_v19(td, c)
             : aliases_zapped(d.unmap_filter, td, attr_filter_of(c));
}
bool in_root(AliasesZapped z, bool mirror) {
  return mirror ? z.in_mirror : z.in_direct;
}

// A leaf of a root for `gfn`, without the shared bit, and a range below it.
struct LeafInRange {
  U gfn = var("gfn"), start = var("start"), end = var("end");
  B premise(uint64_t bits) const {
    const B below = bits == 0 ? B(true) : end < U(bits) && gfn < U(bits);
    return start < end && below && end < U(uint64_t{1} << 40);
  }
  B zapped(bool selected) const { return selected ? start <= gfn && gfn < end : B(false); }
};

template <class Make>
std::vector<Query> each_caller(std::span<const VmKind> vms, Make make) {
  std::vector<Query> q;
  for (const VmKind& vm : vms) {
    for (const NamedCaller& c : kCallers) {
      Query one = make(vm, c.caller);
      one.instance = fmt::format("{}, {}", vm.name, c.name);
      q.push_back(one);
    }
  }
  return q;
}

Query same_leafs(const VmKind& vm, AliasesZapped a, AliasesZapped b, bool mirror) {
  const LeafInRange leaf;
  return {"",
          leaf.premise(vm.direct_bits()),
          iff(leaf.zapped(in_root(a, mirror)), leaf.zapped(in_root(b, mirror))),
          {{"first_zaps", number(leaf.zapped(in_root(a, mirror)))},
           {"second_zaps", number(leaf.zapped(in_root(b, mirror)))}}};
}
Query same_leafs_both(const VmKind& vm, AliasesZapped a, AliasesZapped b) {
  Query direct = same_leafs(vm, a, b, false);
  const Query mirror = same_leafs(vm, a, b, true);
  direct.conclusion = direct.conclusion && mirror.conclusion;
  direct.shown.clear();
  return direct;
}

std::vector<Query> exclude_equals_v19(bool mirror) {
  return each_caller(kVms, [mirror](const VmKind& vm, UnmapCaller c) {
    return same_leafs(vm, by_v19(vm.td, c), by_exclude(vm.td, c), mirror);
  });
}
std::vector<Query> exclude_equals_v19_private() {
  return exclude_equals_v19(true);
}
std::vector<Query> exclude_equals_v19_shared() {
  return exclude_equals_v19(false);
}

// The flush that comes back: the direct root is ahead of the mirror root. `visits` is whether a
// root that is spared is visited and answers for itself.
struct Flush {
  B owed, returned;
};
Flush flush_of(const Design& d, bool td, UnmapCaller c) {
  const AliasesZapped z = by_design(d, td, c);
  const B direct_leaf = var("direct_leaf") != U(0), mirror_leaf = var("mirror_leaf") != U(0);
  B owed = var("flush") != U(0);
  B flush = owed;
  if (z.in_direct) {
    flush = flush || direct_leaf;
    owed = owed || direct_leaf;
  }
  if (!td) return {owed, flush};
  if (z.in_mirror) {
    flush = flush || mirror_leaf;
    owed = owed || mirror_leaf;
  } else if (d.unmap_filter == UnmapFilter::kOnlyPrivateShared) {
    flush = flush_past_spared_root<T>(d.zap_drops_flush, flush);
  }
  return {owed, flush};
}

std::vector<Query> exclude_equals_v19_flush() {
  return each_caller(kVms, [](const VmKind& vm, UnmapCaller c) -> Query {
    const Flush a = flush_of(*find_design("v19"), vm.td, c);
    const Flush b = flush_of(*find_design("v19-exclude"), vm.td, c);
    return {"",
            true,
            iff(a.returned, b.returned),
            {{"v19", number(a.returned)}, {"exclude", number(b.returned)}}};
  });
}

std::vector<Query> flush_survives(const char* design) {
  return each_caller(kVms, [design](const VmKind& vm, UnmapCaller c) -> Query {
    const Flush f = flush_of(*find_design(design), vm.td, c);
    return {"", true, implies(f.owed, f.returned), {{"returned", number(f.returned)}}};
  });
}
std::vector<Query> flush_survives_v8() {
  return flush_survives("v8");
}
std::vector<Query> flush_survives_v19() {
  return flush_survives("v19");
}
std::vector<Query> flush_survives_exclude() {
  return flush_survives("v19-exclude");
}
std::vector<Query> flush_survives_7_x() {
  return flush_survives("upstream-7.x");
}

std::vector<Query> notifier_spares_private(const char* design) {
  std::vector<Query> q;
  for (const VmKind& vm : kTds) {
    const LeafInRange leaf;
    const AliasesZapped z = by_design(*find_design(design), vm.td, UnmapCaller::kNotifier);
    q.push_back({vm.name, leaf.premise(vm.direct_bits()), !leaf.zapped(z.in_mirror), {}});
  }
  return q;
}
std::vector<Query> notifier_v8() {
  return notifier_spares_private("v8");
}
std::vector<Query> notifier_v19() {
  return notifier_spares_private("v19");
}
std::vector<Query> notifier_exclude() {
  return notifier_spares_private("v19-exclude");
}
std::vector<Query> notifier_7_x() {
  return notifier_spares_private("upstream-7.x");
}

// A change of attributes makes illegal what the other half maps.
std::vector<Query> attributes_choose() {
  std::vector<Query> q;
  for (const VmKind& vm : kTds) {
    for (const char* design : {"v19-exclude", "upstream-7.x"}) {
      for (const bool to_private : {true, false}) {
        const LeafInRange leaf;
        const AliasesZapped z =
            by_design(*find_design(design), vm.td,
                      to_private ? UnmapCaller::kToPrivate : UnmapCaller::kToShared);
        const B in_range = leaf.start <= leaf.gfn && leaf.gfn < leaf.end;
        q.push_back(
            {fmt::format("{}, {}, to {}", vm.name, design, to_private ? "private" : "shared"),
             leaf.premise(vm.direct_bits()),
             iff(leaf.zapped(z.in_mirror), in_range && B(!to_private)) &&
                 implies(in_range && B(to_private), leaf.zapped(z.in_direct)),
             {}});
      }
    }
  }
  return q;
}

std::vector<Query> without(UnmapFilter simpler) {
  return each_caller(kVms, [simpler](const VmKind& vm, UnmapCaller c) {
    return same_leafs_both(vm, by_exclude(vm.td, c),
                           aliases_zapped(simpler, vm.td, attr_filter_of(c)));
  });
}
std::vector<Query> without_shared_mask() {
  return without(UnmapFilter::kExcludeUnguarded);
}
std::vector<Query> without_exclude_shared() {
  return without(UnmapFilter::kExcludePrivateOnly);
}

// tdp_mmu_zap_leafs of one root, for a root of either kind: `spares` is v19's zap_private argument,
// which there is none of in the exclude form.
std::vector<Query> same_for_both_roots(const char* design) {
  const Design& d = *find_design(design);
  std::vector<Query> q;
  for (const VmKind& vm : kTds) {
    for (const bool zap_private : {true, false}) {
      if (!zap_private && d.unmap_filter != UnmapFilter::kOnlyPrivateShared) continue;
      const LeafInRange leaf;
      const U bits(vm.direct_bits());
      B zaps[2] = {false, false}, flush[2] = {false, false};
      for (const bool mirror : {false, true}) {
        const WalkRange<T> walk =
            zap_range<T>(d.zap_bounds, d.iter_index, mirror, leaf.start, leaf.end, bits);
        const U entry = gfn_for_root<T>(mirror, leaf.gfn, bits);
        const bool spared = mirror && !zap_private;
        const B owed = var("flush") != U(0);
        zaps[mirror] = spared ? B(false) : walk.start <= entry && entry < walk.end;
        flush[mirror] =
            spared ? flush_past_spared_root<T>(d.zap_drops_flush, owed) : owed || zaps[mirror];
      }
      q.push_back({fmt::format("{}{}", vm.name, zap_private ? "" : ", zap_private is false"),
                   leaf.start < leaf.end && leaf.end <= bits && leaf.gfn < bits,
                   iff(zaps[0], zaps[1]) && iff(flush[0], flush[1]),
                   {{"direct_zaps", number(zaps[0])}, {"mirror_zaps", number(zaps[1])}}});
    }
  }
  return q;
}
std::vector<Query> same_for_both_roots_v19() {
  return same_for_both_roots("v19");
}
std::vector<Query> same_for_both_roots_exclude() {
  return same_for_both_roots("v19-exclude");
}

// Neither flag: (0, 0). v19 then goes by the attributes.
std::vector<Query> no_flags_v19() {
  std::vector<Query> q;
  for (const VmKind& vm : kVms) {
    for (const bool to_private : {false, true}) {
      Query one = same_leafs_both(vm, v19_aliases_zapped(vm.td, {false, false, to_private}),
                                  exclude_aliases_zapped(vm.td, true, false, false));
      one.instance =
          fmt::format("{}, attributes {}", vm.name, to_private ? "private" : "not private");
      q.push_back(one);
    }
  }
  return q;
}
std::vector<Query> no_flags_generic() {
  std::vector<Query> q;
  for (const VmKind& vm : kVms) {
    Query one = same_leafs_both(vm, generic_aliases_zapped(vm.td, {false, false, false}),
                                exclude_aliases_zapped(vm.td, true, false, false));
    one.instance = vm.name;
    q.push_back(one);
  }
  return q;
}

}  // namespace

std::vector<Obligation> filter_obligations() {
  constexpr std::string_view unmap = "v19 059 and seed 001: kvm_tdp_mmu_unmap_gfn_range";
  constexpr std::string_view zap = "v8 to v19: tdp_mmu_zap_leafs; seed 001";
  constexpr std::string_view every = "every VM kind and caller, every range and gfn";
  constexpr std::string_view flushes = "every VM kind and caller, every content of the roots";
  constexpr std::string_view tds = "GPAW 48 and 52, every range and gfn";
  return {
      {"filter.exclude-equals-v19.private-roots",
       "exclude_* and v19's form select the same leafs of private roots", unmap, every,
       exclude_equals_v19_private},
      {"filter.exclude-equals-v19.shared-roots",
       "exclude_* and v19's form select the same leafs of shared roots", unmap, every,
       exclude_equals_v19_shared},
      {"filter.exclude-equals-v19.flush", "exclude_* and v19's form return the same flush", unmap,
       flushes, exclude_equals_v19_flush},
      {"filter.flush-survives.v8", "v8: the flush owed by a zapped root survives later roots", zap,
       flushes, flush_survives_v8},
      {"filter.flush-survives.v19", "v19: the flush owed by a zapped root survives later roots",
       zap, flushes, flush_survives_v19},
      {"filter.flush-survives.exclude",
       "exclude form: the flush owed by a zapped root survives later roots", zap, flushes,
       flush_survives_exclude},
      {"filter.flush-survives.upstream",
       "7.x: the flush owed by a zapped root survives later roots",
       "tdp_mmu.c: kvm_tdp_mmu_unmap_gfn_range", flushes, flush_survives_7_x},
      {"filter.notifier-spares-private.v8", "v8: no notifier zaps a private leaf of a TD", unmap,
       tds, notifier_v8},
      {"filter.notifier-spares-private.v19", "v19: no notifier zaps a private leaf of a TD", unmap,
       tds, notifier_v19},
      {"filter.notifier-spares-private.exclude",
       "exclude form: no notifier zaps a private leaf of a TD", unmap, tds, notifier_exclude},
      {"filter.notifier-spares-private.upstream", "7.x: no notifier zaps a private leaf of a TD",
       "tdp_mmu.h: kvm_gfn_range_filter_to_root_types", tds, notifier_7_x},
      {"filter.attributes-choose-alias",
       "a change of attributes zaps what becomes illegal, and no private leaf that stays legal",
       "seed 001; mmu.c: kvm_arch_pre_set_memory_attributes", tds, attributes_choose},
      {"filter.without-shared-mask",
       "without the test of kvm_gfn_shared_mask() the same leafs are selected", unmap, every,
       without_shared_mask},
      {"filter.without-exclude-shared", "without exclude_shared the same leafs are selected", unmap,
       every, without_exclude_shared},
      {"filter.same-for-both-roots.v19",
       "v19: tdp_mmu_zap_leafs zaps and returns the same for a root of either kind", zap, tds,
       same_for_both_roots_v19},
      {"filter.same-for-both-roots.exclude",
       "exclude form: tdp_mmu_zap_leafs zaps and returns the same for a root of either kind", zap,
       tds, same_for_both_roots_exclude},
      {"filter.no-flags.v19", "(0, 0) asks for the same in v19's reading and in the exclude form",
       unmap, every, no_flags_v19},
      {"filter.no-flags.generic",
       "(0, 0) asks for the same in the generic series' reading and in the exclude form",
       "seed 001; kvm_main.c: kvm_gfn_range of the generic series", every, no_flags_generic},
  };
}

}  // namespace mmucheck::prove
