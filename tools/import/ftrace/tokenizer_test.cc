#include "tools/import/ftrace/tokenizer.h"

#include <gtest/gtest.h>

#include <string>

namespace mmucheck::import {
namespace {

TEST(Tokenizer, TraceFileWithFlags) {
  const Line l = tokenize(
      "         kvmload-61      [001] .Ns..     6.728667: init_vm: (kvm_mmu_init_vm+0x4/0xf0) "
      "kvm=0x1");
  ASSERT_EQ(l.kind, LineKind::kEvent);
  EXPECT_EQ(l.task, "kvmload");
  EXPECT_EQ(l.pid, 61u);
  EXPECT_EQ(l.cpu, 1u);
  EXPECT_EQ(l.flags, kContextSoftirq | kContextNeedResched);
  EXPECT_TRUE(l.has_flags);
  EXPECT_FALSE(l.counter_clock);
  EXPECT_EQ(l.timestamp, 6'728'667'000u);
  EXPECT_EQ(l.event, "init_vm");
  EXPECT_EQ(l.body, "(kvm_mmu_init_vm+0x4/0xf0) kvm=0x1");
}

TEST(Tokenizer, TraceCmdReport) {
  const Line l = tokenize(
      "         kvmload-1254  [001]   148.142763: kvm_mmu_set_spte:     gfn 1 spte 794de67 (rwxu) "
      "level 1 at 5fdb008");
  ASSERT_EQ(l.kind, LineKind::kEvent);
  EXPECT_FALSE(l.has_flags);
  EXPECT_EQ(l.pid, 1254u);
  EXPECT_EQ(l.timestamp, 148'142'763'000u);
  EXPECT_EQ(l.event, "kvm_mmu_set_spte");
  EXPECT_EQ(l.body, "gfn 1 spte 794de67 (rwxu) level 1 at 5fdb008");
}

TEST(Tokenizer, TraceCmdPrintIsTheMarkerInside) {
  const Line l = tokenize(
      "  kvmload-1254  [001]   148.123568: print:                tracing_mark_write: BEGIN x: y");
  EXPECT_EQ(l.event, "tracing_mark_write");
  EXPECT_EQ(l.body, "BEGIN x: y");
}

TEST(Tokenizer, Clocks) {
  EXPECT_EQ(tokenize("  a-1 [000] .....  3: e: x").timestamp, 3u);
  EXPECT_TRUE(tokenize("  a-1 [000] .....  3: e: x").counter_clock);
  EXPECT_EQ(tokenize("  a-1 [000] .....  12.000000345: e: x").timestamp, 12'000'000'345u);
  EXPECT_EQ(tokenize("  a-1 [000] 3: e: x").timestamp, 3u);
  EXPECT_EQ(tokenize("  a-1 [000] .....  99999999999999.000001: e: x").kind, LineKind::kMalformed);
}

TEST(Tokenizer, TaskNames) {
  EXPECT_EQ(tokenize("  <idle>-0     [000] ..s1.  1.000000: e: x").task, "<idle>");
  EXPECT_EQ(tokenize("  <...>-123    [000] .....  1.000000: e: x").task, "<...>");
  EXPECT_EQ(tokenize(" Web Content-77 [000] .....  1.000000: e: x").task, "Web Content");
  EXPECT_EQ(tokenize(" kvm-nx-lpage-re-65 [001] .....  18.180202: zap_sp: x").pid, 65u);
  EXPECT_EQ(tokenize(" rcuc/1-22 [001] b....  3.352467: rcu_free_sp: x").task, "rcuc/1");
  EXPECT_EQ(tokenize(" CPU 0/KVM-9 (   7) [003] .....  1.000000: e: x").task, "CPU 0/KVM");
  EXPECT_EQ(tokenize(" CPU 0/KVM-9 (   7) [003] .....  1.000000: e: x").pid, 9u);
  EXPECT_EQ(tokenize(" odd [1] name-5 [002] .....  1.000000: e: x").task, "odd [1] name");
}

TEST(Tokenizer, Lost) {
  const Line pipe = tokenize("CPU:0 [LOST 188 EVENTS]");
  EXPECT_EQ(pipe.kind, LineKind::kLost);
  EXPECT_TRUE(pipe.has_count);
  EXPECT_EQ(pipe.a, 188u);
  const Line unknown = tokenize("CPU:1 [EVENTS DROPPED]");
  EXPECT_EQ(unknown.kind, LineKind::kLost);
  EXPECT_EQ(unknown.cpu, 1u);
  EXPECT_FALSE(unknown.has_count);
  EXPECT_EQ(tokenize("CPU:1 [552 EVENTS DROPPED]").a, 552u);
  const Line header = tokenize("# entries-in-buffer/entries-written: 901/34722   #P:2");
  EXPECT_EQ(header.kind, LineKind::kEntries);
  EXPECT_EQ(header.a, 901u);
  EXPECT_EQ(header.b, 34722u);
  EXPECT_EQ(tokenize("##### CPU 3 buffer started ####").kind, LineKind::kBufferStarted);
  EXPECT_EQ(tokenize("##### CPU 3 buffer started ####").cpu, 3u);
}

TEST(Tokenizer, NotEvents) {
  EXPECT_EQ(tokenize("").kind, LineKind::kBlank);
  EXPECT_EQ(tokenize("  \r").kind, LineKind::kBlank);
  EXPECT_EQ(tokenize("# tracer: nop").kind, LineKind::kComment);
  EXPECT_EQ(tokenize("cpus=2").kind, LineKind::kComment);
  EXPECT_EQ(tokenize("hello world").kind, LineKind::kMalformed);
  EXPECT_EQ(tokenize("a-1 [0").kind, LineKind::kMalformed);
  EXPECT_EQ(tokenize("a-1 [000] .....  6.71750").kind, LineKind::kMalformed);
  EXPECT_EQ(tokenize("a-x [000] .....  6.717506: e: f").kind, LineKind::kMalformed);
  EXPECT_EQ(tokenize("a-1 [99999999999999999999] .....  6.717506: e: f").kind,
            LineKind::kMalformed);
}

TEST(Tokenizer, FunctionTracerLineHasNoEventName) {
  const Line l = tokenize("  a-1 [000] .....  1.000000: kvm_vcpu_ioctl <-__x64_sys_ioctl");
  EXPECT_EQ(l.kind, LineKind::kEvent);
  EXPECT_TRUE(l.event.empty());
}

// Whatever prefix of a line is left, the tokenizer answers and stays inside it.
TEST(Tokenizer, EveryPrefixIsSafe) {
  const std::string full =
      " Web Content-77 (  70) [000] .Ns..  1.000001: changed_spte: (f+0x0/0x1) kvm=0x1 as_id=0";
  for (size_t n = 0; n <= full.size(); ++n) {
    const std::string copy = full.substr(0, n);  // its own buffer, so a sanitizer sees overruns
    const Line l = tokenize(copy);
    EXPECT_TRUE(n < full.find(": changed") + 1 ? l.kind != LineKind::kEvent
                                               : l.kind == LineKind::kEvent)
        << n;
  }
}

}  // namespace
}  // namespace mmucheck::import
