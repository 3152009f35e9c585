// The text encoding as a whole: writer and reader.
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>
#include <vector>

#include "checker/trace/event_generator.h"
#include "checker/trace/test_files.h"
#include "checker/trace/txtpb_reader.h"

namespace mmucheck::trace {
namespace {

std::string error_of(const std::string& text) {
  try {
    const auto source = opened(text);
    Event event;
    while (source->next(event)) {
    }
  } catch (const TraceError& e) {
    return e.what();
  }
  return "";
}

TEST(Txtpb, ReadsWhatAPersonWrites) {
  const auto source = opened(R"(# A comment, and an empty line.

packet { header { format_major: 1 kernel: KERNEL_VERSION_6_12 capability: "page_fault" } }
packet {
  ts_ns: 17 thread: 4 vm: 1          # fields in any order
  guest_access { gpa: 0x40001000 write: true vcpu_id: 2 }
}
packet { commit_memslot { change: 1 id: -1 } } packet { flush_all {} }
packet { cls: PACKET_CLASS_INPUT marker { text: "brackets } { and # in \"text\"" } }
)");
  EXPECT_EQ(source->info().encoding, "txtpb");
  EXPECT_EQ(source->info().kernel, KernelVersion::k6_12);
  EXPECT_TRUE(source->info().capabilities.test(static_cast<size_t>(EventKind::kPageFault)));
  Event e;
  ASSERT_TRUE(source->next(e));
  EXPECT_EQ(e.kind, EventKind::kGuestAccess);
  EXPECT_EQ(e.cls, PacketClass::kStimulus);
  EXPECT_EQ(e.ts_ns, 17u);
  EXPECT_EQ(e.get(f::guest_access::gpa), 0x40001000u);
  EXPECT_TRUE(e.has(f::guest_access::write));
  EXPECT_FALSE(e.has(f::guest_access::exec));
  EXPECT_EQ(e.stream_line, 4u);
  EXPECT_EQ(e.source_line, 0u);
  ASSERT_TRUE(source->next(e));
  EXPECT_EQ(e.get_signed(f::commit_memslot::id), -1);
  ASSERT_TRUE(source->next(e));
  EXPECT_EQ(e.kind, EventKind::kFlushAll);
  EXPECT_EQ(e.seq, 3u);
  ASSERT_TRUE(source->next(e));
  EXPECT_EQ(e.text, "brackets } { and # in \"text\"");
  EXPECT_EQ(e.cls, PacketClass::kInput);
  EXPECT_FALSE(source->next(e));
  EXPECT_FALSE(source->next(e));
}

TEST(Txtpb, WritesAddressesInHexadecimalOnOneLine) {
  Event e = event_of(EventKind::kSpteChanged, {0, 0x40000, 1, 1ull << 63, 0xe67});
  e.thread = 63;
  const std::string text = written("x.txtpb", {}, {e});
  EXPECT_NE(text.find("packet { thread: 63 spte_changed { as_id: 0 gfn: 0x40000 level: 1 "
                      "old_spte: 0x8000000000000000 new_spte: 0xe67 } }\n"),
            std::string::npos)
      << text;
}

RC_GTEST_PROP(Txtpb, RoundTripOfEveryKind, ()) {
  std::vector<OwnedEvent> owned;
  std::vector<Event> events;
  for (const KindInfo& info : all_kinds()) owned.push_back(random_event(info));
  for (const OwnedEvent& o : owned) events.push_back(o.event());
  const std::string text = written("x.txtpb", {}, events);
  const auto source = opened(text);
  Event event;
  for (const Event& expected : events) {
    RC_ASSERT(source->next(event));
    RC_ASSERT(same_event(expected, event));
  }
  RC_ASSERT(!source->next(event));
}

TEST(Txtpb, TextAndBinaryAreEqual) {
  const std::vector<Event> events = {event_of(EventKind::kStep, {3}),
                                     event_of(EventKind::kFaultPfn, {0x7ff7b, 1, 3})};
  TraceInfo info;
  info.kernel_text = "6.12.117";
  const std::string binary = written("x.pb", info, events);
  const auto text = opened(written("x.txtpb.zst", info, events));
  EXPECT_EQ(text->info().compression, "zst");
  std::vector<Event> again;
  Event event;
  while (text->next(event)) again.push_back(event);
  EXPECT_EQ(written("x.pb", text->info(), again), binary);
}

TEST(Txtpb, ErrorsNameTheLine) {
  const std::string good = "packet { step { count: 1 } }\n";
  EXPECT_EQ(error_of(good + "\npacket {\n  step { cuont: 1 }\n}\n"),
            "t: packet 2, line 4: column 15: Message type \"mmucheck.v1.Step\" has no field named "
            "\"cuont\".");
  EXPECT_TRUE(error_of(good + "packet { step {\n").starts_with("t: packet 2, line 2: truncated: "))
      << error_of(good + "packet { step {\n");
  EXPECT_EQ(error_of(good + "packet { } }\n"),
            "t: packet 2, line 2: a closing bracket without an opening one");
  EXPECT_EQ(error_of(good + "packet { marker { text: \"open } }\n"),
            "t: packet 2, line 2: a string is not closed at the end of its line");
  EXPECT_EQ(error_of(good + "packet { cpu: 1 }\n"), "t: packet 2, line 2: a packet has no body");
  EXPECT_EQ(error_of(good + "packet { header { format_major: 1 } }\n"),
            "t: packet 2, line 2: a header that is not the first packet");
  EXPECT_EQ(error_of(good + "packet { seq: 7 step {} }\n"),
            "t: packet 2, line 2: the packet is numbered 7");
  EXPECT_EQ(error_of("packet { header { format_major: 9 } }\n"),
            "t: line 1: written in format version 9.0; this program reads up to 1.x");
  EXPECT_EQ(error_of("packet { marker { text: \"" + std::string(1 << 20, 'x') + "\" } }\n"),
            "t: line 1: an entry is longer than 1 MiB");
}

TEST(Txtpb, AnEntryWithoutEndStaysBounded) {
  std::string text = "packet {\n";
  for (int i = 0; i < 300000; ++i) text += "# more\n";
  EXPECT_NE(error_of(text).find("an entry is longer than 1 MiB"), std::string::npos);
}

TEST(Txtpb, Sniffs) {
  EXPECT_TRUE(TxtpbReader::sniff("# c\n\n  packet {"));
  EXPECT_TRUE(TxtpbReader::sniff("packet: <"));
  EXPECT_FALSE(TxtpbReader::sniff("# tracer: nop\n# more\n  packet-63 [001]"));
  EXPECT_FALSE(TxtpbReader::sniff("packets {"));
  EXPECT_FALSE(TxtpbReader::sniff("# only a comment"));
  EXPECT_FALSE(TxtpbReader::sniff("packet"));
}

TEST(OpenTrace, TellsWhatItDoesNotKnow) {
  EXPECT_EQ(error_of("hello"), "t: not a trace in a format that is known (pb, txtpb)");
  EXPECT_EQ(error_of(""), "t: the file is empty");
  try {
    opened("packet { step {} }", {.forced_format = "ftrace"});
    FAIL();
  } catch (const TraceError& e) {
    EXPECT_EQ(e.kind(), TraceErrorKind::kUnknownFormat);
  }
}

TEST(OpenTrace, RegisteredFormatsComeAfterOwnOnes) {
  class Nothing final : public EventSource {
   public:
    bool next(Event&) override { return false; }
    const TraceInfo& info() const override { return info_; }

   private:
    TraceInfo info_{.encoding = "nothing"};
  };
  auto formats = own_formats();
  formats.push_back(
      {"nothing", [](std::string_view prefix) { return prefix.starts_with("# tracer"); },
       [](std::unique_ptr<ByteStream>, const OpenOptions&) -> std::unique_ptr<EventSource> {
         return std::make_unique<Nothing>();
       }});
  const auto source = open_trace(ByteStream::from_memory("# tracer: nop\n"), formats);
  EXPECT_EQ(source->info().encoding, "nothing");
}

}  // namespace
}  // namespace mmucheck::trace
