// model/spte: one word of sp->shadowed_translation: the gfn that a shadowed entry maps and the access
// that the guest's page tables grant it, packed. Pure rules over a domain.
//
// gfns in 4 KiB frames, `access` as role.access. What does not fit is cut off, as the field of a
// struct or a shift does it. Source: v2 and v3 of "Cache the access bits of shadowed translations"
// (struct shadowed_translation_entry); mmu.c of 6.0 (kvm_mmu_page_set_translation,
// kvm_mmu_page_get_gfn, kvm_mmu_page_get_access); 7.3, whose access has a bit for reading.
#pragma once

#include "model/domain/concrete.h"

namespace mmucheck::model {

struct ShadowedLayout {
  int access_bits = 3;  // the low ones
  int gfn_bits = 56;
  int gfn_shift = 3;
};
inline constexpr ShadowedLayout kShadowedV2{3, 56, 3};
inline constexpr ShadowedLayout kShadowedV3{3, 52, 3};
inline constexpr ShadowedLayout kShadowedLanded{3, 52, 12};  // (gfn << PAGE_SHIFT) | access
inline constexpr ShadowedLayout kShadowed73{4, 52, 12};

constexpr uint64_t low_bits(int n) {
  return (uint64_t{1} << n) - 1;
}

template <class D = Concrete>
constexpr U64Of<D> shadowed_translation(const ShadowedLayout& l, U64Of<D> gfn, U64Of<D> access) {
  return ((gfn & U64Of<D>(low_bits(l.gfn_bits))) << l.gfn_shift) |
         (access & U64Of<D>(low_bits(l.access_bits)));
}
template <class D = Concrete>
constexpr U64Of<D> shadowed_gfn(const ShadowedLayout& l, U64Of<D> word) {
  return (word >> l.gfn_shift) & U64Of<D>(low_bits(l.gfn_bits));
}
template <class D = Concrete>
constexpr U64Of<D> shadowed_access(const ShadowedLayout& l, U64Of<D> word) {
  return word & U64Of<D>(low_bits(l.access_bits));
}

}  // namespace mmucheck::model
