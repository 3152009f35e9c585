// What belongs together in a recording, what a corruption does to it, and where a finding counts as
// near.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>
#include <string>

#include "tools/corrupt/corruption.h"
#include "tools/corrupt/execution_check.h"
#include "tools/corrupt/line_edit.h"
#include "tools/corrupt/measure.h"
#include "tools/corrupt/measure_lost.h"

namespace mmucheck::corrupt {
namespace {

constexpr const char* kFull = "traces/recorded/full-private/trace.txt.xz";
constexpr const char* kRace = "traces/recorded/rare-race-full/trace.txt.xz";
constexpr const char* kTd = "traces/recorded/mirror-busy-full/trace.txt.xz";
constexpr const char* kTracepoints = "traces/recorded/k72-tp-private/trace.txt.xz";

const std::string kMapped =
    " kvm-72 [003] ...1.  2.578540: cmpxchg_spte: (a+0x0/0xc0) kvm=0x1 iter=0x2 sptep=0x3 "
    "gfn=0x40005 level=1 old=0x8000000000000000 new=0x9ab867\n"
    " kvm-72 [003] ...1.  2.578582: cmpxchg_spte_ret: (a+0xbd/0x1a0 <- b) ret=0\n"
    " kvm-73 [002] ...1.  2.578583: kvm_tdp_mmu_spte_changed: as id 0 gfn 40005 level 1 old_spte "
    "8000000000000000 new_spte 9ab867\n"
    " kvm-72 [003] ...1.  2.578584: changed_spte: (c+0x0/0x4f0) kvm=0x1 sp=0x4 spt=0x5 role=0x6f81 "
    "gfn=0x40000 refs=0 pgfn=0x40005 old=0x8000000000000000 new=0x9ab867 level=1 shared=1\n"
    " kvm-72 [003] ...1.  2.578587: kvm_tdp_mmu_spte_changed: as id 0 gfn 40005 level 1 old_spte "
    "8000000000000000 new_spte 9ab867\n"
    " kvm-72 [003] ...1.  2.578588: kvm_mmu_set_spte: gfn 40005 spte 9ab867 (rwxu) level 1 "
    "at 9aa028\n";

TEST(LineEdit, ReplacesTheNumberAndNothingElse) {
  std::string line = " x: gfn=0x10 pgfn=0x11 level=2 old_spte ff end -7";
  EXPECT_EQ(number_after(line, " pgfn=", Base::kHex0x), 0x11u);
  EXPECT_EQ(number_after(line, " old_spte ", Base::kHex), 0xffu);
  EXPECT_EQ(number_after(line, " level=", Base::kHex0x), std::nullopt);
  EXPECT_EQ(argument(line, " end "), -7);
  EXPECT_TRUE(replace_number(line, " gfn=", Base::kHex0x, 0x1234));
  EXPECT_TRUE(replace_argument(line, " end ", 12));
  EXPECT_FALSE(replace_number(line, " missing=", Base::kDec, 1));
  EXPECT_EQ(line, " x: gfn=0x1234 pgfn=0x11 level=2 old_spte ff end 12");
}

TEST(RecordingText, AChangeHasAllItsLinesAndNoOther) {
  const RecordingText recording(kMapped);
  ASSERT_EQ(recording.changes().size(), 2u);  // thread 73 tells one of its own
  const Change& own = recording.changes()[1];
  EXPECT_EQ(own.lines(), (std::vector<size_t>{0, 1, 3, 4, 5}));
  EXPECT_EQ(own.gfn, 0x40005u);
  EXPECT_EQ(own.new_spte, 0x9ab867u);
}

TEST(RecordingText, EveryChangeOfARecordingHasItsTracepoint) {
  for (const char* path : {kFull, kRace}) {
    const RecordingText recording(read_text(path));
    size_t lines = 0, told = 0;
    for (const TextLine& line : recording.lines()) {
      lines += line.columns.event == "kvm_tdp_mmu_spte_changed" ? 1 : 0;
    }
    for (const Change& change : recording.changes()) told += change.tracepoint != kNoLine ? 1 : 0;
    EXPECT_EQ(told, lines) << path;
    EXPECT_EQ(recording.changes().size(), lines) << path;
  }
}

TEST(Corruption, SameSeedSameBytesOtherSeedOtherPlace) {
  const RecordingText recording(read_text(kFull));
  const Corrupter corrupter(recording);
  for (Class cls : kCommonClasses) {
    ASSERT_GT(corrupter.places(cls), 0u) << name_of(cls);
    std::set<size_t> places;
    for (uint64_t seed = 1; seed <= 20; ++seed) {
      const auto a = corrupter.make(seed, cls), b = corrupter.make(seed, cls);
      ASSERT_TRUE(a && b);
      const CorruptedText text = corrupt::apply(recording, {*a});
      EXPECT_EQ(text.text, corrupt::apply(recording, {*b}).text) << name_of(cls);
      EXPECT_NE(text.text, corrupt::apply(recording, {}).text) << name_of(cls) << " " << seed;
      places.insert(a->first_line());
    }
    EXPECT_GT(places.size(), 3u) << name_of(cls);
  }
}

TEST(Corruption, AnAlteredChangeIsStillOneChangeToldAlike) {
  const RecordingText recording(read_text(kRace));
  const Corrupter corrupter(recording);
  for (Class cls : {Class::kFlipBit, Class::kPfn, Class::kLevel, Class::kGfn, Class::kAsId}) {
    for (uint64_t seed = 1; seed <= 10; ++seed) {
      const auto one = corrupter.make(seed, cls);
      ASSERT_TRUE(one);
      const CorruptedText text = corrupt::apply(recording, {*one});
      const RecordingText after(text.text);
      EXPECT_EQ(text.original.size(), recording.lines().size());
      ASSERT_EQ(after.changes().size(), recording.changes().size()) << name_of(cls) << seed;
      size_t different = 0;
      for (size_t i = 0; i < after.changes().size(); ++i) {
        const Change &x = recording.changes()[i], &y = after.changes()[i];
        EXPECT_EQ(x.lines(), y.lines()) << name_of(cls) << " " << seed;
        different += x.gfn != y.gfn || x.level != y.level || x.new_spte != y.new_spte ||
                             x.as_id != y.as_id
                         ? 1
                         : 0;
      }
      EXPECT_EQ(different, 1u) << name_of(cls) << " " << seed;
    }
  }
}

TEST(Corruption, DropAndDoubleCountLines) {
  const RecordingText recording(kMapped);
  const Corrupter corrupter(recording);
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    const auto dropped = corrupter.make(seed, Class::kDrop);
    const auto twice = corrupter.make(seed, Class::kDouble);
    ASSERT_TRUE(dropped && twice);
    const size_t lines = dropped->edits.size();
    EXPECT_TRUE(lines == 5 || lines == 1);
    EXPECT_EQ(corrupt::apply(recording, {*dropped}).original.size(), 6 - lines);
    const CorruptedText doubled = corrupt::apply(recording, {*twice});
    EXPECT_EQ(std::count(doubled.text.begin(), doubled.text.end(), '\n'),
              static_cast<std::ptrdiff_t>(doubled.original.size()));
    EXPECT_GT(doubled.original.size(), 6u);
  }
}

TEST(Corruption, TracepointsAloneHaveEveryClassButResults) {
  const RecordingText recording(read_text(kTracepoints));
  const Corrupter corrupter(recording);
  for (Class cls : kCommonClasses) {
    EXPECT_EQ(corrupter.places(cls) > 0, cls != Class::kResult) << name_of(cls);
  }
}

TEST(Corruption, OfATdOnlyWhereThereIsOne) {
  const RecordingText plain(read_text(kFull)), td(read_text(kTd));
  const Corrupter without(plain), with(td);
  for (Class cls : kAllClasses) {
    EXPECT_GT(with.places(cls), 0u) << name_of(cls);
    EXPECT_TRUE(cls <= Class::kResult || without.places(cls) == 0) << name_of(cls);
    const auto a = with.make(7, cls), b = with.make(7, cls);
    ASSERT_TRUE(a && b);
    ASSERT_FALSE(a->edits.empty()) << name_of(cls);
    EXPECT_EQ(corrupt::apply(td, {*a}).text, corrupt::apply(td, {*b}).text) << name_of(cls);
  }
}

TEST(RecordingText, AChangeOfAMirrorEntryHasItsHook) {
  const RecordingText td(read_text(kTd));
  size_t with_exchange = 0, with_call = 0;
  for (const Change& change : td.changes()) {
    if (change.hook.empty()) continue;
    with_exchange += change.cmpxchg != kNoLine ? 1 : 0;
    const std::string_view first = td.lines()[change.hook.front()].columns.event;
    const std::string_view last = td.lines()[change.hook.back()].columns.event;
    EXPECT_TRUE(first == "mock_set_external" || first == "mock_free_external");
    with_call += last == "mock_set_external_ret" ? 1 : 0;
  }
  EXPECT_EQ(with_call, 344u);      // 275 succeed, 69 are BUSY
  EXPECT_EQ(with_exchange, 208u);  // those under the read lock
}

// Each was believed once: BUSY without anybody inside, a refused call left out, the wrong half.
TEST(Noticed, WhatOnlyTheTdShows) {
  Measurement measurement;
  measure(kTd, 1, 3, true, measurement);
  for (Class cls : kAllClasses) {
    if (cls <= Class::kResult) continue;
    const Row& row = measurement.rows.at(cls);
    EXPECT_EQ(row.noticed, row.made) << name_of(cls);
  }
}

TEST(Nearness, AtTheLineNextOnTheThreadOrFar) {
  const RecordingText recording(read_text(kFull));
  const Corrupter corrupter(recording);
  const auto one = corrupter.make(3, Class::kGfn);
  ASSERT_TRUE(one);
  const CorruptedText text = corrupt::apply(recording, {*one});
  EXPECT_EQ(nearness_of(recording, *one, text, one->first_line() + 1), Nearness::kAt);
  size_t next = one->last_line() + 1;
  const uint64_t thread = recording.lines()[one->first_line()].thread;
  while (recording.lines()[next].thread != thread) ++next;
  EXPECT_EQ(nearness_of(recording, *one, text, next + 1), Nearness::kNextOnThread);
  EXPECT_EQ(nearness_of(recording, *one, text, recording.lines().size()), Nearness::kLater);
  EXPECT_EQ(nearness_of(recording, *one, text, 14), Nearness::kEarlier);
}

// A result is told by one line; in a recording with probes as in one without.
TEST(RecordingText, FastFaultsAndSplitsHaveResultsToo) {
  const RecordingText recording(read_text(kRace));
  std::set<std::string_view> events;
  for (size_t line : recording.results()) events.insert(recording.lines()[line].columns.event);
  for (const char* event : {"tdp_map_ret", "faultin_ret", "fault_stale_ret", "set_memslot_ret",
                            "cmpxchg_spte_ret", "fast_page_fault", "kvm_mmu_split_huge_page"}) {
    EXPECT_TRUE(events.contains(event)) << event;
  }
}

// Probes that these recordings lack because nothing of the kind happened explain none of it.
TEST(Noticed, ADroppedZapWhateverElseTheRecordingLacks) {
  const std::pair<const char*, size_t> zaps[] = {
      {"full-memslotq", 1482},  {"full-memslotq", 2654},   {"full-memslotq", 2690},
      {"full-private", 6517},   {"full-smp4-private-xkvm", 7205},
      {"rare-ring-full", 22905}, {"rare-zapgfn-full", 7374}};
  for (const auto& [name, line] : zaps) {
    const std::string path = "traces/recorded/" + std::string(name) + "/trace.txt.xz";
    const RecordingText recording(read_text(path));
    const auto zap = std::find_if(recording.zaps().begin(), recording.zaps().end(),
                                  [at = line - 1](const Zap& z) { return z.lines.front() == at; });
    ASSERT_NE(zap, recording.zaps().end()) << name << " " << line;
    for (const bool with_flush : {false, true}) {
      Corruption one;
      for (size_t at : zap->lines) one.edits.push_back({Edit::Kind::kDelete, at, {}});
      if (with_flush && zap->flush == kNoLine) continue;
      if (with_flush) one.edits.push_back({Edit::Kind::kDelete, zap->flush, {}});
      const report::Verdict v = replay_text(corrupt::apply(recording, {one}).text, path);
      EXPECT_EQ(report::outcome_of(v), report::Outcome::kDiverged) << name << " " << line;
    }
  }
}

// kvm_arch_vcpu_ioctl_run() returns an error of a fault; the guest does not just fault again.
TEST(Noticed, AFaultThatFailedWithoutAnExit) {
  const std::pair<const char*, size_t> faults[] = {
      {"full-notifier", 27438}, {"k72-full-basic", 14890}, {"rare-young-full", 37620}};
  for (const auto& [name, line] : faults) {
    const std::string path = "traces/recorded/" + std::string(name) + "/trace.txt.xz";
    const RecordingText recording(read_text(path));
    std::string text(recording.lines()[line - 1].text);
    ASSERT_TRUE(replace_argument(text, " ret=", -14)) << name << " " << line;
    Corruption one;
    one.edits.push_back({Edit::Kind::kReplace, line - 1, text});
    const report::Verdict v = replay_text(corrupt::apply(recording, {one}).text, path);
    EXPECT_EQ(report::outcome_of(v), report::Outcome::kDiverged) << name << " " << line;
  }
}

TEST(Nearness, WhatIsAboutTheEntryIsNear) {
  const RecordingText recording(read_text(kTracepoints));
  // A page that goes, and the removal of its table at the end.
  const std::vector<Change>& changes = recording.changes();
  const auto last = std::find_if(changes.rbegin(), changes.rend(),
                                 [](const Change& c) { return c.level == 1; });
  ASSERT_NE(last, changes.rend());
  Corruption dropped;
  dropped.edits.push_back({Edit::Kind::kDelete, last->tracepoint, {}});
  const CorruptedText text = corrupt::apply(recording, {dropped});
  size_t removal = last->tracepoint;
  while (recording.lines()[removal].columns.event != "kvm_mmu_prepare_zap_page" ||
         recording.lines()[removal].text.find(" l1 ") == std::string_view::npos) {
    ++removal;
  }
  EXPECT_TRUE(is_near(nearness_of(recording, dropped, text, removal)));
}

TEST(Execution, AccountsForARecordingAndOnlyForThat) {
  const std::string text = read_text(kTracepoints);
  const RecordingText recording(text);
  const report::Execution x = replay_text(text, kTracepoints).execution;
  EXPECT_EQ(accounts_for(x, recording), "");
  report::Execution other = x;
  other.gaps.push_back("a gap");
  EXPECT_EQ(accounts_for(other, recording), "a gap");
  other = x;
  other.operations.pop_back();
  EXPECT_NE(accounts_for(other, recording).find("stands in no operation"), std::string::npos);
  other = x;
  other.operations[1].changes++;
  EXPECT_NE(accounts_for(other, recording).find("changes and not"), std::string::npos);
  other = x;
  other.operations[1].ranges.back().first_gfn += uint64_t{1} << 30;
  EXPECT_NE(accounts_for(other, recording).find("none of the ranges"), std::string::npos);
  other = x;
  other.operations.push_back(other.operations.back());
  EXPECT_NE(accounts_for(other, recording).find("two operations"), std::string::npos);
  // Another recording's changes are not in it.
  const Corrupter corrupter(recording);
  const auto space = corrupter.make(1, Class::kAsId);
  ASSERT_TRUE(space);
  const CorruptedText moved = corrupt::apply(recording, {*space});
  EXPECT_NE(accounts_for(x, RecordingText(moved.text)), "");
}

TEST(Measure, AnUnmapThatChangedNothingLeavesALegalExecution) {
  Measurement measurement;
  measure(kTracepoints, 1, 6, true, measurement);
  const Row& row = measurement.rows.at(Class::kDropZap);
  EXPECT_GT(row.legal, 0u);
  EXPECT_EQ(row.legal + row.noticed, row.made);
}

// Beside a gap of one event everything is decided, and what is only lost is no contradiction.
TEST(Measure, OneLostEventIsDecided) {
  LostMeasurement measurement;
  measure_lost(kTracepoints, 1, 3, false, measurement);
  measure_lost("traces/recorded/lossy-notifier/trace.txt.xz", 1, 3, false, measurement);
  EXPECT_EQ(measurement.recordings, 1u);
  EXPECT_EQ(measurement.unusable.size(), 1u);
  EXPECT_GE(measurement.alone.made, 2u);
  EXPECT_EQ(measurement.alone.inconsistent, 0u);
  LostBeside all;
  for (const auto* side : {&measurement.before, &measurement.behind}) {
    for (const auto& [cls, n] : *side) all += n;
  }
  EXPECT_GE(all.made, 15u);
  EXPECT_EQ(all.undetermined, 0u) << to_text(measurement);
  EXPECT_GE(all.inconsistent * 10, all.made * 8) << to_text(measurement);
  EXPECT_EQ(all.inconsistent + all.explained + all.unmarked, all.made);
  EXPECT_EQ(measurement.cases.size(),
            all.explained + all.unmarked + measurement.alone.undetermined);
}

TEST(Measure, CountsWhatItMakesAndLeavesOutWhatDoesNotHold) {
  Measurement measurement;
  measure("traces/recorded/full-thp/trace.txt.xz", 1, 3, true, measurement);
  EXPECT_EQ(measurement.recordings, 1u);
  EXPECT_EQ(measurement.rows.size(), std::size(kCommonClasses));
  uint64_t made = 0, noticed = 0;
  for (const auto& [cls, row] : measurement.rows) {
    EXPECT_EQ(row.made, 3u) << name_of(cls);
    made += row.made;
    noticed += row.noticed;
  }
  EXPECT_EQ(measurement.unnoticed.size(), made - noticed);
  EXPECT_GE(noticed * 100, made * 80);
  measure("traces/recorded/lossy-notifier/trace.txt.xz", 1, 3, true, measurement);
  EXPECT_EQ(measurement.recordings, 1u);
  EXPECT_EQ(measurement.unusable.size(), 1u);
}

}  // namespace
}  // namespace mmucheck::corrupt
