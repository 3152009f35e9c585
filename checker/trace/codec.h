// Layer: checker/trace. Contract: streaming decompression in constant memory (decoders may use at
// most 256 MiB of window). Recognised by content: gzip, xz, zstd; concatenated members are one
// stream. A stream that ends early is TraceErrorKind::kTruncated, a damaged one kCorrupt, both with
// the offset in the compressed file.
#pragma once

#include <cstddef>
#include <memory>
#include <string_view>

#include "checker/trace/raw_input.h"

namespace mmucheck::trace {

class Codec {
 public:
  virtual ~Codec() = default;
  // Next bytes of the uncompressed stream, at most `capacity` (> 0); 0 only at the end.
  virtual size_t read(char* out, size_t capacity) = 0;
  virtual std::string_view name() const = 0;  // "", "gz", "xz", "zst"
};

// Looks at the first bytes of `input`, which must outlive the codec.
std::unique_ptr<Codec> make_codec(RawInput& input);

}  // namespace mmucheck::trace
