#include "checker/trace/byte_stream.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "checker/trace/event_source.h"

namespace mmucheck::trace {
namespace {

constexpr size_t kInitialWindow = 256u << 10;

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

}  // namespace

ByteStream::ByteStream(const std::string& path, const std::atomic<bool>* stop)
    : ByteStream(RawInput(path, stop), stop) {}

ByteStream::ByteStream(RawInput input, const std::atomic<bool>* stop)
    : name_(input.name()),
      stop_(stop),
      input_(std::make_unique<RawInput>(std::move(input))),
      codec_(make_codec(*input_)),
      compression_(codec_->name()),
      buffer_(kInitialWindow) {}

std::unique_ptr<ByteStream> ByteStream::from_memory(std::string bytes, std::string name) {
  return std::unique_ptr<ByteStream>(
      new ByteStream(RawInput::from_memory(std::move(bytes), std::move(name)), nullptr));
}

std::string_view ByteStream::refill(size_t n) {
  n = std::min(n, kMaxPeek);
  if (begin_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + begin_, size());
    base_ += begin_;
    end_ -= begin_;
    begin_ = 0;
  }
  if (n > buffer_.size()) buffer_.resize(std::max(n, std::min(2 * buffer_.size(), kMaxPeek)));
  while (end_ < n && !ended_) {
    const size_t got = codec_->read(buffer_.data() + end_, buffer_.size() - end_);
    if (got == 0) ended_ = true;
    end_ += got;
  }
  return window();
}

bool ByteStream::next_line(Line& line, size_t limit) {
  size_t searched = 0;
  const char* newline = nullptr;
  std::string_view w = window();
  for (;;) {
    newline =
        searched < w.size()
            ? static_cast<const char*>(std::memchr(w.data() + searched, '\n', w.size() - searched))
            : nullptr;
    if (newline != nullptr || w.size() > limit) break;
    searched = w.size();
    w = peek(std::min(limit + 1, searched + kInitialWindow / 2));
    if (w.size() == searched) break;
  }
  if (w.empty()) return false;
  size_t length = newline != nullptr ? static_cast<size_t>(newline - w.data()) : w.size();
  line.number = ++lines_;
  line.offset = offset();
  line.overlong = length > limit;
  if (!line.overlong) {
    consume(length + (newline != nullptr ? 1 : 0));
    if (length > 0 && w[length - 1] == '\r') --length;
    line.text = w.substr(0, length);
    return true;
  }
  // The head of the line is kept in front of the window while the rest is skipped.
  const auto no_binary = [&](std::string_view part) {
    const size_t at = part.find('\0');
    if (at == std::string_view::npos) return;
    throw TraceError(TraceErrorKind::kCorrupt,
                     {name_, 0, line.number, static_cast<int64_t>(offset() + at)},
                     "binary data in a line of text");
  };
  no_binary(w);
  std::string_view rest = w.substr(limit);
  consume(limit);
  overlong_.assign(w.substr(0, limit));
  for (;;) {
    const size_t at = rest.find('\n');
    if (at != std::string_view::npos) {
      consume(at + 1);
      break;
    }
    consume(rest.size());
    rest = peek(1);
    if (rest.empty()) break;
    no_binary(rest);
  }
  line.text = overlong_;
  return true;
}

void ByteStream::rewind() {
  input_->rewind();
  codec_ = make_codec(*input_);
  begin_ = end_ = 0;
  base_ = 0;
  lines_ = 0;
  ended_ = false;
}

void ByteStream::make_rewindable() {
  if (can_rewind()) return;
  File spool(std::tmpfile(), &std::fclose);
  const auto fail = [this](std::string_view what) {
    throw TraceError(TraceErrorKind::kUnreadable, {.file = name_},
                     fmt::format("cannot keep the input in a temporary file: {}", what));
  };
  if (spool == nullptr) fail(std::strerror(errno));
  uint64_t total = 0;
  for (std::string_view w = peek(1); !w.empty(); w = peek(1)) {
    total += w.size();
    if (total > kMaxSpool) {
      throw TraceError(TraceErrorKind::kTooLarge, {.file = name_},
                       "the input is longer than 64 GiB");
    }
    if (std::fwrite(w.data(), 1, w.size(), spool.get()) != w.size()) fail(std::strerror(errno));
    consume(w.size());
  }
  if (std::fflush(spool.get()) != 0) fail(std::strerror(errno));
  const int fd = ::dup(::fileno(spool.get()));
  if (fd < 0) fail(std::strerror(errno));
  input_ = std::make_unique<RawInput>(fd, name_, stop_);
  rewind();
}

}  // namespace mmucheck::trace
