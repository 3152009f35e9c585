// Layer: checker/invariant. Contract: the predicates of the catalogue that model/ does not report
// by itself, as pure rules over a value domain: true where the invariant holds. Each is written for
// one instance; who evaluates it when is monitor.h's business.
//
// gfns and pfns in 4 KiB frames, levels 1..5, values are whole SPTE words. The source of each rule
// is the catalogue's.
#pragma once

#include "model/address/alias.h"
#include "model/spte/change.h"
#include "model/tdp/roots.h"

namespace mmucheck::invariant {

using model::BoolOf;
using model::Concrete;
using model::SpteFormat;
using model::U64Of;

inline constexpr uint64_t kSuppressVe = uint64_t{1} << 63;
inline constexpr uint64_t kRwx = 7;
inline constexpr uint64_t kMmioPermissions = 6;  // W and X without R: a misconfiguration

// MMU-NX-EXEC. Exempt: leafs that were installed before the workaround was switched on, because the
// rule is evaluated where a leaf is installed.
template <class D = Concrete>
constexpr BoolOf<D> nx_huge_leaf(const SpteFormat& f, U64Of<D> spte, int level, bool workaround) {
  if (level == model::kPgLevel4K || !workaround) return true;
  return !(model::is_shadow_present_pte<D>(spte) && model::is_last_spte<D>(spte, level) &&
           model::is_executable_pte<D>(f, spte));
}

// MMU-SPTE-VE, for EPT.
template <class D = Concrete>
constexpr BoolOf<D> ve_suppressed(U64Of<D> spte) {
  return (spte & U64Of<D>(kSuppressVe)) != U64Of<D>(0) ||
         (spte & U64Of<D>(kRwx)) == U64Of<D>(kMmioPermissions);
}

// MMU-SPTE-RSVD: address bits that the CPU does not have.
template <class D = Concrete>
constexpr BoolOf<D> within_maxphyaddr(U64Of<D> spte, int maxphyaddr) {
  const uint64_t usable = (uint64_t{1} << maxphyaddr) - 1;
  return !model::is_shadow_present_pte<D>(spte) ||
         (spte & U64Of<D>(model::kPfnMask & ~usable)) == U64Of<D>(0);
}

// MMU-SPTE-MMIOMASK.
template <class D = Concrete>
constexpr BoolOf<D> mmio_within_mask(U64Of<D> value, U64Of<D> mask, U64Of<D> frozen) {
  return (value & ~mask) == U64Of<D>(0) &&
         (mask == U64Of<D>(0) || (frozen & mask) != value);
}

// MMU-SPTE-FROZEN: `old_spte` of a change that the caller makes with the write lock held. The
// children of a table that is removed are exempt as far as their *new* value goes.
template <class D = Concrete>
constexpr BoolOf<D> exclusive_finds_no_frozen(const SpteFormat& f, U64Of<D> old_spte, bool shared) {
  if (shared) return true;
  return !model::is_frozen_spte<D>(f, old_spte);
}

// MMU-NX-LIST: `listed` tables on the list, `counted` by the TDP MMU. Exempt: what recovery of 7.x
// books as shadow pages (mmu.c: unaccount_nx_huge_page), which is subtracted in `shadow`.
template <class D = Concrete>
constexpr BoolOf<D> nx_list_counted(U64Of<D> listed, U64Of<D> counted, U64Of<D> shadow) {
  return listed == counted + shadow;
}

// MMU-PT-TREE: a table of `level` at `gfn` under the entry of `parent_level` for `entry_gfn`.
template <class D = Concrete>
constexpr BoolOf<D> child_fits(int level, U64Of<D> gfn, int parent_level, U64Of<D> entry_gfn) {
  if (level + 1 != parent_level) return false;
  return gfn == entry_gfn;
}
// MMU-PT-TREE: where leafs may stand.
constexpr bool leaf_level_allowed(int level) { return level <= model::kMaxHugepageLevel; }

// MMU-PT-ALIAS: the levels below a root of `root_level` index every bit of the gfn.
template <class D = Concrete>
constexpr BoolOf<D> gfn_has_its_place(U64Of<D> gfn, int root_level) {
  return (gfn >> (9 * root_level)) == U64Of<D>(0);
}

// MMU-WALK-INDEX: `index` in a table of `level` is where the hardware's walk goes for `gfn`, with the
// bit of the root's half or without it.
template <class D = Concrete>
constexpr BoolOf<D> entry_is_walked(model::Gfn<D> gfn, U64Of<D> direct_bits, bool mirror, int level,
                                    U64Of<D> index) {
  const U64Of<D> alias = model::gfn_for_root<D>(direct_bits, mirror, gfn).v;
  return model::walk_index<D>({alias << model::kPageShift}, level) == index;
}

// MMU-FAULT-CONGRUENT.
template <class D = Concrete>
constexpr BoolOf<D> congruent(U64Of<D> gfn, U64Of<D> pfn, int level) {
  return ((gfn ^ pfn) & U64Of<D>(model::pages_per_hpage(level) - 1)) == U64Of<D>(0);
}

// MMU-DIRTY-HUGE. Exempt: huge leafs from before logging began.
template <class D = Concrete>
constexpr BoolOf<D> logged_leaf_small(U64Of<D> spte, int level, BoolOf<D> logged) {
  if (level == model::kPgLevel4K) return true;
  return !(logged && model::is_shadow_present_pte<D>(spte) &&
           model::is_last_spte<D>(spte, level) && model::is_writable_pte<D>(spte));
}

// MMU-ROOT-MIRROR: the kinds of roots that an invalidation names while the VM lives.
template <class D = Concrete>
constexpr BoolOf<D> mirror_roots_stay(U64Of<D> root_types) {
  return (root_types & model::kMirrorRoots) == 0;
}

// MMU-DIRTY-WRTRACK.
template <class D = Concrete>
constexpr BoolOf<D> tracked_not_writable(U64Of<D> spte, BoolOf<D> tracked) {
  return !(tracked && model::is_shadow_present_pte<D>(spte) && model::is_writable_pte<D>(spte));
}

// MMU-DIRTY-SPLIT: what a split starts from.
template <class D = Concrete>
constexpr BoolOf<D> splittable(U64Of<D> spte, int level) {
  if (level <= model::kPgLevel4K || level > model::kMaxHugepageLevel) return false;
  return model::is_shadow_present_pte<D>(spte) && model::is_large_pte<D>(spte);
}

// MMU-FAULT-RET, MMU-FAULT-PREFAULT: RET_PF_CONTINUE is 0, RETRY 1, INVALID 4.
template <class D = Concrete>
constexpr BoolOf<D> result_leaves_handler(U64Of<D> ret) {
  return ret != U64Of<D>(0) && ret != U64Of<D>(4);
}
template <class D = Concrete>
constexpr BoolOf<D> prefault_ends_with(U64Of<D> ret) {
  return result_leaves_handler<D>(ret) && ret != U64Of<D>(1);
}

// MMU-INV-RETRY: `start` is the first gfn of the range, all ones while it is empty.
template <class D = Concrete>
constexpr BoolOf<D> open_invalidation_has_range(U64Of<D> in_progress, U64Of<D> start) {
  return in_progress == U64Of<D>(0) || start != ~U64Of<D>(0);
}

// MMU-ATTR-LEAF.
template <class D = Concrete>
constexpr BoolOf<D> kind_as_attributes_say(BoolOf<D> is_private, U64Of<D> attributes) {
  const BoolOf<D> wants_private = (attributes & U64Of<D>(8)) != U64Of<D>(0);
  return (is_private && wants_private) || (!is_private && !wants_private);
}

}  // namespace mmucheck::invariant
