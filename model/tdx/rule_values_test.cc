// Rules of the TDX module by hand: transitions of states as its handlers were seen to make them,
// lock words, and what a walk passes.
#include <gtest/gtest.h>

#include "model/tdx/lock_word.h"
#include "model/tdx/operand_rules.h"
#include "model/tdx/sept_entry.h"
#include "model/tdx/tlb_tracking.h"

namespace mmucheck::model::tdx {
namespace {

using S = SeptEntryState;

TEST(SeptStates, Transitions) {
  constexpr S kBlock[][2] = {{S::kMapped, S::kBlocked},
                             {S::kBlockedw, S::kBlocked},
                             {S::kPending, S::kPendingBlocked},
                             {S::kPendingBlockedw, S::kPendingBlocked},
                             {S::kNlMapped, S::kNlBlocked}};
  for (const auto& [from, to] : kBlock) EXPECT_EQ(blocked_state<>(enc(from)), enc(to));
  constexpr S kUnblock[][2] = {
      {S::kBlocked, S::kMapped}, {S::kPendingBlocked, S::kPending}, {S::kNlBlocked, S::kNlMapped}};
  for (const auto& [from, to] : kUnblock) EXPECT_EQ(unblocked_state<>(enc(from)), enc(to));
  EXPECT_EQ(accepted_state<>(enc(S::kPending)), enc(S::kMapped));
  EXPECT_EQ(accepted_state<>(enc(S::kPendingExportedDirty)), enc(S::kExportedDirty));
}

TEST(SeptStates, TrackingAndWalks) {
  const auto entry = [](S s) { return make_sept_entry(s, 0); };
  for (const S s : {S::kBlocked, S::kPendingBlocked, S::kNlBlocked, S::kMapped, S::kPending}) {
    EXPECT_TRUE(sept_state_is_tlb_tracking_required<>(entry(s))) << sept_state_name(entry(s));
  }
  for (const S s : {S::kFree, S::kRemoved, S::kExportedBlockedw, S::kPendingExportedBlockedw}) {
    EXPECT_FALSE(sept_state_is_tlb_tracking_required<>(entry(s))) << sept_state_name(entry(s));
  }
  for (const SeptStateInfo& s : kSeptStates) {
    EXPECT_EQ(walk_continues<>(entry(s.state)), s.state == S::kNlMapped) << s.name;
  }
}

TEST(LockWords, ByHand) {
  EXPECT_TRUE(sharex_exclusive<>(0).taken);
  EXPECT_FALSE(sharex_exclusive<>(2).taken);  // a reader
  EXPECT_FALSE(sharex_shared<>(1).taken);
  EXPECT_EQ(sharex_shared<>(1).word, 3u);  // what a refused reader leaves
  EXPECT_EQ(sharex_release<>(3, true), 0u);
  EXPECT_EQ(sharex_release<>(4, false), 2u);
  EXPECT_FALSE(hp_exclusive<>(4).taken);
  EXPECT_EQ(hp_exclusive<>(4).word, 6u);  // and the host's wish
  EXPECT_EQ(hp_release<>(7, true), 2u);
}

TEST(LockWords, OfAnEntry) {
  EXPECT_TRUE(entry_lock_host<>(0).taken);
  EXPECT_FALSE(entry_lock_host<>(kSeptTdel).taken);
  EXPECT_EQ(entry_lock_host<>(kSeptTdel).word, kSeptTdel | kSeptTdhp);
  EXPECT_FALSE(entry_lock_guest<>(kSeptTdhp).taken);
  EXPECT_EQ(entry_lock_host<>(kSeptTdhp).word, kSeptTdel);
}

TEST(Epochs, ByHand) {
  EXPECT_FALSE(is_tlb_tracked<>({4, 0, 0}, 4));
  EXPECT_FALSE(is_tlb_tracked<>({5, 1, 0}, 4));  // one is left from epoch 4
  EXPECT_TRUE(is_tlb_tracked<>({5, 0, 1}, 4));
  EXPECT_TRUE(is_tlb_tracked<>({6, 1, 1}, 4));
  EXPECT_FALSE(epoch_may_advance<>({5, 1, 0}));
  EXPECT_TRUE(epoch_may_advance<>({5, 0, 1}));
  EXPECT_TRUE(enter_flushes_for_epoch<>(4, 5, false));
  EXPECT_FALSE(enter_flushes_for_epoch<>(5, 5, false));
  EXPECT_FALSE(enter_flushes_for_epoch<>(4, 5, true));
}

}  // namespace
}  // namespace mmucheck::model::tdx
