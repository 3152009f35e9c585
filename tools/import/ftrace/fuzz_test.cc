// Damaged text, for a bounded number of fixed seeds: whatever comes in, the importer ends, keeps to
// file order, and accounts for every line.
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "tools/import/ftrace/import_test_util.h"

namespace mmucheck::import {
namespace {

constexpr std::string_view kLines[] = {
    "# tracer: nop",
    "# entries-in-buffer/entries-written: 20/21   #P:2",
    "##### CPU 1 buffer started ####",
    "CPU:0 [LOST 188 EVENTS]",
    "cpus=2",
    " kvmload-61 [000] .....  6.728667: init_vm: (kvm_mmu_init_vm+0x4/0xf0) kvm=0xffffc90000109000 "
    "vm_type=5",
    " kvmload-61 [001] .....  6.728668: tracing_mark_write: PARAM kvm/parameters/nx_huge_pages=off",
    " kvmload-62 [000] .N...  6.728669: kvm_page_fault: vcpu 1 rip 0x1000 address 0x40001000 "
    "error_code 0x100000006",
    " kvmload-62 [000] .....  6.728670: faultin_ret: (a+0x79/0xf0 <- kvm_faultin_pfn) ret=1",
    " kvmload-62 [000] .....  6.728671: tdp_map: (f+0x4/0x4f0) vcpu=0x5 vcpu_id=1 "
    "kvm=0xffffc90000109000 addr=0x40001000 error_code=0x6 gfn=0x40001 pfn=0x6a01 prefetch=1",
    " kvmload-62 [000] .....  6.728672: iter_start: (f+0x4/0x60) iter=0x1 sp=0x2 "
    "spt=0xffff888000b21000 role=0x3784 gfn=0x0 refs=2 min_level=1 start=0x40001",
    " kvmload-62 [000] .....  6.728673: init_sp: (f+0x0/0xb0) sp=0x1 spt=0xffff888000adf000 "
    "sptep=0xffff888000b21000 gfn=0x0 role=0x3783",
    " kvmload-62 [000] .....  6.728674: changed_spte: (__handle_changed_spte+0x0/0x670) "
    "kvm=0xffffc90000109000 spt=0xffff888000b21000 role=0x6f84 gfn=0x0 pgfn=0x0 "
    "old=0x8000000000000000 new=0xadf827 level=4 shared=1",
    " kvmload-62 [000] .....  6.728675: kvm_tdp_mmu_spte_changed: as id 0 gfn 0 level 4 old_spte "
    "8000000000000000 new_spte adf827",
    " kvmload-62 [000] .....  6.728676: fast_page_fault: vcpu 1 gva 400fe000 error_code P|W|U "
    "sptep ffff88800afcc7f0 old 0x1c98825 new 1c98825 spurious 0 fixed 0",
    " kvmload-62 [000] .....  6.728677: flush_all: (f+0x4/0x40) kvm=0xffffc90000109000",
    " kvmload-62 [000] .....  6.728678: yield_write: (f+0x4/0x50) lock=0xffffc90000109000",
    " kvmload-63 [001]        6.728679: kvm_mmu_get_page: [FAILED TO PARSE] mmu_valid_gen=0 gfn=0 "
    "role=14212 root_count=0 unsync=0 created=1",
    "  <idle>-0  [001] ..s..  6.728680: rcu_free_sp: (f+0x4/0x40) rcu=0x1 spt=0xffff888000adf000 "
    "role=0x3783 gfn=0x0",
    " kvmload-61 [001] .....  6.728681: mn_inv_start: (f+0x4/0x370) mn=0xffffc9000010a6a0 "
    "start=0x1000 end=0x2000 mnflags=0x1 event=1",
    " kvmload-61 [001] .....  6.728682: destroy_vm: (f+0x0/0x2a0) kvm=0xffffc90000109000",
};

std::string damaged(std::mt19937_64& random) {
  std::string text;
  const size_t count = 1 + random() % 60;
  for (size_t i = 0; i < count; ++i) {
    text += kLines[random() % std::size(kLines)];
    text += '\n';
  }
  for (size_t n = random() % 20; n > 0 && !text.empty(); --n) {
    const size_t at = random() % text.size();
    switch (random() % 4) {
      case 0: text[at] = static_cast<char>(random()); break;
      case 1: text.erase(at, 1 + random() % 10); break;
      case 2: text.insert(at, std::string(random() % 20, "0f-:[](=|"[random() % 9])); break;
      default: text.resize(at + 1); break;
    }
  }
  return text;
}

#ifdef __SANITIZE_ADDRESS__
constexpr uint64_t kSeeds = 800;
#else
constexpr uint64_t kSeeds = 4000;
#endif

TEST(Fuzz, DamagedTextIsAccountedFor) {
  uint64_t imported = 0;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    std::mt19937_64 random(seed);
    try {
      const Imported r = import_text(damaged(random));
      uint64_t read = 0;
      for (const auto& [name, n] : r.report.read) read += n;
      for (const auto& [name, n] : r.report.skipped) read += n;
      ASSERT_LE(read + r.report.malformed, r.report.lines) << "seed " << seed;
      uint64_t line = 0;
      uint64_t seq = 0;
      for (const trace::Event& e : r.events) {
        ASSERT_EQ(e.seq, ++seq);
        ASSERT_NE(e.kind, trace::EventKind::kNone);
        if (e.source_line == 0) continue;  // configuration, losses at the ends
        ASSERT_GE(e.source_line, line) << "seed " << seed;
        line = e.source_line;
      }
      ++imported;
    } catch (const trace::TraceError& error) {
      ASSERT_FALSE(error.message().empty());
    }
  }
  EXPECT_GT(imported, kSeeds / 2);
}

// The same bytes twice give the same events.
TEST(Fuzz, IsDeterministic) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    std::mt19937_64 first(seed);
    std::mt19937_64 second(seed);
    const std::string text = damaged(first);
    ASSERT_EQ(text, damaged(second));
    try {
      ASSERT_EQ(import_text(text).outline(), import_text(text).outline());
    } catch (const trace::TraceError&) {
      ASSERT_THROW(import_text(text), trace::TraceError);
    }
  }
}

}  // namespace
}  // namespace mmucheck::import
