// Every recording of the corpus is read without a line left over, and what is written out beside
// the recorded events agrees with what can be counted in the text itself.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
namespace f = trace::f;

constexpr std::string_view kFolder = "traces/recorded";
// Under AddressSanitizer every kind of line matters, not every line.
#ifdef __SANITIZE_ADDRESS__
constexpr uintmax_t kMaxFile = 80'000;
#else
constexpr uintmax_t kMaxFile = UINTMAX_MAX;
#endif

std::vector<std::string> recordings() {
  std::vector<std::string> names;
  std::error_code missing;  // then the list is empty, which a test below reports
  for (const auto& entry : std::filesystem::directory_iterator(kFolder, missing)) {
    if (std::filesystem::exists(entry.path() / "trace.txt.xz")) {
      names.push_back(entry.path().filename().string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string path_of(const std::string& name) {
  return std::string(kFolder) + "/" + name + "/trace.txt.xz";
}

bool is_small(const std::string& name) {
  return std::filesystem::file_size(path_of(name)) <= kMaxFile;
}

std::vector<std::string> small_recordings() {
  std::vector<std::string> names = recordings();
  std::erase_if(names, [](const std::string& name) { return !is_small(name); });
  return names;
}

struct Counts {
  std::map<EventKind, uint64_t> kinds;
  std::map<EventKind, uint64_t> stimuli;
  uint64_t lost_exchanges = 0;  // cmpxchg_spte_ret != 0
  uint64_t without_vm = 0;      // recorded events with VM 0
  uint64_t failed_splits = 0;
  uint64_t failed_topups = 0;
  uint64_t prefetches = 0;
  ImportReport report;
  trace::TraceInfo info;

  uint64_t of(EventKind kind) const {
    const auto it = kinds.find(kind);
    return it == kinds.end() ? 0 : it->second;
  }
};

Counts count(const std::string& name, const FtraceOptions& options = {}) {
  Counts c;
  const auto source = open_ftrace(std::make_unique<trace::ByteStream>(path_of(name)), options);
  Event e;
  while (source->next(e)) {
    ++c.kinds[e.kind];
    if (e.cls == trace::PacketClass::kStimulus) ++c.stimuli[e.kind];
    if (e.cls == trace::PacketClass::kObservation && e.vm == 0) ++c.without_vm;
    if (e.kind == EventKind::kCmpxchgSpteRet && e.get(f::cmpxchg_spte_ret::ret) != 0) {
      ++c.lost_exchanges;
    }
    if (e.kind == EventKind::kSplitHugePage && e.get_signed(f::split_huge_page::err) == -12) {
      ++c.failed_splits;
    }
    if (e.kind == EventKind::kSoftExitRet && e.get_signed(f::soft_exit_ret::ret) == -12) {
      ++c.failed_topups;
    }
    if (e.kind == EventKind::kTdpMap && e.get(f::tdp_map::prefetch) != 0) ++c.prefetches;
  }
  c.report = source->report();
  c.info = source->info();
  return c;
}

class Recording : public testing::TestWithParam<std::string> {};

TEST_P(Recording, IsUnderstoodCompletely) {
  const std::string name = GetParam();
  const Counts c = count(name);
  EXPECT_TRUE(c.report.skipped.empty()) << c.report.skipped.begin()->first;
  EXPECT_TRUE(c.report.bad.empty()) << c.report.bad.begin()->first;
  EXPECT_EQ(c.report.malformed, 0u) << "line " << c.report.first_malformed_line;
  EXPECT_EQ(c.report.outside_direct_map, 0u);
  EXPECT_EQ(name.starts_with("lossy-"), c.info.loss == trace::LossState::kLost);

  EXPECT_EQ(c.of(EventKind::kNewTable), c.of(EventKind::kInitSp));
  EXPECT_EQ(c.of(EventKind::kFaultinOutcome),
            c.of(EventKind::kFaultinRet) + c.of(EventKind::kFaultStaleRet));
  EXPECT_EQ(c.of(EventKind::kHostLevel), c.of(EventKind::kSpteRequested));
  EXPECT_EQ(c.of(EventKind::kDirtyMask), c.of(EventKind::kClearDirtyPt));
  EXPECT_EQ(c.of(EventKind::kCallbackRun), c.of(EventKind::kRcuFreeSp));
  EXPECT_GE(c.of(EventKind::kVcpuRole), c.of(EventKind::kAllocRoot));
  EXPECT_EQ(c.of(EventKind::kAllocFailed), c.failed_splits);
  EXPECT_EQ(c.of(EventKind::kTopupFailed), c.failed_topups);
  EXPECT_EQ(c.of(EventKind::kYieldHere),
            c.of(EventKind::kYieldRead) + c.of(EventKind::kYieldWrite));
  EXPECT_GE(c.of(EventKind::kCmpxchgLost), c.lost_exchanges);
  EXPECT_TRUE(c.of(EventKind::kPrefault) == 0 || c.prefetches != 0);
  if (name.find("full") != std::string::npos) {
    EXPECT_EQ(c.without_vm, 0u);
    EXPECT_EQ(c.report.vms, c.of(EventKind::kInitVm));
    EXPECT_EQ(c.of(EventKind::kVmConfig), c.of(EventKind::kInitVm));
  }
}

// The text alone, without side files, tells kernel, format and A/D bits.
TEST_P(Recording, IsRecognisedWithoutSideFiles) {
  FtraceOptions alone;
  alone.side_files = false;
  const auto described = open_ftrace(std::make_unique<trace::ByteStream>(path_of(GetParam())));
  const auto bare = open_ftrace(std::make_unique<trace::ByteStream>(path_of(GetParam())), alone);
  EXPECT_NE(described->info().kernel, trace::KernelVersion::kUnknown);
  EXPECT_EQ(bare->info().kernel, described->info().kernel);
  const bool ept = GetParam().find("-ept-") != std::string::npos;
  const bool no_ad = GetParam().find("-noad-") != std::string::npos;
  Event e;
  bool seen = false;
  while (!seen && bare->next(e)) {
    if (e.kind != EventKind::kMmuFormat) continue;
    seen = true;
    EXPECT_EQ(e.get(f::mmu_format::format),
              static_cast<uint64_t>(ept ? trace::SpteFormat::kEpt : trace::SpteFormat::kNpt));
    EXPECT_EQ(e.get(f::mmu_format::ad_bits), no_ad ? 0u : 1u);
    EXPECT_EQ(e.get(f::mmu_format::levels), 4u);
  }
  EXPECT_TRUE(seen);
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace_if(
      name.begin(), name.end(), [](char c) { return c == '-' || c == '.'; }, '_');
  return name;
}

INSTANTIATE_TEST_SUITE_P(Corpus, Recording, testing::ValuesIn(small_recordings()), test_name);

TEST(Recordings, ArePresent) {
  EXPECT_GE(recordings().size(), 70u);
  EXPECT_GE(small_recordings().size(), 30u);
}

// Numbers that an independent prediction of these recordings needed: yields, lost exchanges,
// collapses, tables, fault outcomes.
TEST(Recordings, InputsAgreeWithIndependentCounts) {
  struct Row {
    std::string_view name;
    uint64_t tables, collapses, yields, lost_exchanges, faultins;
  };
  constexpr Row kRows[] = {
      {"full-basic", 10, 0, 0, 0, 721},
      {"full-dirtymanual", 7, 2, 0, 0, 5},
      {"full-dirtythp", 7, 2, 1, 0, 5},
      {"full-memslot", 25, 0, 3, 0, 879},
      {"full-notifier", 6, 0, 1, 1, 21050},
      {"full-private", 8, 0, 0, 0, 321},
      {"full-twovm", 12, 0, 0, 0, 226},
      {"k72-full-dirtyinit", 7, 2, 1, 0, 3},
      {"k72-full-memslot", 19, 0, 2, 0, 709},
      {"k72-full-notifier", 6, 0, 2, 2, 23847},
      {"k72-full-private", 8, 0, 5, 0, 616},
      {"selftest-full-dirty_log_page_splitting", 16, 4, 1, 1, 58},
  };
  for (const Row& row : kRows) {
    if (!is_small(std::string(row.name))) continue;
    const Counts c = count(std::string(row.name));
    EXPECT_EQ(c.of(EventKind::kCollapseHostLevel), row.collapses) << row.name;
    EXPECT_EQ(c.of(EventKind::kYieldHere), row.yields) << row.name;
    EXPECT_EQ(c.of(EventKind::kCmpxchgLost), row.lost_exchanges) << row.name;
    EXPECT_EQ(c.of(EventKind::kFaultinRet), row.faultins) << row.name;
    EXPECT_EQ(c.of(EventKind::kNewTable), row.tables) << row.name;
  }
}

// The root causes are stimuli; what they bring about is not.
TEST(Recordings, ConsequencesAreObservations) {
  const Counts c = count("k72-full-memslot");
  for (const EventKind kind :
       {EventKind::kUnmapGfnRange, EventKind::kInvBegin, EventKind::kInvEnd, EventKind::kZapAll,
        EventKind::kMmuZapAllFast, EventKind::kInvalidateAllRoots, EventKind::kCommitMemslot,
        EventKind::kAllocRoot, EventKind::kUnmapHvaRange}) {
    EXPECT_EQ(c.stimuli.count(kind), 0u) << trace::kind_name(kind);
  }
  EXPECT_GT(c.stimuli.at(EventKind::kSetMemslot), 0u);
  EXPECT_GT(c.stimuli.at(EventKind::kPageFault), 0u);
  EXPECT_GT(c.stimuli.at(EventKind::kMmuLoad), 0u);
}

}  // namespace
}  // namespace mmucheck::import
