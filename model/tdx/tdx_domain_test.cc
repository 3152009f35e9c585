// Every rule of the TDX module gives the same over Concrete and Term, and the small sets on which
// the rules stand are what the module's tables say.
#include <gtest/gtest.h>

#include "model/domain/domain_compare_test.h"
#include "model/tdx/leaf.h"
#include "model/tdx/lock_word.h"
#include "model/tdx/operand_rules.h"
#include "model/tdx/tlb_tracking.h"

namespace mmucheck::model::tdx {
namespace {

constexpr uint64_t kPerRule = 100'000;
constexpr uint64_t kHkidMask = uint64_t{63} << 46;

// Entries that the rules build, with some bits turned.
uint64_t random_entry(TestRng& rng) {
  if (rng() % 8 == 0) return random_word(rng);
  const SeptEntryState s = kSeptStates[rng() % kSeptStates.size()].state;
  uint64_t e = make_sept_entry(s, rng() & 0xffffff000);
  if (rng() % 4 == 0) e |= kSeptTdel;
  if (rng() % 4 == 0) e |= kSeptTdhp;
  if (rng() % 8 == 0) e ^= uint64_t{1} << (rng() % 64);
  return e;
}

template <size_t N, class Rule, class Make>
void both_ways(const char* name, Rule rule, Make make) {
  TestRng rng(std::hash<std::string_view>()(name));
  const uint64_t yes = compare_domains<N>(name, rng, kPerRule, rule, make);
  EXPECT_GT(yes, kPerRule / 500) << name;
}

template <size_t N, class Rule>
void on_entries(const char* name, Rule rule) {
  both_ways<N>(name, rule, [](TestRng& rng) {
    std::array<uint64_t, N> in;
    for (uint64_t& v : in) v = random_entry(rng);
    return in;
  });
}

#define TDX_RULE(run, n, name, ...) \
  run<n>(name, []<class D>(D, const std::array<U64Of<D>, n>& in) { return __VA_ARGS__; })

TEST(TdxDomains, Entries) {
  TDX_RULE(on_entries, 1, "sept_state", sept_state<D>(in[0]));
  TDX_RULE(on_entries, 1, "sept_state_bits", sept_state_bits<D>(sept_state<D>(in[0])));
  TDX_RULE(on_entries, 1, "is_sept_state", is_sept_state<D>(sept_state<D>(in[0])));
  TDX_RULE(on_entries, 1, "is_sept_free", is_sept_free<D>(in[0]));
  TDX_RULE(on_entries, 1, "is_sept_leaf", is_sept_leaf<D>(in[0]));
  TDX_RULE(on_entries, 1, "is_pending", is_pending<D>(in[0]));
  TDX_RULE(on_entries, 1, "any_blocked", sept_state_is_any_blocked<D>(in[0]));
  TDX_RULE(on_entries, 1, "tracking", sept_state_is_tlb_tracking_required<D>(in[0]));
  TDX_RULE(on_entries, 1, "accessible", sept_state_is_guest_accessible_leaf<D>(in[0]));
  TDX_RULE(on_entries, 1, "fully", sept_state_is_guest_fully_accessible_leaf<D>(in[0]));
  TDX_RULE(on_entries, 1, "acceptable", sept_state_is_guest_acceptable<D>(in[0]));
  TDX_RULE(on_entries, 1, "promotable", sept_state_is_mapped_or_pending<D>(in[0]));
  TDX_RULE(on_entries, 1, "blocked_state", blocked_state<D>(sept_state<D>(in[0])));
  TDX_RULE(on_entries, 1, "unblocked_state", unblocked_state<D>(sept_state<D>(in[0])));
  TDX_RULE(on_entries, 1, "accepted_state", accepted_state<D>(sept_state<D>(in[0])));
  TDX_RULE(on_entries, 1, "sept_rwx", sept_rwx<D>(sept_state<D>(in[0])));
  TDX_RULE(on_entries, 2, "make_sept_entry",
           make_sept_entry<D>(sept_state<D>(in[0]), in[1] & U64Of<D>(kSeptHpa)));
  TDX_RULE(on_entries, 1, "sept_hpa", sept_hpa<D>(in[0], 1));
  TDX_RULE(on_entries, 1, "sept_arch_content", sept_arch_content<D>(in[0]));
  TDX_RULE(on_entries, 1, "sept_level_and_state", sept_level_and_state<D>(in[0], 2));
  TDX_RULE(on_entries, 1, "walk_continues", walk_continues<D>(in[0]));
  TDX_RULE(on_entries, 1, "read allowed", access_allowed<D>(in[0], false));
  TDX_RULE(on_entries, 1, "write allowed", access_allowed<D>(in[0], true));
  TDX_RULE(on_entries, 1, "entry_lock_host", entry_lock_host<D>(in[0]).word);
  TDX_RULE(on_entries, 1, "entry_lock_host taken", entry_lock_host<D>(in[0]).taken);
  TDX_RULE(on_entries, 1, "entry_lock_guest", entry_lock_guest<D>(in[0]).word);
  TDX_RULE(on_entries, 1, "entry_lock_guest taken", entry_lock_guest<D>(in[0]).taken);
}

TEST(TdxDomains, Permissions) {
  for (const LeafInfo& leaf : kLeafInfo) {
    if (leaf.states == 0) continue;
    const Leaf l = leaf.leaf;
    on_entries<1>(leaf.name, [l]<class D>(D, const std::array<U64Of<D>, 1>& in) {
      return sept_state_allows<D>(l, in[0]);
    });
  }
}

TEST(TdxDomains, LocksAndEpochs) {
  const auto words = [](TestRng& rng) {
    return std::array<uint64_t, 1>{rng() % 3 == 0 ? rng() % 4 : rng() & 0xffff};
  };
  const auto check = [&](const char* name, auto rule) { both_ways<1>(name, rule, words); };
#define TDX_WORD(name, ...) \
  check(name, []<class D>(D, const std::array<U64Of<D>, 1>& in) { return __VA_ARGS__; })
  TDX_WORD("sharex_shared", sharex_shared<D>(in[0]).word);
  TDX_WORD("sharex_shared taken", sharex_shared<D>(in[0]).taken);
  TDX_WORD("sharex_exclusive", sharex_exclusive<D>(in[0]).word);
  TDX_WORD("sharex_exclusive taken", sharex_exclusive<D>(in[0]).taken);
  TDX_WORD("sharex_release", sharex_release<D>(in[0], false));
  TDX_WORD("hp_shared", hp_shared<D>(in[0]).word);
  TDX_WORD("hp_shared taken", hp_shared<D>(in[0]).taken);
  TDX_WORD("hp_exclusive", hp_exclusive<D>(in[0]).word);
  TDX_WORD("hp_exclusive taken", hp_exclusive<D>(in[0]).taken);
  TDX_WORD("hp_promote", hp_promote<D>(in[0]).word);
  TDX_WORD("hp_release", hp_release<D>(in[0], false));
#undef TDX_WORD
  const auto epochs = [](TestRng& rng) {
    return std::array<uint64_t, 4>{1 + rng() % 20, rng() % 3, rng() % 3,
                                   rng() % 16 == 0 ? kBepochMigration | rng() % 20 : rng() % 22};
  };
  both_ways<4>(
      "is_tlb_tracked",
      []<class D>(D, const std::array<U64Of<D>, 4>& in) {
        return is_tlb_tracked<D>({in[0], in[1], in[2]}, in[3]);
      },
      epochs);
  both_ways<4>(
      "epoch_may_advance",
      []<class D>(D, const std::array<U64Of<D>, 4>& in) {
        return epoch_may_advance<D>({in[0], in[1], in[2]});
      },
      epochs);
  both_ways<4>(
      "enter_flushes_for_epoch",
      []<class D>(D, const std::array<U64Of<D>, 4>& in) {
        return enter_flushes_for_epoch<D>(in[0], in[3], false);
      },
      epochs);
}

TEST(TdxDomains, Operands) {
  const auto make = [](TestRng& rng) {
    const uint64_t level = rng() % 8;
    uint64_t v =
        (rng() & sept_hpa_mask(static_cast<int>(rng() % 4)) & 0xffffffffffffull >> rng() % 8);
    if (rng() % 4 != 0) v |= level;
    if (rng() % 8 == 0) v ^= uint64_t{1} << (rng() % 64);
    return std::array<uint64_t, 1>{v};
  };
  for (int max = 0; max <= kMaxSeptLevel; max++) {
    both_ways<1>(
        "page_info_valid",
        [max]<class D>(D, const std::array<U64Of<D>, 1>& in) {
          return page_info_valid<D>(in[0], 0, max);
        },
        make);
  }
  for (const int gpaw : {48, 52}) {
    both_ways<1>(
        "gpa_is_private",
        [gpaw]<class D>(D, const std::array<U64Of<D>, 1>& in) {
          return gpa_is_private<D>(page_info_gpa<D>(in[0]), gpaw);
        },
        make);
  }
  for (const int size : {0, 1}) {
    both_ways<1>(
        "private_hpa_valid",
        [size]<class D>(D, const std::array<U64Of<D>, 1>& in) {
          return private_hpa_valid<D>(in[0], size, kHkidMask);
        },
        make);
  }
  both_ways<1>(
      "shared_hpa_valid",
      []<class D>(D, const std::array<U64Of<D>, 1>& in) {
        return shared_hpa_valid<D>(in[0], 46, kHkidMask, 32, 0x3f00000000, 0x3f02000000);
      },
      make);
}

// The encoding, both ways, and what it implies.
TEST(TdxRules, StatesAndTheirFlags) {
  for (const SeptStateInfo& s : kSeptStates) {
    const uint64_t e = make_sept_entry(s.state, 0x123456000);
    EXPECT_EQ(state_of(e), s.state) << s.name;
    EXPECT_EQ(e & ~kSeptStateMask & ~kSeptMemtypeWb & ~kSeptRwx, kSeptSve | 0x123456000) << s.name;
    const bool pending = std::string_view(s.name).starts_with("PENDING");
    EXPECT_EQ(is_pending<>(e), pending) << s.name;
    const bool blockedw = std::string_view(s.name).ends_with("BLOCKEDW");
    EXPECT_EQ(state_in<>(sept_state<>(e), kAnyBlockedw), blockedw) << s.name;
    // Blocking and unblocking: every state that BLOCK admits comes back as its unexported self.
    if (sept_state_allows<>(Leaf::kMemRangeBlock, e)) {
      const uint64_t blocked = blocked_state<>(sept_state<>(e));
      EXPECT_TRUE(state_in<>(blocked, kAnyBlocked)) << s.name;
      EXPECT_TRUE(sept_state_allows<>(Leaf::kMemRangeUnblock, make_sept_entry<>(blocked, 0)));
      EXPECT_TRUE(is_sept_state<>(unblocked_state<>(blocked))) << s.name;
    }
  }
  EXPECT_EQ(kSeptFreeEntry, 0x80e0000000000000ull);
  EXPECT_EQ(kSeptRemovedEntry, 0x80c0100000000000ull);
  EXPECT_EQ(make_sept_entry(SeptEntryState::kNlMapped, 0x208000), 0x8000000000208007ull);
  EXPECT_EQ(make_sept_entry(SeptEntryState::kBlockedw, 0x33a000), 0x804000000033a0f5ull);
  EXPECT_EQ(make_sept_entry(SeptEntryState::kPendingExportedDirtyBlockedw, 0x1bff000),
            0x8160000001bff2f0ull);
}

// The truth table of E = 10: both refcounts, by epoch of the block.
TEST(TdxRules, Tracked) {
  for (uint64_t even = 0; even < 2; even++) {
    for (uint64_t odd = 0; odd < 2; odd++) {
      const EpochAndRefcount<> at{10, even, odd};
      for (uint64_t b = 0; b <= 8; b++) EXPECT_TRUE(is_tlb_tracked<>(at, b)) << b;
      EXPECT_EQ(is_tlb_tracked<>(at, 9), odd == 0);
      EXPECT_FALSE(is_tlb_tracked<>(at, 10));
      EXPECT_FALSE(is_tlb_tracked<>(at, 11));
      EXPECT_FALSE(is_tlb_tracked<>(at, kBepochMigration | 3));
      EXPECT_EQ(epoch_may_advance<>(at), odd == 0);
    }
  }
}

}  // namespace
}  // namespace mmucheck::model::tdx
