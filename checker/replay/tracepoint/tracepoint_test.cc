// Each rule of the tracepoint replay, by a stream that keeps it and one that just breaks it.
#include <gtest/gtest.h>

#include "checker/replay/tracepoint/test_stream.h"

namespace mmucheck::replay {
namespace {

using K = trace::EventKind;
using report::Outcome;
namespace f = trace::f;

struct Found {
  std::string id;
  uint64_t line;
  bool operator==(const Found&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Found& found) {
  return out << found.id << " at " << found.line;
}

// The first finding, or {} where the stream holds.
Found first(TestStream& s) {
  const report::Verdict v = s.run();
  if (!v.violations.empty()) return {v.violations[0].invariant, v.violations[0].place.line};
  if (!v.divergences.empty()) return {v.divergences[0].excluded_by, v.divergences[0].place.line};
  return {};
}

class Tracepoints : public testing::TestWithParam<bool> {
 protected:
  TestStream s{GetParam()};
  // The page at gfn 1 goes, then the tables.
  void tear_down(uint64_t leaf = 0x500e67) {
    s.change(1, 1, leaf, kEmpty);
    s.remove_all(true);
  }
};

INSTANTIATE_TEST_SUITE_P(Kernels, Tracepoints, testing::Bool(),
                         [](const auto& p) { return p.param ? "linux_6_12" : "linux_7_2"; });

TEST_P(Tracepoints, AFaultAndItsTearDownHold) {
  s.first_fault();
  tear_down();
  const report::Verdict v = s.run();
  EXPECT_EQ(report::outcome_of(v), Outcome::kHolds);
  EXPECT_EQ(v.spte_changes.observed, 4u + 1 + 3 * 513);
  EXPECT_EQ(v.spte_changes.inferred, v.spte_changes.observed);
  EXPECT_EQ(v.spte_changes.diverged, 0u);
  EXPECT_EQ(v.mode, report::Mode::kTracepoint);
}

TEST_P(Tracepoints, APlainRemovalChangesThePresentEntriesOnly) {
  s.first_fault();
  s.remove(0, 1, 0x103, false);
  // Put the child in its place: between prepare_zap_page and what follows.
  const size_t at = s.events.size() - (GetParam() ? 0 : 1);
  trace::Event child = s.events[s.change(1, 1, 0x500e67, s.frozen())];
  s.events.pop_back();
  s.events.insert(s.events.begin() + static_cast<std::ptrdiff_t>(at), child);
  s.remove(0, 2, 0x102, false);
  s.remove(0, 3, 0x101, false);
  EXPECT_EQ(first(s), Found{});
  // Without it a present page is left under a removed table.
  s.events.erase(s.events.begin() + static_cast<std::ptrdiff_t>(at));
  EXPECT_EQ(first(s).id, "TP-REMOVAL");
}

TEST_P(Tracepoints, OldValuesChain) {
  s.first_fault();
  const size_t at = s.change(1, 1, 0x501e67, kEmpty);
  s.remove_all(true);
  EXPECT_EQ(first(s), (Found{"TP-CHAIN", at}));
}

TEST_P(Tracepoints, HardwareSetsAccessedAndDirtyOnly) {
  s.first_fault();
  s.change(1, 1, 0x500e67, 0x500e47);  // aged
  const size_t at = s.change(1, 1, 0x500e67, kEmpty);
  s.remove_all(true);
  EXPECT_EQ(first(s), Found{});
  s.events[at].f[f::spte_changed::old_spte] = 0x500e07;  // D went away
  EXPECT_EQ(first(s), (Found{"TP-CHAIN", at}));
}

TEST_P(Tracepoints, AChangeNeedsATable) {
  s.first_fault();
  s.fault(0x40000);
  s.request(0x40000, 0x600);
  const size_t at = s.change(0x40000, 1, kEmpty, 0x600e67);
  EXPECT_EQ(first(s).id, "TP-CHAIN");
  EXPECT_EQ(first(s).line, at);
}

TEST_P(Tracepoints, AddressSpacesAndLevels) {
  s.first_fault();
  const size_t at = s.change(1, 1, 0x500e67, kEmpty);
  s.remove_all(true);
  s.events[at].f[f::spte_changed::as_id] = 2;
  EXPECT_EQ(first(s), (Found{"TP-SPACE", at}));
  s.events[at].f[f::spte_changed::as_id] = 1;
  EXPECT_EQ(first(s).id, "TP-CHAIN");
  s.events[at].f[f::spte_changed::as_id] = 0;
  s.events[at].f[f::spte_changed::level] = 5;
  EXPECT_EQ(first(s), (Found{"TP-SPACE", at}));
  s.events[at].f[f::spte_changed::level] = 2;
  EXPECT_EQ(first(s), (Found{"MMU-SPTE-ALIGN", at}));
}

TEST_P(Tracepoints, ALeafIsWhatTheFaultAskedFor) {
  for (const uint64_t wrong : {uint64_t{0x501e67}, uint64_t{0x500e66}, uint64_t{0x500c67},
                               uint64_t{0x500e67} | uint64_t{1} << 52}) {
    TestStream t(GetParam());
    t.get_page(0, 4);
    t.first_fault();
    t.fault(2);
    t.request(2, 0x500);
    const size_t at = t.change(2, 1, kEmpty, wrong);
    t.set_spte(2, wrong);
    EXPECT_EQ(first(t).line, at) << std::hex << wrong;
    EXPECT_NE(first(t).id, "TP-CHAIN");
  }
}

TEST_P(Tracepoints, APageOfTheHostMayBeReadOnlyAndAPreFaultIsNotAccessed) {
  s.first_fault();
  s.fault(2);
  s.request(2, 0x1c98);
  s.change(2, 1, kEmpty, 0x1c98825);
  s.set_spte(2, 0x1c98825);
  s.request(3, 0x700);  // no kvm_page_fault
  s.change(3, 1, kEmpty, 0x700e47);
  s.set_spte(3, 0x700e47);
  s.change(1, 1, 0x500e67, kEmpty);
  s.change(2, 1, 0x1c98825, kEmpty);
  s.change(3, 1, 0x700e47, kEmpty);
  s.remove_all(true);
  EXPECT_EQ(first(s), Found{});
}

TEST_P(Tracepoints, NothingBecomesPresentWithoutARequest) {
  s.first_fault();
  const size_t at = s.change(2, 1, kEmpty, 0x600e67);
  EXPECT_EQ(first(s), (Found{"TP-REQUEST", at}));
}

TEST_P(Tracepoints, SetSpteFollowsAndAgrees) {
  s.first_fault();
  const size_t last = s.events.size() - 1;
  tear_down();
  ASSERT_EQ(s.events[last].kind, K::kSetSpte);
  TestStream other = s;
  other.events[last].f[f::set_spte::spte] ^= 0x1000;
  EXPECT_EQ(first(other).line, last);
  other = s;
  other.events[last].f[f::set_spte::sptep] = 0x203008;
  EXPECT_EQ(first(other), (Found{"TP-TABLE", last}));
  other = s;
  other.events[last].f[f::set_spte::sptep] = 0x103010;
  EXPECT_EQ(first(other), (Found{"TP-TABLE", last}));
  other = s;
  other.events[last].f[f::set_spte::gfn] = 2;
  EXPECT_EQ(first(other), (Found{"TP-SETSPTE", last}));
  other = s;
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(last));
  EXPECT_EQ(first(other), (Found{"TP-SETSPTE", last}));
  other = s;  // the change before it is missing
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(last) - 1);
  EXPECT_EQ(first(other), (Found{"TP-CHAIN", last - 1}));
}

TEST_P(Tracepoints, ALinkNeedsItsTable) {
  s.first_fault();
  tear_down();
  const auto link = std::find_if(s.events.begin(), s.events.end(), [](const trace::Event& e) {
    return e.kind == K::kGetPage && e.get(f::get_page::level) == 2;
  });
  const auto at = static_cast<uint64_t>(link - s.events.begin());
  TestStream other = s;
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(at));
  EXPECT_EQ(first(other), (Found{"TP-LINK", at}));
  other = s;
  other.events[at + 1].f[f::spte_changed::new_spte] ^= uint64_t{1} << 9;
  EXPECT_EQ(first(other), (Found{"TP-LINK", at + 1}));
  other = s;
  other.events[at + 1].f[f::spte_changed::new_spte] = 0x101827;  // the table above it
  EXPECT_EQ(first(other), (Found{"TP-TABLE", at + 1}));
}

TEST_P(Tracepoints, ASharedRemovalChangesAllEntriesInOrder) {
  s.first_fault();
  s.change(1, 1, 0x500e67, kEmpty);
  const size_t begin = s.events.size();
  s.remove_all(true);
  TestStream other = s;
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(begin) + 100);
  EXPECT_EQ(first(other), (Found{"TP-REMOVAL", begin + 100}));
  other = s;
  std::swap(other.events[begin + 100], other.events[begin + 101]);
  EXPECT_EQ(first(other), (Found{"TP-REMOVAL", begin + 100}));
  other = s;
  other.events[begin + 100].f[f::spte_changed::new_spte] ^= 0x20;
  EXPECT_EQ(first(other).line, begin + 100);
  other = s;  // prepare_zap_page
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(begin) + GetParam());
  EXPECT_LE(first(other).line, begin + 513);
  EXPECT_NE(first(other), Found{});
}

TEST_P(Tracepoints, WalksGoUp) {
  s.first_fault();
  for (uint64_t gfn = 2; gfn < 12; gfn++) s.map(gfn, 0x600 + gfn);
  const size_t begin = s.events.size();
  for (uint64_t gfn = 2; gfn < 12; gfn++) {
    s.change(gfn, 1, (0x600 + gfn) << 12 | kLeafBits, kEmpty);
  }
  tear_down();
  EXPECT_EQ(first(s), Found{});
  std::swap(s.events[begin + 6], s.events[begin + 7]);
  EXPECT_EQ(first(s), (Found{"TP-ORDER", begin + 7}));
}

TEST_P(Tracepoints, AChangeOfAttributesPassesNoLeafOfItsRange) {
  s.first_fault();
  for (uint64_t gfn = 2; gfn < 8; gfn++) s.map(gfn, 0x600 + gfn);
  const size_t begin = s.add(K::kVmSetMemAttributes, {2, 8, 8});
  for (uint64_t gfn = 2; gfn < 8; gfn++) s.zap(gfn, 0x600 + gfn);
  s.zap(1, 0x500);
  s.remove_all(false);
  EXPECT_EQ(first(s), Found{});
  TestStream other = s;
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(begin) + 3);
  EXPECT_EQ(first(other), (Found{"TP-RANGE", begin + 3}));
  other = s;  // it is about other pages: two zaps of ranges
  other.events[begin].f[f::vm_set_mem_attributes::start] = 0x100;
  other.events[begin].f[f::vm_set_mem_attributes::end] = 0x200;
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(begin) + 3);
  EXPECT_EQ(first(other).id, "TP-REMOVAL");
}

// A TD: the mirror root's table 0x103 and the direct root's 0x203, both of gfn 0.
TEST_P(Tracepoints, AGfnIsPrivateOrShared) {
  const uint64_t shared = uint64_t{1} << 35;
  trace::Event td;
  trace::start_event(td, K::kVmConfig);
  td.set(f::vm_config::has_mirror, 1);
  td.set(f::vm_config::direct_gfn_bits, shared);
  s.events.push_back(td);
  s.first_fault();
  s.map(2, 0x600);
  s.map(3, 0x610);
  s.get_page(0, 4);
  s.fault(shared | 1);
  s.request(1, 0x700);
  for (uint64_t level = 3; level >= 1; level--) {
    s.get_page(0, level);
    s.change(0, level + 1, kEmpty, (0x204 - level) << 12 | kTableBits);
  }
  const size_t zap = s.zap(1, 0x500);  // another thread's, before
  std::rotate(s.events.end() - 8, s.events.end() - 1, s.events.end());
  s.events[zap - 7].thread = 3;
  s.change(1, 1, kEmpty, 0x700e67);
  const size_t told = s.add(K::kSetSpte, {1, 0x700e67, 1, 0x203008});
  EXPECT_EQ(first(s), Found{});
  TestStream other = s;
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(zap) - 7);
  EXPECT_EQ(first(other), (Found{"TP-PRIVATE", told - 1}));
  other = s;  // with a third root it may be another VM's
  other.get_page(0, 4, 9);
  std::rotate(other.events.begin() + 3, other.events.end() - 1, other.events.end());
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(zap) - 6);
  EXPECT_NE(first(other).id, "TP-PRIVATE");
}

TEST_P(Tracepoints, APageLeftInARemovedTableIsMissingWhereTheWalkPassedIt) {
  s.first_fault();
  for (uint64_t gfn = 2; gfn < 8; gfn++) s.map(gfn, 0x600 + gfn);
  const size_t begin = s.events.size();
  for (uint64_t gfn = 2; gfn < 8; gfn++) s.zap(gfn, 0x600 + gfn);
  s.map(0x20, 0x700);
  s.zap(0x20, 0x700);
  s.zap(1, 0x500);
  s.remove_all(false);
  EXPECT_EQ(first(s), Found{});
  s.events.erase(s.events.begin() + static_cast<std::ptrdiff_t>(begin) + 2);
  EXPECT_EQ(first(s), (Found{"TP-REMOVAL", begin + 2}));
}

TEST_P(Tracepoints, WhatAThreadDoesNextIsNotLate) {
  s.first_fault();
  s.map(2, 0x600);
  // A second map of gfn 2, and its zap only afterwards: by a thread that was in user space between.
  const size_t begin = s.events.size();
  s.map(2, 0x600, 2);
  const size_t marker = s.events.size();
  trace::Event mark;
  trace::start_event(mark, K::kMarker);
  mark.thread = 1;
  s.events.push_back(mark);
  s.zap(2, 0x600);
  s.zap(2, 0x600);
  tear_down();
  EXPECT_EQ(first(s), (Found{"TP-CHAIN", begin + 2}));
  s.events.erase(s.events.begin() + static_cast<std::ptrdiff_t>(marker));
  EXPECT_EQ(first(s), Found{});
  // Its own map does not explain itself either.
  TestStream own(GetParam());
  own.first_fault();
  own.map(2, 0x600);
  const size_t at = own.events.size();
  own.map(2, 0x600);
  own.zap(2, 0x600);
  own.zap(2, 0x600);
  own.change(1, 1, 0x500e67, kEmpty);
  own.remove_all(true);
  EXPECT_EQ(first(own), (Found{"TP-CHAIN", at + 2}));
}

TEST_P(Tracepoints, FastFaultsSetWOfAnMmuWritableLeaf) {
  s.first_fault();
  s.change(1, 1, 0x500e67, 0x500e65);
  s.fault(1);
  const size_t at = s.add(K::kFastPageFault, {0, 0x1000, 7, 0x103008, 0x500e65, 0x500e67, 0, 1});
  tear_down();
  EXPECT_EQ(first(s), Found{});
  TestStream other = s;
  other.events[at].f[f::fast_page_fault::fixed] = 0;
  EXPECT_EQ(first(other), (Found{"TP-FASTPF", at}));
  other = s;
  other.events[at].f[f::fast_page_fault::old_spte] = 0x500a25;
  EXPECT_EQ(first(other), (Found{"TP-FASTPF", at}));
  other = s;
  other.events[at].f[f::fast_page_fault::sptep] = 0x103010;
  EXPECT_EQ(first(other), (Found{"TP-TABLE", at}));
  other = s;  // nobody set W
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(at));
  EXPECT_EQ(first(other), (Found{"TP-CHAIN", at}));
}

TEST_P(Tracepoints, ASplitFillsItsTableAndSaysSo) {
  s.get_page(0, 4);
  s.fault(1);
  s.request(1, 0x601, 2);
  for (uint64_t level = 3; level >= 2; level--) {
    s.get_page(0, level);
    s.change(0, level + 1, kEmpty, (0x104 - level) << 12 | kTableBits);
  }
  s.change(0, 2, kEmpty, 0x600ee7);
  s.add(K::kSetSpte, {0, 0x600ee7, 2, 0x102000});
  s.get_page(0, 1);
  s.change(0, 2, 0x600ee7, 0x103827);
  const size_t split = s.add(K::kSplitHugePage, {0, 0x600ee7, 2, 0});
  const size_t child = s.change(7, 1, 0x607e67, 0x607e65);
  EXPECT_EQ(first(s), Found{});
  TestStream other = s;
  other.events[split].f[f::split_huge_page::err] = static_cast<uint64_t>(-12);
  EXPECT_EQ(first(other), (Found{"TP-SPLIT", split}));
  other = s;
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(split));
  EXPECT_EQ(first(other), (Found{"TP-SPLIT", split}));
  other = s;
  other.events[child].f[f::spte_changed::old_spte] = 0x608e67;
  EXPECT_EQ(first(other).line, child);
}

TEST_P(Tracepoints, ASplitHugePageShowsTheNxWorkaround) {
  const uint64_t nx = uint64_t{1} << 63;
  s.events[1].present = 0;  // nothing says whether it is on
  s.get_page(0, 4);
  s.fault(1);
  s.request(1, 0x601, 2);
  for (uint64_t level = 3; level >= 2; level--) {
    s.get_page(0, level);
    s.change(0, level + 1, kEmpty, (0x104 - level) << 12 | kTableBits);
  }
  s.change(0, 2, kEmpty, nx | 0x600ee7);
  s.add(K::kSetSpte, {0, nx | 0x600ee7, 2, 0x102000});
  s.get_page(0, 1);
  s.change(0, 2, nx | 0x600ee7, 0x103827);
  s.add(K::kSplitHugePage, {0, nx | 0x600ee7, 2, 0});
  const size_t child = s.change(7, 1, 0x607e67, 0x607e65);
  EXPECT_EQ(first(s), Found{});
  s.events[child].f[f::spte_changed::old_spte] |= nx;
  s.events[child].f[f::spte_changed::new_spte] |= nx;
  EXPECT_EQ(first(s), (Found{"TP-CHAIN", child}));
}

TEST_P(Tracepoints, MmioEntriesHoldGfnAndGeneration) {
  const uint64_t mmio = uint64_t{1} << 51 | 2 << 12 | 7 | 4 << 3;
  s.first_fault();
  s.fault(2);
  s.request(2, model::kNoslotPfn);
  const size_t at = s.change(2, 1, kEmpty, mmio);
  const size_t mark = s.add(K::kMarkMmioSpte, {0, 2, 6, 4});
  const size_t check = s.add(K::kCheckMmioSpte, {mmio, 6, 4, 0});
  EXPECT_EQ(first(s), Found{});
  TestStream other = s;
  other.events[at].f[f::spte_changed::new_spte] ^= 0x1000;
  EXPECT_EQ(first(other), (Found{"TP-MMIO", at}));
  other = s;
  other.events[mark].f[f::mark_mmio_spte::gen] = 6;
  EXPECT_EQ(first(other), (Found{"TP-MMIO", mark}));
  other = s;
  other.events[check].f[f::check_mmio_spte::valid] = 1;
  EXPECT_EQ(first(other), (Found{"TP-MMIO", check}));
}

TEST_P(Tracepoints, AnotherThreadsTracepointMayComeLate) {
  s.first_fault();
  s.map(2, 0x600, 2);
  // Thread 3 zaps the page that thread 2 maps; its event is printed first.
  s.change(2, 1, 0x600e67, kEmpty, 3);
  s.fault(2, 2);
  s.request(2, 0x600, 1, 2);
  const size_t zap = s.change(2, 1, 0x600e67, kEmpty, 3);
  const size_t map = s.change(2, 1, kEmpty, 0x600e67, 2);
  s.set_spte(2, 0x600e67, 2);
  EXPECT_EQ(first(s), Found{});
  // But not if thread 2 went on to something else in between.
  s.events.insert(s.events.begin() + static_cast<std::ptrdiff_t>(map), s.events[map - 2]);
  EXPECT_EQ(first(s), (Found{"TP-CHAIN", zap}));
}

TEST_P(Tracepoints, TwoRootsOfOneSpaceAreToldApart) {
  s.first_fault();
  // A second root: the first one is obsolete, and is zapped while the new one fills.
  s.get_page(0, 4, 2);
  s.fault(1, 2);
  s.request(1, 0x500, 1, 2);
  for (uint64_t level = 3; level >= 1; level--) {
    s.get_page(0, level, 2);
    s.change(0, level + 1, kEmpty, (0x204 - level) << 12 | kTableBits, 2);
  }
  s.change(1, 1, kEmpty, 0x500e67, 2);
  s.add(K::kSetSpte, {1, 0x500e67, 1, 0x203008}, 2);
  tear_down();
  EXPECT_EQ(first(s), Found{});
  const size_t at = s.change(1, 1, 0x500e67, kEmpty, 2);
  EXPECT_EQ(first(s), Found{});
  s.change(1, 1, 0x500e67, kEmpty, 2);  // there is no third one
  EXPECT_EQ(first(s), (Found{"TP-CHAIN", at + 1}));
}

trace::Event loss() {
  trace::Event lost;
  trace::start_event(lost, K::kLostEvents);
  lost.set(f::lost_events::count, 17);
  lost.set(f::lost_events::cpu, 1);
  lost.set(f::lost_events::how, static_cast<uint64_t>(trace::LossHow::kCounted));
  return lost;
}

TEST_P(Tracepoints, AfterALossTheHistoryIsUnknownAndTheRulesHold) {
  s.first_fault();
  s.events.push_back(loss());
  s.change(1, 1, 0x700e67, kEmpty);
  const report::Verdict v = s.run();
  EXPECT_EQ(report::outcome_of(v), Outcome::kInconclusive);
  ASSERT_EQ(v.lost.size(), 1u);
  EXPECT_EQ(v.lost[0].count, 17u);
  EXPECT_EQ(v.lost[0].cpu, 1u);
  EXPECT_EQ(v.lost[0].how, "counted");
  ASSERT_EQ(v.inconclusive.size(), 1u);
  EXPECT_NE(v.inconclusive[0].find("1 of 5 changes"), std::string::npos) << v.inconclusive[0];
  const size_t at = s.change(2, 1, 0x700e65, 0x700a67);  // W without MMU-writable
  EXPECT_EQ(first(s), (Found{"MMU-SPTE-MMUW", at}));
}

TEST_P(Tracepoints, ARemovalGoesOnBehindALoss) {
  s.first_fault();
  s.change(1, 1, 0x500e67, kEmpty);
  const auto middle = static_cast<std::ptrdiff_t>(s.events.size()) + 50;
  s.remove_all(true);
  s.events.insert(s.events.begin() + middle, loss());
  EXPECT_EQ(first(s), Found{});
  const auto at = static_cast<size_t>(middle) + 20;
  TestStream other = s;
  std::swap(other.events[at], other.events[at + 1]);
  EXPECT_EQ(first(other), (Found{"TP-REMOVAL", at}));
  other = s;
  other.events.erase(other.events.begin() + static_cast<std::ptrdiff_t>(at));
  EXPECT_EQ(first(other), (Found{"TP-REMOVAL", at}));
  other = s;
  other.events[at].f[f::spte_changed::as_id] = 1;
  EXPECT_EQ(first(other), (Found{"TP-REMOVAL", at}));
}

TEST_P(Tracepoints, ARemovalMayBeOfAFaultThatWasLost) {
  s.first_fault();
  s.change(1, 1, 0x500e67, kEmpty);
  s.events.push_back(loss());
  s.remove(0, 1, 0x103, true, 0x600ee7);
  s.add(K::kSetSpte, {0, 0x600ee7, 2, 0x102000});
  EXPECT_EQ(first(s), Found{});
}

// What else the thread told of since shows that it removes nothing that was lost.
TEST_P(Tracepoints, ATableIsNotCutOffUnremovedBehindALoss) {
  s.first_fault();
  s.change(1, 1, 0x500e67, kEmpty);
  s.events.push_back(loss());
  TestStream cut = s;
  const size_t alone = cut.change(0, 2, 0x103 << 12 | kTableBits, kEmpty);
  cut.map(3, 0x700);
  EXPECT_EQ(first(cut), GetParam() ? (Found{"TP-REMOVAL", alone + 1}) : Found{});
  s.map(2, 0x501);
  const size_t behind = s.change(0, 2, 0x103 << 12 | kTableBits, kEmpty);
  s.map(3, 0x700);
  EXPECT_EQ(first(s), (Found{"TP-REMOVAL", GetParam() ? behind + 1 : behind}));
}

TEST_P(Tracepoints, ATraceThatStopsEarlyIsInconclusive) {
  s.first_fault();
  const report::Verdict live = s.run();
  EXPECT_EQ(report::outcome_of(live), Outcome::kInconclusive);
  ASSERT_EQ(live.inconclusive.size(), 1u);
  EXPECT_NE(live.inconclusive[0].find("3 page tables are linked"), std::string::npos);
  tear_down();
  s.events.resize(s.events.size() - 600);
  const report::Verdict cut = s.run();
  EXPECT_EQ(report::outcome_of(cut), Outcome::kInconclusive);
  EXPECT_NE(cut.inconclusive[0].find("in the middle of 1 operation"), std::string::npos)
      << cut.inconclusive[0];
}

TEST_P(Tracepoints, ATraceThatStartsLateHasNoHistory) {
  s.change(0x40001, 1, 0x700e67, kEmpty);
  const report::Verdict v = s.run();
  EXPECT_TRUE(v.divergences.empty());
  EXPECT_EQ(report::outcome_of(v), Outcome::kInconclusive);
}

TEST(EntryBook, IsBounded) {
  EntryBook book;
  for (uint64_t i = 0; i < 3 * EntryBook::kMaxIdleRoots; i++) {
    book.add(0, 0, 4, -1, 0, kEmpty);
  }
  EXPECT_EQ(book.size(), EntryBook::kMaxIdleRoots);
  EXPECT_EQ(book.at(4, 0x12345).size(), EntryBook::kMaxIdleRoots);
  for (uint64_t pfn = 1; pfn <= 2000; pfn++) {
    TableRow* row = book.add(pfn, pfn << 9, 1, 0, 0, kEmpty);
    ASSERT_NE(row, nullptr);
    ASSERT_EQ(book.by_pfn(pfn), row);
    book.erase(row);
    EXPECT_EQ(book.by_pfn(pfn), nullptr);
    EXPECT_TRUE(book.erased_lately(pfn));
  }
  EXPECT_EQ(book.size(), EntryBook::kMaxIdleRoots);
  EXPECT_FALSE(book.erased_lately(1));
}

}  // namespace
}  // namespace mmucheck::replay
