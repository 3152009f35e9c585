// model/design: a design is data. One row says every choice that differs between kernel versions,
// historic series and proposals; no other code asks which version it is. A default is what Linux
// 7.2.13 does. What each choice means, its values by name and its source: choices.def; a field that
// is not listed there is an error of the tests.
//
// Rows: a kernel is what was recorded of it, or the nearest recorded kernel with what is known to
// have changed. A series or a proposal is upstream-7.x with what the series or the mail is about:
// two rows differ only in what is argued about.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace mmucheck::model {

// When handle_changed_spte's tracepoint fires for an entry whose table is removed.
enum class RemovalTrace : uint8_t { kBeforeChildren, kAfterChildren };
// What happens to page tables under a slot whose dirty logging ends.
enum class Collapse : uint8_t { kZapCollapsible, kRecoverHuge };
enum class Ageing : uint8_t { kWriteLockAllRoots, kLocklessValidRoots };
enum class NxRecovery : uint8_t { kWriteLockZapSp, kReadLockZapPossibleNx };
// Which roots kvm_tdp_mmu_alloc_root visits while it looks for one to reuse.
enum class AllocRootVisits : uint8_t { kWantedKind, kAllValid };
enum class VmDestroyZap : uint8_t { kSharedSilentInvalidate, kExclusive };
// The calls from the TDP MMU to what owns the S-EPT (kvm_x86_ops).
enum class ExternalHook : uint8_t {
  kNone,
  kSingle,  // 7.x: set_external_spte, and free_external_spt
  kEveryChange,  // v8: handle_changed_private_spte, for the entry of a removed table, too
  kFour,    // 6.14 .. 6.19: link, set, free, remove
  kFive,    // v10 .. v19: link, set, zap (which blocks), remove, free
};

// --- addresses and walks (seed 000) ---
enum class FaultAddr : uint8_t {
  kWalked,    // the shared bit stays: what the hardware walks; gfns are taken from fault->gfn
  kStripped,  // without the shared bit, which the walk puts back
  kRaw,       // the shared bit stays, and the walk starts at gpa_to_gfn(fault->addr)
};
enum class RootChoice : uint8_t { kByAddress, kByPrivate };
enum class IterIndex : uint8_t {
  kGfnBits,        // iter.gfn is stripped; the root's bits are OR-ed in for an index only
  kRawGfn,         // iter.gfn and sp->gfn have the shared bit in the shared tree
  kSeed000Sketch,  // stripped; the mask is OR-ed in if mirrored, and end goes through
                   // kvm_gfn_for_root while iter.gfn does not
};
enum class ZapBounds : uint8_t {
  kPlain,
  kPerRoot,
  kSeed000End,  // end through kvm_gfn_for_root, start and iter.gfn not: the loop of the sketch alone
};

// --- how a mirror entry and its S-EPT entry change together (seeds 002 and 004) ---
enum class MirrorSet : uint8_t {
  kFreeze,        // cmpxchg to FROZEN, the hook, then the final value
  kCmpxchgFirst,  // cmpxchg to the new value, then the hook
  kHookFirst,     // the hook, then cmpxchg to the new value
};
enum class HookErrors : uint8_t { kReturned, kDropped };
enum class MirrorRemoval : uint8_t { kWriteLock, kReadLock };
enum class RemovalProtocol : uint8_t { kBlockTrackRemove, kBlockParentReapRcu };
enum class MirrorTrace : uint8_t { kInFreeze, kAfterUnfreeze, kBeforeHook };
enum class MirrorRewrite : uint8_t { kRemoves, kBug };
enum class ExternalFree : uint8_t { kAtOnce, kRcu };
enum class FaultLock : uint8_t { kRead, kWrite };
// What a fault does about its page in the S-EPT when the exchange behind the hook is lost.
enum class SeamFirstUndo : uint8_t { kNone, kReadLock, kWriteLock };

// --- what the hooks do with the TDX module ---
enum class SeamcallBusy : uint8_t {
  kKickRetry,   // populate: the fault is retried; removal: all vCPUs are kicked out, once more
  kRetryFault,  // populate: the fault is retried; REMOVE, WBINVD, TRACK loop; a busy BLOCK is a bug
  kBug,         // any error is a bug
  kBugButTrack,  // v8: any but TRACK's, which loops
};
enum class TrackOrder : uint8_t { kTrackThenKick, kKickThenTrack };
enum class HkidRelease : uint8_t { kAfterKeyFreeid, kBeforeCacheWb };

// --- code paths as they were before a fix, by what was fixed ---
enum class ZapFlush : uint8_t {  // flush owed by roots that were zapped, in a loop over roots
  kAccumulated,  // handed to the next root and returned
  kLastRoot,     // the result of a root replaces that of the roots before it
  kOwn,          // each root begins without, so that a yield does not flush for the others
};
enum class NxRecoveryFlush : uint8_t { kBeforeUnlock, kAtEnd, kNever };
enum class WriteProtectSkips : uint8_t { kProtected, kReadOnly };
enum class GmemUnbind : uint8_t { kAlways, kLiveFile };
enum class IterAfterYield : uint8_t { kStays, kAdvances };
enum class RootLoadFlush : uint8_t { kAll, kGuestOnly };

// --- memory barriers, in pairs: which one is missing ---
enum class SeqBarriers : uint8_t { kBoth, kNoRmb, kNoWmb };
enum class KickBarriers : uint8_t { kBoth, kNotOnEntry, kNotInKick };

// --- which alias an unmap zaps (seed 001) ---
enum class UnmapFilter : uint8_t {
  kAttrFilter,         // KVM_FILTER_PRIVATE, KVM_FILTER_SHARED
  kOnlyPrivateShared,  // only_private gates private roots, shared roots are always zapped
  kExcludeFlags,       // exclude_private, exclude_shared
  kExcludeUnguarded,   // the same without the test of kvm_gfn_shared_mask()
  kExcludePrivateOnly, // the same without exclude_shared
  kNone,               // every root
};

// --- shadow paging (seed 003) ---
// mmu_set_spte() of a leaf whose pfn stays (was_rmapped).
enum class ShadowRewrite : uint8_t {
  kNothing,      // v2: what is cached stays
  kAccess,       // 6.0: kvm_mmu_page_set_access
  kTranslation,  // the gfn, too, as kvm_mmu_page_set_translation does
};
enum class ShadowSplitAccess : uint8_t { kCached, kHugeSpte };

// --- pending: huge private pages, Dynamic PAMT, in-place conversion ---
enum class ConversionSplit : uint8_t { kNever, kBeforeWindow, kInWindow };
enum class SplitRange : uint8_t { kExact, kWidened, kWidenedConversion };
enum class AcceptInhibit : uint8_t { kNone, kSlotBit };
enum class DemoteProtocol : uint8_t { kBlockTrackDemote, kDemoteOnly };
enum class DemoteInterrupted : uint8_t { kBug, kLoop };
enum class PamtPut : uint8_t { kDecAndLock, kDecOutside, kLocked };
enum class GmemFilter : uint8_t { kByOperation, kUnionOfPresent, kOtherAlias, kBoth };

struct Design {
  std::string_view name;
  std::string_view source;

  // --- words ---
  uint64_t frozen_low = 0x1a0;      // FROZEN_SPTE without the non-present value
  int role_access_bits = 4;         // role.access: W,U,X (3) or R,W,U,X (4), at bit 8
  int role_invalid_bit = 12;
  int ad_type_shift = 60;           // SPTE_TDP_AD_SHIFT
  int saved_bits_shift = 52;        // SHADOW_ACC_TRACK_SAVED_BITS_SHIFT
  uint64_t saved_bits_mask = 0x405; // R, X (and user X) that access tracking saves
  int mmio_gen_low_bits = 7;        // width of the low part of the MMIO generation, at bit 3
  int ept_host_writable_bit = 53;
  int ept_mmu_writable_bit = 55;
  bool ept_user_exec = true;        // bit 10 is user-execute (mode-based execute control)
  bool ad_masks_without_ad = true;  // A and D masks exist as software bits although A/D is off

  // --- make_spte and the fault ---
  bool early_spurious = true;            // present leaf that permits the access: RET_PF_SPURIOUS at once
  bool dirty_needs_unwritable_old = false;  // D is not set when old is "last" and has W (6.12)
  bool volatile_needs_accessed = false;  // a clear A bit makes a leaf volatile (6.12)
  bool volatile_if_ad_disabled = true;   // a leaf without A/D bits is always volatile
  bool pfn_dirty_accessed_hints = false; // kvm_set_pfn_dirty/accessed on removal (6.12)

  // --- walks ---
  bool poll_before_progress = true;  // need_resched is asked before the forward-progress test

  // --- operations ---
  RemovalTrace removal_trace = RemovalTrace::kAfterChildren;
  Collapse collapse = Collapse::kRecoverHuge;
  Ageing ageing = Ageing::kLocklessValidRoots;
  NxRecovery nx_recovery = NxRecovery::kReadLockZapPossibleNx;
  bool nx_recovery_miscounts = true;  // unaccount_nx_huge_page books TDP pages as shadow pages
  AllocRootVisits alloc_root_visits = AllocRootVisits::kAllValid;
  VmDestroyZap vm_destroy = VmDestroyZap::kExclusive;
  ExternalHook external_hook = ExternalHook::kSingle;
  bool root_types = true;             // roots have kinds; filters select them
  bool filter_selects_roots = true;   // unmap_gfn_range looks at attr_filter at all
  uint8_t slot_unmap_filter = 3;      // attr_filter of the unmap in a slot's deletion
  bool flush_when_young = false;      // clear_flush_young flushes (6.12)
  bool prefault_eagain_on_invalid_slot = true;
  bool gmem_overlap_eexist = true;    // kvm_gmem_bind of pages that are bound: -EEXIST, not -EINVAL
  bool attributes_tracepoint = true;  // kvm_vm_set_mem_attributes exists

  // --- addresses and walks of a VM with a shared bit ---
  FaultAddr fault_addr = FaultAddr::kWalked;
  RootChoice root_choice = RootChoice::kByAddress;
  IterIndex iter_index = IterIndex::kGfnBits;
  ZapBounds zap_bounds = ZapBounds::kPlain;

  // --- mirror entries ---
  MirrorSet mirror_set = MirrorSet::kFreeze;
  HookErrors hook_errors = HookErrors::kReturned;
  bool freeze_fail_refresh = true;  // a lost cmpxchg to FROZEN renews iter.old_spte
  MirrorTrace mirror_trace = MirrorTrace::kInFreeze;
  MirrorRewrite mirror_rewrite = MirrorRewrite::kRemoves;
  MirrorRemoval mirror_removal = MirrorRemoval::kWriteLock;
  RemovalProtocol removal_protocol = RemovalProtocol::kBlockTrackRemove;
  bool two_pass_zap = false;  // a private leaf is blocked by one hook, removed by another
  ExternalFree external_free = ExternalFree::kAtOnce;
  FaultLock fault_lock = FaultLock::kRead;
  bool hook_in_rcu = true;  // a hook's SEAMCALLs are made inside a read-side section of RCU
  SeamFirstUndo seam_first_undo = SeamFirstUndo::kNone;

  // --- SEAMCALLs ---
  bool seamcall_lock = false;
  bool seamcall_lock_spans_set = false;  // that lock is held from the cmpxchg to the SEAMCALL's end
  bool seamcall_lock_track = true;       // it is held around TDH.MEM.TRACK, too
  bool seamcalls_serial = false;         // what the design counts on: no two on a TD's memory overlap
  SeamcallBusy seamcall_busy = SeamcallBusy::kKickRetry;
  TrackOrder track_order = TrackOrder::kTrackThenKick;
  bool page_pins = false;
  bool premap_count = false;        // before FINALIZE: count, and PAGE.ADD later (nr_premapped)
  bool leaf_reclaim = false;        // leaves may be there after the HKID went: PHYMEM.PAGE.RECLAIM
  HkidRelease hkid_release = HkidRelease::kAfterKeyFreeid;  // when KVM takes it for gone
  bool module_switch_flush = true;  // VP.ENTER flushes where another vCPU ran last on the CPU
  bool retry_tests_slot = true;     // the TDX retry loop ends on an INVALID slot
  bool retry_eats_vm_dead = false;  // that loop consumes KVM_REQ_VM_DEAD when it tests for it

  // --- zaps ---
  UnmapFilter unmap_filter = UnmapFilter::kAttrFilter;
  bool zap_drops_flush = false;   // a skipped private root returns false, not the flush owed so far
  bool zap_range_mirror = true;   // kvm_zap_gfn_range zaps mirror roots, too
  bool shared_exec = true;        // shared SPTEs of a TD may be executable

  // --- before fixes ---
  ZapFlush zap_flush = ZapFlush::kAccumulated;
  NxRecoveryFlush nx_recovery_flush = NxRecoveryFlush::kBeforeUnlock;
  bool populate_has_pfn = true;      // a page of the image is mapped by its pfn, not faulted in
  bool nx_track_rechecks = true;     // a table that went meanwhile is not put on the NX list
  bool nx_zap_checks_table = true;   // recovery zaps an entry only if it still maps that table
  bool straddling_joins = true;      // huge pages across the ends of a conversion are invalidated, too
  bool stale_tests_root = true;      // is_page_fault_stale looks at the root
  bool stale_tests_seq = true;       // and at the invalidation sequence
  bool volatile_atomic = true;       // SPTEs with volatile bits are exchanged, not just written
  WriteProtectSkips write_protect_skips = WriteProtectSkips::kProtected;
  RootLoadFlush root_load_flush = RootLoadFlush::kAll;
  bool zap_all_spares_mirror = true; // kvm_tdp_mmu_zap_all leaves mirror roots alone
  bool vp_init_mmu_lock = true;      // TDH.VP.INIT is called with mmu_lock held
  GmemUnbind gmem_unbind = GmemUnbind::kAlways;
  IterAfterYield iter_after_yield = IterAfterYield::kStays;
  bool early_retry_puts = true;      // a fault that retries after the page was found gives it back
  bool lost_refreshes = true;        // a lost exchange leaves what it found in iter.old_spte
  bool slot_synchronizes = true;     // a memslot update waits for kvm->srcu
  bool reload_frees_obsolete = true; // kvm_mmu_reload drops an obsolete root, and loads another

  // --- memory barriers ---
  SeqBarriers seq_barriers = SeqBarriers::kBoth;
  KickBarriers kick_barriers = KickBarriers::kBoth;
  bool finalize_barriers = true;     // a vCPU that may pre-fault sees TD_STATE_RUNNABLE

  // --- shadow paging ---
  ShadowRewrite shadow_rewrite = ShadowRewrite::kAccess;
  ShadowSplitAccess shadow_split_access = ShadowSplitAccess::kCached;

  // --- pending ---
  int private_max_level = 1;
  bool private_demote = false;
  DemoteProtocol demote_protocol = DemoteProtocol::kBlockTrackDemote;
  DemoteInterrupted demote_interrupted = DemoteInterrupted::kBug;
  ConversionSplit conversion_split = ConversionSplit::kNever;
  SplitRange split_range = SplitRange::kExact;
  AcceptInhibit accept_inhibit = AcceptInhibit::kNone;
  bool dynamic_pamt = false;
  PamtPut pamt_put = PamtPut::kDecAndLock;
  bool gmem_in_place = false;
  GmemFilter gmem_filter = GmemFilter::kByOperation;
};

// The rows that are there; the order is the order in which they are listed.
std::span<const Design> designs();

// nullptr when there is no such row.
const Design* find_design(std::string_view name);

}  // namespace mmucheck::model
