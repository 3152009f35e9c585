// The program as a user runs it: exit codes, where output goes, what is left behind.
#include <nlohmann/json.hpp>

#include "tools/mmucheck/program_test.h"

namespace mmucheck::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kRecording = "traces/recorded/full-private/trace.txt.xz";

class Cli : public ProgramTest {};

TEST_F(Cli, HelpNamesEveryExitCode) {
  const Result help = run("--help");
  EXPECT_EQ(help.code, 0);
  for (const char* code :
       {"  0 ", "  1 ", "  2 ", "  3 ", "  4 ", "  5 ", "  6 ", "  7 ", "  130 "}) {
    EXPECT_NE(help.out.find(std::string("\n") + code), std::string::npos) << code;
  }
  EXPECT_EQ(run("--version").code, 0);
}

TEST_F(Cli, WrongUsageIsTwo) {
  for (const char* arguments : {"", "frobnicate", "show", "show a b --at", "--color green stats x",
                                "show --kind nothing traces/README.md",
                                "show --class nothing traces/README.md", "convert a"}) {
    const Result result = run(arguments);
    EXPECT_EQ(result.code, 2) << arguments;
    EXPECT_EQ(result.out, "") << arguments;
    EXPECT_NE(result.err, "") << arguments;
  }
}

TEST_F(Cli, BadInputIsThreeAndLeavesNothing) {
  std::ofstream(path("empty")).close();
  std::ofstream(path("noise"), std::ios::binary) << std::string(5000, '\x01');
  for (const std::string& file : {path("empty"), path("noise"), path("absent"), dir_.string()}) {
    EXPECT_EQ(run("show " + file).code, 3) << file;
    EXPECT_EQ(run("stats " + file).code, 3) << file;
    EXPECT_EQ(run("import " + file + " -o " + path("out.pb")).code, 3) << file;
    EXPECT_EQ(run("convert " + file + " -o " + path("out.pb")).code, 3) << file;
    const Result json = run("--json stats " + file);
    EXPECT_EQ(nlohmann::json::parse(json.out)["exit_code"], 3);
  }
  EXPECT_EQ(files(), 2u);
}

TEST_F(Cli, ShowFilters) {
  const Result one = run(std::string("show ") + kRecording + " --kind changed_spte --limit 1");
  EXPECT_EQ(one.code, 0);
  EXPECT_NE(one.out.find(" O changed_spte as_id=0 gfn=0 old_spte=8000000000000000"),
            std::string::npos)
      << one.out;
  EXPECT_EQ(std::count(one.out.begin(), one.out.end(), '\n'), 1);
  EXPECT_EQ(run(std::string("show ") + kRecording + " --thread 4242").code, 4);
  const Result at = run(std::string("show --at 4312 ") + kRecording);
  EXPECT_EQ(std::count(at.out.begin(), at.out.end(), '\n'), 11);
  EXPECT_NE(at.out.find("\n> "), std::string::npos);
  EXPECT_NE(at.out.find(" :4312 "), std::string::npos);
  const Result json = run(std::string("--json show --at 4312 ") + kRecording + " --cpu 1");
  EXPECT_EQ(nlohmann::json::parse(json.out.substr(0, json.out.find('\n')))["cpu"], 1);
}

TEST_F(Cli, ShowsTheStateAtAnEvent) {
  const std::string trace = path("one.txtpb");
  std::ofstream(trace) << "packet { vm_create { } }\n"
                          "packet { memslot_create { slot: 3 base_gfn: 0x100 npages: 0x40 } }\n"
                          "packet { root_load { } }\n"
                          "packet { fault { gfn: 0x110 write: true } }\n"
                          "packet { fault { gfn: 0x111 write: true } }\n"
                          "packet { fault { gfn: 0x120 } }\n"
                          "packet { zap_leafs_op { start: 0x111 end: 0x112 } }\n";
  const auto ranges = [&](const std::string& at) {
    const Result r = run("show --json --state " + at + trace);
    EXPECT_EQ(r.code, 0) << r.err;
    std::vector<std::pair<uint64_t, uint64_t>> found;  // gfn, npages
    const auto state = nlohmann::json::parse(r.out);
    for (const auto& range : state.at("roots").at(0).at("ranges")) {
      found.emplace_back(range.at("gfn"), range.at("npages"));
    }
    EXPECT_EQ(state.at("slots").at(0).at("base_gfn"), 0x100);
    return found;
  };
  using Ranges = std::vector<std::pair<uint64_t, uint64_t>>;
  EXPECT_EQ(ranges("--at 7 "), (Ranges{{0x110, 2}, {0x120, 1}}));
  EXPECT_EQ(ranges(""), (Ranges{{0x110, 1}, {0x120, 1}}));
  EXPECT_EQ(run("show --state --at 99 " + trace).code, 4);
  EXPECT_EQ(run("show --state traces/recorded/tp-private/trace.txt.xz").code, 5);
}

TEST_F(Cli, ShowsTheTreesOfATdSideBySideAndWhereTheyDiffer) {
  const std::string violated = "traces/tdx/mirror-violated.txtpb";
  const Result text = run("show --state " + violated);
  EXPECT_EQ(text.code, 0) << text.err;
  for (const char* part :
       {"gfn range  direct  mirror  S-EPT               PAMT                 attributes\n",
        "10         -       4K rwx  4K PENDING_BLOCKED  200010 REG BEPOCH 1  private     <- "
        "differ\n",
        "HKID assigned   CHLDCNT 4   PAMT 1 REG, 1 TDR, 1 TDVPR, 3 EPT\n",
        "TLBs  TD epoch 1: vCPUs inside 0 of it, 0 of the one before\n"}) {
    EXPECT_NE(text.out.find(part), std::string::npos) << part << "\n" << text.out;
  }
  const auto td = nlohmann::json::parse(run("--json show --state " + violated).out)["td"];
  ASSERT_EQ(td["rows"].size(), 1u);
  EXPECT_EQ(td["rows"][0]["mirror_and_sept"], "differ");
  EXPECT_EQ(td["rows"][0]["mirror"]["pfn"], td["rows"][0]["sept"]["pfn"]);
  EXPECT_EQ(td["rows"][0]["pamt"]["type"], "REG");
  EXPECT_EQ(td["rows"][0]["tracked"], false);
  EXPECT_EQ(td["epoch"], 1);
  // A verdict shows the same row.
  EXPECT_NE(run("replay " + violated).out.find("private     <- differ\n"), std::string::npos);
}

// Before the BLOCK, and while the hook stands between BLOCK and REMOVE.
TEST_F(Cli, ShowsTheTreesOfATdAsTheyChange) {
  const std::string cycle = "traces/tdx/life-cycle.txtpb";
  const auto match_of = [&](const std::string& at, uint64_t gfn) {
    const auto state =
        nlohmann::json::parse(run("--json show --state --at " + at + " " + cycle).out);
    for (const auto& row : state["td"]["rows"]) {
      if (gfn - row["gfn"].get<uint64_t>() < row["npages"])
        return row["mirror_and_sept"].get<std::string>();
    }
    return std::string("no row");
  };
  EXPECT_EQ(match_of("23", 0x11), "agree");
  EXPECT_EQ(match_of("27", 0x10), "agree");
  EXPECT_EQ(match_of("27", 0x11), "differ");
  EXPECT_EQ(match_of("29", 0x11), "no row");
  const Result inside = run("show --state --at 27 " + cycle);
  EXPECT_NE(inside.out.find("thread 0 in a hook for 11 4K: "), std::string::npos) << inside.out;
  EXPECT_NE(inside.out.find("11 BLOCKED in epoch 1, not tracked\n"), std::string::npos)
      << inside.out;
}

TEST_F(Cli, ShrinksWhatIsViolatedAndNothingElse) {
  const std::string small = path("small.txtpb");
  const Result done = run("--json shrink traces/dirty/lost-violated.txtpb -o " + small);
  EXPECT_EQ(done.code, 0) << done.err;
  const auto json = nlohmann::json::parse(done.out);
  EXPECT_EQ(json["invariant"], "MMU-DIRTY-LOST");
  EXPECT_LE(json["packets"]["after"], json["packets"]["before"]);
  EXPECT_EQ(json["bound_hit"], false);
  const Result again = run("replay " + small);
  EXPECT_NE(again.out.find("as expected: the file says violated MMU-DIRTY-LOST"),
            std::string::npos);
  EXPECT_EQ(run("shrink traces/dirty/lost-violated.txtpb --invariant MMU-NX-EXEC -o " + small).code,
            4);
  EXPECT_EQ(run("shrink traces/tdx/life-cycle.txtpb -o " + small).code, 4);
  EXPECT_EQ(run(std::string("shrink ") + kRecording + " -o " + small).code, 2);
}

// "[...]" stands for what is left out. Examples with files of the reader's own are not run.
TEST_F(Cli, TheReadmeShowsRealOutput) {
  std::ifstream readme("README.md");
  size_t compared = 0;
  for (std::string line; std::getline(readme, line);) {
    if (!line.starts_with("$ mmucheck ")) continue;
    const std::string command = line.substr(sizeof "$ mmucheck " - 1);
    std::vector<std::string> shown(1);
    while (std::getline(readme, line) && line != "```" && !line.starts_with("$ ")) {
      if (line == "  [...]") {
        shown.emplace_back();
      } else {
        shown.back() += line + "\n";
      }
    }
    if (command.find("broken.txt") != std::string::npos ||
        command.find("stripped.pb") != std::string::npos) {
      continue;
    }
    const std::string out = run(command).out;
    size_t at = 0;
    for (const std::string& part : shown) {
      at = out.find(part, at);
      EXPECT_NE(at, std::string::npos) << command << " prints\n" << out << "and not\n" << part;
      if (at == std::string::npos) break;
    }
    if (shown.size() == 1) {
      EXPECT_EQ(out, shown[0]) << command;
    }
    ++compared;
  }
  EXPECT_GT(compared, 8u);
}

TEST_F(Cli, StatsCountWhatIsInTheText) {
  const Result result = run(std::string("--json stats ") + kRecording);
  EXPECT_EQ(result.code, 0);
  const auto json = nlohmann::json::parse(result.out);
  EXPECT_EQ(json["schema"], 1);
  EXPECT_EQ(json["kinds"]["spte_changed"], 1676);
  EXPECT_EQ(json["kernel"], "6.12.117");
  EXPECT_EQ(json["vms"], 1);
}

TEST_F(Cli, EncodingsCarryTheSameEvents) {
  const std::string recording = kRecording;
  ASSERT_EQ(run("import " + recording + " -o " + path("a.pb")).code, 0);
  ASSERT_EQ(run("convert " + recording + " -o " + path("b.pb.zst")).code, 0);
  ASSERT_EQ(run("convert " + path("b.pb.zst") + " -o " + path("c.txtpb")).code, 0);
  ASSERT_EQ(run("convert " + path("c.txtpb") + " -o " + path("d.pb")).code, 0);
  EXPECT_EQ(content(path("a.pb")), content(path("d.pb")));
  const std::string shown = run("show " + recording).out;
  EXPECT_GT(shown.size(), 100000u);
  for (const char* name : {"a.pb", "b.pb.zst", "c.txtpb"}) {
    EXPECT_EQ(run("show " + path(name)).out, shown) << name;
  }
  EXPECT_EQ(run("import " + path("a.pb")).code, 2);
}

TEST_F(Cli, StrippedFilesHoldNoObservation) {
  ASSERT_EQ(
      run(std::string("convert --strip-observations -o ") + path("s.pb") + " " + kRecording).code,
      0);
  const auto whole = nlohmann::json::parse(run(std::string("--json stats ") + kRecording).out);
  const auto json = nlohmann::json::parse(run("--json stats " + path("s.pb")).out);
  EXPECT_EQ(json["classes"]["observation"], 0);
  EXPECT_EQ(json["classes"]["stimulus"], whole["classes"]["stimulus"]);
  EXPECT_EQ(json["classes"]["config"], whole["classes"]["config"]);
  EXPECT_EQ(json["kinds"]["fault_pfn"], whole["kinds"]["fault_pfn"]);
}

TEST_F(Cli, SalvageKeepsTheIntactPartAndSaysThatTheRestIsLost) {
  ASSERT_EQ(run(std::string("convert -o ") + path("a.pb") + " " + kRecording).code, 0);
  const std::string whole = content(path("a.pb"));
  std::ofstream(path("half.pb"), std::ios::binary) << whole.substr(0, whole.size() / 2);
  EXPECT_EQ(run("stats " + path("half.pb")).code, 3);
  EXPECT_EQ(run("convert " + path("half.pb") + " -o " + path("b.pb")).code, 3);
  EXPECT_FALSE(fs::exists(path("b.pb")));
  EXPECT_EQ(run("convert --salvage " + path("half.pb") + " -o " + path("b.pb")).code, 0);
  const auto json = nlohmann::json::parse(run("--json stats " + path("b.pb")).out);
  EXPECT_EQ(json["kinds"]["lost_events"], 1);
  EXPECT_GT(json["events"], 1000);
}

TEST_F(Cli, ProveSaysWhatItFoundAndTheSameTwice) {
  const Result all_proved = run("prove address.round-trip lock.promote");
  EXPECT_EQ(all_proved.code, 0);
  EXPECT_NE(all_proved.out.find("2 obligations: 2 proved, 0 refuted"), std::string::npos);
  const Result refuted = run("prove range");
  EXPECT_EQ(refuted.code, 1);
  EXPECT_NE(refuted.out.find("start 0x0, end 0x1, gfn 0x1"), std::string::npos) << refuted.out;
  EXPECT_EQ(refuted.out, run("prove range").out);
  EXPECT_EQ(run("prove lock.promote --rlimit 1").code, 5);
  EXPECT_EQ(run("prove no-such-thing").code, 2);
  const auto json = nlohmann::json::parse(run("--json prove range.sketch-loop").out);
  EXPECT_EQ(json["obligations"][0]["values"]["gfn"], "0x1");
  EXPECT_EQ(run("prove lock.entry --dump " + dir_.string()).code, 0);
  EXPECT_TRUE(content(path("lock.entry.1.smt2")).starts_with("; lock.entry"));
  EXPECT_EQ(files(), 2u);
}

TEST_F(Cli, AFullDiskIsNoSuccess) {
  if (!fs::exists("/dev/full")) GTEST_SKIP();
  const Result result = run(std::string("show ") + kRecording + " >/dev/full");
  EXPECT_EQ(result.code, 6);
  EXPECT_NE(result.err.find("standard output"), std::string::npos);
}

}  // namespace
}  // namespace mmucheck::cli
