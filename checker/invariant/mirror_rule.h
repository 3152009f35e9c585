// checker/invariant: when a mirror entry and the S-EPT entry at its place agree (TDX-SEPT-MIRROR).
// Whether the place is to be compared at all (frozen entries, a TD without HKID) is the caller's
// affair. Source: tdx.c, tdx_sept_set_private_spte and its callers.
#pragma once

#include "checker/invariant/monitor.h"
#include "model/tdx/prologue.h"

namespace mmucheck::invariant {

// Both there, for the same page, or both not. A blocked leaf still is; what hardware sees of it is
// another matter. Where the children of a blocked table are reaped later (seed 004), the table is
// gone as soon as it is blocked. `level` is KVM's.
inline bool mirror_agrees(const View& v, int level, uint64_t spte, uint64_t entry) {
  namespace tdx = model::tdx;
  const bool empty = tdx::is_sept_free<>(entry) ||
                     tdx::is_state<>(entry, tdx::SeptEntryState::kRemoved);
  if (!model::is_shadow_present_pte<>(spte)) {
    return empty || (v.design.removal_protocol == model::RemovalProtocol::kBlockParentReapRcu &&
                     tdx::is_state<>(entry, tdx::SeptEntryState::kNlBlocked));
  }
  if (empty || tdx::sept_state_is_any_blocked<>(entry)) return false;
  const bool leaf = model::is_last_spte<>(spte, level);
  if (leaf != tdx::is_sept_leaf<>(entry)) return false;
  const uint64_t page = tdx::sept_hpa<>(entry, level - 1) >> model::kPageShift;
  if (leaf) return page == model::spte_to_pfn<>(spte);
  const uint32_t child = v.store.find_table(model::spte_to_pfn<>(spte));
  return child != model::kNoTable &&
         v.field(model::CellKind::kSpExternal, child) == page + 1;
}

// A sanctioned window of 6.16 to 6.18: a fault before FINALIZE only counts a page, whose PAGE.ADD
// comes later (tdx_mem_page_record_premap_cnt).
inline bool mirror_only_counted(const View& v, int level, uint64_t spte, uint64_t entry) {
  return v.design.premap_count && v.field(model::CellKind::kTdRunnable) == 0 &&
         v.field(model::CellKind::kNrPremapped) != 0 && model::is_last_spte<>(spte, level) &&
         model::is_shadow_present_pte<>(spte) && model::tdx::is_sept_free<>(entry);
}

}  // namespace mmucheck::invariant
