#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "tools/tidy/catalogue_rules.h"
#include "tools/tidy/file_rules.h"
#include "tools/tidy/layering.h"

namespace mmucheck::tidy {
namespace {

SourceFile file(const std::string& path, const std::vector<std::string>& lines) {
  return {path, lines};
}

std::string all(const std::vector<Finding>& findings) {
  std::string text;
  for (const Finding& f : findings) {
    text += f.path + ":" + std::to_string(f.line) + ": " + f.message + "\n";
  }
  return text;
}

std::string layering(const std::string& path, const std::string& include) {
  return all(check_layering({file(path, {"", "#include " + include})}));
}

TEST(Layering, AcceptsTheRoadDown) {
  EXPECT_EQ(layering("tools/mmucheck/main.cc", "\"checker/report/verdict.h\""), "");
  EXPECT_EQ(layering("checker/replay/replay.h", "\"checker/trace/event.h\""), "");
  EXPECT_EQ(layering("checker/replay/replay.h", "\"checker/report/verdict.h\""), "");
  EXPECT_EQ(layering("checker/replay/replay.h", "\"model/tdp/iter.h\""), "");
  EXPECT_EQ(layering("checker/trace/codec_test.cc", "\"mmucheck/v1/packet.pb.h\""), "");
  EXPECT_EQ(layering("checker/prove/solver.cc", "<z3++.h>"), "");
  EXPECT_EQ(layering("model/tdp/iter.h", "\"model/spte/spte.h\""), "");
  EXPECT_EQ(layering("model/spte/spte.h", "<cstdint>"), "");
  EXPECT_EQ(layering("model/spte/spte_test.cc", "<gtest/gtest.h>"), "");
}

TEST(Layering, NoticesTheRoadUp) {
  EXPECT_EQ(layering("model/spte/spte.h", "\"model/tdp/iter.h\""),
            "model/spte/spte.h:2: includes model/tdp/iter.h: model/spte is below model/tdp\n");
  EXPECT_EQ(layering("model/tdp/iter.cc", "\"checker/trace/event.h\""),
            "model/tdp/iter.cc:2: includes checker/trace/event.h: "
            "includes go tools -> checker -> model\n");
  EXPECT_NE(layering("checker/trace/a.cc", "\"tools/import/x.h\""), "");
  EXPECT_NE(layering("checker/trace/a.cc", "\"checker/replay/x.h\""), "");
  EXPECT_NE(layering("checker/trace/a_test.cc", "\"checker/replay/x.h\""), "");
  EXPECT_NE(layering("checker/report/a.cc", "\"checker/replay/x.h\""), "");
  EXPECT_NE(layering("checker/trace/a.cc", "\"event.h\""), "");
}

TEST(Layering, NoticesForeignHeaders) {
  EXPECT_NE(layering("model/spte/spte.h", "<fmt/format.h>"), "");
  EXPECT_NE(layering("model/spte/spte.h", "<z3++.h>"), "");
  EXPECT_NE(layering("model/spte/spte.h", "<random>"), "");
  EXPECT_NE(layering("model/spte/spte.h", "<thread>"), "");
  EXPECT_NE(layering("model/spte/spte.h", "<sys/stat.h>"), "");
  EXPECT_NE(layering("checker/replay/a.cc", "\"mmucheck/v1/packet.pb.h\""), "");
  EXPECT_NE(layering("tools/import/a.cc", "<google/protobuf/message.h>"), "");
  EXPECT_NE(layering("checker/replay/a.cc", "<z3++.h>"), "");
}

TEST(Layering, NoticesACircleOfRooms) {
  const SourceTree tree = {file("model/design/design.h", {"#include \"model/spte/spte.h\""}),
                           file("model/spte/spte.h", {"", "#include \"model/design/design.h\""})};
  EXPECT_EQ(all(check_layering(tree)),
            "model/spte/spte.h:2: circle of includes: "
            "model/design -> model/spte -> model/design\n");
  EXPECT_EQ(all(check_layering({tree[0]})), "");
}

const std::string kContract = "// Layer: x. Contract: a comment that is long enough to say so much.";

TEST(Files, AcceptsAnOrdinaryHeader) {
  EXPECT_EQ(all(check_files({file("a.h", {kContract, "#pragma once"})})), "");
  EXPECT_EQ(all(check_files({file("a.h", {"#pragma once", "", kContract})})), "");
}

TEST(Files, NoticesAHeaderWithoutContract) {
  EXPECT_NE(all(check_files({file("a.h", {"#pragma once", "struct A {};"})})), "");
  EXPECT_NE(all(check_files({file("a.h", {"// short", "#pragma once"})})), "");
  EXPECT_NE(all(check_files({file("a.h", {"#pragma once", "struct A {};", kContract})})), "");
  EXPECT_NE(all(check_files({file("a.h", {})})), "");
  EXPECT_EQ(all(check_files({file("a.cc", {"int a;"})})), "");
}

TEST(Files, NoticesLength) {
  EXPECT_EQ(all(check_files({file("a.cc", std::vector<std::string>(kMaxLines))})), "");
  EXPECT_EQ(all(check_files({file("a.cc", std::vector<std::string>(kMaxLines + 1))})),
            "a.cc:0: 601 lines, at most 600\n");
}

TEST(Files, NoticesUnfinishedWork) {
  const std::string word = "TO" "DO";
  EXPECT_EQ(all(check_files({file("a.cc", {"", "// " + word + ": later"})})),
            "a.cc:2: unfinished work without an owner in parentheses\n");
  EXPECT_NE(all(check_files({file("a.cc", {word + "()"})})), "");
  EXPECT_NE(all(check_files({file("a.cc", {"// FIX" "ME"})})), "");
  EXPECT_EQ(all(check_files({file("a.cc", {"// " + word + "(kim): later", word + "S"})})), "");
}

TEST(Files, NoticesPathsOfOneMachine) {
  EXPECT_EQ(all(check_files({file("a.sh", {"cd /wo" "rk/x"})})),
            "a.sh:1: names a path of one machine\n");
  EXPECT_NE(all(check_files({file("a.cc", {"open(\"/tm" "p/x\")"})})), "");
  EXPECT_NE(all(check_files({file("a.md", {"/ho" "me/kim"})})), "");
  EXPECT_EQ(all(check_files({file("a.cc", {"// leaf/ro" "ot/table", "./tm" "p/x"})})), "");
}

SourceTree catalogue(const std::string& entry, const std::string& violating,
                     const std::string& nearly) {
  return {file("checker/invariant/catalogue.def", {"// INVARIANT(\"comment\")", entry}),
          file("traces/a/bad.txtpb", {"packet { expect { verdict: EXPECTED_VERDICT_VIOLATED",
                                      "  invariant: \"" + violating + "\" } }"}),
          file("traces/a/near.txtpb", {"packet { expect { verdict: EXPECTED_VERDICT_HOLDS",
                                       "  invariant: \"" + nearly + "\" } }"})};
}

const std::string kEntry = "INVARIANT(\"MMU-1\", \"an entry (any) is, well, fine\" \"!\", \"mmu.c\")";

TEST(Catalogue, AcceptsAnExplainedAndCoveredInvariant) {
  const CatalogueCheck check = check_catalogue(catalogue(kEntry, "MMU-1", "MMU-1"));
  EXPECT_TRUE(check.catalogue_found);
  EXPECT_EQ(check.ids, std::vector<std::string>{"MMU-1"});
  EXPECT_EQ(all(check.findings), "");
}

TEST(Catalogue, AcceptsIdentifiers) {
  const std::string entry = "INVARIANT(MMU_1, kState, \"statement\", \"source\", rule(a, b))";
  EXPECT_EQ(all(check_catalogue(catalogue(entry, "MMU_1", "MMU_1")).findings), "");
}

TEST(Catalogue, CountsEntriesThatSayTheirTracesAreMissing) {
  const std::string entry = "INVARIANT(\"MMU-1\", \"statement\", \"source\", kA | kNoTrace)";
  const CatalogueCheck check = check_catalogue(catalogue(entry, "MMU-1", "MMU-2"));
  EXPECT_EQ(check.untraced, 1u);
  EXPECT_EQ(all(check.findings), "");
  EXPECT_EQ(all(check_catalogue(catalogue(entry, "MMU-1", "MMU-1")).findings),
            "checker/invariant/catalogue.def:2: invariant MMU-1 has its traces: kNoTrace must go\n");
}

TEST(Catalogue, NoticesMissingTraces) {
  EXPECT_EQ(all(check_catalogue(catalogue(kEntry, "MMU-2", "MMU-1")).findings),
            "checker/invariant/catalogue.def:2: invariant MMU-1: no trace violates it\n");
  EXPECT_EQ(all(check_catalogue(catalogue(kEntry, "MMU-1", "MMU-2")).findings),
            "checker/invariant/catalogue.def:2: invariant MMU-1: no trace nearly violates it\n");
  EXPECT_NE(all(check_catalogue({catalogue(kEntry, "", "")[0]}).findings), "");
  const SourceTree commented = {catalogue(kEntry, "", "")[0],
                                file("traces/b.txtpb", {"# expect { verdict: VIOLATED invariant: "
                                                        "\"MMU-1\" }"})};
  EXPECT_NE(all(check_catalogue(commented).findings).find("no trace violates"), std::string::npos);
}

TEST(Catalogue, NoticesMissingExplanations) {
  const auto findings = [](const std::string& entry) {
    return all(check_catalogue(catalogue(entry, "MMU-1", "MMU-1")).findings);
  };
  EXPECT_NE(findings("INVARIANT(\"MMU-1\", \"statement\")"), "");
  EXPECT_NE(findings("INVARIANT(\"MMU-1\", \"statement\", \"\")"), "");
  EXPECT_NE(findings("INVARIANT(\"MMU-1\", \"two\" \"halves\", kState)"), "");
  EXPECT_NE(findings(kEntry + " " + kEntry).find("stands twice"), std::string::npos);
  EXPECT_NE(findings("int nothing;").find("no INVARIANT"), std::string::npos);
}

TEST(Catalogue, SaysWhenThereIsNone) {
  EXPECT_FALSE(check_catalogue({file("a.cc", {"INVARIANT(1)"})}).catalogue_found);
}

TEST(Tree, SkipsDataAndBuilds) {
  namespace fs = std::filesystem;
  const fs::path root = fs::path(testing::TempDir()) / "mmucheck_tidy_tree";
  fs::remove_all(root);
  for (const char* path : {"b.cc", "a/x.h", "build/y.cc", ".git/z", ".ci/run",
                           "traces/recorded/t.txt", "traces/a.txtpb", "tools/build/k.cc"}) {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << "one\ntwo\n";
  }
  std::ofstream(root / "binary") << std::string("a\0b", 3);
  std::vector<std::string> paths;
  for (const SourceFile& f : read_tree(root)) {
    paths.push_back(f.path);
    EXPECT_EQ(f.lines, (std::vector<std::string>{"one", "two"}));
  }
  EXPECT_EQ(paths, (std::vector<std::string>{".ci/run", "a/x.h", "b.cc", "tools/build/k.cc",
                                             "traces/a.txtpb"}));
  fs::remove_all(root);
}

}  // namespace
}  // namespace mmucheck::tidy
