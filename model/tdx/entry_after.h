// model/tdx: what a call that succeeds leaves in the S-EPT entry that it works on, and what it asks
// of blocking and tracking before. Pure rules over a domain, of the entry alone: who may come so
// far is in leaf.h, in which order it is asked in the files of the calls (mem_page.h and its
// neighbours).
//
// Source: TDX module 1.5, the handlers' commits; sept_manager.h; helpers.c: is_tlb_tracked's
// callers.
#pragma once

#include "model/tdx/leaf.h"

namespace mmucheck::model::tdx {

// The entry after `leaf`. `hpa`: of the page that comes, where one does; of PAGE.PROMOTE the first
// child's entry, which goes up as it is, with what is left of an ACCEPT in it. `import`: the TD is
// in an op state of kImportOpStates. A call that only looks leaves the entry.
template <class D = Concrete>
constexpr U64Of<D> entry_after(Leaf leaf, U64Of<D> e, int level, U64Of<D> hpa,
                               bool import = false) {
  const auto state = [](SeptEntryState s) { return U64Of<D>(enc(s)); };
  switch (leaf) {
    case Leaf::kMemPageAdd: return make_sept_entry<D>(state(SeptEntryState::kMapped), hpa);
    case Leaf::kMemPageAug: return make_sept_entry<D>(state(SeptEntryState::kPending), hpa);
    case Leaf::kMemSeptAdd:
    case Leaf::kMemPageDemote: return make_sept_entry<D>(state(SeptEntryState::kNlMapped), hpa);
    case Leaf::kMemPagePromote: return hpa & U64Of<D>(~kSeptTdel);
    case Leaf::kMemPageRemove: return U64Of<D>(import ? kSeptRemovedEntry : kSeptFreeEntry);
    case Leaf::kMemSeptRemove: return U64Of<D>(kSeptFreeEntry);
    case Leaf::kMemPageRelocate:
      return make_sept_entry<D>(unblocked_state<D>(sept_state<D>(e)), hpa);
    case Leaf::kMemRangeBlock: return blocked_entry<D>(e, level);
    case Leaf::kMemRangeUnblock: return unblocked_entry<D>(e);
    case Leaf::kPageAccept:
      return make_sept_entry<D>(accepted_state<D>(sept_state<D>(e)),
                                e & U64Of<D>(sept_hpa_mask(level)));
    default: return e;
  }
}
// The i-th entry of the page that PAGE.DEMOTE of `e`, at `level`, fills.
template <class D = Concrete>
constexpr U64Of<D> demoted_entry(U64Of<D> e, int level, uint64_t i) {
  return make_sept_entry<D>(unblocked_state<D>(sept_state<D>(e)),
                            sept_hpa<D>(e, level) + U64Of<D>(i * sept_span(level - 1)));
}
// PAGE.PROMOTE wants of each child the state of the first, and its page in its place.
template <class D = Concrete>
constexpr BoolOf<D> is_promotable_child(U64Of<D> e, U64Of<D> first, int child_level, uint64_t i) {
  const U64Of<D> base = sept_hpa<D>(first, child_level);
  return sept_state_is_mapped_or_pending<D>(e) && sept_state<D>(e) == sept_state<D>(first) &&
         sept_hpa<D>(e, child_level) == base + U64Of<D>(i * sept_span(child_level)) &&
         base == (base & U64Of<D>(sept_hpa_mask(child_level + 1)));
}

// Must the entry be blocked, and its page tracked, before it is changed or freed?
template <class D = Concrete>
constexpr BoolOf<D> tracking_applies_to(OpState s, U64Of<D> e) {
  return BoolOf<D>(op_state_in(s, kTrackingOpStates)) && sept_state_is_tlb_tracking_required<D>(e);
}
// What frees or changes a page is refused: GPA_RANGE_NOT_BLOCKED before TLB_TRACKING_NOT_DONE.
template <class D = Concrete>
constexpr BoolOf<D> refused_as_not_blocked(OpState s, U64Of<D> e) {
  return tracking_applies_to<D>(s, e) && !sept_state_is_any_blocked<D>(e);
}
template <class D = Concrete>
constexpr BoolOf<D> refused_as_not_tracked(OpState s, U64Of<D> e, BoolOf<D> tracked) {
  return tracking_applies_to<D>(s, e) && !tracked;
}

}  // namespace mmucheck::model::tdx
