// checker/replay/complete: the events of a recording with gaps in their order, and where a CPU may
// have lost some in between.
#pragma once

#include <algorithm>
#include <utility>

#include "checker/replay/complete/recording.h"

namespace mmucheck::replay {

// What a ring can lose.
inline bool is_recorded(const trace::Event& e) {
  return e.cls == trace::PacketClass::kStimulus || e.cls == trace::PacketClass::kObservation;
}

template <class OnEvent, class OnLoss>
void GappedRecording::play(bool markers, OnEvent&& event, OnLoss&& loss) const {
  const std::vector<Loss> losses = this->losses();
  std::vector<Loss> now;
  LostCpus lost;
  auto next = losses.begin();
  uint64_t number = 0;
  for (size_t i = 0; i <= sequence_.size(); i++) {
    if (i > 0 && (markers || !sequence_[i - 1].marker)) {
      trace::Event e = sequence_[i - 1].event.event();
      e.seq = ++number;
      if (!event(std::as_const(e), i)) return;
    }
    const size_t ended = std::erase_if(now, [&](const Loss& l) { return l.end <= i; });
    const size_t before = now.size();
    for (; next != losses.end() && next->begin <= i; next++) {
      if (next->end > i) now.push_back(*next);
    }
    if (ended != 0 || now.size() != before) {
      lost = {};
      for (const Loss& l : now) {
        lost.any = lost.any || l.any_cpu;
        lost.cpus.push_back(l.cpu);
      }
    }
    if (!now.empty()) loss(std::as_const(lost), i);
  }
}

}  // namespace mmucheck::replay
