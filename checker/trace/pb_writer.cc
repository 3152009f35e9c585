#include "checker/trace/pb_writer.h"

#include <xxhash.h>

#include <utility>

#include "checker/trace/envelope.h"
#include "checker/trace/wire.h"

namespace mmucheck::trace {

void PbWriter::HashDeleter::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

PbWriter::~PbWriter() = default;

PbWriter::PbWriter(std::unique_ptr<OutputFile> out, const TraceInfo& info)
    : out_(std::move(out)), hash_(XXH3_createState()) {
  XXH3_64bits_reset(hash_.get());
  out_->write(kMagic);
  buffer_ = encode_header(info);
  put_packet();
}

void PbWriter::put_packet() {
  length_.clear();
  wire::put_varint(length_, buffer_.size());
  XXH3_64bits_update(hash_.get(), length_.data(), length_.size());
  XXH3_64bits_update(hash_.get(), buffer_.data(), buffer_.size());
  out_->write(length_);
  out_->write(buffer_);
}

void PbWriter::put(const Event& event) {
  buffer_.clear();
  wire::encode(event, buffer_);
  ++packets_;
  if (buffer_.size() > wire::kMaxPacketBytes) {
    throw TraceError(TraceErrorKind::kTooLarge, {.file = out_->path(), .packet = packets_},
                     "the packet is longer than 1 MiB");
  }
  put_packet();
}

void PbWriter::close() {
  const uint64_t hash = XXH3_64bits_digest(hash_.get());
  buffer_ = encode_footer({.packets = packets_, .xxh3 = hash});
  put_packet();
  out_->commit();
}

}  // namespace mmucheck::trace
