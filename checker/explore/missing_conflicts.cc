// Which conflicts that a scenario is about a search has not seen (step_orders.h).
#include "checker/explore/step_orders.h"

namespace mmucheck::explore {
namespace {

struct SeenOrders {
  bool conflict = false, in_order = false, reversed = false, both = false;
};

SeenOrders seen_orders(const ExpectedConflict& expected, const Coverage& coverage) {
  const auto is = [](const StepName& name, const StepKind& k) {
    return name.is(k.thread, k.operations, k.what);
  };
  SeenOrders seen;
  for (const ConflictingSteps& c : coverage.conflicts) {
    const bool straight = is(expected.first, c.first) && is(expected.second, c.second);
    if (!straight && !(is(expected.first, c.second) && is(expected.second, c.first))) continue;
    seen.conflict = true;
    seen.in_order |= straight ? c.in_order : c.reversed;
    seen.reversed |= straight ? c.reversed : c.in_order;
    seen.both |= c.both();
  }
  return seen;
}

}  // namespace

std::vector<MissingConflict> missing_conflicts(const std::vector<ExpectedConflict>& expected,
                                               const Coverage& coverage) {
  std::vector<MissingConflict> missing;
  for (const ExpectedConflict& e : expected) {
    const SeenOrders seen = seen_orders(e, coverage);
    if (e.one_order ? seen.in_order : seen.both) continue;
    const char* why = "such steps never conflicted";
    if (!coverage.counted) {
      why = "not looked for: more kinds of steps than are counted";
    } else if (seen.conflict && !coverage.ordered) {
      why = "in which orders was not looked at";
    } else if (seen.conflict) {
      why = seen.in_order == seen.reversed ? "no two of them were seen in both orders"
            : seen.in_order                ? "only the first was seen before the second"
                                           : "only the second was seen before the first";
    }
    missing.push_back({e.what, why});
  }
  return missing;
}

}  // namespace mmucheck::explore
