// model/vm: which large pages a memslot has, and which of them a change of a range cuts. Pure rules
// over a domain; slots and their lpage_info are read by who asks (memslot.h).
//
// gfns and lengths in 4 KiB frames, ends exclusive, levels 2 and 3. `base` and `npages` are the
// slot's, `ugfn` the frame of its first user-space address. A slot is not empty and ends below
// 2^64. Source: kvm_host.h (gfn_to_index), x86.c (kvm_alloc_memslot_metadata), mmu.c
// (hugepage_has_attrs, kvm_arch_pre_set_memory_attributes).
#pragma once

#include "model/address/address.h"

namespace mmucheck::model {

// gfn_to_index.
template <class D = Concrete>
constexpr U64Of<D> gfn_to_index(U64Of<D> gfn, U64Of<D> base, int level) {
  return (gfn >> (9 * (level - 1))) - (base >> (9 * (level - 1)));
}

// The entries of lpage_info at `level`.
template <class D = Concrete>
constexpr U64Of<D> lpage_entries(U64Of<D> base, U64Of<D> npages, int level) {
  return gfn_to_index<D>(base + npages - U64Of<D>(1), base, level) + U64Of<D>(1);
}

// Can the large page of that entry never be: a head or tail that is not a whole one, or any where
// gfn and hva are not congruent?
template <class D = Concrete>
constexpr BoolOf<D> never_large(U64Of<D> base, U64Of<D> npages, U64Of<D> ugfn, int level,
                                U64Of<D> index) {
  const U64Of<D> low(pages_per_hpage(level) - 1);
  const U64Of<D> zero(0);
  const BoolOf<D> head = index == zero && (base & low) != zero;
  const BoolOf<D> tail = index + U64Of<D>(1) == lpage_entries<D>(base, npages, level) &&
                         ((base + npages) & low) != zero;
  return head || tail || ((base ^ ugfn) & low) != zero;
}

// Is the large page at `gfn` wholly inside the slot?
template <class D = Concrete>
constexpr BoolOf<D> large_page_in_slot(U64Of<D> base, U64Of<D> npages, U64Of<D> gfn, int level) {
  return gfn >= base && gfn + U64Of<D>(pages_per_hpage(level)) <= base + npages;
}

// The large pages that hold the first and the last frame of [start, end), and whether the range
// cuts them. A page that holds both is the head's.
template <class D = Concrete>
struct CutPages {
  U64Of<D> head, tail;
  BoolOf<D> cuts_head, cuts_tail;
};
template <class D = Concrete>
constexpr CutPages<D> cut_pages(U64Of<D> start, U64Of<D> end, int level) {
  const U64Of<D> pages(pages_per_hpage(level));
  const U64Of<D> head = gfn_round_for_level<D>(start, level);
  const U64Of<D> tail = gfn_round_for_level<D>(end - U64Of<D>(1), level);
  return {head, tail, head != start || head + pages > end, tail != head && tail + pages > end};
}

}  // namespace mmucheck::model
