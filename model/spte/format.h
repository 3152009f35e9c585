// model/spte: the bit layout of SPTEs as one value: KVM's shadow_* masks and constants.
//
// Structural data: the same for every entry of a VM, never symbolic. Built by make_spte_format()
// from the design row and what the host is like. Sources: arch/x86/kvm/mmu/spte.h and spte.c
// (kvm_mmu_reset_all_pte_masks, kvm_mmu_set_ept_masks, kvm_mmu_set_mmio_spte_mask).
#pragma once

#include <cstdint>

#include "model/design/design.h"

namespace mmucheck::model {

inline constexpr uint64_t kPtWritable = uint64_t{1} << 1;    // PT_WRITABLE_MASK, both formats
inline constexpr uint64_t kPtPageSize = uint64_t{1} << 7;    // PT_PAGE_SIZE_MASK
inline constexpr uint64_t kMmuPresent = uint64_t{1} << 11;   // SPTE_MMU_PRESENT_MASK
inline constexpr uint64_t kNonpresent = uint64_t{1} << 63;   // SHADOW_NONPRESENT_VALUE
inline constexpr uint64_t kPfnMask = 0x000ffffffffff000ull;  // bits 51:12
inline constexpr uint64_t kNoslotPfn = uint64_t{1} << 63;    // KVM_PFN_NOSLOT

enum class PageTableFormat : uint8_t { kNpt, kEpt };

// What the host and the module parameters add to the design; `maxphyaddr` in bits.
struct HostMmu {
  PageTableFormat format = PageTableFormat::kNpt;
  bool ad_bits = true;             // EPT: A/D bits enabled (kvm_ad_enabled)
  bool exec_only = true;           // EPT: execute-only translations (6.12 only asks)
  int maxphyaddr = 48;             // after memory encryption took its bits
  bool l1tf = false;               // shadow_nonpresent_or_rsvd_mask is in use
  bool mmio_caching = true;        // enable_mmio_caching
  int max_huge_page_level = 3;     // max_huge_page_level of tdp_mmu
  uint64_t ept_memtype_bits = 0;   // memory type OR-ed into EPT leafs (kvm_x86_ops.get_mt_mask)
  bool nx_huge_pages = false;      // the iTLB multihit workaround
  int cpu_dirty_log_size = 0;      // PML: entries of the buffer, 0 = none
  bool prove_mmu = false;          // CONFIG_KVM_PROVE_MMU
};

struct SpteFormat {
  uint64_t present = 0;        // shadow_present_mask
  uint64_t read = 0;           // bit that ACC_READ sets (7.x EPT); 0 where `present` or `user` do it
  uint64_t user = 0;           // shadow_user_mask
  uint64_t exec = 0;           // shadow_x_mask (or shadow_xs_mask | shadow_xu_mask)
  uint64_t nx = 0;             // shadow_nx_mask
  uint64_t accessed = 0;       // shadow_accessed_mask
  uint64_t dirty = 0;          // shadow_dirty_mask
  uint64_t host_writable = 0;  // shadow_host_writable_mask
  uint64_t mmu_writable = 0;   // shadow_mmu_writable_mask
  uint64_t memtype = 0;        // OR-ed into leafs
  uint64_t acc_track = 0;      // shadow_acc_track_mask
  uint64_t saved_bits = 0;     // SHADOW_ACC_TRACK_SAVED_BITS_MASK
  int saved_shift = 0;
  uint64_t ad_type_mask = 0;   // SPTE_TDP_AD_MASK
  uint64_t ad_disabled = 0;    // SPTE_TDP_AD_DISABLED
  uint64_t ad_wrprot_only = 0; // SPTE_TDP_AD_WRPROT_ONLY
  uint64_t mmio_value = 0;     // kvm->arch.shadow_mmio_value
  uint64_t mmio_mask = 0;
  uint64_t mmio_access = 0;
  bool mmio_caching = true;
  int mmio_gen_low_bits = 8;
  uint64_t rsvd_mask = 0;      // shadow_nonpresent_or_rsvd_mask (L1TF)
  uint64_t frozen = 0;         // FROZEN_SPTE
  bool ad_enabled = true;      // kvm_ad_enabled()
  bool volatile_needs_accessed = false;
  bool volatile_if_ad_disabled = true;
  bool dirty_needs_unwritable_old = false;
  bool accessed_is_plain_bit = true;  // is_accessed_spte looks at the A bit alone (7.x)
};

SpteFormat make_spte_format(const Design& design, const HostMmu& host);

// A TD's own MMIO value: entries that inject #VE (kvm_mmu_set_mmio_spte_value(kvm, 0)).
inline SpteFormat with_td_mmio_value(SpteFormat f) {
  f.mmio_value = 0;
  return f;
}

}  // namespace mmucheck::model
