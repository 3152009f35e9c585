// model/tdp: which alias of a gfn a walk, a fault or an unmap means, by design: where the shared
// bit is kept, where it is stripped, and where it is put back. Pure rules over a domain; they know
// no state, so that a proof can quantify over addresses.
//
// gfns in 4 KiB frames, gpas in bytes, ends exclusive. `direct_bits` is kvm->arch.gfn_direct_bits,
// 0 for a VM without a shared bit. `mirror` is the kind of the root that is walked. Source:
// tdp_iter.c, tdp_mmu.c and mmu.h of 7.x; v8..v19: kvm_gfn_for_root, raw_gfn, only_private; the
// sketches of seeds 000 and 001.
#pragma once

#include "model/address/address.h"
#include "model/design/design.h"

namespace mmucheck::model {

// kvm_gfn_for_root (v8..v19): the gfn as the tree of this root counts it.
template <class D = Concrete>
constexpr U64Of<D> gfn_for_root(bool mirror, U64Of<D> gfn, U64Of<D> direct_bits) {
  return mirror ? gfn & ~direct_bits : gfn | direct_bits;
}

// What a walk ORs into iter.gfn for an index. The sketch has it the wrong way round.
template <class D = Concrete>
constexpr U64Of<D> iter_gfn_bits(IterIndex index, bool mirror, U64Of<D> direct_bits) {
  const bool has_bits = index == IterIndex::kGfnBits         ? !mirror
                        : index == IterIndex::kSeed000Sketch ? mirror
                                                             : false;
  return has_bits ? direct_bits : U64Of<D>(0);
}

template <class D = Concrete>
struct WalkRange {  // first iter.gfn, and what the loop compares iter.gfn with
  U64Of<D> start, end;
};

// The walk of [start, end), gfns without the shared bit.
template <class D = Concrete>
constexpr WalkRange<D> walk_range(IterIndex index, bool mirror, U64Of<D> start, U64Of<D> end,
                                  U64Of<D> direct_bits) {
  switch (index) {
    case IterIndex::kGfnBits: break;
    case IterIndex::kRawGfn: {
      const U64Of<D> first = gfn_for_root<D>(mirror, start, direct_bits);
      return {first, first + (end - start)};
    }
    case IterIndex::kSeed000Sketch: return {start, gfn_for_root<D>(mirror, end, direct_bits)};
  }
  return {start, end};
}

// The walk of tdp_mmu_zap_leafs; `end` is cut off at the largest gfn already.
template <class D = Concrete>
constexpr WalkRange<D> zap_range(ZapBounds bounds, IterIndex index, bool mirror, U64Of<D> start,
                                 U64Of<D> end, U64Of<D> direct_bits) {
  const bool adjusted = bounds == ZapBounds::kPerRoot;
  const bool end_too = bounds != ZapBounds::kPlain || index == IterIndex::kSeed000Sketch;
  return {adjusted ? gfn_for_root<D>(mirror, start, direct_bits) : start,
          end_too ? gfn_for_root<D>(mirror, end, direct_bits) : end};
}

// --- a fault at `gpa` ---

// fault->addr.
template <class D = Concrete>
constexpr U64Of<D> fault_addr(FaultAddr meaning, U64Of<D> gpa, U64Of<D> direct_bits) {
  return meaning == FaultAddr::kStripped ? gpa & ~(direct_bits << kPageShift) : gpa;
}

// The gpa that hardware walked, from what the fault keeps.
template <class D = Concrete>
constexpr U64Of<D> fault_walked_gpa(FaultAddr meaning, U64Of<D> addr, BoolOf<D> is_private,
                                    U64Of<D> direct_bits) {
  if (meaning != FaultAddr::kStripped) return addr;
  return D::ite(is_private, addr, addr | (direct_bits << kPageShift));
}

// Where a fault comes from, and what it says of itself then. `gpa` is the guest's: an access to the
// shared half of a TD has the bit; who names a page by its gfn alone (pre-fault, populate) goes by
// the attributes or knows.
enum class FaultSource : uint8_t {
  kEptViolation,  // vmx/common.h: __vmx_handle_ept_violation, vt_is_tdx_private_gpa
  kPrefault,      // x86.c: kvm_arch_vcpu_pre_fault_memory
  kPopulate,      // mmu.c: kvm_tdp_mmu_map_private_pfn
};
template <class D = Concrete>
constexpr U64Of<D> fault_source_addr(FaultSource source, U64Of<D> gpa, BoolOf<D> attr_private,
                                     U64Of<D> direct_bits) {
  if (source != FaultSource::kPrefault) return gpa;
  return D::ite(attr_private, gpa, gpa | (direct_bits << kPageShift));
}
template <class D = Concrete>
constexpr BoolOf<D> fault_source_private(FaultSource source, U64Of<D> gpa, BoolOf<D> attr_private,
                                         U64Of<D> direct_bits) {
  switch (source) {
    case FaultSource::kEptViolation: break;
    case FaultSource::kPrefault: return attr_private;
    case FaultSource::kPopulate: return BoolOf<D>(true);
  }
  return !is_addr_direct<D>(direct_bits, Gpa<D>{gpa});
}

// tdp_mmu_get_root_for_fault: is it the mirror root?
template <class D = Concrete>
constexpr BoolOf<D> fault_walks_mirror(RootChoice choice, FaultAddr meaning, U64Of<D> addr,
                                       BoolOf<D> is_private, U64Of<D> direct_bits) {
  if (choice == RootChoice::kByPrivate) return is_private && direct_bits != U64Of<D>(0);
  const U64Of<D> gpa = fault_walked_gpa<D>(meaning, addr, is_private, direct_bits);
  return !is_addr_direct<D>(direct_bits, Gpa<D>{gpa});
}

// The gfn at which the walk of a fault begins; it goes on for one gfn.
template <class D = Concrete>
constexpr U64Of<D> fault_walk_gfn(FaultAddr meaning, IterIndex index, bool mirror, U64Of<D> addr,
                                  U64Of<D> gfn, U64Of<D> direct_bits) {
  if (meaning == FaultAddr::kRaw) return gpa_to_gfn<D>(Gpa<D>{addr}).v;
  return walk_range<D>(index, mirror, gfn, gfn, direct_bits).start;
}

// --- which roots an unmap zaps ---

inline constexpr uint64_t kFilterShared = 1;   // KVM_FILTER_SHARED
inline constexpr uint64_t kFilterPrivate = 2;  // KVM_FILTER_PRIVATE

struct AliasesZapped {
  bool in_mirror = false;
  bool in_direct = false;
};

// Seed 001: the two tests of its loop. `asks_mask`: the flags count only where there is a
// kvm_gfn_shared_mask().
constexpr AliasesZapped exclude_aliases_zapped(bool has_mirror, bool asks_mask,
                                               bool exclude_private, bool exclude_shared) {
  const bool counts = has_mirror || !asks_mask;
  return {has_mirror && !(counts && exclude_private), !(counts && exclude_shared)};
}

// What tdp_mmu_zap_leafs returns for a private root that it is told to spare (v8 to v19: false, not
// the flush that earlier roots owe).
template <class D = Concrete>
constexpr BoolOf<D> flush_past_spared_root(bool zap_drops_flush, BoolOf<D> flush) {
  return zap_drops_flush ? BoolOf<D>(false) : flush;
}

// What is asked for comes in today's encoding, whatever the design: each caller says the same
// thing in its own (below). `has_mirror`: the VM has a shared bit.
constexpr AliasesZapped aliases_zapped(UnmapFilter filter, bool has_mirror, uint64_t attr_filter) {
  const bool asks_private = attr_filter & kFilterPrivate, asks_shared = attr_filter & kFilterShared;
  if (filter == UnmapFilter::kExcludeUnguarded) {
    return exclude_aliases_zapped(has_mirror, false, !asks_private, !asks_shared);
  }
  if (!has_mirror) return {false, true};
  switch (filter) {
    case UnmapFilter::kAttrFilter: return {asks_private, asks_shared};
    case UnmapFilter::kExcludeFlags:
      return exclude_aliases_zapped(has_mirror, true, !asks_private, !asks_shared);
    case UnmapFilter::kExcludePrivateOnly:
      return exclude_aliases_zapped(has_mirror, true, !asks_private, false);
    case UnmapFilter::kExcludeUnguarded: break;
    case UnmapFilter::kOnlyPrivateShared: return {asks_private, true};
    case UnmapFilter::kNone: break;
  }
  return {true, true};
}

enum class UnmapCaller : uint8_t {
  kNotifier, kGmem, kToPrivate, kToShared, kSlot,
};

constexpr uint64_t attr_filter_of(UnmapCaller caller) {
  switch (caller) {
    case UnmapCaller::kNotifier:
    case UnmapCaller::kToPrivate: return kFilterShared;
    case UnmapCaller::kGmem:
    case UnmapCaller::kToShared: return kFilterPrivate;
    case UnmapCaller::kSlot: break;
  }
  return kFilterShared | kFilterPrivate;
}

// struct kvm_gfn_range up to v19. `to_private` is in arg.attributes, a member of a union that only
// a change of attributes fills.
struct OnlyFlags {
  bool only_private = false;
  bool only_shared = false;
  bool to_private = false;
};
constexpr OnlyFlags only_flags_of(UnmapCaller caller) {
  switch (caller) {
    case UnmapCaller::kNotifier: return {false, true, false};
    case UnmapCaller::kGmem: return {true, false, false};
    case UnmapCaller::kToPrivate: return {false, false, true};
    case UnmapCaller::kToShared: return {false, false, false};
    case UnmapCaller::kSlot: break;
  }
  return {true, true, false};
}

// v19 059: neither flag means a change of attributes; both mean both. Shared roots always go.
constexpr AliasesZapped v19_aliases_zapped(bool has_mirror, OnlyFlags f) {
  if (!has_mirror) return {false, true};
  return {!f.only_private && !f.only_shared ? !f.to_private : f.only_private, true};
}

// The generic series: neither flag means both aliases.
constexpr AliasesZapped generic_aliases_zapped(bool has_mirror, OnlyFlags f) {
  if (!has_mirror) return {false, true};
  return {!f.only_shared, !f.only_private};
}

}  // namespace mmucheck::model
