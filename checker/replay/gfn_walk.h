// checker/replay: the entries on the way to a gfn (a 4 KiB frame, without the shared bit), in a root of
// KVM and in the S-EPT of a VM's TD, as they are now.
#pragma once

#include <array>
#include <cstdint>

#include "checker/replay/vm_model.h"

namespace mmucheck::replay {

inline constexpr int kMaxWalkLevel = 5;

struct GfnWalk {
  int top = 0, end = 0;  // KVM's levels of the first and the last entry; top 0: there is no tree
  std::array<uint64_t, kMaxWalkLevel + 1> entry{};  // by level; 0 where the walk does not come
};

// `root` is a table number of the model, or kNoTable.
GfnWalk walk_root(const VmModel& v, uint32_t root, uint64_t gfn);
GfnWalk walk_sept(const VmModel& v, uint64_t gfn);

}  // namespace mmucheck::replay
