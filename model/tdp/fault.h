// model/tdp: what a page fault carries into the TDP MMU (struct kvm_page_fault), and the choice of
// its mapping level. Source: mmu_internal.h, mmu.c (kvm_mmu_hugepage_adjust,
// disallowed_hugepage_adjust).
#pragma once

#include "model/tdp/world.h"
#include "model/vm/memslot.h"

namespace mmucheck::model {

enum class RetPf : int8_t {  // RET_PF_*
  kContinue = 0, kRetry = 1, kEmulate = 2, kWriteProtected = 3, kInvalid = 4, kFixed = 5,
  kSpurious = 6,
};

struct Fault {
  uint64_t addr = 0;      // gpa, bytes; with the shared bit, unless the design strips it
  uint64_t gfn = 0;       // without direct bits
  uint64_t pfn = kNoslotPfn;
  uint64_t mmu_seq = 0;
  uint64_t mmio_gen = 0;  // memslot generation for an MMIO SPTE
  uint32_t slot = kNoSlot;
  uint16_t vcpu = 0;
  uint8_t max_level = kPgLevel4K;
  uint8_t req_level = kPgLevel4K;
  uint8_t goal_level = kPgLevel4K;
  bool write = false, exec = false, present = false, rsvd = false;
  bool prefetch = false, is_private = false;
  bool map_writable = false;
  bool nx_workaround = false;  // nx_huge_page_workaround_enabled
  bool huge_page_disallowed = false;
};

// The entry of kvm_tdp_mmu_map.
inline ev::Enter tdp_map_entry(const Fault& f) {
  return ev::Enter{ev::Fn::kTdpMap, kNoTable,
                   {f.vcpu, f.addr, f.gfn, f.pfn, f.write, f.exec, f.prefetch, f.is_private,
                    f.max_level, f.map_writable, f.nx_workaround, f.mmu_seq, f.slot}};
}

template <class W>
void kvm_mmu_hugepage_adjust(W& w, Fault& f) {
  f.huge_page_disallowed = f.exec && f.nx_workaround;
  f.req_level = f.goal_level = kPgLevel4K;
  if (f.max_level == kPgLevel4K || f.slot == kNoSlot) return;
  if (slot_dirty_track_enabled(w, f.slot)) return;
  f.req_level = static_cast<uint8_t>(kvm_mmu_max_mapping_level(
      w, f.slot, f.gfn, f.max_level, f.is_private, f.huge_page_disallowed));
  if (f.req_level == kPgLevel4K || f.huge_page_disallowed) return;
  f.goal_level = f.req_level;
  const uint64_t mask = pages_per_hpage(f.goal_level) - 1;
  if ((f.gfn & mask) != (f.pfn & mask)) w.warn("MMU-FAULT-CONGRUENT");
  f.pfn &= ~mask;
}

// A small page already split for the NX workaround keeps its region small; so does any table of a
// mirror root, since nothing is promoted there (TDX huge pages v3 06/24).
template <class W>
void disallowed_hugepage_adjust(W& w, Fault& f, uint64_t spte, int cur_level, bool mirror) {
  if (cur_level <= kPgLevel4K || cur_level != f.goal_level || !is_shadow_present_pte<>(spte) ||
      is_large_pte<>(spte)) {
    return;
  }
  const uint32_t child = w.child_table(spte, cur_level);
  if (child == kNoTable || !(mirror || w.field(CellKind::kSpNx, child))) return;
  f.pfn |= f.gfn & (pages_per_hpage(cur_level) - pages_per_hpage(cur_level - 1));
  f.goal_level--;
}

}  // namespace mmucheck::model
