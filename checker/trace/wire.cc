#include "checker/trace/wire.h"

#include <array>
#include <bit>

#include "checker/trace/event_kinds.h"

namespace mmucheck::trace::wire {
namespace {

enum WireType : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };

// Fields of the envelope, as in packet.proto.
enum Envelope : uint32_t {
  kSeq = 1,
  kTime = 2,
  kCpu = 3,
  kThread = 4,
  kVm = 5,
  kContext = 6,
  kSourceLine = 7,
  kClass = 8
};
constexpr uint32_t kLastEnvelopeField = kClass;

constexpr bool take_varint(const uint8_t*& p, const uint8_t* end, uint64_t& value) {
  if (p == end) return false;
  uint64_t v = *p++;
  if (v < 0x80) {
    value = v;
    return true;
  }
  v &= 0x7f;
  const uint8_t* const limit = end - p > 9 ? p + 9 : end;
  for (unsigned shift = 7; p != limit; shift += 7) {
    const uint64_t byte = *p++;
    v |= (byte & 0x7f) << shift;
    if (byte < 0x80) {
      value = v;
      return true;
    }
  }
  return false;
}

// Passes over the value of a field; false when it is cut off or of a type that does not exist.
bool skip_value(const uint8_t*& p, const uint8_t* end, uint32_t type) {
  uint64_t n = 0;
  const auto left = static_cast<uint64_t>(end - p);
  switch (type) {
    case kVarint: return take_varint(p, end, n);
    case kFixed64: n = 8; break;
    case kFixed32: n = 4; break;
    case kLength:
      if (!take_varint(p, end, n)) return false;
      if (n > static_cast<uint64_t>(end - p)) return false;
      p += n;
      return true;
    default: return false;
  }
  if (n > left) return false;
  p += n;
  return true;
}

std::string_view view(const uint8_t* begin, const uint8_t* end) {
  return {reinterpret_cast<const char*>(begin), static_cast<size_t>(end - begin)};
}

// An enum is an int32 on the wire, negative ones sign-extended.
uint64_t as_enum(uint64_t value) {
  return static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(value)));
}

uint64_t normalised(const KindInfo& info, size_t i, uint64_t value) {
  if (info.bool_mask >> i & 1) return value != 0;
  if (info.enum_mask >> i & 1) return as_enum(value);
  return value;
}

uint8_t* write_varint(uint8_t* p, uint64_t value) {
  while (value >= 0x80) {
    *p++ = static_cast<uint8_t>(value | 0x80);
    value >>= 7;
  }
  *p++ = static_cast<uint8_t>(value);
  return p;
}

uint8_t* write_field(uint8_t* p, uint32_t field, uint64_t value) {
  return value == 0 ? p : write_varint(write_varint(p, field << 3 | kVarint), value);
}

}  // namespace

bool get_varint(const uint8_t*& p, const uint8_t* end, uint64_t& value) {
  return take_varint(p, end, value);
}

void put_varint(std::string& out, uint64_t value) {
  std::array<uint8_t, 10> buffer;
  const uint8_t* end = write_varint(buffer.data(), value);
  out.append(view(buffer.data(), end));
}

bool Decoder::fail(const char* what, const uint8_t* at) {
  error_ = what;
  error_at_ = static_cast<size_t>(at - start_);
  return false;
}

bool Decoder::decode_body(const uint8_t* p, const uint8_t* end, Event& event) {
  const KindInfo& info = *find_kind(static_cast<uint32_t>(event.kind));
  const size_t count = info.fields.size();
  uint32_t present = 0;
  while (p != end) {
    const uint8_t* const at = p;
    uint64_t key = 0;
    if (!take_varint(p, end, key)) return fail("a field tag is cut off", at);
    const uint64_t index = (key >> 3) - 1;
    if (index < count) {
      if ((key & 7) != kVarint) return fail("a field has the wrong wire type", at);
      uint64_t value = 0;
      if (!take_varint(p, end, value)) return fail("a number is cut off or too long", at);
      event.f[index] = value;
      present |= uint32_t{1} << index;
      continue;
    }
    if (key >> 3 == 0 || key >> 32 != 0) return fail("a field number is out of range", at);
    if (key == (kTextField << 3 | kLength) && !info.text_field.empty()) {
      uint64_t n = 0;
      if (!take_varint(p, end, n) || n > static_cast<uint64_t>(end - p)) {
        return fail("a text is cut off", at);
      }
      event.text = view(p, p + n);
      p += n;
      continue;
    }
    if (key >> 3 == kTextField && !info.text_field.empty()) {
      return fail("a field has the wrong wire type", at);
    }
    if (!skip_value(p, end, key & 7)) return fail("an unknown field is cut off or malformed", at);
    unknown_.append(view(at, p));
  }
  event.present = present;
  for (uint32_t odd = present & (info.bool_mask | info.enum_mask); odd != 0; odd &= odd - 1) {
    const auto i = static_cast<size_t>(std::countr_zero(odd));
    event.f[i] = normalised(info, i, event.f[i]);
  }
  if (!unknown_.empty()) event.unknown = unknown_;
  return true;
}

Decoded Decoder::decode(std::string_view packet, Event& event) {
  const uint8_t* p = reinterpret_cast<const uint8_t*>(packet.data());
  const uint8_t* const end = p + packet.size();
  start_ = p;
  special_ = {};
  if (!unknown_.empty()) unknown_.clear();
  if (!unknown_outer_.empty()) unknown_outer_.clear();
  event.reset_body(EventKind::kNone, PacketClass::kConfig);
  event.seq = event.ts_ns = event.source_line = 0;
  event.cpu = event.thread = event.vm = event.context = 0;
  uint64_t cls = 0;
  uint32_t special_field = 0;
  const KindInfo* info = nullptr;
  const auto bad = [&](const char* what, const uint8_t* at) {
    fail(what, at);
    return Decoded::kBad;
  };

  while (p != end) {
    const uint8_t* const at = p;
    uint64_t key = 0;
    uint64_t value = 0;
    if (!take_varint(p, end, key)) return bad("a field tag is cut off", at);
    const uint64_t field = key >> 3;
    if (field == 0 || key >> 32 != 0) return bad("a field number is out of range", at);
    if (field <= kLastEnvelopeField) {
      if ((key & 7) != kVarint) return bad("a field has the wrong wire type", at);
      if (!take_varint(p, end, value)) return bad("a number is cut off or too long", at);
      switch (field) {
        case kSeq: event.seq = value; break;
        case kTime: event.ts_ns = value; break;
        case kCpu: event.cpu = static_cast<uint32_t>(value); break;
        case kThread: event.thread = static_cast<uint32_t>(value); break;
        case kVm: event.vm = static_cast<uint32_t>(value); break;
        case kContext: event.context = static_cast<uint32_t>(value); break;
        case kSourceLine: event.source_line = value; break;
        default: cls = as_enum(value); break;
      }
      continue;
    }
    const bool is_special = field == kHeaderField || field == kFooterField;
    const KindInfo* const kind = field > kBodyFieldBase && field < kBodyFieldBase + kEventKindLimit
                                     ? find_kind(static_cast<uint32_t>(field) - kBodyFieldBase)
                                     : nullptr;
    if (kind == nullptr && !is_special) {
      if (!skip_value(p, end, key & 7)) return bad("an unknown field is cut off or malformed", at);
      unknown_outer_.append(view(at, p));
      continue;
    }
    if ((key & 7) != kLength) return bad("a field has the wrong wire type", at);
    if (!take_varint(p, end, value) || value > static_cast<uint64_t>(end - p)) {
      return bad("the body is cut off", at);
    }
    if (info != nullptr || special_field != 0) return bad("a packet has two bodies", at);
    if (is_special) {
      special_field = static_cast<uint32_t>(field);
      special_ = view(p, p + value);
    } else {
      info = kind;
      event.kind = kind->kind;
      if (!decode_body(p, p + value, event)) return Decoded::kBad;
    }
    p += value;
  }

  if (special_field != 0)
    return special_field == kHeaderField ? Decoded::kHeader : Decoded::kFooter;
  if (cls > 4) return bad("the packet class does not exist", end);
  if (info == nullptr) {
    if (unknown_outer_.empty()) return bad("a packet has no body", end);
    event.unknown_outer = packet;
    return Decoded::kUnknownKind;
  }
  event.cls = cls == 0 ? info->cls : static_cast<PacketClass>(cls - 1);
  if (!unknown_outer_.empty()) event.unknown_outer = unknown_outer_;
  return Decoded::kEvent;
}

void encode(const Event& event, std::string& out, uint64_t seq) {
  const KindInfo* const info = find_kind(static_cast<uint32_t>(event.kind));
  if (info == nullptr) {
    out.append(event.unknown_outer);
    return;
  }
  // At most 20 fields of 12 bytes, and the start of the text.
  std::array<uint8_t, kMaxFields * 12 + 16> body;
  uint8_t* b = body.data();
  uint32_t left = event.present & ((uint32_t{1} << info->fields.size()) - 1);
  for (; left != 0; left &= left - 1) {
    const auto i = static_cast<uint32_t>(std::countr_zero(left));
    b = write_varint(b, (i + 1) << 3 | kVarint);
    b = write_varint(b, normalised(*info, i, event.f[i]));
  }
  const bool has_text = !event.text.empty() && !info->text_field.empty();
  if (has_text) {
    b = write_varint(b, kTextField << 3 | kLength);
    b = write_varint(b, event.text.size());
  }
  const std::string_view fields = view(body.data(), b);
  const size_t length = fields.size() + (has_text ? event.text.size() : 0) + event.unknown.size();

  std::array<uint8_t, 9 * 12 + 16> head;
  uint8_t* h = head.data();
  h = write_field(h, kSeq, seq);
  h = write_field(h, kTime, event.ts_ns);
  h = write_field(h, kCpu, event.cpu);
  h = write_field(h, kThread, event.thread);
  h = write_field(h, kVm, event.vm);
  h = write_field(h, kContext, event.context);
  h = write_field(h, kSourceLine, event.source_line);
  if (event.cls != info->cls) h = write_field(h, kClass, static_cast<uint64_t>(event.cls) + 1);
  h = write_varint(h, (kBodyFieldBase + static_cast<uint32_t>(event.kind)) << 3 | kLength);
  h = write_varint(h, length);
  out.append(view(head.data(), h));
  out.append(fields);
  if (has_text) out.append(event.text);
  out.append(event.unknown);
  out.append(event.unknown_outer);
}

}  // namespace mmucheck::trace::wire
