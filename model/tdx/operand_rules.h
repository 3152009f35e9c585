// model/tdx: which operands a call takes: the RCX of leaves with a level, private GPAs, HPAs. Pure
// rules over a domain. Source: TDX module 1.5, verify_page_info_input, check_gpa_validity,
// check_and_lock_explicit_*_private_hpa.
#pragma once

#include "model/domain/concrete.h"
#include "model/tdx/sept_entry.h"

namespace mmucheck::model::tdx {

template <class D = Concrete>
constexpr U64Of<D> page_info_level(U64Of<D> rcx) {
  return rcx & U64Of<D>(7);
}
template <class D = Concrete>
constexpr U64Of<D> page_info_gpa(U64Of<D> rcx) {
  return rcx & U64Of<D>(kSeptHpa);
}

// verify_page_info_input: reserved bits are zero, the level is in the range, the GPA is aligned.
template <class D = Concrete>
constexpr BoolOf<D> page_info_valid(U64Of<D> rcx, int min_level, int max_level) {
  BoolOf<D> valid(false);
  for (int level = min_level; level <= max_level; level++) {
    // All bits but the level and an aligned GPA are zero.
    const uint64_t allowed = sept_hpa_mask(level);
    valid = valid || (rcx & U64Of<D>(~allowed)) == U64Of<D>(static_cast<uint64_t>(level));
  }
  return valid;
}

// check_gpa_validity: below the shared bit, which is the top bit of a GPA of `gpaw` bits.
template <class D = Concrete>
constexpr BoolOf<D> gpa_is_private(U64Of<D> gpa, int gpaw) {
  return (gpa >> (gpaw - 1)) == U64Of<D>(0);
}

// A private HPA as an operand: aligned to 4K * 512^size, no HKID bits, below MAX_PA (bits 51:0).
template <class D = Concrete>
constexpr BoolOf<D> private_hpa_valid(U64Of<D> hpa, int size, uint64_t hkid_mask) {
  const uint64_t allowed = sept_hpa_mask(size) & ~hkid_mask;
  return (hpa & U64Of<D>(~allowed)) == U64Of<D>(0);
}

// The source page of PAGE.ADD: aligned, within the physical address space, not under a private
// key, and not inside the module's own memory (SEAMRR).
template <class D = Concrete>
constexpr BoolOf<D> shared_hpa_valid(U64Of<D> hpa, int hkid_shift, uint64_t hkid_mask,
                                     uint64_t first_private, uint64_t seamrr, uint64_t seamrr_end) {
  const U64Of<D> hkid = (hpa & U64Of<D>(hkid_mask)) >> hkid_shift;
  const U64Of<D> address = hpa & U64Of<D>(~hkid_mask);
  return (hpa & U64Of<D>(~kSeptHpa)) == U64Of<D>(0) && hkid < U64Of<D>(first_private) &&
         !(address >= U64Of<D>(seamrr) && address < U64Of<D>(seamrr_end));
}

}  // namespace mmucheck::model::tdx
