#include "tools/import/ftrace/ftrace_source.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>

#include "tools/import/ftrace/ids.h"
#include "tools/import/ftrace/import_test_util.h"
#include "tools/import/ftrace/inputs.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
namespace f = trace::f;

Event only(const std::vector<Event>& events) {
  EXPECT_EQ(events.size(), 1u);
  return events.empty() ? Event{} : events.front();
}

constexpr std::string_view kFault612 = R"(# tracer: nop
#
# entries-in-buffer/entries-written: 8/8   #P:2
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
         kvmload-431     [000] .....    21.044000: init_vm: (kvm_mmu_init_vm+0x4/0xf0) kvm=0xffffc90000155000 vm_type=0
         kvmload-431     [000] .....    21.045300: init_sp: (tdp_mmu_init_sp+0x0/0xb0) sp=0xffff888000b23c38 spt=0xffff888000b21000 sptep=0x0 gfn=0x0 role=0x3784
         kvmload-431     [000] .....    21.045311: iter_start: (tdp_iter_start+0x4/0x60) iter=0xffffc90000733ad0 sp=0xffff888000b23c38 spt=0xffff888000b21000 role=0x3784 gfn=0x0 refs=2 min_level=1 start=0x1
         kvmload-431     [000] .....    21.045324: init_sp: (tdp_mmu_init_sp+0x0/0xb0) sp=0xffff888000b23b80 spt=0xffff888000adf000 sptep=0xffff888000b21008 gfn=0x0 role=0x3783
         kvmload-431     [000] .....    21.045333: changed_spte: (handle_changed_spte+0x0/0x670) kvm=0xffffc90000155000 as_id=0 gfn=0x0 old=0x8000000000000000 new=0xadf827 level=4 shared=1
         kvmload-431     [000] .....    21.045346: kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level 4 old_spte 8000000000000000 new_spte adf827
         kvmload-431     [000] .N...    21.045386: kvm_mmu_set_spte: gfn 1 spte 7d42be67 (rwxu) level 1 at b1e008
          <idle>-0       [001] ..s..    21.045400: rcu_free_sp: (tdp_mmu_free_sp_rcu_callback+0x4/0x40) rcu=0x1 spt=0xffff888000adf000 role=0x3783 gfn=0x0
)";

TEST(FtraceSource, TraceFileOf612) {
  const Imported r = import_text(std::string(kFault612));
  EXPECT_EQ(r.info.kernel, trace::KernelVersion::k6_12);
  EXPECT_EQ(r.info.encoding, "ftrace");
  EXPECT_EQ(r.info.loss, trace::LossState::kNone);
  EXPECT_EQ(r.info.clock, trace::ClockKind::kNanoseconds);
  EXPECT_TRUE(r.info.capabilities.test(static_cast<size_t>(EventKind::kChangedSpte)));
  EXPECT_FALSE(r.info.capabilities.test(static_cast<size_t>(EventKind::kTdpMap)));
  EXPECT_EQ(r.outline(),
            "vm_config !init_vm [new_table] init_sp iter_start [new_table] init_sp changed_spte "
            "spte_changed [hw_ad] set_spte [callback_run] rcu_free_sp");

  const Event& format = only(r.of(EventKind::kMmuFormat));
  EXPECT_EQ(format.get(f::mmu_format::format), static_cast<uint64_t>(trace::SpteFormat::kNpt));
  EXPECT_EQ(format.get(f::mmu_format::ad_bits), 1u);
  EXPECT_EQ(format.get(f::mmu_format::levels), 4u);
  EXPECT_EQ(format.get(f::mmu_format::host_levels), 4u);

  const auto tables = r.of(EventKind::kInitSp);
  ASSERT_EQ(tables.size(), 2u);
  EXPECT_EQ(tables[0].get(f::init_sp::spt_pfn), 0xb21u);
  EXPECT_FALSE(tables[0].has(f::init_sp::sptep));
  EXPECT_EQ(tables[1].get(f::init_sp::spt_pfn), 0xadfu);
  EXPECT_EQ(tables[1].get(f::init_sp::sptep), 0xb21008u);
  EXPECT_EQ(only(r.of(EventKind::kRcuFreeSp)).vm, 1u);  // by its table, on another thread
  EXPECT_EQ(only(r.of(EventKind::kSetSpte)).context, trace::kContextNeedResched);

  const Event& change = only(r.of(EventKind::kChangedSpte));
  EXPECT_EQ(change.source_line, 10u);
  EXPECT_EQ(change.thread, 431u);
  EXPECT_EQ(change.ts_ns, 21'045'333'000u);
  EXPECT_EQ(kFault612.substr(change.source_offset, 26), "         kvmload-431     [");
  for (size_t i = 0; i < r.events.size(); ++i) EXPECT_EQ(r.events[i].seq, i + 1);
  EXPECT_EQ(r.report.lines, 13u);
  EXPECT_EQ(r.report.malformed, 0u);
}

TEST(FtraceSource, TracePipeOf72WithCounterClock) {
  const Imported r = import_text(
      "  kvmload-5     [001] ...2.            3: alloc_root: (a+0x4/0x210) vcpu=0x2 vcpu_id=1 "
      "kvm=0xffff8880063fa000 root_hpa=0xffffffffffffffff root_role=0x6f84 "
      "mirror_root_hpa=0xffffffffffffffff mirror=0\n"
      "  kvmload-5     [001] ...2.            4: changed_spte: (__handle_changed_spte+0x0/0x4f0) "
      "kvm=0xffff8880063fa000 sp=0x1 spt=0xffff8880041ef000 role=0x1006f81 gfn=0x40000 refs=0 "
      "pgfn=0x40001 old=0x6c8be67 new=0x8000000000000000 level=1 shared=0\n");
  EXPECT_EQ(r.info.kernel, trace::KernelVersion::k7_2);
  EXPECT_EQ(r.info.clock, trace::ClockKind::kCounter);
  const Event& change = only(r.of(EventKind::kChangedSpte));
  EXPECT_EQ(change.ts_ns, 4u);
  EXPECT_EQ(change.get(f::changed_spte::gfn), 0x40001u);
  EXPECT_EQ(change.get(f::changed_spte::table_gfn), 0x40000u);
  EXPECT_EQ(change.get(f::changed_spte::as_id), 1u);  // SMM, from the table's role
  EXPECT_EQ(change.get(f::changed_spte::spt_pfn), 0x41efu);
}

TEST(FtraceSource, TraceCmdReport) {
  const Imported r = import_text(
      "cpus=2\n"
      "         kvmload-1254  [001]   148.123568: print:                tracing_mark_write: BEGIN\n"
      "         kvmload-1254  [001]   148.142508: kvm_mmu_get_page:     [FAILED TO PARSE] "
      "mmu_valid_gen=0 gfn=0 role=14212 root_count=0 unsync=0 created=1\n"
      "CPU:0 [EVENTS DROPPED]\n"
      "         kvmload-1254  [001]   148.142731: kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level 4 "
      "old_spte 8000000000000000 new_spte ced827\n"
      "CPU:1 [552 EVENTS DROPPED]\n");
  EXPECT_EQ(r.info.kernel, trace::KernelVersion::k6_12);  // role 0x3784
  EXPECT_EQ(only(r.of(EventKind::kMarker)).text, "BEGIN");
  EXPECT_EQ(r.info.loss, trace::LossState::kLost);
  const auto lost = r.of(EventKind::kLostEvents);
  ASSERT_EQ(lost.size(), 2u);
  EXPECT_FALSE(lost[0].has(f::lost_events::count));
  EXPECT_EQ(lost[0].get(f::lost_events::how), static_cast<uint64_t>(trace::LossHow::kUncounted));
  EXPECT_EQ(lost[0].source_line, 4u);
  EXPECT_EQ(lost[1].get(f::lost_events::count), 552u);
  EXPECT_EQ(lost[1].get(f::lost_events::cpu), 1u);
  EXPECT_EQ(r.info.lost.size(), 2u);
  EXPECT_EQ(only(r.of(EventKind::kEventLoss)).get(f::event_loss::count), 552u);
}

TEST(FtraceSource, HeaderThatCountsMoreThanItKept) {
  const Imported r = import_text(
      "# tracer: nop\n"
      "# entries-in-buffer/entries-written: 2/100   #P:2\n"
      "  a-1 [001] .....  1.000000: kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level 4 old_spte "
      "8000000000000000 new_spte ced827\n"
      "##### CPU 0 buffer started ####\n"
      "  a-2 [000] .....  1.000001: kvm_userspace_exit: reason KVM_EXIT_IO (2)\n");
  const auto lost = r.of(EventKind::kLostEvents);
  ASSERT_EQ(lost.size(), 2u);
  EXPECT_EQ(lost[0].get(f::lost_events::count), 98u);
  EXPECT_FALSE(lost[0].has(f::lost_events::cpu));
  EXPECT_EQ(lost[1].get(f::lost_events::cpu), 0u);
  EXPECT_TRUE(lost[1].has(f::lost_events::cpu));
  EXPECT_EQ(lost[1].source_line, 4u);
  EXPECT_LT(lost[0].seq, r.of(EventKind::kSpteChanged)[0].seq);
}

TEST(FtraceSource, BadLinesAreCountedAndSkipped) {
  std::string text = "  a-1 [000] .....  1.000000: kvm_userspace_exit: reason KVM_EXIT_IO (2)\n";
  text += "complete nonsense\n";
  text += "  a-1 [000] .....  1.000001: sched_switch: prev=1\n";
  text += "  a-1 [000] .....  1.000002: kvm_page_fault: vcpu x\n";
  text += "  a-1 [000] .....  1.000003: kvm_vcpu_ioctl <-__x64_sys_ioctl\n";
  text += std::string(1u << 20, 'x') + "\n";
  text += "  a-1 [000] .....  1.000004: kvm_userspace_exit: reason KVM_EXIT_HLT (5)";
  const Imported r = import_text(text);
  EXPECT_EQ(r.of(EventKind::kUserspaceExit).size(), 2u);
  EXPECT_EQ(r.report.malformed, 3u);
  EXPECT_EQ(r.info.malformed, 3u);
  EXPECT_EQ(r.report.first_malformed_line, 2u);
  EXPECT_EQ(r.report.overlong, 1u);
  EXPECT_EQ(r.report.skipped.at("sched_switch"), 1u);
  EXPECT_EQ(r.report.skipped.at("(other)"), 1u);
  EXPECT_EQ(r.report.bad.at("kvm_page_fault"), 1u);
  const std::string report = format_report(r.report);
  EXPECT_NE(report.find("first malformed line: 2"), std::string::npos) << report;
  EXPECT_NE(report.find("sched_switch"), std::string::npos);
  EXPECT_NE(report.find("VM, lock mode and table of each SPTE change"), std::string::npos);
}

TEST(FtraceSource, NothingOfATraceIsAnError) {
  EXPECT_THROW(import_text(std::string(200000, '\0')), trace::TraceError);
  try {
    import_text("hello\nworld\n");
    FAIL() << "no error";
  } catch (const trace::TraceError& error) {
    EXPECT_EQ(error.kind(), trace::TraceErrorKind::kUnknownFormat);
    EXPECT_EQ(error.where().line, 1u);
  }
}

// A direct map at a random multiple of 1 GiB is learnt from tables and their links.
TEST(FtraceSource, LearnsARandomDirectMap) {
  const std::string body =
      "init_sp: (f+0x0/0xb0) sp=0x1 spt=0xffff9b1740adf000 sptep=0xffff9b1740b21008 gfn=0x0 "
      "role=0x3783";
  const Imported r =
      import_text(lines({body,
                         "changed_spte: (handle_changed_spte+0x0/0x670) kvm=0x10 as_id=0 gfn=0x0 "
                         "old=0x8000000000000000 new=0xadf827 level=4 shared=1"}));
  const Event& table = only(r.of(EventKind::kInitSp));
  EXPECT_EQ(table.get(f::init_sp::spt_pfn), 0xadfu);
  EXPECT_EQ(table.get(f::init_sp::sptep), 0xb21008u);
  EXPECT_EQ(r.report.outside_direct_map, 0u);
}

// The same from an entry's address and kvm_mmu_set_spte, with tracepoints alone.
TEST(FtraceSource, LearnsTheDirectMapFromTracepoints) {
  const Imported r = import_text(
      lines({"kvm_mmu_set_spte: gfn 40000 spte 1c98825 (r-xu) level 1 at 5dd1000",
             "fast_page_fault: vcpu 0 gva 40000000 error_code P|W sptep ffff9b1745dd1000 old "
             "0x1c98e65 new 1c98e67 spurious 0 fixed 1"}));
  EXPECT_EQ(only(r.of(EventKind::kFastPageFault)).get(f::fast_page_fault::sptep), 0x5dd1000u);
}

TEST(FtraceSource, FiveLevelHost) {
  const Imported r = import_text(
      lines({"init_sp: (f+0x0/0xb0) sp=0x1 spt=0xff11000000adf000 sptep=0x0 gfn=0x0 role=0x6f85",
             "init_sp: (f+0x0/0xb0) sp=0x1 spt=0xff11000000ae0000 sptep=0xff11000000adf000 gfn=0x0 "
             "role=0x6f84"}));
  EXPECT_EQ(r.of(EventKind::kInitSp)[0].get(f::init_sp::spt_pfn), 0xadfu);
  const Event& format = only(r.of(EventKind::kMmuFormat));
  EXPECT_EQ(format.get(f::mmu_format::host_levels), 5u);
  EXPECT_EQ(format.get(f::mmu_format::levels), 5u);
}

// The shared half of a TD of GPAW 52 is zapped by raw gfns, which the walk reaches with 52 address
// bits.
TEST(FtraceSource, ChangedEntriesSayHowWideAddressesAre) {
  const auto maxphyaddr_of = [](size_t changes, std::string_view gfn) {
    std::string text =
        lines({"alloc_root: (a+0x4/0x210) vcpu=0x2 vcpu_id=1 kvm=0xffff8880063fa000 "
               "root_hpa=0xffffffffffffffff root_role=0x6f85 mirror=1"});
    for (size_t i = 0; i < changes; i++) {
      text += lines(
          {fmt::format("kvm_tdp_mmu_spte_changed: as id 0 gfn {} level 1 old_spte 8000000000000000 "
                       "new_spte 6c8be67",
                       gfn)});
    }
    const Imported r = import_text(text);
    return only(r.of(EventKind::kMmuFormat)).get(f::mmu_format::maxphyaddr);
  };
  EXPECT_EQ(maxphyaddr_of(5000, "fffffffff"), 0u);
  EXPECT_EQ(maxphyaddr_of(3, "8000040000"), 0u);
  EXPECT_EQ(maxphyaddr_of(4, "8000040000"), 52u);
  EXPECT_EQ(maxphyaddr_of(4, "1000000000"), 49u);
  EXPECT_EQ(maxphyaddr_of(4, "10000000000"), 0u);
}

TEST(FtraceSource, AddressesOutsideTheDirectMapBecomeAbsent) {
  FtraceOptions options;
  options.direct_map_base = 0xffff888000000000u;
  const Imported r =
      import_text(lines({"removed_pt: (f+0x0/0x220) kvm=0x10 pt=0xdead000 shared=1"}), options);
  EXPECT_FALSE(only(r.of(EventKind::kRemovedPt)).has(f::removed_pt::spt_pfn));
  EXPECT_EQ(r.report.outside_direct_map, 1u);
}

TEST(FtraceSource, TwoVmsAndAReusedPointer) {
  const Imported r = import_text(lines({
      "init_vm: (f+0x4/0xf0) kvm=0xffffc90000100000 vm_type=0",
      "init_vm: (f+0x4/0xf0) kvm=0xffffc90000200000 vm_type=1",
      "create_vcpu: (f+0x4/0x300) vcpu=0x5 vcpu_id=0 kvm=0xffffc90000100000",
      // A notifier's VM is found by its place in struct kvm, which inv_begin tells.
      "mn_inv_start: (f+0x4/0x370) mn=0xffffc900002016a0 start=0x1000 end=0x2000 mnflags=0x1 "
      "event=1",
      "kvm_unmap_hva_range: mmu notifier unmap range: 0x1000 -- 0x2000",
      "inv_begin: (f+0x4/0x40) kvm=0xffffc90000200000 seq=0x0 in_progress=0 rstart=0x0 rend=0x0",
      "mn_inv_end: (f+0x4/0x1c0) mn=0xffffc900001016a0 start=0x1000 end=0x2000",
      "destroy_vm: (f+0x0/0x2a0) kvm=0xffffc90000100000",
      "zap_all: (f+0x4/0x50) kvm=0xffffc90000100000",
      "init_vm: (f+0x4/0xf0) kvm=0xffffc90000100000 vm_type=0",
      "create_vcpu: (f+0x4/0x300) vcpu=0x5 vcpu_id=0 kvm=0xffffc90000100000",
  }));
  const auto created = r.of(EventKind::kInitVm);
  ASSERT_EQ(created.size(), 3u);
  EXPECT_EQ(created[0].vm, 1u);
  EXPECT_EQ(created[1].vm, 2u);
  EXPECT_EQ(created[2].vm, 3u);
  EXPECT_EQ(only(r.of(EventKind::kMnInvStart)).vm, 2u);
  EXPECT_EQ(only(r.of(EventKind::kUnmapHvaRange)).vm, 2u);
  EXPECT_EQ(only(r.of(EventKind::kMnInvEnd)).vm, 1u);
  EXPECT_EQ(only(r.of(EventKind::kZapAll)).vm, 1u);  // the teardown still belongs to the old one
  EXPECT_EQ(r.of(EventKind::kCreateVcpu)[1].vm, 3u);
  const auto config = r.of(EventKind::kVmConfig);
  ASSERT_EQ(config.size(), 3u);
  EXPECT_EQ(config[1].vm, 2u);
  EXPECT_EQ(config[1].get(f::vm_config::has_private_mem), 1u);
  EXPECT_EQ(r.report.vms, 3u);
}

// One VM after the other, with the same threads and the same addresses: of the second nothing is
// known from the first.
TEST(FtraceSource, TheNextVmOfAThread) {
  std::string text;
  for (int n = 0; n < 2; n++) {
    text += lines({
        "init_vm: (f+0x4/0xf0) kvm=0xffffc90000100000 vm_type=1",
        "create_vcpu: (f+0x4/0x300) vcpu=0x5 vcpu_id=0 kvm=0xffffc90000100000",
        "gmem_punch_hole: (f+0x0/0xf0) inode=0x1000 offset=0x200000 len=0x10000",
        "gmem_invalidate: (f+0x0/0x130) gmem=0x2000 kvm=0xffffc90000100000 start=0x200 end=0x210",
        "gmem_punch_hole: (f+0x0/0xf0) inode=0x1000 offset=0x400000 len=0x10000",
        "faultin_ret: (f+0x6d/0xf0 <- g) ret=1",
        "tdp_map: (f+0x0/0x710) vcpu=0x5 vcpu_id=0 kvm=0xffffc90000100000 root_hpa=0x1000 "
        "root_role=0x3784 addr=0x0 error_code=0x0 gfn=0x0 pfn=0x1 write=0 exec=0 prefetch=0",
    });
    if (n == 0) text += lines({"destroy_vm: (f+0x0/0x2a0) kvm=0xffffc90000100000"});
  }
  const Imported r = import_text(text);
  const auto holes = r.of(EventKind::kGmemPunchHole);
  const auto faults = r.of(EventKind::kFaultinRet);
  ASSERT_EQ(holes.size(), 4u);
  ASSERT_EQ(faults.size(), 2u);
  EXPECT_EQ(holes[1].vm, 1u);
  EXPECT_EQ(holes[2].vm, 2u);
  EXPECT_EQ(holes[3].vm, 2u);
  EXPECT_EQ(faults[0].vm, 1u);
  EXPECT_EQ(faults[1].vm, 2u);
}

// A thread that runs vCPUs of two VMs: a fault's VM is that of the map that follows.
TEST(FtraceSource, ContestedFault) {
  const std::string map1 =
      "tdp_map: (f+0x4/0x4f0) vcpu=0x5 vcpu_id=0 kvm=0x100000 addr=0x1000 gfn=0x1 pfn=0x7";
  const std::string map2 =
      "tdp_map: (f+0x4/0x4f0) vcpu=0x6 vcpu_id=0 kvm=0x200000 addr=0x1000 gfn=0x1 pfn=0x8";
  const std::string fault = "kvm_page_fault: vcpu 0 rip 0x1 address 0x1000 error_code 0x4";
  const Imported r = import_text(lines({"init_vm: (f+0x4/0xf0) kvm=0x100000 vm_type=0",
                                        "init_vm: (f+0x4/0xf0) kvm=0x200000 vm_type=0", fault, map1,
                                        fault, map2, fault, map1, fault}));
  const auto faults = r.of(EventKind::kPageFault);
  ASSERT_EQ(faults.size(), 4u);
  EXPECT_EQ(faults[2].vm, 1u);
  EXPECT_EQ(faults[1].vm, 2u);
  // One that retries is the same fault; at another address it may be the other VM's.
  const std::string elsewhere = "kvm_page_fault: vcpu 0 rip 0x1 address 0x2000 error_code 0x4";
  const Imported retried = import_text(lines({"init_vm: (f+0x4/0xf0) kvm=0x100000 vm_type=0",
                                              "init_vm: (f+0x4/0xf0) kvm=0x200000 vm_type=0",
                                              elsewhere, fault, fault, map2}));
  EXPECT_EQ(retried.of(EventKind::kPageFault)[0].vm, 0u);
  EXPECT_EQ(retried.of(EventKind::kPageFault)[1].vm, 2u);
}

TEST(FtraceSource, SniffsItsForms) {
  EXPECT_TRUE(sniff_ftrace("# tracer: nop\n"));
  EXPECT_TRUE(sniff_ftrace("cpus=2\n   a-1  [001]   1.000000: e: x\n"));
  EXPECT_TRUE(sniff_ftrace("   a-1  [001] .....  1.000000: e: x"));
  EXPECT_TRUE(sniff_ftrace("CPU:0 [LOST 188 EVENTS]\n"));
  EXPECT_FALSE(sniff_ftrace(""));
  EXPECT_FALSE(sniff_ftrace("packet { kernel { } }\n# comment\n"));
  EXPECT_FALSE(sniff_ftrace(std::string(70000, '\0')));
}

TEST(FtraceSource, OptionsWin) {
  FtraceOptions options;
  options.kernel = trace::KernelVersion::k7_2;
  options.levels = 5;
  options.nx_huge_pages = true;
  const Imported r = import_text(std::string(kFault612), options);
  EXPECT_EQ(only(r.of(EventKind::kKernel)).get(f::kernel::version), 702u);
  EXPECT_EQ(only(r.of(EventKind::kMmuFormat)).get(f::mmu_format::levels), 5u);
  EXPECT_EQ(only(r.of(EventKind::kModuleParams)).get(f::module_params::nx_huge_pages), 1u);
}

// A million VMs: numbers run out of room, not memory; nothing breaks.
TEST(FtraceSource, VmsBeyondTheLimitAreCounted) {
  std::string text;
  for (uint64_t i = 1; i <= kMaxTracked + 10; ++i) {
    text += "  a-1 [000] ..... 1.000000: init_vm: (f+0x4/0xf0) kvm=0x" + std::to_string(i) +
            "0000 vm_type=0\n";
  }
  const Imported r = import_text(text);
  EXPECT_EQ(r.report.vms, kMaxTracked);
  EXPECT_EQ(r.report.untracked_vms, 10u);
  EXPECT_EQ(r.events.back().vm, 0u);
}

// Looking ahead is bounded: a yield too far behind its flush is told at the yield itself, and no
// event is lost or moved.
TEST(FtraceSource, LookAheadIsBounded) {
  std::string text = lines({"flush_all: (f+0x4/0x40) kvm=0x100000"}, 7);
  constexpr int kOthers = kFarAhead + 1000;
  for (int i = 0; i < kOthers; ++i) {
    text += lines({"kvm_userspace_exit: reason KVM_EXIT_IO (2)"}, 8);
  }
  text += lines({"yield_read: (f+0x4/0x50) lock=0x100000"}, 7);
  const Imported r = import_text(text);
  EXPECT_EQ(r.of(EventKind::kUserspaceExit).size(), size_t{kOthers});
  uint64_t line = 0;
  for (const Event& e : r.events) {
    EXPECT_GE(e.source_line, line);
    line = e.source_line;
  }
  const Event yield = only(r.of(EventKind::kYieldHere));
  EXPECT_EQ(yield.source_line, kOthers + 2u);
}

// Whatever byte the text ends at, it is read to there.
TEST(FtraceSource, TruncatedAnywhere) {
  for (size_t n = kFault612.find("init_vm"); n < kFault612.size(); n += 7) {
    const Imported r = import_text(std::string(kFault612.substr(0, n)));
    EXPECT_LE(r.report.malformed, 1u) << n;
  }
}

}  // namespace
}  // namespace mmucheck::import
