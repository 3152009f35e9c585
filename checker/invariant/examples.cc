#include "checker/invariant/examples.h"

#include <algorithm>
#include <iterator>

namespace mmucheck::invariant {
namespace {

struct Row {
  std::string_view id;
  Examples examples;
};

constexpr Row kRows[] = {
#include <examples_table.inc>
    {"", {}},
};

}  // namespace

const Examples& examples(std::string_view id) {
  const auto* at = std::find_if(std::begin(kRows), std::end(kRows),
                                [&](const Row& r) { return r.id == id; });
  static constexpr Examples kNone;
  return at == std::end(kRows) ? kNone : at->examples;
}

}  // namespace mmucheck::invariant
