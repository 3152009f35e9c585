// When a SEAMCALL may be BUSY: who holds the lock, and which calls are refused.
#include "checker/replay/seamcall_busy.h"

#include <gtest/gtest.h>

namespace mmucheck::replay {
namespace {

using Leaf = model::tdx::Leaf;
using model::tdx::Operand;
using model::tdx::Status;
using model::tdx::StatusCode;

constexpr uint64_t kGpa = 0x40001000;

Status busy(Operand o) { return {StatusCode::kOperandBusy, o}; }

struct Rule : BusyRule {
  Rule(std::optional<uint64_t> map, std::optional<uint64_t> zap) {
    set_every(Group::kMap, map);
    set_every(Group::kZap, zap);
  }
  bool ok(Leaf leaf, Status s) {
    entered(1, 1, leaf, kGpa, 1);
    return returned(1, s, true).empty();
  }
};

TEST(BusyRule, AloneNothingIsBusy) {
  Rule r(0, 0);
  EXPECT_TRUE(r.ok(Leaf::kMemPageAug, {}));
  EXPECT_FALSE(r.ok(Leaf::kMemPageAug, busy(Operand::kSeptTree)));
  EXPECT_FALSE(r.ok(Leaf::kPageAccept, busy(Operand::kRcx)));
}

TEST(BusyRule, WhoHoldsTheLockExplainsItsOperandOnly) {
  for (const auto& [other, gpa, operand, may] :
       {std::tuple{Leaf::kPageAccept, kGpa, Operand::kRcx, true},
        std::tuple{Leaf::kPageAccept, kGpa + 0x1000, Operand::kRcx, false},
        std::tuple{Leaf::kPageAccept, kGpa, Operand::kSeptTree, false},
        std::tuple{Leaf::kVpEnter, uint64_t{0}, Operand::kSeptTree, true},
        std::tuple{Leaf::kMemPageAug, kGpa + 0x1000, Operand::kSeptTree, false}}) {
    Rule r(0, 0);
    r.entered(2, 1, other, gpa, other == Leaf::kVpEnter ? 0 : 1);
    r.entered(1, 1, Leaf::kMemPageAug, kGpa, 1);
    EXPECT_TRUE(r.returned(2, {}, true).empty());
    EXPECT_EQ(r.returned(1, busy(operand), true).empty(), may);
  }
  Rule r(0, 0);
  r.entered(2, 2, Leaf::kVpEnter, 0, 0);  // another TD's
  EXPECT_FALSE(r.ok(Leaf::kMemPageAug, busy(Operand::kSeptTree)));
}

TEST(BusyRule, EveryNthCallIsRefusedOnceOneWas) {
  Rule r(3, 0);
  EXPECT_TRUE(r.ok(Leaf::kMemPageAug, {}));
  EXPECT_TRUE(r.ok(Leaf::kMemPageAug, busy(Operand::kSeptTree)));
  EXPECT_TRUE(r.ok(Leaf::kMemPageAdd, {}));
  EXPECT_FALSE(r.ok(Leaf::kMemPageAug, busy(Operand::kSeptTree)));
  EXPECT_FALSE(r.ok(Leaf::kMemPageAdd, {}));
  EXPECT_FALSE(r.ok(Leaf::kMemRangeBlock, busy(Operand::kSeptTree)));
}

TEST(BusyRule, TheOperandIsThatOfTheCall) {
  Rule r({}, {});
  EXPECT_TRUE(r.ok(Leaf::kMemPageAdd, busy(Operand::kTdr)));
  EXPECT_FALSE(r.ok(Leaf::kMemPageAdd, busy(Operand::kSeptTree)));
  EXPECT_TRUE(r.ok(Leaf::kMemTrack, busy(Operand::kTdEpoch)));
  EXPECT_FALSE(r.ok(Leaf::kMemPageRemove, busy(Operand::kTdEpoch)));
}

TEST(BusyRule, WhatRepeatsARefusedZapIsNotCounted) {
  Rule r(0, 4);
  EXPECT_TRUE(r.ok(Leaf::kMemRangeBlock, busy(Operand::kSeptTree)));
  EXPECT_TRUE(r.ok(Leaf::kMemRangeBlock, {}));
  EXPECT_TRUE(r.ok(Leaf::kMemTrack, {}));
  EXPECT_TRUE(r.ok(Leaf::kMemPageRemove, {}));
  EXPECT_TRUE(r.ok(Leaf::kMemRangeBlock, {}));
  EXPECT_TRUE(r.ok(Leaf::kMemTrack, busy(Operand::kTdEpoch)));
  EXPECT_FALSE(r.ok(Leaf::kMemTrack, busy(Operand::kTdEpoch)));  // after the kick it goes through
}

}  // namespace
}  // namespace mmucheck::replay
