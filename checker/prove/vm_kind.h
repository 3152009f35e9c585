// The kinds of VM that obligations tell apart: a TD by its GPAW, and a VM without a shared bit (SNP,
// plain). Source: kvm_gfn_direct_bits(), TDX module gpa_valid().
#pragma once

#include <cstdint>

#include "model/address/alias.h"

namespace mmucheck::prove {

struct VmKind {
  const char* name;
  bool td;
  int gpa_bits;  // of a TD: its GPAW
  int root_level;

  // The shared bit as a gfn; 0 without one.
  constexpr uint64_t direct_bits() const {
    return td ? model::gfn_direct_bits_for_gpaw(gpa_bits) : 0;
  }
};
inline constexpr VmKind kTds[] = {{"TD, GPAW 48", true, 48, 4}, {"TD, GPAW 52", true, 52, 5}};
inline constexpr VmKind kNoSharedBit = {"no shared bit", false, 52, 5};
inline constexpr VmKind kVms[] = {kTds[0], kTds[1], kNoSharedBit};

}  // namespace mmucheck::prove
