// The rules around the TDP MMU that decide whether a fault may go on: the invalidation sequence,
// obsolete roots, and huge pages of mixed attributes.
#include <gtest/gtest.h>

#include <random>

#include "model/store/radix_store.h"
#include "model/tdp/kvm_attributes.h"
#include "model/tdp/kvm_fault.h"
#include "model/tdp/kvm_invalidate.h"
#include "model/tdp/kvm_memslot.h"
#include "model/tdp/nx_recovery.h"
#include "model/tdp/small_vm_test.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kPrivate = 8;  // KVM_MEMORY_ATTRIBUTE_PRIVATE

class KvmRules : public ::testing::Test {
 protected:
  KvmRules() : vm_(store_, test_formats()[3]), w_(vm_.world) {
    AllocRoot m;
    m.role = test_root_role(w_.design, w_.fmt);
    mmu_lock(w_, LockMode::kRead);
    kvm_tdp_mmu_alloc_root(w_, m);
    mmu_unlock(w_, LockMode::kRead);
  }
  bool stale(uint64_t gfn, uint64_t mmu_seq, uint32_t slot = 0) {
    Fault f;
    f.slot = slot;
    f.gfn = gfn;
    f.mmu_seq = mmu_seq;
    return is_page_fault_stale(w_, f);
  }
  uint64_t seq() { return w_.field(CellKind::kInvalidateSeq); }
  void make_slot(uint64_t base, uint64_t npages) {
    slot_set(w_, 0, SlotField::kInUse, 1);
    slot_set(w_, 0, SlotField::kBase, base);
    slot_set(w_, 0, SlotField::kNpages, npages);
    slot_set(w_, 0, SlotField::kHva, base << kPageShift);
    w_.vm.has_private_mem = true;
    init_lpage_info(w_, 0);
    init_mixed_info(w_, 0);
  }
  void set_attributes(uint64_t start, uint64_t end, uint64_t attrs) {
    for (uint64_t g = start; g < end; g++) store_.set(cell::of(CellKind::kMemAttr, 0, g), attrs);
    update_mixed_info(w_, SlotPart{0, start, end}, attrs);
  }
  bool mixed(uint64_t gfn, int level) { return lpage_disallow(w_, 0, gfn, level) & kLpageMixed; }
  bool uniform(uint64_t gfn, int level) {
    const uint64_t first = store_.get(cell::of(CellKind::kMemAttr, 0, gfn));
    for (uint64_t g = gfn; g < gfn + pages_per_hpage(level); g++) {
      if (store_.get(cell::of(CellKind::kMemAttr, 0, g)) != first) return false;
    }
    return true;
  }

  RadixStore store_;
  TestVm<RadixStore> vm_;
  World<RadixStore, TestEnv<RadixStore>>& w_;
};

TEST_F(KvmRules, AFaultInAnOpenInvalidationRetries) {
  EXPECT_FALSE(stale(15, seq()));
  invalidate_begin(w_);
  EXPECT_TRUE(stale(15, seq()));  // no range yet: all of memory
  invalidate_range_add(w_, 10, 20);
  EXPECT_FALSE(stale(9, seq()));
  EXPECT_TRUE(stale(10, seq()));
  EXPECT_TRUE(stale(19, seq()));
  EXPECT_FALSE(stale(20, seq()));
  invalidate_range_add(w_, 30, 40);
  EXPECT_TRUE(stale(25, seq()));  // the hull of both
  EXPECT_FALSE(stale(25, seq(), kNoSlot));
  invalidate_end(w_);
  EXPECT_FALSE(stale(15, seq()));
}

TEST_F(KvmRules, AFaultThatSawTheOldSequenceRetries) {
  const uint64_t before = seq();
  invalidate_begin(w_);
  invalidate_range_add(w_, 10, 20);
  EXPECT_EQ(seq(), before);  // it moves at the end
  invalidate_end(w_);
  EXPECT_EQ(seq(), before + 1);
  EXPECT_TRUE(stale(1000, before));
  EXPECT_FALSE(stale(1000, seq()));
  EXPECT_FALSE(stale(1000, before, kNoSlot));  // MMIO has no page to lose
}

TEST_F(KvmRules, NestedInvalidationsEndOneByOne) {
  invalidate_begin(w_);
  invalidate_range_add(w_, 10, 20);
  invalidate_begin(w_);
  invalidate_range_add(w_, 50, 60);
  invalidate_end(w_);
  EXPECT_TRUE(stale(15, seq()));
  invalidate_end(w_);
  EXPECT_FALSE(stale(15, seq()));
  vm_.env.events.clear();
  invalidate_end(w_);
  EXPECT_EQ(vm_.env.events.back(), "warn MMU-INV-COUNT");
}

TEST_F(KvmRules, AFaultOnAnObsoleteRootRetries) {
  EXPECT_FALSE(stale(0, seq()));
  EXPECT_FALSE(stale(0, seq(), kNoSlot));
  invalidate_roots(w_, kValidRoots);
  EXPECT_TRUE(stale(0, seq()));
  EXPECT_TRUE(stale(0, seq(), kNoSlot));
  store_.set(cell::of(CellKind::kVcpuRoot), 0);
  EXPECT_TRUE(stale(0, seq()));
}

TEST_F(KvmRules, MixedFlagsAreExactAfterRandomChanges) {
  constexpr uint64_t kBase = 0x300, kPages = 0x900, kEnd = kBase + kPages;
  make_slot(kBase, kPages);
  std::mt19937_64 rng(7);
  uint64_t seen[2] = {};
  for (int i = 0; i < 300; i++) {
    uint64_t start = kBase + rng() % kPages, end = start + 1 + rng() % (kEnd - start);
    if (rng() % 2) {  // whole huge pages often, so that they become uniform again
      start = std::max(kBase, gfn_round_for_level<>(start, kPgLevel2M));
      end = std::min(kEnd, gfn_round_for_level<>(end + 511, kPgLevel2M));
    }
    set_attributes(start, end, rng() % 2 ? kPrivate : 0);
    for (uint64_t gfn = 0x400; gfn + 512 <= kEnd; gfn += 512) {
      const bool want = !uniform(gfn, kPgLevel2M);
      seen[want]++;
      ASSERT_EQ(mixed(gfn, kPgLevel2M), want) << "change " << i << " gfn " << gfn;
      const int max = kvm_mmu_max_mapping_level(w_, 0, gfn, kMaxHugepageLevel, true);
      ASSERT_EQ(max, want ? kPgLevel4K : kPgLevel2M);
    }
  }
  EXPECT_GT(seen[0], 100u);
  EXPECT_GT(seen[1], 100u);
}

TEST_F(KvmRules, OneGfnMixesEverythingAboveIt) {
  make_slot(0, 0x40000);
  EXPECT_EQ(kvm_mmu_max_mapping_level(w_, 0, 0x1234, kMaxHugepageLevel, true), kPgLevel1G);
  set_attributes(0x1234, 0x1235, kPrivate);
  EXPECT_TRUE(mixed(0x1200, kPgLevel2M));
  EXPECT_TRUE(mixed(0, kPgLevel1G));
  EXPECT_FALSE(mixed(0x1400, kPgLevel2M));
  EXPECT_EQ(kvm_mmu_max_mapping_level(w_, 0, 0x1234, kMaxHugepageLevel, true), kPgLevel4K);
  EXPECT_EQ(kvm_mmu_max_mapping_level(w_, 0, 0x1400, kMaxHugepageLevel, true), kPgLevel2M);
  // A change elsewhere to what every 2M page starts with: only its flag tells of the mixed one.
  set_attributes(0x2000, 0x2001, 0);
  EXPECT_TRUE(mixed(0, kPgLevel1G));
  // All of the 2M page: it is uniform, the 1G page is not.
  set_attributes(0x1200, 0x1400, kPrivate);
  EXPECT_FALSE(mixed(0x1200, kPgLevel2M));
  EXPECT_TRUE(mixed(0, kPgLevel1G));
  set_attributes(0x1200, 0x1400, 0);
  EXPECT_FALSE(mixed(0, kPgLevel1G));
}

TEST_F(KvmRules, EachAddressSpaceHasGenerationsOfItsOwn) {
  EXPECT_EQ(memslot_generation(w_, 0), 0u);
  EXPECT_EQ(memslot_generation(w_, 1), 1u);
  detail::install_memslots(w_, 1);
  EXPECT_EQ(memslot_generation(w_, 0), 0u);
  EXPECT_EQ(memslot_generation(w_, 1), 3u);
}

TEST_F(KvmRules, AVcpuKnowsItsLastMmioPage) {
  EXPECT_FALSE(mmio_info_in_cache(w_, 2, 0, 0));  // a gfn of 0 is no gfn
  vcpu_cache_mmio_info(w_, 2, 0, 0xfee00);
  EXPECT_TRUE(mmio_info_in_cache(w_, 2, 0, 0xfee00));
  EXPECT_FALSE(mmio_info_in_cache(w_, 2, 0, 0xfee01));
  EXPECT_FALSE(mmio_info_in_cache(w_, 1, 0, 0xfee00));
  EXPECT_FALSE(mmio_info_in_cache(w_, 2, 1, 0xfee00));  // in SMM
  detail::install_memslots(w_, 0);
  EXPECT_FALSE(mmio_info_in_cache(w_, 2, 0, 0xfee00));
  w_.set_field(CellKind::kMemslotUpdating, 0, 1);
  vcpu_cache_mmio_info(w_, 2, 0, 0xfee00);  // no generation to go by
  EXPECT_FALSE(mmio_info_in_cache(w_, 2, 0, 0xfee00));
  w_.set_field(CellKind::kMemslotUpdating, 0, 0);
  EXPECT_FALSE(mmio_info_in_cache(w_, 2, 0, 0xfee00));
}

// Aliases of one hva range are visited in the order in which the hva tree got them.
TEST(MemoryRegions, AnInvalidSlotStandsBehindItsAliases) {
  RadixStore store;
  TestVm<RadixStore> vm(store, test_formats()[3]);
  auto& w = vm.world;
  const auto order = [&] {
    SlotWalk walk;
    walk.start = 0x10000;
    walk.end = 0x12000;
    std::vector<uint32_t> slots;
    while (next_slot_part(w, walk)) slots.push_back(walk.part.slot);
    return slots;
  };
  for (uint64_t id = 0; id < 3; id++) {
    SetMemoryRegion m;
    m.region = {.id = id, .base = id * 0x100, .npages = 0x10, .hva = 0x10000};
    m.change = SlotChange::kCreate;
    detail::commit_region(w, m);
  }
  EXPECT_EQ(order(), (std::vector<uint32_t>{0, 1, 2}));
  detail::invalidate_memslot(w, 0);
  EXPECT_EQ(order(), (std::vector<uint32_t>{1, 2, 0}));
}

template <class W>
int32_t classify(W& w, SetMemoryRegion& m) {
  const auto as_id = static_cast<uint32_t>(m.region.as_id);
  return detail::classify_region(w, m.region, id_to_memslot(w, as_id, m.region.id), &m.change);
}

TEST(MemoryRegions, OfWhatNoSlotCanBeAreRefused) {
  RadixStore store;
  TestVm<RadixStore> vm(store, test_formats()[3]);
  auto& w = vm.world;
  const auto result = [&w](const MemoryRegion& r) {
    SetMemoryRegion m;
    m.region = r;
    return classify(w, m);
  };
  const MemoryRegion good{.base = 0x100, .npages = 0x10};
  EXPECT_EQ(result(good), 0);
  const auto with = [&](uint64_t MemoryRegion::*field, uint64_t value) {
    MemoryRegion r = good;
    r.*field = value;
    return result(r);
  };
  EXPECT_EQ(with(&MemoryRegion::flags, kMemReadonly | kMemLogDirtyPages), 0);
  EXPECT_EQ(with(&MemoryRegion::flags, kMemGuestMemfd), 0);
  for (const uint64_t flags :
       {kMemGuestMemfd | kMemReadonly, kMemGuestMemfd | kMemLogDirtyPages, uint64_t{8}}) {
    EXPECT_EQ(with(&MemoryRegion::flags, flags), detail::kEinval) << flags;
  }
  EXPECT_EQ(with(&MemoryRegion::as_id, 1), 0);
  EXPECT_EQ(with(&MemoryRegion::as_id, 2), detail::kEinval);
  EXPECT_EQ(with(&MemoryRegion::id, 0x7ffe), 0);
  EXPECT_EQ(with(&MemoryRegion::id, 0x7fff), detail::kEinval);
  EXPECT_EQ(with(&MemoryRegion::npages, kMemMaxNrPages + 1), detail::kEinval);
  MemoryRegion odd = good;
  odd.misaligned = true;
  EXPECT_EQ(result(odd), detail::kEinval);

  w.vm.has_private_mem = true;  // no SMM
  EXPECT_EQ(with(&MemoryRegion::as_id, 1), detail::kEinval);
  w.vm.has_mirror = true;  // a TD
  EXPECT_EQ(with(&MemoryRegion::flags, kMemReadonly), detail::kEinval);
}

// By the last gfn: a slot may end where guest addresses, or the private half, do.
TEST(MemoryRegions, TheArchitectureRefusesWhatHasNoAddress) {
  RadixStore store;
  TestVm<RadixStore> vm(store, test_formats()[3]);
  auto& w = vm.world;
  const auto refuses = [&w](uint64_t end, SlotChange change) {
    return detail::prepare_refuses(w, MemoryRegion{.base = end - 0x10, .npages = 0x10}, change);
  };
  w.host.maxphyaddr = 46;
  const uint64_t top = uint64_t{1} << 34;
  for (const SlotChange change : {SlotChange::kCreate, SlotChange::kMove}) {
    EXPECT_FALSE(refuses(top, change));
    EXPECT_TRUE(refuses(top + 1, change));
  }
  EXPECT_FALSE(refuses(top + 1, SlotChange::kDelete));
  EXPECT_FALSE(refuses(top + 1, SlotChange::kFlagsOnly));
  w.host.maxphyaddr = 52;
  w.vm.gfn_direct_bits = gfn_direct_bits_for_gpaw(48);
  EXPECT_FALSE(refuses(w.vm.gfn_direct_bits, SlotChange::kCreate));
  EXPECT_TRUE(refuses(w.vm.gfn_direct_bits + 1, SlotChange::kCreate));
}

TEST(MemoryRegions, GmemPagesThatAreBoundAreRefused) {
  for (const TestFormat& t : test_formats()) {
    SCOPED_TRACE(t.name);
    RadixStore store;
    TestVm<RadixStore> vm(store, t);
    auto& w = vm.world;
    SetMemoryRegion m;
    m.region = {.flags = kMemGuestMemfd, .base = 0, .npages = 0x10, .gmem = 5, .gmem_offset = 0};
    EXPECT_EQ(classify(w, m), 0);
    m.change = SlotChange::kCreate;
    detail::commit_region(w, m);
    SetMemoryRegion again = m;
    again.region.id = 1;
    again.region.base = 0x100;
    again.region.gmem_offset = 0xf;
    EXPECT_EQ(classify(w, again),
              t.design->name == "linux-6.12" ? detail::kEinval : detail::kEexist);
    again.region.gmem_offset = 0x10;
    EXPECT_EQ(classify(w, again), 0);
    // A slot keeps its guest_memfd for life.
    SetMemoryRegion flags = m;
    flags.region.flags = 0;
    flags.region.gmem = 0;
    EXPECT_EQ(classify(w, flags), detail::kEinval);
  }
}

// __handle_changed_spte returns before the hook when neither value is present.
TEST(ExternalTables, AreNotToldOfWhatIsNeverPresent) {
  RadixStore store;
  TestVm<RadixStore> vm(store, test_formats()[4]);  // 7.2, EPT
  auto& w = vm.world;
  w.vm.has_mirror = true;
  AllocRoot root;
  root.mirror = true;
  root.role = test_root_role(w.design, w.fmt);
  mmu_lock(w, LockMode::kRead);
  kvm_tdp_mmu_alloc_root(w, root);
  const auto events_of = [&](uint64_t old_spte, uint64_t new_spte) {
    vm.env.events.clear();
    ChangedSpte m = changed_spte(w, root.root, 0, 0, kPgLevel512G, old_spte, new_spte, true);
    handle_changed_spte(w, m);
    return vm.env.events.size();
  };
  EXPECT_EQ(events_of(kNonpresent, make_mmio_spte<>(w.fmt, 0, 4)), 2u);  // entry, tracepoint
  EXPECT_EQ(events_of(kNonpresent, make_nonleaf_spte<>(w.fmt, 0x1234, false)), 4u);
}

// kvm_recover_nx_huge_pages: a page of a logged slot leaves the list and stays.
TEST(NxRecovery, PassesOverPagesOfALoggedSlot) {
  for (const TestFormat& t : test_formats()) {
    SCOPED_TRACE(t.name);
    RadixStore store;
    TestVm<RadixStore> vm(store, t);
    auto& w = vm.world;
    for (uint64_t id = 0; id < 2; id++) {  // one for each 2M page
      SetMemoryRegion m;
      m.region = {.id = id,
                  .flags = id == 0 ? kMemLogDirtyPages : 0,
                  .base = test_gfn(2 * static_cast<uint32_t>(id)),
                  .npages = 2,
                  .hva = 0x100000};
      m.change = SlotChange::kCreate;
      detail::commit_region(w, m);
    }
    AllocRoot root;
    root.role = test_root_role(w.design, w.fmt);
    mmu_lock(w, LockMode::kRead);
    kvm_tdp_mmu_alloc_root(w, root);
    uint32_t sp[2];
    for (uint32_t i = 0; i < 2; i++) {
      TdpMmuMap map;
      map.fault = test_fault(2 * i, true, false);
      map.fault.slot = i;
      vm.env.map = &map;
      kvm_tdp_mmu_map(w, map);
      ASSERT_EQ(map.ret, RetPf::kFixed);
      sp[i] = map.iter.table;
      w.set_field(CellKind::kSpNx, sp[i], 1);
      track_possible_nx_huge_page(w, sp[i]);
    }
    RecoverNxHugePages m;
    m.counted = false;
    vm.env.nx_pages = 1;
    if (w.design.nx_recovery == NxRecovery::kWriteLockZapSp) {
      mmu_unlock(w, LockMode::kRead);
      mmu_lock(w, LockMode::kWrite);
    }
    EXPECT_EQ(kvm_recover_nx_huge_pages(w, m), Run::kDone);
    EXPECT_EQ(vm.env.nx_pages, 0u);
    EXPECT_EQ(w.field(CellKind::kNxHead), 0u);
    EXPECT_EQ(w.field(CellKind::kSpState, sp[0]), static_cast<uint64_t>(SpState::kLinked));
    EXPECT_EQ(w.field(CellKind::kSpState, sp[1]), static_cast<uint64_t>(SpState::kRemoved));
  }
}

}  // namespace
}  // namespace mmucheck::model
