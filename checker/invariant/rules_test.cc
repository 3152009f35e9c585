// Every rule over both domains, on the same words.
#include "checker/invariant/rules.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "checker/invariant/ids.h"
#include "checker/invariant/monitor.h"
#include "checker/invariant/td_rules.h"
#include "model/domain/term.h"

namespace mmucheck::invariant {
namespace {

using model::Term;

constexpr std::array<uint64_t, 14> kWords = {
    0, 1, 4, 6, 8, 0x5000825, 0x5000e67, 0x5000ee7, 0x1000003827, 0x8000000000000000,
    0x80000000000001a0, 0x8000000005000ee7, 0x90a0000005000f07, ~uint64_t{0}};

const model::Design& design() { return *model::find_design("linux-7.2"); }

bool of(model::BoolOf<Term> b) { return model::evaluate(b.n, {}) != 0; }

TEST(Rules, BothDomainsAgree) {
  const SpteFormat npt = model::make_spte_format(design(), {});
  for (const uint64_t a : kWords) {
    using T = model::U64Of<Term>;
    for (int level = 1; level <= 3; level++) {
      EXPECT_EQ(nx_huge_leaf<>(npt, a, level, true), of(nx_huge_leaf<Term>(npt, T(a), level, true)));
      EXPECT_EQ(splittable<>(a, level), of(splittable<Term>(T(a), level)));
      EXPECT_EQ(gfn_has_its_place<>(a, level), of(gfn_has_its_place<Term>(T(a), level)));
      for (const uint64_t b : kWords) {
        EXPECT_EQ(entry_is_walked<>({a}, b, false, level, a & 511),
                  of(entry_is_walked<Term>({T(a)}, T(b), false, level, T(a & 511))));
        EXPECT_EQ(congruent<>(a, b, level), of(congruent<Term>(T(a), T(b), level)));
        EXPECT_EQ(child_fits<>(level, a, level + 1, b),
                  of(child_fits<Term>(level, T(a), level + 1, T(b))));
      }
    }
    for (const bool on : {false, true}) {
      EXPECT_EQ(kind_as_attributes_say<>(on, a), of(kind_as_attributes_say<Term>(on, T(a))));
      EXPECT_EQ(logged_leaf_small<>(a, 2, on), of(logged_leaf_small<Term>(T(a), 2, on)));
      EXPECT_EQ(tracked_not_writable<>(a, on), of(tracked_not_writable<Term>(T(a), on)));
    }
    EXPECT_EQ(ve_suppressed<>(a), of(ve_suppressed<Term>(T(a))));
    EXPECT_EQ(within_maxphyaddr<>(a, 36), of(within_maxphyaddr<Term>(T(a), 36)));
    EXPECT_EQ(result_leaves_handler<>(a), of(result_leaves_handler<Term>(T(a))));
    EXPECT_EQ(mirror_roots_stay<>(a), of(mirror_roots_stay<Term>(T(a))));
    EXPECT_EQ(prefault_ends_with<>(a), of(prefault_ends_with<Term>(T(a))));
    EXPECT_EQ(exclusive_finds_no_frozen<>(npt, a, false),
              of(exclusive_finds_no_frozen<Term>(npt, T(a), false)));
    for (const uint64_t b : kWords) {
      EXPECT_EQ(nx_list_counted<>(a, b, a - b), of(nx_list_counted<Term>(T(a), T(b), T(a - b))));
      EXPECT_EQ(nx_list_counted<>(a, b, 1), of(nx_list_counted<Term>(T(a), T(b), T(1))));
      EXPECT_EQ(open_invalidation_has_range<>(a, b),
                of(open_invalidation_has_range<Term>(T(a), T(b))));
      EXPECT_EQ(mmio_within_mask<>(a, b, npt.frozen),
                of(mmio_within_mask<Term>(T(a), T(b), T(npt.frozen))));
    }
  }
}

TEST(TdRules, BothDomainsAgree) {
  namespace tdx = model::tdx;
  using T = model::U64Of<Term>;
  std::vector<uint64_t> words(kWords.begin(), kWords.end());
  for (const tdx::SeptStateInfo& s : tdx::kSeptStates) {
    words.push_back(tdx::make_sept_entry(s.state, 0x200400000));
  }
  for (const uint64_t a : words) {
    for (int level = 0; level <= 3; level++) {
      EXPECT_EQ(sept_entry_well_formed<>(a, level), of(sept_entry_well_formed<Term>(T(a), level)));
    }
    for (const uint64_t b : words) {
      EXPECT_EQ(entered_after_block<>(a, b), of(entered_after_block<Term>(T(a), T(b))));
      EXPECT_EQ(epoch_is_recent<>(a, b), of(epoch_is_recent<Term>(T(a), T(b))));
      EXPECT_EQ(stays_pending<>(a, b), of(stays_pending<Term>(T(a), T(b))));
      EXPECT_EQ(same_page_behind<>(a, b, 1), of(same_page_behind<Term>(T(a), T(b), 1)));
      EXPECT_EQ(permits_every_access<>(a), of(permits_every_access<Term>(T(a))));
      for (const bool mirror : {false, true}) {
        EXPECT_EQ(zap_was_asked_for<>(a, 2, b, b + 512, mirror),
                  of(zap_was_asked_for<Term>(T(a), 2, T(b), T(b + 512), mirror)));
      }
    }
  }
}

TEST(TdRules, Values) {
  namespace tdx = model::tdx;
  using S = tdx::SeptEntryState;
  EXPECT_TRUE(sept_entry_well_formed<>(tdx::kSeptFreeEntry, 3));
  EXPECT_TRUE(sept_entry_well_formed<>(tdx::make_sept_entry(S::kMapped, 0x1000), 0));
  EXPECT_FALSE(sept_entry_well_formed<>(tdx::make_sept_entry(S::kMapped, 0x1000), 1));
  EXPECT_FALSE(sept_entry_well_formed<>(tdx::make_sept_entry(S::kNlMapped, 0x1000), 0));
  EXPECT_TRUE(sept_entry_well_formed<>(tdx::make_sept_entry(S::kNlMapped, 0x1000), 1));
  EXPECT_FALSE(sept_entry_well_formed<>(tdx::make_sept_entry(S::kMapped, 0), 3));
  EXPECT_TRUE(entered_after_block<>(6, 5));
  EXPECT_FALSE(entered_after_block<>(5, 5));
  EXPECT_TRUE(epoch_is_recent<>(5, 6));
  EXPECT_FALSE(epoch_is_recent<>(4, 6));
  EXPECT_FALSE(epoch_is_recent<>(7, 6));
  EXPECT_FALSE(stays_pending<>(tdx::make_sept_entry(S::kPending, 0x1000),
                               tdx::make_sept_entry(S::kMapped, 0x1000)));
  EXPECT_TRUE(stays_pending<>(tdx::make_sept_entry(S::kPending, 0x1000),
                              tdx::make_sept_entry(S::kPendingBlocked, 0x1000)));
  EXPECT_FALSE(same_page_behind<>(tdx::make_sept_entry(S::kMapped, 0x1000),
                                  tdx::make_sept_entry(S::kBlocked, 0x2000), 0));
  EXPECT_TRUE(permits_every_access<>(0x80a0000200010f07));
  EXPECT_FALSE(permits_every_access<>(0x80a0000200010f05));
  // A leaf of 2M that reaches beyond the range: shared memory comes back, private does not.
  EXPECT_TRUE(zap_was_asked_for<>(0x200, 2, 0x210, 0x220, false));
  EXPECT_FALSE(zap_was_asked_for<>(0x200, 2, 0x210, 0x220, true));
  EXPECT_FALSE(zap_was_asked_for<>(0x200, 2, 0x400, 0x600, false));
}

TEST(Rules, SayWhatTheCatalogueSays) {
  const SpteFormat npt = model::make_spte_format(design(), {});
  EXPECT_FALSE(nx_huge_leaf<>(npt, 0x5000ee7, 2, true));
  EXPECT_TRUE(nx_huge_leaf<>(npt, 0x5000ee7, 2, false));
  EXPECT_TRUE(nx_huge_leaf<>(npt, 0x5000ee7, 1, true));
  EXPECT_TRUE(nx_huge_leaf<>(npt, 0x8000000005000ee7, 2, true));
  EXPECT_FALSE(exclusive_finds_no_frozen<>(npt, npt.frozen, false));
  EXPECT_TRUE(exclusive_finds_no_frozen<>(npt, npt.frozen, true));
  EXPECT_FALSE(open_invalidation_has_range<>(1, ~uint64_t{0}));
  EXPECT_TRUE(open_invalidation_has_range<>(0, ~uint64_t{0}));
  EXPECT_FALSE(kind_as_attributes_say<>(true, 0));
  EXPECT_TRUE(kind_as_attributes_say<>(true, 8));
  EXPECT_FALSE(within_maxphyaddr<>(0x1000000827, 36));
  EXPECT_TRUE(within_maxphyaddr<>(0x0fffff0827, 36));
}

TEST(Monitor, CountsAndCollects) {
  model::RadixStore store;
  model::HostMmu host;
  model::VmConfig vm;
  const SpteFormat npt = model::make_spte_format(design(), host);
  Tally tally;
  Monitor monitor({store, design(), npt, host, vm}, tally);
  monitor.on(model::ev::Return{model::ev::Fn::kTdpMap, 5});
  EXPECT_EQ(tally.evaluated[id("MMU-FAULT-RET")], 1u);
  EXPECT_TRUE(monitor.broken().empty());
  monitor.on(model::ev::Return{model::ev::Fn::kTdpMap, 4});
  ASSERT_EQ(monitor.broken().size(), 1u);
  EXPECT_EQ(monitor.broken()[0], id("MMU-FAULT-RET"));
  EXPECT_EQ(tally.violated[id("MMU-FAULT-RET")], 1u);
  EXPECT_EQ(find_id("MMU-NO-SUCH"), kNoId);
}

// The list of possible NX huge pages as no step of the model leaves it.
TEST(Monitor, LooksAtTheNxList) {
  using model::CellKind;
  using model::cell::of;
  model::RadixStore store;
  model::HostMmu host;
  host.nx_huge_pages = true;
  model::VmConfig vm;
  const SpteFormat npt = model::make_spte_format(design(), host);
  Tally tally;
  Monitor monitor({store, design(), npt, host, vm}, tally);
  const Id rule = id("MMU-NX-LIST");
  const auto look = [&] {
    monitor.broken().clear();
    monitor.on(model::ev::Return{model::ev::Fn::kTdpMap, 5});
    return monitor.broken().empty();
  };
  const uint32_t table = store.alloc_table(0x1000);
  store.set(of(CellKind::kSpState, table), static_cast<uint64_t>(model::SpState::kLinked));
  EXPECT_TRUE(look());
  store.set(of(CellKind::kNxHead), table + 1);
  EXPECT_FALSE(look()) << "listed, but not counted";
  store.set(of(CellKind::kNxCount), 1);
  EXPECT_TRUE(look());
  store.set(of(CellKind::kNxCount), 2);
  EXPECT_FALSE(look());
  store.set(of(CellKind::kNxShadowCount), ~uint64_t{0});
  EXPECT_TRUE(look()) << "recovery of 7.x books a page as a shadow page";
  store.set(of(CellKind::kSpState, table), static_cast<uint64_t>(model::SpState::kRemoved));
  EXPECT_FALSE(look()) << "listed, but not linked";
  EXPECT_EQ(tally.evaluated[rule], 6u);
  EXPECT_EQ(tally.violated[rule], 3u);
}

}  // namespace
}  // namespace mmucheck::invariant
