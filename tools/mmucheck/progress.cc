#include "tools/mmucheck/progress.h"

#include <unistd.h>

#include <cstdio>

#include "checker/report/text_writer.h"

namespace mmucheck::cli {
namespace {

constexpr std::chrono::milliseconds kFirst{1000}, kInterval{200};
constexpr const char* kErase = "\r\x1b[K";

}  // namespace

Progress::Progress()
    : enabled_(isatty(STDERR_FILENO) == 1), next_(std::chrono::steady_clock::now() + kFirst) {}

Progress::~Progress() {
  if (shown_) std::fputs(kErase, stderr);
}

void Progress::show() {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + kInterval;
  shown_ = true;
  std::fprintf(stderr, "\r%s events", report::with_thousands(events_).c_str());
}

StatusLine::StatusLine()
    : enabled_(isatty(STDERR_FILENO) == 1), next_(std::chrono::steady_clock::now() + kFirst) {}

StatusLine::~StatusLine() {
  if (shown_) std::fputs(kErase, stderr);
}

bool StatusLine::is_due() {
  if (!enabled_) return false;
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return false;
  next_ = now + kFirst;
  return true;
}

void StatusLine::write(const std::string& text) {
  shown_ = true;
  std::fprintf(stderr, "%s%s", kErase, text.c_str());
}

}  // namespace mmucheck::cli
