// model/tdx: TLB tracking: which epoch a blocked page must have left behind before it may be
// freed or changed. Pure rules over a domain. Source: TDX module 1.5, is_tlb_tracked,
// adjust_tlb_tracking_state, tdh_mem_track.
#pragma once

#include "model/domain/concrete.h"

namespace mmucheck::model::tdx {

inline constexpr uint64_t kBepochMigration = uint64_t{1} << 63;

// Epoch and the counts of vCPUs inside, by parity of the epoch in which they entered; the module
// reads the three at once.
template <class D = Concrete>
struct EpochAndRefcount {
  U64Of<D> epoch;
  U64Of<D> even, odd;
};

template <class D = Concrete>
constexpr U64Of<D> refcount_of_parity(const EpochAndRefcount<D>& s, U64Of<D> epoch) {
  return D::ite((epoch & U64Of<D>(1)) == U64Of<D>(0), s.even, s.odd);
}

// is_tlb_tracked: has every vCPU that may cache a translation through a page blocked in epoch
// `bepoch` left the TD since?
template <class D = Concrete>
constexpr BoolOf<D> is_tlb_tracked(const EpochAndRefcount<D>& s, U64Of<D> bepoch) {
  const BoolOf<D> migration = (bepoch & U64Of<D>(kBepochMigration)) != U64Of<D>(0);
  const U64Of<D> previous = s.epoch - U64Of<D>(1);
  return !migration &&
         (bepoch < previous ||
          (bepoch == previous && refcount_of_parity<D>(s, bepoch) == U64Of<D>(0)));
}

// TRACK may begin a new epoch: nobody is left from the one before the current.
template <class D = Concrete>
constexpr BoolOf<D> epoch_may_advance(const EpochAndRefcount<D>& s) {
  return refcount_of_parity<D>(s, s.epoch - U64Of<D>(1)) == U64Of<D>(0);
}

// VP.ENTER: must the translations of the TD be flushed from the CPU? A vCPU that was associated
// with the CPU only now has none there.
template <class D = Concrete>
constexpr BoolOf<D> enter_flushes_for_epoch(U64Of<D> vcpu_epoch, U64Of<D> epoch,
                                            bool newly_associated) {
  return BoolOf<D>(!newly_associated) && vcpu_epoch != epoch;
}

}  // namespace mmucheck::model::tdx
