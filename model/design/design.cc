#include "model/design/design.h"

#include <array>

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
  return d;
}

constexpr std::array<Design, 2> kRows{linux_6_12(), linux_7_2()};

}  // namespace

std::span<const Design> designs() { return kRows; }

const Design* find_design(std::string_view name) {
  for (const Design& d : kRows)
    if (d.name == name) return &d;
  return nullptr;
}

}  // namespace mmucheck::model
