#include "checker/trace/codec.h"

#include <fmt/format.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <climits>
#include <cstring>

#include "checker/trace/event_source.h"

namespace mmucheck::trace {
namespace {

constexpr std::string_view kGzMagic = "\x1f\x8b";
constexpr std::string_view kXzMagic(
    "\xfd"
    "7zXZ\0",
    6);
constexpr std::string_view kZstMagic = "\x28\xb5\x2f\xfd";
constexpr uint64_t kXzMemoryLimit = 256u << 20;
constexpr int kZstWindowLogMax = 27;

[[noreturn]] void truncated(const RawInput& input, const char* what) {
  throw TraceError(
      TraceErrorKind::kTruncated, {.file = input.name()},
      fmt::format("the {} stream ends early, at compressed byte {}", what, input.offset()));
}

[[noreturn]] void damaged(const RawInput& input, const char* what, std::string_view why) {
  throw TraceError(TraceErrorKind::kCorrupt, {.file = input.name()},
                   fmt::format("the {} stream is damaged near compressed byte {}: {}", what,
                               input.offset(), why));
}

class Plain final : public Codec {
 public:
  explicit Plain(RawInput& input) : input_(input) {}
  size_t read(char* out, size_t capacity) override {
    const std::string_view in = input_.available();
    const size_t n = std::min(in.size(), capacity);
    if (n == 0) return 0;
    std::memcpy(out, in.data(), n);
    input_.consume(n);
    return n;
  }
  std::string_view name() const override { return ""; }

 private:
  RawInput& input_;
};

class Gzip final : public Codec {
 public:
  explicit Gzip(RawInput& input) : input_(input) {
    if (inflateInit2(&z_, 15 + 16) != Z_OK) damaged(input_, "gzip", "cannot start the decoder");
  }
  ~Gzip() override { inflateEnd(&z_); }
  Gzip(const Gzip&) = delete;
  Gzip& operator=(const Gzip&) = delete;

  size_t read(char* out, size_t capacity) override {
    capacity = std::min<size_t>(capacity, UINT_MAX);
    z_.next_out = reinterpret_cast<Bytef*>(out);
    z_.avail_out = static_cast<uInt>(capacity);
    while (z_.avail_out == capacity) {
      const std::string_view in = input_.available();
      if (in.empty()) {
        if (!member_ended_) truncated(input_, "gzip");
        return 0;
      }
      if (member_ended_) {
        inflateReset(&z_);
        member_ended_ = false;
      }
      z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(in.data()));
      z_.avail_in = static_cast<uInt>(in.size());
      const int rc = inflate(&z_, Z_NO_FLUSH);
      input_.consume(in.size() - z_.avail_in);
      if (rc == Z_STREAM_END) {
        member_ended_ = true;
      } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
        damaged(input_, "gzip", z_.msg != nullptr ? z_.msg : "bad data");
      }
    }
    return capacity - z_.avail_out;
  }
  std::string_view name() const override { return "gz"; }

 private:
  RawInput& input_;
  z_stream z_{};
  bool member_ended_ = false;
};

class Xz final : public Codec {
 public:
  explicit Xz(RawInput& input) : input_(input) {
    if (lzma_stream_decoder(&s_, kXzMemoryLimit, LZMA_CONCATENATED) != LZMA_OK) {
      damaged(input_, "xz", "cannot start the decoder");
    }
  }
  ~Xz() override { lzma_end(&s_); }
  Xz(const Xz&) = delete;
  Xz& operator=(const Xz&) = delete;

  size_t read(char* out, size_t capacity) override {
    if (ended_) return 0;
    s_.next_out = reinterpret_cast<uint8_t*>(out);
    s_.avail_out = capacity;
    while (s_.avail_out == capacity && !ended_) {
      const std::string_view in = input_.available();
      s_.next_in = reinterpret_cast<const uint8_t*>(in.data());
      s_.avail_in = in.size();
      const lzma_ret rc = lzma_code(&s_, in.empty() ? LZMA_FINISH : LZMA_RUN);
      input_.consume(in.size() - s_.avail_in);
      switch (rc) {
        case LZMA_OK: break;
        case LZMA_STREAM_END: ended_ = true; break;
        case LZMA_BUF_ERROR: truncated(input_, "xz");
        case LZMA_MEMLIMIT_ERROR: damaged(input_, "xz", "needs more than 256 MiB to decode");
        default: damaged(input_, "xz", "bad data");
      }
    }
    return capacity - s_.avail_out;
  }
  std::string_view name() const override { return "xz"; }

 private:
  RawInput& input_;
  lzma_stream s_ = LZMA_STREAM_INIT;
  bool ended_ = false;
};

class Zstd final : public Codec {
 public:
  explicit Zstd(RawInput& input) : input_(input), d_(ZSTD_createDCtx()) {
    if (d_ == nullptr) damaged(input_, "zstd", "cannot start the decoder");
    ZSTD_DCtx_setParameter(d_, ZSTD_d_windowLogMax, kZstWindowLogMax);
  }
  ~Zstd() override { ZSTD_freeDCtx(d_); }
  Zstd(const Zstd&) = delete;
  Zstd& operator=(const Zstd&) = delete;

  size_t read(char* out, size_t capacity) override {
    ZSTD_outBuffer to{out, capacity, 0};
    while (to.pos == 0) {
      const std::string_view in = input_.available();
      if (in.empty() && !flushing_) {
        if (!frame_ended_) truncated(input_, "zstd");
        return 0;
      }
      ZSTD_inBuffer from{in.data(), in.size(), 0};
      const size_t rc = ZSTD_decompressStream(d_, &to, &from);
      input_.consume(from.pos);
      if (ZSTD_isError(rc)) damaged(input_, "zstd", ZSTD_getErrorName(rc));
      frame_ended_ = rc == 0;
      flushing_ = to.pos == to.size;  // the decoder may hold back more output than fitted
    }
    return to.pos;
  }
  std::string_view name() const override { return "zst"; }

 private:
  RawInput& input_;
  ZSTD_DCtx* d_;
  bool frame_ended_ = false;
  bool flushing_ = false;
};

}  // namespace

std::unique_ptr<Codec> make_codec(RawInput& input) {
  const std::string_view head = input.peek(kXzMagic.size());
  if (head.starts_with(kGzMagic)) return std::make_unique<Gzip>(input);
  if (head.starts_with(kXzMagic)) return std::make_unique<Xz>(input);
  if (head.starts_with(kZstMagic)) return std::make_unique<Zstd>(input);
  return std::make_unique<Plain>(input);
}

}  // namespace mmucheck::trace
