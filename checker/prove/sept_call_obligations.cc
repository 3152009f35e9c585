// What every call of the TDX module leaves in S-EPT entries, by the one rule of the commits
// (model/tdx/entry_after.h): shape, pages, pendingness, blocking, and a parent above its children.
//
// Of what the module promises a TD these are the properties of one step, with those of the groups
// `sept` and `tlb` (states, walks, tracking) and `lock` (who excludes whom, a host's wish). Not of
// one step, and left to replays and explorations by the invariants of these names:
//   TDX-PAMT-OWNER, TDX-PAMT-SIZE   all entries of all TDs and the PAMT at once: one owner a page,
//   each
//                                   table in one place, nothing at two sizes
//   TDX-PAMT-COUNT                  a sum over the PAMT
//   TDX-EPOCH-COUNT                 a sum over vCPUs; `tlb` has what a pair of them keeps
//   TDX-EPOCH-BLOCK                 the epoch that BLOCK notes is in the PAMT; `tlb` starts from it
//   TDX-TD-LIFE, TDX-TD-LAST        histories of a TD: keys, vCPUs, its last page
//   TDX-LOCK-FREE, TDX-CALL-FAILED  whole calls: what is left when they have returned; `lock` has
//   the
//                                   words
//   TDX-DATA-PLACE                  what is in a page is not modelled; that it stays behind its GPA
//   is
//                                   here
#include <fmt/format.h>

#include "checker/invariant/td_rules.h"
#include "checker/prove/groups.h"
#include "model/tdx/entry_after.h"

namespace mmucheck::prove {
namespace {

using namespace model;
using namespace model::tdx;

constexpr Leaf kChanging[] = {Leaf::kMemPageAdd,     Leaf::kMemPageAug,      Leaf::kMemSeptAdd,
                              Leaf::kMemRangeBlock,  Leaf::kMemRangeUnblock, Leaf::kMemPageRemove,
                              Leaf::kMemSeptRemove,  Leaf::kMemPageRelocate, Leaf::kMemPageDemote,
                              Leaf::kMemPagePromote, Leaf::kPageAccept};
bool takes_page(Leaf leaf) {
  return leaf == Leaf::kMemPageAdd || leaf == Leaf::kMemPageAug || leaf == Leaf::kMemSeptAdd ||
         leaf == Leaf::kMemPageRelocate || leaf == Leaf::kMemPageDemote;
}
bool works_at(Leaf leaf, int level) {
  const LeafInfo& info = leaf_info(leaf);
  const int max = info.max_level == kTopLevel ? kMaxSeptLevel : info.max_level;
  return level >= info.min_level && level <= max;
}
// KVM, and most callers, ask SEPT.ADD for entries that are not there.
B admits(Leaf leaf, const U& e) {
  if (leaf == Leaf::kMemSeptAdd) return is_sept_free<T>(e);
  return sept_state_allows<T>(leaf, e);
}

// An entry that a call works on, and the page or the first child that it is given.
struct Worked {
  Leaf leaf;
  int level;
  U before = var("entry"), given = var("given");

  U after() const { return entry_after<T>(leaf, before, level, given); }
  // The page fits; the first child of a promotion is what is_promotable_child() lets pass.
  B fits() const {
    B ok = admits(leaf, before) && invariant::sept_entry_well_formed<T>(before, level) &&
           (before & U(kSeptTdel | kSeptTdhp)) == U(0);
    if (leaf == Leaf::kMemPagePromote) {
      return ok && invariant::sept_entry_well_formed<T>(given, level - 1) &&
             is_promotable_child<T>(given, given, level - 1, 0);
    }
    if (!takes_page(leaf)) return ok && given == U(0);
    const bool table = leaf == Leaf::kMemSeptAdd || leaf == Leaf::kMemPageDemote;
    return ok && (given & U(~(table ? kSeptHpa : sept_hpa_mask(level)))) == U(0);
  }
  std::string name() const {
    return fmt::format("{}, module level {}", leaf_info(leaf).name, level);
  }
};

template <class Conclude>
std::vector<Query> each_worked(Conclude conclude, bool (*covers)(Leaf)) {
  std::vector<Query> q;
  for (const Leaf leaf : kChanging) {
    for (int level = 0; level <= kMaxSeptLevel; level++) {
      if (!works_at(leaf, level) || !covers(leaf)) continue;
      const Worked x{leaf, level};
      // Tables are above 4K, leafs up to 1G: no state of an admitted call is elsewhere but those.
      if (level == 0 && (leaf == Leaf::kMemSeptAdd || leaf == Leaf::kMemSeptRemove)) continue;
      q.push_back({x.name(), x.fits(), conclude(x), {{"after", x.after()}}});
    }
  }
  return q;
}
bool all_leafs(Leaf) {
  return true;
}

// Of a 2M page whose ACCEPT was interrupted PROMOTE to 1G takes the counter along.
B has_counter(const Worked& x) {
  if (x.leaf != Leaf::kMemPagePromote || x.level != 2) return false;
  return is_pending<T>(x.given) && (x.given & U(kAcceptCounterMask)) != U(0);
}
std::vector<Query> all_keep_shape_with_counter() {
  const Worked x{Leaf::kMemPagePromote, 2};
  return {{x.name(),
           x.fits() && has_counter(x),
           invariant::sept_entry_well_formed<T>(x.after(), x.level),
           {{"after", x.after()}}}};
}
std::vector<Query> all_keep_shape() {
  return each_worked(
      [](const Worked& x) {
        return has_counter(x) || (invariant::sept_entry_well_formed<T>(x.after(), x.level) &&
                                  (x.after() & U(kSeptTdel)) == U(0));
      },
      all_leafs);
}

// A page that is pending stays so, and one that is not does not become so, but where it comes or
// goes.
std::vector<Query> all_keep_pending() {
  return each_worked(
      [](const Worked& x) {
        const B same = iff(is_pending<T>(x.before), is_pending<T>(x.after()));
        // DEMOTE and PROMOTE hand it on.
        if (x.leaf == Leaf::kMemPageDemote) {
          return iff(is_pending<T>(x.before),
                     is_pending<T>(demoted_entry<T>(x.before, x.level, 7)));
        }
        if (x.leaf == Leaf::kMemPagePromote)
          return iff(is_pending<T>(x.given), is_pending<T>(x.after()));
        return same;
      },
      [](Leaf leaf) {
        return leaf == Leaf::kMemRangeBlock || leaf == Leaf::kMemRangeUnblock ||
               leaf == Leaf::kMemPageRelocate || leaf == Leaf::kMemPageDemote ||
               leaf == Leaf::kMemPagePromote;
      });
}
// Of what comes, only what is measured is accessible at once.
std::vector<Query> pages_come_pending() {
  return each_worked(
      [](const Worked& x) {
        return implies(access_allowed<T>(x.after(), false), B(x.leaf == Leaf::kMemPageAdd));
      },
      [](Leaf leaf) { return leaf == Leaf::kMemPageAdd || leaf == Leaf::kMemPageAug; });
}

std::vector<Query> only_block_blocks() {
  return each_worked(
      [](const Worked& x) {
        const B was = sept_state_is_any_blocked<T>(x.before);
        const B is = sept_state_is_any_blocked<T>(x.after());
        return x.leaf == Leaf::kMemRangeBlock ? !was && is : implies(is, was);
      },
      all_leafs);
}
std::vector<Query> blocked_leaves_by_six() {
  return each_worked(
      [](const Worked& x) {
        return implies(sept_state_is_any_blocked<T>(x.before),
                       !sept_state_is_any_blocked<T>(x.after()));
      },
      [](Leaf leaf) {
        return leaf == Leaf::kMemRangeUnblock || leaf == Leaf::kMemPagePromote ||
               leaf == Leaf::kMemPageDemote || leaf == Leaf::kMemPageRelocate ||
               leaf == Leaf::kMemPageRemove || leaf == Leaf::kMemSeptRemove;
      });
}

// In a TD that runs: whatever frees or changes a page, the module has refused it unless its entry
// is blocked and tracked.
std::vector<Query> frees_when_tracked() {
  std::vector<Query> q;
  for (const Leaf leaf :
       {Leaf::kMemPageRemove, Leaf::kMemSeptRemove, Leaf::kMemPageDemote, Leaf::kMemPagePromote}) {
    for (const OpState s : {OpState::kRunnable, OpState::kLiveExport, OpState::kLiveImport}) {
      const int level = leaf == Leaf::kMemPageRemove ? 0 : 1;
      const Worked x{leaf, level};
      const B tracked = var("tracked") == U(1);
      const B passes = !refused_as_not_blocked<T>(s, x.before) &&
                       !refused_as_not_tracked<T>(s, x.before, tracked);
      q.push_back(
          {fmt::format("{}, {}", leaf_info(leaf).name, kOpStateNames[static_cast<size_t>(s)]),
           x.fits() && passes,
           sept_state_is_any_blocked<T>(x.before) && tracked,
           {}});
    }
  }
  return q;
}

// The i-th 4K or 2M part of a large page is behind the same GPA afterwards.
constexpr uint64_t kParts[] = {0, 1, 255, 511};
std::vector<Query> demote_keeps_pages() {
  std::vector<Query> q;
  for (int level = 1; level <= 2; level++) {
    for (const uint64_t i : kParts) {
      const Worked x{Leaf::kMemPageDemote, level};
      const U child = demoted_entry<T>(x.before, level, i);
      q.push_back({fmt::format("module level {}, part {}", level, i),
                   x.fits() && !is_pending<T>(x.before),
                   sept_hpa<T>(child, level - 1) ==
                           sept_hpa<T>(x.before, level) + U(i * sept_span(level - 1)) &&
                       invariant::sept_entry_well_formed<T>(child, level - 1) &&
                       !sept_state_is_any_blocked<T>(child),
                   {{"child", child}}});
    }
  }
  return q;
}
std::vector<Query> promote_keeps_pages() {
  std::vector<Query> q;
  for (int level = 1; level <= 2; level++) {
    for (const uint64_t i : kParts) {
      const Worked x{Leaf::kMemPagePromote, level};
      const U child = i == 0 ? x.given : var("child");
      q.push_back({fmt::format("module level {}, part {}", level, i),
                   x.fits() && is_promotable_child<T>(child, x.given, level - 1, i),
                   sept_hpa<T>(child, level - 1) ==
                           sept_hpa<T>(x.after(), level) + U(i * sept_span(level - 1)) &&
                       iff(is_pending<T>(child), is_pending<T>(x.after())),
                   {{"after", x.after()}}});
    }
  }
  return q;
}

// --- a 2M entry, and an entry of the S-EPT page below it ---

struct Below {
  U parent = var("parent"), child = var("child");
};
B is_table(const U& e) {
  return state_in<T>(sept_state<T>(e),
                     sept_set(SeptEntryState::kNlMapped, SeptEntryState::kNlBlocked));
}
// `passed`: a walk gets there, too.
B parent_is_there(const Below& b, bool passed) {
  const B parent = passed ? walk_continues<T>(b.parent) : is_table(b.parent);
  return implies(!is_sept_free<T>(b.child), parent) &&
         invariant::sept_entry_well_formed<T>(b.parent, 1) &&
         invariant::sept_entry_well_formed<T>(b.child, 0);
}
std::vector<Query> parents_outlive(bool passed) {
  std::vector<Query> q;
  const U given = var("given") & U(sept_hpa_mask(1));
  for (const bool at_parent : {true, false}) {
    for (const Leaf leaf : kChanging) {
      if (!works_at(leaf, at_parent ? 1 : 0)) continue;
      if (at_parent && leaf == Leaf::kMemPagePromote) continue;  // the page below it goes with it
      const Below b;
      Below after = b;
      const U e = at_parent ? b.parent : b.child;
      // ACCEPT may have passed the parent before that was blocked.
      B guard = admits(leaf, e);
      if (!at_parent && leaf != Leaf::kPageAccept) guard = guard && walk_continues<T>(b.parent);
      const U next = entry_after<T>(leaf, e, at_parent ? 1 : 0, given);
      (at_parent ? after.parent : after.child) = next;
      if (at_parent && leaf == Leaf::kMemSeptAdd) after.child = U(kSeptFreeEntry);
      if (at_parent && leaf == Leaf::kMemPageDemote) after.child = demoted_entry<T>(e, 1, 3);
      if (at_parent && leaf == Leaf::kMemSeptRemove) guard = guard && is_sept_free<T>(b.child);
      q.push_back(
          {fmt::format("{} of the {}", leaf_info(leaf).name, at_parent ? "parent" : "child"),
           parent_is_there(b, passed) && guard,
           parent_is_there(after, passed),
           {{"parent_after", after.parent}, {"child_after", after.child}}});
    }
  }
  return q;
}

}  // namespace

std::vector<Obligation> sept_call_obligations() {
  constexpr std::string_view bound =
      "every call that changes an entry, admitted state, HPA and level";
  constexpr std::string_view manager = "TDX module: sept_manager.h, the handlers' commits";
  return {
      {"sept.all-keep-shape",
       "every call leaves a well-formed entry whose lock is free (TDX-SEPT-SHAPE), a promoted page "
       "with an ACCEPT counter apart",
       manager, bound, all_keep_shape},
      {"sept.all-keep-shape.accept-counter",
       "PROMOTE to 1G leaves a well-formed entry where an ACCEPT of the first page was interrupted",
       "TDX module: tdh_mem_page_promote", "module level 2, every page and counter",
       all_keep_shape_with_counter},
      {"sept.all-keep-pending",
       "no call of the host makes a page pending or accepted that it does not bring or take away",
       manager, "BLOCK, UNBLOCK, RELOCATE, DEMOTE and PROMOTE", all_keep_pending},
      {"sept.comes-pending",
       "a page that comes is not accessible before it is accepted, but for what is measured",
       "TDX module: tdh_mem_page_aug, tdh_mem_page_add", "every page and level",
       pages_come_pending},
      {"sept.only-block-blocks", "an entry is blocked by RANGE.BLOCK alone, and only once", manager,
       bound, only_block_blocks},
      {"sept.blocked-ends-by-six",
       "UNBLOCK, REMOVE, SEPT.REMOVE, RELOCATE, PROMOTE and DEMOTE leave nothing blocked", manager,
       "these six, admitted state, HPA and level", blocked_leaves_by_six},
      {"sept.frees-when-tracked",
       "while a TD runs, what frees or changes a page has found its entry blocked and tracked",
       "TDX module: tdh_mem_page_remove and its like", "RUNNABLE, LIVE_EXPORT, LIVE_IMPORT",
       frees_when_tracked},
      {"sept.demote-keeps-pages",
       "PAGE.DEMOTE leaves each part of the page behind its GPA, unblocked",
       "TDX module: tdh_mem_page_demote", "levels 1 and 2, four parts, every page",
       demote_keeps_pages},
      {"sept.promote-keeps-pages", "PAGE.PROMOTE leaves each part of the page behind its GPA",
       "TDX module: tdh_mem_page_promote", "levels 1 and 2, four parts, every page",
       promote_keeps_pages},
      {"sept.parents-outlive",
       "whatever the host calls: an S-EPT entry that is not free has a parent that is a table",
       "TDX module: tdh_mem_sept_remove", "a 2M entry and one below it, one call, every value",
       [] { return parents_outlive(false); }},
      {"sept.parents-outlive.passed", "whatever the host calls: it has a parent that walks pass",
       "seed 004: BLOCK of a parent", "a 2M entry and one below it, one call, every value",
       [] { return parents_outlive(true); }},
  };
}

}  // namespace mmucheck::prove
