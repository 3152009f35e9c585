// A scenario of two vCPUs and two gfns is what it was written as, scaled to what it has; more of them
// come to more states, fewer to fewer.
#include "checker/explore/scaled.h"

#include <gtest/gtest.h>

#include "checker/explore/explorer.h"
#include "checker/explore/scenario_files_test.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

uint64_t states(const Scenario& s, const std::string& design) {
  const auto parsed = model::parse_design_spec(design);
  const Exploration x = explore(s, &parsed.design->design, {.max_states = s.max_states});
  EXPECT_TRUE(x.doubts.empty()) << (x.doubts.empty() ? "" : x.doubts.front());
  EXPECT_EQ(x.bound, "");
  return x.states;
}

TEST(Scaled, ToWhatItHasIsTheSame) {
  const Scenario s = open_scenario("sept-race/two-vcpus");
  EXPECT_EQ(states(scaled(s, {.vcpus = 2, .gfns = 2}), "naive"), states(s, "naive"));
}

TEST(Scaled, MoreVcpusAndMorePages) {
  const Scenario s = open_scenario("seed-004/two-vcpus-leaf");
  const Scenario one = scaled(s, {.vcpus = 1});
  EXPECT_EQ(one.threads.size(), 1u);
  const Scenario three = scaled(s, {.vcpus = 3, .gfns = 3});
  ASSERT_EQ(three.threads.size(), 3u);
  EXPECT_EQ(three.prefix.size(), s.prefix.size() + 2);
  const trace::Event e = three.threads.rbegin()->second.front().packets.front().event();
  EXPECT_EQ(e.get(trace::f::fault::vcpu_id), 2u);
  EXPECT_EQ(e.get(trace::f::fault::gfn), 0x12u);
  const uint64_t two = states(s, "upstream-7.x");
  EXPECT_LT(states(one, "upstream-7.x"), two);
  EXPECT_GT(states(three, "upstream-7.x"), two);
}

TEST(Scaled, RangesReachAsFar) {
  const Scenario s = scaled(open_scenario("sept-race/two-vcpus"), {.gfns = 4});
  const trace::Event e = s.threads.at(3).front().packets.front().event();
  EXPECT_EQ(e.get(trace::f::gmem_punch::len), 0x4000u);
}

TEST(Scaled, WhatCannotBeScaledIsSaid) {
  EXPECT_THROW(scaled(open_scenario("seed-004/reap"), {.vcpus = 2}), std::invalid_argument);
  EXPECT_THROW(scaled(open_scenario("sept-race/two-vcpus"), {.vcpus = 8}),
               std::invalid_argument);
}

}  // namespace
}  // namespace mmucheck::explore
