#include "tools/import/ftrace/inputs.h"

#include <gtest/gtest.h>

#include <string>

#include "tools/import/ftrace/import_test_util.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
using trace::PacketClass;
namespace f = trace::f;

constexpr std::string_view kMap =
    "tdp_map: (kvm_tdp_mmu_map+0x4/0x4f0) vcpu=0x5 vcpu_id=1 kvm=0x100000 root_hpa=0xb21000 "
    "root_role=0x3784 addr=0x40001000 error_code=0x100000006 gfn=0x40001 pfn=0x6a01 write=1 exec=0 "
    "prefetch=0 is_private=0 max_level=3 req_level=1 map_writable=1 nx_workaround=0 mmu_seq=0x0 "
    "fslot=1 fslot_as=0";
constexpr std::string_view kPrefetchMap =
    "tdp_map: (kvm_tdp_mmu_map+0x4/0x4f0) vcpu=0x5 vcpu_id=0 kvm=0x100000 addr=0x40002000 "
    "error_code=0x2000100000000 gfn=0x40002 pfn=0x6a02 prefetch=1 is_private=1 max_level=1 "
    "map_writable=1";
constexpr std::string_view kFault =
    "kvm_page_fault: vcpu 1 rip 0x1000 address 0x40001000 error_code 0x100000006";
constexpr std::string_view kFaultinOk = "faultin_ret: (a+0x79/0xf0 <- kvm_faultin_pfn) ret=0";
constexpr std::string_view kRetry = "faultin_ret: (a+0x79/0xf0 <- kvm_faultin_pfn) ret=1";
constexpr std::string_view kNotStale =
    "fault_stale_ret: (a+0x95/0xf0 <- is_page_fault_stale) stale=0";
constexpr std::string_view kMapOk = "tdp_map_ret: (a+0xab/0xf0 <- kvm_tdp_mmu_map) ret=5";
constexpr std::string_view kWalk =
    "iter_start: (f+0x4/0x60) iter=0x1 sp=0x2 spt=0xffff888000b21000 role=0x3784 gfn=0x0 refs=2 "
    "min_level=1 start=0x40001";
constexpr std::string_view kRestart =
    "iter_restart: (f+0x4/0x70) iter=0x1 next_gfn=0x40001 level=0";
constexpr std::string_view kFast =
    "fast_page_fault: vcpu 1 gva 40001000 error_code P|W|U sptep ffff888000b1f008 old 0x6a01e65 "
    "new "
    "6a01e67 spurious 0 fixed 1";
// A leaf change in NPT format, so that the format is known.
constexpr std::string_view kChange =
    "changed_spte: (handle_changed_spte+0x0/0x670) kvm=0x100000 as_id=0 gfn=0x40001 old=0x6a01e67 "
    "new=0x8000000000000000 level=1 shared=0";
constexpr std::string_view kChanged =
    "kvm_tdp_mmu_spte_changed: as id 0 gfn 40001 level 1 old_spte 6a01e67 new_spte "
    "8000000000000000";

Event first_of(const Imported& r, EventKind kind) {
  const auto found = r.of(kind);
  EXPECT_FALSE(found.empty()) << trace::kind_name(kind);
  return found.empty() ? Event{} : found.front();
}

TEST(Inputs, FaultWithProbes) {
  const Imported r = import_text(
      lines({kFault, kFaultinOk, kNotStale, kMap,
             "kvm_mmu_spte_requested: gfn 40001 pfn 6a01 level 2", kWalk, kRestart, kMapOk}));
  EXPECT_EQ(r.outline(),
            "[vcpu_role] !page_fault [faultin_outcome] faultin_ret [faultin_outcome] "
            "fault_stale_ret [fault_pfn] tdp_map [host_level] spte_requested iter_start "
            "iter_restart tdp_map_ret");
  const Event pfn = first_of(r, EventKind::kFaultPfn);
  EXPECT_EQ(pfn.get(f::fault_pfn::pfn), 0x6a01u);
  EXPECT_EQ(pfn.get(f::fault_pfn::map_writable), 1u);
  EXPECT_EQ(pfn.get(f::fault_pfn::max_level), 3u);
  EXPECT_EQ(pfn.source_line, 4u);
  EXPECT_EQ(pfn.vm, 1u);
  EXPECT_EQ(first_of(r, EventKind::kHostLevel).get(f::host_level::level), 2u);
  EXPECT_EQ(first_of(r, EventKind::kFaultinOutcome).get_signed(f::faultin_outcome::ret), 0);
}

TEST(Inputs, NoPfnWithoutMemslotAndPfnFromTracepointsAlone) {
  EXPECT_EQ(import_text(lines({kFault,
                               "tdp_map: (f+0x4/0x4f0) vcpu=0x5 vcpu_id=1 kvm=0x100000 "
                               "addr=0x1000 gfn=0x1 pfn=0x8000000000000000"}))
                .outline(),
            "!page_fault tdp_map");
  const Imported r =
      import_text(lines({kFault, "kvm_mmu_spte_requested: gfn 40001 pfn 6a01 level 1"}));
  EXPECT_EQ(r.outline(), "!page_fault [fault_pfn] [host_level] spte_requested");
  EXPECT_FALSE(first_of(r, EventKind::kFaultPfn).has(f::fault_pfn::map_writable));
}

TEST(Inputs, HardwareAdOncePerChange) {
  const Imported r = import_text(lines({kChange, kChanged}));
  EXPECT_EQ(r.outline(), "[hw_ad] changed_spte spte_changed");
  const Event ad = first_of(r, EventKind::kHwAd);
  EXPECT_EQ(ad.get(f::hw_ad::accessed), 1u);
  EXPECT_EQ(ad.get(f::hw_ad::dirty), 1u);
  // Ageing has no probe.
  EXPECT_EQ(import_text(lines({"kvm_tdp_mmu_spte_changed: as id 0 gfn 40001 level 1 old_spte "
                               "6a01e67 new_spte 6a01e47"}))
                .outline(),
            "[hw_ad] spte_changed");
  // Neither tables nor what is not present has A and D bits of a guest.
  EXPECT_EQ(import_text(lines({kChange, kChanged,
                               "kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level 3 old_spte 649b827 "
                               "new_spte 8000000000000000",
                               "kvm_tdp_mmu_spte_changed: as id 0 gfn 1 level 1 old_spte "
                               "80000d0001027 new_spte 80000000000005a0"}))
                .outline(),
            "[hw_ad] changed_spte spte_changed spte_changed spte_changed");
}

TEST(Inputs, HardwareAdComesWithTheCompareAndExchange) {
  const Imported r = import_text(
      lines({"cmpxchg_spte: (f+0x0/0xa0) iter=0x1 sptep=0xffff888000b1f008 gfn=0x40001 level=1 "
             "old=0x6a01e67 new=0x8000000000000000",
             "cmpxchg_spte_ret: (f+0x1/0x2 <- g) ret=0", kChange, kChanged,
             "cmpxchg_spte: (f+0x0/0xa0) iter=0x1 sptep=0xffff888000b1f010 gfn=0x40002 level=1 "
             "old=0x6a02e47 new=0x8000000000000000",
             "cmpxchg_spte_ret: (f+0x1/0x2 <- g) ret=-16",
             "cmpxchg_spte: (f+0x0/0xa0) iter=0x1 sptep=0xffff888000b1f010 gfn=0x40002 level=1 "
             "old=0x6a02e67 new=0x8000000000000000"}));
  EXPECT_EQ(r.outline(),
            "[hw_ad] cmpxchg_spte cmpxchg_spte_ret changed_spte spte_changed [hw_ad] "
            "[cmpxchg_lost] cmpxchg_spte [cmpxchg_lost] cmpxchg_spte_ret [hw_ad] cmpxchg_spte");
  EXPECT_EQ(r.of(EventKind::kHwAd)[1].get(f::hw_ad::accessed), 0u);
  EXPECT_EQ(r.of(EventKind::kHwAd)[1].get(f::hw_ad::dirty), 1u);
}

TEST(Inputs, NoHardwareAdInEptWithoutAdBits) {
  const Imported r = import_text(lines(
      {"kvm_tdp_mmu_spte_changed: as id 0 gfn 40001 level 1 old_spte 90a0000006a01f77 new_spte "
       "80000000000001a0",
       "kvm_mmu_spte_requested: gfn 1 pfn 7d42b level 1 access f"}));
  EXPECT_EQ(first_of(r, EventKind::kMmuFormat).get(f::mmu_format::ad_bits), 0u);
  EXPECT_TRUE(r.of(EventKind::kHwAd).empty());
  const Imported with = import_text(lines(
      {"kvm_tdp_mmu_spte_changed: as id 0 gfn 40001 level 1 old_spte 80a0000006a01e77 new_spte "
       "80000000000001a0"}));
  EXPECT_EQ(first_of(with, EventKind::kHwAd).get(f::hw_ad::accessed), 0u);
  EXPECT_EQ(first_of(with, EventKind::kHwAd).get(f::hw_ad::dirty), 1u);
}

TEST(Inputs, RereadThatShowsMore) {
  const std::string_view written =
      "changed_spte: (handle_changed_spte+0x0/0x670) kvm=0x100000 as_id=0 gfn=0x40001 "
      "old=0x8000000000000000 new=0x6a01e27 level=1 shared=1";
  EXPECT_EQ(import_text(lines({written,
                               "kvm_mmu_set_spte: gfn 40001 spte 6a01e67 (rwxu) level 1 "
                               "at b1e008"}))
                .outline(),
            "changed_spte [hw_ad] set_spte");
  EXPECT_EQ(import_text(lines({written,
                               "kvm_mmu_set_spte: gfn 40001 spte 6a01e27 (rwxu) level 1 "
                               "at b1e008"}))
                .outline(),
            "changed_spte set_spte");
}

TEST(Inputs, LostCompareAndExchangeWithoutItsProbe) {
  const std::string_view again = "tdp_map_ret: (a+0xab/0xf0 <- kvm_tdp_mmu_map) ret=1";
  EXPECT_EQ(import_text(lines({kFault, kMap, again})).outline(),
            "[vcpu_role] !page_fault [fault_pfn] tdp_map [cmpxchg_lost] tdp_map_ret");
  EXPECT_EQ(
      import_text(lines({kFault, kMap,
                         "cmpxchg_spte: (f+0x0/0xa0) iter=0x1 gfn=0x40001 level=1 old=0x0 "
                         "new=0x1",
                         "cmpxchg_spte_ret: (f+0x1/0x2 <- g) ret=0", again}))
          .outline(),
      "[vcpu_role] !page_fault [fault_pfn] tdp_map cmpxchg_spte cmpxchg_spte_ret tdp_map_ret");
}

TEST(Inputs, RetriedFastPageFault) {
  EXPECT_EQ(import_text(lines({kFault, kWalk, kRestart, kWalk, kRestart, kFast})).outline(),
            "!page_fault iter_start iter_restart [cmpxchg_lost] iter_start iter_restart [hw_ad] "
            "fast_page_fault");
  // Walks of an own notifier in between are another thing, and so is the walk of the map.
  EXPECT_EQ(import_text(lines({kFault, kWalk, kRestart,
                               "put_root: (f+0x4/0xd0) kvm=0x100000 sp=0x1 "
                               "spt=0xffff888000b21000 role=0x3784 gfn=0x0 refs=3",
                               kWalk, kRestart, kMap, kWalk, kRestart}))
                .outline(),
            "!page_fault iter_start iter_restart put_root iter_start iter_restart [vcpu_role] "
            "[fault_pfn] tdp_map iter_start iter_restart");
}

TEST(Inputs, YieldsAndTheirFlush) {
  const std::string_view flush = "flush_all: (f+0x4/0x40) kvm=0x100000";
  const std::string_view yield = "yield_read: (f+0x4/0x50) lock=0x100000";
  EXPECT_EQ(import_text(lines({yield, kRestart})).outline(),
            "[yield_here] yield_read iter_restart");
  EXPECT_EQ(import_text(lines({flush, yield, flush, kRestart})).outline(),
            "[yield_here] flush_all yield_read flush_all iter_restart");
  // Another thread's events in between do not part them.
  EXPECT_EQ(import_text(lines({flush}, 7) + lines({kRestart}, 8) + lines({yield}, 7)).outline(),
            "[yield_here] flush_all iter_restart yield_read");
  // However many they are: who yields may sleep for long.
  std::string others;
  for (int i = 0; i < 5000; i++) others += lines({kRestart}, 8);
  const Imported far = import_text(lines({flush}, 7) + others + lines({yield}, 7));
  EXPECT_EQ(far.of(EventKind::kYieldHere).size(), 1u);
  EXPECT_EQ(far.events[far.events.size() - 1].kind, EventKind::kYieldRead);
}

// A recording that ends while a walk yields, and inside a chunk of a dirty log.
TEST(Inputs, TheEndInTheMiddle) {
  const std::string_view flush = "flush_all: (f+0x4/0x40) kvm=0x100000";
  constexpr std::string_view attributes =
      "set_mem_attr: (f+0x0/0x680) kvm=0x100000 start=0x40000 end=0x40010 attributes=0x8";
  constexpr std::string_view end =
      "inv_end: (f+0x4/0x70) kvm=0x100000 seq=0x1 in_progress=1 rstart=0x40000 rend=0x40010";
  const std::string before = lines({end}, 8);  // of another thread
  EXPECT_EQ(import_text(before + lines({attributes, flush})).outline(),
            "!inv_end !set_mem_attr [yield_here] flush_all");
  EXPECT_EQ(import_text(before + lines({flush})).outline(), "!inv_end flush_all");
  EXPECT_EQ(import_text(before + lines({attributes, flush, end})).outline(),
            "!inv_end !set_mem_attr flush_all inv_end");
  EXPECT_EQ(import_text(lines({attributes, flush})).outline(), "!set_mem_attr flush_all");
  constexpr std::string_view split =
      "try_split: (f+0x4/0x60) kvm=0x100000 slot=0x1 id=1 as_id=0 base_gfn=0x40000 npages=0x200 "
      "hva=0x7f0000000000 flags=0x1 start=0x40000 end=0x40040 target_level=1 shared=0";
  constexpr std::string_view clear =
      "clear_dirty_pt: (f+0x4/0x60) kvm=0x100000 slot=0x1 id=1 as_id=0 base_gfn=0x40000 "
      "npages=0x200 hva=0x7f0000000000 flags=0x1 gfn=0x40000 mask=0x1 wrprot=1";
  EXPECT_EQ(import_text(lines({split, clear})).outline(),
            "!dirty_log_clear try_split [dirty_mask] clear_dirty_pt");
  EXPECT_EQ(import_text(lines({split})).outline(), "lost_events try_split");
}

TEST(Inputs, InputsNameTheirPlace) {
  const Imported yield = import_text(lines({"flush_all: (f+0x4/0x40) kvm=0x100000",
                                            "yield_write: (f+0x4/0x50) lock=0x100000", kRestart}));
  EXPECT_EQ(first_of(yield, EventKind::kYieldHere).get(f::yield_here::next_gfn), 0x40001u);
  const Event of_change = first_of(import_text(lines({kChange, kChanged})), EventKind::kHwAd);
  EXPECT_EQ(of_change.get(f::hw_ad::gfn), 0x40001u);
  EXPECT_EQ(of_change.get(f::hw_ad::level), 1u);
  const Event of_fast = first_of(import_text(lines({kFault, kFast})), EventKind::kHwAd);
  EXPECT_EQ(of_fast.get(f::hw_ad::gfn), 0x40001u);
  EXPECT_EQ(of_fast.get(f::hw_ad::level), 0u);  // whichever leaf maps it
}

TEST(Inputs, FlushesThatNoStateDecides) {
  const std::string_view age = "kvm_age_hva: mmu notifier age hva: 0x1000 -- 0x2000";
  const std::string_view range =
      "age_range: (f+0x4/0x280) kvm=0x100000 start=0x40008 end=0x40009 slot=1 as_id=0 arg=0x0 "
      "attr_filter=0x1 may_block=0";
  const std::string_view young = "age_range_ret: (f+0x5e/0x70 <- g) young=1";
  const std::string_view flush = "flush_all: (f+0x4/0x40) kvm=0x100000";
  EXPECT_EQ(import_text(lines({age, range, young, flush})).outline(),
            "!age_hva age_range age_range_ret [flush_here] flush_all");
  EXPECT_EQ(
      import_text(lines({"zap_gfn_range: (f+0x0/0x260) kvm=0x100000 start=0x1 end=0x2", flush}))
          .outline(),
      "!zap_gfn_range flush_all");
}

// A cached root is loaded without an event: the role is told with the next fault.
TEST(Inputs, RoleOfACachedRoot) {
  const std::string smm =
      "tdp_map: (f+0x4/0x4f0) vcpu=0x5 vcpu_id=1 kvm=0x100000 "
      "root_role=0x1003784 addr=0x40001000 gfn=0x40001 pfn=0x6a01";
  const Imported r = import_text(lines({kFault, kMap, kMapOk, kFault, smm, kMapOk, kFault, smm}));
  const auto roles = r.of(EventKind::kVcpuRole);
  ASSERT_EQ(roles.size(), 2u);
  EXPECT_EQ(roles[0].get(f::vcpu_role::role), 0x3784u);
  EXPECT_EQ(roles[1].get(f::vcpu_role::role), 0x1003784u);
}

TEST(Inputs, FailedAllocations) {
  EXPECT_EQ(import_text(lines({"kvm_mmu_split_huge_page: gfn 40000 spte 7200ee7 level 2 errno -12",
                               "kvm_mmu_split_huge_page: gfn 40000 spte 7200ee7 level 2 errno -16",
                               "soft_exit: (f+0x0/0x1) vcpu=0x5 vcpu_id=0 kvm=0x100000 "
                               "gpa=0x40010000 error_code=0x100000000",
                               "soft_exit_ret: (f+0x2f8/0x580 <- g) ret=-12"}))
                .outline(),
            "[alloc_failed] split_huge_page split_huge_page !soft_exit [topup_failed] "
            "soft_exit_ret");
  // The huge entry stays, with what the CPU has set in it: no other event shows that.
  const Imported r = import_text(lines({kChange, "kvm_mmu_split_huge_page: gfn 40000 spte 7200ee7 "
                                                 "level 2 errno -12"}));
  EXPECT_EQ(r.outline(), "[hw_ad] changed_spte [hw_ad] [alloc_failed] split_huge_page");
  ASSERT_EQ(r.of(EventKind::kHwAd).size(), 2u);
  const Event bits = r.of(EventKind::kHwAd).back();
  EXPECT_EQ(bits.get(f::hw_ad::gfn), 0x40000u);
  EXPECT_EQ(bits.get(f::hw_ad::level), 2u);
}

TEST(Inputs, PrefaultIsSeenFromWhatFollows) {
  const Imported r =
      import_text(lines({"gmem_get_pfn: (f+0x4/0x140) kvm=0x100000 slot=1 gfn=0x40002", kRetry,
                         "gmem_get_pfn: (f+0x4/0x140) kvm=0x100000 slot=1 gfn=0x40002", kFaultinOk,
                         kNotStale, kPrefetchMap, kMapOk, kFault, kRetry, kFault, kRetry}));
  EXPECT_EQ(r.outline(),
            "!prefault gmem_get_pfn [faultin_outcome] faultin_ret gmem_get_pfn [faultin_outcome] "
            "faultin_ret [faultin_outcome] fault_stale_ret [fault_pfn] tdp_map tdp_map_ret "
            "!page_fault [faultin_outcome] faultin_ret !page_fault [faultin_outcome] faultin_ret");
  const Event prefault = first_of(r, EventKind::kPrefault);
  EXPECT_EQ(prefault.get(f::prefault::gpa), 0x40002000u);
  EXPECT_EQ(prefault.get(f::prefault::is_private), 1u);
  EXPECT_EQ(prefault.get(f::prefault::error_code), 0x2000100000000u);
}

TEST(Inputs, PrefaultsWithoutTheirResult) {
  EXPECT_EQ(
      import_text(lines({kFaultinOk, kNotStale, kPrefetchMap, kFaultinOk, kNotStale, kPrefetchMap}))
          .outline(),
      "!prefault [faultin_outcome] faultin_ret [faultin_outcome] fault_stale_ret [fault_pfn] "
      "tdp_map !prefault [faultin_outcome] faultin_ret [faultin_outcome] fault_stale_ret "
      "[fault_pfn] tdp_map");
}

TEST(Inputs, AFaultWhoseExitIsNotRecordedIsNoPrefault) {
  const Imported r = import_text(lines({kFaultinOk, kNotStale, kMap, kMapOk}));
  EXPECT_EQ(r.outline(),
            "!page_fault [faultin_outcome] faultin_ret [faultin_outcome] fault_stale_ret "
            "[vcpu_role] [fault_pfn] tdp_map tdp_map_ret");
  EXPECT_EQ(first_of(r, EventKind::kPageFault).get(f::page_fault::address), 0x40001000u);
}

TEST(Inputs, MemslotDeletionTellsTheQuirk) {
  const std::string_view set =
      "set_memslot: (f+0x4/0x540) kvm=0x100000 slot=0x1 mflags=0x0 gpa=0x0 size=0x0 hva=0x0 "
      "gmem_off=0x0 gmem_fd=0";
  const std::string_view commit =
      "commit_memslot: (f+0x4/0x210) kvm=0x100000 old=0x1 new=0x0 "
      "change=1 id=0 old_id=1";
  const std::string_view ret = "set_memslot_ret: (f+0x8dd/0x1670 <- g) ret=0";
  const Imported fast =
      import_text(lines({set, "kvm_mmu_zap_all_fast: kvm-mmu-valid-gen 0 used_pages 0",
                         "invalidate_all_roots: (f+0x4/0x40) kvm=0x100000", commit, ret}));
  EXPECT_EQ(fast.outline(),
            "!set_memslot [capability] mmu_zap_all_fast invalidate_all_roots commit_memslot "
            "set_memslot_ret");
  EXPECT_EQ(first_of(fast, EventKind::kCapability).get(f::capability::value), 1u);
  const Imported slow = import_text(
      lines({set,
             "unmap_gfn_range: (f+0x4/0xb0) kvm=0x100000 start=0x0 end=0x10 slot=1 as_id=0 arg=0x0 "
             "attr_filter=0x0 may_block=1",
             commit, ret}));
  EXPECT_EQ(slow.outline(),
            "!set_memslot [capability] unmap_gfn_range commit_memslot set_memslot_ret");
  EXPECT_EQ(first_of(slow, EventKind::kCapability).get(f::capability::value), 0u);
  EXPECT_EQ(first_of(slow, EventKind::kCapability).get(f::capability::name),
            static_cast<uint64_t>(trace::CapabilityName::kSlotZapQuirk));
  // Without a probe on its caller.
  const Imported inner = import_text(
      lines({set,
             "tdp_unmap_gfn_range: (f+0x4/0xb0) kvm=0x100000 start=0x0 end=0x10 slot=1 as_id=0 "
             "arg=0x0 attr_filter=0x0 may_block=1 flush=0",
             commit, ret}));
  EXPECT_EQ(inner.outline(),
            "!set_memslot [capability] tdp_unmap_gfn_range commit_memslot set_memslot_ret");
  EXPECT_EQ(first_of(inner, EventKind::kCapability).get(f::capability::value), 0u);
}

TEST(Inputs, DirtyLoggingWithAndWithoutInitiallySet) {
  const std::string_view set =
      "set_memslot: (f+0x4/0x540) kvm=0x100000 slot=0x1 mflags=0x1 gpa=0x40000000 size=0x400000 "
      "hva=0x7f00 gmem_off=0x0 gmem_fd=0";
  const std::string_view commit =
      "commit_memslot: (f+0x4/0x210) kvm=0x100000 old=0x1 new=0x2 "
      "change=3 id=1 old_id=1";
  const std::string_view ret = "set_memslot_ret: (f+0x8dd/0x1670 <- g) ret=0";
  const std::string_view work = "flush_all: (f+0x4/0x40) kvm=0x100000";
  const Imported r = import_text(lines({set, commit, ret, set, commit, work, ret}));
  EXPECT_EQ(r.outline(),
            "!set_memslot commit_memslot [capability] set_memslot_ret !set_memslot commit_memslot "
            "flush_all set_memslot_ret");
  EXPECT_EQ(first_of(r, EventKind::kCapability).get(f::capability::name),
            static_cast<uint64_t>(trace::CapabilityName::kInitiallySet));
  // Where no work could be seen, its absence says nothing.
  EXPECT_EQ(import_text(lines({set, commit, ret})).outline(),
            "!set_memslot commit_memslot set_memslot_ret");
}

TEST(Inputs, ClearDirtyLogOfAChunk) {
  const std::string slot =
      "kvm=0x100000 slot=0x1 id=1 as_id=0 base_gfn=0x40000 npages=0x400 "
      "hva=0x7f00 flags=0x1 ";
  const std::string split =
      "try_split: (f+0x4/0xb0) " + slot + "start=0x40000 end=0x40040 target_level=1 shared=0";
  const std::string protect = "write_protect_gfn: (f+0x4/0xa0) " + slot + "gfn=0x40000 min_level=2";
  const std::string clear =
      "clear_dirty_pt: (f+0x4/0x90) " + slot + "gfn=0x40000 mask=0xffff wrprot=1";
  const Imported r = import_text(lines({split, protect, clear, protect, protect, clear, clear}));
  EXPECT_EQ(r.outline(),
            "!dirty_log_clear try_split write_protect_gfn [dirty_mask] clear_dirty_pt "
            "!dirty_log_clear write_protect_gfn write_protect_gfn [dirty_mask] clear_dirty_pt "
            "!dirty_log_clear [dirty_mask] clear_dirty_pt");
  EXPECT_EQ(first_of(r, EventKind::kDirtyMask).get(f::dirty_mask::mask), 0xffffu);
}

TEST(Inputs, HostLevelOfCollapseAndRecovery) {
  const std::string slot =
      "kvm=0x100000 slot=0x1 id=1 as_id=0 base_gfn=0x40000 npages=0x400 "
      "hva=0x7f00 flags=0x0";
  const std::string set =
      "set_memslot: (f+0x4/0x540) kvm=0x100000 slot=0x1 mflags=0x0 gpa=0x40000000 size=0x400000 "
      "hva=0x7f00 gmem_off=0x0 gmem_fd=0";
  const Imported old =
      import_text(lines({set, "zap_collapsible: (f+0x4/0x80) " + slot,
                         "flush_range: (f+0x4/0x20) kvm=0x100000 gfn=0x40000 nr=0x200",
                         "set_memslot_ret: (f+0x1/0x2 <- g) ret=0",
                         "flush_range: (f+0x4/0x20) kvm=0x100000 gfn=0x40000 nr=0x200"}));
  EXPECT_EQ(old.outline(),
            "!set_memslot zap_collapsible [collapse_host_level] flush_range set_memslot_ret "
            "flush_range");
  EXPECT_EQ(first_of(old, EventKind::kCollapseHostLevel).get(f::collapse_host_level::level), 2u);
  const std::string root =
      "iter_start: (f+0x4/0x70) iter=0x1 sp=0x2 spt=0xffff888000f76000 role=0x6f84 gfn=0x0 refs=4 "
      "min_level=2 start=0x40000";
  const std::string child =
      "iter_start: (f+0x4/0x70) iter=0x1 sp=0x2 spt=0xffff888000f72000 role=0x6f82 gfn=0x40000 "
      "refs=0 min_level=1 start=0x40000";
  const Imported recent = import_text(
      lines({set, "recover_huge: (f+0x4/0x80) " + slot, root, kRestart, child, kRestart}));
  EXPECT_EQ(recent.outline(),
            "!set_memslot recover_huge iter_start iter_restart [collapse_host_level] iter_start "
            "iter_restart");
  EXPECT_EQ(first_of(recent, EventKind::kCollapseHostLevel).get(f::collapse_host_level::level), 3u);
}

// What cannot be is shown, and nothing is predicted with it.
TEST(Inputs, NonsenseIsNoInput) {
  const auto inputs = [](std::string_view map, int level) {
    return import_text(lines({kFault, kFaultinOk, kNotStale, map,
                              "kvm_mmu_spte_requested: gfn 40001 pfn 6a01 level " +
                                  std::to_string(level)}));
  };
  std::string far(kMap);
  far.replace(far.find("pfn=0x6a01"), 10, "pfn=0x10000006a01");
  std::string high(kMap);
  high.replace(high.find("max_level=3"), 11, "max_level=9");
  EXPECT_EQ(inputs(kMap, 1).of(EventKind::kHostLevel).size(), 1u);
  EXPECT_TRUE(inputs(kMap, 0).of(EventKind::kHostLevel).empty());
  EXPECT_EQ(inputs(kMap, 0).of(EventKind::kSpteRequested).size(), 1u);
  EXPECT_EQ(inputs(kMap, 1).of(EventKind::kFaultPfn).size(), 1u);
  EXPECT_TRUE(inputs(far, 1).of(EventKind::kFaultPfn).empty());
  EXPECT_TRUE(inputs(high, 1).of(EventKind::kFaultPfn).empty());
}

TEST(Inputs, NxRecoveryWithAndWithoutItsStart) {
  const std::string_view zap_sp =
      "zap_sp: (f+0x4/0xe0) kvm=0x100000 sp=0x1 spt=0xffff888005d97000 role=0x3781 gfn=0x40000 "
      "refs=0";
  const std::string_view flush = "flush_all: (f+0x4/0x40) kvm=0x100000";
  EXPECT_EQ(import_text(lines({zap_sp, zap_sp, flush, zap_sp})).outline(),
            "!nx_recovery [nx_recovery_count] zap_sp [nx_recovery_count] zap_sp flush_all "
            "!nx_recovery [nx_recovery_count] zap_sp");
  EXPECT_EQ(import_text(lines({"nx_recover: (f+0x0/0x580) kvm=0x100000", zap_sp, flush})).outline(),
            "!nx_recover [nx_recovery_count] zap_sp flush_all");
}

TEST(Inputs, RolesAndNotifiersAndTeardown) {
  const Imported r = import_text(lines({
      "init_vm: (f+0x4/0xf0) kvm=0x100000 vm_type=0",
      "mmu_load: (f+0x4/0x840) vcpu=0x5 vcpu_id=1 kvm=0x100000",
      "alloc_root: (f+0x4/0x1b0) vcpu=0x5 vcpu_id=1 kvm=0x100000 root_hpa=0xffffffffffffffff "
      "root_role=0x3784",
      "mn_inv_start: (f+0x4/0x370) mn=0x1016a0 start=0x1000 end=0x2000 mnflags=0x1 event=1",
      "kvm_unmap_hva_range: mmu notifier unmap range: 0x1000 -- 0x2000",
      "inv_begin: (f+0x4/0x40) kvm=0x100000 seq=0x0 in_progress=0 rstart=0x0 rend=0x0",
      "mn_inv_end: (f+0x4/0x1c0) mn=0x1016a0 start=0x1000 end=0x2000",
      "inv_end: (f+0x4/0x70) kvm=0x100000 seq=0x0 in_progress=1 rstart=0x1 rend=0x2",
      "free_roots: (f+0x4/0x220) kvm=0x100000 root_hpa=0xb21000 roots_to_free=0xf",
      "destroy_vm: (f+0x0/0x2a0) kvm=0x100000",
      "zap_all: (f+0x4/0x50) kvm=0x100000",
      "free_roots: (f+0x4/0x220) kvm=0x100000 root_hpa=0xb21000 roots_to_free=0xf",
  }));
  EXPECT_EQ(r.outline(),
            "vm_config !init_vm !mmu_load [vcpu_role] alloc_root !mn_inv_start unmap_hva_range "
            "inv_begin !mn_inv_end inv_end !free_roots !destroy_vm zap_all !free_roots");
  EXPECT_EQ(first_of(r, EventKind::kVcpuRole).get(f::vcpu_role::role), 0x3784u);
  EXPECT_EQ(first_of(r, EventKind::kVcpuRole).get(f::vcpu_role::vcpu_id), 1u);
}

TEST(Inputs, WhatComesOutOfTheBlueIsAStimulus) {
  EXPECT_EQ(import_text(lines({"kvm_unmap_hva_range: mmu notifier unmap range: 0x1000 -- 0x2000",
                               "unmap_gfn_range: (f+0x4/0xb0) kvm=0x100000 start=0x0 end=0x10 "
                               "slot=1 as_id=0 arg=0x0 attr_filter=0x1 may_block=1"}))
                .outline(),
            "!unmap_hva_range unmap_gfn_range");
  EXPECT_EQ(import_text(lines({"zap_all: (f+0x4/0x50) kvm=0x100000"})).outline(), "!zap_all");
}

TEST(Inputs, MarkersOfSettings) {
  const Imported r =
      import_text(lines({"tracing_mark_write: PARAM kvm/parameters/nx_huge_pages=force",
                         "tracing_mark_write: ENABLE_CAP cap=168 arg0=0x3",
                         "tracing_mark_write: PARAM kvm/parameters/test_us=1"}));
  EXPECT_EQ(r.outline(), "!module_param_set !enable_cap !enable_cap");
  EXPECT_EQ(first_of(r, EventKind::kModuleParamSet).get(f::module_param_set::value), 1u);
  // The first setting toggles, so before it was off.
  EXPECT_EQ(first_of(r, EventKind::kModuleParams).get(f::module_params::nx_huge_pages), 0u);
  EXPECT_EQ(first_of(r, EventKind::kEnableCap).get(f::enable_cap::name),
            static_cast<uint64_t>(trace::CapabilityName::kManualProtect));
}

}  // namespace
}  // namespace mmucheck::import
