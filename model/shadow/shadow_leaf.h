// model/shadow: one leaf of a shadow page that has translations (sp->shadowed_translation), and
// what mmu_set_spte() and the split of a huge page make of it. Pure rules over a domain.
//
// gfns and pfns in 4 KiB frames, aligned to the leaf's level; access as role.access, structural.
// The rmap of a gfn lists entries that map it: `rmap_gfn` is the gfn whose rmap has this one. Not
// here: the pages' own life, unsync pages and sync_spte(), MMIO entries, which slot an rmap is of.
// Source: mmu.c: mmu_set_spte, rmap_add, drop_spte, kvm_mmu_page_set_access,
// shadow_mmu_split_huge_page; spte.c: make_small_spte; v2 of "Extend Eager Page Splitting to the
// shadow MMU" and the mails about it (seed 003).
#pragma once

#include "model/design/design.h"
#include "model/spte/shadowed_translation.h"
#include "model/spte/spte.h"

namespace mmucheck::model {

inline constexpr unsigned kAccRead = 8;  // ACC_READ_MASK, where role.access has four bits

struct ShadowRules {
  ShadowedLayout layout = kShadowedLanded;
  ShadowRewrite rewrite = ShadowRewrite::kAccess;
  ShadowSplitAccess split_access = ShadowSplitAccess::kCached;
};

constexpr ShadowRules shadow_rules(const Design& design) {
  ShadowRules r;
  r.layout.access_bits = design.role_access_bits;
  r.rewrite = design.shadow_rewrite;
  r.split_access = design.shadow_split_access;
  return r;
}

template <class D = Concrete>
struct ShadowLeaf {
  U64Of<D> spte = U64Of<D>(0);
  U64Of<D> translation = U64Of<D>(0);
  U64Of<D> rmap_gfn = U64Of<D>(0);
};

// mmu_set_spte: `in` has the level and the access of the guest's translation. A leaf of the same
// pfn stays on its rmap; any other is dropped and the new one added.
template <class D = Concrete>
constexpr ShadowLeaf<D> shadow_set_spte(const SpteFormat& f, const ShadowRules& rules,
                                        const MakeSpte& in, const ShadowLeaf<D>& leaf, U64Of<D> gfn,
                                        U64Of<D> pfn) {
  const BoolOf<D> was_rmapped =
      is_shadow_present_pte<D>(leaf.spte) && spte_to_pfn<D>(leaf.spte) == pfn;
  const U64Of<D> access = U64Of<D>(in.access);
  const U64Of<D> added = shadowed_translation<D>(rules.layout, gfn, access);
  U64Of<D> kept = leaf.translation;
  if (rules.rewrite == ShadowRewrite::kAccess) {
    kept = shadowed_translation<D>(rules.layout, shadowed_gfn<D>(rules.layout, kept), access);
  } else if (rules.rewrite == ShadowRewrite::kTranslation) {
    kept = added;
  }
  return {make_spte<D>(f, in, pfn, leaf.spte), D::ite(was_rmapped, kept, added),
          D::ite(was_rmapped, leaf.rmap_gfn, gfn)};
}

// What of an SPTE says who may access what; access tracking puts it aside. In 6.12's EPT reading is
// the user's right, so that an execute-only entry under the NX workaround looks like a tracked one.
template <class D = Concrete>
constexpr U64Of<D> spte_permissions(const SpteFormat& f, U64Of<D> spte) {
  const U64Of<D> shown =
      D::ite(is_access_track_spte<D>(f, spte), restore_acc_track_spte<D>(f, spte), spte);
  return shown & U64Of<D>(f.present | f.read | kPtWritable | f.user | f.exec | f.nx);
}

// The access that the SPTE itself gives; of a right that its format has no bit for, all.
template <class D = Concrete>
constexpr U64Of<D> shadow_spte_access(const SpteFormat& f, const ShadowedLayout& l, U64Of<D> spte) {
  const auto right = [](BoolOf<D> has, unsigned access) {
    return D::ite(has, U64Of<D>(access), U64Of<D>(0));
  };
  const U64Of<D> access = right(is_executable_pte<D>(f, spte), kAccExec) |
                          right(is_writable_pte<D>(spte), kAccWrite) |
                          right((spte & U64Of<D>(f.user)) == U64Of<D>(f.user), kAccUser);
  if (l.access_bits == 3) return access;
  return access | right(has_bits<D>(spte, f.present | f.read), kAccRead);
}

// role.access of the page that takes the place of a huge leaf.
template <class D = Concrete>
constexpr U64Of<D> shadow_child_access(const SpteFormat& f, const ShadowRules& rules,
                                       const ShadowLeaf<D>& leaf) {
  return rules.split_access == ShadowSplitAccess::kCached
             ? shadowed_access<D>(rules.layout, leaf.translation)
             : shadow_spte_access<D>(f, rules.layout, leaf.spte);
}

// make_small_spte: the workaround took X from the huge leaf alone.
template <class D = Concrete>
constexpr U64Of<D> shadow_child_spte(const SpteFormat& f, U64Of<D> huge, U64Of<D> child_access,
                                     int child_level, uint64_t index, bool nx_huge_page_enabled) {
  const U64Of<D> copied = make_huge_page_split_spte<D>(f, huge, child_level, index, false);
  if (!nx_huge_page_enabled) return copied;
  return D::ite((child_access & U64Of<D>(kAccExec)) != U64Of<D>(0),
                make_huge_page_split_spte<D>(f, huge, child_level, index, true), copied);
}

}  // namespace mmucheck::model
