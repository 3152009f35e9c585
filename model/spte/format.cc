#include "model/spte/format.h"

#include <algorithm>

namespace mmucheck::model {
namespace {

constexpr int kMaxPhysBits = 52;
constexpr int kRsvdMaskLen = 5;  // SHADOW_NONPRESENT_OR_RSVD_MASK_LEN

uint64_t bits(int low, int high) {  // [low, high], empty when high < low
  uint64_t r = 0;
  for (int b = low; b <= high; b++) r |= uint64_t{1} << b;
  return r;
}

void set_npt_masks(SpteFormat& f) {
  f.present = 1;
  f.user = uint64_t{1} << 2;
  f.nx = uint64_t{1} << 63;
  f.accessed = uint64_t{1} << 5;
  f.dirty = uint64_t{1} << 6;
  f.host_writable = uint64_t{1} << 9;
  f.mmu_writable = uint64_t{1} << 10;
  // kvm_mmu_reset_all_pte_masks and svm_adjust_mmio_mask: the topmost reserved bit plus present.
  f.mmio_value = (uint64_t{1} << 51) | 1;
  f.mmio_mask = f.mmio_value;
  f.mmio_access = 6;
}

void set_ept_masks(SpteFormat& f, const Design& d, const HostMmu& h) {
  f.present = kNonpresent;  // VMX_EPT_SUPPRESS_VE_BIT
  if (d.ept_user_exec) {
    f.read = 1;
    f.exec = (uint64_t{1} << 2) | (uint64_t{1} << 10);
    f.acc_track = 0x407;
  } else {
    if (!h.exec_only) f.present |= 1;
    f.user = 1;
    f.exec = uint64_t{1} << 2;
    f.acc_track = 7;
  }
  if (h.ad_bits || d.ad_masks_without_ad) {
    f.accessed = uint64_t{1} << 8;
    f.dirty = uint64_t{1} << 9;
  }
  f.host_writable = uint64_t{1} << d.ept_host_writable_bit;
  f.mmu_writable = uint64_t{1} << d.ept_mmu_writable_bit;
  f.memtype = h.ept_memtype_bits;
  f.mmio_value = 6;  // VMX_EPT_MISCONFIG_WX_VALUE
  f.mmio_mask = kNonpresent | 7;
}

}  // namespace

SpteFormat make_spte_format(const Design& d, const HostMmu& h) {
  SpteFormat f;
  f.frozen = kNonpresent | d.frozen_low;
  f.saved_bits = d.saved_bits_mask;
  f.saved_shift = d.saved_bits_shift;
  f.ad_type_mask = uint64_t{3} << d.ad_type_shift;
  f.ad_disabled = uint64_t{1} << d.ad_type_shift;
  f.ad_wrprot_only = uint64_t{2} << d.ad_type_shift;
  f.mmio_gen_low_bits = d.mmio_gen_low_bits;
  f.volatile_needs_accessed = d.volatile_needs_accessed;
  f.volatile_if_ad_disabled = d.volatile_if_ad_disabled;
  f.dirty_needs_unwritable_old = d.dirty_needs_unwritable_old;
  f.accessed_is_plain_bit = d.ad_masks_without_ad;
  f.mmio_caching = h.mmio_caching;
  if (h.format == PageTableFormat::kNpt) {
    set_npt_masks(f);
    f.ad_enabled = true;
  } else {
    set_ept_masks(f, d, h);
    f.ad_enabled = h.ad_bits;
  }
  if (h.format == PageTableFormat::kNpt && h.maxphyaddr >= kMaxPhysBits) {
    // No reserved address bit is left that could mark MMIO.
    f.mmio_value = f.mmio_mask = 0;
    f.mmio_caching = false;
  }
  if (!h.mmio_caching) f.mmio_value = 0;
  if (h.l1tf && h.maxphyaddr < kMaxPhysBits - kRsvdMaskLen) {
    // kvm_mmu_reset_all_pte_masks: the 5 bits below min(MAXPHYADDR, 52).
    const int top = std::min(h.maxphyaddr, kMaxPhysBits);
    f.rsvd_mask = bits(top - kRsvdMaskLen, top - 1);
  }
  return f;
}

}  // namespace mmucheck::model
