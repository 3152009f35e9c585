// model/spte: which change of one entry is legal, and what follows from it.
//
// Source: handle_changed_spte and check_spte_writable_invariants; the rule ids are those of the
// invariant catalogue that checker/invariant explains.
#pragma once

#include "model/spte/spte.h"

namespace mmucheck::model {

enum class ChangeRule : uint8_t {
  kNone,
  kLevel,            // level outside 1..5
  kAlignment,        // gfn not aligned to the level
  kLeafPfnChanged,   // present leaf to present leaf with another pfn (BUG in the kernel)
  kNonpresentChange, // non-present to another non-present that is neither MMIO nor frozen
  kTableMoved,       // non-leaf to non-leaf with another pfn
  kMmuWritable,      // MMU-writable without host-writable
  kWritable,         // W without MMU-writable
};

template <class D = Concrete>
struct ChangeKind {
  BoolOf<D> was_present, is_present, was_leaf, is_leaf, pfn_changed;
};

template <class D = Concrete>
constexpr ChangeKind<D> classify_change(U64Of<D> old_spte, U64Of<D> new_spte, int level) {
  const BoolOf<D> was = is_shadow_present_pte<D>(old_spte);
  const BoolOf<D> is = is_shadow_present_pte<D>(new_spte);
  return {was, is, was && is_last_spte<D>(old_spte, level), is && is_last_spte<D>(new_spte, level),
          spte_to_pfn<D>(old_spte) != spte_to_pfn<D>(new_spte)};
}

// Does the change cut off a page table below the entry?
template <class D = Concrete>
constexpr BoolOf<D> change_removes_table(const ChangeKind<D>& k) {
  return k.was_present && !k.was_leaf && (k.is_leaf || !k.is_present || k.pfn_changed);
}

template <class D = Concrete>
constexpr BoolOf<D> legal_leaf_pfn(const ChangeKind<D>& k) {
  return !(k.was_leaf && k.is_leaf && k.pfn_changed);
}
template <class D = Concrete>
constexpr BoolOf<D> legal_nonpresent(const SpteFormat& f, U64Of<D> old_spte, U64Of<D> new_spte,
                                     const ChangeKind<D>& k) {
  return k.was_present || k.is_present || old_spte == new_spte ||
         is_mmio_spte<D>(f, old_spte) || is_mmio_spte<D>(f, new_spte) ||
         is_frozen_spte<D>(f, new_spte);
}
template <class D = Concrete>
constexpr BoolOf<D> legal_table_move(const ChangeKind<D>& k) {
  return !(k.was_present && !k.was_leaf && k.is_present && !k.is_leaf && k.pfn_changed);
}
template <class D = Concrete>
constexpr BoolOf<D> legal_mmu_writable(const SpteFormat& f, U64Of<D> spte) {
  return !is_mmu_writable_spte<D>(f, spte) || is_host_writable_spte<D>(f, spte);
}
template <class D = Concrete>
constexpr BoolOf<D> legal_writable(const SpteFormat& f, U64Of<D> spte) {
  return !is_writable_pte<D>(spte) || is_mmu_writable_spte<D>(f, spte);
}

// leaf_spte_change_needs_tlb_flush: MMU-writable was given up.
template <class D = Concrete>
constexpr BoolOf<D> leaf_change_needs_flush(const SpteFormat& f, U64Of<D> old_spte,
                                            U64Of<D> new_spte) {
  return is_mmu_writable_spte<D>(f, old_spte) && !is_mmu_writable_spte<D>(f, new_spte);
}

// No rule about the values is broken: first_broken_rule() finds none, level and gfn apart.
template <class D = Concrete>
constexpr BoolOf<D> legal_change(const SpteFormat& f, U64Of<D> old_spte, U64Of<D> new_spte,
                                 int level) {
  const ChangeKind<D> k = classify_change<D>(old_spte, new_spte, level);
  return legal_leaf_pfn<D>(k) &&
         (!k.is_leaf || (legal_mmu_writable<D>(f, new_spte) && legal_writable<D>(f, new_spte))) &&
         legal_nonpresent<D>(f, old_spte, new_spte, k) && legal_table_move<D>(k);
}

// The first rule that the change breaks, in the kernel's order of checks.
constexpr ChangeRule first_broken_rule(const SpteFormat& f, uint64_t gfn, int level,
                                       uint64_t old_spte, uint64_t new_spte) {
  if (level < kPgLevel4K || level > kMaxRootLevel) return ChangeRule::kLevel;
  if (gfn & (pages_per_hpage(level) - 1)) return ChangeRule::kAlignment;
  const ChangeKind<> k = classify_change<>(old_spte, new_spte, level);
  if (!legal_leaf_pfn<>(k)) return ChangeRule::kLeafPfnChanged;
  if (k.is_leaf && !legal_mmu_writable<>(f, new_spte)) return ChangeRule::kMmuWritable;
  if (k.is_leaf && !legal_writable<>(f, new_spte)) return ChangeRule::kWritable;
  if (!legal_nonpresent<>(f, old_spte, new_spte, k)) return ChangeRule::kNonpresentChange;
  if (!legal_table_move<>(k)) return ChangeRule::kTableMoved;
  return ChangeRule::kNone;
}

}  // namespace mmucheck::model
