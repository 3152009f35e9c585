// Layer: checker/trace. Contract: an output file that is complete or not there. Bytes go to a
// temporary file beside the target, commit() renames it; destroyed without commit(), it is removed
// and the old target is untouched. "-" is standard output; a target that exists and is no regular
// file (a pipe, /dev/null) is written directly. A name ending in .zst is compressed. Failures are
// TraceErrorKind::kUnreadable.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace mmucheck::trace {

class OutputFile {
 public:
  explicit OutputFile(const std::string& path);
  ~OutputFile();
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;

  void write(std::string_view bytes);
  void commit();
  const std::string& path() const { return path_; }

 private:
  class Compressor;
  void flush();
  void put(const char* data, size_t size);
  [[noreturn]] void fail(std::string_view what);

  std::string path_;
  std::string temporary_;  // empty: written directly
  int fd_ = -1;
  std::vector<char> buffer_;
  std::unique_ptr<Compressor> compressor_;
};

}  // namespace mmucheck::trace
