// Layer: checker/invariant. Contract: the predicates of the catalogue that are about a TD: its
// S-EPT entries, its epochs, and what a zap may take of private memory. Pure rules over a value
// domain, true where the invariant holds; who evaluates them when is monitor.h's business.
//
// S-EPT entries are the module's words without lock bits, with the module's levels (0 = 4K); gfns
// in 4 KiB frames with KVM's levels. Sources: the catalogue's; TDX module 1.5, sept_manager.h.
#pragma once

#include "model/spte/change.h"
#include "model/tdx/sept_entry.h"

namespace mmucheck::invariant {

using model::BoolOf;
using model::Concrete;
using model::U64Of;

// TDX-SEPT-SHAPE. Exempt: the chunk counter of a large page that is being accepted.
template <class D = Concrete>
constexpr BoolOf<D> sept_entry_well_formed(U64Of<D> e, int level) {
  namespace tdx = model::tdx;
  using S = tdx::SeptEntryState;
  const U64Of<D> state = tdx::sept_state<D>(e);
  const BoolOf<D> leaf = tdx::is_sept_leaf<D>(e);
  const BoolOf<D> nonleaf = tdx::state_in<D>(state, tdx::sept_set(S::kNlMapped, S::kNlBlocked));
  const BoolOf<D> in_place = level == 0 ? !nonleaf : level <= 2 ? BoolOf<D>(true) : !leaf;
  const uint64_t low = tdx::kSeptHpa & ~tdx::sept_hpa_mask(level);
  const BoolOf<D> aligned =
      (e & U64Of<D>(low)) == U64Of<D>(0) || (level == 1 && tdx::is_pending<D>(e));
  return tdx::is_sept_state<D>(state) && in_place &&
         (e & U64Of<D>(tdx::kSeptRwx)) == tdx::sept_rwx<D>(state) && (!leaf || aligned) &&
         (!tdx::is_sept_free<D>(e) || (e & U64Of<D>(tdx::kSeptHpa)) == U64Of<D>(0));
}

// TDX-SEPT-TRACKED: a vCPU inside since `vcpu_epoch` has met the block of epoch `bepoch` when it
// entered.
template <class D = Concrete>
constexpr BoolOf<D> entered_after_block(U64Of<D> vcpu_epoch, U64Of<D> bepoch) {
  return vcpu_epoch > bepoch;
}

// TDX-EPOCH-RANGE: of a vCPU that is inside.
template <class D = Concrete>
constexpr BoolOf<D> epoch_is_recent(U64Of<D> vcpu_epoch, U64Of<D> td_epoch) {
  return vcpu_epoch == td_epoch || vcpu_epoch + U64Of<D>(1) == td_epoch;
}

// TDX-SEPT-PENDING: both leaves of one page, before and after a call of the host.
template <class D = Concrete>
constexpr BoolOf<D> stays_pending(U64Of<D> before, U64Of<D> after) {
  namespace tdx = model::tdx;
  const U64Of<D> tdp(tdx::kSeptTdp);
  return !tdx::is_sept_leaf<D>(before) || !tdx::is_sept_leaf<D>(after) ||
         (before & tdp) == (after & tdp);
}

// TDX-DATA-PLACE: both leaves of `level`.
template <class D = Concrete>
constexpr BoolOf<D> same_page_behind(U64Of<D> before, U64Of<D> after, int level) {
  namespace tdx = model::tdx;
  return !tdx::is_sept_leaf<D>(before) || !tdx::is_sept_leaf<D>(after) ||
         tdx::sept_hpa<D>(before, level) == tdx::sept_hpa<D>(after, level);
}

// MMU-MIRROR-RWX: of a leaf; R, W and X of EPT, P, W and U of NPT.
template <class D = Concrete>
constexpr BoolOf<D> permits_every_access(U64Of<D> spte) {
  return (spte & U64Of<D>(7)) == U64Of<D>(7);
}

// MMU-ZAP-PRECISE: a leaf of `level` for `gfn` goes in an unmap of [start, end). Shared leaves that
// reach beyond the range come back by a fault; what a private one held does not.
template <class D = Concrete>
constexpr BoolOf<D> zap_was_asked_for(U64Of<D> gfn, int level, U64Of<D> start, U64Of<D> end,
                                      bool is_private) {
  const U64Of<D> last = gfn + U64Of<D>(model::pages_per_hpage(level) - 1);
  if (is_private) return gfn >= start && last < end;
  return gfn < end && last >= start;
}

}  // namespace mmucheck::invariant
