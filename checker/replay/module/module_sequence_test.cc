// Every shipped sequence of TDX module calls agrees, call by call; damaged records are noticed, and
// only they; bad files are one clear error each.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>

#include "checker/replay/module/module_file.h"
#include "checker/replay/sequence_files_test.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {
namespace {

namespace fs = std::filesystem;
using trace::ByteStream;
using trace::TraceError;

std::vector<std::string> shipped() {
  return sequences_in("traces/module-sequences");
}

ModuleResult run_text(std::string text) {
  return run_module_file(*ByteStream::from_memory(std::move(text), "t"));
}

// By class of sequence: how many calls there are is pinned, so that none is left out unnoticed.
TEST(ModuleSequences, AllShippedOnesAgree) {
  std::map<char, uint64_t> calls;
  for (const std::string& file : shipped()) {
    ByteStream in(file);
    const ModuleResult r = run_module_file(in);
    calls[fs::path(file).filename().string()[4]] += r.calls;
    EXPECT_EQ(r.agree, r.calls) << file;
    ASSERT_FALSE(r.first_difference)
        << file << " call " << r.first_difference->i << " " << r.first_difference->leaf
        << "\n  expected " << r.first_difference->expected << "\n  got      "
        << r.first_difference->got;
  }
  const std::map<char, uint64_t> want = {{'a', 5055}, {'b', 1815}, {'c', 933},
                                         {'e', 3141}, {'f', 1022}, {'g', 804}};
  EXPECT_EQ(calls, want);
}

// Every place below `keys` of the record where a number or a name stands.
void places(json& j, std::vector<json*>& out) {
  if (j.is_structured()) {
    for (json& child : j) places(child, out);
  } else {
    out.push_back(&j);
  }
}

// A wrong answer is a difference at this call. The model goes on from what the record says, so a
// wrong status or register is the only difference; a wrong state is followed by others.
TEST(ModuleSequences, DamagedAnswersAreNoticed) {
  std::mt19937_64 rng(7);
  int damaged = 0;
  for (const std::string& file : shipped()) {
    const std::vector<std::string> lines = lines_of(file);
    for (int k = 0; k < 12; k++) {
      const size_t at = 1 + rng() % (lines.size() - 1);
      json record = json::parse(lines[at]);
      std::vector<json*> found;
      for (const char* key : {"status", "rax", "out", "diff", "pamt_diff", "td", "exit"}) {
        if (record.contains(key)) places(record[key], found);
      }
      json& field = *found[rng() % found.size()];
      const std::string before = field.dump();
      if (field.is_number_unsigned()) {
        field = field.get<uint64_t>() + 1;
      } else if (field.get<std::string>().starts_with("0x")) {
        field = field.get<std::string>() + "1";
      } else {
        field = "TDX_" + field.get<std::string>();
      }
      std::vector<std::string> bad = lines;
      bad[at] = record.dump();
      damaged++;
      try {
        const ModuleResult r = run_text(joined(bad));
        const bool data_of_read = record["leaf"] == "TDH.MEM.RD" || record["leaf"] == "TDH.MEM.WR";
        if (!r.first_difference && data_of_read) continue;
        ASSERT_TRUE(r.first_difference) << file << " record " << at << " " << before << " -> "
                                        << field.dump();
        EXPECT_EQ(r.first_difference->i, record["i"].get<int64_t>()) << file;
      } catch (const TraceError& e) {  // a name that is none, a level that is none
        EXPECT_EQ(e.where().line, at + 1) << file;
      }
    }
  }
  EXPECT_GT(damaged, 300);
}

TEST(ModuleSequences, AfterAWrongStatusTheRestStillAgrees) {
  std::vector<std::string> lines = lines_of("traces/module-sequences/seq-a-000.jsonl.xz");
  json record = json::parse(lines[100]);
  record["status"] = "TDX_TD_FATAL";
  lines[100] = record.dump();
  const ModuleResult r = run_text(joined(lines));
  EXPECT_EQ(r.calls, lines.size() - 1);
  EXPECT_EQ(r.agree, r.calls - 1);
}

// The model is told what a call did instead of what it would have done, for every kind of change:
// a difference at each record, and never more than this one.
TEST(ModuleSequences, AdoptingTheRecordLeavesItsState) {
  for (const char* name : {"a-007", "c-000", "e-007", "f-000", "g-013"}) {
    std::vector<std::string> lines =
        lines_of(std::string("traces/module-sequences/seq-") + name + ".jsonl.xz");
    for (size_t i = 1; i < lines.size(); i += 2) {
      json record = json::parse(lines[i]);
      if (record["leaf"].get<std::string>().starts_with("TDH.MEM")) {
        record["rax"] = "0x1";
        lines[i] = record.dump();
      }
    }
    const ModuleResult r = run_text(joined(lines));
    ASSERT_TRUE(r.first_difference);
    uint64_t wrong = 0;
    for (size_t i = 1; i < lines.size(); i++) {
      wrong += json::parse(lines[i]).value("rax", "") == "0x1";
    }
    EXPECT_EQ(r.agree, r.calls - wrong) << name;
  }
}

void expect_error(const std::string& text, const std::string& part, uint64_t line) {
  try {
    run_text(text);
    ADD_FAILURE() << "no error: " << part;
  } catch (const TraceError& e) {
    EXPECT_NE(std::string(e.what()).find(part), std::string::npos) << e.what();
    EXPECT_EQ(e.where().line, line) << e.what();
  }
}

TEST(ModuleSequences, BadFilesAreErrors) {
  const std::vector<std::string> lines = lines_of("traces/module-sequences/seq-b-000.jsonl.xz");
  const std::string header = lines[0] + '\n';
  const auto with = [&](const char* key, const json& value) {
    json record = json::parse(lines[1]);
    record[key] = value;
    return header + record.dump() + '\n';
  };
  expect_error("", "empty", 0);
  expect_error("{}\n", "no header", 1);
  expect_error("op_state,level\n", "JSON", 1);
  expect_error(header + "{\"i\":", "JSON", 2);
  expect_error(header + "[1]\n", "no JSON object", 2);
  expect_error(with("leaf", "TDH.NO.SUCH"), "is no call", 2);
  expect_error(with("leaf", 7), "is no string", 2);
  expect_error(with("leaf", "TDG.MEM.PAGE.ACCEPT"), "names no vCPU", 2);
  expect_error(with("out", json::array()), "no object", 2);
  expect_error(with("rax", "0xg"), "no number", 2);
  expect_error(with("rax", "0x11111111111111111"), "no number", 2);
  expect_error(with("rax", -1), "no number", 2);
  json many = json::parse(lines[1]);
  many["diff"][0]["n"] = 1u << 30;
  expect_error(header + many.dump() + '\n', "out of range", 2);
  many["diff"][0]["n"] = 1;
  many["diff"][0]["level"] = 9;
  expect_error(header + many.dump() + '\n', "out of range", 2);
  json pool = json::parse(lines[0]);
  pool["pool"]["reserved"] = {{0, uint64_t{1} << 39}};
  expect_error(pool.dump() + '\n', "too many reserved", 1);
  pool = json::parse(lines[0]);
  pool["gpaw"] = 50;
  expect_error(pool.dump() + '\n', "gpaw", 1);
}

}  // namespace
}  // namespace mmucheck::replay
