// The binary encoding as a whole: writer and reader.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <optional>
#include <string>
#include <vector>

#include "checker/trace/envelope.h"
#include "checker/trace/event_generator.h"
#include "checker/trace/test_files.h"
#include "checker/trace/wire.h"

namespace mmucheck::trace {
namespace {

std::vector<Event> small_events() {
  std::vector<Event> events = {
      event_of(EventKind::kStep, {3}), event_of(EventKind::kPageFault, {0, 0x1000, 0x40001000, 6}),
      event_of(EventKind::kFlushAll),
      event_of(EventKind::kSpteChanged, {0, 0x40000, 1, 1ull << 63, 0xe67})};
  events[1].thread = 63;
  events[1].ts_ns = 32883529000;
  events[1].vm = 1;
  return events;
}

TraceInfo small_info() {
  TraceInfo info;
  info.kernel = KernelVersion::k7_2;
  info.kernel_text = "7.2.13";
  info.clock = ClockKind::kNanoseconds;
  info.loss = LossState::kNone;
  info.capabilities_known = true;
  info.capabilities.set(static_cast<size_t>(EventKind::kPageFault));
  info.capabilities.set(static_cast<size_t>(EventKind::kMockTrack));
  info.unknown_capabilities = {"a_kind_of_tomorrow"};
  info.silent.set(static_cast<size_t>(EventKind::kMockReleaseHkid));
  return info;
}

// Number of events before the end or the error.
struct Outcome {
  size_t events = 0;
  std::optional<TraceErrorKind> error;
  std::string message;
};

Outcome read_through(const std::string& bytes) {
  Outcome out;
  try {
    const auto source = opened(bytes);
    Event event;
    while (source->next(event)) ++out.events;
  } catch (const TraceError& e) {
    out.error = e.kind();
    out.message = e.what();
  }
  return out;
}

TEST(Pb, RoundTripOfEventsAndInfo) {
  const auto events = small_events();
  for (const char* name : {"a.pb", "a.pb.zst"}) {
    const std::string bytes = written(name, small_info(), events);
    const auto source = opened(bytes);
    const TraceInfo& info = source->info();
    EXPECT_EQ(info.encoding, "pb");
    EXPECT_EQ(info.compression, std::string_view(name).ends_with("zst") ? "zst" : "");
    EXPECT_EQ(info.format_major, kFormatMajor);
    EXPECT_EQ(info.kernel, KernelVersion::k7_2);
    EXPECT_EQ(info.kernel_text, "7.2.13");
    EXPECT_EQ(info.capabilities, small_info().capabilities);
    EXPECT_EQ(info.unknown_capabilities, small_info().unknown_capabilities);
    EXPECT_EQ(info.silent, small_info().silent);
    Event event;
    for (size_t i = 0; i < events.size(); ++i) {
      ASSERT_TRUE(source->next(event));
      EXPECT_TRUE(same_event(events[i], event)) << i;
      EXPECT_EQ(event.seq, i + 1);
    }
    EXPECT_FALSE(source->next(event));
    EXPECT_FALSE(source->next(event)) << "the end stays the end";
    EXPECT_EQ(info.packets, events.size());
    // A copy is byte for byte the same.
    std::vector<Event> again;
    const auto second = opened(bytes);
    while (second->next(event)) again.push_back(event);
    EXPECT_EQ(written(name, second->info(), again), bytes);
  }
}

RC_GTEST_PROP(Pb, RoundTripOfRandomEvents, ()) {
  std::vector<OwnedEvent> owned;
  std::vector<Event> events;
  for (int i = 0; i < 50; ++i) owned.push_back(random_event());
  for (const OwnedEvent& o : owned) events.push_back(o.event());
  const auto source = opened(written("x.pb", {}, events));
  Event event;
  for (const Event& expected : events) {
    RC_ASSERT(source->next(event));
    RC_ASSERT(same_event(expected, event));
  }
  RC_ASSERT(!source->next(event));
}

TEST(Pb, LongFilesCrossTheWindow) {
  std::vector<Event> events;
  std::string text(300000, 'x');
  for (uint64_t i = 0; i < 40000; ++i) {
    events.push_back(event_of(EventKind::kSpteChanged, {0, i * 977, 1, i << 40, i * i}));
    if (i % 10000 == 5) {
      events.push_back(event_of(EventKind::kMarker));
      events.back().text = text;
    }
  }
  const std::string bytes = written("x.pb", {}, events);
  const auto source = opened(bytes);
  Event event;
  for (const Event& expected : events) {
    ASSERT_TRUE(source->next(event));
    ASSERT_TRUE(same_event(expected, event));
    ASSERT_LT(event.source_offset, bytes.size());
  }
  EXPECT_FALSE(source->next(event));
}

TEST(Pb, TruncationAtEveryByteIsToldWithTheIntactPackets) {
  const auto events = small_events();
  const std::string bytes = written("x.pb", {}, events);
  size_t most = 0;
  for (size_t n = 8; n < bytes.size(); ++n) {
    const Outcome out = read_through(bytes.substr(0, n));
    ASSERT_EQ(out.error, TraceErrorKind::kTruncated) << n << " " << out.message;
    ASSERT_NE(out.message.find("the " + std::to_string(out.events) + " packets before it"),
              std::string::npos)
        << out.message;
    ASSERT_NE(out.message.find("byte " + std::to_string(n)), std::string::npos) << out.message;
    ASSERT_GE(out.events, most);
    most = out.events;
  }
  EXPECT_EQ(most, events.size());
  EXPECT_EQ(read_through(bytes.substr(0, 5)).error, TraceErrorKind::kCorrupt);
  EXPECT_EQ(read_through("").error, TraceErrorKind::kCorrupt);
}

TEST(Pb, ATruncatedCompressedFileKeepsItsPackets) {
  std::vector<Event> events;
  for (uint64_t i = 0; i < 200000; ++i) {
    events.push_back(event_of(EventKind::kSpteChanged, {0, i * 977, 1, i << 40, i * i}));
  }
  const std::string bytes = written("x.pb.zst", {}, events);
  const Outcome out = read_through(bytes.substr(0, bytes.size() / 2));
  EXPECT_EQ(out.error, TraceErrorKind::kTruncated);
  EXPECT_GT(out.events, 10000u);
  EXPECT_NE(out.message.find("zstd stream ends early"), std::string::npos) << out.message;
  EXPECT_NE(out.message.find("--salvage"), std::string::npos) << out.message;
}

TEST(Pb, EveryFlippedBitIsNoticed) {
  const std::string bytes = written("x.pb", small_info(), small_events());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::string damaged = bytes;
      damaged[i] = static_cast<char>(damaged[i] ^ (1 << bit));
      const Outcome out = read_through(damaged);
      ASSERT_TRUE(out.error.has_value()) << "byte " << i << " bit " << bit;
      ASSERT_TRUE(out.message.starts_with("t: ")) << out.message;
    }
  }
}

RC_GTEST_PROP(Pb, RandomBytesNeverDoHarm, ()) {
  std::string bytes(kMagic);
  bytes += *rc::gen::arbitrary<std::string>();
  RC_ASSERT(read_through(bytes).error.has_value());
  const std::string header = encode_header({});
  std::string behind_header(kMagic);
  wire::put_varint(behind_header, header.size());
  behind_header += header + *rc::gen::arbitrary<std::string>();
  RC_ASSERT(read_through(behind_header).error.has_value());
}

std::string with_header(const std::string& header_message) {
  std::string packet("\xf2\x01", 2);
  wire::put_varint(packet, header_message.size());
  packet += header_message;
  std::string bytes(kMagic);
  wire::put_varint(bytes, packet.size());
  return bytes + packet;
}

TEST(Pb, ANewerMajorVersionIsRefusedClearly) {
  const Outcome out = read_through(with_header(std::string("\x08\x02\x10\x05", 4)));
  EXPECT_EQ(out.error, TraceErrorKind::kTooNew);
  EXPECT_NE(out.message.find("format version 2.5; this program reads up to 1.x"), std::string::npos)
      << out.message;
  // A newer minor version is read; here up to its missing end.
  const Outcome minor = read_through(with_header(std::string("\x08\x01\x10\x05", 4)));
  EXPECT_EQ(minor.error, TraceErrorKind::kTruncated);
}

TEST(Pb, AHugeLengthIsRefusedWithoutReadingIt) {
  std::string bytes = with_header(std::string("\x08\x01", 2));
  wire::put_varint(bytes, (1u << 20) + 1);
  const Outcome out = read_through(bytes + std::string(2 << 20, 'x'));
  EXPECT_EQ(out.error, TraceErrorKind::kCorrupt);
  EXPECT_NE(out.message.find("longer than 1 MiB"), std::string::npos) << out.message;
  Event event = event_of(EventKind::kMarker);
  const std::string text(1 << 20, 'x');
  event.text = text;
  EXPECT_THROW(written("x.pb", {}, {event}), TraceError);
}

TEST(Pb, UnknownFieldsAndKindsSurviveACopy) {
  const std::string inner("\xa0\x06\x2a", 3);
  const std::string outer("\x80\x7d\x01", 3);
  const std::string foreign("\x10\x05\x82\x21\x02\x08\x01", 7);
  std::vector<Event> events = small_events();
  events[0].unknown = inner;
  events[1].unknown_outer = outer;
  Event unknown;
  unknown.unknown_outer = foreign;
  events.push_back(unknown);
  const std::string bytes = written("x.pb", {}, events);

  const ScratchDir dir;
  const auto source = opened(bytes, {.keep_unknown = true});
  const auto sink = create_trace(dir.file("y.pb"), source->info());
  Event event;
  while (source->next(event)) sink->put(event);
  sink->close();
  EXPECT_EQ(slurp(dir.file("y.pb")), bytes);

  const auto plain = opened(bytes);
  size_t seen = 0;
  while (plain->next(event)) ++seen;
  EXPECT_EQ(seen, events.size() - 1) << "an unknown kind is passed over";
  EXPECT_EQ(plain->info().skipped.at("unknown kind"), 1u);
}

TEST(Pb, LostEventsAreListed) {
  const auto source = opened(written(
      "x.pb", {}, {event_of(EventKind::kStep), event_of(EventKind::kLostEvents, {188, 1, 1})}));
  Event event;
  while (source->next(event)) {
  }
  ASSERT_EQ(source->info().lost.size(), 1u);
  EXPECT_EQ(source->info().lost[0].count, 188u);
  EXPECT_EQ(source->info().lost[0].cpu, 1u);
  EXPECT_EQ(source->info().lost[0].how, LossHow::kCounted);
  EXPECT_EQ(source->info().loss, LossState::kLost);
}

TEST(Pb, NothingIsLeftWithoutClose) {
  const ScratchDir dir;
  {
    const auto sink = create_trace(dir.file("x.pb"), {});
    sink->put(event_of(EventKind::kStep));
    EXPECT_EQ(dir.entries(), 1u);
  }
  EXPECT_EQ(dir.entries(), 0u);
  EXPECT_THROW(create_trace(dir.file("x.doc"), {}), TraceError);
  EXPECT_THROW(create_trace(dir.file("no/such/dir/x.pb"), {}), TraceError);
  EXPECT_EQ(dir.entries(), 0u);
}

}  // namespace
}  // namespace mmucheck::trace
