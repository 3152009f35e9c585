// Layer: tools/mmucheck. Contract: a count of events on standard error while a long input is read,
// only where standard error is a terminal; erased at the end.
#pragma once

#include <chrono>
#include <cstdint>

namespace mmucheck::cli {

class Progress {
 public:
  Progress();
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void tick() {
    if (enabled_ && (++events_ & 0xfff) == 0) show();
  }

 private:
  void show();

  bool enabled_;
  bool shown_ = false;
  uint64_t events_ = 0;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace mmucheck::cli
