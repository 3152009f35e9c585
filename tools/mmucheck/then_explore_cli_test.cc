// `mmucheck replay --then-explore N` as a user runs it.
#include <nlohmann/json.hpp>

#include "tools/mmucheck/program_test.h"

namespace mmucheck::cli {
namespace {

class ThenExplore : public ProgramTest {};

// 6.16's local retry loop holds kvm->srcu while a memslot that goes waits for it; 6.18's looks.
TEST_F(ThenExplore, FindsWhatTheNextOperationsBreak) {
  const std::string wrote = path("found.txtpb");
  const std::string trace = " traces/tdx/premap-6.16.txtpb";
  const Result r = run("--json replay --then-explore 2 -o " + wrote + trace);
  EXPECT_EQ(r.code, 1) << r.err;
  const auto then = nlohmann::json::parse(r.out).at("then_explored");
  EXPECT_EQ(then.at("invariant"), "MMU-LOCK-LIVE");
  EXPECT_EQ(then.at("wrote"), wrote);
  EXPECT_EQ(run("replay " + wrote).code, 0);  // as expected
  EXPECT_EQ(run("replay --no-expect " + wrote).code, 1);
  const Result one = run("replay --then-explore 1" + trace);
  EXPECT_EQ(one.code, 0) << one.out;
  EXPECT_NE(one.out.find("then   holds\n"), std::string::npos) << one.out;
  const Result fixed =
      run("replay --then-explore 2 --design upstream-6.16,retry_tests_slot=yes" + trace);
  EXPECT_EQ(fixed.code, 0) << fixed.out;
  EXPECT_NE(fixed.out.find(" 55 of 55 choices of 2 out of 11 operations"), std::string::npos)
      << fixed.out;
}

TEST_F(ThenExplore, GoesOnBehindHandWrittenTracesThatHold) {
  const Result violated =
      run("replay --no-expect --then-explore 1 traces/tdx/mirror-violated.txtpb");
  EXPECT_EQ(violated.code, 1);
  EXPECT_EQ(violated.out.find("then "), std::string::npos) << violated.out;
  EXPECT_EQ(run("replay --then-explore 1 traces/lock/live-nearly.txtpb").code, 4);
  const Result recorded = run("replay --then-explore 1 traces/recorded/tp-private/trace.txt.xz");
  EXPECT_EQ(recorded.code, 2);
  const Result piped = run("replay --then-explore 1 - < traces/lock/live-nearly.txtpb");
  EXPECT_EQ(piped.code, 2);
  EXPECT_NE(piped.err.find("not from standard input"), std::string::npos) << piped.err;
  EXPECT_EQ(run("replay --then-explore 9 traces/lock/live-nearly.txtpb").code, 2);
}

}  // namespace
}  // namespace mmucheck::cli
