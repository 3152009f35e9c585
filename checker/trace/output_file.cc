#include "checker/trace/output_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "checker/trace/event_source.h"

namespace mmucheck::trace {
namespace {

constexpr size_t kBuffer = 256u << 10;
constexpr int kZstdLevel = 6;

}  // namespace

class OutputFile::Compressor {
 public:
  Compressor() : c_(ZSTD_createCCtx()), out_(ZSTD_CStreamOutSize()) {
    ZSTD_CCtx_setParameter(c_, ZSTD_c_compressionLevel, kZstdLevel);
    ZSTD_CCtx_setParameter(c_, ZSTD_c_checksumFlag, 1);
  }
  ~Compressor() { ZSTD_freeCCtx(c_); }
  Compressor(const Compressor&) = delete;
  Compressor& operator=(const Compressor&) = delete;

  template <class Put>
  bool run(std::string_view in, bool last, Put put) {
    ZSTD_inBuffer from{in.data(), in.size(), 0};
    for (;;) {
      ZSTD_outBuffer to{out_.data(), out_.size(), 0};
      const size_t left = ZSTD_compressStream2(c_, &to, &from, last ? ZSTD_e_end : ZSTD_e_continue);
      if (ZSTD_isError(left)) return false;
      put(out_.data(), to.pos);
      if (last ? left == 0 : from.pos == from.size) return true;
    }
  }

 private:
  ZSTD_CCtx* c_;
  std::vector<char> out_;
};

OutputFile::OutputFile(const std::string& path) : path_(path) {
  buffer_.reserve(kBuffer);
  if (path_.ends_with(".zst")) compressor_ = std::make_unique<Compressor>();
  struct stat st {};
  if (path_ == "-") {
    fd_ = ::dup(STDOUT_FILENO);
  } else if (::stat(path_.c_str(), &st) == 0 && !S_ISREG(st.st_mode)) {
    fd_ = ::open(path_.c_str(), O_WRONLY | O_CLOEXEC);
  } else {
    temporary_ = path_ + ".XXXXXX";
    fd_ = ::mkostemp(temporary_.data(), O_CLOEXEC);
    if (fd_ < 0) {
      temporary_.clear();
    } else {
      const mode_t mask = ::umask(0);
      ::umask(mask);
      if (::fchmod(fd_, 0666 & ~mask) != 0) fail(std::strerror(errno));
    }
  }
  if (fd_ < 0) fail(std::strerror(errno));
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
  if (!temporary_.empty()) ::unlink(temporary_.c_str());
}

void OutputFile::fail(std::string_view what) {
  throw TraceError(TraceErrorKind::kUnreadable, {.file = path_},
                   fmt::format("cannot write: {}", what));
}

void OutputFile::put(const char* data, size_t size) {
  while (size > 0) {
    const ssize_t n = ::write(fd_, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(std::strerror(errno));
    data += n;
    size -= static_cast<size_t>(n);
  }
}

void OutputFile::flush() {
  put(buffer_.data(), buffer_.size());
  buffer_.clear();
}

void OutputFile::write(std::string_view bytes) {
  const auto add = [this](const char* data, size_t size) {
    if (buffer_.size() + size > kBuffer) flush();
    if (size > kBuffer) {
      put(data, size);
    } else {
      buffer_.insert(buffer_.end(), data, data + size);
    }
  };
  if (compressor_ == nullptr) {
    add(bytes.data(), bytes.size());
  } else if (!bytes.empty() && !compressor_->run(bytes, false, add)) {
    fail("the compressor failed");
  }
}

void OutputFile::commit() {
  if (compressor_ != nullptr && !compressor_->run({}, true, [this](const char* data, size_t size) {
        flush();
        put(data, size);
      })) {
    fail("the compressor failed");
  }
  flush();
  const int fd = fd_;
  fd_ = -1;
  if (::close(fd) != 0) fail(std::strerror(errno));
  if (temporary_.empty()) return;
  if (std::rename(temporary_.c_str(), path_.c_str()) != 0) fail(std::strerror(errno));
  temporary_.clear();
}

}  // namespace mmucheck::trace
