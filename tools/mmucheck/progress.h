// Layer: tools/mmucheck. Contract: how far a long run has come: a count of events on standard error
// while a long input is read, or a line of the caller's; only where standard error is a terminal;
// erased at the end.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

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

// A line on standard error, once a second, only where that is a terminal; erased at the end.
class StatusLine {
 public:
  StatusLine();
  ~StatusLine();
  StatusLine(const StatusLine&) = delete;
  StatusLine& operator=(const StatusLine&) = delete;

  bool enabled() const { return enabled_; }
  // `text()` is asked for when it is time.
  template <class Text>
  void show(const Text& text) {
    if (is_due()) write(text());
  }

 private:
  bool is_due();
  void write(const std::string& text);

  bool enabled_;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_;
};

}  // namespace mmucheck::cli
