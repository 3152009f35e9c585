// Layer: checker/explore. Contract: a conflict that a scenario is about: steps of two of its threads, by
// what `explore -v` says of them (step_orders.h):
//
//   "thread 1 [fault] cmpxchg_spte L1; thread 2 [notifier_begin] changed_spte L1"
//
// The operation may be left out. Of what a step shows one part is enough, and an event without its
// level is one of any level: `page_aug_ret` is also "sept_state L1, seamcall_ret, page_aug_ret".
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mmucheck::explore {

struct StepName {
  uint32_t thread = 0;
  std::string operation;           // empty: any
  std::vector<std::string> parts;  // of what it shows, writes or reads

  // Is that one of them? `operations` and `what` as in StepKind.
  bool is(uint32_t of_thread, std::string_view operations, std::string_view what) const;
};

struct ExpectedConflict {
  std::string what;  // as it was given
  StepName first, second;
  bool one_order = false;          // the first before the second is enough
  uint64_t packet = 0, line = 0;   // of the file
};

// Throws std::invalid_argument where no step is called like that, and says what comes near.
ExpectedConflict parse_expected_conflict(std::string_view what);

// Those of `names` that are spelled nearly like `name`, the nearest first: ", near: a, b"; empty: none.
std::string near_names(std::string_view name, const std::vector<std::string>& names);

}  // namespace mmucheck::explore
