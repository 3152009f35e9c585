// Recordings of which some events in a row were taken away, as a ring buffer does: what may have
// been lost is found, and what was lost is never called a contradiction.
#include "checker/replay/complete/complete.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "checker/replay/replay_trace.h"
#include "tools/corrupt/lose_events.h"
#include "tools/corrupt/recording_text.h"
#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::import {
namespace {

using corrupt::Recording;
using replay::Completion;
using replay::CompletionResult;
using trace::Event;
using trace::OwnedEvent;
using K = trace::EventKind;

std::unique_ptr<FtraceSource> open(const std::string& name) {
  return open_ftrace(
      std::make_unique<trace::ByteStream>("traces/recorded/" + name + "/trace.txt.xz"), {});
}

Recording read(const std::string& name) {
  const std::string path = "traces/recorded/" + name + "/trace.txt.xz";
  return corrupt::import_recording(corrupt::read_text(path), path);
}

Recording without(const Recording& whole, size_t at, size_t count, std::vector<OwnedEvent>& gone) {
  return corrupt::lose(whole, at, count, gone);
}

CompletionResult complete(const Recording& r) {
  trace::OwnedEvents source(r.info, r.events);
  return replay::complete(source);
}

std::vector<OwnedEvent> witness(const CompletionResult& c) {
  std::vector<OwnedEvent> all;
  for (const replay::CompletedGap& g : c.gaps) {
    all.insert(all.end(), g.witness.begin(), g.witness.end());
  }
  return all;
}

struct Tally {
  int made = 0, inconsistent = 0, undetermined = 0, silent = 0, equal = 0, other = 0;
  std::map<std::string, int> missed;

  double share() const { return made == 0 ? 0 : 100.0 * (silent + equal) / made; }
  std::string text() const {
    std::string s = std::to_string(made) + " made: " + std::to_string(equal) +
                    " with what was lost, " + std::to_string(silent) +
                    " leave no mark and no witness, " + std::to_string(other) +
                    " another witness, " + std::to_string(undetermined) + " undetermined, " +
                    std::to_string(inconsistent) + " inconsistent";
    for (const auto& [what, count] : missed) s += "\n  " + std::to_string(count) + " " + what;
    return s;
  }
};

void take_away(const Recording& whole, size_t count, size_t samples, Tally& tally) {
  const size_t step = std::max<size_t>(1, whole.events.size() / samples);
  for (size_t at = step / 2; at + count + 1 < whole.events.size(); at += step) {
    std::vector<OwnedEvent> gone;
    const Recording r = without(whole, at, count, gone);
    const CompletionResult c = complete(r);
    tally.made++;
    const std::string what = std::string(trace::kind_name(gone[0].event().kind)) + " line " +
                             std::to_string(gone[0].event().source_line) + " " + name_of(c.answer) +
                             " " + c.reason + " at line " + std::to_string(c.place.line);
    if (c.answer == Completion::kInconsistent) {
      tally.inconsistent++;
      tally.missed[what]++;
    } else if (c.answer == Completion::kUndetermined) {
      tally.undetermined++;
      tally.missed[what]++;
    } else if (witness(c).empty()) {
      tally.silent++;
    } else if (corrupt::agrees(witness(c), gone)) {
      tally.equal++;
    } else {
      tally.other++;
      tally.missed[what + " other"]++;
    }
  }
}

class Gaps : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Corpus, Gaps, testing::Values("tp-basic", "tp-memslot", "k72-tp-private"),
                         [](const auto& param) {
                           std::string s = param.param;
                           std::replace(s.begin(), s.end(), '-', '_');
                           return s;
                         });

TEST_P(Gaps, OneEvent) {
  Tally tally;
  take_away(read(GetParam()), 1, 24, tally);
  std::printf("%s\n", tally.text().c_str());
  EXPECT_GT(tally.made, 20);
  EXPECT_EQ(tally.inconsistent, 0) << tally.text();
  EXPECT_GE(tally.share(), 90) << tally.text();
}

TEST_P(Gaps, TenEvents) {
  Tally tally;
  take_away(read(GetParam()), 10, 12, tally);
  std::printf("%s\n", tally.text().c_str());
  EXPECT_EQ(tally.inconsistent, 0) << tally.text();
  EXPECT_GE(tally.share(), 50) << tally.text();
}

TEST_P(Gaps, AHundredEvents) {
  Tally tally;
  take_away(read(GetParam()), 100, 3, tally);
  std::printf("%s\n", tally.text().c_str());
  EXPECT_EQ(tally.inconsistent, 0) << tally.text();
}

// What is put in replays: the recording is whole again.
TEST(Complete, TheWitnessReplays) {
  const Recording whole = read("tp-notifier");
  size_t zap = 0;
  for (size_t i = whole.events.size() / 2; i < whole.events.size() && zap == 0; i++) {
    const Event e = whole.events[i].event();
    if (e.kind == K::kSpteChanged && e.get(trace::f::spte_changed::new_spte) >> 63 != 0 &&
        e.get(trace::f::spte_changed::level) == 1) {
      zap = i;
    }
  }
  ASSERT_NE(zap, 0u);
  std::vector<OwnedEvent> gone;
  Recording r = without(whole, zap, 1, gone);
  const CompletionResult c = complete(r);
  ASSERT_EQ(c.answer, Completion::kConsistent) << c.reason << " line " << c.place.line;
  const std::vector<OwnedEvent> put_in = witness(c);
  ASSERT_EQ(put_in.size(), 1u);
  EXPECT_TRUE(corrupt::agrees(put_in, gone));
  const auto marker = std::find_if(r.events.begin(), r.events.end(), [](const OwnedEvent& e) {
    return e.event().kind == K::kLostEvents;
  });
  *marker = put_in[0];
  r.info.loss = trace::LossState::kNone;
  trace::OwnedEvents mended(r.info, r.events);
  EXPECT_EQ(report::outcome_of(replay::replay_trace(mended)), report::Outcome::kHolds);
}

// --- contradictions that no loss explains ---

namespace changed = trace::f::spte_changed;

bool is_spte_change(const Event& e) {
  return e.kind == K::kSpteChanged;
}
bool leaf(uint64_t spte) {
  return model::is_shadow_present_pte<>(spte);
}
bool zaps_leaf(const Event& e) {
  return is_spte_change(e) && e.get(changed::level) == 1 && leaf(e.get(changed::old_spte)) &&
         !leaf(e.get(changed::new_spte));
}
constexpr uint64_t kOtherPage = uint64_t{1} << 20;

// Its own values contradict each other: a leaf becomes one of another page.
bool plant_in_one_event(Recording& r, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    Event e = r.events[i].event();
    if (!zaps_leaf(e)) continue;
    e.set(changed::new_spte, e.get(changed::old_spte) ^ kOtherPage);
    r.events[i] = OwnedEvent(e);
    return true;
  }
  return false;
}

// Two events contradict each other: what one installs is not what the next on that entry finds.
bool plant_between_two_events(Recording& r, size_t from, size_t to) {
  std::map<uint64_t, uint64_t> installed;  // gfn of 4K leafs
  for (size_t i = from; i < to; i++) {
    Event e = r.events[i].event();
    if (!is_spte_change(e) || e.get(changed::level) != 1) continue;
    const auto before = installed.find(e.get(changed::gfn));
    if (zaps_leaf(e) && before != installed.end() && before->second == e.get(changed::old_spte)) {
      e.set(changed::old_spte, e.get(changed::old_spte) ^ kOtherPage);
      r.events[i] = OwnedEvent(e);
      return true;
    }
    installed.insert_or_assign(e.get(changed::gfn), e.get(changed::new_spte));
  }
  return false;
}

// Events of one thread contradict each other: what a fault installs is not the page that it asked
// for.
bool plant_in_a_fault(Recording& r, size_t from, size_t to) {
  std::map<uint32_t, bool> asked;  // by thread
  for (size_t i = from; i < to; i++) {
    Event e = r.events[i].event();
    if (e.kind == K::kSpteRequested) asked[e.thread] = true;
    if (!is_spte_change(e) || e.get(changed::level) != 1 || leaf(e.get(changed::old_spte)) ||
        !leaf(e.get(changed::new_spte)) || !asked[e.thread]) {
      continue;
    }
    e.set(changed::new_spte, e.get(changed::new_spte) ^ kOtherPage);
    r.events[i] = OwnedEvent(e);
    return true;
  }
  return false;
}

bool empties_leaf(const Event& e) {
  return zaps_leaf(e) && e.get(changed::new_spte) == model::kNonpresent;
}

// A zap is told of twice.
bool plant_a_second_zap(Recording& r, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    if (!empties_leaf(r.events[i].event())) continue;
    const OwnedEvent again = r.events[i];
    r.events.insert(r.events.begin() + static_cast<std::ptrdiff_t>(i), again);
    return true;
  }
  return false;
}

// A zap is told of in an address space that has no root.
bool plant_another_space(Recording& r, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    Event e = r.events[i].event();
    if (!empties_leaf(e)) continue;
    e.set(changed::as_id, 1);
    r.events[i] = OwnedEvent(e);
    return true;
  }
  return false;
}

// A zap is not told of.
bool plant_no_zap(Recording& r, size_t from, size_t to) {
  for (size_t i = from; i < to; i++) {
    if (!empties_leaf(r.events[i].event())) continue;
    r.events.erase(r.events.begin() + static_cast<std::ptrdiff_t>(i));
    return true;
  }
  return false;
}

size_t behind_gap(const Recording& lossy) {
  size_t last = 0;
  for (size_t i = 0; i < lossy.events.size(); i++) {
    if (lossy.events[i].event().kind == K::kLostEvents) last = i;
  }
  return last + 1;
}

// Two changes behind a gap that only two tables explain: few lost events cannot have made another
// one, unless one is being removed there; of many it is said what they must have done, or shown, or
// most of them must have done something else.
TEST_P(Gaps, ATableThatIsNotThereTakesEvents) {
  const Recording whole = read(GetParam());
  std::map<size_t, size_t> planted, found, told;  // by the number of lost events
  for (const auto plant : {plant_a_second_zap, plant_another_space}) {
    for (const size_t part : {3, 5, 7}) {
      for (const size_t count : {1, 4, 20}) {
        std::vector<OwnedEvent> gone;
        Recording r = without(whole, whole.events.size() * part / 10, count, gone);
        // What comes first behind a gap may have been stored before.
        if (!plant(r, behind_gap(r) + 10, r.events.size())) continue;
        const CompletionResult c = complete(r);
        planted[count]++;
        found[count] += c.answer == Completion::kInconsistent && c.reason == "TP-CHAIN";
        told[count] += c.answer == Completion::kConsistent ||
                       c.detail.find("lost events at least") != std::string::npos;
      }
    }
  }
  std::printf("1 lost: %zu of %zu found, 4: %zu of %zu; 20: %zu, and %zu explained, of %zu\n",
              found[1], planted[1], found[4], planted[4], found[20], told[20], planted[20]);
  EXPECT_GE(planted[1], 5u);
  EXPECT_GE(found[1] + 1, planted[1]);
  EXPECT_GE(found[4], planted[4] / 2);
  EXPECT_GE(found[20] + told[20] + 1, planted[20]);
}

// Of one lost event it is said whether there is one that explains what is planted; a zap that was
// left out may be the one that was lost, what is told of twice may not.
TEST_P(Gaps, OneLostEventIsDecided) {
  const Recording whole = read(GetParam());
  size_t planted = 0, explained = 0;
  for (const auto plant : {plant_a_second_zap, plant_another_space, plant_no_zap}) {
    for (const size_t part : {2, 3, 5, 7}) {
      std::vector<OwnedEvent> gone;
      Recording r = without(whole, whole.events.size() * part / 10, 1, gone);
      if (!plant(r, behind_gap(r) + 1, r.events.size())) continue;
      planted++;
      const CompletionResult c = complete(r);
      EXPECT_NE(c.answer, Completion::kUndetermined) << part << " " << c.reason << " " << c.detail;
      if (c.answer != Completion::kConsistent) continue;
      explained++;
      EXPECT_LE(witness(c).size(), 1u);
      EXPECT_EQ(plant, plant_no_zap) << part;
    }
  }
  std::printf("%zu planted, %zu explained by one event\n", planted, explained);
  EXPECT_GE(planted, 8u);
  EXPECT_LT(explained, planted / 2);
}

// In recordings with kprobes these tell which table a change is of, and take room in the gap.
TEST(Complete, KprobesLeaveNoRoomForAnotherTable) {
  for (const char* name : {"full-basic", "k72-full-basic", "mirror-basic-full"}) {
    const Recording whole = read(name);
    for (const auto plant : {plant_a_second_zap, plant_another_space}) {
      for (const size_t count : {1, 10}) {
        std::vector<OwnedEvent> gone;
        Recording r = without(whole, whole.events.size() / 2, count, gone);
        ASSERT_TRUE(plant(r, behind_gap(r) + 20, r.events.size())) << name;
        const CompletionResult c = complete(r);
        EXPECT_EQ(c.answer, Completion::kInconsistent) << name << " " << count << " " << c.reason;
      }
    }
  }
}

// Before anything can have been lost, what waits for another thread's tracepoint waits in vain.
TEST(Complete, WhatWasWrongBeforeTheGapStaysWrong) {
  for (const char* name : {"full-dirtymanual", "full-private", "rare-smm-full"}) {
    const Recording whole = read(name);
    Recording r = whole;
    ASSERT_TRUE(plant_no_zap(r, r.events.size() / 4, r.events.size())) << name;
    std::vector<OwnedEvent> gone;
    r = without(r, r.events.size() * 9 / 10, 10, gone);
    EXPECT_EQ(complete(r).answer, Completion::kInconsistent) << name;
  }
}

// Of one lost event that cannot be; had it been twenty, another root is the witness.
TEST(Complete, AnotherRootCanBeAWitness) {
  const Recording whole = read("tp-basic");
  std::vector<OwnedEvent> gone;
  Recording r = without(whole, whole.events.size() * 7 / 10, 1, gone);
  ASSERT_TRUE(plant_another_space(r, behind_gap(r) + 10, r.events.size()));
  const CompletionResult one = complete(r);
  EXPECT_EQ(one.answer, Completion::kInconsistent);
  EXPECT_NE(one.detail.find("1 new root"), std::string::npos) << one.detail;
  r.events[behind_gap(r) - 1].set(trace::f::lost_events::count, 20);
  const CompletionResult twenty = complete(r);
  ASSERT_EQ(twenty.answer, Completion::kConsistent) << twenty.reason << " " << twenty.detail;
  const std::vector<OwnedEvent> put_in = witness(twenty);
  EXPECT_LE(put_in.size(), 20u);
  EXPECT_TRUE(std::any_of(put_in.begin(), put_in.end(), [](const OwnedEvent& e) {
    return e.event().kind == K::kGetPage && e.event().get(trace::f::get_page::level) == 4;
  }));
}

// Before a gap of 1, 10 or 100 events, and behind it; what only another root explains, above.
TEST_P(Gaps, AContradictionOutsideIsAlwaysFound) {
  const Recording whole = read(GetParam());
  size_t planted = 0;
  for (const size_t count : {1, 10, 100}) {
    std::vector<OwnedEvent> gone;
    const Recording lossy = without(whole, whole.events.size() / 2, count, gone);
    const size_t first = whole.events.size() / 2, last = behind_gap(lossy) - 1;
    for (const bool behind : {false, true}) {
      for (const auto plant : {plant_in_one_event, plant_in_a_fault, plant_between_two_events}) {
        if (behind && plant == plant_between_two_events) continue;
        Recording r = lossy;
        if (!plant(r, behind ? last + 1 : 0, behind ? r.events.size() : first)) continue;
        const CompletionResult c = complete(r);
        EXPECT_EQ(c.answer, Completion::kInconsistent)
            << count << " lost, " << (behind ? "behind: " : "before: ") << name_of(c.answer) << " "
            << c.reason;
        planted++;
      }
    }
  }
  EXPECT_GE(planted, 12u);
}

TEST(Complete, NothingLostIsSaid) {
  EXPECT_EQ(complete(read("tp-basic")).answer, Completion::kNothingLost);
}

// What was lost happened on the CPU that lost it, between what it recorded before and behind.
TEST(Complete, WhatIsPutInHasThePlaceOfTheGap) {
  const Recording r = read("lossy-pipe-notifier");
  const CompletionResult c = complete(r);
  ASSERT_EQ(c.gaps.size(), 1u);
  ASSERT_FALSE(c.gaps[0].witness.empty());
  uint64_t last = 0, first_behind = 0;
  bool behind = false;
  for (const OwnedEvent& owned : r.events) {
    const Event e = owned.event();
    if (e.kind == K::kLostEvents) {
      behind = true;
    } else if (e.cpu == c.gaps[0].cpu && corrupt::is_recorded(owned)) {
      if (behind) {
        first_behind = e.ts_ns;
        break;
      }
      last = e.ts_ns;
    }
  }
  for (const OwnedEvent& w : c.gaps[0].witness) {
    EXPECT_EQ(w.event().cpu, c.gaps[0].cpu);
    EXPECT_GE(w.event().ts_ns, last);
    EXPECT_LE(w.event().ts_ns, first_behind);
    last = w.event().ts_ns;
  }
}

// The recordings that lost events in earnest.
TEST(Complete, LossyRecordings) {
  for (const char* name : {"lossy-live-notifier", "lossy-nooverwrite-notifier", "lossy-notifier",
                           "lossy-pipe-notifier"}) {
    const auto source = open(name);
    const CompletionResult c = replay::complete(*source);
    size_t events = 0;
    for (const replay::CompletedGap& g : c.gaps) events += g.witness.size();
    std::printf("%s: %s %s line %lu, %zu events put in, %lu replays\n", name, name_of(c.answer),
                c.reason.c_str(), c.place.line, events, c.attempts);
    EXPECT_NE(c.answer, Completion::kInconsistent) << name;
    EXPECT_NE(c.answer, Completion::kNothingLost) << name;
  }
}

}  // namespace
}  // namespace mmucheck::import
