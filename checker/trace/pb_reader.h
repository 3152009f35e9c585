// Layer: checker/trace. Contract: reads the binary encoding (proto/mmucheck/v1/packet.proto) in
// constant memory. Errors name packet and byte: truncated (with the number of intact packets),
// corrupt, hash mismatch, newer major version. Everything up to an error was returned before it.
#pragma once

#include <memory>

#include "checker/trace/byte_stream.h"
#include "checker/trace/event_source.h"
#include "checker/trace/open_trace.h"
#include "checker/trace/wire.h"

struct XXH3_state_s;

namespace mmucheck::trace {

class PbReader final : public EventSource {
 public:
  // Reads the header at once; throws what next() throws.
  PbReader(std::unique_ptr<ByteStream> stream, const OpenOptions& options);
  ~PbReader() override;

  bool next(Event& event) override;
  const TraceInfo& info() const override { return info_; }

 private:
  // The bytes of the next packet, or throws. Valid until the next call.
  std::string_view next_packet();
  // Makes `n` bytes at the cursor available; false when the stream ends before.
  bool ensure(size_t n);
  void flush_window();
  void finish(std::string_view footer, size_t footer_packet_size);
  [[noreturn]] void fail(TraceErrorKind kind, const std::string& message, size_t at);
  [[noreturn]] void truncated(std::string_view what);

  std::unique_ptr<ByteStream> stream_;
  OpenOptions options_;
  TraceInfo info_;
  wire::Decoder decoder_;
  std::string_view window_;
  size_t cursor_ = 0;        // in the window: behind the packets taken
  size_t packet_start_ = 0;  // in the window: of the current packet's length
  uint64_t packet_ = 0;      // number of the packet being read, among those with a body
  bool ended_ = false;
  struct HashDeleter {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, HashDeleter> hash_;
};

}  // namespace mmucheck::trace
