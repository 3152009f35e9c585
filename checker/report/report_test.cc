#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checker/report/json_writer.h"
#include "checker/report/text_writer.h"
#include "checker/report/verdict.h"

namespace mmucheck::report {
namespace {

Verdict private_recording() {
  Verdict v;
  v.file = "full-private/trace.txt.xz";
  v.kernel = "6.12.117";
  v.format = "NPT";
  v.vms = 1;
  v.vcpus = 2;
  v.mode = Mode::kFull;
  v.capabilities = {"vm", "root"};
  v.events = 6978;
  v.spte_changes = {1676, 1676, 0, 32, 0};
  v.inputs = {{"hw_ad", 32}, {"new_table", 8}};
  v.invariants = {{"MMU-A-1", 2149, 0}, {"MMU-A-2", 0, 0}};
  return v;
}

Divergence zeroed_entry() {
  Divergence d;
  d.place = {4312, 4300, 35841138000, 1, 502, 1, "changed_spte"};
  d.observed = "changed_spte gfn 40005 level 1 old 6138e67 new 0";
  d.expected = "the same with new 8000000000000000";
  d.operation = "unmap_gfn_range [40004, 40008), started at line 4298";
  d.excluded_by = "MMU-SPTE-4";
  d.statement = "a zapped entry is left non-present, never zero";
  d.source = "tdp_mmu.c: tdp_mmu_zap_leafs";
  d.value_expected = "8000000000000000";
  d.value_seen = "0";
  d.state = {"root spt=2954000", "> 40005-40007  4K"};
  return d;
}

TEST(Verdict, OutcomeFollowsTheEvidence) {
  Verdict v = private_recording();
  EXPECT_EQ(outcome_of(v), Outcome::kHolds);
  EXPECT_EQ(exit_code_of(v), 0);
  v.lost.push_back({188, 0, 12, "counted"});
  EXPECT_EQ(outcome_of(v), Outcome::kInconclusive);
  EXPECT_EQ(exit_code_of(v), 5);
  v.divergences.push_back(zeroed_entry());
  EXPECT_EQ(outcome_of(v), Outcome::kDiverged);
  EXPECT_EQ(exit_code_of(v), 7);
  v.violations.push_back({});
  EXPECT_EQ(outcome_of(v), Outcome::kViolated);
  EXPECT_EQ(exit_code_of(v), 1);
  v.interrupted = true;
  EXPECT_EQ(exit_code_of(v), 130);
}

TEST(Writers, AnExecutionIsPrintedWhereItWasAskedFor) {
  Verdict v = private_recording();
  EXPECT_EQ(to_text(v).find("execution"), std::string::npos);
  EXPECT_EQ(to_json(v).find("execution"), std::string::npos);
  Operation o;
  o.kind = "unmap by the notifier";
  o.stimulus = "kvm_unmap_hva_range";
  o.stimulus_first = 0x7f0000000000;
  o.stimulus_end = 0x7f0000200000;
  o.thread = 376;
  o.first_line = 547;
  o.last_line = 611;
  o.changes = 65;
  o.ranges = {{"zap", 0, 1, 1, 0x40200, 0x4023f, 64}, {"zap", 1, 2, 2, 0x40400, 0x40600, 2}};
  v.execution.asked = true;
  v.execution.changes = 66;
  v.execution.operations = {o};
  const std::string text = to_text(v);
  EXPECT_NE(text.find("execution: 1 line of operations explain 66 changes; all is accounted for"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("547-611     thread 376    unmap by the notifier [kvm_unmap_hva_range "
                      "7f0000000000-7f0000200000]:\n                  zap 40200-4023f 4K root 1 "
                      "(64 entries),\n                  zap 40400-407ff 2M root 2 as_id 1 (2 entries)\n"),
            std::string::npos)
      << text;
  const auto json = nlohmann::json::parse(to_json(v));
  ASSERT_EQ(json["execution"].size(), 1u);
  EXPECT_EQ(json["execution"][0]["ranges"][1]["last_gfn"], 0x40600);
  EXPECT_EQ(json["execution"][0]["last_line"], 611);
  EXPECT_EQ(json["execution_complete"], true);
  v.execution.gaps = {"line 600: a change that no operation makes"};
  v.execution.left_out = 3;
  EXPECT_NE(to_text(v).find("not explained: line 600"), std::string::npos);
  EXPECT_NE(to_text(v).find("and 3 operations that are not kept"), std::string::npos);
  EXPECT_EQ(to_text(v).find("all is accounted for"), std::string::npos);
  EXPECT_EQ(nlohmann::json::parse(to_json(v))["execution_complete"], false);
}

TEST(Verdict, NothingCheckedIsNoPass) {
  Verdict v;
  v.events = 10;
  v.invariants = {{"MMU-A-1", 0, 0}};
  EXPECT_EQ(exit_code_of(v), 4);
  v.invariants[0].evaluated = 1;
  EXPECT_EQ(exit_code_of(v), 0);
  v.inconclusive = {"a bound was hit"};
  EXPECT_EQ(exit_code_of(v), 5);
}

TEST(Verdict, ExpectationTurnsTheExitCode) {
  Verdict v = private_recording();
  v.divergences.push_back(zeroed_entry());
  v.expected = Expectation{Outcome::kDiverged, "MMU-SPTE-4", 4300, 7};
  EXPECT_EQ(exit_code_of(v), 0);
  EXPECT_EQ(exit_code_of(v, false), 7);
  v.expected->packet = 4301;
  EXPECT_EQ(exit_code_of(v), 1);
  v.expected = Expectation{Outcome::kDiverged, "MMU-SPTE-5", {}, {}};
  EXPECT_EQ(exit_code_of(v), 1);
  v.expected = Expectation{Outcome::kDiverged, "", {}, 5};
  EXPECT_EQ(exit_code_of(v), 1);
  v.expected = Expectation{};
  EXPECT_EQ(exit_code_of(v), 1);
}

TEST(Verdict, NearlyViolatingMeansEvaluated) {
  Verdict v = private_recording();
  v.expected = Expectation{Outcome::kHolds, "MMU-A-1", {}, {}};
  EXPECT_TRUE(as_expected(v));
  v.expected->invariant = "MMU-A-2";
  EXPECT_FALSE(as_expected(v));
  v.expected->invariant = "MMU-A-3";
  EXPECT_FALSE(as_expected(v));
}

TEST(Verdict, OrderOfExitCodes) {
  const std::vector<int> order = {130, 6, 3, 2, 1, 7, 5, 4, 0};
  for (size_t i = 0; i < order.size(); ++i) {
    for (size_t j = i; j < order.size(); ++j) {
      EXPECT_EQ(worse_exit_code(order[i], order[j]), order[i]);
      EXPECT_EQ(worse_exit_code(order[j], order[i]), order[i]);
    }
  }
}

TEST(Json, HasTheDocumentedShape) {
  Verdict v = private_recording();
  v.skipped = {{"sched_switch", 3}};
  v.lost.push_back({0, 1, 7, "uncounted"});
  const std::string text = to_json(v);
  EXPECT_TRUE(text.starts_with(R"({"schema":1,"file":"full-private/trace.txt.xz",)"
                               R"("verdict":"inconclusive","mode":"full",)"
                               R"("capabilities":["vm","root"],"events":6978,)"
                               R"("spte_changes":{"observed":1676,"predicted":1676,"inferred":0,)"
                               R"("hardware_ad":32,"diverged":0},)"
                               R"("invariants":[{"id":"MMU-A-1","evaluated":2149,"violated":0},)"
                               R"({"id":"MMU-A-2","evaluated":0,"violated":0}],)"
                               R"("violations":[],"divergences":[],)"
                               R"("lost":[{"count":null,"cpu":1,"line":7,"how":"uncounted"}],)"
                               R"("skipped":{"sched_switch":3},)"))
      << text;
  EXPECT_TRUE(text.ends_with("\"exit_code\":5}\n")) << text;
  const auto empty = nlohmann::json::parse(to_json(Verdict{}));
  EXPECT_TRUE(empty["skipped"].is_object());
  EXPECT_TRUE(empty["lost"].is_array());
  EXPECT_TRUE(empty["nothing_checked"].get<bool>());
}

TEST(Json, CarriesTheEvidence) {
  Verdict v = private_recording();
  v.divergences.push_back(zeroed_entry());
  Violation violation;
  violation.invariant = "MMU-A-1";
  violation.place.thread = 9;
  v.violations.push_back(violation);
  v.expected = Expectation{Outcome::kHolds, "", {}, {}};
  const auto json = nlohmann::json::parse(to_json(v));
  EXPECT_EQ(json["verdict"], "violated");
  EXPECT_EQ(json["divergences"][0]["place"]["line"], 4312);
  EXPECT_EQ(json["divergences"][0]["excluded_by"], "MMU-SPTE-4");
  EXPECT_EQ(json["violations"][0]["invariant"], "MMU-A-1");
  EXPECT_EQ(json["violations"][0]["place"]["thread"], 9);
  EXPECT_EQ(json["expected"]["met"], false);
}

TEST(Json, SurvivesAnyFileName) {
  Verdict v;
  v.file = "a\xff\"\n";
  EXPECT_EQ(nlohmann::json::parse(to_json(v))["file"], "a\xef\xbf\xbd\"\n");
}

TEST(Text, AllWell) {
  EXPECT_EQ(to_text(private_recording()),
            "holds  full-private/trace.txt.xz   Linux 6.12.117, NPT, 1 VM, 2 vCPUs, "
            "full recording\n"
            "\n"
            "  events            6,978   0 skipped, 0 lost\n"
            "  SPTE changes      1,676   1,676 predicted, 0 inferred; 32 with hardware A/D\n"
            "  inputs               40   32 hw_ad, 8 new_table\n"
            "  invariants            1   evaluated 2,149 times; 1 of 2 had nothing to check "
            "(-v lists them)\n");
}

TEST(Text, ADivergenceShowsItsEvidence) {
  Verdict v = private_recording();
  v.divergences.assign(5, zeroed_entry());
  const std::string text = to_text(v);
  EXPECT_NE(text.find("diverged  full-private/trace.txt.xz"), std::string::npos) << text;
  EXPECT_NE(text.find("  at         full-private/trace.txt.xz:4312  (thread 502, CPU 1, "
                      "35.841138)\n"
                      "  observed   changed_spte gfn 40005 level 1 old 6138e67 new 0\n"
                      "  expected   the same with new 8000000000000000\n"
                      "  operation  unmap_gfn_range [40004, 40008), started at line 4298\n"
                      "  excluded   MMU-SPTE-4  \"a zapped entry is left non-present, never "
                      "zero\"\n"
                      "             tdp_mmu.c: tdp_mmu_zap_leafs\n"
                      "             expected 8000000000000000, seen 0\n"
                      "\n"
                      "  root spt=2954000\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("\n  and 2 more divergences\n"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("  next: mmucheck show full-private/trace.txt.xz --at 4312 | mmucheck "
                             "explain MMU-SPTE-4\n"))
      << text;
}

TEST(Text, SaysWhatIsMissing) {
  Verdict v = private_recording();
  v.lost = {{0, 1, 77, "uncounted"}, {188, 0, 80, ""}};
  v.malformed = 1;
  v.skipped = {{"sched_switch", 1234}};
  v.skipped_checks = {{"flush", "flush_all", 12}};
  v.expected = Expectation{};
  const std::string text = to_text(v, {false, true, 3});
  EXPECT_NE(text.find("NOT as expected: the file says holds"), std::string::npos) << text;
  EXPECT_NE(text.find("1,234 skipped, at least 188 lost, 1 malformed line"), std::string::npos);
  EXPECT_NE(text.find("unknown number, CPU 1, line 77 (uncounted)"), std::string::npos) << text;
  EXPECT_NE(text.find("flush (needs flush_all)"), std::string::npos) << text;
  EXPECT_NE(text.find("not checked   MMU-A-2"), std::string::npos) << text;
  Verdict nothing;
  EXPECT_NE(to_text(nothing).find("nothing to check"), std::string::npos);
}

TEST(Text, ColorOnlyWhenAsked) {
  const Verdict v = private_recording();
  EXPECT_EQ(to_text(v).find('\x1b'), std::string::npos);
  EXPECT_TRUE(to_text(v, {true, false, 3}).starts_with("\x1b[1;32mholds\x1b[0m  "));
}

TEST(Text, WrapsLongLists) {
  Verdict v = private_recording();
  for (int i = 100; i < 140; ++i) v.inputs["input_kind_" + std::to_string(i)] = 1;
  const std::string text = to_text(v);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    EXPECT_LE(end - begin, kTextWidth) << text.substr(begin, end - begin);
    begin = end + 1;
  }
}

TEST(Text, Thousands) {
  EXPECT_EQ(with_thousands(0), "0");
  EXPECT_EQ(with_thousands(999), "999");
  EXPECT_EQ(with_thousands(1000), "1,000");
  EXPECT_EQ(with_thousands(1234567), "1,234,567");
}

}  // namespace
}  // namespace mmucheck::report
