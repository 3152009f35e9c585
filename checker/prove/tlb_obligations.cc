// The TDX module's TLB tracking: epochs, the counts of vCPUs inside, and what they promise
// about a page blocked in epoch `bepoch`. One vCPU stands for all: it entered in `vcpu_epoch`.
#include "checker/prove/groups.h"
#include "model/tdx/leaf.h"
#include "model/tdx/tlb_tracking.h"

namespace mmucheck::prove {
namespace {

using namespace model;
using namespace model::tdx;

struct Td {
  U epoch = var("epoch"), bepoch = var("bepoch"), vcpu = var("vcpu_epoch");
  EpochAndRefcount<T> now{epoch, var("even"), var("odd")};

  // Epochs begin at 1 and stay below the flag of a migration; nothing happened in the future.
  B sane() const { return bepoch >= U(1) && bepoch <= epoch && epoch < U(kBepochMigration - 2); }
  // The vCPU is inside: it is counted, and it entered in this epoch or in the one before.
  B inside() const { return inside(now); }
  B inside(const EpochAndRefcount<T>& s) const {
    return (vcpu == s.epoch || vcpu == s.epoch - U(1)) && refcount_of_parity<T>(s, vcpu) != U(0);
  }
  B tracked() const { return is_tlb_tracked<T>(now, bepoch); }
};

std::vector<Query> tracked_means_gone() {
  const Td td;
  return {{"", td.sane() && td.inside() && td.tracked(), td.vcpu > td.bepoch, {}}};
}

std::vector<Query> two_epochs() {
  const Td td;
  const EpochAndRefcount<T> after{td.epoch + U(1), td.now.even, td.now.odd};
  return {
      {"TRACK", td.sane() && td.inside() && epoch_may_advance<T>(td.now), td.inside(after), {}}};
}

std::vector<Query> current_epoch_never() {
  const Td td;
  return {{"", td.sane() && td.bepoch == td.epoch, !td.tracked(), {}}};
}

std::vector<Query> one_track_and_exits() {
  const Td td;
  const EpochAndRefcount<T> after{td.bepoch + U(1), td.now.even, td.now.odd};
  return {{"",
           td.sane() && refcount_of_parity<T>(after, td.bepoch) == U(0),
           is_tlb_tracked<T>(after, td.bepoch),
           {}}};
}
std::vector<Query> one_track() {
  const Td td;
  const EpochAndRefcount<T> after{td.bepoch + U(1), td.now.even, td.now.odd};
  return {{"", td.sane(), is_tlb_tracked<T>(after, td.bepoch), {}}};
}

// The counts at the two TRACKs are arbitrary but for what TRACK itself demands.
std::vector<Query> two_tracks() {
  const Td td;
  const EpochAndRefcount<T> first{td.bepoch, var("even1"), var("odd1")};
  const EpochAndRefcount<T> second{td.bepoch + U(1), var("even2"), var("odd2")};
  const EpochAndRefcount<T> after{td.bepoch + U(2), td.now.even, td.now.odd};
  return {{"",
           td.sane() && epoch_may_advance<T>(first) && epoch_may_advance<T>(second),
           is_tlb_tracked<T>(after, td.bepoch),
           {}}};
}

std::vector<Query> tracked_stays() {
  const Td td;
  const EpochAndRefcount<T> after{td.epoch + U(1), var("even2"), var("odd2")};
  return {{"TRACK",
           td.sane() && td.tracked() && epoch_may_advance<T>(td.now),
           is_tlb_tracked<T>(after, td.bepoch),
           {}}};
}
// VP.ENTER counts in the parity of the current epoch.
std::vector<Query> tracked_survives_enter() {
  const Td td;
  const B is_even = (td.epoch & U(1)) == U(0);
  const EpochAndRefcount<T> after{td.epoch, T::ite(is_even, td.now.even + U(1), td.now.even),
                                  T::ite(is_even, td.now.odd, td.now.odd + U(1))};
  return {{"VP.ENTER", td.sane() && td.tracked(), is_tlb_tracked<T>(after, td.bepoch), {}}};
}

// Another vCPU is inside, too, since `other_epoch`.
EpochAndRefcount<T> counted_by(const EpochAndRefcount<T>& s, const U& epoch, const U& more) {
  const B is_even = (epoch & U(1)) == U(0);
  return {s.epoch, T::ite(is_even, s.even + more, s.even), T::ite(is_even, s.odd, s.odd + more)};
}
B counts_are_small(const EpochAndRefcount<T>& s) {
  return s.even < U(uint64_t{1} << 32) && s.odd < U(uint64_t{1} << 32);
}
std::vector<Query> inside_survives_enter() {
  const Td td;
  return {{"VP.ENTER",
           td.sane() && td.inside() && counts_are_small(td.now),
           td.inside(counted_by(td.now, td.epoch, U(1))),
           {}}};
}
// Each of the two is counted; `both`: and counted apart.
Query inside_survives_exit(bool both) {
  const Td td;
  const U other = var("other_epoch"), mine = refcount_of_parity<T>(td.now, td.vcpu);
  const B other_inside = (other == td.epoch || other == td.epoch - U(1)) &&
                         refcount_of_parity<T>(td.now, other) != U(0);
  const B apart = (td.vcpu & U(1)) != (other & U(1)) || mine >= U(2);
  return {"TD exit",
          td.sane() && td.inside() && other_inside && counts_are_small(td.now) &&
              (both ? apart : B(true)),
          td.inside(counted_by(td.now, other, ~U(0))),
          {}};
}
std::vector<Query> inside_survives_exit_apart() {
  return {inside_survives_exit(true)};
}
std::vector<Query> inside_survives_exit_alone() {
  return {inside_survives_exit(false)};
}

std::vector<Query> enter_flushes() {
  const Td td;
  return {{"",
           td.sane() && td.vcpu >= U(1) && td.vcpu <= td.bepoch && td.tracked(),
           enter_flushes_for_epoch<T>(td.vcpu, td.epoch, false),
           {}}};
}
std::vector<Query> enter_flushes_always() {
  const Td td;
  return {{"newly associated",
           td.sane() && td.vcpu >= U(1) && td.vcpu <= td.bepoch && td.tracked(),
           enter_flushes_for_epoch<T>(td.vcpu, td.epoch, true),
           {}}};
}

std::vector<Query> migration() {
  const Td td;
  return {{"", (td.bepoch & U(kBepochMigration)) != U(0), !td.tracked(), {}}};
}

}  // namespace

std::vector<Obligation> tlb_obligations() {
  constexpr std::string_view track = "TDX module: is_tlb_tracked";
  constexpr std::string_view bound = "every epoch and count";
  return {
      {"tlb.tracked-means-gone",
       "where a page counts as tracked, every vCPU inside entered after it was blocked", track,
       bound, tracked_means_gone},
      {"tlb.two-epochs", "vCPUs inside are of this epoch or of the one before, after a TRACK too",
       "TDX module: tdh_mem_track", bound, two_epochs},
      {"tlb.inside-survives-enter",
       "vCPUs inside stay counted, and recent, when another one enters",
       "TDX module: adjust_tlb_tracking_state", bound, inside_survives_enter},
      {"tlb.inside-survives-exit", "vCPUs inside stay counted when another one leaves",
       "TDX module: td_vmexit_to_vmm", bound, inside_survives_exit_apart,
       "each vCPU inside is counted for itself"},
      {"tlb.inside-survives-exit.not-strengthened",
       "they stay counted when all that is known of each is that its parity counts somebody",
       "TDX module: td_vmexit_to_vmm", bound, inside_survives_exit_alone},
      {"tlb.current-epoch-never", "a page blocked in the current epoch is not tracked", track,
       bound, current_epoch_never},
      {"tlb.one-track-and-exits",
       "one TRACK and the exit of the vCPUs of the epoch of the block make a page tracked", track,
       bound, one_track_and_exits},
      {"tlb.one-track", "one TRACK alone makes a page tracked", track, bound, one_track},
      {"tlb.two-tracks", "two TRACKs after the block make a page tracked, whoever is inside then",
       "TDX module: is_tlb_tracked, tdh_mem_track", bound, two_tracks},
      {"tlb.tracked-stays", "a tracked page stays tracked over a TRACK, whatever the counts then",
       "TDX module: is_tlb_tracked, tdh_mem_track", bound, tracked_stays},
      {"tlb.tracked-survives-enter", "a tracked page stays tracked over a VP.ENTER",
       "TDX module: is_tlb_tracked, adjust_tlb_tracking_state", bound, tracked_survives_enter},
      {"tlb.enter-flushes", "a vCPU of before the block that enters again after tracking flushes",
       "TDX module: adjust_tlb_tracking_state", bound, enter_flushes},
      {"tlb.enter-flushes.new-association",
       "so does one that was associated with the CPU only now, by the epoch alone",
       "TDX module: adjust_tlb_tracking_state", bound, enter_flushes_always},
      {"tlb.migration-not-tracked", "an epoch with the flag of a migration is not tracked", track,
       bound, migration},
  };
}

}  // namespace mmucheck::prove
