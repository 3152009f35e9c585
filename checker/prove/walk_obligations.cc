// Walks: which entry of a root serves a gfn, what the hardware reads, what an iterator visits.
#include <fmt/format.h>

#include "checker/prove/groups.h"
#include "model/address/alias.h"

namespace mmucheck::prove {
namespace {

using namespace model;

struct Root {
  int gpaw;
  bool mirror;

  int level() const { return gpaw == 48 ? 4 : 5; }
  U direct_bits() const { return U(gfn_direct_bits_for_gpaw(gpaw)); }
  std::string name() const {
    return fmt::format("GPAW {}, {} root", gpaw, mirror ? "mirror" : "direct");
  }
  std::string name(int at) const { return fmt::format("{}, level {}", name(), at); }
};
constexpr Root kRoots[] = {{48, true}, {48, false}, {52, true}, {52, false}};

// The gpa by which a guest reaches `gfn` through the root: shared for the direct one.
Gpa<T> guest_gpa(const Root& r, const U& gfn) {
  return {(r.mirror ? gfn : gfn | r.direct_bits()) << kPageShift};
}

using Index = U (*)(const Root&, const U& gfn, int level);

std::vector<Query> index_is_hardwares(Index index) {
  std::vector<Query> q;
  for (const Root& r : kRoots) {
    const U gfn = var("gfn");
    for (int level = r.level(); level >= 1; level--) {
      const U hardware = walk_index<T>(guest_gpa(r, gfn), level);
      const U chosen = index(r, gfn, level);
      q.push_back({r.name(level),
                   gfn < r.direct_bits(),
                   chosen == hardware,
                   {{"index", chosen}, {"hardware_index", hardware}}});
    }
  }
  return q;
}

std::vector<Query> kvm_index() {
  return index_is_hardwares([](const Root& r, const U& gfn, int level) {
    return spte_index<T>(gfn | gfn_bits_of_root<T>(r.direct_bits(), r.mirror), level);
  });
}
std::vector<Query> sketch_index() {
  return index_is_hardwares([](const Root& r, const U& gfn, int level) {
    return seed000_index<T>({gfn}, seed000_gfn_shared_mask<T>(r.direct_bits(), r.mirror), level);
  });
}
// Read kindly: the mask shifted to where the shared bit of an address is.
std::vector<Query> sketch_index_gpa_mask() {
  return index_is_hardwares([](const Root& r, const U& gfn, int level) {
    const U mask = seed000_gfn_shared_mask<T>(r.direct_bits(), r.mirror);
    return seed000_index<T>({gfn}, mask << kPageShift, level);
  });
}
// The polarity mended, the unit not.
std::vector<Query> sketch_index_polarity() {
  return index_is_hardwares([](const Root& r, const U& gfn, int level) {
    return seed000_index<T>({gfn}, seed000_gfn_shared_mask<T>(r.direct_bits(), !r.mirror), level);
  });
}
// Both mended.
std::vector<Query> sketch_index_mended() {
  return index_is_hardwares([](const Root& r, const U& gfn, int level) {
    const U mask = seed000_gfn_shared_mask<T>(r.direct_bits(), !r.mirror);
    return seed000_index<T>({gfn}, mask << kPageShift, level);
  });
}

// `bit` is what was OR-ed in when the mapping was installed: the shared bit or nothing.
std::vector<Query> shared_found_iff() {
  std::vector<Query> q;
  for (const Root& r : kRoots) {
    if (r.mirror) continue;
    const U gfn = var("gfn"), bit = var("bit");
    B found = true;
    for (int level = 1; level <= r.level(); level++) {
      found = found && spte_index<T>(gfn | bit, level) == walk_index<T>(guest_gpa(r, gfn), level);
    }
    q.push_back({r.name(),
                 gfn < r.direct_bits() && (bit == U(0) || bit == r.direct_bits()),
                 iff(found, bit == r.direct_bits()),
                 {{"found", number(found)}}});
  }
  return q;
}

// Only the level whose table spans the shared bit tells the two halves apart.
std::vector<Query> root_tells_halves() {
  std::vector<Query> q;
  for (const Root& r : kRoots) {
    if (r.mirror) continue;
    const U gfn = var("gfn");
    for (int level = r.level(); level >= 1; level--) {
      const B same = spte_index<T>(gfn, level) == spte_index<T>(gfn | r.direct_bits(), level);
      q.push_back({r.name(level), gfn < r.direct_bits(), level == r.level() ? !same : same, {}});
    }
  }
  return q;
}

std::vector<Query> index_injective() {
  std::vector<Query> q;
  for (const Root& r : kRoots) {
    const U a = var("gfn_a"), b = var("gfn_b");
    const U bits = gfn_bits_of_root<T>(r.direct_bits(), r.mirror);
    B same_path = true;
    for (int level = 1; level <= r.level(); level++) {
      same_path = same_path && spte_index<T>(a | bits, level) == spte_index<T>(b | bits, level);
    }
    q.push_back({r.name(), a < r.direct_bits() && b < r.direct_bits() && same_path, a == b, {}});
  }
  return q;
}

Query entry_gfn_query(const Root& r, int level) {
  const U gfn = var("gfn");
  const Gfn<T> sp_gfn{level == r.level() ? U(0) : gfn_round_for_level<T>(gfn, level + 1)};
  const U index = spte_index<T>(gfn | gfn_bits_of_root<T>(r.direct_bits(), r.mirror), level);
  const Gfn<T> reckoned = entry_gfn<T>(sp_gfn, index, level);
  return {r.name(level),
          gfn < r.direct_bits(),
          reckoned.v == gfn_round_for_level<T>(gfn, level),
          {{"sp_gfn", sp_gfn.v}, {"index", index}, {"reckoned", reckoned.v}}};
}

std::vector<Query> entry_gfn_below_root() {
  std::vector<Query> q;
  for (const Root& r : kRoots) {
    for (int level = r.level() - 1; level >= 1; level--) q.push_back(entry_gfn_query(r, level));
  }
  return q;
}
std::vector<Query> entry_gfn_at_root() {
  std::vector<Query> q;
  for (const Root& r : kRoots) q.push_back(entry_gfn_query(r, r.level()));
  return q;
}
std::vector<Query> entry_gfn_at_mirror_root() {
  std::vector<Query> q;
  for (const Root& r : kRoots) {
    if (r.mirror) q.push_back(entry_gfn_query(r, r.level()));
  }
  return q;
}

}  // namespace

std::vector<Obligation> walk_obligations() {
  constexpr std::string_view bound = "GPAW 48 and 52, both roots, every gfn and level";
  constexpr std::string_view sketch = "seed 000: tdp_iter_refresh_sptep of the proposal";
  return {
      {"walk.kvm-index",
       "the index with the root's bits OR-ed in is the entry that the hardware reads",
       "tdp_iter.c: tdp_iter_refresh_sptep", bound, kvm_index},
      {"walk.shared-found-iff-installed-with-bit",
       "the hardware finds a shared mapping iff it was installed with the shared bit",
       "seed 000; tdp_iter.c: tdp_iter_refresh_sptep", "GPAW 48 and 52, every gfn",
       shared_found_iff},
      {"walk.root-tells-halves",
       "the two halves differ in the index at the root's level and at no other",
       "spte.h: SPTE_INDEX", "GPAW 48 and 52, every gfn and level", root_tells_halves},
      {"walk.sketch-index", "the sketched index selects the entry that the hardware reads", sketch,
       bound, sketch_index},
      {"walk.sketch-index.gpa-mask",
       "the sketched index, its mask in bytes as an address needs it, is the hardware's", sketch,
       bound, sketch_index_gpa_mask},
      {"walk.sketch-index.polarity",
       "the sketched index, its mask set if not mirrored but in frames, is the hardware's", sketch,
       bound, sketch_index_polarity},
      {"walk.sketch-index.mended",
       "the sketched index, its mask set if not mirrored and in bytes, is the hardware's", sketch,
       bound, sketch_index_mended},
      {"walk.index-injective", "two gfns with the same index at every level are the same gfn",
       "spte.h: SPTE_INDEX", "GPAW 48 and 52, both roots, every gfn", index_injective},
      {"walk.entry-gfn.below-root",
       "sp->gfn without the shared bit and the index give the gfn that the entry maps",
       "tdp_mmu.c: handle_removed_pt; mmu.c: kvm_mmu_page_get_gfn",
       "GPAW 48 and 52, both roots, levels below the root", entry_gfn_below_root},
      {"walk.entry-gfn.mirror-root",
       "sp->gfn and the index give the gfn of the entries of a mirror root itself",
       "mmu.c: kvm_mmu_page_get_gfn", "GPAW 48 and 52", entry_gfn_at_mirror_root},
      {"walk.entry-gfn.at-root",
       "sp->gfn and the index give the gfn of the entries of any root itself",
       "mmu.c: kvm_mmu_page_get_gfn", "GPAW 48 and 52, both roots", entry_gfn_at_root},
  };
}

}  // namespace mmucheck::prove
