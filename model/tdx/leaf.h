// model/tdx: the module's calls by name and number, and what each admits: states of the entry that
// it works on, states of the TD's operation, levels, and the mode of the locks that all of them
// take. One row a call, nothing by (call, state).
//
// Source: TDX module 1.5, sept_state_lookup.c, op_state_lookup.c, tdx_locks.h.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "model/tdx/sept_entry.h"

namespace mmucheck::model::tdx {

enum class Leaf : uint8_t {
  // SEAMCALLs of the host
  kMemPageAdd, kMemSeptAdd, kMemPageRelocate, kMemPageAug, kMemRangeBlock, kMemRd, kMemWr,
  kMemPageDemote, kMrExtend, kMemPagePromote, kMemSeptRd, kMemPageRemove, kMemSeptRemove,
  kMemRangeUnblock,
  kMemTrack, kMrFinalize, kVpEnter, kVpFlush, kVpInit, kMngVpflushdone, kMngKeyFreeid, kPhymemCacheWb,
  kPhymemPageReclaim, kPhymemPageWbinvd,
  kPhymemPamtAdd, kPhymemPamtRemove,  // Dynamic PAMT
  // TDCALLs of the guest
  kPageAccept, kPageAttrRd, kPageAttrWr,
  // what a guest or the hardware does without a call
  kGuestAccess, kTdExit,
};

enum class OpState : uint8_t {
  kUninitialized, kInitialized, kRunnable, kLiveExport, kPausedExport, kPostExport, kMemoryImport,
  kStateImport, kPostImport, kLiveImport, kFailedImport,
};
inline constexpr std::array<const char*, 11> kOpStateNames = {
    "UNINITIALIZED", "INITIALIZED",   "RUNNABLE",     "LIVE_EXPORT", "PAUSED_EXPORT", "POST_EXPORT",
    "MEMORY_IMPORT", "STATE_IMPORT", "POST_IMPORT", "LIVE_IMPORT",   "FAILED_IMPORT"};

enum class TdLifecycle : uint8_t { kHkidAssigned, kKeysConfigured, kBlocked, kTeardown };
inline constexpr std::array<const char*, 4> kLifecycleNames = {"HKID_ASSIGNED", "KEYS_CONFIGURED",
                                                               "BLOCKED", "TEARDOWN"};

using OpStateSet = uint16_t;
template <class... S>
constexpr OpStateSet op_set(S... s) {
  return static_cast<OpStateSet>(((1u << static_cast<int>(s)) | ... | 0u));
}
constexpr bool op_state_in(OpState s, OpStateSet set) { return set >> static_cast<int>(s) & 1; }

namespace detail {
using S = SeptEntryState;
using O = OpState;
inline constexpr SeptStateSet kLeaves = static_cast<SeptStateSet>(0xffff & ~sept_set(
    S::kFree, S::kRemoved, S::kNlMapped, S::kNlBlocked));
inline constexpr OpStateSet kBuild = op_set(O::kInitialized);
inline constexpr OpStateSet kChange =
    op_set(O::kInitialized, O::kRunnable, O::kLiveExport, O::kPausedExport, O::kPostExport,
           O::kPostImport, O::kLiveImport);
inline constexpr OpStateSet kImport = op_set(O::kMemoryImport, O::kStateImport);
inline constexpr OpStateSet kAll =
    static_cast<OpStateSet>(kChange | kImport | op_set(O::kFailedImport));
inline constexpr OpStateSet kGrow =
    op_set(O::kInitialized, O::kRunnable, O::kLiveExport, O::kLiveImport);
inline constexpr OpStateSet kWrite =
    static_cast<OpStateSet>(kGrow | kImport | op_set(O::kPostImport));
}  // namespace detail

// The op states in which an entry must be blocked and tracked before it is changed or freed.
inline constexpr OpStateSet kTrackingOpStates =
    op_set(OpState::kRunnable, OpState::kLiveExport, OpState::kLiveImport);
// PAGE.REMOVE leaves REMOVED where an import is going on.
inline constexpr OpStateSet kImportOpStates =
    op_set(OpState::kMemoryImport, OpState::kStateImport, OpState::kPostImport,
           OpState::kLiveImport);

enum class LockMode : uint8_t { kNone, kShared, kExclusive };

inline constexpr int kTopLevel = -1;  // the highest level of the TD's own tree

struct LeafInfo {
  Leaf leaf;
  const char* name;
  uint8_t number;              // in RAX; 255: no call
  SeptStateSet states;         // of the entry, where there is one
  OpStateSet op_states;
  int min_level, max_level;    // of RCX[2:0]; kTopLevel
  uint8_t max_version;
  LockMode tdr, tree;
};

inline constexpr std::array<LeafInfo, 31> kLeafInfo = [] {
  using S = SeptEntryState;
  using detail::kAll, detail::kBuild, detail::kChange, detail::kGrow, detail::kLeaves;
  using M = LockMode;
  constexpr SeptStateSet unblocked =
      sept_set(S::kMapped, S::kBlockedw, S::kPending, S::kPendingBlockedw);
  constexpr SeptStateSet nonleaf = sept_set(S::kNlMapped, S::kNlBlocked);
  constexpr SeptStateSet guest = sept_set(S::kMapped, S::kExportedDirty, S::kPending,
                                          S::kPendingExportedDirty);
  constexpr OpStateSet add = static_cast<OpStateSet>(detail::kWrite);
  constexpr OpStateSet remove =
      static_cast<OpStateSet>(kChange | op_set(OpState::kFailedImport));
  return std::array<LeafInfo, 31>{{
      {Leaf::kMemPageAdd, "TDH.MEM.PAGE.ADD", 2, set_of(S::kFree), kBuild, 0, 0, 0, M::kExclusive,
       M::kNone},
      {Leaf::kMemSeptAdd, "TDH.MEM.SEPT.ADD", 3, sept_set(S::kFree, S::kNlMapped), add, 1,
       kTopLevel, 1, M::kShared, M::kShared},
      {Leaf::kMemPageRelocate, "TDH.MEM.PAGE.RELOCATE", 5, kLeaves, kChange, 0, 0, 0, M::kShared,
       M::kShared},
      {Leaf::kMemPageAug, "TDH.MEM.PAGE.AUG", 6, sept_set(S::kFree, S::kRemoved), kGrow, 0, 1, 0,
       M::kShared, M::kShared},
      {Leaf::kMemRangeBlock, "TDH.MEM.RANGE.BLOCK", 7,
       static_cast<SeptStateSet>(unblocked | set_of(S::kNlMapped)), kChange, 0, kTopLevel, 0,
       M::kShared, M::kExclusive},
      {Leaf::kMemRd, "TDH.MEM.RD", 12, kGuestAccessible, kAll, 0, 0, 0, M::kShared, M::kShared},
      {Leaf::kMemWr, "TDH.MEM.WR", 14, sept_set(S::kMapped, S::kExportedDirty),
       static_cast<OpStateSet>(detail::kWrite | op_set(OpState::kFailedImport)), 0, 0, 0,
       M::kShared, M::kShared},
      {Leaf::kMemPageDemote, "TDH.MEM.PAGE.DEMOTE", 15,
       sept_set(S::kMapped, S::kBlocked, S::kPending, S::kPendingBlocked), kChange, 1, 2, 0,
       M::kShared, M::kShared},
      {Leaf::kMrExtend, "TDH.MR.EXTEND", 16, set_of(S::kMapped), kBuild, 0, 0, 0, M::kExclusive,
       M::kNone},
      {Leaf::kMemPagePromote, "TDH.MEM.PAGE.PROMOTE", 23, nonleaf, kChange, 1, 2, 1, M::kShared,
       M::kShared},
      {Leaf::kMemSeptRd, "TDH.MEM.SEPT.RD", 25, 0xffff, kAll, 0, kTopLevel, 0, M::kShared,
       M::kShared},
      {Leaf::kMemPageRemove, "TDH.MEM.PAGE.REMOVE", 29,
       static_cast<SeptStateSet>(unblocked | sept_set(S::kBlocked, S::kPendingBlocked)), remove, 0,
       2, 0, M::kShared, M::kShared},
      {Leaf::kMemSeptRemove, "TDH.MEM.SEPT.REMOVE", 30, nonleaf, kAll, 1, kTopLevel, 1, M::kShared,
       M::kExclusive},
      {Leaf::kMemRangeUnblock, "TDH.MEM.RANGE.UNBLOCK", 39, kAnyBlocked, kChange, 0, kTopLevel, 0,
       M::kShared, M::kExclusive},
      {Leaf::kMemTrack, "TDH.MEM.TRACK", 38, 0,
       static_cast<OpStateSet>(kChange | detail::kImport), 0, 0, 0, M::kShared, M::kNone},
      {Leaf::kMrFinalize, "TDH.MR.FINALIZE", 17, 0, kBuild, 0, 0, 0, M::kExclusive, M::kNone},
      {Leaf::kVpEnter, "TDH.VP.ENTER(entry part)", 0, 0, kTrackingOpStates, 0, 0, 0, M::kShared,
       M::kNone},
      {Leaf::kVpFlush, "TDH.VP.FLUSH", 18, 0, 0, 0, 0, 0, M::kShared, M::kNone},
      {Leaf::kVpInit, "TDH.VP.INIT(locks)", 22, 0, 0, 0, 0, 0, M::kExclusive, M::kNone},
      {Leaf::kMngVpflushdone, "TDH.MNG.VPFLUSHDONE", 19, 0, 0, 0, 0, 0, M::kExclusive, M::kNone},
      {Leaf::kMngKeyFreeid, "TDH.MNG.KEY.FREEID", 20, 0, 0, 0, 0, 0, M::kExclusive, M::kNone},
      {Leaf::kPhymemCacheWb, "CACHE_WB(emulated)", 40, 0, 0, 0, 0, 0, M::kNone, M::kNone},
      {Leaf::kPhymemPageReclaim, "TDH.PHYMEM.PAGE.RECLAIM", 28, 0, 0, 0, 0, 0, M::kShared,
       M::kNone},
      {Leaf::kPhymemPageWbinvd, "TDH.PHYMEM.PAGE.WBINVD", 41, 0, 0, 0, 0, 0, M::kNone, M::kNone},
      {Leaf::kPhymemPamtAdd, "TDH.PHYMEM.PAMT.ADD", 58, 0, 0, 0, 0, 0, M::kNone, M::kNone},
      {Leaf::kPhymemPamtRemove, "TDH.PHYMEM.PAMT.REMOVE", 59, 0, 0, 0, 0, 0, M::kNone, M::kNone},
      {Leaf::kPageAccept, "TDG.MEM.PAGE.ACCEPT", 6,
       sept_set(S::kPending, S::kPendingExportedDirty), 0, 0, 1, 0, M::kNone, M::kNone},
      {Leaf::kPageAttrRd, "TDG.MEM.PAGE.ATTR.RD", 23,
       static_cast<SeptStateSet>(kLeaves & ~sept_set(S::kBlocked, S::kPendingBlocked)), 0, 0, 0, 0,
       M::kNone, M::kNone},
      {Leaf::kPageAttrWr, "TDG.MEM.PAGE.ATTR.WR", 24, guest, 0, 0, 2, 0, M::kNone, M::kNone},
      {Leaf::kGuestAccess, "GUEST.ACCESS", 255, 0, 0, 0, 0, 0, M::kNone, M::kNone},
      {Leaf::kTdExit, "TD_EXIT", 255, 0, 0, 0, 0, 0, M::kNone, M::kNone},
  }};
}();

constexpr const LeafInfo& leaf_info(Leaf leaf) { return kLeafInfo[static_cast<size_t>(leaf)]; }

// The other locks of the TD that a call takes, PAMT entries apart. Who holds the TDR exclusively
// needs no op-state lock; the entry is locked by who holds the tree, and by the guest, whose own
// flavour of the entry lock is all that its calls take.
constexpr LockMode op_state_lock_of(Leaf leaf) {
  const LeafInfo& info = leaf_info(leaf);
  return info.op_states != 0 && info.tdr == LockMode::kShared ? LockMode::kShared : LockMode::kNone;
}
constexpr bool is_tdcall(Leaf leaf) {
  return leaf == Leaf::kPageAccept || leaf == Leaf::kPageAttrRd || leaf == Leaf::kPageAttrWr;
}
constexpr LockMode entry_lock_of(Leaf leaf) {
  return leaf_info(leaf).tree != LockMode::kNone || is_tdcall(leaf) ? LockMode::kExclusive
                                                                    : LockMode::kNone;
}
constexpr LockMode epoch_lock_of(Leaf leaf) {
  if (leaf == Leaf::kMemTrack) return LockMode::kExclusive;
  return leaf == Leaf::kVpEnter ? LockMode::kShared : LockMode::kNone;
}

constexpr const LeafInfo* find_leaf(std::string_view name) {
  for (const LeafInfo& l : kLeafInfo) {
    if (name == l.name) return &l;
  }
  return nullptr;
}

// sept_state_is_seamcall_leaf_allowed, sept_state_is_tdcall_leaf_allowed.
template <class D = Concrete>
constexpr BoolOf<D> sept_state_allows(Leaf leaf, U64Of<D> e) {
  return state_in<D>(sept_state<D>(e), leaf_info(leaf).states);
}

}  // namespace mmucheck::model::tdx
