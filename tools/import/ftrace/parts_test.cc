// The small parts: numbers, side files, markers, identities.
#include <gtest/gtest.h>

#include "tools/import/ftrace/ids.h"
#include "tools/import/ftrace/markers.h"
#include "tools/import/ftrace/meta.h"
#include "tools/import/ftrace/text.h"

namespace mmucheck::import {
namespace {

using trace::EventKind;

TEST(Text, Numbers) {
  const auto number = [](std::string_view text, uint64_t& value) {
    Cursor c(text);
    return c.take_number(value) && c.at_end();
  };
  uint64_t v = 0;
  EXPECT_TRUE(number("0xffffffffffffffff", v));
  EXPECT_EQ(v, UINT64_MAX);
  EXPECT_TRUE(number("18446744073709551615", v));
  EXPECT_EQ(v, UINT64_MAX);
  EXPECT_TRUE(number("-16", v));
  EXPECT_EQ(static_cast<int64_t>(v), -16);
  for (const std::string_view bad :
       {"", "-", "0x", "18446744073709551616", "0x10000000000000000", "x", "--1", "1a"}) {
    EXPECT_FALSE(number(bad, v)) << bad;
  }
}

TEST(Meta, KernelParametersAndOptions) {
  SideFiles files;
  parse_meta(
      "name: x\n"
      "kernel: Linux host 6.12.117-flavour #3 SMP x86_64\n"
      "options: nooverwrite nohash-ptr\r\n"
      "cmdline: quiet kvm.nx_huge_pages=force flag\n"
      "param kvm/parameters/eager_page_split: Y\n"
      "param kvm_intel/parameters/pml: N\n"
      "no colon here\n",
      files);
  EXPECT_TRUE(files.has_meta);
  EXPECT_EQ(files.kernel, "6.12.117");
  EXPECT_EQ(files.overwrite, false);
  EXPECT_EQ(files.param("eager_page_split"), "Y");
  EXPECT_EQ(files.param("pml"), "N");
  EXPECT_FALSE(files.param("absent").has_value());
  EXPECT_EQ(files.cmdline.at("kvm.nx_huge_pages"), "force");
}

TEST(Meta, RingStatistics) {
  SideFiles files;
  parse_ring_stats(
      "dropped events: 5\n== cpu0\noverrun: 7\ndropped events: 34937\n== cpu1\n"
      "dropped events: 0\n",
      files);
  ASSERT_EQ(files.drops.size(), 2u);
  EXPECT_EQ(files.drops[0].dropped, 34937u);
  EXPECT_EQ(files.drops[0].overrun, 7u);
  EXPECT_EQ(files.drops[1].cpu, 1u);
  EXPECT_EQ(files.drops[1].dropped, 0u);
}

TEST(Meta, ProbesByTheNamesOfTheirEvents) {
  SideFiles files;
  parse_kprobe_events(
      "p:tdpcap/zap_all kvm_tdp_mmu_zap_all kvm=$arg1:x64\n"
      "r10:tdpcap/faultin_ret kvm_faultin_pfn ret=$retval:s32\n"
      "e:other/event sched.sched_switch\n:\n\np:bare do_nothing",
      files);
  EXPECT_EQ(files.probes, (std::vector<std::string>{"zap_all", "faultin_ret", "bare"}));
}

TEST(Meta, NoSideFilesForAPipe) {
  EXPECT_FALSE(read_side_files("-").has_meta);
  EXPECT_FALSE(read_side_files("/nonexistent/folder/trace.txt").has_meta);
}

TEST(Markers, SettingsOnly) {
  MarkerFacts facts[2];
  EXPECT_EQ(read_marker("PARAM kvm/parameters/eager_page_split=0", facts), 1u);
  EXPECT_EQ(facts[0].kind, EventKind::kModuleParamSet);
  EXPECT_EQ(facts[0].name, static_cast<uint64_t>(trace::ModuleParam::kEagerPageSplit));
  EXPECT_EQ(facts[0].value, 0u);
  EXPECT_EQ(read_marker("ENABLE_CAP cap=192 arg0=0x4000", facts), 1u);
  EXPECT_EQ(facts[0].name, static_cast<uint64_t>(trace::CapabilityName::kDirtyRing));
  EXPECT_EQ(facts[0].value, 0x4000u);
  EXPECT_EQ(read_marker("ENABLE_CAP MANUAL_DIRTY_LOG_PROTECT2 flags=1", facts), 2u);
  EXPECT_EQ(facts[0].value, 1u);
  EXPECT_EQ(facts[1].value, 0u);
  for (const std::string_view none :
       {"", "PARAM", "PARAM x", "PARAM kvm/parameters/nx_huge_pages=maybe", "ENABLE_CAP ret=0",
        "ENABLE_CAP cap=1 arg0=2", "BEGIN basic"}) {
    EXPECT_EQ(read_marker(none, facts), 0u) << none;
  }
}

TEST(Ids, LivesOfVms) {
  VmTable vms;
  EXPECT_EQ(vms.sole(), 0u);
  EXPECT_EQ(vms.see(0, EventKind::kInitVm), 0u);
  EXPECT_EQ(vms.see(0x1000, EventKind::kInitVm), 1u);
  EXPECT_EQ(vms.sole(), 1u);
  EXPECT_EQ(vms.see(0x900000, EventKind::kSetMemslot), 2u);  // its init_vm was not recorded
  EXPECT_TRUE(vms.several_alive());
  EXPECT_EQ(vms.sole(), 0u);
  EXPECT_EQ(vms.see(0x1000, EventKind::kDestroyVm), 1u);
  EXPECT_EQ(vms.see(0x1000, EventKind::kZapAll), 1u);
  EXPECT_EQ(vms.sole(), 2u);
  EXPECT_EQ(vms.see(0x1000, EventKind::kCreateVcpu), 3u);  // a new life begun unseen
  EXPECT_EQ(vms.generation(0x1000), 2u);
  EXPECT_EQ(vms.see(0x1000, EventKind::kInitVm), 4u);
  EXPECT_EQ(vms.count(), 4u);
}

TEST(Ids, NotifierByOffsetAndByNearness) {
  VmTable vms;
  vms.see(0x100000, EventKind::kInitVm);
  vms.see(0x108000, EventKind::kInitVm);
  EXPECT_EQ(vms.by_notifier(0x1096a0, 0x96a0), 1u);  // the offset knows better than nearness
  EXPECT_EQ(vms.by_notifier(0x1096a0, 0x16a0), 2u);
  EXPECT_EQ(vms.by_notifier(0x1096a0, std::nullopt), 2u);
  EXPECT_EQ(vms.by_notifier(0x90000, std::nullopt), 0u);
  EXPECT_EQ(vms.by_notifier(0x900000, std::nullopt), 0u);
}

TEST(Ids, IdleTasksAreOneForEachCpu) {
  ThreadMap<int> threads;
  trace::Event a, b;
  a.cpu = 0;
  b.cpu = 1;
  threads.of(a) = 1;
  threads.of(b) = 2;
  EXPECT_EQ(threads.of(a), 1);
  a.thread = 7;
  b.thread = 7;
  threads.of(a) = 3;
  EXPECT_EQ(threads.of(b), 3);
  threads.clear();
  EXPECT_EQ(threads.of(b), 0);
}

}  // namespace
}  // namespace mmucheck::import
