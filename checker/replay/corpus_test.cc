// The corpus runner on a corpus of its own, and hand-written traces that are out of order.
#include "checker/replay/corpus.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "checker/trace/open_trace.h"

namespace mmucheck::replay {
namespace {

namespace fs = std::filesystem;

constexpr const char* kVm =
    "packet { vm_create { } }\n"
    "packet { memslot_create { slot: 0 base_gfn: 0 npages: 0x1000 } }\n"
    "packet { root_load { } }\n";
constexpr const char* kExpect = "packet { expect { verdict: EXPECTED_VERDICT_";

class Corpus : public testing::Test {
 protected:
  void SetUp() override {
    dir_ = fs::path(testing::TempDir()) /
           (std::string("mmucheck_corpus_") +
            testing::UnitTest::GetInstance()->current_test_info()->name());
    fs::remove_all(dir_);
    fs::create_directories(dir_);
  }
  void TearDown() override { fs::remove_all(dir_); }

  void put(const std::string& name, const std::string& text) {
    fs::create_directories((dir_ / name).parent_path());
    std::ofstream(dir_ / name) << text;
  }
  std::vector<CorpusResult> run() {
    std::vector<CorpusResult> results;
    for (const CorpusCase& c : find_corpus(dir_.string())) {
      results.push_back(run_corpus_case(c, [](const std::string& path) {
        return trace::open_trace(path, trace::own_formats(), {});
      }));
    }
    return results;
  }
  report::Verdict verdict(const std::string& text) {
    put("one.txtpb", text);
    return run().at(0).verdict;
  }

  fs::path dir_;
};

TEST_F(Corpus, ComparesEachTraceWithWhatItSays) {
  put("b/wrong.txtpb", std::string(kExpect) + "VIOLATED } }\n" + kVm);
  put("a/right.txtpb", std::string(kExpect) + "HOLDS } }\n" + kVm);
  put("a/silent.txtpb", std::string(kVm));
  put("c/never-looked.txtpb",
      std::string(kExpect) + "HOLDS invariant: \"MMU-NX-EXEC\" } }\n" + kVm);
  put("d/broken.txtpb", "packet { nonsense }\n");
  put("README.md", "not a trace");
  const auto results = run();
  ASSERT_EQ(results.size(), 5u);
  EXPECT_EQ(results[0].what.path, "a/right.txtpb");
  EXPECT_TRUE(results[0].ok());
  EXPECT_TRUE(results[1].ok());
  EXPECT_EQ(results[2].code, report::kExitViolated);
  EXPECT_NE(results[3].problem.find("never evaluated"), std::string::npos);
  EXPECT_EQ(results[4].code, report::kExitInput);
  const auto json = nlohmann::json::parse(corpus_json(results));
  EXPECT_EQ(json["traces"], 5);
  EXPECT_EQ(json["as_expected"], 2);
  EXPECT_NE(corpus_junit(results).find("tests=\"5\" failures=\"3\""), std::string::npos);
  EXPECT_NE(corpus_text(results, true).find("5 traces, 2 as expected, 3 not"), std::string::npos);
}

TEST_F(Corpus, BadExpectationsAreErrors) {
  put("a/expect.json", "{");
  put("b/expect.json", R"({"verdict": "fine"})");
  put("c/expect.json", R"({"verdict": "holds"})");  // no recording beside it
  put("d/expect.json", R"({"verdict": "holds", "spte_changes": {"observed": -1}})");
  for (const CorpusResult& r : run()) {
    EXPECT_EQ(r.code, report::kExitInput) << r.what.path;
    EXPECT_FALSE(r.ok());
  }
  EXPECT_THROW(find_corpus((dir_ / "absent").string()), trace::TraceError);
}

TEST_F(Corpus, StepsInterleaveThreads) {
  // Without a step the notifier is over before the fault begins, and the fault meets its range.
  const std::string begin =
      "packet { thread: 1 notifier_begin { start: 0x7f0000010000 end: 0x7f0000011000 } }\n";
  const std::string fault = "packet { thread: 2 fault { gfn: 0x10 } }\n";
  const std::string retry = "packet { thread: 2 faultin_ret { ret: 1 } }\n";
  EXPECT_EQ(report::outcome_of(verdict(kVm + begin + fault + retry)), report::Outcome::kHolds);
  const std::string step = "packet { thread: 2 step { count: 4 } }\n";
  EXPECT_EQ(report::outcome_of(verdict(kVm + fault + step + begin)), report::Outcome::kHolds);
}

TEST_F(Corpus, ObservationsMustComeTrue) {
  const std::string fault = "packet { fault { gfn: 0x10 pfn: 0x5000 write: true } }\n";
  const std::string seen = "packet { set_spte { gfn: 0x10 spte: ";
  EXPECT_EQ(report::outcome_of(verdict(kVm + fault + seen + "0x5000e67 } }\n")),
            report::Outcome::kHolds);
  EXPECT_EQ(report::outcome_of(verdict(kVm + fault + seen + "0x5000e47 } }\n")),
            report::Outcome::kDiverged);
}

// The kernel tries again as long as no signal is pending.
TEST_F(Corpus, APrivateFaultWithoutARootEnds) {
  const report::Verdict v = verdict(
      "packet { mmu_format { format: SPTE_FORMAT_EPT } }\n"
      "packet { vm_create { vm_type: 5 } }\n"
      "packet { memslot_create { slot: 0 npages: 0x1000 flags: 4 gmem_fd: 3 } }\n"
      "packet { vcpu_create { } }\n"
      "packet { set_attributes { start: 0x10 end: 0x20 attributes: 8 } }\n"
      "packet { mock_finalize { } }\n"
      "packet { guest_access { gpa: 0x10000 is_private: true } }\n"
      "packet { root_load { } }\n");
  EXPECT_EQ(report::outcome_of(v), report::Outcome::kHolds);
}

TEST_F(Corpus, WhatMakesNoSenseIsInconclusive) {
  for (const char* packet :
       {"fault { gfn: 1 }", "memslot_delete { slot: 7 }", "seamcall { }", "design { name: \"x\" }",
        "memslot_create { slot: 9 npages: 0xffffffffffffffff }", "root_load { role: 1 }",
        "memslot_create { slot: 9 base_gfn: 0xffffffffffffffff npages: 0x1000 }",
        "set_attributes { start: 0 end: 0xffffffffffffffff }", "callback_run { spt_pfn: 1 }"}) {
    const std::string vm = std::string(packet).starts_with("fault")
                               ? std::string()
                               : "packet { vm_create { vm_type: 1 } }\n";
    const report::Verdict v = verdict(vm + "packet { " + packet + " }\n");
    EXPECT_EQ(report::outcome_of(v), report::Outcome::kInconclusive) << packet;
    ASSERT_FALSE(v.inconclusive.empty()) << packet;
    EXPECT_NE(v.inconclusive[0].find("packet "), std::string::npos);
  }
}

}  // namespace
}  // namespace mmucheck::replay
