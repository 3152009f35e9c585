// Layer: checker/invariant. Contract: the traces that show an invariant, as paths from the root of
// the source tree: one that violates it and one that nearly does. Written at configure time from
// the `expect` packets below traces/, so that the table cannot disagree with the corpus.
#pragma once

#include <string_view>

namespace mmucheck::invariant {

struct Examples {
  std::string_view violating;  // empty: none yet
  std::string_view nearly;
};

// Both empty for an id without traces.
const Examples& examples(std::string_view id);

}  // namespace mmucheck::invariant
