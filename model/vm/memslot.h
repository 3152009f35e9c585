// model/vm: memslots as cells. A slot is named by a small handle (0 .. kMaxSlots-1) that the
// caller chooses; its fields are cells, so that an exploration sees accesses to them.
// Units: base and npages in 4 KiB frames, hva in bytes. Source: kvm_main.c, x86.c
// (kvm_alloc_memslot_metadata).
#pragma once

#include <cstdint>

#include "model/address/address.h"
#include "model/store/cell.h"
#include "model/vm/large_pages.h"

namespace mmucheck::model {

enum class SlotField : uint8_t {
  kInUse,     // 1 while the handle names a slot
  kAsId, kId, kBase, kNpages, kHva,
  kFlags,     // KVM_MEM_*
  kInvalid,   // KVM_MEMSLOT_INVALID: being deleted or moved
  kGmem,      // guest_memfd handle + 1
  kGmemOffset, // page offset of the slot in the file
  kStamp,      // order of creation
};

inline constexpr uint32_t kMaxSlots = 1024;
inline constexpr uint32_t kNoSlot = 0xffffffffu;
inline constexpr uint64_t kMemLogDirtyPages = 1;  // KVM_MEM_LOG_DIRTY_PAGES
inline constexpr uint64_t kMemReadonly = 2;
inline constexpr uint64_t kMemGuestMemfd = 4;
inline constexpr uint64_t kMemMaxNrPages = (uint64_t{1} << 31) - 1;  // KVM_MEM_MAX_NR_PAGES
inline constexpr uint64_t kLpageMixed = uint64_t{1} << 31;  // KVM_LPAGE_MIXED_FLAG

template <class W>
uint64_t slot_get(const W& w, uint32_t slot, SlotField f) {
  return w.store.get(cell::of(CellKind::kSlotField, slot, static_cast<uint64_t>(f)));
}
template <class W>
void slot_set(W& w, uint32_t slot, SlotField f, uint64_t v) {
  w.store.set(cell::of(CellKind::kSlotField, slot, static_cast<uint64_t>(f)), v);
}

// Pending: the guest accepted a smaller page there (KVM_LPAGE_GUEST_INHIBIT_FLAG). Never cleared.
inline constexpr uint64_t kLpageGuestInhibit = uint64_t{1} << 30;

constexpr uint64_t kMemoryAttributePrivate = 8;  // KVM_MEMORY_ATTRIBUTE_PRIVATE

template <class W>
bool slot_in_use(const W& w, uint32_t slot) {
  return slot_get(w, slot, SlotField::kInUse) != 0;
}
template <class W>
uint32_t slot_bound(const W& w) {
  return static_cast<uint32_t>(w.field(CellKind::kSlotBound));
}

template <class W>
bool slot_contains(const W& w, uint32_t slot, uint64_t gfn) {
  const uint64_t base = slot_get(w, slot, SlotField::kBase);
  return gfn >= base && gfn - base < slot_get(w, slot, SlotField::kNpages);
}

// The slot that maps `gfn` in an address space (__gfn_to_memslot); INVALID ones too.
template <class W>
uint32_t gfn_to_memslot(const W& w, uint32_t as_id, uint64_t gfn) {
  for (uint32_t s = 0; s < slot_bound(w); s++) {
    if (slot_in_use(w, s) && slot_get(w, s, SlotField::kAsId) == as_id && slot_contains(w, s, gfn)) {
      return s;
    }
  }
  return kNoSlot;
}
// id_to_memslot.
template <class W>
uint32_t id_to_memslot(const W& w, uint32_t as_id, uint64_t id) {
  for (uint32_t s = 0; s < slot_bound(w); s++) {
    if (slot_in_use(w, s) && slot_get(w, s, SlotField::kAsId) == as_id &&
        slot_get(w, s, SlotField::kId) == id) {
      return s;
    }
  }
  return kNoSlot;
}

// kvm_slot_dirty_track_enabled.
template <class W>
bool slot_dirty_track_enabled(const W& w, uint32_t slot) {
  return slot != kNoSlot && slot_get(w, slot, SlotField::kFlags) & kMemLogDirtyPages;
}

constexpr Cell lpage_cell(uint32_t slot, int level, uint64_t idx) {
  return cell::of(CellKind::kLpageDisallow, slot, static_cast<uint64_t>(level) << 40 | idx);
}

// lpage_info_slot(gfn, slot, level)->disallow_lpage.
template <class W>
uint64_t lpage_disallow(const W& w, uint32_t slot, uint64_t gfn, int level) {
  const uint64_t base = slot_get(w, slot, SlotField::kBase);
  return w.store.get(lpage_cell(slot, level, gfn_to_index<>(gfn, base, level)));
}

// kvm_alloc_memslot_metadata: which large pages a slot can never have: a head or tail that is not
// a whole one, and all of them when gfn and hva are not congruent.
template <class W>
void init_lpage_info(W& w, uint32_t slot) {
  const uint64_t base = slot_get(w, slot, SlotField::kBase);
  const uint64_t npages = slot_get(w, slot, SlotField::kNpages);
  const uint64_t ugfn = slot_get(w, slot, SlotField::kHva) >> kPageShift;
  for (int level = kPgLevel2M; level <= kMaxHugepageLevel; level++) {
    const uint64_t n = lpage_entries<>(base, npages, level);
    for (uint64_t i = 0; i < n; i++) {
      w.store.set(lpage_cell(slot, level, i), never_large<>(base, npages, ugfn, level, i) ? 1 : 0);
    }
  }
}

template <class W>
void clear_lpage_info(W& w, uint32_t slot) {
  const uint64_t base = slot_get(w, slot, SlotField::kBase);
  const uint64_t npages = slot_get(w, slot, SlotField::kNpages);
  for (int level = kPgLevel2M; level <= kMaxHugepageLevel; level++) {
    const uint64_t n = lpage_entries<>(base, npages, level);
    for (uint64_t i = 0; i < n; i++) w.store.set(lpage_cell(slot, level, i), 0);
  }
}

// __kvm_mmu_max_mapping_level without the host's part: what lpage_info allows.
template <class W>
int lpage_max_level(const W& w, uint32_t slot, uint64_t gfn, int max_level) {
  while (max_level > kPgLevel4K && lpage_disallow(w, slot, gfn, max_level) != 0) max_level--;
  return max_level;
}

// tdx_gmem_max_mapping_level: PAGE.ADD knows 4K only, so a TD that is being built has no other.
template <class W>
int gmem_max_mapping_level(const W& w, int max_level) {
  if (!w.vm.has_mirror) return max_level;
  const int limit = w.field(CellKind::kTdRunnable) != 0 ? w.design.private_max_level : kPgLevel4K;
  return limit < max_level ? limit : max_level;
}

// `level_unseen`: nothing that a recording shows depends on the host's level (it only decides what
// counts as split for the NX workaround).
// kvm_mmu_max_mapping_level; `priv`: the mapping is of private memory, which has no host table.
template <class W>
int kvm_mmu_max_mapping_level(W& w, uint32_t slot, uint64_t gfn, int max_level, bool priv,
                              bool level_unseen = false) {
  if (max_level > w.host.max_huge_page_level) max_level = w.host.max_huge_page_level;
  max_level = lpage_max_level(w, slot, gfn, max_level);
  if (max_level == kPgLevel4K) return max_level;
  if (priv) return gmem_max_mapping_level(w, max_level);
  const int host = w.env.host_level(slot, gfn, level_unseen);
  return host < max_level ? host : max_level;
}

// mark_page_dirty_in_slot: sets the bit of a logged slot; called for any slot.
template <class W>
void mark_page_dirty_in_slot(W& w, uint32_t slot, uint64_t gfn) {
  w.emit(ev::MarkDirty{slot, gfn});
  if (!slot_dirty_track_enabled(w, slot)) return;
  w.store.set(cell::of(CellKind::kDirtyBit, slot, gfn - slot_get(w, slot, SlotField::kBase)), 1);
}

}  // namespace mmucheck::model
