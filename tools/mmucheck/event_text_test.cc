#include "tools/mmucheck/event_text.h"

#include <gtest/gtest.h>

#include "checker/trace/event_kinds.h"

namespace mmucheck::cli {
namespace {

trace::Event faultin() {
  trace::Event e;
  trace::start_event(e, trace::EventKind::kFaultinRet);
  e.seq = 12;
  e.ts_ns = 35841138999;
  e.cpu = 1;
  e.thread = 502;
  e.set(trace::f::faultin_ret::ret, static_cast<uint64_t>(int64_t{-14}));
  return e;
}

TEST(EventText, Line) {
  EXPECT_EQ(event_line(faultin(), false),
            "     12               35.841138 cpu1 tid502 vm0 O faultin_ret ret=-14");
  EXPECT_EQ(event_line(faultin(), true),
            "     12             35841138999 cpu1 tid502 vm0 O faultin_ret ret=-14");
}

TEST(EventText, HexadecimalWhereTheTableSaysSo) {
  trace::Event e;
  trace::start_event(e, trace::EventKind::kSpteChanged);
  e.set(trace::f::spte_changed::gfn, 0x40005);
  e.set(trace::f::spte_changed::level, 1);
  e.set(trace::f::spte_changed::new_spte, 0x8000000000000000);
  EXPECT_TRUE(event_line(e, false).ends_with(
      "O spte_changed gfn=40005 level=1 new_spte=8000000000000000"));
}

TEST(EventText, AnUnknownKindIsNamedSo) {
  trace::Event e;
  EXPECT_TRUE(event_line(e, false).ends_with("none (of a newer version)"));
  EXPECT_EQ(event_json(e)["kind"], "none");
}

TEST(EventText, Json) {
  EXPECT_EQ(event_json(faultin()).dump(),
            R"({"schema":1,"packet":12,"line":0,"ts_ns":35841138999,"cpu":1,"thread":502,"vm":0,)"
            R"("class":"observation","kind":"faultin_ret","fields":{"ret":-14}})");
  trace::Event e;
  trace::start_event(e, trace::EventKind::kFaultPfn);
  e.set(trace::f::fault_pfn::map_writable, 1);
  e.set(trace::f::fault_pfn::pfn, ~uint64_t{0});
  EXPECT_EQ(event_json(e)["fields"].dump(),
            R"({"pfn":18446744073709551615,"map_writable":true})");
}

}  // namespace
}  // namespace mmucheck::cli
