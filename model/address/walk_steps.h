// model/address: where a walk in order of gfn goes from an entry: down, to the side, up. Pure rules
// over a domain; what is there is read by who walks (model/tdp/iter.h).
//
// gfns in 4 KiB frames, without the direct bits; `gfn_bits` are those that a root's indices have.
// `next_last_level_gfn` is the gfn up to which the walk has come; the entry that it stands at holds
// it. Source: tdp_iter.c: try_step_down, try_step_side, try_step_up.
#pragma once

#include "model/address/address.h"

namespace mmucheck::model {

// The first gfn of the entry at `level` in which the walk goes on below, or begins again.
template <class D = Concrete>
constexpr U64Of<D> gfn_below(U64Of<D> next_last_level_gfn, int level) {
  return gfn_round_for_level<D>(next_last_level_gfn, level);
}

// Is the entry for `gfn` the last of its table?
template <class D = Concrete>
constexpr BoolOf<D> is_last_entry(U64Of<D> gfn, U64Of<D> gfn_bits, int level) {
  return spte_index<D>(gfn | gfn_bits, level) == U64Of<D>(kSpteEntPerPage - 1);
}

// The first gfn of the next entry of a table at `level`.
template <class D = Concrete>
constexpr U64Of<D> gfn_beside(U64Of<D> gfn, int level) {
  return gfn + U64Of<D>(pages_per_hpage(level));
}

// The first gfn of the entry at `level` above an entry for `gfn`.
template <class D = Concrete>
constexpr U64Of<D> gfn_above(U64Of<D> gfn, int level) {
  return gfn_round_for_level<D>(gfn, level);
}

}  // namespace mmucheck::model
