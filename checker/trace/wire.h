// Layer: checker/trace. Contract: the protobuf wire form of one Packet, straight from and to an
// Event, driven by the table of kinds. No allocation an event, every read bounds-checked.
// Equivalent to the generated classes with two differences, both errors here: a field with the
// wrong wire type (the classes keep it as unknown) and a second body (they merge it). Unknown
// fields are handed through in Event::unknown and ::unknown_outer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "checker/trace/event.h"

namespace mmucheck::trace::wire {

inline constexpr size_t kMaxPacketBytes = 1u << 20;
inline constexpr uint32_t kBodyFieldBase = 32;  // body field = base + number of the kind
inline constexpr uint32_t kHeaderField = 30;
inline constexpr uint32_t kFooterField = 31;
inline constexpr uint32_t kTextField = 31;  // within a body

enum class Decoded : uint8_t {
  kEvent,
  kUnknownKind,  // a kind of a newer minor version: kind kNone, unknown_outer is the whole packet
  kHeader,
  kFooter,
  kBad
};

class Decoder {
 public:
  // Fills everything of `event` but seq, source_offset and stream_line (seq: as stored, 0 if not).
  // Views in it point into `packet` or into this decoder, until the next call. For a header or
  // footer `special()` is its message. On kBad, `event` is unspecified.
  Decoded decode(std::string_view packet, Event& event);

  std::string_view special() const { return special_; }
  const char* error() const { return error_; }   // after kBad: what is wrong, without the place
  size_t error_at() const { return error_at_; }  // and the byte within the packet

 private:
  bool decode_body(const uint8_t* p, const uint8_t* end, Event& event);
  bool fail(const char* what, const uint8_t* at);

  const uint8_t* start_ = nullptr;
  std::string_view special_;
  std::string unknown_, unknown_outer_;
  const char* error_ = nullptr;
  size_t error_at_ = 0;
};

// Appends the packet's bytes (without a length). Bytes and order are those of the generated
// classes. `seq` (not event.seq) is stored when not 0. A kNone event is written as it was read.
void encode(const Event& event, std::string& out, uint64_t seq = 0);

// Appends a varint. Reads one: false when it is cut off or longer than 10 bytes.
void put_varint(std::string& out, uint64_t value);
bool get_varint(const uint8_t*& p, const uint8_t* end, uint64_t& value);

}  // namespace mmucheck::trace::wire
