// How far off forecasts are of scenarios whose numbers of states are pinned.
#include "checker/explore/forecast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>

#include "checker/explore/scenario_files_test.h"
#include "model/design/spec.h"

namespace mmucheck::explore {
namespace {

constexpr ForecastEffort kEffort{.walks = 20'000, .steps = 500'000};

struct Off {
  std::string name;
  double by = 1;  // a factor, too high or too low
  bool in_range = false;
};

// One design of each scenario of several threads that holds and has some states.
std::vector<Off> all_off() {
  std::vector<Off> all;
  const std::filesystem::path root = "traces/scenarios";
  for (const auto& file : std::filesystem::recursive_directory_iterator(root)) {
    if (!file.is_regular_file()) continue;
    const std::string name = std::filesystem::relative(file.path(), root).replace_extension();
    const Scenario scenario = open_scenario(name);
    const auto pinned =
        std::find_if(scenario.pinned.begin(), scenario.pinned.end(), [](const Pinned& p) {
          return p.verdict == trace::ExpectedVerdict::kHolds && p.states >= 200;
        });
    if (pinned == scenario.pinned.end() || scenario.threads.size() < 2) continue;
    const auto design = model::parse_design_spec(pinned->design);
    const auto states = static_cast<double>(pinned->states);
    const Forecast::Estimate e =
        forecast(scenario, &design.design->design, {.busy = pinned->busy}, kEffort).states();
    all.push_back({name, std::max(e.states / states, states / e.states),
                   e.low <= states && states <= e.high});
    std::printf("%-36s %8.0f %8.0f  %8.0f - %8.0f  %.2f\n", name.c_str(), states, e.states, e.low,
                e.high, e.states / states);
  }
  std::sort(all.begin(), all.end(), [](const Off& x, const Off& y) { return x.by < y.by; });
  return all;
}

// CONTRIBUTING has these numbers.
TEST(Forecast, IsWithinAFactorOfTwoMostly) {
  const std::vector<Off> all = all_off();
  ASSERT_GE(all.size(), 25u);
  const auto within = std::count_if(all.begin(), all.end(), [](const Off& o) { return o.by <= 2; });
  const auto in_range =
      std::count_if(all.begin(), all.end(), [](const Off& o) { return o.in_range; });
  std::printf("%zu scenarios, median %.2f, %zd within 2, %zd in range, worst %s %.1f\n", all.size(),
              all[all.size() / 2].by, within, in_range, all.back().name.c_str(), all.back().by);
  EXPECT_LT(all[all.size() / 2].by, 1.5);
  EXPECT_GE(within * 3, static_cast<long>(all.size()) * 2);
}

// Nothing that one of five threads does matters to another: 26 places each.
TEST(Forecast, IsRightWhereThreadsDoNotMatterToEachOther) {
  const Forecast f = forecast(open_scenario("big/five-leafs"), nullptr, {}, kEffort);
  EXPECT_NEAR(f.states().states, std::pow(26, 5), std::pow(26, 5) / 10);
  EXPECT_EQ(f.depth, 5 * 25u);
  EXPECT_FALSE(f.violated);
}

// Of states that differ in which of threads that are alike is which one is counted: of five threads in
// 26 places each the multisets, and of a search what it finds.
TEST(Forecast, UnderSymmetryAStateCountsOnce) {
  const Forecast five =
      forecast(open_scenario("big/five-leafs"), nullptr, {}, kEffort, {}, {{1, 2, 3, 4, 5}});
  EXPECT_NEAR(five.states().states, 142'506, 14'250);
  const Scenario scenario = open_scenario("seed-004/three-vcpus-one-page");
  const auto design = model::parse_design_spec("naive");
  const Exploration x =
      explore(scenario, &design.design->design, {.symmetry = true});
  ASSERT_EQ(x.symmetric, (ThreadGroups{{1, 2, 3}}));
  const double states =
      forecast(scenario, &design.design->design, {}, kEffort, {}, x.symmetric).states().states;
  std::printf("three alike: %.0f of %.0f\n", states, static_cast<double>(x.states));
  EXPECT_LT(states, 2 * static_cast<double>(x.states));
  EXPECT_GT(states, static_cast<double>(x.states) / 2);
  // Threads 1 and 2 are not: the walks begin again without them.
  const Scenario zap = open_scenario("unmap/fault-against-notifier");
  EXPECT_EQ(forecast(zap, nullptr, {}, kEffort, {}, {{1, 2}}).levels,
            forecast(zap, nullptr, {}, kEffort).levels);
}

TEST(Forecast, IsTheSameTwice) {
  const Scenario scenario = open_scenario("seed-004/populate-against-zap");
  const auto design = model::parse_design_spec("upstream-6.14");
  const auto one = forecast(scenario, &design.design->design, {}, {.steps = 10'000});
  const auto two = forecast(scenario, &design.design->design, {}, {.steps = 10'000});
  EXPECT_EQ(one.levels, two.levels);
  const auto other = forecast(scenario, &design.design->design, {}, {.steps = 10'000, .seed = 2});
  EXPECT_NE(one.levels, other.levels);
}

// What a search has counted by now is no guess any more.
TEST(Forecast, GoesByWhatTheSearchHasSeen) {
  Forecast f;
  for (auto& levels : f.levels) levels = {1, 2, 4, 8};
  EXPECT_EQ(f.states().states, 15);
  EXPECT_EQ(f.states({.depth = 1, .states = 6}).states, 6 + 24);
  EXPECT_EQ(f.states({.depth = 3, .states = 99}).states, 99);
  f.levels[0] = {1000};
  EXPECT_EQ(f.states().states, 15);
  EXPECT_EQ(f.states().high, 15);
}

// Of a violated design a walk, and so the search, may end before.
TEST(Forecast, TellsThatAWalkBrokeARule) {
  const auto design = model::parse_design_spec("naive");
  EXPECT_TRUE(
      forecast(open_scenario("sept-race/two-vcpus"), &design.design->design, {}, {.steps = 20'000})
          .violated);
}

}  // namespace
}  // namespace mmucheck::explore
