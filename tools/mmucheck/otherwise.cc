#include "tools/mmucheck/otherwise.h"

namespace mmucheck::cli {

std::optional<Otherwise> otherwise(const report::Verdict& v) {
  std::optional<Otherwise> first;
  const auto take = [&](const report::Place& at, const std::string& claimed,
                        const std::string& happens) {
    if (!first || at.packet < first->place.packet) first = {at, claimed, happens};
  };
  for (const report::Divergence& d : v.divergences) take(d.place, d.observed, d.expected);
  for (const report::Violation& x : v.violations) {
    if (!x.after.empty() && x.after != x.before) take(x.place, x.after, x.before);
  }
  return first;
}

}  // namespace mmucheck::cli
