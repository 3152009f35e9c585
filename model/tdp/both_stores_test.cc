// The packed and the radix store side by side: the same machines in the same order give the same
// events and the same cells.
#include <gtest/gtest.h>

#include <random>

#include "model/store/packed_store.h"
#include "model/store/radix_store.h"
#include "model/tdp/small_vm_test.h"

namespace mmucheck::model {
namespace {

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

#ifdef __SANITIZE_ADDRESS__
constexpr int kRounds = 150;
#else
constexpr int kRounds = 600;
#endif

TEST(BothStores, RunTheSameMachinesToTheSameEvents) {
  for (const TestFormat& t : test_formats()) {
    SCOPED_TRACE(t.name);
    const PackedLayout layout = test_layout(t);
    ASSERT_EQ(layout.error(), "");
    ASSERT_EQ(layout.words(), 8) << layout.bits();
    SideBySide run(t, layout, 1);
    run.run(kRounds);
    EXPECT_GT(run.steps(), 10u * kRounds);
    EXPECT_GT(run.races(), kRounds / 20u);
    EXPECT_GT(run.present(), 1u * kRounds);
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
