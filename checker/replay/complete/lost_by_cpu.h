// checker/replay/complete: can what must have been lost have been lost on the CPUs that lost it?
//
// A thread stays on its CPU while it holds mmu_lock, so what it tells of meanwhile was lost there
// or not at all: a root, a link, a map with its request. A link needs the request of a fault, that
// of a map or one that came to nothing.
#pragma once

#include <cstddef>
#include <vector>

namespace mmucheck::replay {

struct LostTogether {
  enum class Fault : unsigned char { kNone, kNeeds, kMakes };
  size_t events = 0;
  Fault fault = Fault::kNone;
};

// `lost`: how many events, by CPU. `of_fault`: what a fault takes where a CPU needs one and has
// none. `others`: what can have been lost anywhere. Of too much to try all it is true.
bool fits_cpus(const std::vector<size_t>& lost, std::vector<LostTogether> together, size_t of_fault,
               size_t others);

}  // namespace mmucheck::replay
