// model/tdp: which memslot updates KVM refuses, and with what error. Source: kvm_main.c
// (check_memory_region_flags, kvm_set_memory_region), x86.c (kvm_arch_prepare_memory_region),
// guest_memfd.c (kvm_gmem_bind).
//
// classify_region() is what is looked at before anything changes. What the architecture refuses
// (prepare_refuses()) comes later: a slot that was to move is zapped by then, and is put back.
#pragma once

#include "model/tdp/world.h"
#include "model/vm/memslot.h"

namespace mmucheck::model {

enum class SlotChange : uint8_t { kCreate = 0, kDelete = 1, kMove = 2, kFlagsOnly = 3, kNone };

struct MemoryRegion {  // struct kvm_userspace_memory_region2, in frames but for hva
  uint64_t as_id = 0;
  uint64_t id = 0;
  uint64_t flags = 0;
  uint64_t base = 0;
  uint64_t npages = 0;
  uint64_t hva = 0;
  uint64_t gmem = 0;         // file handle + 1
  uint64_t gmem_offset = 0;  // file page
  bool misaligned = false;   // an address or the size is no multiple of 4K
};

namespace detail {

inline constexpr int32_t kEinval = -22;
inline constexpr int32_t kEexist = -17;
inline constexpr uint64_t kMemSlotsNum = 0x7fff;  // KVM_MEM_SLOTS_NUM: SHRT_MAX

// check_memory_region_flags: private memory is neither logged nor read-only, and a TD, whose writes
// KVM cannot emulate, has no read-only slots at all (kvm_arch_has_readonly_mem).
constexpr uint64_t valid_region_flags(uint64_t flags, bool is_td) {
  if (flags & kMemGuestMemfd) return kMemGuestMemfd;
  return kMemLogDirtyPages | kMemGuestMemfd | (is_td ? 0 : kMemReadonly);
}

// kvm_arch_nr_memslot_as_ids: VMs with private memory have no SMM.
template <class W>
uint64_t nr_memslot_as_ids(const W& w) {
  return w.vm.has_private_mem ? 1 : 2;
}

// kvm_arch_prepare_memory_region: no slot where guests have no addresses, nor in the shared half of
// a TD, whose gfns are those of the private one.
template <class W>
bool prepare_refuses(const W& w, const MemoryRegion& r, SlotChange change) {
  if (change != SlotChange::kCreate && change != SlotChange::kMove) return false;
  const uint64_t last = r.base + r.npages - 1;
  return last >= max_gfn_exclusive(w.host.maxphyaddr) ||
         is_gfn_alias<>(w.vm.gfn_direct_bits, Gfn<>{last});
}

// The overlap with another slot, or another binding of the file's pages: an error, or 0.
template <class W>
int32_t region_overlaps(const W& w, const MemoryRegion& r, uint32_t itself) {
  bool bound = false;
  for (uint32_t s = 0; s < slot_bound(w); s++) {
    if (!slot_in_use(w, s) || s == itself || slot_get(w, s, SlotField::kAsId) != r.as_id) continue;
    const uint64_t base = slot_get(w, s, SlotField::kBase);
    if (r.base < base + slot_get(w, s, SlotField::kNpages) && base < r.base + r.npages) {
      return kEexist;
    }
    // kvm_gmem_bind: a page of a file backs one gfn only.
    const uint64_t offset = slot_get(w, s, SlotField::kGmemOffset);
    if (r.gmem != 0 && slot_get(w, s, SlotField::kGmem) == r.gmem &&
        r.gmem_offset < offset + slot_get(w, s, SlotField::kNpages) &&
        offset < r.gmem_offset + r.npages) {
      bound = true;
    }
  }
  if (bound) return w.design.gmem_overlap_eexist ? kEexist : kEinval;
  return 0;
}

// What the update of `slot`, or of none, is; or the error that refuses it.
template <class W>
int32_t classify_region(const W& w, const MemoryRegion& r, uint32_t slot, SlotChange* change) {
  constexpr uint64_t kGfns = uint64_t{1} << (64 - kPageShift);
  // No file reaches beyond what loff_t can say; up to 7.1 a sum that did was taken for small.
  constexpr uint64_t kFilePages = kGfns / 2;
  *change = SlotChange::kNone;
  if ((r.flags & ~valid_region_flags(r.flags, w.vm.has_mirror)) != 0 || r.misaligned ||
      r.as_id >= nr_memslot_as_ids(w) || r.id >= kMemSlotsNum || r.npages > kMemMaxNrPages ||
      r.base >= kGfns || r.base + r.npages >= kGfns ||
      (r.gmem != 0 && r.gmem_offset + r.npages >= kFilePages)) {
    return kEinval;
  }
  if (r.npages == 0) {
    if (slot == kNoSlot) return kEinval;
    *change = SlotChange::kDelete;
    return 0;
  }
  if (slot == kNoSlot) {
    *change = SlotChange::kCreate;
  } else {
    const uint64_t old_flags = slot_get(w, slot, SlotField::kFlags);
    if (r.flags & kMemGuestMemfd || slot_get(w, slot, SlotField::kHva) != r.hva ||
        slot_get(w, slot, SlotField::kNpages) != r.npages ||
        (old_flags ^ r.flags) & (kMemReadonly | kMemGuestMemfd)) {
      return kEinval;
    }
    if (slot_get(w, slot, SlotField::kBase) == r.base) {
      if (old_flags != r.flags) *change = SlotChange::kFlagsOnly;
      return 0;
    }
    *change = SlotChange::kMove;
  }
  return region_overlaps(w, r, slot);
}

}  // namespace detail

}  // namespace mmucheck::model
