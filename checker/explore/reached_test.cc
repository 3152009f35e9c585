// Every invariant is broken by some scenario under some design, as the scenario has pinned it, or
// unreached.def says why none does.
#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "checker/explore/scenario.h"
#include "checker/invariant/catalogue.h"
#include "checker/trace/open_trace.h"

namespace mmucheck::explore {
namespace {

TEST(Reached, EachInvariantOrItIsSaidWhyNot) {
  std::set<std::string, std::less<>> broken;
  for (const auto& file : std::filesystem::recursive_directory_iterator("traces/scenarios")) {
    if (file.path().extension() != ".txtpb") continue;
    const auto source = trace::open_trace(file.path().string(), trace::own_formats());
    for (const Pinned& p : read_scenario(*source).pinned) {
      if (!p.invariant.empty()) broken.insert(p.invariant);
    }
  }
  size_t said = 0;
  for (const invariant::Invariant& i : invariant::catalogue()) {
    const bool why_not = !invariant::why_unreached(i.id).empty();
    EXPECT_NE(broken.contains(i.id), why_not) << i.id;
    said += why_not;
  }
  EXPECT_EQ(broken.size() + said, invariant::catalogue().size());
}

}  // namespace
}  // namespace mmucheck::explore
