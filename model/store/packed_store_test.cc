// The packed store by itself, and side by side with the radix store: the same machines in the same
// order give the same events and the same cells.
#include "model/store/packed_store.h"

#include <gtest/gtest.h>

#include <random>

#include "model/store/radix_store.h"
#include "model/store/test_world.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kFrozen = 0x80000000000001a0;

TEST(PackedLayout, PlacesFieldsWithoutCrossingWords) {
  PackedLayout layout(kFrozen);
  layout.add_number(cell::of(CellKind::kInvalidateSeq), 40, 7);
  layout.add_number(cell::of(CellKind::kInvalidateStart), 40);
  layout.add_number(cell::of(CellKind::kInvalidateEnd), 24);
  layout.add_constant(cell::of(CellKind::kMemslotGen), 1234567);
  ASSERT_TRUE(layout.finish()) << layout.error();
  EXPECT_EQ(layout.bits(), 104);
  EXPECT_EQ(layout.words(), 2);
  PackedStore<2> store(layout);
  EXPECT_EQ(store.get(cell::of(CellKind::kInvalidateSeq)), 7u);
  store.set(cell::of(CellKind::kInvalidateStart), (uint64_t{1} << 40) - 1);
  store.set(cell::of(CellKind::kInvalidateEnd), 0xabcdef);
  EXPECT_EQ(store.add(cell::of(CellKind::kInvalidateSeq), 2), 9u);
  EXPECT_EQ(store.get(cell::of(CellKind::kInvalidateStart)), (uint64_t{1} << 40) - 1);
  EXPECT_EQ(store.get(cell::of(CellKind::kInvalidateEnd)), 0xabcdefu);
  EXPECT_EQ(store.get(cell::of(CellKind::kMemslotGen)), 1234567u);
  EXPECT_EQ(store.error(), PackedError::kNone);
}

TEST(PackedLayout, RefusesWhatDoesNotFit) {
  const auto error_of = [](auto declare) {
    PackedLayout layout(kFrozen);
    declare(layout);
    EXPECT_FALSE(layout.finish());
    return layout.error();
  };
  EXPECT_NE(error_of([](PackedLayout& l) { l.add_number(cell::of(CellKind::kRootHead), 3, 8); }),
            "");
  EXPECT_NE(error_of([](PackedLayout& l) { l.add_constant(cell::pte(0, 0), kNonpresent); }), "");
  EXPECT_NE(error_of([](PackedLayout& l) {
              l.add_table(5);
              l.add_values(cell::pte(0, 0), {kFrozen, kNonpresent});
            }),
            "");
  EXPECT_NE(error_of([](PackedLayout& l) {
              l.add_number(cell::of(CellKind::kRootHead), 3);
              l.add_number(cell::of(CellKind::kRootHead), 3);
            }),
            "");
  EXPECT_NE(error_of([](PackedLayout& l) {
              l.add_table(5);
              l.add_table(5);
            }),
            "");
  EXPECT_NE(error_of([](PackedLayout& l) {
              for (uint32_t i = 0; i < 9; i++) l.add_number(cell::of(CellKind::kTlb, i), 64);
            }),
            "");
}

TEST(PackedStore, ReportsWhatTheScenarioDidNotForesee) {
  PackedLayout layout(kFrozen);
  const uint32_t table = layout.add_table(0x40);
  layout.add_values(cell::pte(table, 3), {kNonpresent, 0x1000e67});
  layout.add_number(cell::of(CellKind::kRootHead), 2);
  ASSERT_TRUE(layout.finish());
  const PackedStore<1> fresh(layout);

  PackedStore<1> s = fresh;
  EXPECT_EQ(s.get(cell::pte(table, 3)), 0u);  // not allocated
  EXPECT_EQ(s.error(), PackedError::kPoisoned);
  EXPECT_EQ(s.poisoned_reads(), 1u);

  s = fresh;
  ASSERT_EQ(s.alloc_table(0x40), table);
  EXPECT_EQ(s.find_table(0x40), table);
  EXPECT_EQ(s.get(cell::pte(table, 3)), kNonpresent);
  EXPECT_EQ(s.get(cell::pte(table, 4)), kNonpresent);
  s.set(cell::pte(table, 3), 0x1000e67);
  s.set(cell::pte(table, 4), kFrozen);  // what a removal stores everywhere
  EXPECT_EQ(s.error(), PackedError::kNone);
  const auto mapped = s.state();
  s.set(cell::pte(table, 3), 0x2000e67);
  EXPECT_EQ(s.error(), PackedError::kValue);
  EXPECT_EQ(s.error_cell(), cell::pte(table, 3));
  EXPECT_EQ(s.error_value(), 0x2000e67u);
  EXPECT_EQ(s.state(), mapped);

  s.set_state(mapped);
  EXPECT_EQ(s.error(), PackedError::kNone);
  s.set(cell::pte(table, 4), 0x1000e67);
  EXPECT_EQ(s.error(), PackedError::kUndeclared);

  s.set_state(mapped);
  EXPECT_EQ(s.add(cell::of(CellKind::kRootHead), 4), 4u);
  EXPECT_EQ(s.error(), PackedError::kValue);

  s.set_state(mapped);
  EXPECT_EQ(s.alloc_table(0x40), kNoTable);  // lives already
  EXPECT_EQ(s.error(), PackedError::kFrame);

  s.set_state(mapped);
  s.free_table(table);
  EXPECT_EQ(s.state(), fresh.state());  // nothing of it is left
  EXPECT_EQ(s.find_table(0x40), kNoTable);
}

TEST(PackedStore, CasTellsWhatItFound) {
  PackedLayout layout(kFrozen);
  layout.add_values(cell::of(CellKind::kMemslotGen), {4, 6, 8});
  ASSERT_TRUE(layout.finish());
  PackedStore<1> s(layout);
  uint64_t expected = 6;
  EXPECT_FALSE(s.cas(cell::of(CellKind::kMemslotGen), expected, 8));
  EXPECT_EQ(expected, 4u);
  EXPECT_TRUE(s.cas(cell::of(CellKind::kMemslotGen), expected, 8));
  EXPECT_EQ(s.get(cell::of(CellKind::kMemslotGen)), 8u);
}

// --- side by side ---

struct Thread {
  enum Kind : uint8_t { kMap, kAge, kUnmap, kZapRoots, kNone } kind = kNone;
  TdpMmuMap map;
  AgeRange age;
  ZapRange unmap;
  ZapInvalidatedRoots zap;
  Run last = Run::kDone;
};

// One of the two runs. Whatever is random comes from the caller.
template <class Store>
class Side {
 public:
  Side(Store& store, const TestFormat& t) : vm(store, t) {}

  void alloc_root() {
    AllocRoot m;
    m.role = test_root_role(vm.world.design, vm.world.fmt);
    vm.env.map = nullptr;
    vm.env.pausing = false;
    locked(LockMode::kRead, [&] { kvm_tdp_mmu_alloc_root(vm.world, m); });
    vm.env.pausing = true;
  }
  void drop_root() {
    vm.env.pausing = false;
    locked(LockMode::kWrite, [&] { invalidate_roots(vm.world, kValidRoots); });
    const uint32_t root = vcpu_root(vm.world, 0, false);
    Thread zap;
    zap.kind = Thread::kZapRoots;
    locked(LockMode::kRead, [&] { step(zap, 0); });
    locked(LockMode::kRead, [&] { put_root(vm.world, root); });
    vm.store.set(cell::of(CellKind::kVcpuRoot), 0);
    while (rcu_first(vm.world) != kNoTable) rcu_run_callback(vm.world, rcu_first(vm.world));
    vm.env.pausing = true;
  }
  void step(Thread& t, int number) {
    auto& w = vm.world;
    vm.env.thread = number;
    vm.env.map = &t.map;
    switch (t.kind) {
      case Thread::kMap: t.last = kvm_tdp_mmu_map(w, t.map); break;
      case Thread::kAge: t.last = kvm_tdp_mmu_age_gfn_range(w, t.age); break;
      case Thread::kUnmap: t.last = zap_leafs_of_roots(w, t.unmap); break;
      case Thread::kZapRoots: t.last = kvm_tdp_mmu_zap_invalidated_roots(w, t.zap); break;
      case Thread::kNone: t.last = Run::kDone; break;
    }
  }
  template <class Body>
  void locked(LockMode mode, Body body) {
    mmu_lock(vm.world, mode);
    body();
    mmu_unlock(vm.world, mode);
  }

  TestVm<Store> vm;
};

class SideBySide {
 public:
  SideBySide(const TestFormat& t, const PackedLayout& layout, uint64_t seed)
      : packed_store_(layout), radix_(radix_store_, t), packed_(packed_store_, t), rng_(seed) {}

  void run(int rounds) {
    both([](auto& side) { side.alloc_root(); });
    for (int i = 0; i < rounds && !::testing::Test::HasFailure(); i++) {
      shared_phase();
      exclusive_phase();
      if (rng_() % 16 == 0) {
        both([](auto& side) { side.drop_root(); });
        both([](auto& side) { side.alloc_root(); });
      }
      compare_cells();
    }
    EXPECT_EQ(packed_store_.error(), PackedError::kNone);
    EXPECT_EQ(radix_store_.poisoned_reads(), 0u);
  }
  uint64_t steps() const { return steps_; }
  uint64_t races() const { return races_; }
  uint64_t present() const { return present_; }

 private:
  template <class Body>
  void both(Body body) {
    body(radix_);
    body(packed_);
    for (const std::string& e : radix_.vm.env.events) races_ += e.starts_with("casfail");
    EXPECT_EQ(radix_.vm.env.events, packed_.vm.env.events);
    radix_.vm.env.events.clear();
    packed_.vm.env.events.clear();
  }

  // Two faults and, where it needs no lock, an ageing, step by step in random order.
  void shared_phase() {
    Thread start[3];
    for (int k = 0; k < kTestThreads; k++) {
      // Often the same leaf, or one beside it.
      const uint32_t leaf = k > 0 && rng_() % 2 ? last_leaf_ ^ (rng_() & 1) : rng_() % 16;
      last_leaf_ = leaf;
      start[k].kind = Thread::kMap;
      start[k].map.fault = test_fault(leaf, rng_() % 4 != 0, rng_() % 4 == 0);
    }
    if (radix_.vm.world.design.ageing == Ageing::kLocklessValidRoots) start[2] = ageing();
    both([](auto& s) { mmu_lock(s.vm.world, LockMode::kRead); });
    interleave(start, 3);
    both([](auto& s) { mmu_unlock(s.vm.world, LockMode::kRead); });
  }

  void exclusive_phase() {
    Thread t;
    if (radix_.vm.world.design.ageing == Ageing::kWriteLockAllRoots && rng_() % 2) {
      t = ageing();
    } else if (rng_() % 3 == 0) {
      t.kind = Thread::kUnmap;
      const uint64_t start = test_gfn(rng_() % 16);
      t.unmap = kvm_tdp_mmu_unmap_gfn_range(radix_.vm.world, 0, start,
                                            start + (uint64_t{1} << (rng_() % 28)), 3, true, false);
    }
    both([](auto& s) { mmu_lock(s.vm.world, LockMode::kWrite); });
    interleave(&t, 1);
    both([](auto& s) { mmu_unlock(s.vm.world, LockMode::kWrite); });
  }

  Thread ageing() {
    Thread t;
    t.kind = Thread::kAge;
    t.age.start = test_gfn(rng_() % 16);
    t.age.end = t.age.start + (uint64_t{1} << (rng_() % 28));
    return t;
  }

  void interleave(const Thread* start, int n) {
    Thread a[3], b[3];
    std::vector<int> left;
    for (int k = 0; k < n; k++) {
      a[k] = b[k] = start[k];
      left.push_back(k);
    }
    while (!left.empty()) {
      const size_t at = rng_() % left.size();
      const int k = left[at];
      steps_++;
      radix_.step(a[k], k);
      packed_.step(b[k], k);
      both([](auto&) {});
      ASSERT_EQ(a[k].last, b[k].last);
      if (a[k].last != Run::kRan) left.erase(left.begin() + static_cast<int64_t>(at));
    }
    for (int k = 0; k < n; k++) {
      EXPECT_EQ(a[k].map.ret, b[k].map.ret);
      EXPECT_EQ(a[k].age.young, b[k].age.young);
      EXPECT_EQ(a[k].unmap.flush, b[k].unmap.flush);
    }
  }

  void compare_cells() {
    const auto compare = [&](uint64_t frame) {
      const uint32_t r = radix_store_.find_table(frame), p = packed_store_.find_table(frame);
      ASSERT_EQ(r == kNoTable, p == kNoTable) << frame;
      if (r == kNoTable) return;
      for (uint64_t i = 0; i < 512; i++) {
        const uint64_t v = radix_store_.get(cell::pte(r, i));
        ASSERT_EQ(v, packed_store_.get(cell::pte(p, i))) << frame << " " << i;
        present_ += is_shadow_present_pte<>(v);
      }
      for (const CellKind kind : {CellKind::kSpRole, CellKind::kSpGfn, CellKind::kSpState,
                                  CellKind::kRootRefs, CellKind::kRootScheduled}) {
        ASSERT_EQ(radix_store_.get(cell::of(kind, r)), packed_store_.get(cell::of(kind, p)));
      }
    };
    compare(kRootFrame);
    for (int thread = 0; thread < kTestThreads; thread++) {
      for (uint32_t place = 0; place < kPlaces; place++) compare(test_frame(place, thread));
    }
    for (const CellKind kind : {CellKind::kLockReaders, CellKind::kLockWriter,
                                CellKind::kRcuCount}) {
      ASSERT_EQ(radix_store_.get(cell::of(kind)), packed_store_.get(cell::of(kind)));
    }
  }

  RadixStore radix_store_;
  PackedStore<8> packed_store_;
  Side<RadixStore> radix_;
  Side<PackedStore<8>> packed_;
  std::mt19937_64 rng_;
  uint32_t last_leaf_ = 0;
  uint64_t steps_ = 0, races_ = 0, present_ = 0;
};

TEST(BothStores, RunTheSameMachinesToTheSameEvents) {
  for (const TestFormat& t : test_formats()) {
    SCOPED_TRACE(t.name);
    const PackedLayout layout = test_layout(t);
    ASSERT_EQ(layout.error(), "");
    ASSERT_EQ(layout.words(), 8) << layout.bits();
    SideBySide run(t, layout, 1);
    run.run(1000);
    EXPECT_GT(run.steps(), 10'000u);
    EXPECT_GT(run.races(), 50u);
    EXPECT_GT(run.present(), 1'000u);
    if (HasFailure()) return;
  }
}

// Every state of the packed walk can be put back and goes on as before.
TEST(BothStores, APackedStateIsTheWholeState) {
  const TestFormat t = test_formats()[3];
  const PackedLayout layout = test_layout(t);
  PackedStore<8> store(layout);
  Side<PackedStore<8>> side(store, t);
  side.alloc_root();
  Thread thread;
  thread.kind = Thread::kMap;
  thread.map.fault = test_fault(5, true, false);
  mmu_lock(side.vm.world, LockMode::kRead);
  uint64_t steps = 0;
  do {
    const auto before = store.state();
    const Thread saved = thread;
    side.vm.env.events.clear();
    side.step(thread, 0);
    const auto after = store.state();
    const std::vector<std::string> events = side.vm.env.events;
    store.set_state(before);
    thread = saved;
    side.vm.env.events.clear();
    side.step(thread, 0);
    EXPECT_EQ(store.state(), after);
    EXPECT_EQ(side.vm.env.events, events);
    steps++;
  } while (thread.last == Run::kRan);
  EXPECT_GT(steps, 20u);
  EXPECT_EQ(thread.map.ret, RetPf::kFixed);
  EXPECT_EQ(store.error(), PackedError::kNone);
}

}  // namespace
}  // namespace mmucheck::model
