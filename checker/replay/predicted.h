// checker/replay: what the model says happens next, in the vocabulary of the recorded events.
//
// A Predicted carries the fields that the model computed; a field that it cannot know (a kernel
// pointer, the content of a stack slot) is absent and not compared.
#pragma once

#include <array>
#include <cstdint>

#include "checker/trace/event.h"

namespace mmucheck::replay {

struct Predicted {
  trace::EventKind kind = trace::EventKind::kNone;
  uint32_t present = 0;
  std::array<uint64_t, trace::kMaxFields> f{};

  Predicted() = default;
  explicit Predicted(trace::EventKind k) : kind(k) {}
  Predicted& set(size_t i, uint64_t v) {
    f[i] = v;
    present |= uint32_t{1} << i;
    return *this;
  }
  bool has(size_t i) const { return present >> i & 1; }
};

}  // namespace mmucheck::replay
