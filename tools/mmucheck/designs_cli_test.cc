// Designs on the command line: listed, compared, and replayed.
#include <algorithm>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "model/design/choices.h"
#include "tools/mmucheck/program_test.h"

namespace mmucheck::cli {
namespace {

using nlohmann::json;

constexpr const char* kTracepoints = "traces/recorded/tp-private/trace.txt.xz";
constexpr const char* kVm =
    "packet { vm_create { } }\n"
    "packet { memslot_create { slot: 0 base_gfn: 0 npages: 0x1000 } }\n"
    "packet { root_load { } }\n";

class DesignsCli : public ProgramTest {};

TEST_F(DesignsCli, ListsTheRows) {
  const Result text = run("designs");
  EXPECT_EQ(text.code, 0);
  EXPECT_TRUE(text.out.starts_with("naive ")) << text.out;
  EXPECT_EQ(std::count(text.out.begin(), text.out.end(), '\n'), 19);
  const json all = json::parse(run("designs --json").out);
  EXPECT_EQ(all["schema"], 1);
  ASSERT_EQ(all["designs"].size(), model::designs().size());
  EXPECT_EQ(all["designs"][18]["design"], "linux-7.2");
}

TEST_F(DesignsCli, ShowsEveryChoiceOfOne) {
  const Result text = run("designs v19");
  EXPECT_EQ(text.code, 0);
  for (const model::Choice& c : model::choices()) {
    EXPECT_NE(text.out.find("\n  " + std::string(c.name) + " = "), std::string::npos) << c.name;
  }
  EXPECT_NE(text.out.find("unmap_filter = only-private-shared   (attr-filter, "),
            std::string::npos);
  const json one = json::parse(run("--json designs v19,page_pins=no").out);
  EXPECT_EQ(one["design"], "v19,page_pins=no");
  ASSERT_EQ(one["choices"].size(), model::choices().size());
  EXPECT_EQ(one["choices"][0]["choice"], "frozen_low");
  EXPECT_EQ(one["choices"][0]["value"], "0x1a0");
}

TEST_F(DesignsCli, ShowsWhatDiffers) {
  const Result text = run("designs v19 v19-exclude");
  EXPECT_EQ(text.code, 0);
  EXPECT_NE(text.out.find("  unmap_filter     a only-private-shared  b exclude-flags"),
            std::string::npos)
      << text.out;
  EXPECT_EQ(text.out.find("root_choice"), std::string::npos);
  EXPECT_NE(run("designs v8 v8").out.find("no choice differs"), std::string::npos);
  const json differ = json::parse(run("--json designs naive naive,mirror_set=freeze").out);
  ASSERT_EQ(differ["differences"].size(), 1u);
  EXPECT_EQ(differ["differences"][0]["choice"], "mirror_set");
  EXPECT_EQ(differ["differences"][0]["b"], "freeze");
  const std::string file = put("d.txtpb", "name: mine\nbase: v8\nmirror_set: hook-first\n");
  const json own = json::parse(run("--json designs --design-file " + file + " v8").out);
  EXPECT_EQ(own["a"], "mine");
  EXPECT_EQ(own["differences"].size(), 1u);
}

TEST_F(DesignsCli, UnknownNamesAreUsage) {
  const std::string trace = put("a.txtpb", kVm);
  for (const std::string& arguments : {std::string("designs v20"), std::string("designs v8 v20"),
                                       "replay --design v20 " + trace}) {
    const Result r = run(arguments);
    EXPECT_EQ(r.code, 2) << arguments;
    EXPECT_EQ(r.out, "") << arguments;
    for (const model::Design& d : model::designs()) {
      EXPECT_NE(r.err.find(d.name), std::string::npos) << r.err;
    }
  }
  EXPECT_NE(run("designs v8,mirror_set=x").err.find("valid: freeze, "), std::string::npos);
  EXPECT_EQ(run("designs v8 v11 v19").code, 2);
  EXPECT_EQ(run("replay --design v8 --all-designs " + trace).code, 2);
  const std::string broken = put("broken.txtpb", "name: x\nbase: v8\nmirror_set: y\n");
  for (const std::string& arguments :
       {"designs --design-file " + broken, "replay --design-file " + broken + " " + trace}) {
    const Result r = run(arguments);
    EXPECT_EQ(r.code, 3) << arguments;
    EXPECT_NE(r.err.find("broken.txtpb: line 3, byte 29: mirror_set"), std::string::npos) << r.err;
  }
}

// The role words of 6.12 and of 6.16 are the same, those of 7.x are others.
TEST_F(DesignsCli, TheGivenDesignIsTheOneThatRuns) {
  const std::string trace = put(
      "a.txtpb", std::string("packet { design { name: \"linux-6.12\" } }\n"
                             "packet { expect { verdict: EXPECTED_VERDICT_HOLDS } }\n"
                             "packet { vm_create { } }\n"
                             "packet { memslot_create { slot: 0 base_gfn: 0 npages: 0x1000 } }\n"
                             "packet { root_load { } }\n"
                             "packet { fault { gfn: 0x10 pfn: 0x5000 write: true } }\n"
                             "packet { init_sp { role: 0x3783 } }\n"));
  EXPECT_EQ(run("replay " + trace).code, 0);
  const json own = json::parse(run("--json replay " + trace).out);
  EXPECT_FALSE(own.contains("design"));
  const json other = json::parse(run("--json replay --design upstream-6.16 " + trace).out);
  EXPECT_EQ(other["verdict"], "holds");
  EXPECT_EQ(other["design"]["name"], "upstream-6.16");
  EXPECT_EQ(other.value("expected", json()), json());
  const Result text = run("replay --design upstream-6.16,page_pins=no " + trace);
  EXPECT_EQ(text.code, 0) << text.out;
  EXPECT_NE(text.out.find("\n  design upstream-6.16,page_pins=no: Linux 6.16"), std::string::npos);
  EXPECT_EQ(run("replay --design upstream-7.x " + trace).code, 1);  // another role word
  EXPECT_EQ(run("replay --design upstream-7.x,role_access_bits=3,role_invalid_bit=11 " + trace).code,
            0);
  const std::string file = put("d.txtpb", "name: mine\nbase: linux-7.2\n");
  EXPECT_NE(run("replay --design-file " + file + " " + trace).out.find("\n  design mine: "),
            std::string::npos);
  // A packet may name a row with changes, too.
  const std::string spec =
      put("b.txtpb", std::string("packet { design { name: \"v8,page_pins=no\" } }\n") + kVm +
                         "packet { fault { gfn: 0x10 write: true } }\n");
  EXPECT_EQ(run("replay " + spec).code, 0) << run("replay " + spec).out;
}

TEST_F(DesignsCli, WhatIsNotModelledIsNoPass) {
  const std::string trace = put("a.txtpb",
                                "packet { vm_create { vm_type: 1 } }\n"
                                "packet { memslot_create { slot: 0 base_gfn: 0 npages: 0x1000 } }\n"
                                "packet { root_load { } }\n"
                                "packet { fault { gfn: 0x10 } }\n");
  ASSERT_EQ(run("replay " + trace).code, 0);
  for (const model::Design& d : model::designs()) {
    const Result r = run("replay --design " + std::string(d.name) + " " + trace);
    EXPECT_EQ(r.code, model::not_modelled(d).empty() ? 0 : 5) << d.name << "\n" << r.out;
    for (const model::Choice* c : model::not_modelled(d)) {
      EXPECT_NE(r.out.find(c->name), std::string::npos) << d.name << " " << c->name;
    }
  }
}

TEST_F(DesignsCli, EveryDesignInALine) {
  const std::string trace = put(
      "a.txtpb", std::string("packet { expect { verdict: EXPECTED_VERDICT_DIVERGED } }\n") + kVm +
                     "packet { fault { gfn: 0x10 pfn: 0x5000 write: true } }\n"
                     "packet { set_spte { gfn: 0x10 spte: 0x5000e47 } }\n");
  const Result text = run("replay --all-designs " + trace);
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_EQ(std::count(text.out.begin(), text.out.end(), '\n'), 20);
  EXPECT_TRUE(text.out.starts_with(trace + "\n  naive               diverged ")) << text.out;
  const Result piped = run("--json replay --all-designs -", trace);
  EXPECT_EQ(piped.code, 0);
  const json all = json::parse(piped.out)["designs"];
  ASSERT_EQ(all.size(), model::designs().size());
  for (size_t i = 0; i < all.size(); i++) {
    EXPECT_EQ(all[i]["design"], model::designs()[i].name);
    EXPECT_EQ(all[i]["verdict"], "diverged");
    EXPECT_EQ(all[i]["packet"], 6);
    // The same as one by one.
    const Result one =
        run("--json replay --design " + all[i]["design"].get<std::string>() + " " + trace);
    EXPECT_EQ(json::parse(one.out)["verdict"], all[i]["verdict"]);
  }
  EXPECT_EQ(run("replay --all-designs " + put("cut.txtpb", "packet { nonsense }\n")).code, 3);
}

TEST_F(DesignsCli, RecordingsHaveTheDesignOfTheirKernel) {
  const std::string file = put("d.txtpb", "name: mine\nbase: v8\n");
  const std::string recording = kTracepoints;
  const std::string trace = (dir_ / "a.pb").string();
  ASSERT_EQ(run("import " + recording + " -o " + trace).code, 0);
  for (const std::string& path : {recording, trace}) {
    for (const std::string& option : {std::string("--design v8 "), "--design-file " + file + " ",
                                      std::string("--all-designs ")}) {
      const Result r = run("replay " + option + path);
      EXPECT_EQ(r.code, 2) << option << path;
      EXPECT_EQ(r.out, "") << option << path;
      EXPECT_NE(r.err.find("a recording of a real kernel"), std::string::npos) << r.err;
    }
  }
}

// Several traces make a table: rows designs, columns traces, with a legend.
TEST_F(DesignsCli, SeveralTracesMakeATable) {
  const std::string files =
      "traces/seed-000/sketch-index.txtpb traces/seed-000/sketch-loop.txtpb "
      "traces/seed-001/private-slot-ends-at-alias.txtpb";
  const Result text = run("replay --all-designs " + files);
  EXPECT_EQ(text.code, 0) << text.err;
  std::istringstream lines(text.out);
  size_t rows = 0;
  for (std::string line; std::getline(lines, line);) {
    EXPECT_LE(line.size(), 100u) << line;
    for (const model::Design& d : model::designs()) {
      if (line.starts_with("  " + std::string(d.name) + " ")) rows++;
    }
  }
  EXPECT_EQ(rows, model::designs().size());
  EXPECT_NE(text.out.find("violated: MMU-WALK-INDEX"), std::string::npos) << text.out;
  EXPECT_NE(text.out.find("   1  traces/seed-000/sketch-index.txtpb"), std::string::npos);

  const json all = json::parse(run("--json replay --all-designs " + files).out);
  ASSERT_EQ(all["traces"].size(), 3u);
  for (const json& trace : all["traces"]) {
    ASSERT_EQ(trace["designs"].size(), model::designs().size());
    for (const json& cell : trace["designs"]) {
      EXPECT_EQ(cell["verdict"] == "violated", cell["invariant"].is_string()) << cell;
    }
  }
  EXPECT_EQ(all["traces"][2]["designs"][3]["design"], "v19");
  EXPECT_EQ(all["traces"][2]["designs"][3]["verdict"], "violated");
}

// What the table says is what the folders state; every design's row is compared there.
TEST_F(DesignsCli, TheTableOfTheSeedsIsAsStated) {
  const Result r = run("corpus run traces/seed-001");
  EXPECT_EQ(r.code, 0) << r.out;
  EXPECT_NE(r.out.find("designs.json"), std::string::npos) << r.out;
  put("designs.json", R"({"a.txtpb": {"holds": ["v19"]}})");
  std::filesystem::copy_file("traces/seed-001/private-slot-ends-at-alias.txtpb", dir_ / "a.txtpb");
  EXPECT_EQ(run("corpus run " + dir_.string()).code, 1);
  put("designs.json", R"({"a.txtpb": {"holds": ["v20"]}})");
  EXPECT_EQ(run("corpus run " + dir_.string()).code, 3);
  put("designs.json", R"({"b.txtpb": {"holds": ["v19"]}})");
  EXPECT_EQ(run("corpus run " + dir_.string()).code, 3);
}

}  // namespace
}  // namespace mmucheck::cli
