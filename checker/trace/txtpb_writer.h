// Layer: checker/trace. Contract: writes the text encoding, one packet a line, header first.
// Fields of a newer version have no names in text: they are left out and counted in dropped().
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "checker/trace/event_source.h"
#include "checker/trace/output_file.h"
#include "checker/trace/text_form.h"

namespace mmucheck::trace {

class TxtpbWriter final : public EventSink {
 public:
  TxtpbWriter(std::unique_ptr<OutputFile> out, const TraceInfo& info);

  void put(const Event& event) override;
  void close() override { out_->commit(); }
  uint64_t dropped() const override { return dropped_; }

 private:
  std::unique_ptr<OutputFile> out_;
  TextPrinter printer_;
  std::string buffer_;
  uint64_t dropped_ = 0;
};

}  // namespace mmucheck::trace
