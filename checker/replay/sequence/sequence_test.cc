// Every shipped sequence agrees, operation by operation; altered ones are noticed; bad ones are one
// clear error each.
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "checker/replay/sequence/sequence_file.h"
#include "checker/replay/sequence/sequence_runner.h"
#include "checker/replay/sequence_files_test.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {
namespace {

using trace::ByteStream;
using trace::TraceError;

std::vector<std::string> shipped() {
  return sequences_in("traces/sequences");
}

SequenceResult run_text(std::string text) {
  return run_sequence(*ByteStream::from_memory(std::move(text), "t"));
}

TEST(Sequences, AllShippedOnesAgree) {
  const std::vector<std::string> files = shipped();
  EXPECT_EQ(files.size(), 52u);
  for (const std::string& file : files) {
    ByteStream in(file);
    const SequenceResult r = run_sequence(in);
    EXPECT_GE(r.ops, 300u) << file;
    EXPECT_EQ(r.agree, r.ops) << file << ": "
                              << (r.first_difference ? r.first_difference->expected + " but " +
                                                           r.first_difference->got
                                                     : "");
  }
}

TEST(Sequences, OneAlteredValueIsTheFirstDifference) {
  std::vector<std::string> lines = lines_of(shipped().front());
  // The first mapping whose leaf is a store with its tracepoint.
  const auto line = std::find_if(lines.begin(), lines.end(), [](const std::string& l) {
    return l.find("\"op\":\"map\"") != std::string::npos && l.find("[\"wc\"") != std::string::npos;
  });
  ASSERT_NE(line, lines.end());
  const json record = json::parse(*line);
  json altered = record;
  for (json& e : altered["ev"]) {
    if (e[0] != "wc") continue;
    e[4] = hex(unhex(e[4]) ^ 0x1000);
    break;
  }
  *line = altered.dump();
  const SequenceResult r = run_text(joined(lines));
  ASSERT_TRUE(r.first_difference);
  EXPECT_EQ(r.first_difference->i, record["i"].get<int64_t>());
  EXPECT_EQ(r.first_difference->op, "map");
  EXPECT_EQ(r.agree, static_cast<uint64_t>(line - lines.begin()) - 1);
  EXPECT_LT(r.agree, r.ops);
}

// Why a page table could not be allocated makes no difference.
TEST(Sequences, AHeaderThatCannotBeAllocatedIsAFailureToo) {
  std::vector<std::string> lines = lines_of("traces/sequences/seq-72-f-npt-001.jsonl.xz");
  size_t changed = 0;
  for (std::string& l : lines) {
    const std::string page = R"(["allocfail","page"])";
    const size_t at = l.find(page);
    if (at == std::string::npos) continue;
    l.replace(at, page.size(), R"(["allocfail","header"])");
    changed++;
  }
  ASSERT_EQ(changed, 1u);
  const SequenceResult r = run_text(joined(lines));
  EXPECT_EQ(r.agree, r.ops);
}

// Under the write lock nobody can do without the change: KVM_BUG_ON, once, and no tracepoint; the
// entry keeps its new value, and the rest of the range goes on.
TEST(Sequences, AHookThatFailsUnderTheWriteLockKillsTheVm) {
  std::vector<std::string> lines = lines_of("traces/sequences/seq-72-b-tdx-001.jsonl.xz");
  bool failed = false;
  for (size_t n = 1; n < lines.size() && !failed; n++) {
    json record = json::parse(lines[n]);
    if (record.value("op", "") != "unmap") continue;
    json events = json::array();
    for (const json& e : record["ev"]) {
      const bool trace_of_failed = failed && e[0] == "c" && events.back()[1] == "request";
      if (trace_of_failed) continue;
      events.push_back(e);
      if (failed || e[0] != "hook" || e[7] != 2) continue;
      failed = true;
      events.back()[6] = -5;
      events.push_back({"warn", "KVM_BUG_ON"});
      events.push_back({"flush", "request", "301", "0"});
    }
    if (!failed) continue;
    record["ev"] = events;
    for (const char* key : {"stat", "hash"}) record.erase(key);  // it still counts as mapped
    lines[n] = record.dump();
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(n) + 1, lines.end() - 1);
  }
  ASSERT_TRUE(failed);
  const SequenceResult r = run_text(joined(lines));
  EXPECT_EQ(r.agree, r.ops) << (r.first_difference ? r.first_difference->got : "");
}

TEST(Sequences, BadInputIsOneClearError) {
  const std::vector<std::string> lines = lines_of(shipped().front());
  const auto message = [](std::string text) {
    try {
      run_text(std::move(text));
    } catch (const TraceError& e) {
      return std::string(e.what());
    }
    return std::string("no error");
  };
  EXPECT_EQ(message(""), "t: byte 0: the file is empty");
  EXPECT_EQ(message("[]\n"), "t: line 1, byte 0: the line is no JSON object");
  EXPECT_EQ(message("{\n"), "t: line 1, byte 0: the line is no JSON");
  EXPECT_EQ(message(std::string(1000, '[')),
            "t: line 1, byte 0: brackets are nested too deeply");
  EXPECT_EQ(message(std::string(kMaxSequenceLine + 1, ' ')),
            "t: line 1, byte 0: a line is longer than 8 MiB");
  std::vector<std::string> cut(lines.begin(), lines.begin() + 3);
  const std::string at = std::to_string(joined(cut).size());
  EXPECT_EQ(message(joined(cut)),
            "t: line 3, byte " + at + ": the sequence has no end line: it is cut off");
  cut.push_back(R"({"op":"map","a":{"vcpu":-1},"ev":[]})");
  EXPECT_EQ(message(joined(cut)), "t: line 4, byte " + at + ": vcpu is not an unsigned number");
  cut.back() = R"({"op":"age","a":{"slot":4000000000},"ev":[]})";
  EXPECT_EQ(message(joined(cut)), "t: line 4, byte " + at + ": there is no slot 4000000000");
  cut.back() = R"({"op":"age","a":{},"ev":[["R",0,["w",0,0,"0","0","set"],"0","0","0","0"]]})";
  EXPECT_EQ(message(joined(cut)), "t: line 4, byte " + at + ": a run of 0 events");
  cut.back() = R"({"op":"age","a":{},"ev":[["w",0,512,"0","0","set"]]})";
  EXPECT_EQ(message(joined(cut)), "t: line 4, byte " + at + ": index is not at most 511");
  std::vector<std::string> twice = lines;
  twice.push_back(lines.back());
  EXPECT_NE(message(joined(twice)).find("goes on after its end"), std::string::npos);
}

// A vCPU may go on with a root that was freed: the walk starts nowhere and ends there.
TEST(Sequences, AWalkFromAFreedRootEnds) {
  std::vector<std::string> lines{lines_of(shipped().front()).front()};
  lines.push_back(R"({"op":"alloc_root","a":{"vcpu":0,"mirror":0,"role":"3784"},"ret":0,"ev":)"
                  R"([["L",1],["alloc",0,"v"],["init",0,"0","3784"],["U",1]]})");
  lines.push_back(R"({"op":"zap_invalidated_roots","a":{"shared":1},"ev":[["L",1],["U",1]]})");
  lines.push_back(R"({"op":"invalidate_roots","a":{"types":2},"ev":[["L",2],["U",2]]})");
  lines.push_back(R"({"op":"zap_invalidated_roots","a":{"shared":1},"ev":[["L",1],["U",1]]})");
  lines.push_back(R"({"op":"put_root","a":{"vcpu":1,"mirror":0,"root":0},)"
                  R"("ev":[["L",1],["rcu",1],["U",1]]})");
  lines.push_back(R"({"op":"rcu_run","a":{"n":1},"ev":[["free",0]]})");
  lines.push_back(R"({"op":"walk","a":{"vcpu":0,"gfn":"0"},"ret":0,"ev":[["warn","start"]]})");
  lines.push_back(R"({"end":1})");
  const SequenceResult r = run_text(joined(lines));
  EXPECT_EQ(r.agree, 6u);
  ASSERT_TRUE(r.first_difference);
  EXPECT_EQ(r.first_difference->op, "walk");
  EXPECT_EQ(r.first_difference->got, R"(ret {"leaf":-1,"root_level":0,"sptes":[]})");
}

// One random change somewhere in a value: a number replaced by a hostile one, a member removed, an
// element doubled, two values exchanged.
void mutate(json& j, std::mt19937& rng) {
  static const std::vector<json> kHostile{
      0, -1, 1, 2, 3, 5, 15, 63, 511, 512, 1023, 4096, 65535, 4294967295u, 18446744073709551615u,
      -9223372036854775807ll, 1.5, 1e300, "", "0", "-1", "7", "ffffffffffffffff",
      "10000000000000000", "1000", "1001", "8000000000000000", "zz", nullptr, true, json::array(),
      json::object(), json::array({json::array()}), "map", "op", "R", "hw", "uninit", "zap_all"};
  const auto hostile = [&] { return kHostile[rng() % kHostile.size()]; };
  if (!j.is_structured() || j.empty()) {
    j = hostile();
    return;
  }
  auto it = j.begin();
  std::advance(it, static_cast<int64_t>(rng() % j.size()));
  switch (rng() % 12) {
    case 0: j.erase(it); return;
    case 1: *it = hostile(); return;
    case 2:
      if (j.is_array()) {
        const json copy = *it;
        j.insert(j.begin() + static_cast<int64_t>(rng() % j.size()), copy);
        return;
      }
      break;
    case 3:
      if (j.is_array()) {
        std::swap(*it, j[rng() % j.size()]);
        return;
      }
      break;
    default: break;
  }
  mutate(*it, rng);
}

// Runs what is left of a mutated sequence; hostile input must end in an error or a difference, or
// be harmless: whatever it is, the model may not crash or wait.
void feed(const std::vector<json>& records, uint32_t seed, uint64_t* errors, uint64_t* differ) {
  std::mt19937 rng(seed);
  const size_t victim = rng() % 8 == 0 ? 0 : rng() % records.size();
  SequenceRunner runner;
  // What follows a difference is not run, so a few operations after the mutant are enough.
  for (size_t i = 0; i < std::min(records.size(), victim + 3); i++) {
    json j = records[i];
    if (i == victim) {
      for (auto n = 1 + rng() % 3; n > 0; n--) mutate(j, rng);
    }
    if (!runner.line(j.dump())) {
      ++*errors;
      EXPECT_FALSE(runner.error().empty());
      return;
    }
  }
  *differ += runner.first_difference().has_value();
}

// The CPU's store stands right behind a yield, but belongs to the exchange that it makes fail.
TEST(Sequences, TheCpuMayComeBetweenAYieldAndTheNextExchange) {
  std::vector<std::string> lines = lines_of("traces/sequences/seq-612-c-npt-001.jsonl.xz");
  json r = json::parse(lines.at(67));
  json& events = r["ev"];
  size_t at = 1;
  while (at < events.size() && !(events[at - 1][0] == "resched" && events[at][0] == "wc")) at++;
  ASSERT_LT(at, events.size());
  const json store = events[at];
  ASSERT_EQ(store[3], "1101237e25");  // D is clear
  const std::string dirty = "1101237e65";
  json later = store;
  later[3] = dirty;
  json changed = json::array();
  for (size_t i = 0; i < events.size(); i++) {
    json e = events[i];
    if (i == at) {
      changed.push_back({"hw", store[1], store[2], store[3], dirty});
      changed.push_back({"casfail", store[1], store[2], store[3], dirty});
      e = later;
    }
    if (i > at && e[0] == "poll") e[1] = e[1].get<uint64_t>() + 1;  // the retry polls as well
    changed.push_back(e);
  }
  events = changed;
  r["polls"] = r["polls"].get<uint64_t>() + 1;
  r["pfn_dirty_accessed"][0] = r["pfn_dirty_accessed"][0].get<uint64_t>() + 1;
  lines[67] = r.dump();
  const SequenceResult result = run_text(joined(lines));
  EXPECT_FALSE(result.first_difference.has_value());
  EXPECT_EQ(result.agree, result.ops);
}

TEST(Sequences, MutatedOnesNeitherCrashNorHang) {
  uint64_t errors = 0, differ = 0, runs = 0;
  const std::vector<std::string> files = shipped();
  for (size_t f = 0; f < files.size(); f++) {
    std::vector<json> records;
    for (const std::string& line : lines_of(files[f])) {
      if (line.size() < 20000 || records.empty()) records.push_back(json::parse(line));
      if (records.size() == 40) break;
    }
    for (uint32_t k = 0; k < 120; k++, runs++) {
      feed(records, static_cast<uint32_t>(f * 1000 + k), &errors, &differ);
    }
  }
  EXPECT_EQ(runs, 52u * 120);
  EXPECT_GT(errors, runs / 10);
  EXPECT_GT(differ, runs / 10);
}

}  // namespace
}  // namespace mmucheck::replay
