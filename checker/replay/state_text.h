// checker/replay: a VM's page tables as text: what is mapped around a gfn, as coalesced ranges.
//
// A line a range of neighbouring entries of one level that differ in their frame only:
// "40000-40003  4K  rw-  pfn 2992-2995". Permissions as the CPU sees them; "---" is not present.
#pragma once

#include <string>
#include <vector>

#include "checker/replay/vm_model.h"

namespace mmucheck::replay {

// Every valid root's ranges within `radius` entries of the level at which `gfn` is looked at.
std::vector<std::string> state_around(VmModel& v, uint64_t gfn, int level, uint64_t radius = 8);

}  // namespace mmucheck::replay
