// Footprints of a fault's steps: what the wrapper says a step touched is what it touched, over
// either store.
#include <gtest/gtest.h>

#include "model/store/packed_store.h"
#include "model/store/radix_store.h"
#include "model/store/recording_store.h"
#include "model/tdp/small_vm_test.h"

namespace mmucheck::model {
namespace {

// Runs one fault to its end and collects the footprint of each step.
template <class Store>
std::vector<std::vector<Touch>> footprints_of_fault(Store& inner, const TestFormat& t,
                                                    uint32_t leaf) {
  RecordingStore<Store> s(inner);
  TestVm<RecordingStore<Store>> vm(s, t);
  AllocRoot root;
  root.role = test_root_role(*t.design, t.fmt);
  mmu_lock(vm.world, LockMode::kRead);
  kvm_tdp_mmu_alloc_root(vm.world, root);
  TdpMmuMap map;
  map.fault = test_fault(leaf, true, false);
  vm.env.map = &map;
  vm.env.pausing = true;
  std::vector<std::vector<Touch>> all;
  model::Run r;
  do {
    s.footprint().clear();
    r = kvm_tdp_mmu_map(vm.world, map);
    all.push_back(s.footprint().touches());
  } while (r == Run::kRan);
  EXPECT_EQ(map.ret, RetPf::kFixed);
  return all;
}

// Ids differ between the stores, so only kinds and uses can be the same.
TEST(RecordingStore, AStepHasTheSameFootprintOnBothStores) {
  for (const TestFormat& t : test_formats()) {
    SCOPED_TRACE(t.name);
    const PackedLayout layout = test_layout(t);
    RadixStore radix;
    PackedStore<8> packed(layout);
    const auto a = footprints_of_fault(radix, t, 11), b = footprints_of_fault(packed, t, 11);
    ASSERT_EQ(a.size(), b.size());
    uint64_t entry_writes = 0;
    for (size_t i = 0; i < a.size(); i++) {
      ASSERT_EQ(a[i].size(), b[i].size()) << "step " << i;
      for (size_t k = 0; k < a[i].size(); k++) {
        EXPECT_EQ(a[i][k].cell.kind, b[i][k].cell.kind);
        EXPECT_EQ(a[i][k].uses, b[i][k].uses);
        entry_writes += a[i][k].cell.kind == CellKind::kPte && a[i][k].uses & kWrite;
      }
    }
    EXPECT_EQ(entry_writes, 4u);  // three tables linked, one leaf
  }
}

// A step changes no cell that its footprint does not list as written or counted.
TEST(RecordingStore, NothingOutsideTheFootprintChanges) {
  const TestFormat t = test_formats()[4];
  const PackedLayout layout = test_layout(t);
  PackedStore<8> packed(layout);
  RecordingStore<PackedStore<8>> s(packed);
  TestVm<RecordingStore<PackedStore<8>>> vm(s, t);
  AllocRoot root;
  root.role = test_root_role(*t.design, t.fmt);
  mmu_lock(vm.world, LockMode::kRead);
  kvm_tdp_mmu_alloc_root(vm.world, root);
  vm.env.pausing = true;
  uint64_t changes = 0;
  for (uint32_t leaf = 0; leaf < 16; leaf++) {
    TdpMmuMap map;
    map.fault = test_fault(leaf, true, false);
    vm.env.map = &map;
    model::Run r;
    do {
      const PackedStore<8> before = packed;
      s.footprint().clear();
      r = kvm_tdp_mmu_map(vm.world, map);
      for (uint32_t table = 0; table < layout.tables(); table++) {
        if (!before.is_live(table) || !packed.is_live(table)) continue;
        for (uint64_t i = 0; i < 2; i++) {
          const Cell c = cell::pte(table, i);
          if (before.get(c) == packed.get(c)) continue;
          changes++;
          EXPECT_TRUE(s.footprint().uses(c) & kWrite);
        }
      }
    } while (r == Run::kRan);
  }
  EXPECT_EQ(changes, 30u);  // 14 tables and 16 leafs
}

TEST(Footprint, FaultsOnDifferentLeafsOfOneTableAreIndependentInTheEnd) {
  const TestFormat t = test_formats()[3];
  const PackedLayout layout = test_layout(t);
  PackedStore<8> one(layout), other(layout);
  // Leafs 0 and 15 share only the root; the exchange that links their first table differs.
  const auto last = [&](PackedStore<8>& store, uint32_t leaf) {
    Footprint f;
    for (const auto& step : footprints_of_fault(store, t, leaf)) {
      for (const Touch& touch : step) {
        if (touch.cell.kind != CellKind::kPte) continue;
        for (const Use use : {kRead, kWrite}) {
          if (touch.uses & use) f.add(touch.cell, use);
        }
      }
    }
    return f;
  };
  const Footprint a = last(one, 0), b = last(other, 15);
  EXPECT_FALSE(a.depends_on(b));
  EXPECT_TRUE(a.depends_on(a));
}

}  // namespace
}  // namespace mmucheck::model
