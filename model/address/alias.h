// model/address: the two halves of a TD's guest address space and who serves which: pure rules over
// a domain, as the kernel has them and as seed 000 discussed them.
//
// `direct_bits` is a gfn mask with the shared bit alone, 0 for a VM without one; `mirror` tells the
// root's kind and is structural. Sources: mmu.h and tdp_mmu.h (kvm_gfn_root_bits, 7.x), patch
// 059 of v19 (kvm_gfn_for_root), seed 000 for what is named after it.
#pragma once

#include "model/address/address.h"

namespace mmucheck::model {

// kvm_gfn_root_bits (7.x): what is OR-ed into a gfn to index a table below the root.
template <class D = Concrete>
constexpr U64Of<D> gfn_bits_of_root(U64Of<D> direct_bits, bool mirror) {
  return mirror ? U64Of<D>(0) : direct_bits;
}

// kvm_gfn_for_root (v8 to v19): the alias of `gfn` that the root maps.
template <class D = Concrete>
constexpr Gfn<D> gfn_for_root(U64Of<D> direct_bits, bool mirror, Gfn<D> gfn) {
  return {mirror ? gfn.v & ~direct_bits : gfn.v | direct_bits};
}

// Which entry of the table at `level` the CPU's (or the TDX module's) walk for `gpa` reads.
template <class D = Concrete>
constexpr U64Of<D> walk_index(Gpa<D> gpa, int level) {
  return (gpa.v >> (kPageShift + 9 * (level - 1))) & U64Of<D>(kSpteEntPerPage - 1);
}

// The gfn of entry `index` of a table at `level` whose first entry maps `sp_gfn` (sp->gfn), as
// handle_removed_pt and kvm_mmu_page_get_gfn reckon it.
template <class D = Concrete>
constexpr Gfn<D> entry_gfn(Gfn<D> sp_gfn, U64Of<D> index, int level) {
  return {sp_gfn.v + (index << (9 * (level - 1)))};
}

// --- seed 000: fault->addr without the shared bit, and the sketch of an iterator ---

// "fault->addr won't have the shared bit": the address that the handler is given.
template <class D = Concrete>
constexpr Gpa<D> seed000_stripped_addr(U64Of<D> direct_bits, Gpa<D> gpa) {
  return {gpa.v & ~(direct_bits << kPageShift)};
}

// "shared gfn_mask if mirrored_pt, 0 if !mirrored_pt": iter->gfn_shared_mask.
template <class D = Concrete>
constexpr U64Of<D> seed000_gfn_shared_mask(U64Of<D> direct_bits, bool mirrored_pt) {
  return mirrored_pt ? direct_bits : U64Of<D>(0);
}

// SPTE_INDEX((iter->gfn << PAGE_SHIFT) | iter->gfn_shared_mask, iter->level), to the letter: the
// mask is one of gfns and meets an address in bytes.
template <class D = Concrete>
constexpr U64Of<D> seed000_index(Gfn<D> gfn, U64Of<D> gfn_shared_mask, int level) {
  return walk_index<D>({(gfn.v << kPageShift) | gfn_shared_mask}, level);
}

// iter.gfn < kvm_gfn_for_root(kvm, root, end): the loop goes on at `gfn`.
template <class D = Concrete>
constexpr BoolOf<D> seed000_loop_goes_on(U64Of<D> direct_bits, bool mirror, Gfn<D> gfn,
                                         Gfn<D> end) {
  return gfn.v < gfn_for_root<D>(direct_bits, mirror, end).v;
}

}  // namespace mmucheck::model
