#include "checker/trace/raw_input.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "checker/trace/event_source.h"

namespace mmucheck::trace {
namespace {

[[noreturn]] void fail(const std::string& name, const std::string& message) {
  throw TraceError(TraceErrorKind::kUnreadable, {.file = name}, message);
}

int open_checked(const std::string& path) {
  if (path == "-") {
    const int copy = ::dup(STDIN_FILENO);
    if (copy < 0) fail(path, fmt::format("cannot read standard input: {}", std::strerror(errno)));
    return copy;
  }
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) fail(path, fmt::format("cannot open: {}", std::strerror(errno)));
  return fd;
}

}  // namespace

RawInput::RawInput(const std::string& path, const std::atomic<bool>* stop)
    : RawInput(open_checked(path), path, stop) {}

RawInput::RawInput(int fd, std::string name, const std::atomic<bool>* stop)
    : name_(std::move(name)), fd_(fd), stop_(stop), buffer_(kBufferSize) {
  struct stat st {};
  std::string problem;
  if (::fstat(fd_, &st) != 0) {
    problem = fmt::format("cannot open: {}", std::strerror(errno));
  } else if (S_ISDIR(st.st_mode)) {
    problem = "is a directory, not a trace";
  } else if ((S_ISCHR(st.st_mode) && name_ != "-") || S_ISBLK(st.st_mode)) {
    problem = "is a device, not a trace";
  } else if (S_ISCHR(st.st_mode) && ::isatty(fd_) != 0) {
    problem = "standard input is a terminal; redirect a trace into it";
  }
  if (!problem.empty()) {
    ::close(fd_);
    fail(name_, problem);
  }
  seekable_ = S_ISREG(st.st_mode);
}

RawInput::RawInput(std::string bytes, std::string name)
    : name_(std::move(name)), buffer_(bytes.begin(), bytes.end()), end_(bytes.size()) {
  ended_ = true;
}

RawInput RawInput::from_memory(std::string bytes, std::string name) {
  return RawInput(std::move(bytes), std::move(name));
}

RawInput::~RawInput() {
  if (fd_ >= 0) ::close(fd_);
}

RawInput::RawInput(RawInput&& other) noexcept
    : name_(std::move(other.name_)),
      fd_(std::exchange(other.fd_, -1)),
      seekable_(other.seekable_),
      ended_(other.ended_),
      stop_(other.stop_),
      buffer_(std::move(other.buffer_)),
      begin_(other.begin_),
      end_(other.end_),
      base_(other.base_) {}

size_t RawInput::fill(char* out, size_t capacity) {
  for (;;) {
    const ssize_t got = ::read(fd_, out, capacity);
    if (got >= 0) return static_cast<size_t>(got);
    if (errno != EINTR) {
      throw TraceError(TraceErrorKind::kUnreadable,
                       {.file = name_, .offset = static_cast<int64_t>(base_ + end_)},
                       fmt::format("cannot read: {}", std::strerror(errno)));
    }
    if (stop_ != nullptr && stop_->load()) {
      throw TraceError(TraceErrorKind::kInterrupted, {.file = name_}, "interrupted while reading");
    }
  }
}

std::string_view RawInput::available() {
  return peek(1);
}

std::string_view RawInput::peek(size_t n) {
  while (end_ - begin_ < n && !ended_) {
    if (begin_ > 0) {
      std::memmove(buffer_.data(), buffer_.data() + begin_, end_ - begin_);
      base_ += begin_;
      end_ -= begin_;
      begin_ = 0;
    }
    const size_t got = fill(buffer_.data() + end_, buffer_.size() - end_);
    if (got == 0) ended_ = true;
    end_ += got;
  }
  return {buffer_.data() + begin_, end_ - begin_};
}

void RawInput::rewind() {
  begin_ = 0;
  if (fd_ < 0) return;
  if (!seekable_ || ::lseek(fd_, 0, SEEK_SET) != 0) fail(name_, "cannot be read a second time");
  end_ = 0;
  base_ = 0;
  ended_ = false;
}

}  // namespace mmucheck::trace
