#include "tools/mmucheck/strip_observations.h"

#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "checker/trace/event_kinds.h"
#include "tools/mmucheck/event_text.h"

namespace mmucheck::cli {
namespace {

using trace::Event;
using trace::EventKind;

class Fixed final : public trace::EventSource {
 public:
  explicit Fixed(std::vector<Event> events) : events_(std::move(events)) {}
  bool next(Event& event) override {
    if (at_ == events_.size()) return false;
    event = events_[at_++];
    event.seq = at_;
    return true;
  }
  const trace::TraceInfo& info() const override { return info_; }

 private:
  std::vector<Event> events_;
  size_t at_ = 0;
  trace::TraceInfo info_;
};

Event event(EventKind kind, uint32_t thread, uint64_t line) {
  Event e;
  trace::start_event(e, kind);
  e.thread = thread;
  e.cpu = 1;
  e.vm = 1;
  e.source_line = line;
  e.ts_ns = line * 1000;
  return e;
}

std::vector<std::string> stripped(std::vector<Event> events) {
  StripObservations strip(std::make_unique<Fixed>(std::move(events)));
  std::vector<std::string> lines;
  for (Event e; strip.next(e);) lines.push_back(event_line(e, true));
  Event again;
  EXPECT_FALSE(strip.next(again));
  return lines;
}

TEST(StripObservations, MergesRunsOfOneThread) {
  Event change = event(EventKind::kChangedSpte, 7, 12);
  change.set(trace::f::changed_spte::gfn, 0x40000);
  Event pfn = event(EventKind::kFaultPfn, 7, 14);
  pfn.set(trace::f::fault_pfn::pfn, 0x29da);
  const auto lines = stripped({event(EventKind::kPageFault, 7, 10),
                               event(EventKind::kFaultStaleRet, 7, 11), change, pfn,
                               event(EventKind::kTdpMap, 7, 14), event(EventKind::kTdpMap, 8, 15),
                               event(EventKind::kTdpMapRet, 7, 16)});
  EXPECT_EQ(lines, (std::vector<std::string>{
                       "      1 :10               10000 cpu1 tid7 vm1 S page_fault",
                       "      2 :11               11000 cpu1 tid7 vm1 I step count=2",
                       "      3 :14               14000 cpu1 tid7 vm1 I fault_pfn pfn=29da",
                       "      4 :14               14000 cpu1 tid7 vm1 I step count=1",
                       "      5 :15               15000 cpu1 tid8 vm1 I step count=1",
                       "      6 :16               16000 cpu1 tid7 vm1 I step count=1"}));
}

TEST(StripObservations, AnotherVmOrCpuIsAnotherRun) {
  Event other_vm = event(EventKind::kFlushAll, 7, 2);
  other_vm.vm = 2;
  Event other_cpu = event(EventKind::kFlushAll, 7, 3);
  other_cpu.vm = 2;
  other_cpu.cpu = 0;
  EXPECT_EQ(stripped({event(EventKind::kFlushAll, 7, 1), other_vm, other_cpu}).size(), 3u);
}

TEST(StripObservations, KeepsWhatIsNoObservation) {
  Event marker = event(EventKind::kMarker, 7, 1);
  marker.text = "hello \x1b[31m";
  EXPECT_EQ(stripped({marker}),
            (std::vector<std::string>{
                "      1 :1                 1000 cpu1 tid7 vm1 C marker text=\"hello \\x1b[31m\""}));
  EXPECT_TRUE(stripped({}).empty());
}

TEST(StripObservations, ClassDecidesNotKind) {
  Event told = event(EventKind::kChangedSpte, 7, 1);
  told.cls = trace::PacketClass::kInput;
  EXPECT_EQ(stripped({told}),
            (std::vector<std::string>{"      1 :1                 1000 cpu1 tid7 vm1 I "
                                      "changed_spte"}));
}

}  // namespace
}  // namespace mmucheck::cli
