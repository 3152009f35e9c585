#include "model/design/design.h"

namespace mmucheck::model {
namespace {

constexpr Design linux_7_2() {
  Design d;
  d.name = "linux-7.2";
  d.source = "Linux 7.2.13, recorded";
  return d;
}

constexpr Design linux_6_12() {
  Design d;
  d.name = "linux-6.12";
  d.source = "Linux 6.12.117, recorded";
  d.frozen_low = 0x5a0;
  d.role_access_bits = 3;
  d.role_invalid_bit = 11;
  d.ad_type_shift = 52;
  d.saved_bits_shift = 54;
  d.saved_bits_mask = 0x5;
  d.mmio_gen_low_bits = 8;
  d.ept_host_writable_bit = 57;
  d.ept_mmu_writable_bit = 58;
  d.ept_user_exec = false;
  d.ad_masks_without_ad = false;
  d.early_spurious = false;
  d.dirty_needs_unwritable_old = true;
  d.volatile_needs_accessed = true;
  d.volatile_if_ad_disabled = false;
  d.pfn_dirty_accessed_hints = true;
  d.poll_before_progress = false;
  d.removal_trace = RemovalTrace::kBeforeChildren;
  d.collapse = Collapse::kZapCollapsible;
  d.ageing = Ageing::kWriteLockAllRoots;
  d.nx_recovery = NxRecovery::kWriteLockZapSp;
  d.nx_recovery_miscounts = false;
  d.alloc_root_visits = AllocRootVisits::kWantedKind;
  d.vm_destroy = VmDestroyZap::kSharedSilentInvalidate;
  d.external_hook = ExternalHook::kNone;
  d.root_types = false;
  d.filter_selects_roots = false;
  d.slot_unmap_filter = 0;
  d.flush_when_young = true;
  d.prefault_eagain_on_invalid_slot = false;
  d.gmem_overlap_eexist = false;
  d.attributes_tracepoint = false;
  d.reload_frees_obsolete = false;
  return d;
}

// --- releases between the recorded kernels ---

constexpr Design upstream_7_x() {
  Design d = linux_7_2();
  d.name = "upstream-7.x";
  d.source = "Linux 7.x: single hook, TDX MMU refactors v2 (20260509075201.4077)";
  return d;
}

// What the mirror's code was from 6.14 to 6.19, in places already in v19.
constexpr void before_single_hook(Design& d) {
  d.removal_trace = RemovalTrace::kBeforeChildren;
  d.mirror_trace = MirrorTrace::kAfterUnfreeze;
  d.mirror_rewrite = MirrorRewrite::kBug;
  d.freeze_fail_refresh = false;
  d.external_free = ExternalFree::kRcu;
}

// Words and what is not dated stay as recorded on 6.12. There is no tdx.c yet: what it does is as
// in 6.16, where it first comes.
constexpr Design upstream_6_14() {
  Design d = linux_6_12();
  d.name = "upstream-6.14";
  d.source = "Linux 6.14: TDP MMU with mirror roots; what is not dated as in 6.12";
  d.early_spurious = true;
  d.dirty_needs_unwritable_old = false;  // the A/D clean-up of 6.13, with the next four
  d.volatile_needs_accessed = false;
  d.volatile_if_ad_disabled = true;
  d.pfn_dirty_accessed_hints = false;
  d.flush_when_young = false;
  d.collapse = Collapse::kRecoverHuge;
  d.alloc_root_visits = AllocRootVisits::kAllValid;
  d.vm_destroy = VmDestroyZap::kExclusive;  // mirror roots are not zapped under the read lock
  d.external_hook = ExternalHook::kFour;
  d.root_types = true;
  d.filter_selects_roots = true;
  d.slot_unmap_filter = 3;
  before_single_hook(d);
  d.page_pins = true;
  d.retry_tests_slot = false;
  d.retry_eats_vm_dead = true;
  d.straddling_joins = false;
  d.gmem_unbind = GmemUnbind::kLiveFile;
  d.vp_init_mmu_lock = false;
  return d;
}

constexpr Design upstream_6_16() {
  Design d = upstream_6_14();
  d.name = "upstream-6.16";
  d.source = "Linux 6.16: tdx.c, lockless ageing (6.15); without the deadlock fixes of 6.18";
  d.ageing = Ageing::kLocklessValidRoots;
  d.straddling_joins = true;  // 6.15
  d.reload_frees_obsolete = true;
  d.premap_count = true;
  return d;
}

constexpr Design upstream_6_18() {
  Design d = upstream_6_16();
  d.name = "upstream-6.18";
  d.source = "Linux 6.18: NX recovery under the read lock, the deadlock fixes of prefault and TDX";
  d.retry_tests_slot = true;
  d.prefault_eagain_on_invalid_slot = true;
  d.nx_recovery = NxRecovery::kReadLockZapPossibleNx;
  d.gmem_unbind = GmemUnbind::kAlways;
  return d;
}

constexpr Design upstream_6_19() {
  Design d = upstream_6_18();
  d.name = "upstream-6.19";
  d.source = "Linux 6.19: populating adds pages itself, no pins, TDX locks of the 6.19 pull";
  d.page_pins = false;
  d.premap_count = false;
  d.vp_init_mmu_lock = true;
  return d;
}

// --- series up to v19: upstream-7.x with what they did otherwise ---

constexpr Design v8() {
  Design d = upstream_7_x();
  d.name = "v8";
  d.source = "TDX series v8 (August 2022), patch 053/103; seed 002";
  before_single_hook(d);
  d.external_hook = ExternalHook::kEveryChange;
  d.mirror_trace = MirrorTrace::kBeforeHook;
  d.fault_addr = FaultAddr::kRaw;
  d.root_choice = RootChoice::kByPrivate;
  d.iter_index = IterIndex::kRawGfn;
  d.zap_bounds = ZapBounds::kPerRoot;
  d.hook_errors = HookErrors::kDropped;
  d.mirror_removal = MirrorRemoval::kReadLock;
  d.seamcall_lock = true;
  d.seamcalls_serial = true;
  d.seamcall_busy = SeamcallBusy::kBugButTrack;
  d.track_order = TrackOrder::kKickThenTrack;
  d.page_pins = true;
  d.leaf_reclaim = true;
  d.unmap_filter = UnmapFilter::kNone;
  d.zap_drops_flush = true;
  return d;
}

// Five hooks that return errors. Whether the spinlock was still there is not settled by what could
// be read; the mails of January 2023 argue without it.
constexpr Design v11() {
  Design d = v8();
  d.name = "v11";
  d.source = "TDX series v11 (January 2023), read as v10 049; seed 004";
  d.external_hook = ExternalHook::kFive;
  d.hook_errors = HookErrors::kReturned;
  d.seamcall_lock = false;
  d.seamcalls_serial = false;
  d.seamcall_busy = SeamcallBusy::kRetryFault;
  d.two_pass_zap = true;
  return d;
}

constexpr Design v19() {
  Design d = v11();
  d.name = "v19";
  d.source = "TDX series v19 (February 2024), patches 059, 060, 062, 070; seed 001";
  d.mirror_trace = MirrorTrace::kAfterUnfreeze;
  d.mirror_removal = MirrorRemoval::kWriteLock;  // by an assertion in the removal hook
  d.unmap_filter = UnmapFilter::kOnlyPrivateShared;
  d.zap_range_mirror = false;
  d.shared_exec = false;
  return d;
}

constexpr Design v19_exclude() {
  Design d = v19();
  d.name = "v19-exclude";
  d.source = "seed 001: v19 with exclude_private and exclude_shared (20 April 2024)";
  d.unmap_filter = UnmapFilter::kExcludeFlags;
  d.zap_drops_flush = false;  // there is no zap_private argument any more
  return d;
}

// --- proposals: upstream-7.x with what the mail is about ---

constexpr Design naive() {
  Design d = upstream_7_x();
  d.name = "naive";
  d.source = "design document cited in seed 004: entries are not frozen, errors stay";
  d.mirror_set = MirrorSet::kCmpxchgFirst;
  d.hook_errors = HookErrors::kDropped;
  d.mirror_removal = MirrorRemoval::kReadLock;
  d.seamcall_busy = SeamcallBusy::kBug;
  return d;
}

constexpr Design seed000_sketch() {
  Design d = upstream_7_x();
  d.name = "seed000-sketch";
  d.source = "seed 000: the sketch of May 2024, as literally proposed";
  d.fault_addr = FaultAddr::kStripped;
  d.iter_index = IterIndex::kSeed000Sketch;
  return d;
}

constexpr Design addr_stripped() {
  Design d = upstream_7_x();
  d.name = "addr-stripped";
  d.source = "seed 000: option 1, fault->addr without the shared bit";
  d.fault_addr = FaultAddr::kStripped;
  return d;
}

constexpr Design addr_raw() {
  Design d = upstream_7_x();
  d.name = "addr-raw";
  d.source = "seed 000: option 2 with raw_gfn in tdp_iter, walked from fault->addr";
  d.fault_addr = FaultAddr::kRaw;
  d.iter_index = IterIndex::kRawGfn;
  d.zap_bounds = ZapBounds::kPerRoot;  // "the zapping code just does this"
  return d;
}

constexpr Design seam_first() {
  Design d = upstream_7_x();
  d.name = "seam-first";
  d.source = "seed 004: the hook before try_cmpxchg64 (23 January 2023)";
  d.mirror_set = MirrorSet::kHookFirst;
  d.mirror_removal = MirrorRemoval::kReadLock;
  return d;
}

constexpr Design block_parent_rcu() {
  Design d = upstream_7_x();
  d.name = "block-parent-rcu";
  d.source = "seed 004: RANGE.BLOCK on the parent, children reaped after a grace period";
  d.removal_protocol = RemovalProtocol::kBlockParentReapRcu;
  d.mirror_removal = MirrorRemoval::kReadLock;
  return d;
}

constexpr Design seamcall_lock_only() {
  Design d = naive();
  d.name = "seamcall-lock-only";
  d.source = "seed 002, hypothetical: no freezing, one spinlock around cmpxchg and SEAMCALL";
  d.seamcall_lock = true;
  d.seamcall_lock_spans_set = true;
  return d;
}

constexpr Design huge() {
  Design d = upstream_7_x();
  d.name = "huge";
  d.source = "TDX huge pages v3 (20260106101646.24809), pending";
  d.private_max_level = 2;
  d.private_demote = true;
  d.conversion_split = ConversionSplit::kInWindow;
  d.split_range = SplitRange::kWidenedConversion;
  d.accept_inhibit = AcceptInhibit::kSlotBit;
  return d;
}

constexpr Design kRows[] = {naive(),
                            v8(),
                            v11(),
                            v19(),
                            v19_exclude(),
                            seed000_sketch(),
                            addr_stripped(),
                            addr_raw(),
                            seam_first(),
                            block_parent_rcu(),
                            seamcall_lock_only(),
                            upstream_6_14(),
                            upstream_6_16(),
                            upstream_6_18(),
                            upstream_6_19(),
                            upstream_7_x(),
                            huge(),
                            linux_6_12(),
                            linux_7_2()};

}  // namespace

std::span<const Design> designs() { return kRows; }

const Design* find_design(std::string_view name) {
  for (const Design& d : kRows)
    if (d.name == name) return &d;
  return nullptr;
}

}  // namespace mmucheck::model
