// Rows in files: what they give, and where their errors are.
#include "tools/mmucheck/design_file.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <stdexcept>

#include "checker/trace/event_source.h"
#include "model/design/choices.h"

namespace mmucheck::cli {
namespace {

namespace fs = std::filesystem;

class DesignFile : public testing::Test {
 protected:
  void SetUp() override {
    path_ = (fs::path(testing::TempDir()) /
             (std::string("mmucheck_design_") +
              testing::UnitTest::GetInstance()->current_test_info()->name()))
                .string();
  }
  void TearDown() override { fs::remove(path_); }

  std::unique_ptr<model::OwnedDesign> read(const std::string& text) {
    std::ofstream(path_, std::ios::binary) << text;
    return read_design_file(path_);
  }
  // "LINE:BYTE message" of what is wrong with it.
  std::string error(const std::string& text) {
    try {
      read(text);
    } catch (const trace::TraceError& e) {
      EXPECT_EQ(e.where().file, path_);
      return std::to_string(e.where().line) + ":" + std::to_string(e.where().offset) + " " +
             e.message();
    }
    return "no error";
  }

  std::string path_;
};

TEST_F(DesignFile, IsARowOnTopOfAnother) {
  const auto d = read(
      "# a series\n"
      "base: \"v19,page_pins=no\"  name: 'mine' # at the end of a line\r\n"
      "\n"
      "mirror_set: hook-first\n"
      "  private_max_level:2   frozen_low : 0x5a0\n"
      "unmap_filter: \"exclude-flags\"");
  EXPECT_EQ(d->design.name, "mine");
  EXPECT_EQ(d->design.source, path_ + ", on v19,page_pins=no");
  EXPECT_EQ(d->design.mirror_set, model::MirrorSet::kHookFirst);
  EXPECT_EQ(d->design.unmap_filter, model::UnmapFilter::kExcludeFlags);
  EXPECT_EQ(d->design.private_max_level, 2);
  EXPECT_EQ(d->design.frozen_low, 0x5a0u);
  EXPECT_FALSE(d->design.page_pins);
  EXPECT_EQ(difference(d->design, *model::find_design("v19")).size(), 5u);
  EXPECT_EQ(read("name: a base: v8 source: \"a \\\"mail\\\"\"")->design.source, "a \"mail\"");
}

// Every row, written out as a file, is that row.
TEST_F(DesignFile, CanSayEveryRow) {
  for (const model::Design& row : model::designs()) {
    std::string text = "name: mine\nbase: linux-7.2\n";
    for (const model::Choice& c : model::choices()) {
      text += std::string(c.name) + ": " + value_of(row, c) + "\n";
    }
    EXPECT_TRUE(difference(read(text)->design, row).empty()) << row.name;
  }
}

TEST_F(DesignFile, ErrorsHaveTheirPlace) {
  const std::string head = "name: \"mine\"\nbase: \"v8\"\n";  // 24 bytes
  EXPECT_EQ(error(head + "mirror_set: frozen\n"),
            "3:36 mirror_set cannot be 'frozen'; valid: freeze, cmpxchg-first, hook-first");
  EXPECT_TRUE(
      error(head + " mirror: x").starts_with("3:25 there is no choice 'mirror'; there are "));
  EXPECT_EQ(error(head + "page_pins: no\npage_pins: no"), "4:38 page_pins is given twice");
  EXPECT_EQ(error(head + "page_pins no"), "3:34 expected ':' after the name");
  EXPECT_EQ(error(head + "page_pins:"), "3:34 expected a value after ':'");
  EXPECT_EQ(error(head + "page_pins: {"), "3:35 expected a value");
  EXPECT_EQ(error(head + "{"), "3:24 expected the name of a choice");
  EXPECT_EQ(error(head + "source: \"x"), "3:32 the string does not end on its line");
  EXPECT_EQ(error(head + "source: \"x\\"), "3:32 the string does not end on its line");
  EXPECT_TRUE(error("name: a base: v20").starts_with("1:14 there is no design 'v20'; there are "));
  EXPECT_EQ(error("name: v8 base: v8"), "1:6 'v8' cannot be its name: there is such a design");
  EXPECT_EQ(error("name: '' base: v8"), "1:6 a name must not be empty");
  EXPECT_EQ(error(""), "0:0 a design needs its name: \"...\"");
  EXPECT_EQ(error("name: a\n"), "0:8 a design needs its base: \"...\"");
  EXPECT_NE(error(head + std::string(100000, 'x')), "no error");
  EXPECT_NE(error(head + std::string(10, '\0')), "no error");
  EXPECT_THROW(read_design_file(path_ + "-absent"), trace::TraceError);
}

TEST_F(DesignFile, OrAText) {
  EXPECT_EQ(design_from("", ""), nullptr);
  EXPECT_EQ(design_from("v8,page_pins=no", "")->design.name, "v8,page_pins=no");
  EXPECT_THROW(design_from("v20", ""), std::invalid_argument);
  read("name: mine base: v8");
  EXPECT_EQ(design_from("", path_)->design.name, "mine");
}

}  // namespace
}  // namespace mmucheck::cli
