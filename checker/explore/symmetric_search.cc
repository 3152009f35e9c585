#include "checker/explore/symmetric_search.h"

#include <utility>

namespace mmucheck::explore {

Searched symmetric_search(const Scenario& scenario, const model::Design* design,
                          ScenarioSystem::Options options, const SearchBounds& bounds,
                          bool symmetry, const SearchTick& tick,
                          const BehindScenario& behind) {
  ThreadPairs apart;
  for (;;) {
    if (symmetry) options.symmetric = candidates(scenario, apart);
    try {
      auto system = std::make_unique<ScenarioSystem>(scenario, design, options);
      auto result = reduced_search(*system, bounds, tick, kNothing,
                                   [&](const auto& search, const auto& done) {
                                     if (behind) behind(*system, search, done);
                                   });
      return {std::move(system), std::move(result), options.symmetric};
    } catch (const NotSymmetric& found) {
      apart.insert(found.pairs.begin(), found.pairs.end());
    }
  }
}

}  // namespace mmucheck::explore
