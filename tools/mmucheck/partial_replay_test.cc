// Replay of recordings that do not tell everything: tracepoints alone, with lost events, or with
// one probe missing. None of them is a reason to call the kernel wrong.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <string>
#include <vector>

#include "checker/replay/replay_trace.h"
#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::import {
namespace {

using report::Outcome;

std::unique_ptr<FtraceSource> open(const std::string& name, bool side_files = true) {
  FtraceOptions options;
  options.side_files = side_files;
  return open_ftrace(
      std::make_unique<trace::ByteStream>("traces/recorded/" + name + "/trace.txt.xz"), options);
}

std::vector<std::string> recordings(bool lossy) {
  std::vector<std::string> names;
  std::error_code missing;  // then the list is empty, which a test below reports
  for (const auto& entry : std::filesystem::directory_iterator("traces/recorded", missing)) {
    const std::string name = entry.path().filename().string();
    const bool tracepoints = name.starts_with("tp-") || name.starts_with("k72-tp-") ||
                             name.starts_with("pipe-") || name.ends_with("-tp");
    if (lossy ? name.starts_with("lossy-") : tracepoints) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string findings(const report::Verdict& v) {
  std::string s = std::string(report::name_of(report::outcome_of(v))) + "\n";
  for (const report::Violation& x : v.violations) {
    s += "line " + std::to_string(x.place.line) + " " + x.invariant + "\n";
  }
  for (const report::Divergence& d : v.divergences) {
    s += "line " + std::to_string(d.place.line) + " " + d.excluded_by + " " + d.observed +
         " expected " + d.expected + "\n";
  }
  for (const std::string& reason : v.inconclusive) s += reason + "\n";
  return s;
}

std::string test_name(const testing::TestParamInfo<std::string>& info) {
  std::string name = info.param;
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

class TracepointRecording : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Corpus, TracepointRecording, testing::ValuesIn(recordings(false)),
                         test_name);

// Every change has an operation that the rules allow.
TEST_P(TracepointRecording, HoldsAndHasALegalExecution) {
  const auto source = open(GetParam());
  const report::Verdict v = replay::replay_trace(*source, {}, {.execution = true});
  EXPECT_EQ(report::outcome_of(v), Outcome::kHolds) << findings(v);
  EXPECT_EQ(v.mode, report::Mode::kTracepoint);
  EXPECT_GT(v.spte_changes.observed, 700u);
  EXPECT_EQ(v.spte_changes.inferred, v.spte_changes.observed);
  EXPECT_FALSE(v.inferred.empty());
  EXPECT_LE(v.inferred.size(), 6u);
  const report::Execution& x = v.execution;
  EXPECT_TRUE(x.complete()) << (x.gaps.empty() ? "" : x.gaps.front());
  EXPECT_EQ(x.changes, v.spte_changes.observed);
  uint64_t changes = 0;
  for (const report::Operation& o : x.operations) changes += o.changes;
  EXPECT_EQ(changes, v.spte_changes.observed);
  EXPECT_LT(x.operations.size(), 2000u);
}

// A user without the files beside the text gets the same. What is not asked for is not kept.
TEST_P(TracepointRecording, HoldsWithoutSideFiles) {
  const auto source = open(GetParam(), false);
  const report::Verdict v = replay::replay_trace(*source);
  EXPECT_EQ(report::outcome_of(v), Outcome::kHolds) << findings(v);
  EXPECT_EQ(v.mode, report::Mode::kTracepoint);
  EXPECT_TRUE(v.execution.operations.empty());
}

class LossyRecording : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Corpus, LossyRecording, testing::ValuesIn(recordings(true)), test_name);

TEST_P(LossyRecording, IsInconclusiveAndSaysWhereAndHowMuch) {
  const auto source = open(GetParam());
  const report::Verdict v = replay::replay_trace(*source);
  EXPECT_EQ(report::exit_code_of(v), report::kExitInconclusive) << findings(v);
  ASSERT_FALSE(v.lost.empty());
  uint64_t count = 0;
  for (const report::Lost& l : v.lost) {
    EXPECT_FALSE(l.how.empty());
    EXPECT_TRUE(l.line != 0 || l.how == "header");
    count += l.count;
  }
  EXPECT_GE(count, 188u);
  EXPECT_EQ(v.inconclusive.size(), 1u) << findings(v);
}

// Nothing in the text itself says that the tail is missing.
TEST(Recordings, ALostTailShowsInTheTablesThatAreLeft) {
  const auto source = open("lossy-nooverwrite-notifier", false);
  const report::Verdict v = replay::replay_trace(*source);
  EXPECT_TRUE(v.lost.empty());
  EXPECT_EQ(report::exit_code_of(v), report::kExitInconclusive) << findings(v);
}

TEST(Recordings, OfTracepointsArePresent) {
  EXPECT_GE(recordings(false).size(), 17u);
  EXPECT_EQ(recordings(true).size(), 4u);
}

// The recording as it would be without one probe.
class WithoutKind : public trace::EventSource {
 public:
  WithoutKind(trace::EventSource& source, trace::EventKind kind) : source_(source), kind_(kind) {}
  bool next(trace::Event& event) override {
    while (source_.next(event)) {
      if (event.kind != kind_) return true;
    }
    info();
    return false;
  }
  const trace::TraceInfo& info() const override {
    info_ = source_.info();
    info_.capabilities.reset(static_cast<size_t>(kind_));
    return info_;
  }

 private:
  trace::EventSource& source_;
  trace::EventKind kind_;
  mutable trace::TraceInfo info_;
};

class MissingProbe : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Corpus, MissingProbe,
                         testing::Values("full-private", "full-twovm", "k72-full-thp"), test_name);

TEST_P(MissingProbe, IsNoReasonForADivergence) {
  const trace::KindSet kinds = open(GetParam())->info().capabilities;
  int probes = 0;
  for (const trace::KindInfo& kind : trace::all_kinds()) {
    if (kind.kind < trace::EventKind::kTdpMap || !kinds.test(static_cast<size_t>(kind.kind))) {
      continue;
    }
    probes++;
    const auto source = open(GetParam());
    WithoutKind without(*source, kind.kind);
    const report::Verdict v = replay::replay_trace(without);
    EXPECT_TRUE(v.violations.empty() && v.divergences.empty())
        << "without " << kind.name << ": " << findings(v);
    EXPECT_GT(v.spte_changes.observed, 400u) << kind.name;
  }
  EXPECT_GE(probes, 35);
}

std::string path_of(const std::string& name) {
  return "traces/recorded/" + name + "/trace.txt.xz";
}

// The lines of the recording that was asked for last.
const std::vector<std::string>& lines_of(const std::string& name) {
  static std::string last;
  static std::vector<std::string> lines;
  if (name == last) return lines;
  lines.clear();
  trace::ByteStream whole(path_of(name));
  for (trace::Line line; whole.next_line(line);) lines.emplace_back(line.text);
  last = name;
  return lines;
}

// The text of a recording without the lines of one event: what a user records who does not set the
// probe, and in whose kprobe_events it is not, either. Inputs that are taken from its lines are
// gone as well.
report::Verdict replay_without(const std::string& name, const std::string& event,
                               bool side_files = true, bool probe_list = false) {
  const std::string path = path_of(name);
  const std::string mark = ": " + event + ": ";
  std::string text;
  size_t dropped = 0;
  for (const std::string& line : lines_of(name)) {
    if (line.find(mark) != std::string::npos) {
      dropped++;
    } else {
      text.append(line) += '\n';
    }
  }
  EXPECT_GT(dropped, 0u) << name << " " << event;
  FtraceOptions options;
  options.side_files = side_files;
  options.probe_list = probe_list;
  const auto source = open_ftrace(trace::ByteStream::from_memory(std::move(text), path), options);
  return replay::replay_trace(*source);
}

class MissingProbeText : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Corpus, MissingProbeText,
                         testing::Values("full-basic", "full-memslotq", "full-nx",
                                         "rare-ept-pml-full", "rare-k612-1g-full",
                                         "rare-nested-full", "rare-zapgfn-full"),
                         test_name);

TEST_P(MissingProbeText, IsNoReasonForADivergence) {
  const trace::KindSet kinds = open(GetParam())->info().capabilities;
  int probes = 0;
  for (const trace::KindInfo& kind : trace::all_kinds()) {
    if (kind.kind < trace::EventKind::kTdpMap || !kinds.test(static_cast<size_t>(kind.kind))) {
      continue;
    }
    probes++;
    const report::Verdict v = replay_without(GetParam(), std::string(kind.kernel_name));
    EXPECT_TRUE(v.violations.empty() && v.divergences.empty())
        << "without " << kind.name << ": " << findings(v);
  }
  EXPECT_GE(probes, 25);
}

class MissingTracepoint : public testing::TestWithParam<std::string> {};
INSTANTIATE_TEST_SUITE_P(Corpus, MissingTracepoint,
                         testing::Values("k72-tp-dirtythp", "k72-tp-private", "mirror-busy-tp",
                                         "mirror-guest-tp", "rare-race-tp", "tp-memslot",
                                         "tp-private", "full-nx", "k72-full-thp",
                                         "mirror-convert-full", "rare-slots-full"),
                         test_name);

// What a fault asked for, what a zap began, what was mended in place: none of it is judged then.
TEST_P(MissingTracepoint, IsNoReasonForADivergence) {
  int left_out = 0;
  for (const char* event : {"fast_page_fault", "kvm_mmu_get_page", "kvm_mmu_prepare_zap_page",
                            "kvm_mmu_set_spte", "kvm_mmu_split_huge_page", "kvm_mmu_spte_requested",
                            "kvm_page_fault", "kvm_unmap_hva_range"}) {
    const std::string mark = ": " + std::string(event) + ": ";
    const std::vector<std::string>& lines = lines_of(GetParam());
    if (std::none_of(lines.begin(), lines.end(), [&](const std::string& line) {
          return line.find(mark) != std::string::npos;
        })) {
      continue;
    }
    left_out++;
    const report::Verdict v = replay_without(GetParam(), event);
    EXPECT_TRUE(v.violations.empty() && v.divergences.empty())
        << "without " << event << ": " << findings(v);
  }
  EXPECT_GE(left_out, 5);
}

// Each of these lacked a rule once: what the absence makes the model not see comes up in these
// recordings only.
TEST(MissingProbeOf, OneRecording) {
  const std::pair<const char*, const char*> cases[] = {
      {"rare-ept-noad-smm-full", "cmpxchg_spte_ret"},
      {"rare-fail-full", "soft_ad"},
      {"rare-k612-race-full", "alloc_root_ret"},
      {"rare-k612-race-full", "soft_exit"},
      {"rare-k612-race-full", "zap_collapsible"},
      {"rare-nxrec-full", "zap_nx"},
      {"rare-nxrec-full", "yield_read"},
      {"rare-race-full", "iter_restart"},
      {"rare-slots-full", "set_mem_attr_ret"},
      {"rare-yield-full", "commit_memslot"},
      {"rare-young-full", "test_age_range"},
      {"rare-young-full", "test_age_range_ret"},
      {"rare-zaprace-full", "yield_read"}};
  for (const auto& [name, event] : cases) {
    const report::Verdict v = replay_without(name, event);
    EXPECT_TRUE(v.violations.empty() && v.divergences.empty())
        << name << " without " << event << ": " << findings(v);
  }
}

// The list beside the recording tells that the hook was probed.
TEST(SilentHook, IsMissed) {
  const report::Verdict v = replay_without("rare-ring-full", "mock_release_hkid", true, true);
  ASSERT_EQ(v.divergences.size(), 1u) << findings(v);
  EXPECT_EQ(v.divergences[0].expected, "mock_release_hkid");
  EXPECT_EQ(v.divergences[0].operation.rfind("destroy_vm ", 0), 0u) << v.divergences[0].operation;
  EXPECT_EQ(v.spte_changes.predicted, v.spte_changes.observed);
}

// Whatever the list says, the probe did not work.
TEST(SilentHook, ThatWasMissedMoreThanOnce) {
  const report::Verdict v = replay_without("rare-zapgfn-full", "mock_release_hkid", true, true);
  EXPECT_EQ(report::outcome_of(v), Outcome::kHolds) << findings(v);
}

// tdp_map and meta.txt are what tells that the NX workaround is on.
TEST(MissingProbeOf, ASettingThatNothingElseTells) {
  const report::Verdict v = replay_without("full-nx", "tdp_map", false);
  EXPECT_EQ(report::outcome_of(v), Outcome::kHolds) << findings(v);
}

// These do not only not blame the kernel: the model needs nothing of the probe.
TEST(MissingProbeOf, WhatTheModelCanDoWithout) {
  const std::pair<const char*, const char*> cases[] = {{"full-memslotq", "unmap_gfn_range"},
                                                       {"rare-fail-full", "soft_ad"},
                                                       {"rare-slots-full", "set_mem_attr_ret"}};
  for (const auto& [name, event] : cases) {
    const report::Verdict v = replay_without(name, event);
    EXPECT_EQ(report::outcome_of(v), Outcome::kHolds) << name << " " << event << findings(v);
    EXPECT_EQ(v.mode, report::Mode::kFull) << name << " " << event;
  }
}

}  // namespace
}  // namespace mmucheck::import
