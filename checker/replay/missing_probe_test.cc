// Which absent probe explains what, and what none of them explains. Every kind but those of a
// test's list occurs.
#include "checker/replay/missing_probe.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>

#include "checker/replay/packets.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {
namespace {

using K = trace::EventKind;
namespace f = trace::f;

class MissingProbeTest : public testing::Test {
 protected:
  void SetUp() override { use(trace::KernelVersion::k7_2); }

  void use(trace::KernelVersion kernel) {
    host_.design = design_of(kernel);
    vm_ = std::make_unique<VmModel>(1, host_, all_);
    op_.vm = vm_.get();
  }

  std::string_view explain(std::initializer_list<K> absent, K observed, K expected = K::kNone,
                           K before = K::kNone) {
    trace::KindSet kinds = all_;
    for (const K kind : absent) kinds.reset(static_cast<size_t>(kind));
    event_.kind = observed;
    Surprise s;
    s.event = &event_;
    s.vm = vm_.get();
    s.op = busy_ ? &op_ : nullptr;
    s.expected = expected;
    s.before = before;
    s.values_differ = values_differ_;
    return missing_probe(kinds, s);
  }

  template <class M>
  M& during(M machine) {
    busy_ = true;
    op_.machine = std::move(machine);
    return std::get<M>(op_.machine);
  }

  trace::KindSet all_ = trace::KindSet().set();
  HostFacts host_;
  std::unique_ptr<VmModel> vm_;
  Operation op_;
  trace::Event event_;
  bool busy_ = false;
  bool values_differ_ = false;
};

TEST_F(MissingProbeTest, WhatOccursExplainsNothing) {
  EXPECT_EQ(explain({}, K::kInvBegin), "");
  EXPECT_EQ(explain({}, K::kPutRoot), "");
  during(model::InvalidateRange{});
  EXPECT_EQ(explain({}, K::kIterRestart, K::kChangedSpte, K::kSpteChanged), "");
}

TEST_F(MissingProbeTest, AStartIsMissingWhereItsFirstEventIsSeen) {
  EXPECT_EQ(explain({K::kMnInvStart}, K::kInvBegin), "mn_inv_start");
  EXPECT_EQ(explain({K::kMnInvEnd}, K::kInvEnd), "mn_inv_end");
  EXPECT_EQ(explain({K::kMnInvEnd}, K::kInvBegin), "");
  EXPECT_EQ(explain({K::kFreeRoots}, K::kPutRoot), "free_roots");
  EXPECT_EQ(explain({K::kDestroyVm}, K::kZapInvalidatedRoots), "destroy_vm");
  EXPECT_EQ(explain({K::kSetMemAttr}, K::kPreSetAttr), "set_mem_attr");
  // Later events of an invalidation, a change, a fault.
  EXPECT_EQ(explain({K::kMnInvStart}, K::kTdpUnmapGfnRange), "");
  for (const K inside : {K::kSpteChanged, K::kSetSpte, K::kTdpMapRet, K::kTdpMap, K::kFaultinRet,
                         K::kFlushAll, K::kIterRestart, K::kPageFault}) {
    EXPECT_EQ(explain({K::kClearDirtyPt, K::kRecoverHuge, K::kSetMemAttr, K::kAgeRange}, inside),
              "")
        << trace::kind_name(inside);
  }
}

TEST_F(MissingProbeTest, ANewValueIsNoMissingEvent) {
  values_differ_ = true;
  EXPECT_EQ(explain({K::kMnInvStart}, K::kInvBegin), "");
  during(model::InvalidateRange{});
  EXPECT_EQ(explain({K::kYieldWrite}, K::kIterRestart, K::kIterRestart, K::kSpteChanged), "");
}

TEST_F(MissingProbeTest, AttributesAreOfPrivateVms) {
  EXPECT_EQ(explain({K::kSetMemAttr}, K::kInvBegin), "");
  vm_->world.vm.has_private_mem = true;
  EXPECT_EQ(explain({K::kSetMemAttr}, K::kInvBegin), "set_mem_attr");
}

TEST_F(MissingProbeTest, ADirtyLogIsClearedWhereOneIsKept) {
  EXPECT_EQ(explain({K::kClearDirtyPt}, K::kIterStart), "");
  vm_->store.set(model::cell::of(model::CellKind::kDirtyLoggingSlots), 1);
  EXPECT_EQ(explain({K::kClearDirtyPt}, K::kIterStart), "clear_dirty_pt");
  EXPECT_EQ(explain({K::kTrySplit}, K::kSplitRoot), "try_split");
  EXPECT_EQ(explain({K::kTrySplit}, K::kIterStart), "");
}

TEST_F(MissingProbeTest, TheWorkerTakesAwayTablesOfItsList) {
  namespace c = f::changed_spte;
  event_.set(c::old_spte, 0x6a01827);
  event_.set(c::new_spte, model::kNonpresent);
  EXPECT_EQ(explain({K::kZapNx}, K::kChangedSpte), "");
  vm_->store.set(model::cell::of(model::CellKind::kNxHead), 1);
  EXPECT_EQ(explain({K::kZapNx}, K::kChangedSpte), "zap_nx");
  EXPECT_EQ(explain({K::kZapSp}, K::kChangedSpte), "");  // 6.12 only
  event_.set(c::new_spte, 0x6b01827);
  EXPECT_EQ(explain({K::kZapNx}, K::kChangedSpte), "");
}

TEST_F(MissingProbeTest, AYieldIsBetweenTheEntriesOfAWalk) {
  model::InvalidateRange& range = during(model::InvalidateRange{});
  const auto restart = [&](K before, K expected) {
    return explain({K::kYieldWrite}, K::kIterRestart, expected, before);
  };
  EXPECT_EQ(restart(K::kIterRestart, K::kChangedSpte), "yield_write");
  EXPECT_EQ(restart(K::kSpteChanged, K::kZapLeafsRootRet), "yield_write");
  EXPECT_EQ(explain({K::kYieldWrite}, K::kFlushAll, K::kChangedSpte, K::kSpteChanged),
            "yield_write");
  EXPECT_EQ(explain({K::kYieldWrite}, K::kInvEnd, K::kChangedSpte, K::kSpteChanged), "");
  // The walk has not begun, or a change is half told.
  EXPECT_EQ(explain({K::kYieldWrite}, K::kFlushAll, K::kUnmapGfnRange, K::kInvAdd), "");
  EXPECT_EQ(restart(K::kZapLeafsRoot, K::kIterStart), "");
  EXPECT_EQ(restart(K::kChangedSpte, K::kSpteChanged), "");
  EXPECT_EQ(restart(K::kCmpxchgSpteRet, K::kChangedSpte), "");
  // The lock is held for write, and given up by those who may sleep.
  EXPECT_EQ(explain({K::kYieldRead}, K::kIterRestart, K::kChangedSpte, K::kIterRestart), "");
  range.may_block = false;
  EXPECT_EQ(restart(K::kIterRestart, K::kChangedSpte), "");
  during(model::PageFault{});
  EXPECT_EQ(explain({K::kYieldRead, K::kYieldWrite}, K::kIterRestart, K::kChangedSpte,
                    K::kIterRestart),
            "");
}

TEST_F(MissingProbeTest, AnUpdateOfASlotNeedsItsCollapseOnlyWhereALogEnds) {
  model::SetMemoryRegion& m = during(model::SetMemoryRegion{});
  m.change = model::SlotChange::kDelete;
  m.pc = 3;
  const std::initializer_list<K> absent = {K::kRecoverHuge, K::kZapCollapsible};
  EXPECT_EQ(explain(absent, K::kCommitMemslot, K::kUnmapGfnRange), "");
  EXPECT_EQ(explain(absent, K::kFlushAll, K::kUnmapGfnRange, K::kSetMemslot), "");
  m.change = model::SlotChange::kFlagsOnly;
  m.old_flags = model::kMemLogDirtyPages;
  EXPECT_EQ(explain(absent, K::kIterStart, K::kCommitMemslot), "");
  m.pc = 6;
  EXPECT_EQ(explain(absent, K::kIterStart, K::kPutRoot), "recover_huge");
  use(trace::KernelVersion::k6_12);
  EXPECT_EQ(explain(absent, K::kCmpxchgSpte, K::kPutRoot), "zap_collapsible");
  m.old_flags = 0;
  m.region.flags = model::kMemLogDirtyPages;
  EXPECT_EQ(explain(absent, K::kSetMemslotRet, K::kTrySplit), "");
  EXPECT_EQ(explain({K::kCommitMemslot}, K::kSetMemslotRet, K::kTrySplit), "commit_memslot");
}

TEST_F(MissingProbeTest, AFaultRunsNotifiersOnlyWhileItGetsItsPage) {
  during(model::PageFault{});
  EXPECT_EQ(explain({K::kMnInvStart}, K::kInvBegin, K::kFaultinRet), "mn_inv_start");
  EXPECT_EQ(explain({K::kMnInvEnd}, K::kInvEnd, K::kGmemGetPfn), "mn_inv_end");
  EXPECT_EQ(explain({K::kMnInvStart}, K::kInvBegin, K::kTdpMapRet), "");
  EXPECT_EQ(explain({K::kMnInvStart}, K::kFaultStaleRet, K::kFaultinRet), "");
}

TEST_F(MissingProbeTest, HalfOfAPairIsNotEnoughToPredict) {
  EXPECT_TRUE(full_engine_can(all_));
  for (const K kind : {K::kInvEnd, K::kCmpxchgSpte, K::kCmpxchgSpteRet, K::kSoftExit,
                       K::kSoftExitRet, K::kTdpMap}) {
    trace::KindSet kinds = all_;
    kinds.reset(static_cast<size_t>(kind));
    EXPECT_FALSE(full_engine_can(kinds)) << trace::kind_name(kind);
  }
  trace::KindSet neither = all_;
  neither.reset(static_cast<size_t>(K::kSoftExit)).reset(static_cast<size_t>(K::kSoftExitRet));
  EXPECT_TRUE(full_engine_can(neither));
}

}  // namespace
}  // namespace mmucheck::replay
