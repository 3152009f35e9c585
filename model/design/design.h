// model/design: a design is data. One row says every choice that differs between kernel versions,
// historic series and proposals; no other code asks which version it is.
//
// Sources: kvm-facts table "what differs between the two kernels"; measured on recordings of
// Linux 6.12 and 7.2 unless a choice says `unrecorded`.
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
enum class ExternalHook : uint8_t { kNone, kSingle };

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
};

// The rows that are there; the order is the order in which they are listed.
std::span<const Design> designs();

// nullptr when there is no such row.
const Design* find_design(std::string_view name);

}  // namespace mmucheck::model
