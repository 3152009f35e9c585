// Layer: checker/explore. Contract: a scenario with another number of vCPUs that fault, or of gfns (4
// KiB) that they fault on. What is pinned of the scenario is not of this one.
//
// Its vCPUs are the threads that begin with a fault, in their order. Fewer: the last ones go. More:
// they do what the first one does, each on a vCPU of its own, which gets its root where the first
// vCPU does. gfns: the faults of the i-th vCPU (from 0) are on gfn first + i mod gfns, `first` being
// that of the first fault; ranges that the other threads zap or change, and attributes in front of
// the start, reach as far. What cannot be scaled so is std::invalid_argument.
#pragma once

#include <optional>

#include "checker/explore/scenario.h"

namespace mmucheck::explore {

struct Scale {
  std::optional<unsigned> vcpus = {}, gfns = {};  // 1 or more

  bool any() const { return vcpus || gfns; }
};

Scenario scaled(const Scenario& scenario, const Scale& scale);

}  // namespace mmucheck::explore
