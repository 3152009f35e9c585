// model/address: gpa, gfn, the shared bit, levels and indices. Pure rules over a domain.
//
// Units: a gpa is in bytes, a gfn in 4 KiB frames. Levels are KVM's: 1 = 4K .. 5 = 256T; the TDX
// module's level is one less. Source: arch/x86/kvm/mmu/spte.h, tdp_iter.h, mmu.h (kvm_gfn_*).
#pragma once

#include <cstdint>

#include "model/domain/concrete.h"

namespace mmucheck::model {

inline constexpr int kPgLevel4K = 1;
inline constexpr int kPgLevel2M = 2;
inline constexpr int kPgLevel1G = 3;
inline constexpr int kPgLevel512G = 4;
inline constexpr int kPgLevel256T = 5;
inline constexpr int kMaxHugepageLevel = kPgLevel1G;  // KVM_MAX_HUGEPAGE_LEVEL
inline constexpr int kMaxRootLevel = kPgLevel256T;    // PT64_ROOT_MAX_LEVEL
inline constexpr uint64_t kSpteEntPerPage = 512;      // SPTE_ENT_PER_PAGE
inline constexpr int kPageShift = 12;

template <class D = Concrete>
struct Gpa {
  U64Of<D> v;
};
template <class D = Concrete>
struct Gfn {
  U64Of<D> v;
};

// KVM_PAGES_PER_HPAGE: 4 KiB frames that an entry of `level` covers.
constexpr uint64_t pages_per_hpage(int level) { return uint64_t{1} << (9 * (level - 1)); }

template <class D = Concrete>
constexpr U64Of<D> gfn_round_for_level(U64Of<D> gfn, int level) {
  return gfn & U64Of<D>(~(pages_per_hpage(level) - 1));
}

// SPTE_INDEX: which of the 512 entries of a table at `level` maps `gfn`; the caller has OR-ed the
// direct bits in where the root needs them (tdp_iter_refresh_sptep).
template <class D = Concrete>
constexpr U64Of<D> spte_index(U64Of<D> gfn, int level) {
  return (gfn >> (9 * (level - 1))) & U64Of<D>(kSpteEntPerPage - 1);
}

template <class D = Concrete>
constexpr Gfn<D> gpa_to_gfn(Gpa<D> gpa) {
  return {gpa.v >> kPageShift};
}

// The GPA bit that tells shared from private for a guest physical address width of 48 or 52.
constexpr uint64_t shared_bit_gpa(int gpaw) { return uint64_t{1} << (gpaw - 1); }
// The same as a gfn mask (kvm->arch.gfn_direct_bits).
constexpr uint64_t gfn_direct_bits_for_gpaw(int gpaw) { return shared_bit_gpa(gpaw) >> kPageShift; }

// kvm_is_addr_direct: no mask, or the address carries it.
template <class D = Concrete>
constexpr BoolOf<D> is_addr_direct(U64Of<D> gfn_direct_bits, Gpa<D> gpa) {
  return gfn_direct_bits == U64Of<D>(0) ||
         ((gpa.v >> kPageShift) & gfn_direct_bits) != U64Of<D>(0);
}

// fault->gfn: the frame without the shared bit (kvm_mmu_do_page_fault).
template <class D = Concrete>
constexpr Gfn<D> strip_direct_bits(U64Of<D> gfn_direct_bits, Gfn<D> gfn) {
  return {gfn.v & ~gfn_direct_bits};
}

// kvm_is_gfn_alias: a frame number with the direct bit where none belongs.
template <class D = Concrete>
constexpr BoolOf<D> is_gfn_alias(U64Of<D> gfn_direct_bits, Gfn<D> gfn) {
  return (gfn.v & gfn_direct_bits) != U64Of<D>(0);
}

// tdp_mmu_max_gfn_exclusive: one past kvm_mmu_max_gfn(), from the host's MAXPHYADDR (4-level
// paging caps it at 48 bits).
constexpr uint64_t max_gfn_exclusive(int host_maxphyaddr) {
  return uint64_t{1} << (host_maxphyaddr - kPageShift);
}

}  // namespace mmucheck::model
