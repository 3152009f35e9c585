// model/tdx: the module's lock words and the one rule each has for an attempt: no lock ever spins,
// failure is an answer. Pure rules over a domain.
//
// Two kinds of 16-bit words (TDX module 1.5, tdx_locks.h):
//   sharex         bit 0 exclusive, readers from bit 1 up
//   host priority  bit 0 exclusive, bit 1 a host attempt has failed, readers from bit 2 up
// A shared attempt that meets an exclusive holder leaves its reader count behind; the release of
// the exclusive holder clears the word, but for the host-priority bit, so no ghost remains. The
// next successful attempt of a host clears the bit. The entry lock (bits TDEL and TDHP of an S-EPT
// entry) follows the same idea.
#pragma once

#include "model/domain/concrete.h"
#include "model/tdx/sept_entry.h"

namespace mmucheck::model::tdx {

template <class D = Concrete>
struct Attempt {
  BoolOf<D> taken;
  U64Of<D> word;
};

inline constexpr uint64_t kLockWordMask = 0xffff;
inline constexpr uint64_t kLockExclusive = 1;
inline constexpr uint64_t kLockHostPriority = 2;

template <class D = Concrete>
constexpr BoolOf<D> held_exclusive(U64Of<D> word) {
  return (word & U64Of<D>(kLockExclusive)) != U64Of<D>(0);
}

template <class D = Concrete>
constexpr Attempt<D> sharex_shared(U64Of<D> word) {
  return {!held_exclusive<D>(word), (word + U64Of<D>(2)) & U64Of<D>(kLockWordMask)};
}
template <class D = Concrete>
constexpr Attempt<D> sharex_exclusive(U64Of<D> word) {
  const BoolOf<D> taken = word == U64Of<D>(0);
  return {taken, D::ite(taken, U64Of<D>(kLockExclusive), word)};
}
template <class D = Concrete>
constexpr U64Of<D> sharex_release(U64Of<D> word, bool exclusive) {
  return exclusive ? U64Of<D>(0) : (word - U64Of<D>(2)) & U64Of<D>(kLockWordMask);
}

template <class D = Concrete>
constexpr Attempt<D> hp_shared(U64Of<D> word) {
  const BoolOf<D> taken = !held_exclusive<D>(word);
  const U64Of<D> counted = (word + U64Of<D>(4)) & U64Of<D>(kLockWordMask);
  return {taken, D::ite(taken, counted & U64Of<D>(~kLockHostPriority),
                        counted | U64Of<D>(kLockHostPriority))};
}
template <class D = Concrete>
constexpr Attempt<D> hp_exclusive(U64Of<D> word) {
  const BoolOf<D> taken = (word & U64Of<D>(~kLockHostPriority)) == U64Of<D>(0);
  return {taken, D::ite(taken, U64Of<D>(kLockExclusive), word | U64Of<D>(kLockHostPriority))};
}
// The only reader makes itself the exclusive holder.
template <class D = Concrete>
constexpr Attempt<D> hp_promote(U64Of<D> word) {
  const BoolOf<D> taken = (word & U64Of<D>(~kLockHostPriority)) == U64Of<D>(4);
  return {taken, D::ite(taken, U64Of<D>(kLockExclusive), word | U64Of<D>(kLockHostPriority))};
}
template <class D = Concrete>
constexpr U64Of<D> hp_release(U64Of<D> word, bool exclusive) {
  return exclusive ? word & U64Of<D>(kLockHostPriority)
                   : (word - U64Of<D>(4)) & U64Of<D>(kLockWordMask);
}

// sept_lock_acquire_host: a failure leaves the wish of the host in TDHP.
template <class D = Concrete>
constexpr Attempt<D> entry_lock_host(U64Of<D> e) {
  const BoolOf<D> taken = (e & U64Of<D>(kSeptTdel)) == U64Of<D>(0);
  return {taken, D::ite(taken, (e | U64Of<D>(kSeptTdel)) & U64Of<D>(~kSeptTdhp),
                        e | U64Of<D>(kSeptTdhp))};
}
// sept_lock_acquire_guest: refused as long as a host wants the entry.
template <class D = Concrete>
constexpr Attempt<D> entry_lock_guest(U64Of<D> e) {
  const BoolOf<D> taken = (e & U64Of<D>(kSeptTdel | kSeptTdhp)) == U64Of<D>(0);
  return {taken, D::ite(taken, e | U64Of<D>(kSeptTdel), e)};
}

}  // namespace mmucheck::model::tdx
