// The model comes to the states of the race that the peers were given, but for what is known to be
// done otherwise there, state by state.
#include <gtest/gtest.h>

#include "checker/trace/open_trace.h"
#include "model/design/spec.h"
#include "tools/bench/sept_projection.h"

namespace mmucheck::bench {
namespace {

constexpr uint64_t kFirstGfn = 0x10;  // of the scenario

constexpr unsigned kLeafs = 1;

SharedStates explored(const std::string& design) {
  const auto source = trace::open_trace("traces/scenarios/sept-race/two-vcpus.txtpb",
                                        trace::own_formats());
  const model::ParsedDesign parsed = model::parse_design_spec(design);
  return states_of(explore::read_scenario(*source), &parsed.design->design, kFirstGfn, kLeafs);
}

const SharedStates& upstream() {
  static const SharedStates states = explored("upstream-7.x");
  return states;
}

SeptRace race_of(bool naive) {
  return {.v = 2, .k = kLeafs, .z = 1, .r = 1, .naive = naive, .rmp = false};
}

TEST(SeptProjection, UpstreamComesToTheStatesOfTheRace) {
  const Projection x = compare(race_of(false), upstream());
  EXPECT_TRUE(x.explained());
  EXPECT_GT(x.both, 10u);
  EXPECT_EQ(x.both + x.race_only.size(), x.of_race);
  EXPECT_EQ(x.both + x.model_only.size(), x.of_model);
  EXPECT_EQ(x.race_only.size(), x.model_only.size());
}

TEST(SeptProjection, NaiveToo) {
  const Projection x = compare(race_of(true), explored("naive"));
  EXPECT_TRUE(x.explained());
  EXPECT_GT(x.both, 10u);
}

// Where the model lacks a state of the race, or has one that the race has not, there is no reason.
TEST(SeptProjection, AnotherDesignIsNotExplained) {
  EXPECT_FALSE(compare(race_of(true), upstream()).explained());
}

TEST(SeptProjection, AMissingStateIsNotExplained) {
  SharedStates model = upstream();
  const SharedState add{.p = MirrorEntry::kFrozen, .sp = SeptEntry::kNonleaf, .readers = 1};
  ASSERT_EQ(model.erase(add), 1u);
  EXPECT_FALSE(compare(race_of(false), model).explained());
}

}  // namespace
}  // namespace mmucheck::bench
