// What must be among lost events, whatever else was: streams made by hand, where the number of lost
// events decides.
#include <gtest/gtest.h>

#include <vector>

#include "checker/replay/complete/complete.h"
#include "checker/replay/complete/lost_by_cpu.h"
#include "checker/replay/tracepoint/test_stream.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::replay {
namespace {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

constexpr uint64_t kPage = 0x600 << 12 | kLeafBits;

Event loss(uint64_t count, uint32_t cpu) {
  Event e;
  trace::start_event(e, K::kLostEvents);
  e.set(f::lost_events::count, count);
  e.set(f::lost_events::cpu, cpu);
  e.set(f::lost_events::how, static_cast<uint64_t>(trace::LossHow::kCounted));
  e.cpu = cpu;
  return e;
}

// Two tables, of gfn 0 and 512; gfn 512 is mapped. Thread 2 is on CPU 1.
class Lost : public testing::Test {
 public:
  Lost() {
    s.first_fault();
    s.zap(1, 0x500);
    s.fault(512);
    s.request(512, 0x600);
    s.get_page(512, 1);
    s.change(512, 2, kEmpty, 0x104 << 12 | kTableBits);
    map_other(kPage);
  }

  void map_other(uint64_t spte, uint32_t thread = 1) {
    s.change(512, 1, kEmpty, spte, thread);
    s.add(K::kSetSpte, {512, spte, 1, 0x104000}, thread);
  }
  // Another page is mapped where one is, by a fault of thread 2: the zap is not told of.
  void map_again() {
    s.fault(512, 2);
    s.request(512, 0x700, 1, 2);
    map_other(0x700 << 12 | kLeafBits, 2);
  }
  // `count` events of the CPU from `at` on.
  void lose(size_t at, size_t count, uint32_t cpu, size_t told = 0) {
    const auto first = s.events.begin() + static_cast<std::ptrdiff_t>(at);
    s.events.erase(first, first + static_cast<std::ptrdiff_t>(count));
    s.events.insert(s.events.begin() + static_cast<std::ptrdiff_t>(at),
                    loss(told == 0 ? count : told, cpu));
  }

  CompletionResult complete() {
    trace::TraceInfo info;
    info.kernel = trace::KernelVersion::k6_12;
    info.loss = trace::LossState::kLost;
    std::vector<trace::OwnedEvent> events;
    for (Event e : s.events) {
      if (e.kind != K::kLostEvents && e.cls != trace::PacketClass::kConfig) e.cpu = e.thread - 1;
      e.source_line = events.size() + 1;
      events.emplace_back(e);
    }
    trace::OwnedEvents source(info, events);
    return replay::complete(source);
  }

  TestStream s{true};
};

// A shared zap tells of all entries: those that the loss cuts out are counted, and leave no room.
TEST_F(Lost, ARemovalThatALossCutsTakesItsEvents) {
  const size_t removal = s.events.size();
  s.remove(0, 1, 0x103, true);
  lose(removal + 100, 40, 0);
  map_again();
  s.fault(513, 2);
  CompletionResult c = complete();
  EXPECT_EQ(c.answer, Completion::kInconsistent) << c.reason;
  s.events[removal + 100].set(f::lost_events::count, 41);
  c = complete();
  ASSERT_EQ(c.answer, Completion::kConsistent) << c.reason;
  EXPECT_EQ(c.gaps[0].witness.size(), 41u);
}

// A page that is zapped twice was mapped in between; what was lost behind explains nothing.
TEST_F(Lost, OnlyWhatWasLostBeforeExplains) {
  s.fault(513, 2);
  s.fault(1);
  const size_t gap = s.events.size();
  s.events.push_back(loss(1, 0));
  s.fault(1);
  s.fault(513, 2);
  s.zap(1, 0x500, 2);
  s.fault(513, 2);
  // A store is told of soon.
  for (uint64_t i = 0; i < kSurelyLate; i++) s.fault(1);
  EXPECT_EQ(complete().answer, Completion::kInconsistent);
  s.events.push_back(loss(100, 0));
  s.fault(1);
  s.fault(513, 2);
  EXPECT_EQ(complete().answer, Completion::kInconsistent);
  s.events[gap].set(f::lost_events::count, 10);
  const CompletionResult c = complete();
  EXPECT_EQ(c.answer, Completion::kConsistent) << c.reason;
}

TEST_F(Lost, OfTooManyCpusNothingIsSaid) {
  for (uint32_t cpu = 0; cpu <= kMaxLosingCpus; cpu++) s.events.push_back(loss(1, cpu));
  s.zap(1, 0x500, 2);
  EXPECT_EQ(complete().answer, Completion::kUndetermined);
}

TEST(LostByCpu, WhatIsToldUnderOneLockIsLostOnOneCpu) {
  using Fault = LostTogether::Fault;
  const LostTogether map{3, Fault::kMakes}, link{2, Fault::kNeeds}, root{1, Fault::kNone};
  EXPECT_TRUE(fits_cpus({5, 5}, {map, map}, 1, 4));
  EXPECT_FALSE(fits_cpus({5, 5}, {map, map}, 1, 5));
  EXPECT_FALSE(fits_cpus({5, 5}, {map, map, map}, 1, 0));
  EXPECT_TRUE(fits_cpus({6, 3}, {map, map, map}, 1, 0));
  // A root, three links and a map: a fault on either CPU is one event more than there are.
  EXPECT_TRUE(fits_cpus({10}, {root, link, link, link, map}, 1, 0));
  EXPECT_FALSE(fits_cpus({5, 5}, {root, link, link, link, map}, 1, 0));
  EXPECT_TRUE(fits_cpus({5, 5}, {root, link, link, link, map}, 0, 0));
}

}  // namespace
}  // namespace mmucheck::replay
