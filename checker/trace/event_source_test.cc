#include "checker/trace/event_source.h"

#include <gtest/gtest.h>

#include "checker/trace/output_file.h"
#include "checker/trace/test_files.h"

namespace mmucheck::trace {
namespace {

std::string what(const TraceError::Where& where) {
  return TraceError(TraceErrorKind::kCorrupt, where, "it is odd").what();
}

TEST(TraceError, NamesTheKnownPartsOfThePlaceOnly) {
  EXPECT_EQ(what({}), "it is odd");
  EXPECT_EQ(what({.file = "a.pb"}), "a.pb: it is odd");
  EXPECT_EQ(what({.file = "a.pb", .packet = 3, .offset = 0}), "a.pb: packet 3, byte 0: it is odd");
  EXPECT_EQ(what({.file = "a.txt", .line = 9}), "a.txt: line 9: it is odd");
  EXPECT_EQ(what({.packet = 2, .line = 9}), "packet 2, line 9: it is odd");
}

TEST(OutputFile, ReplacesOnlyOnCommit) {
  const ScratchDir dir;
  const std::string path = dir.file("out");
  {
    OutputFile out(path);
    out.write("old");
    out.commit();
  }
  {
    OutputFile out(path);
    out.write(std::string(1 << 20, 'x'));
  }
  EXPECT_EQ(slurp(path), "old");
  {
    OutputFile out(path);
    out.write("new ");
    out.write(std::string(1 << 20, 'x'));
    out.commit();
  }
  EXPECT_EQ(slurp(path), "new " + std::string(1 << 20, 'x'));
  EXPECT_EQ(dir.entries(), 1u);
}

TEST(OutputFile, LeavesDevicesInPlace) {
  OutputFile out("/dev/null");
  out.write("gone");
  out.commit();
  EXPECT_TRUE(std::filesystem::is_character_file("/dev/null"));
}

TEST(OutputFile, AFullDiskIsAnError) {
  OutputFile out("/dev/full");
  EXPECT_THROW(
      {
        out.write(std::string(1 << 20, 'x'));
        out.commit();
      },
      TraceError);
}

}  // namespace
}  // namespace mmucheck::trace
