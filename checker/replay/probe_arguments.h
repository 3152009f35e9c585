// checker/replay: do the probes of a recording have the arguments that the model takes from them?
//
// Whoever places a probe says which arguments it records. An argument that no event of its kind has
// is 0 to the model, which then expects what the kernel never meant to do: what is not as expected
// in such a recording says nothing of the kernel. What the model only compares (and the VM of
// events that show theirs in another way) may be left out. A kind that never occurs is
// missing_probe.h's.
#pragma once

#include <array>
#include <string>

#include "checker/trace/event.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

class ProbeArguments {
 public:
  static constexpr int kVmBit = 31;  // beside the fields: the event names its VM
  static_assert(trace::kMaxFields <= kVmBit);

  void saw(const trace::Event& e) {
    const auto kind = static_cast<size_t>(e.kind);
    present_[kind] |= e.present | uint32_t{e.vm != 0} << kVmBit;
    seen_.set(kind);
  }
  // Kind and argument, "tdp_map.pfn"; empty where nothing is missing.
  std::string missing() const;

 private:
  std::array<uint32_t, trace::kEventKindLimit> present_{};
  trace::KindSet seen_;
};

}  // namespace mmucheck::replay
