// Violating traces of the corpus, padded with what has nothing to do with it, come back small.
#include "checker/shrink/shrink.h"

#include <gtest/gtest.h>

#include "checker/replay/replay_trace.h"
#include "checker/trace/event_kinds.h"
#include "checker/trace/test_files.h"

namespace mmucheck::shrink {
namespace {

using K = trace::EventKind;

// Another VM, another slot, other faults, another thread.
constexpr const char* kNoise = R"(
packet { vm: 9 vm_create {} }
packet { vm: 9 thread: 7 memslot_create { slot: 1 base_gfn: 0x100 npages: 0x40 } }
packet { vm: 9 thread: 7 vcpu_create {} }
packet { vm: 9 thread: 7 root_load {} }
packet { memslot_create { slot: 7 base_gfn: 0x80000 npages: 0x1000 } }
packet { vm: 9 thread: 7 fault { gfn: 0x110 write: true } }
packet { vm: 9 thread: 7 fault { gfn: 0x111 write: true } }
packet { vm: 9 thread: 7 cpu: 3 fault { gfn: 0x112 write: true pfn: 0x7000 } }
packet { marker { text: "noise" } }
packet { vm: 9 thread: 7 zap_leafs_op { start: 0x111 end: 0x112 } }
packet { memslot_flags { slot: 7 flags: 1 } }
packet { vm: 9 thread: 7 vcpu_destroy {} }
packet { vm: 9 thread: 7 vm_destroy {} }
)";

struct Violating {
  const char* file;
  const char* invariant;
  std::vector<K> left;
};

trace::TraceInfo g_info;

Packets packets_of(const std::string& text) {
  const auto source = trace::opened(text);
  Packets packets;
  for (trace::Event e; source->next(e);) {
    if (e.kind != K::kExpect) packets.emplace_back(e);
  }
  g_info = source->info();
  return packets;
}

// Behind the line that loads a root: nothing is under way there.
std::string padded(const std::string& file) {
  const std::string text = trace::slurp(file);
  const size_t at = text.find('\n', text.find("root_load")) + 1;
  return text.substr(0, at) + kNoise + text.substr(at);
}

bool breaks(const Packets& packets, const std::string& invariant) try {
  trace::OwnedEvents source(g_info, packets);
  const report::Verdict v = replay::replay_trace(source);
  return !v.violations.empty() && v.violations[0].invariant == invariant && v.inconclusive.empty();
} catch (const trace::TraceError&) {
  return false;
}

std::vector<K> kinds_of(const Packets& packets) {
  std::vector<K> kinds;
  for (const trace::OwnedEvent& p : packets) kinds.push_back(p.event().kind);
  return kinds;
}

std::string text_of(const Packets& packets) {
  std::vector<trace::Event> events;
  for (const trace::OwnedEvent& p : packets) events.push_back(p.event());
  return trace::written("small.txtpb", g_info, events);
}

class Shrinks : public testing::TestWithParam<Violating> {};

TEST_P(Shrinks, ToWhatTheViolationNeeds) {
  const Violating& v = GetParam();
  const Packets all = packets_of(padded(v.file));
  const Fails fails = [&](const Packets& p) { return breaks(p, v.invariant); };
  ASSERT_TRUE(fails(all));
  const Shrunk small = shrink(all, fails);
  EXPECT_FALSE(small.bounded);
  EXPECT_EQ(kinds_of(small.packets), v.left) << text_of(small.packets);
  EXPECT_TRUE(fails(small.packets));
  EXPECT_LT(field_count(small.packets), field_count(all) / 2);
  for (size_t i = 0; i < small.packets.size(); i++) {
    Packets without = small.packets;
    without.erase(without.begin() + static_cast<std::ptrdiff_t>(i));
    EXPECT_FALSE(fails(without)) << "packet " << i << " can go\n" << text_of(small.packets);
  }
  const Shrunk again = shrink(all, fails);
  EXPECT_EQ(again.runs, small.runs);
  EXPECT_EQ(text_of(again.packets), text_of(small.packets));
}

INSTANTIATE_TEST_SUITE_P(
    Corpus, Shrinks,
    testing::Values(Violating{"traces/tdx/mirror-violated.txtpb",
                              "TDX-SEPT-MIRROR",
                              {K::kVmCreate, K::kMemslotCreate, K::kSetAttributes, K::kRootLoad,
                               K::kMockFinalize, K::kGuestAccess, K::kSeamcall}},
                    Violating{
                        "traces/dirty/lost-violated.txtpb",
                        "MMU-DIRTY-LOST",
                        // That it leaves an entry writable says the event alone.
                        {K::kVmCreate, K::kMemslotCreate, K::kDirtyLogClear, K::kSpteChanged}},
                    Violating{"traces/gmem/trunc-violated.txtpb",
                              "MMU-GMEM-TRUNC",
                              {K::kVmCreate, K::kMemslotCreate, K::kRootLoad, K::kSetAttributes,
                               K::kFault, K::kChangedSpte, K::kGmemInvalidateEnd}}));

TEST(Shrink, StopsAtItsBoundAndOnDemand) {
  const Packets all = packets_of(padded("traces/dirty/lost-violated.txtpb"));
  const Fails fails = [](const Packets& p) { return breaks(p, "MMU-DIRTY-LOST"); };
  const Shrunk bounded = shrink(all, fails, {.max_runs = 5});
  EXPECT_TRUE(bounded.bounded);
  EXPECT_EQ(bounded.runs, 5u);
  EXPECT_TRUE(fails(bounded.packets));
  const Shrunk stopped = shrink(all, fails, {}, [](uint64_t runs, size_t) { return runs < 9; });
  EXPECT_TRUE(stopped.interrupted);
  EXPECT_EQ(stopped.runs, 9u);
  EXPECT_TRUE(fails(stopped.packets));
}

// The least number that fails is found where failing is monotone, in about log^2 trials.
TEST(Shrink, NumbersBecomeSmall) {
  const Packets one = packets_of("packet { fault { gfn: 0x123456789 pfn: 0x5000 } }\n");
  const Shrunk small = shrink(one, [](const Packets& p) {
    return p.size() == 1 && p[0].event().get(trace::f::fault::gfn) >= 1000;
  });
  ASSERT_EQ(small.packets.size(), 1u);
  EXPECT_EQ(small.packets[0].event().get(trace::f::fault::gfn), 1000u);
  EXPECT_EQ(field_count(small.packets), 1u);
  EXPECT_LT(small.runs, 700u);
}

// A fault and the range around it must name the same page: no field goes down alone.
TEST(Shrink, NumbersGoDownWhereverTheyStand) {
  const Packets packets = packets_of(
      "packet { vm_create {} }\n"
      "packet { fault { gfn: 0x1234 } }\n"
      "packet { zap_leafs_op { start: 0x1234 end: 0x1300 } }\n");
  const auto same_page = [](const Packets& some) {
    return some.size() == 3 && some[1].event().kind == K::kFault &&
           some[1].event().get(trace::f::fault::gfn) >= 0x10 &&
           some[2].event().get(trace::f::zap_leafs_op::start) ==
               some[1].event().get(trace::f::fault::gfn);
  };
  const Shrunk small = shrink(packets, same_page);
  EXPECT_EQ(small.packets[1].event().get(trace::f::fault::gfn), 0x10u);
  EXPECT_EQ(small.packets[2].event().get(trace::f::zap_leafs_op::end), 0u);
}

}  // namespace
}  // namespace mmucheck::shrink
