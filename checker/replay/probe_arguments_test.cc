// A recording whose probes lack an argument that the model takes from them.
#include "checker/replay/probe_arguments.h"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <utility>
#include <vector>

#include "checker/replay/replay_trace.h"
#include "checker/trace/event_kinds.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::replay {
namespace {

using K = trace::EventKind;
namespace f = trace::f;

using Fields = std::initializer_list<std::pair<size_t, uint64_t>>;

trace::Event packet(K kind, Fields fields) {
  trace::Event e;
  trace::start_event(e, kind);
  e.vm = 1;
  e.thread = 7;
  for (const auto& [field, value] : fields) e.set(field, value);
  return e;
}

report::Verdict verdict_of(std::initializer_list<trace::Event> events) {
  trace::TraceInfo info;
  info.encoding = "pb";
  info.kernel = trace::KernelVersion::k7_2;
  info.loss = trace::LossState::kNone;
  info.capabilities.set();
  info.capabilities_known = true;
  std::vector<trace::OwnedEvent> packets;
  for (const trace::Event& e : events) packets.emplace_back(e);
  trace::OwnedEvents source(info, packets);
  return replay_trace(source);
}

trace::Event set_memslot() {
  namespace x = f::set_memslot;
  return packet(K::kSetMemslot, {{x::slot, 0}, {x::mflags, 0}, {x::gpa, 0x1000},
                                 {x::size, 0x1000}, {x::hva, 0x7f0000000000}});
}
trace::Event without(trace::Event e, size_t field) {
  e.present &= ~(uint32_t{1} << field);
  e.f[field] = 0;
  return e;
}
const trace::Event kVm = packet(K::kInitVm, {{f::init_vm::vm_type, 0}});
const trace::Event kCommit = packet(K::kCommitMemslot, {{f::commit_memslot::change, 0}});
const trace::Event kFailed =
    packet(K::kSetMemslotRet, {{f::set_memslot_ret::ret, static_cast<uint64_t>(-22)}});

TEST(ProbeArguments, WhatIsNotAsExpectedDivergesWhereTheArgumentIsThere) {
  const report::Verdict v = verdict_of({kVm, set_memslot(), kFailed});
  EXPECT_EQ(report::outcome_of(v), report::Outcome::kDiverged);
}

TEST(ProbeArguments, AnArgumentThatNoEventHasLeavesItOpen) {
  // Of size 0, which is not there: the model expects the slot to be refused.
  const report::Verdict v = verdict_of({kVm, without(set_memslot(), f::set_memslot::size), kCommit});
  EXPECT_EQ(report::outcome_of(v), report::Outcome::kInconclusive);
  ASSERT_EQ(v.inconclusive.size(), 1u);
  EXPECT_NE(v.inconclusive[0].find("set_memslot.size"), std::string::npos) << v.inconclusive[0];
}

TEST(ProbeArguments, OneEventWithItShowsThatItIsRecorded) {
  const trace::Event no_size = without(set_memslot(), f::set_memslot::size);
  const report::Verdict v = verdict_of({kVm, no_size, kCommit, set_memslot()});
  EXPECT_EQ(report::outcome_of(v), report::Outcome::kDiverged);
}

TEST(ProbeArguments, WhatIsOnlyComparedMayBeMissing) {
  ProbeArguments arguments;
  arguments.saw(without(packet(K::kZapRoot, {{f::zap_root::spt_pfn, 1}}), f::zap_root::refs));
  EXPECT_EQ(arguments.missing(), "");
}

TEST(ProbeArguments, TheGfnOfATableIsNotThatOfAnEntry) {
  namespace x = f::changed_spte;
  const trace::Event of_6_12 =
      packet(K::kChangedSpte, {{x::gfn, 1}, {x::level, 1}, {x::old_spte, 0}, {x::new_spte, 0}});
  ProbeArguments arguments;
  arguments.saw(of_6_12);
  EXPECT_EQ(arguments.missing(), "");
  trace::Event of_7_2 = of_6_12;
  of_7_2.set(x::role, 0x6f81);
  arguments.saw(of_7_2);
  EXPECT_EQ(arguments.missing(), "changed_spte.table_gfn");
  of_7_2.set(x::table_gfn, 0);
  arguments.saw(of_7_2);
  EXPECT_EQ(arguments.missing(), "");
}

TEST(ProbeArguments, ARecordingWithMirrorRootsNeedsMore) {
  const trace::Event map = [] {
    namespace x = f::tdp_map;
    trace::Event e = packet(K::kTdpMap, {});
    for (size_t i = 0; i < x::kCount; i++) e.set(i, 0);
    e.vm = 0;
    return e;
  }();
  ProbeArguments arguments;
  arguments.saw(map);
  EXPECT_EQ(arguments.missing(), "");
  arguments.saw(packet(K::kMockSetExternal, {}));
  EXPECT_EQ(arguments.missing(), "tdp_map.kvm");
}

}  // namespace
}  // namespace mmucheck::replay
