#include "checker/trace/txtpb_writer.h"

#include <utility>

#include "checker/trace/envelope.h"
#include "checker/trace/wire.h"

namespace mmucheck::trace {

TxtpbWriter::TxtpbWriter(std::unique_ptr<OutputFile> out, const TraceInfo& info)
    : out_(std::move(out)) {
  bool dropped = false;
  out_->write(printer_.print(encode_header(info), dropped));
}

void TxtpbWriter::put(const Event& event) {
  if (event.kind == EventKind::kNone) {
    ++dropped_;
    return;
  }
  buffer_.clear();
  wire::encode(event, buffer_);
  bool dropped = false;
  const std::string line = printer_.print(buffer_, dropped);
  if (dropped) ++dropped_;
  out_->write(line);
}

}  // namespace mmucheck::trace
