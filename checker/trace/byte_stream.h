// Layer: checker/trace. Contract: a trace's bytes after decompression, front to back, through a
// window that the caller looks into without copying. Constant memory: the window grows to at most
// kMaxPeek. Accepts plain, gzip, xz and zstd by content, and "-" for standard input. All failures
// are TraceError (see raw_input.h and codec.h).
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checker/trace/codec.h"
#include "checker/trace/raw_input.h"

namespace mmucheck::trace {

struct Line {
  std::string_view text;  // without the line end; of an overlong line its first bytes
  uint64_t number = 0;    // 1-based
  uint64_t offset = 0;    // byte offset of its start in the uncompressed stream
  bool overlong = false;  // the rest of it was skipped
};

class ByteStream {
 public:
  explicit ByteStream(const std::string& path, const std::atomic<bool>* stop = nullptr);
  static std::unique_ptr<ByteStream> from_memory(std::string bytes, std::string name = "memory");

  const std::string& name() const { return name_; }
  std::string_view compression() const { return compression_; }  // "", "gz", "xz", "zst"

  // All bytes in the window: at least `n` unless the stream ends before. Views stay valid until the
  // next call that takes more than is in the window. n <= kMaxPeek.
  std::string_view peek(size_t n) { return size() < n ? refill(n) : window(); }
  std::string_view window() const { return {buffer_.data() + begin_, size()}; }
  void consume(size_t n) { begin_ += n; }
  uint64_t offset() const { return base_ + begin_; }  // of the first byte in the window

  // The next line; false at the end. A last line without a line end counts; "\r\n" ends one, too.
  // Lines above `limit` bytes are cut (Line::overlong) and the rest of them is skipped;
  // a zero byte in one is an error (kCorrupt): a hole that a crash left in a file has no end.
  bool next_line(Line& line, size_t limit = kMaxLine);

  bool can_rewind() const { return input_->can_rewind(); }
  // Back to the start, where can_rewind().
  void rewind();
  // Afterwards can_rewind(): copies a pipe's whole content to an unlinked temporary file, at most
  // kMaxSpool bytes. Must be called before anything was consumed.
  void make_rewindable();

  static constexpr size_t kMaxPeek = 2u << 20;
  static constexpr size_t kMaxLine = 64u << 10;
  static constexpr uint64_t kMaxSpool = uint64_t{64} << 30;

 private:
  ByteStream(RawInput input, const std::atomic<bool>* stop);
  size_t size() const { return end_ - begin_; }
  std::string_view refill(size_t n);

  std::string name_;
  const std::atomic<bool>* stop_;
  std::unique_ptr<RawInput> input_;
  std::unique_ptr<Codec> codec_;
  std::string compression_;
  std::vector<char> buffer_;
  size_t begin_ = 0, end_ = 0;
  uint64_t base_ = 0;  // stream offset of buffer_[0]
  bool ended_ = false;
  uint64_t lines_ = 0;
  std::string overlong_;  // head of an overlong line
};

}  // namespace mmucheck::trace
