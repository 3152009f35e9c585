// Layer: checker/trace. Contract: reads the text encoding, `packet { ... }` entries with comments,
// in constant memory: an entry is taken when its brackets close. Limits: an entry and a line 1 MiB,
// nesting 8. Errors name the line (and the packet).
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "checker/trace/byte_stream.h"
#include "checker/trace/event_source.h"
#include "checker/trace/open_trace.h"
#include "checker/trace/wire.h"

namespace mmucheck::trace {

class TxtpbReader final : public EventSource {
 public:
  // Reads up to the first packet at once; throws what next() throws.
  TxtpbReader(std::unique_ptr<ByteStream> stream, const OpenOptions& options);

  bool next(Event& event) override;
  const TraceInfo& info() const override { return info_; }

  // Whether a file that begins so is one.
  static bool sniff(std::string_view prefix);

 private:
  // Collects the lines of the next entries into packets_; false at the end.
  bool read_entries();
  [[noreturn]] void fail(TraceErrorKind kind, const std::string& message, uint64_t line);

  std::unique_ptr<ByteStream> stream_;
  TraceInfo info_;
  std::string text_;                            // the entries being collected
  std::vector<std::string> packets_;            // their wire bytes
  size_t taken_ = 0;                            // of packets_
  uint64_t first_line_ = 0, first_offset_ = 0;  // where text_ begins
  uint64_t packet_ = 0;
  wire::Decoder decoder_;
};

}  // namespace mmucheck::trace
