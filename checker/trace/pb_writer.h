// Layer: checker/trace. Contract: writes the binary encoding. The same events and info give the
// same bytes. Packets are numbered by their order; Event::seq is not stored.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "checker/trace/event_source.h"
#include "checker/trace/output_file.h"

struct XXH3_state_s;

namespace mmucheck::trace {

class PbWriter final : public EventSink {
 public:
  // Writes magic and header: kernel, clock, loss and capabilities of `info`.
  PbWriter(std::unique_ptr<OutputFile> out, const TraceInfo& info);
  ~PbWriter() override;

  // Throws TraceError kTooLarge for a packet above 1 MiB.
  void put(const Event& event) override;
  void close() override;

 private:
  void put_packet();  // buffer_ is the packet

  std::unique_ptr<OutputFile> out_;
  std::string buffer_, length_;
  uint64_t packets_ = 0;
  struct HashDeleter {
    void operator()(XXH3_state_s* state) const;
  };
  std::unique_ptr<XXH3_state_s, HashDeleter> hash_;
};

}  // namespace mmucheck::trace
