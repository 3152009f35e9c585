// model/spte: predicates on one SPTE word and the pure rules that build one. Over a domain;
// `level` is structural (1 = 4K). Source: arch/x86/kvm/mmu/spte.h and spte.c; function names are
// the kernel's.
#pragma once

#include "model/address/address.h"
#include "model/spte/format.h"

namespace mmucheck::model {

template <class D = Concrete>
constexpr BoolOf<D> has_bits(U64Of<D> v, uint64_t mask) {
  return (v & U64Of<D>(mask)) != U64Of<D>(0);
}

template <class D = Concrete>
constexpr BoolOf<D> is_shadow_present_pte(U64Of<D> spte) {
  return has_bits<D>(spte, kMmuPresent);
}
template <class D = Concrete>
constexpr BoolOf<D> is_large_pte(U64Of<D> spte) {
  return has_bits<D>(spte, kPtPageSize);
}
template <class D = Concrete>
constexpr BoolOf<D> is_last_spte(U64Of<D> spte, int level) {
  return level == kPgLevel4K ? BoolOf<D>(true) : is_large_pte<D>(spte);
}
template <class D = Concrete>
constexpr BoolOf<D> is_frozen_spte(const SpteFormat& f, U64Of<D> spte) {
  return spte == U64Of<D>(f.frozen);
}
template <class D = Concrete>
constexpr BoolOf<D> is_mmio_spte(const SpteFormat& f, U64Of<D> spte) {
  return BoolOf<D>(f.mmio_caching) && (spte & U64Of<D>(f.mmio_mask)) == U64Of<D>(f.mmio_value);
}
template <class D = Concrete>
constexpr U64Of<D> spte_to_pfn(U64Of<D> spte) {
  return (spte & U64Of<D>(kPfnMask)) >> kPageShift;
}
template <class D = Concrete>
constexpr BoolOf<D> is_writable_pte(U64Of<D> spte) {
  return has_bits<D>(spte, kPtWritable);
}
template <class D = Concrete>
constexpr BoolOf<D> is_mmu_writable_spte(const SpteFormat& f, U64Of<D> spte) {
  return has_bits<D>(spte, f.mmu_writable);
}
template <class D = Concrete>
constexpr BoolOf<D> is_host_writable_spte(const SpteFormat& f, U64Of<D> spte) {
  return has_bits<D>(spte, f.host_writable);
}
template <class D = Concrete>
constexpr BoolOf<D> is_executable_pte(const SpteFormat& f, U64Of<D> spte) {
  return (spte & U64Of<D>(f.exec | f.nx)) == U64Of<D>(f.exec);
}
template <class D = Concrete>
constexpr BoolOf<D> spte_ad_enabled(const SpteFormat& f, U64Of<D> spte) {
  return (spte & U64Of<D>(f.ad_type_mask)) != U64Of<D>(f.ad_disabled);
}
template <class D = Concrete>
constexpr BoolOf<D> spte_ad_need_write_protect(const SpteFormat& f, U64Of<D> spte) {
  return (spte & U64Of<D>(f.ad_type_mask)) != U64Of<D>(0);
}
template <class D = Concrete>
constexpr BoolOf<D> is_access_track_spte(const SpteFormat& f, U64Of<D> spte) {
  return !spte_ad_enabled<D>(f, spte) && (spte & U64Of<D>(f.acc_track)) == U64Of<D>(0);
}

// is_accessed_spte: 7.x looks at the (hardware or software) A bit, 6.12 at access tracking where
// the entry has no A bit.
template <class D = Concrete>
constexpr BoolOf<D> is_accessed_spte(const SpteFormat& f, U64Of<D> spte) {
  const BoolOf<D> bit = has_bits<D>(spte, f.accessed);
  if (f.accessed_is_plain_bit) return bit;
  const BoolOf<D> has_mask = spte_ad_enabled<D>(f, spte) && BoolOf<D>(f.accessed != 0);
  return (has_mask && bit) || (!has_mask && !is_access_track_spte<D>(f, spte));
}

// is_dirty_spte (6.12): the D bit, or W where the entry has none.
template <class D = Concrete>
constexpr BoolOf<D> is_dirty_spte(const SpteFormat& f, U64Of<D> spte) {
  const BoolOf<D> has_mask = spte_ad_enabled<D>(f, spte) && BoolOf<D>(f.dirty != 0);
  return (has_mask && has_bits<D>(spte, f.dirty)) || (!has_mask && is_writable_pte<D>(spte));
}

// kvm_tdp_mmu_spte_need_atomic_write: can the entry change behind the back of the write lock?
template <class D = Concrete>
constexpr BoolOf<D> spte_need_atomic_write(const SpteFormat& f, U64Of<D> spte, int level) {
  const BoolOf<D> writable = is_writable_pte<D>(spte);
  const BoolOf<D> ad = spte_ad_enabled<D>(f, spte);
  BoolOf<D> volatile_bits =
      (!writable && is_mmu_writable_spte<D>(f, spte)) || is_access_track_spte<D>(f, spte) ||
      (ad && writable && !has_bits<D>(spte, f.dirty));
  if (f.volatile_needs_accessed) {
    volatile_bits = volatile_bits || (ad && !has_bits<D>(spte, f.accessed));
  }
  if (f.volatile_if_ad_disabled) volatile_bits = volatile_bits || !ad;
  return is_shadow_present_pte<D>(spte) && is_last_spte<D>(spte, level) && volatile_bits;
}

struct Access {  // what a fault asked for
  bool write = false;
  bool exec = false;
};

// is_access_allowed: would the access that faulted succeed with this entry?
template <class D = Concrete>
constexpr BoolOf<D> is_access_allowed(const SpteFormat& f, Access a, U64Of<D> spte) {
  if (a.exec) return is_executable_pte<D>(f, spte);
  if (a.write) return is_writable_pte<D>(spte);
  return has_bits<D>(spte, 1);  // PT_PRESENT_MASK, R in EPT
}

template <class D = Concrete>
constexpr U64Of<D> mark_spte_for_access_track(const SpteFormat& f, U64Of<D> spte) {
  const U64Of<D> tracked =
      (spte | ((spte & U64Of<D>(f.saved_bits)) << f.saved_shift)) & U64Of<D>(~f.acc_track);
  const U64Of<D> clear_a = U64Of<D>(f.accessed_is_plain_bit ? ~f.accessed : ~uint64_t{0});
  const U64Of<D> without_ad =
      D::ite(is_access_track_spte<D>(f, spte), spte, tracked & clear_a);
  return D::ite(spte_ad_enabled<D>(f, spte), spte & U64Of<D>(~f.accessed), without_ad);
}

template <class D = Concrete>
constexpr U64Of<D> restore_acc_track_spte(const SpteFormat& f, U64Of<D> spte) {
  const U64Of<D> saved = (spte >> f.saved_shift) & U64Of<D>(f.saved_bits);
  const uint64_t accessed = f.accessed_is_plain_bit ? f.accessed : 0;
  return (spte & U64Of<D>(~(f.acc_track | (f.saved_bits << f.saved_shift)))) | saved |
         U64Of<D>(accessed);
}

// make_nonleaf_spte; `child_pfn` is the frame of the page-table page.
template <class D = Concrete>
constexpr U64Of<D> make_nonleaf_spte(const SpteFormat& f, U64Of<D> child_pfn, bool ad_disabled) {
  const uint64_t bits = kMmuPresent | f.present | f.read | kPtWritable | f.user | f.exec |
                        (ad_disabled ? f.ad_disabled : f.accessed);
  return (child_pfn << kPageShift) | U64Of<D>(bits);
}

inline constexpr unsigned kAccExec = 1;   // ACC_EXEC_MASK
inline constexpr unsigned kAccWrite = 2;  // ACC_WRITE_MASK
inline constexpr unsigned kAccUser = 4;   // ACC_USER_MASK
inline constexpr unsigned kAccAll = kAccExec | kAccWrite | kAccUser;

struct MakeSpte {  // the structural inputs of make_spte
  int level = 1;
  unsigned access = kAccAll;     // pte_access: all of it for TDP, the guest's for shadow paging
  bool ad_disabled = false;      // role.ad_disabled
  bool wrprot_only = false;      // PML in a guest_mode root: W stands in for D
  bool prefetch = false;
  bool host_writable = true;     // fault->map_writable
  bool write_tracked = false;    // mmu_try_to_unsync_pages refuses
  bool nx_huge_page_enabled = false;
};

// make_spte. The caller marks the page dirty when the
// result is writable and the slot is dirty-tracked, and reports WRITE_PROTECTED when a write met
// `write_tracked` and the old value did not already grant it.
template <class D = Concrete>
constexpr U64Of<D> make_spte(const SpteFormat& f, const MakeSpte& in, U64Of<D> pfn,
                             U64Of<D> old_spte) {
  uint64_t bits = kMmuPresent | f.present | f.read | f.memtype;
  if ((in.access & kAccUser) != 0) bits |= f.user;
  if (in.ad_disabled) {
    bits |= f.ad_disabled;
  } else if (in.wrprot_only) {
    bits |= f.ad_wrprot_only;
  }
  const bool has_ad = !in.ad_disabled;
  const bool a_mask = has_ad || f.accessed_is_plain_bit;
  if (!in.prefetch && a_mask) bits |= f.accessed;
  const bool nx_policy = in.level > kPgLevel4K && in.nx_huge_page_enabled;
  bits |= (in.access & kAccExec) != 0 && !nx_policy ? f.exec : f.nx;
  if (in.level > kPgLevel4K) bits |= kPtPageSize;
  if (in.host_writable) bits |= f.host_writable;

  U64Of<D> spte = (pfn << kPageShift) | U64Of<D>(bits);
  if (in.host_writable && (in.access & kAccWrite) != 0) {
    const BoolOf<D> old_grants =
        is_last_spte<D>(old_spte, in.level) && is_writable_pte<D>(old_spte);
    const BoolOf<D> granted = old_grants || BoolOf<D>(!in.write_tracked);
    const BoolOf<D> sets_dirty =
        f.dirty_needs_unwritable_old ? granted && !old_grants : granted;
    const uint64_t dirty = a_mask ? f.dirty : 0;
    spte |= D::ite(granted, U64Of<D>(kPtWritable | f.mmu_writable), U64Of<D>(0));
    spte |= D::ite(sets_dirty, U64Of<D>(dirty), U64Of<D>(0));
  }
  return in.prefetch ? mark_spte_for_access_track<D>(f, spte) : spte;
}

// make_mmio_spte; `gen` is the memslot generation.
template <class D = Concrete>
constexpr U64Of<D> make_mmio_spte(const SpteFormat& f, U64Of<D> gfn, U64Of<D> gen) {
  const uint64_t low_mask = (uint64_t{1} << f.mmio_gen_low_bits) - 1;
  const U64Of<D> gpa = gfn << kPageShift;
  const U64Of<D> low = (gen & U64Of<D>(low_mask)) << 3;
  const U64Of<D> high = ((gen >> f.mmio_gen_low_bits) & U64Of<D>(0x7ff)) << 52;
  const U64Of<D> rsvd = U64Of<D>(f.rsvd_mask);
  return low | high | U64Of<D>(f.mmio_value | (f.mmio_access & 7)) | gpa | rsvd |
         ((gpa & rsvd) << 5);
}

// get_mmio_spte_generation.
template <class D = Concrete>
constexpr U64Of<D> mmio_spte_generation(const SpteFormat& f, U64Of<D> spte) {
  const uint64_t low_mask = (uint64_t{1} << f.mmio_gen_low_bits) - 1;
  return ((spte >> 3) & U64Of<D>(low_mask)) |
         (((spte >> 52) & U64Of<D>(0x7ff)) << f.mmio_gen_low_bits);
}

template <class D = Concrete>
constexpr U64Of<D> make_spte_executable(const SpteFormat& f, U64Of<D> spte) {
  const BoolOf<D> tracked = is_access_track_spte<D>(f, spte);
  const U64Of<D> full = D::ite(tracked, restore_acc_track_spte<D>(f, spte), spte);
  const U64Of<D> x = (full & U64Of<D>(~f.nx)) | U64Of<D>(f.exec);
  return D::ite(tracked, mark_spte_for_access_track<D>(f, x), x);
}

template <class D = Concrete>
constexpr U64Of<D> make_spte_nonexecutable(const SpteFormat& f, U64Of<D> spte) {
  const BoolOf<D> tracked = is_access_track_spte<D>(f, spte);
  const U64Of<D> full = D::ite(tracked, restore_acc_track_spte<D>(f, spte), spte);
  const U64Of<D> n = (full & U64Of<D>(~f.exec)) | U64Of<D>(f.nx);
  return D::ite(tracked, mark_spte_for_access_track<D>(f, n), n);
}

// make_huge_page_split_spte: entry `index` of the table at `child_level` that replaces `huge`.
template <class D = Concrete>
constexpr U64Of<D> make_huge_page_split_spte(const SpteFormat& f, U64Of<D> huge, int child_level,
                                             uint64_t index, bool nx_huge_page_enabled) {
  U64Of<D> child = huge | U64Of<D>((index * pages_per_hpage(child_level)) << kPageShift);
  if (child_level == kPgLevel4K) {
    child = child & U64Of<D>(~kPtPageSize);
    if (nx_huge_page_enabled) child = make_spte_executable<D>(f, child);
  }
  return child;
}

// make_huge_spte (7.x): a huge leaf of `level` from one small leaf below it.
template <class D = Concrete>
constexpr U64Of<D> make_huge_spte(const SpteFormat& f, U64Of<D> small, int level,
                                  bool nx_huge_page_enabled) {
  const uint64_t low_pfn = (pages_per_hpage(level) - 1) << kPageShift;
  const U64Of<D> huge = (small & U64Of<D>(~low_pfn)) | U64Of<D>(kPtPageSize);
  return nx_huge_page_enabled ? make_spte_nonexecutable<D>(f, huge) : huge;
}

}  // namespace mmucheck::model
