// Every rule that an obligation uses gives the same over Concrete, Term and Z3.
#include <gtest/gtest.h>

#include "checker/invariant/rules.h"
#include "checker/invariant/td_rules.h"
#include "checker/prove/formats.h"
#include "checker/prove/three_domains_test.h"
#include "model/address/alias.h"
#include "model/address/walk_steps.h"
#include "model/shadow/shadow_leaf.h"
#include "model/spte/change.h"
#include "model/spte/role.h"
#include "model/tdp/alias.h"
#include "model/tdp/mirror_order.h"
#include "model/tdx/entry_after.h"
#include "model/tdx/leaf.h"
#include "model/tdx/lock_word.h"
#include "model/tdx/operand_rules.h"
#include "model/tdx/tlb_tracking.h"
#include "model/vm/large_pages.h"

namespace mmucheck::prove {
namespace {

using namespace model;
using namespace model::tdx;

template <size_t N>
std::array<uint64_t, N> words(TestRng& rng) {
  std::array<uint64_t, N> in;
  for (uint64_t& v : in) v = random_word(rng);
  return in;
}
// Entries that the module builds, some with a bit turned.
template <size_t N>
std::array<uint64_t, N> entries(TestRng& rng) {
  std::array<uint64_t, N> in;
  for (uint64_t& v : in) {
    v = make_sept_entry(kSeptStates[rng() % kSeptStates.size()].state, rng() & 0xffffff000);
    if (rng() % 4 == 0) v ^= uint64_t{1} << (rng() % 64);
  }
  return in;
}
// Small numbers: epochs, counts, lock words.
template <size_t N>
std::array<uint64_t, N> small(TestRng& rng) {
  std::array<uint64_t, N> in;
  for (uint64_t& v : in) v = rng() % 8;
  return in;
}

#define RULE(make, n, name, ...) \
  three_domains<n>(              \
      name, []<class D>(D, const std::array<U64Of<D>, n>& in) { return __VA_ARGS__; }, make<n>)

TEST(ThreeDomains, Address) {
  RULE(words, 1, "gfn_round", gfn_round_for_level<D>(in[0], 3));
  RULE(words, 1, "spte_index", spte_index<D>(in[0], 4));
  RULE(words, 1, "gpa_to_gfn", gpa_to_gfn<D>({in[0]}).v);
  RULE(words, 2, "is_addr_direct", is_addr_direct<D>(in[0], {in[1]}));
  RULE(words, 2, "strip", strip_direct_bits<D>(in[0], {in[1]}).v);
  RULE(words, 2, "is_gfn_alias", is_gfn_alias<D>(in[0], {in[1]}));
  RULE(words, 1, "bits_of_root", gfn_bits_of_root<D>(in[0], false));
  RULE(words, 2, "for_root direct", gfn_for_root<D>(in[0], false, Gfn<D>{in[1]}).v);
  RULE(words, 2, "for_root mirror", gfn_for_root<D>(in[0], true, Gfn<D>{in[1]}).v);
  RULE(words, 1, "walk_index", walk_index<D>({in[0]}, 4));
  RULE(words, 2, "entry_gfn", entry_gfn<D>({in[0]}, in[1], 3).v);
  RULE(words, 2, "stripped_addr", seed000_stripped_addr<D>(in[0], {in[1]}).v);
  RULE(words, 1, "shared_mask", seed000_gfn_shared_mask<D>(in[0], true));
  RULE(words, 2, "seed000_index", seed000_index<D>({in[0]}, in[1], 4));
  RULE(words, 3, "loop direct", seed000_loop_goes_on<D>(in[0], false, {in[1]}, {in[2]}));
  RULE(words, 3, "loop mirror", seed000_loop_goes_on<D>(in[0], true, {in[1]}, {in[2]}));
  RULE(words, 1, "gpa_is_private", gpa_is_private<D>(in[0], 48));
  RULE(words, 1, "has_its_place", invariant::gfn_has_its_place<D>(in[0], 4));
  RULE(words, 3, "entry_is_walked",
       invariant::entry_is_walked<D>({in[0]}, in[1], false, 3, in[2] & U64Of<D>(511)));
}

TEST(ThreeDomains, WalkSteps) {
  RULE(words, 1, "gfn_below", gfn_below<D>(in[0], 2));
  RULE(words, 1, "gfn_beside", gfn_beside<D>(in[0], 3));
  RULE(words, 1, "gfn_above", gfn_above<D>(in[0], 4));
  RULE(words, 2, "is_last_entry", is_last_entry<D>(in[0] | U64Of<D>(511), in[1], 1));
}

TEST(ThreeDomains, LargePages) {
  RULE(words, 2, "gfn_to_index", gfn_to_index<D>(in[0], in[1], 2));
  RULE(words, 2, "lpage_entries", lpage_entries<D>(in[0], in[1], 3));
  RULE(small, 4, "never_large", never_large<D>(in[0], in[1], in[2], 2, in[3]));
  RULE(small, 3, "large_page_in_slot", large_page_in_slot<D>(in[0], in[1] << 9, in[2] << 8, 2));
  RULE(small, 2, "cut head", cut_pages<D>(in[0] << 8, in[1] << 8, 2).cuts_head);
  RULE(small, 2, "cut tail", cut_pages<D>(in[0] << 8, in[1] << 8, 2).cuts_tail);
  RULE(words, 2, "head and tail",
       cut_pages<D>(in[0], in[1], 3).head ^ cut_pages<D>(in[0], in[1], 3).tail);
  RULE(small, 3, "zap_was_asked_for",
       invariant::zap_was_asked_for<D>(in[0], 1, in[1], in[2], true));
}

TEST(ThreeDomains, Aliases) {
  RULE(words, 2, "fault_addr", fault_addr<D>(FaultAddr::kStripped, in[0], in[1]));
  RULE(words, 3, "fault_source_addr",
       fault_source_addr<D>(FaultSource::kPrefault, in[0], in[1] < in[2], in[2]));
  RULE(words, 3, "fault_source_private",
       fault_source_private<D>(FaultSource::kEptViolation, in[0], in[1] < in[2], in[2]));
  RULE(words, 3, "fault_walks_mirror, by address",
       fault_walks_mirror<D>(RootChoice::kByAddress, FaultAddr::kStripped, in[0], in[1] < in[2],
                             in[2]));
  RULE(words, 3, "fault_walks_mirror, by is_private",
       fault_walks_mirror<D>(RootChoice::kByPrivate, FaultAddr::kWalked, in[0], in[1] < in[2],
                             in[2]));
  RULE(words, 3, "zap_range start",
       zap_range<D>(ZapBounds::kPerRoot, IterIndex::kRawGfn, true, in[0], in[1], in[2]).start);
  RULE(words, 3, "zap_range end",
       zap_range<D>(ZapBounds::kSeed000End, IterIndex::kGfnBits, false, in[0], in[1], in[2]).end);
  RULE(words, 2, "flush_past_spared_root", flush_past_spared_root<D>(false, in[0] < in[1]));
  RULE(words, 1, "role level", role_word_with_level<U64Of<D>>(in[0], 3));
  RULE(words, 1, "role mirror", role_word_mirror<U64Of<D>>(in[0]));
}

TEST(ThreeDomains, ShadowedTranslations) {
  RULE(words, 2, "shadowed word", shadowed_translation<D>(kShadowedV2, in[0], in[1]));
  RULE(words, 1, "shadowed gfn", shadowed_gfn<D>(kShadowedLanded, in[0]));
  RULE(words, 1, "shadowed access", shadowed_access<D>(kShadowed73, in[0]));
}

// The formats are structural: each rule in each of them.
void spte_rules(const NamedFormat& n) {
  const SpteFormat& f = n.f;
#define SPTE(count, rule, ...)                                                        \
  three_domains<count>(                                                               \
      n.name + " " rule,                                                              \
      [&]<class D>(D, const std::array<U64Of<D>, count>& in) { return __VA_ARGS__; }, \
      words<count>)
  for (const ShadowRewrite rewrite :
       {ShadowRewrite::kNothing, ShadowRewrite::kAccess, ShadowRewrite::kTranslation}) {
    ShadowRules rules;
    rules.rewrite = rewrite;
    SPTE(4, "shadowed leaf",
         shadow_set_spte<D>(f, rules, {.access = kAccUser}, {in[0], in[1], in[1]}, in[2], in[3])
             .translation);
    SPTE(4, "shadowed leaf's rmap",
         shadow_set_spte<D>(f, rules, {}, {in[0], in[1], in[1]}, in[2], in[3]).rmap_gfn);
  }
  for (const ShadowSplitAccess from : {ShadowSplitAccess::kCached, ShadowSplitAccess::kHugeSpte}) {
    ShadowRules rules;
    rules.split_access = from;
    SPTE(1, "child's access", shadow_child_access<D>(f, rules, {in[0], in[0], in[0]}));
  }
  SPTE(2, "child", shadow_child_spte<D>(f, in[0], in[1], 1, 77, true));
  SPTE(1, "permissions", spte_permissions<D>(f, in[0]));
  SPTE(2, "legal_change 1", legal_change<D>(f, in[0], in[1], 1));
  SPTE(2, "legal_change 3", legal_change<D>(f, in[0], in[1], 3));
  SPTE(2, "removes_table", change_removes_table<D>(classify_change<D>(in[0], in[1], 2)));
  SPTE(2, "needs_flush", leaf_change_needs_flush<D>(f, in[0], in[1]));
  SPTE(1, "atomic_write", spte_need_atomic_write<D>(f, in[0], 2));
  SPTE(1, "ad_enabled", spte_ad_enabled<D>(f, in[0]));
  SPTE(1, "access", is_access_allowed<D>(f, {}, in[0]));
  SPTE(1, "nonleaf", make_nonleaf_spte<D>(f, in[0], false));
  SPTE(2, "leaf", make_spte<D>(f, {.level = 2, .nx_huge_page_enabled = true}, in[0], in[1]));
  SPTE(2, "read-only leaf", make_spte<D>(f, {.access = kAccUser}, in[0], in[1]));
  SPTE(2, "prefetched leaf",
       make_spte<D>(f, {.ad_disabled = true, .prefetch = true, .write_tracked = true}, in[0],
                    in[1]));
  SPTE(1, "mark", mark_spte_for_access_track<D>(f, in[0]));
  SPTE(1, "restore", restore_acc_track_spte<D>(f, in[0]));
  SPTE(2, "mmio", make_mmio_spte<D>(f, in[0], in[1]));
  SPTE(1, "generation", mmio_spte_generation<D>(f, in[0]));
  SPTE(1, "split", make_huge_page_split_spte<D>(f, in[0], 1, 511, false));
  SPTE(1, "recover", make_huge_spte<D>(f, in[0], 3, false));
  SPTE(1, "nx_huge_leaf", invariant::nx_huge_leaf<D>(f, in[0], 2, true));
  SPTE(1, "ve_suppressed", invariant::ve_suppressed<D>(in[0]));
  SPTE(1, "exchanged", exchanged_value<D>(MirrorWay::kFreeze, f, in[0]));
  SPTE(2, "stored", stored_value<D>(in[0], in[1], in[0] < in[1]));
  SPTE(1, "goes on", !fault_gives_up<D>(f, in[0]));
  SPTE(1, "takes", !remover_spins<D>(f, in[0]));
  SPTE(1, "maxphyaddr", invariant::within_maxphyaddr<D>(in[0], 46));
#undef SPTE
}
TEST(ThreeDomains, Sptes) {
  for (const NamedFormat& n : formats()) spte_rules(n);
}

TEST(ThreeDomains, LegalChangeIsTheKernelsOrderOfChecks) {
  TestRng rng(3);
  uint64_t legal = 0;
  for (const NamedFormat& n : formats()) {
    for (int k = 0; k < 20'000; k++) {
      const int level = 1 + static_cast<int>(rng() % 5);
      const uint64_t o = random_word(rng);
      const uint64_t v = rng() % 2 == 0 ? random_word(rng) : o ^ (uint64_t{1} << (rng() % 64));
      const bool want = first_broken_rule(n.f, 0, level, o, v) == ChangeRule::kNone;
      ASSERT_EQ(legal_change<>(n.f, o, v, level), want)
          << n.name << std::hex << " " << o << " " << v;
      legal += want;
    }
  }
  EXPECT_GT(legal, 1000u);
}

TEST(ThreeDomains, Sept) {
  RULE(entries, 1, "sept_state", sept_state<D>(in[0]));
  RULE(entries, 1, "is_sept_state", is_sept_state<D>(sept_state<D>(in[0])));
  RULE(entries, 1, "blocked_state", blocked_state<D>(sept_state<D>(in[0])));
  RULE(entries, 1, "unblocked_state", unblocked_state<D>(sept_state<D>(in[0])));
  RULE(entries, 1, "accepted_state", accepted_state<D>(sept_state<D>(in[0])));
  RULE(entries, 1, "blocked_entry", blocked_entry<D>(in[0], 1));
  RULE(entries, 1, "unblocked_entry", unblocked_entry<D>(in[0]));
  RULE(entries, 1, "sept_entry_well_formed", invariant::sept_entry_well_formed<D>(in[0], 1));
  RULE(entries, 2, "stays_pending", invariant::stays_pending<D>(in[0], in[1]));
  RULE(entries, 1, "permits_every_access", invariant::permits_every_access<D>(in[0]));
  RULE(entries, 2, "same_page_behind", invariant::same_page_behind<D>(in[0], in[1], 1));
  RULE(entries, 1, "sept_hpa", sept_hpa<D>(in[0], 1));
  RULE(entries, 1, "walk_continues", walk_continues<D>(in[0]));
  RULE(entries, 1, "read", access_allowed<D>(in[0], false));
  RULE(entries, 1, "write", access_allowed<D>(in[0], true));
  RULE(entries, 1, "accessible", sept_state_is_guest_accessible_leaf<D>(in[0]));
  RULE(entries, 1, "fully", sept_state_is_guest_fully_accessible_leaf<D>(in[0]));
  RULE(entries, 1, "acceptable", sept_state_is_guest_acceptable<D>(in[0]));
  RULE(entries, 1, "any_blocked", sept_state_is_any_blocked<D>(in[0]));
  RULE(entries, 1, "tracking", sept_state_is_tlb_tracking_required<D>(in[0]));
  RULE(entries, 1, "arch_state", sept_arch_state<D>(sept_state<D>(in[0])));
  RULE(entries, 1, "arch_content", sept_arch_content<D>(in[0]));
  RULE(entries, 1, "host taken", entry_lock_host<D>(in[0]).taken);
  RULE(entries, 1, "host word", entry_lock_host<D>(in[0]).word);
  RULE(entries, 1, "guest taken", entry_lock_guest<D>(in[0]).taken);
  RULE(entries, 1, "guest word", entry_lock_guest<D>(in[0]).word);
  RULE(entries, 2, "after AUG", entry_after<D>(Leaf::kMemPageAug, in[0], 0, in[1]));
  RULE(entries, 2, "after SEPT.ADD", entry_after<D>(Leaf::kMemSeptAdd, in[0], 1, in[1]));
  RULE(entries, 2, "after BLOCK", entry_after<D>(Leaf::kMemRangeBlock, in[0], 1, in[1]));
  RULE(entries, 2, "after REMOVE", entry_after<D>(Leaf::kMemPageRemove, in[0], 0, in[1]));
  RULE(entries, 2, "after RELOCATE", entry_after<D>(Leaf::kMemPageRelocate, in[0], 0, in[1]));
  RULE(entries, 2, "after PROMOTE", entry_after<D>(Leaf::kMemPagePromote, in[0], 1, in[1]));
  RULE(entries, 2, "after ACCEPT", entry_after<D>(Leaf::kPageAccept, in[0], 1, in[1]));
  RULE(entries, 1, "demoted", demoted_entry<D>(in[0], 2, 17));
  RULE(entries, 1, "promotable",
       is_promotable_child<D>(in[0] & U64Of<D>(~uint64_t{0x1ff000}),
                              in[0] & U64Of<D>(~uint64_t{0x1ff000}), 0, 0));
  RULE(entries, 1, "not blocked", refused_as_not_blocked<D>(OpState::kRunnable, in[0]));
  RULE(entries, 1, "not tracked",
       refused_as_not_tracked<D>(OpState::kLiveExport, in[0], in[0] < U64Of<D>(1)));
}

TEST(ThreeDomains, EpochsAndLocks) {
  RULE(small, 4, "tracked", is_tlb_tracked<D>({in[0], in[1], in[2]}, in[3]));
  RULE(small, 3, "may_advance", epoch_may_advance<D>({in[0], in[1], in[2]}));
  RULE(small, 4, "parity", refcount_of_parity<D>({in[0], in[1], in[2]}, in[3]));
  RULE(small, 2, "enter_flushes", enter_flushes_for_epoch<D>(in[0], in[1], false));
  RULE(small, 1, "shared taken", sharex_shared<D>(in[0]).taken);
  RULE(small, 1, "shared word", sharex_shared<D>(in[0]).word);
  RULE(small, 1, "exclusive taken", sharex_exclusive<D>(in[0]).taken);
  RULE(small, 1, "exclusive word", sharex_exclusive<D>(in[0]).word);
  RULE(small, 1, "release", sharex_release<D>(in[0], false));
  RULE(small, 1, "hp shared", hp_shared<D>(in[0]).word);
  RULE(small, 1, "hp shared taken", hp_shared<D>(in[0]).taken);
  RULE(small, 1, "hp exclusive", hp_exclusive<D>(in[0]).word);
  RULE(small, 1, "hp exclusive taken", hp_exclusive<D>(in[0]).taken);
  RULE(small, 1, "hp promote", hp_promote<D>(in[0]).taken);
  RULE(small, 1, "hp release", hp_release<D>(in[0], false));
  RULE(small, 1, "hp release exclusive", hp_release<D>(in[0], true));
}

}  // namespace
}  // namespace mmucheck::prove
