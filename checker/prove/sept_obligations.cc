// The TDX module's S-EPT entries: the states and what the calls make of them.
#include <fmt/format.h>

#include "checker/invariant/td_rules.h"
#include "checker/prove/groups.h"
#include "model/tdx/leaf.h"
#include "model/tdx/sept_entry.h"

namespace mmucheck::prove {
namespace {

using namespace model;
using namespace model::tdx;

U state() {
  return var("state");
}
B in(SeptStateSet set) {
  return state_in<T>(state(), set);
}
SeptStateSet admitted(Leaf leaf) {
  return leaf_info(leaf).states;
}

// An entry of `state` at `level` that the module built and nobody holds.
struct Entry {
  int level;
  U hpa = var("hpa");
  // A leaf's frame is aligned to its size, a table's to 4K.
  B valid() const {
    const B leaf = (sept_state_bits<T>(state()) & U(kSeptLeaf)) != U(0);
    return T::ite(leaf, hpa & U(~sept_hpa_mask(level)), hpa & U(~kSeptHpa)) == U(0);
  }
  U word() const { return make_sept_entry<T>(state(), hpa); }
  B built(SeptStateSet set) const { return in(set) && valid(); }
};

template <class Make>
std::vector<Query> each_level(int min, int max, Make make) {
  std::vector<Query> q;
  for (int level = min; level <= max; level++) {
    Query one = make(Entry{level});
    one.instance = fmt::format("module level {}", level);
    q.push_back(one);
  }
  return q;
}

std::vector<Query> states_closed() {
  const auto one = [](const char* call, SeptStateSet from, const U& to) -> Query {
    return {call, in(from), is_sept_state<T>(to), {{"becomes", to}}};
  };
  return {one("RANGE.BLOCK", admitted(Leaf::kMemRangeBlock), blocked_state<T>(state())),
          one("RANGE.UNBLOCK", admitted(Leaf::kMemRangeUnblock), unblocked_state<T>(state())),
          one("PAGE.RELOCATE", admitted(Leaf::kMemPageRelocate), unblocked_state<T>(state())),
          one("PAGE.DEMOTE", admitted(Leaf::kMemPageDemote), unblocked_state<T>(state())),
          one("PAGE.ACCEPT", admitted(Leaf::kPageAccept), accepted_state<T>(state()))};
}

std::vector<Query> block_blocks() {
  return {{"",
           in(admitted(Leaf::kMemRangeBlock)),
           state_in<T>(blocked_state<T>(state()), kAnyBlocked),
           {{"becomes", blocked_state<T>(state())}}}};
}

Query undo(SeptStateSet set) {
  const U back = unblocked_state<T>(blocked_state<T>(state()));
  return {"", in(set), back == state(), {{"becomes", blocked_state<T>(state())}, {"back", back}}};
}
std::vector<Query> unblock_undoes_block() {
  return {undo(admitted(Leaf::kMemRangeBlock))};
}
std::vector<Query> unblock_undoes_block_unless_blockedw() {
  return {undo(static_cast<SeptStateSet>(admitted(Leaf::kMemRangeBlock) & ~kAnyBlockedw))};
}

std::vector<Query> entry_round_trip() {
  return each_level(0, kMaxSeptLevel, [](const Entry& e) -> Query {
    return {"",
            e.built(0xffff),
            sept_state<T>(e.word()) == state() && sept_hpa<T>(e.word(), e.level) == e.hpa,
            {{"entry", e.word()}}};
  });
}

// RWX goes with the state; all else stays.
std::vector<Query> block_touches_state_only() {
  return each_level(0, kMaxSeptLevel, [](const Entry& e) -> Query {
    const U after = blocked_entry<T>(e.word(), e.level);
    return {"",
            e.built(admitted(Leaf::kMemRangeBlock)),
            ((e.word() ^ after) & U(~(kSeptStateMask | kSeptRwx))) == U(0) && e.word() != after,
            {{"entry", e.word()}, {"after", after}}};
  });
}

std::vector<Query> block_keeps_counter() {
  return each_level(1, 1, [](const Entry& e) -> Query {
    const U word = e.word() | (var("counter") << kAcceptCounterShift);
    const U after = blocked_entry<T>(word, e.level);
    return {"",
            e.built(sept_set(SeptEntryState::kPending)) && var("counter") < U(kAcceptChunks) &&
                (e.hpa & U(kAcceptCounterMask)) == U(0),
            ((word ^ after) & U(~(kSeptStateMask | kSeptRwx))) == U(0),
            {{"entry", word}, {"after", after}}};
  });
}

std::vector<Query> unblock_restores_entry() {
  return each_level(0, kMaxSeptLevel, [](const Entry& e) -> Query {
    const U back = unblocked_entry<T>(blocked_entry<T>(e.word(), e.level));
    return {"",
            e.built(static_cast<SeptStateSet>(admitted(Leaf::kMemRangeBlock) & ~kAnyBlockedw)),
            back == e.word(),
            {{"entry", e.word()}, {"back", back}}};
  });
}

std::vector<Query> blocked_denies() {
  return each_level(0, kMaxSeptLevel, [](const Entry& e) -> Query {
    const U after = blocked_entry<T>(e.word(), e.level);
    return {"",
            e.built(admitted(Leaf::kMemRangeBlock)),
            !walk_continues<T>(after) && !access_allowed<T>(after, false) &&
                !access_allowed<T>(after, true) && !sept_state_is_guest_acceptable<T>(after),
            {{"after", after}}};
  });
}

std::vector<Query> accept_grants() {
  return each_level(0, 1, [](const Entry& e) -> Query {
    const U after = make_sept_entry<T>(accepted_state<T>(state()), e.hpa);
    return {"",
            e.built(admitted(Leaf::kPageAccept)),
            sept_state_is_guest_fully_accessible_leaf<T>(after) && !is_pending<T>(after) &&
                access_allowed<T>(after, true),
            {{"after", after}}};
  });
}

std::vector<Query> pending_denies() {
  return each_level(0, kMaxSeptLevel, [](const Entry& e) -> Query {
    return {"",
            e.built(0xffff) && is_pending<T>(e.word()),
            !access_allowed<T>(e.word(), false) && !access_allowed<T>(e.word(), true),
            {{"entry", e.word()}}};
  });
}

std::vector<Query> access_is_states() {
  return each_level(0, kMaxSeptLevel, [](const Entry& e) -> Query {
    return {
        "",
        e.built(0xffff),
        iff(access_allowed<T>(e.word(), false), sept_state_is_guest_accessible_leaf<T>(e.word())) &&
            iff(access_allowed<T>(e.word(), true),
                sept_state_is_guest_fully_accessible_leaf<T>(e.word())),
        {{"entry", e.word()}}};
  });
}

std::vector<Query> arch_state_tells_all() {
  const U a = var("state"), b = var("other");
  return {
      {"",
       is_sept_state<T>(a) && is_sept_state<T>(b) && sept_arch_state<T>(a) == sept_arch_state<T>(b),
       a == b,
       {}}};
}

std::vector<Query> arch_hides() {
  return each_level(0, kMaxSeptLevel, [](const Entry& e) -> Query {
    const U shown = sept_arch_content<T>(e.word());
    constexpr uint64_t hidden =
        kSeptDirty | kSeptTdel | kSeptTdhp | kSeptTdex | kSeptTdbw | kSeptTdb | kSeptTdp;
    return {"", e.built(0xffff), (shown & U(hidden)) == U(0), {{"rcx", shown}}};
  });
}

// What REMOVE reads of the S-EPT for its answer is the target's own state: whether it is blocked.
std::vector<Query> remove_wants_tracking() {
  return each_level(0, 2, [](const Entry& e) -> Query {
    return {"",
            e.built(admitted(Leaf::kMemPageRemove)),
            sept_state_is_tlb_tracking_required<T>(e.word()),
            {{"entry", e.word()}}};
  });
}
std::vector<Query> removable_is_dead() {
  return each_level(0, 2, [](const Entry& e) -> Query {
    return {"",
            e.built(admitted(Leaf::kMemPageRemove)) && sept_state_is_any_blocked<T>(e.word()),
            !access_allowed<T>(e.word(), false) && is_sept_leaf<T>(e.word()),
            {{"entry", e.word()}}};
  });
}

// SEPT.REMOVE reads each of the 512 entries so.
std::vector<Query> remove_wants_free() {
  return each_level(0, kMaxSeptLevel - 1, [](const Entry& e) -> Query {
    return {
        "",
        e.built(0xffff),
        iff(is_sept_free<T>(e.word()), state() == U(static_cast<uint64_t>(SeptEntryState::kFree))),
        {{"entry", e.word()}}};
  });
}
// Nothing of the answer comes from the parent: a walk that ends above the target is another answer.
std::vector<Query> walk_ends_at_blocked() {
  return each_level(1, kMaxSeptLevel, [](const Entry& e) -> Query {
    return {"", e.built(kAnyBlocked), !walk_continues<T>(e.word()), {{"entry", e.word()}}};
  });
}

// What BLOCK, UNBLOCK and ACCEPT make of an entry that they admit.
template <class Conclude>
std::vector<Query> each_call(Conclude conclude, bool guest) {
  std::vector<Query> q;
  for (int level = 0; level <= kMaxSeptLevel; level++) {
    const Entry e{level};
    const auto one = [&](const char* call, Leaf leaf, const U& after) {
      // Leafs stand at 4K, 2M and 1G, tables above 4K.
      const B leaf_state = (sept_state_bits<T>(state()) & U(kSeptLeaf)) != U(0);
      const B in_place = level == 0 ? leaf_state : level > 2 ? !leaf_state : B(true);
      q.push_back({fmt::format("{}, module level {}", call, level),
                   e.built(admitted(leaf)) && in_place,
                   conclude(e, after),
                   {{"entry", e.word()}, {"after", after}}});
    };
    one("RANGE.BLOCK", Leaf::kMemRangeBlock, blocked_entry<T>(e.word(), level));
    one("RANGE.UNBLOCK", Leaf::kMemRangeUnblock, unblocked_entry<T>(e.word()));
    if (guest && level <= 1) {
      one("PAGE.ACCEPT", Leaf::kPageAccept, make_sept_entry<T>(accepted_state<T>(state()), e.hpa));
    }
  }
  return q;
}
std::vector<Query> keeps_shape() {
  return each_call(
      [](const Entry& e, const U& after) {
        return invariant::sept_entry_well_formed<T>(after, e.level) &&
               (after & U(kSeptTdel | kSeptTdhp)) == U(0);
      },
      true);
}
std::vector<Query> keeps_page() {
  return each_call(
      [](const Entry& e, const U& after) {
        return invariant::same_page_behind<T>(e.word(), after, e.level) &&
               iff(is_sept_leaf<T>(e.word()), is_sept_leaf<T>(after));
      },
      true);
}
std::vector<Query> host_keeps_pending() {
  return each_call(
      [](const Entry& e, const U& after) { return invariant::stays_pending<T>(e.word(), after); },
      false);
}

std::vector<Query> walk_passes() {
  return each_level(0, kMaxSeptLevel, [](const Entry& e) -> Query {
    return {"",
            e.built(0xffff),
            iff(walk_continues<T>(e.word()), state() == U(enc(SeptEntryState::kNlMapped))),
            {{"entry", e.word()}}};
  });
}

std::vector<Query> unblock_unblocks() {
  return {{"",
           in(admitted(Leaf::kMemRangeUnblock)),
           !state_in<T>(unblocked_state<T>(state()), kAnyBlocked),
           {{"becomes", unblocked_state<T>(state())}}}};
}

// Whichever call takes a blocked entry further.
std::vector<Query> blocked_wants_tracking() {
  std::vector<Query> q;
  for (const Leaf leaf : {Leaf::kMemRangeUnblock, Leaf::kMemPageRemove, Leaf::kMemSeptRemove,
                          Leaf::kMemPageRelocate, Leaf::kMemPagePromote, Leaf::kMemPageDemote}) {
    q.push_back({leaf_info(leaf).name,
                 in(admitted(leaf)) && in(kAnyBlocked),
                 sept_state_is_tlb_tracking_required<T>(make_sept_entry<T>(state(), U(0))),
                 {}});
  }
  return q;
}

std::vector<Query> accept_once() {
  const U after = accepted_state<T>(state());
  return {{"",
           in(admitted(Leaf::kPageAccept)),
           !state_in<T>(after, admitted(Leaf::kPageAccept)),
           {{"becomes", after}}}};
}

std::vector<Query> block_or_blocked() {
  return {{"",
           in(admitted(Leaf::kMemPageRemove)),
           in(admitted(Leaf::kMemRangeBlock)) || in(admitted(Leaf::kMemRangeUnblock)),
           {}}};
}

}  // namespace

std::vector<Obligation> sept_obligations() {
  constexpr std::string_view every = "every admitted state";
  constexpr std::string_view bound = "every admitted state, HPA and level";
  return {
      {"sept.states-closed",
       "block, unblock, relocate, demote and accept lead to one of the 16 states",
       "TDX module: sept_manager.h, sept_state_lookup.c", every, states_closed},
      {"sept.block-blocks", "RANGE.BLOCK leads to one of the three blocked states",
       "TDX module: tdh_mem_range_block", every, block_blocks},
      {"sept.unblock-undoes-block", "RANGE.UNBLOCK after RANGE.BLOCK gives the state back",
       "TDX module: tdh_mem_range_unblock", every, unblock_undoes_block},
      {"sept.unblock-undoes-block.not-blockedw",
       "RANGE.UNBLOCK gives the state back where writes were not blocked",
       "TDX module: tdh_mem_range_unblock", every, unblock_undoes_block_unless_blockedw},
      {"sept.entry-round-trip", "an entry shows the state and the HPA that it was built of",
       "TDX module: sept_manager.h", "every state, HPA and level", entry_round_trip},
      {"sept.block-touches-state-only",
       "RANGE.BLOCK changes the state and RWX of its entry and no other bit of it",
       "TDX module: tdh_mem_range_block", bound, block_touches_state_only},
      {"sept.block-keeps-accept-counter",
       "RANGE.BLOCK keeps the ACCEPT counter of a 2M page whose ACCEPT was interrupted",
       "TDX module: tdh_mem_range_block, tdg_mem_page_accept", "PENDING, module level 1",
       block_keeps_counter},
      {"sept.unblock-restores-entry",
       "UNBLOCK after BLOCK gives the whole entry back, BLOCKEDW apart",
       "TDX module: tdh_mem_range_unblock", bound, unblock_restores_entry},
      {"sept.blocked-denies", "no walk passes a blocked entry, no access or ACCEPT succeeds at it",
       "TDX module: sept_manager.h, secure_ept_walk", bound, blocked_denies},
      {"sept.accept-grants", "what ACCEPT leaves is accessible in full and not pending",
       "TDX module: tdg_mem_page_accept", bound, accept_grants},
      {"sept.pending-denies", "no access succeeds at a pending entry", "TDX module: sept_manager.h",
       "every state, HPA and level", pending_denies},
      {"sept.access-follows-state", "RWX of an entry say what its state says about access",
       "TDX module: sept_manager.h", "every state, HPA and level", access_is_states},
      {"sept.arch-state-tells-all", "no two states have the same architectural number",
       "TDX module: sept_state_lookup.c", "every pair of states", arch_state_tells_all},
      {"sept.arch-content-hides", "RCX shows none of the bits that the module keeps for itself",
       "TDX module: sept_manager.h", "every state, HPA and level", arch_hides},
      {"sept.remove-wants-tracking", "PAGE.REMOVE admits no state that is exempt from tracking",
       "TDX module: tdh_mem_page_remove", bound, remove_wants_tracking},
      {"sept.remove-target-denies",
       "what PAGE.REMOVE takes as blocked, by its own entry alone, is a leaf that no access passes",
       "TDX module: tdh_mem_page_remove", bound, removable_is_dead},
      {"sept.remove-wants-free",
       "what SEPT.REMOVE takes for a free entry below it is an entry in the state FREE",
       "TDX module: tdh_mem_sept_remove", "every state, HPA and level", remove_wants_free},
      {"sept.walk-ends-at-blocked", "no SEAMCALL's walk passes a blocked entry above its target",
       "TDX module: secure_ept_walk, lock_sept_check_and_walk", bound, walk_ends_at_blocked},
      {"sept.calls-keep-shape",
       "BLOCK, UNBLOCK and ACCEPT leave a well-formed entry that nobody holds (TDX-SEPT-SHAPE)",
       "TDX module: sept_manager.h", bound, keeps_shape},
      {"sept.calls-keep-page",
       "BLOCK, UNBLOCK and ACCEPT leave the page behind an entry as it is (TDX-DATA-PLACE)",
       "TDX module: sept_manager.h", bound, keeps_page},
      {"sept.host-keeps-pending",
       "BLOCK and UNBLOCK leave a pending page pending and an accepted one accepted "
       "(TDX-SEPT-PENDING)",
       "TDX module: tdh_mem_range_block, tdh_mem_range_unblock", bound, host_keeps_pending},
      {"sept.walk-passes-tables-only",
       "a walk passes an entry iff it is a table that is not blocked",
       "TDX module: secure_ept_walk", "every state, HPA and level", walk_passes},
      {"sept.unblock-unblocks", "RANGE.UNBLOCK leaves no entry blocked",
       "TDX module: tdh_mem_range_unblock", every, unblock_unblocks},
      {"sept.blocked-wants-tracking",
       "no call that takes a blocked entry further is exempt from tracking",
       "TDX module: sept_state_is_tlb_tracking_required", every, blocked_wants_tracking},
      {"sept.accept-once", "what was accepted is not accepted again",
       "TDX module: tdg_mem_page_accept", every, accept_once},
      {"sept.remove-can-be-prepared", "whatever PAGE.REMOVE admits is blocked or can be blocked",
       "TDX module: tdh_mem_page_remove, tdh_mem_range_block", every, block_or_blocked},
  };
}

}  // namespace mmucheck::prove
