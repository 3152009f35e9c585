// A recording that gives the number of a VM again before that VM was seen to end.
#include <gtest/gtest.h>

#include <initializer_list>
#include <vector>

#include "checker/replay/replay_trace.h"
#include "checker/trace/event_kinds.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::replay {
namespace {

using K = trace::EventKind;

trace::OwnedEvent packet(K kind, uint32_t thread, std::initializer_list<uint64_t> fields) {
  trace::Event e;
  trace::start_event(e, kind);
  e.vm = 1;
  e.thread = thread;
  size_t i = 0;
  for (const uint64_t v : fields) e.set(i++, v);
  return trace::OwnedEvent(e);
}

report::Verdict verdict_of(const std::vector<trace::OwnedEvent>& packets) {
  trace::TraceInfo info;
  info.encoding = "pb";
  info.kernel = trace::KernelVersion::k7_2;
  info.loss = trace::LossState::kNone;
  info.capabilities.set();
  info.capabilities_known = true;
  trace::OwnedEvents source(info, packets);
  return replay_trace(source);
}

const trace::OwnedEvent kVm = packet(K::kInitVm, 1, {0});

// A memslot that is not made yet: the thread owes kvm_commit_memory_region() and the ioctl's
// return.
trace::OwnedEvent begun(uint32_t thread) {
  return packet(K::kSetMemslot, thread, {0, 0, 0x1000, 0x1000, 0x7f0000000000});
}

TEST(ReusedNumber, AnOperationUnderWayIsAskedForItsEvents) {
  const report::Verdict v = verdict_of({kVm, begun(7), begun(7)});
  EXPECT_EQ(v.vms, 1u);
  EXPECT_EQ(v.divergences.size(), 1u);
}

TEST(ReusedNumber, TheOperationEndsWithItsVm) {
  std::vector<trace::OwnedEvent> packets;
  constexpr uint32_t kThreads = 50, kNumbers = 3;
  for (uint32_t i = 0; i < kNumbers; i++) {
    packets.push_back(kVm);
    for (uint32_t thread = 1; thread <= kThreads; thread++) packets.push_back(begun(thread));
  }
  packets.push_back(kVm);
  const report::Verdict v = verdict_of(packets);
  EXPECT_EQ(v.vms, kNumbers + 1);
  EXPECT_EQ(v.events, packets.size());
  EXPECT_TRUE(v.divergences.empty())
      << v.divergences[0].observed << ", expected " << v.divergences[0].expected;
}

}  // namespace
}  // namespace mmucheck::replay
