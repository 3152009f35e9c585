#include "checker/trace/wire.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/message.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "checker/trace/event_generator.h"
#include "mmucheck/v1/packet.pb.h"

namespace mmucheck::trace {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// The independent way from an event to a message: by name, through reflection.
v1::Packet to_proto(const Event& e) {
  v1::Packet packet;
  const KindInfo& info = kind_info(e.kind);
  packet.set_ts_ns(e.ts_ns);
  packet.set_cpu(e.cpu);
  packet.set_thread(e.thread);
  packet.set_vm(e.vm);
  packet.set_context(e.context);
  packet.set_source_line(e.source_line);
  if (e.cls != info.cls) packet.set_cls(static_cast<v1::PacketClass>(static_cast<int>(e.cls) + 1));
  Message* body = packet.GetReflection()->MutableMessage(
      &packet, packet.GetDescriptor()->FindFieldByName(std::string(info.name)));
  const Reflection& r = *body->GetReflection();
  for (size_t i = 0; i < info.fields.size(); ++i) {
    if (!e.has(i)) continue;
    const FieldDescriptor* f =
        body->GetDescriptor()->FindFieldByName(std::string(info.fields[i].name));
    switch (info.fields[i].type) {
      case FieldType::kSigned: r.SetInt64(body, f, e.get_signed(i)); break;
      case FieldType::kBool: r.SetBool(body, f, e.get(i) != 0); break;
      case FieldType::kEnum: r.SetEnumValue(body, f, static_cast<int>(e.get(i))); break;
      default: r.SetUInt64(body, f, e.get(i)); break;
    }
  }
  if (!e.text.empty()) {
    r.SetString(body, body->GetDescriptor()->FindFieldByNumber(wire::kTextField),
                std::string(e.text));
  }
  return packet;
}

RC_GTEST_PROP(Wire, EncodesLikeTheGeneratedClasses, ()) {
  for (const KindInfo& info : all_kinds()) {
    const OwnedEvent owned = random_event(info);
    std::string bytes;
    wire::encode(owned.event(), bytes);
    RC_ASSERT(bytes == to_proto(owned.event()).SerializeAsString());
  }
}

RC_GTEST_PROP(Wire, DecodesWhatTheGeneratedClassesWrite, ()) {
  wire::Decoder decoder;
  for (const KindInfo& info : all_kinds()) {
    const OwnedEvent owned = random_event(info);
    const std::string bytes = to_proto(owned.event()).SerializeAsString();
    Event out;
    RC_ASSERT(decoder.decode(bytes, out) == wire::Decoded::kEvent);
    RC_ASSERT(same_event(owned.event(), out));
  }
}

// Whatever the decoder accepts of damaged bytes, the generated classes accept, and they agree.
void damage_and_compare(const KindInfo& info) {
  const OwnedEvent owned = random_event(info);
  std::string bytes;
  wire::encode(owned.event(), bytes);
  const auto flips = *rc::gen::inRange(1, 4);
  for (int i = 0; i < flips; ++i) {
    const auto at = *rc::gen::inRange<size_t>(0, bytes.size());
    bytes[at] = static_cast<char>(bytes[at] ^ (1 << *rc::gen::inRange(0, 8)));
  }
  if (*rc::gen::arbitrary<bool>()) bytes.resize(*rc::gen::inRange<size_t>(0, bytes.size()));
  wire::Decoder decoder;
  Event out;
  const wire::Decoded what = decoder.decode(bytes, out);
  if (what == wire::Decoded::kBad) {
    RC_ASSERT(decoder.error() != nullptr);
    RC_ASSERT(decoder.error_at() <= bytes.size());
    return;
  }
  v1::Packet packet;
  if (what != wire::Decoded::kHeader && what != wire::Decoded::kFooter) {
    RC_ASSERT(packet.ParseFromString(bytes));
  }
  if (what != wire::Decoded::kEvent) return;
  std::string again;
  wire::encode(out, again, out.seq);
  v1::Packet second;
  RC_ASSERT(second.ParseFromString(again));
  // The class may be given explicitly where it is the default, so compare it apart.
  const int cls = packet.cls() == 0 ? static_cast<int>(kind_info(out.kind).cls) + 1 : packet.cls();
  RC_ASSERT(static_cast<int>(out.cls) + 1 == cls);
  packet.clear_cls();
  second.clear_cls();
  RC_ASSERT(packet.SerializeAsString() == second.SerializeAsString());
}

RC_GTEST_PROP(Wire, DamagedBytesAreRefusedOrReadAlike, ()) {
  for (const KindInfo& info : all_kinds()) damage_and_compare(info);
}

TEST(Wire, RefusesWithThePlace) {
  struct Case {
    std::string bytes;
    std::string error;
    size_t at;
  };
  std::string step;  // field 32 + 128 = 160: tag 1282 = 82 0a
  Event e;
  start_event(e, EventKind::kStep);
  wire::encode(e, step);
  ASSERT_EQ(step, std::string("\x82\x0a\x00", 3));
  const std::vector<Case> cases = {
      {"", "a packet has no body", 0},
      {std::string("\x18", 1), "a number is cut off or too long", 0},
      {std::string("\x18") + std::string(10, '\xff') + "\x01", "a number is cut off or too long",
       0},
      {std::string("\x1a\x00", 2), "a field has the wrong wire type", 0},
      {step + step, "a packet has two bodies", 3},
      {std::string("\x82\x0a\x05\x08", 4), "the body is cut off", 0},
      {std::string("\x82\x0a\x01\x08", 4), "a number is cut off or too long", 3},
      {std::string("\x82\x0a\x02\x0a\x00", 5), "a field has the wrong wire type", 3},
      {std::string("\x40\x05", 2) + step, "the packet class does not exist", 5},
      {std::string("\x00\x00", 2), "a field number is out of range", 0},
      {std::string("\x93\x01", 2), "an unknown field is cut off or malformed", 0},
  };
  for (const Case& c : cases) {
    wire::Decoder decoder;
    Event out;
    EXPECT_EQ(decoder.decode(c.bytes, out), wire::Decoded::kBad) << c.error;
    EXPECT_EQ(decoder.error(), c.error);
    EXPECT_EQ(decoder.error_at(), c.at) << c.error;
  }
}

TEST(Wire, UnknownFieldsAndKindsAreHandedThrough) {
  Event e;
  start_event(e, EventKind::kStep);
  e.set(f::step::count, 7);
  const std::string in_body("\xa0\x06\x2a\xaa\x06\x01x", 7);  // field 100: 42 and "x"
  const std::string outer("\x80\x7d\x01", 3);                 // field 2000: 1
  e.unknown = in_body;
  e.unknown_outer = outer;
  std::string bytes;
  wire::encode(e, bytes);
  wire::Decoder decoder;
  Event out;
  ASSERT_EQ(decoder.decode(bytes, out), wire::Decoded::kEvent);
  EXPECT_EQ(out.get(f::step::count), 7u);
  EXPECT_EQ(out.unknown, in_body);
  EXPECT_EQ(out.unknown_outer, outer);
  std::string again;
  wire::encode(out, again);
  EXPECT_EQ(again, bytes);
  v1::Packet packet;
  EXPECT_TRUE(packet.ParseFromString(bytes));

  const std::string foreign("\x10\x05\x82\x21\x02\x08\x01", 7);  // body field 528: kind 496
  ASSERT_EQ(decoder.decode(foreign, out), wire::Decoded::kUnknownKind);
  EXPECT_EQ(out.kind, EventKind::kNone);
  EXPECT_EQ(out.ts_ns, 5u);
  again.clear();
  wire::encode(out, again);
  EXPECT_EQ(again, foreign);

  // Nothing of it is left when the decoder goes on.
  ASSERT_EQ(decoder.decode(std::string("\x82\x0a\x00", 3), out), wire::Decoded::kEvent);
  EXPECT_TRUE(out.unknown.empty() && out.unknown_outer.empty());
}

}  // namespace
}  // namespace mmucheck::trace
