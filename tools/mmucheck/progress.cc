#include "tools/mmucheck/progress.h"

#include <unistd.h>

#include <cstdio>

#include "checker/report/text_writer.h"

namespace mmucheck::cli {
namespace {

constexpr std::chrono::milliseconds kFirst{1000}, kInterval{200};

}  // namespace

Progress::Progress()
    : enabled_(isatty(STDERR_FILENO) == 1), next_(std::chrono::steady_clock::now() + kFirst) {}

Progress::~Progress() {
  if (shown_) std::fputs("\r\x1b[K", stderr);
}

void Progress::show() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  shown_ = true;
  std::fprintf(stderr, "\r%s events", report::with_thousands(events_).c_str());
}

}  // namespace mmucheck::cli
