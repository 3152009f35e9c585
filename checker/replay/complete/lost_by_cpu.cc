#include "checker/replay/complete/lost_by_cpu.h"

#include <algorithm>

namespace mmucheck::replay {

namespace {

constexpr size_t kMaxTogether = 10, kMaxLosing = 4, kMaxPlacings = 10'000;

class Placing {
 public:
  Placing(const std::vector<size_t>& lost, const std::vector<LostTogether>& together,
          size_t of_fault, size_t others)
      : cpus_(lost.size()), together_(together), of_fault_(of_fault), others_(others) {
    for (size_t i = 0; i < lost.size(); i++) cpus_[i].left = lost[i];
  }

  // Those from `i` on.
  bool place(size_t i) {
    if (i == together_.size()) return is_enough();
    if (++placings_ > kMaxPlacings) return true;
    const LostTogether& op = together_[i];
    for (Cpu& cpu : cpus_) {
      if (op.events > cpu.left) continue;
      const Cpu before = cpu;
      cpu.left -= op.events;
      cpu.has_fault = cpu.has_fault || op.fault == LostTogether::Fault::kMakes;
      cpu.needs_fault = cpu.needs_fault || op.fault == LostTogether::Fault::kNeeds;
      if (place(i + 1)) return true;
      cpu = before;
    }
    return false;
  }

 private:
  struct Cpu {
    size_t left = 0;
    bool has_fault = false, needs_fault = false;
  };

  bool is_enough() const {
    size_t left = 0;
    for (const Cpu& cpu : cpus_) {
      const size_t of_fault = cpu.needs_fault && !cpu.has_fault ? of_fault_ : 0;
      if (of_fault > cpu.left) return false;
      left += cpu.left - of_fault;
    }
    return left >= others_;
  }

  std::vector<Cpu> cpus_;
  const std::vector<LostTogether>& together_;
  size_t of_fault_, others_;
  size_t placings_ = 0;
};

}  // namespace

bool fits_cpus(const std::vector<size_t>& lost, std::vector<LostTogether> together, size_t of_fault,
               size_t others) {
  if (together.size() > kMaxTogether || lost.size() > kMaxLosing) return true;
  std::sort(together.begin(), together.end(),
            [](const LostTogether& a, const LostTogether& b) { return a.events > b.events; });
  return Placing(lost, together, of_fault, others).place(0);
}

}  // namespace mmucheck::replay
