#include "checker/trace/pb_reader.h"

#include <fmt/format.h>
#include <xxhash.h>

#include <utility>

#include "checker/trace/envelope.h"

namespace mmucheck::trace {

void PbReader::HashDeleter::operator()(XXH3_state_s* state) const {
  XXH3_freeState(state);
}

PbReader::~PbReader() = default;

PbReader::PbReader(std::unique_ptr<ByteStream> stream, const OpenOptions& options)
    : stream_(std::move(stream)), options_(options), hash_(XXH3_createState()) {
  info_.file = stream_->name();
  info_.encoding = "pb";
  info_.compression = stream_->compression();
  if (stream_->peek(kMagic.size()).substr(0, kMagic.size()) != kMagic) {
    fail(TraceErrorKind::kCorrupt, "does not begin like a binary trace", 0);
  }
  stream_->consume(kMagic.size());
  XXH3_64bits_reset(hash_.get());
  window_ = stream_->window();
  Event event;
  const std::string_view packet = next_packet();
  if (decoder_.decode(packet, event) != wire::Decoded::kHeader) {
    fail(TraceErrorKind::kCorrupt, "the first packet is not a header", packet_start_);
  }
  decode_header(decoder_.special(), {.file = info_.file, .offset = kMagic.size()}, info_);
}

void PbReader::fail(TraceErrorKind kind, const std::string& message, size_t at) {
  throw TraceError(kind,
                   {.file = info_.file,
                    .packet = packet_,
                    .offset = static_cast<int64_t>(stream_->offset() + at)},
                   message);
}

void PbReader::truncated(std::string_view what) {
  fail(TraceErrorKind::kTruncated,
       fmt::format("truncated: {}; the {} packets before it are intact (--salvage keeps them)",
                   what, info_.packets),
       window_.size());
}

void PbReader::flush_window() {
  XXH3_64bits_update(hash_.get(), window_.data(), cursor_);
  stream_->consume(cursor_);
  packet_start_ -= cursor_;
  cursor_ = 0;
}

bool PbReader::ensure(size_t n) {
  if (window_.size() - cursor_ >= n) return true;
  flush_window();
  try {
    window_ = stream_->peek(n);
  } catch (const TraceError& e) {
    if (e.kind() != TraceErrorKind::kTruncated) throw;
    window_ = stream_->window();
    truncated(e.message());
  }
  return window_.size() >= n;
}

std::string_view PbReader::next_packet() {
  packet_start_ = cursor_;
  if (!ensure(1)) truncated("the file ends without its last packet");
  packet_start_ = cursor_;
  uint64_t length = 0;
  size_t prefix = 1;
  while (static_cast<uint8_t>(window_[cursor_ + prefix - 1]) >= 0x80) {
    if (++prefix > 4) break;
    if (!ensure(prefix)) truncated("the file ends within the length of a packet");
  }
  const auto* p = reinterpret_cast<const uint8_t*>(window_.data()) + cursor_;
  if (!wire::get_varint(p, p + prefix, length) || length > wire::kMaxPacketBytes) {
    fail(TraceErrorKind::kCorrupt, "corrupt: a packet claims to be longer than 1 MiB", cursor_);
  }
  if (!ensure(prefix + length)) truncated("the file ends within a packet");
  packet_start_ = cursor_;
  cursor_ += prefix + length;
  return window_.substr(packet_start_ + prefix, length);
}

void PbReader::finish(std::string_view bytes, size_t footer_packet_size) {
  Footer footer;
  const size_t at = packet_start_;
  if (!decode_footer(bytes, footer)) {
    fail(TraceErrorKind::kCorrupt, "corrupt: the footer is malformed", at);
  }
  const uint64_t packets = packet_ - 1;
  packet_ = 0;
  XXH3_64bits_update(hash_.get(), window_.data(), at);
  if (footer.packets != packets) {
    fail(TraceErrorKind::kCorrupt,
         fmt::format("corrupt: {} packets where the footer counts {}", packets, footer.packets),
         at);
  }
  if (footer.xxh3 != XXH3_64bits_digest(hash_.get())) {
    fail(TraceErrorKind::kHashMismatch,
         "corrupt: the packets are not those that were written (hash mismatch)", at);
  }
  stream_->consume(at + footer_packet_size);
  window_ = {};
  cursor_ = 0;
  if (!stream_->peek(1).empty()) {
    fail(TraceErrorKind::kCorrupt, "corrupt: bytes follow the footer", 0);
  }
}

bool PbReader::next(Event& event) {
  while (!ended_) {
    ++packet_;
    const std::string_view packet = next_packet();
    const wire::Decoded what = decoder_.decode(packet, event);
    switch (what) {
      case wire::Decoded::kEvent:
      case wire::Decoded::kUnknownKind:
        if (event.seq != 0 && event.seq != packet_) {
          fail(TraceErrorKind::kCorrupt,
               fmt::format("corrupt: the packet is numbered {}", event.seq), packet_start_);
        }
        event.seq = packet_;
        event.stream_line = 0;
        event.source_offset = stream_->offset() + packet_start_;
        account(event, info_);
        if (what == wire::Decoded::kEvent || options_.keep_unknown) return true;
        break;
      case wire::Decoded::kHeader:
        fail(TraceErrorKind::kCorrupt, "corrupt: a second header", packet_start_);
      case wire::Decoded::kFooter: {
        ended_ = true;
        finish(decoder_.special(), cursor_ - packet_start_);
        break;
      }
      case wire::Decoded::kBad:
        fail(TraceErrorKind::kCorrupt, fmt::format("corrupt: {}", decoder_.error()),
             packet_start_ + (cursor_ - packet_start_ - packet.size()) + decoder_.error_at());
    }
  }
  return false;
}

}  // namespace mmucheck::trace
