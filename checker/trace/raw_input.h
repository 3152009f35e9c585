// Layer: checker/trace. Contract: compressed or plain bytes as they lie in a file, a pipe or in
// memory, read once, front to back, through one small buffer. Throws TraceError when the path is
// missing, a directory, a device (they may be endless) or fails to be read. Retries EINTR unless
// the stop flag is set (then TraceErrorKind::kInterrupted).
#pragma once

#include <atomic>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mmucheck::trace {

class RawInput {
 public:
  // "-" is standard input.
  RawInput(const std::string& path, const std::atomic<bool>* stop);
  // Reads from a descriptor that it takes over.
  RawInput(int fd, std::string name, const std::atomic<bool>* stop);
  static RawInput from_memory(std::string bytes, std::string name);
  ~RawInput();
  RawInput(RawInput&& other) noexcept;
  RawInput& operator=(RawInput&&) = delete;

  // Unread bytes in the buffer, refilled when none is left; empty only at the end.
  std::string_view available();
  // At least `n` unread bytes unless the input ends before; n <= kBufferSize.
  std::string_view peek(size_t n);
  void consume(size_t n) { begin_ += n; }
  uint64_t offset() const { return base_ + begin_; }  // of the next unread byte
  const std::string& name() const { return name_; }

  bool can_rewind() const { return fd_ < 0 || seekable_; }
  void rewind();

  static constexpr size_t kBufferSize = 128 * 1024;

 private:
  RawInput(std::string bytes, std::string name);
  size_t fill(char* out, size_t capacity);

  std::string name_;
  int fd_ = -1;  // -1: memory
  bool seekable_ = false;
  bool ended_ = false;
  const std::atomic<bool>* stop_ = nullptr;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  uint64_t base_ = 0;  // offset of buffer_[0]
};

}  // namespace mmucheck::trace
