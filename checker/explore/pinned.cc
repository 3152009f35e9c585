#include "checker/explore/pinned.h"

#include <fmt/format.h>

#include <algorithm>

#include "checker/explore/fair_cycle.h"

namespace mmucheck::explore {

using trace::ExpectedVerdict;

Bounds bounds_of(const Scenario& scenario) {
  Bounds b;
  b.max_states = scenario.max_states;
  b.max_depth = scenario.max_depth;
  b.busy = scenario.busy;
  return b;
}

ExpectedVerdict verdict_of(const Exploration& x) {
  if (x.violation) return ExpectedVerdict::kViolated;
  return x.doubts.empty() && x.bound.empty() && x.omissions == 0 ? ExpectedVerdict::kHolds
                                                                 : ExpectedVerdict::kInconclusive;
}

const char* name_of(ExpectedVerdict verdict) {
  switch (verdict) {
    case ExpectedVerdict::kHolds: return "holds";
    case ExpectedVerdict::kViolated: return "violated";
    case ExpectedVerdict::kDiverged: return "diverged";
    default: return "inconclusive";
  }
}

const char* verdict_text(const Exploration& x) {
  return x.nothing_to_check ? "nothing to check" : name_of(verdict_of(x));
}

PinnedRun run_pinned(const Scenario& scenario, const model::Design* design,
                     const std::string& design_name, const Bounds& bounds, const Pinned* pinned,
                     const SearchTick& tick) {
  PinnedRun run;
  Exploration& x = run.found;
  Bounds with_orders = bounds;
  if (!scenario.expected.empty()) with_orders.coverage = ~uint64_t{0};
  x = explore(scenario, design, with_orders, tick);
  if (bounds.fair && !x.violation && x.doubts.empty() && x.bound.empty()) {
    Exploration for_ever = find_fair_cycle(scenario, design, bounds, tick);
    x.bound = for_ever.bound;
    x.invariants = std::max(x.invariants, for_ever.invariants);
    if (for_ever.violation) x = std::move(for_ever);
  }
  if (verdict_of(x) == ExpectedVerdict::kHolds) {
    x.missing = missing_conflicts(scenario.expected, x.coverage);
    x.nothing_to_check = x.nothing_to_check || !x.missing.empty();
  }
  const std::string broken = x.violation ? x.violation->invariant : "";
  if (x.violation) {
    run.counterexample = counterexample(scenario, design, design_name, x, bounds);
    run.replays = replays_to(scenario.info, run.counterexample, broken, bounds.only);
  }
  if (pinned == nullptr) return run;
  const auto compare = [&run](const char* what, const auto& seen, const auto& wanted) {
    if (seen != wanted) {
      run.differs.push_back(fmt::format("{} {}, {} is pinned", what, seen, wanted));
    }
  };
  compare("verdict", std::string(verdict_text(x)), std::string(name_of(pinned->verdict)));
  compare("invariant", broken, pinned->invariant);
  compare("states", x.states, pinned->states);
  compare("transitions", x.transitions, pinned->transitions);
  compare("depth", x.depth, pinned->depth);
  compare("steps", uint64_t{x.violation ? x.path.size() : 0}, pinned->steps);
  return run;
}

}  // namespace mmucheck::explore
