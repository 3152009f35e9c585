// model/tdx: the 64-bit secure EPT entry: its 16 states, what follows from a state, and how an
// entry of each state is built. Pure rules over a domain; levels are structural and the module's
// own (0 = 4K, 1 = 2M, 2 = 1G, 3 = 512G, 4 = 256T).
//
// The state of an entry are seven scattered bits. Not part of it: the entry lock (TDEL), the
// host-priority request (TDHP), and the ACCEPT counter that a PENDING 2M entry keeps in bits 20:12.
// Source: TDX module 1.5, sept_manager.h, sept_state_lookup.c.
#pragma once

#include <array>
#include <cstdint>

#include "model/domain/concrete.h"

namespace mmucheck::model::tdx {

inline constexpr int kMaxSeptLevel = 4;
inline constexpr uint64_t kSeptEntries = 512;

inline constexpr uint64_t kSeptRwx = 7;
inline constexpr uint64_t kSeptMemtypeWb = 6 << 3;
inline constexpr uint64_t kSeptIpat = uint64_t{1} << 6;
inline constexpr uint64_t kSeptLeaf = uint64_t{1} << 7;  // PS, set in every leaf, also of 4K
inline constexpr uint64_t kSeptDirty = uint64_t{1} << 9;
inline constexpr uint64_t kSeptTdel = uint64_t{1} << 11;  // entry lock
inline constexpr uint64_t kSeptTdhp = uint64_t{1} << 52;  // a host call wants the entry
inline constexpr uint64_t kSeptTdex = uint64_t{1} << 53;
inline constexpr uint64_t kSeptTdbw = uint64_t{1} << 54;
inline constexpr uint64_t kSeptTdb = uint64_t{1} << 55;
inline constexpr uint64_t kSeptTdp = uint64_t{1} << 56;
inline constexpr uint64_t kSeptSve = uint64_t{1} << 63;
inline constexpr uint64_t kSeptHpa = 0x000ffffffffff000ull;
inline constexpr int kAcceptCounterShift = 12;
inline constexpr uint64_t kAcceptCounterMask = uint64_t{511} << kAcceptCounterShift;
inline constexpr uint64_t kAcceptChunks = 512;

// The value is the state's encoding: D, TDEX, TDBW, TDB, TDP, IPAT, PS from bit 0 up.
enum class SeptEntryState : uint8_t {
  kFree = 0x0e,
  kRemoved = 0x0c,
  kNlMapped = 0x00,
  kNlBlocked = 0x08,
  kMapped = 0x60,
  kBlocked = 0x68,
  kBlockedw = 0x64,
  kExportedBlockedw = 0x66,
  kExportedDirty = 0x63,
  kExportedDirtyBlockedw = 0x67,
  kPending = 0x70,
  kPendingBlocked = 0x78,
  kPendingBlockedw = 0x74,
  kPendingExportedBlockedw = 0x76,
  kPendingExportedDirty = 0x73,
  kPendingExportedDirtyBlockedw = 0x77,
};

struct SeptStateInfo {
  SeptEntryState state;
  uint8_t arch;  // architectural number, bits 15:8 of RDX
  const char* name;
};

// In the order of the module's tables; an index into this array is a bit in a SeptStateSet.
inline constexpr std::array<SeptStateInfo, 16> kSeptStates = {{
    {SeptEntryState::kFree, 0, "FREE"},
    {SeptEntryState::kRemoved, 5, "REMOVED"},
    {SeptEntryState::kNlMapped, 0x84, "NL_MAPPED"},
    {SeptEntryState::kNlBlocked, 0x81, "NL_BLOCKED"},
    {SeptEntryState::kMapped, 4, "MAPPED"},
    {SeptEntryState::kBlocked, 1, "BLOCKED"},
    {SeptEntryState::kBlockedw, 8, "BLOCKEDW"},
    {SeptEntryState::kExportedBlockedw, 9, "EXPORTED_BLOCKEDW"},
    {SeptEntryState::kExportedDirty, 11, "EXPORTED_DIRTY"},
    {SeptEntryState::kExportedDirtyBlockedw, 12, "EXPORTED_DIRTY_BLOCKEDW"},
    {SeptEntryState::kPending, 2, "PENDING"},
    {SeptEntryState::kPendingBlocked, 3, "PENDING_BLOCKED"},
    {SeptEntryState::kPendingBlockedw, 16, "PENDING_BLOCKEDW"},
    {SeptEntryState::kPendingExportedBlockedw, 17, "PENDING_EXPORTED_BLOCKEDW"},
    {SeptEntryState::kPendingExportedDirty, 19, "PENDING_EXPORTED_DIRTY"},
    {SeptEntryState::kPendingExportedDirtyBlockedw, 20, "PENDING_EXPORTED_DIRTY_BLOCKEDW"},
}};

using SeptStateSet = uint16_t;

constexpr SeptStateSet set_of(SeptEntryState s) {
  for (size_t i = 0; i < kSeptStates.size(); i++) {
    if (kSeptStates[i].state == s) return static_cast<SeptStateSet>(1u << i);
  }
  return 0;
}
template <class... States>
constexpr SeptStateSet sept_set(States... s) {
  return static_cast<SeptStateSet>((set_of(s) | ... | 0));
}

constexpr uint64_t enc(SeptEntryState s) {
  return static_cast<uint64_t>(s);
}

// The seven bits of the state, as in SeptEntryState.
template <class D = Concrete>
constexpr U64Of<D> sept_state(U64Of<D> e) {
  return ((e >> 9) & U64Of<D>(1)) | ((e >> 52) & U64Of<D>(0x1e)) | ((e >> 1) & U64Of<D>(0x60));
}
// The inverse; `state` has only those bits.
template <class D = Concrete>
constexpr U64Of<D> sept_state_bits(U64Of<D> state) {
  return ((state & U64Of<D>(1)) << 9) | ((state & U64Of<D>(0x1e)) << 52) |
         ((state & U64Of<D>(0x60)) << 1);
}
inline constexpr uint64_t kSeptStateMask = sept_state_bits<>(0x7f);

constexpr SeptEntryState state_of(uint64_t e) {
  return static_cast<SeptEntryState>(sept_state<>(e));
}

// Is the state one of `set`? False for the 112 encodings that are no state.
template <class D = Concrete>
constexpr BoolOf<D> state_in(U64Of<D> state, SeptStateSet set) {
  BoolOf<D> found(false);
  for (size_t i = 0; i < kSeptStates.size(); i++) {
    if (set >> i & 1) found = found || state == U64Of<D>(enc(kSeptStates[i].state));
  }
  return found;
}
template <class D = Concrete>
constexpr BoolOf<D> is_sept_state(U64Of<D> state) {
  return state_in<D>(state, 0xffff);
}

template <class D = Concrete>
constexpr BoolOf<D> is_state(U64Of<D> e, SeptEntryState s) {
  return sept_state<D>(e) == U64Of<D>(enc(s));
}
template <class D = Concrete>
constexpr BoolOf<D> is_sept_free(U64Of<D> e) {
  return is_state<D>(e, SeptEntryState::kFree);
}
// is_secure_ept_leaf_entry: bit 7 at every level; FREE and REMOVED are no leaves.
template <class D = Concrete>
constexpr BoolOf<D> is_sept_leaf(U64Of<D> e) {
  return (e & U64Of<D>(kSeptLeaf)) != U64Of<D>(0);
}

// --- derived flags: each follows from the bits of the state ---

template <class D = Concrete>
constexpr BoolOf<D> is_pending(U64Of<D> e) {
  return (e & U64Of<D>(kSeptTdp)) != U64Of<D>(0);
}
inline constexpr SeptStateSet kAnyBlocked =
    sept_set(SeptEntryState::kNlBlocked, SeptEntryState::kBlocked, SeptEntryState::kPendingBlocked);
template <class D = Concrete>
constexpr BoolOf<D> sept_state_is_any_blocked(U64Of<D> e) {
  return state_in<D>(sept_state<D>(e), kAnyBlocked);
}
inline constexpr SeptStateSet kAnyBlockedw = sept_set(
    SeptEntryState::kBlockedw, SeptEntryState::kExportedBlockedw,
    SeptEntryState::kExportedDirtyBlockedw, SeptEntryState::kPendingBlockedw,
    SeptEntryState::kPendingExportedBlockedw, SeptEntryState::kPendingExportedDirtyBlockedw);
// Exported and clean entries were tracked when they were exported.
inline constexpr SeptStateSet kNoTracking =
    sept_set(SeptEntryState::kFree, SeptEntryState::kRemoved, SeptEntryState::kExportedBlockedw,
             SeptEntryState::kPendingExportedBlockedw);
template <class D = Concrete>
constexpr BoolOf<D> sept_state_is_tlb_tracking_required(U64Of<D> e) {
  return !state_in<D>(sept_state<D>(e), kNoTracking);
}
inline constexpr SeptStateSet kGuestAccessible =
    sept_set(SeptEntryState::kMapped, SeptEntryState::kBlockedw, SeptEntryState::kExportedBlockedw,
             SeptEntryState::kExportedDirty, SeptEntryState::kExportedDirtyBlockedw);
template <class D = Concrete>
constexpr BoolOf<D> sept_state_is_guest_accessible_leaf(U64Of<D> e) {
  return state_in<D>(sept_state<D>(e), kGuestAccessible);
}
template <class D = Concrete>
constexpr BoolOf<D> sept_state_is_guest_fully_accessible_leaf(U64Of<D> e) {
  return state_in<D>(sept_state<D>(e),
                     sept_set(SeptEntryState::kMapped, SeptEntryState::kExportedDirty));
}
template <class D = Concrete>
constexpr BoolOf<D> sept_state_is_guest_acceptable(U64Of<D> e) {
  return state_in<D>(sept_state<D>(e),
                     sept_set(SeptEntryState::kPending, SeptEntryState::kPendingExportedDirty));
}
template <class D = Concrete>
constexpr BoolOf<D> sept_state_is_mapped_or_pending(U64Of<D> e) {
  return state_in<D>(sept_state<D>(e), sept_set(SeptEntryState::kMapped, SeptEntryState::kPending));
}

// --- transitions of the state, the other bits of the entry apart ---

// RANGE.BLOCK: TDB is set, TDBW forgotten; the caller has checked that the state admits it.
template <class D = Concrete>
constexpr U64Of<D> blocked_state(U64Of<D> state) {
  return (state & U64Of<D>(~uint64_t{0x04})) | U64Of<D>(0x08);
}
// RANGE.UNBLOCK, RELOCATE, PROMOTE, DEMOTE: what a blocked state was before; any other stays.
template <class D = Concrete>
constexpr U64Of<D> unblocked_state(U64Of<D> state) {
  return D::ite(state_in<D>(state, kAnyBlocked), state & U64Of<D>(~uint64_t{0x08}), state);
}
// TDG.MEM.PAGE.ACCEPT: PENDING -> MAPPED, PENDING_EXPORTED_DIRTY -> EXPORTED_DIRTY.
template <class D = Concrete>
constexpr U64Of<D> accepted_state(U64Of<D> state) {
  return state & U64Of<D>(~uint64_t{0x10});
}

// --- whole entries ---

// RWX that an entry of this state has: all, read and execute, or none.
template <class D = Concrete>
constexpr U64Of<D> sept_rwx(U64Of<D> state) {
  constexpr SeptStateSet all =
      sept_set(SeptEntryState::kNlMapped, SeptEntryState::kMapped, SeptEntryState::kExportedDirty);
  return D::ite(state_in<D>(state, all), U64Of<D>(7),
                D::ite(state_in<D>(state, kGuestAccessible), U64Of<D>(5), U64Of<D>(0)));
}

// An unlocked entry of a state that points to a page; `hpa` has only bits of kSeptHpa.
template <class D = Concrete>
constexpr U64Of<D> make_sept_entry(U64Of<D> state, U64Of<D> hpa) {
  const U64Of<D> bits = sept_state_bits<D>(state);
  const U64Of<D> memtype =
      D::ite((bits & U64Of<D>(kSeptLeaf)) != U64Of<D>(0), U64Of<D>(kSeptMemtypeWb), U64Of<D>(0));
  return bits | memtype | sept_rwx<D>(state) | hpa | U64Of<D>(kSeptSve);
}
constexpr uint64_t make_sept_entry(SeptEntryState s, uint64_t hpa) {
  return make_sept_entry<>(enc(s), hpa);
}
inline constexpr uint64_t kSeptFreeEntry = make_sept_entry(SeptEntryState::kFree, 0);
// In the place of the HPA, REMOVED has the migration epoch in which the page went (0 here: no
// migration is modelled) and a bit that says so.
inline constexpr uint64_t kSeptMigEpochValid = uint64_t{1} << 44;
inline constexpr uint64_t kSeptRemovedEntry =
    make_sept_entry(SeptEntryState::kRemoved, kSeptMigEpochValid);

// HPA bits of one 4K page, and of a leaf of `level` without the ACCEPT counter.
constexpr uint64_t sept_hpa_mask(int level) {
  return kSeptHpa & ~((uint64_t{1} << (12 + 9 * level)) - 1);
}
template <class D = Concrete>
constexpr U64Of<D> sept_hpa(U64Of<D> e, int level) {
  return D::ite(is_sept_leaf<D>(e), e & U64Of<D>(sept_hpa_mask(level)), e & U64Of<D>(kSeptHpa));
}

// sept_cleanup_if_pending: bits of the HPA that a call keeps. The ACCEPT counter goes from a 2M
// entry that can be accepted; in another state, or in a 1G entry that PROMOTE made of such a one,
// it stays.
template <class D = Concrete>
constexpr U64Of<D> cleaned_up_hpa(U64Of<D> e, int level) {
  const BoolOf<D> cleans = BoolOf<D>(level == 1) && sept_state_is_guest_acceptable<D>(e);
  return e & D::ite(cleans, U64Of<D>(sept_hpa_mask(1)), U64Of<D>(kSeptHpa));
}
// What RANGE.BLOCK and RANGE.UNBLOCK make of an entry that they admit. Neither keeps a lock, and
// only BLOCK cleans up.
template <class D = Concrete>
constexpr U64Of<D> blocked_entry(U64Of<D> e, int level) {
  return make_sept_entry<D>(blocked_state<D>(sept_state<D>(e)), cleaned_up_hpa<D>(e, level));
}
template <class D = Concrete>
constexpr U64Of<D> unblocked_entry(U64Of<D> e) {
  return make_sept_entry<D>(unblocked_state<D>(sept_state<D>(e)), e & U64Of<D>(kSeptHpa));
}

// What RCX shows of an entry: leaves without the bits that the module keeps for itself, FREE as
// SVE alone, of the rest only RWX.
template <class D = Concrete>
constexpr U64Of<D> sept_arch_content(U64Of<D> e) {
  constexpr uint64_t hidden =
      kSeptDirty | kSeptTdel | kSeptTdhp | kSeptTdex | kSeptTdbw | kSeptTdb | kSeptTdp;
  return D::ite(is_sept_leaf<D>(e) || is_sept_free<D>(e), e & U64Of<D>(~hidden),
                e & U64Of<D>(kSeptRwx));
}
// What RDX shows: level and architectural state number.
template <class D = Concrete>
constexpr U64Of<D> sept_arch_state(U64Of<D> state) {
  U64Of<D> number(0);
  for (const SeptStateInfo& s : kSeptStates) {
    number = D::ite(state == U64Of<D>(enc(s.state)), U64Of<D>(s.arch), number);
  }
  return number;
}
template <class D = Concrete>
constexpr U64Of<D> sept_level_and_state(U64Of<D> e, int level) {
  return (sept_arch_state<D>(sept_state<D>(e)) << 8) | U64Of<D>(static_cast<uint64_t>(level));
}

// --- walks ---

// secure_ept_walk above the requested level: the walk goes on through this entry.
template <class D = Concrete>
constexpr BoolOf<D> walk_continues(U64Of<D> e) {
  return (e & U64Of<D>(kSeptRwx)) != U64Of<D>(0) && !is_sept_leaf<D>(e);
}
constexpr uint64_t sept_index(uint64_t gpa, int level) {
  return (gpa >> (12 + 9 * level)) & 511;
}
constexpr uint64_t sept_span(int level) {
  return uint64_t{1} << (12 + 9 * level);
}

// What a vCPU's access meets at the entry where the hardware's walk ends.
enum class HardwareView : uint8_t { kAllowed, kPendingVe, kViolation };
template <class D = Concrete>
constexpr BoolOf<D> access_allowed(U64Of<D> e, bool write) {
  return is_sept_leaf<D>(e) && (e & U64Of<D>(write ? 2 : 1)) != U64Of<D>(0);
}
constexpr HardwareView hardware_view(uint64_t e, bool write) {
  if (access_allowed<>(e, write)) return HardwareView::kAllowed;
  return sept_state_is_guest_acceptable<>(e) ? HardwareView::kPendingVe : HardwareView::kViolation;
}

constexpr const char* sept_state_name(uint64_t e) {
  for (const SeptStateInfo& s : kSeptStates) {
    if (s.state == state_of(e)) return s.name;
  }
  return "ILLEGAL";
}

}  // namespace mmucheck::model::tdx
