// `mmucheck prove` as a user runs it: a second solver that is missing, differs or hangs, threads,
// and ^C. The second solver is a script that stands for cvc5.
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <cstdlib>
#include <thread>

#include "tools/mmucheck/program_test.h"

namespace mmucheck::cli {
namespace {

class ProveCli : public ProgramTest {
 protected:
  void SetUp() override {
    ProgramTest::SetUp();
    path_ = std::getenv("PATH");
    setenv("PATH", dir_.c_str(), 1);
  }
  void TearDown() override {
    setenv("PATH", path_.c_str(), 1);
    ProgramTest::TearDown();
  }
  // What stands for cvc5 runs these lines.
  void cvc5_is(const std::string& lines) {
    const std::string script = put("cvc5", "#!/bin/sh\n" + lines + "\n");
    std::filesystem::permissions(script, std::filesystem::perms::owner_all);
  }

 private:
  std::string path_;
};

// An obligation of one query, which Z3 proves.
const std::string kProved = "tlb.migration-not-tracked";

TEST_F(ProveCli, WithoutASecondSolverSaysWhichPackage) {
  for (const char* solver : {"cvc5", "both"}) {
    const Result r = run(std::string("prove ") + kProved + " --solver " + solver);
    EXPECT_EQ(r.code, 2);
    EXPECT_NE(r.err.find("package 'cvc5'"), std::string::npos) << r.err;
    EXPECT_TRUE(r.out.empty()) << r.out;
  }
  EXPECT_EQ(run("prove " + kProved + " --solver z3").code, 0);
  EXPECT_EQ(run("prove " + kProved + " --solver other").code, 2);
}

TEST_F(ProveCli, TwoSolversThatAgree) {
  cvc5_is("printf 'sat\\nunsat\\n'");
  const Result r = run("prove " + kProved + " --solver both");
  EXPECT_EQ(r.code, 0) << r.err;
  EXPECT_NE(r.out.find("by Z3 and cvc5, which differ on 0: 1 proved"), std::string::npos) << r.out;
}

TEST_F(ProveCli, TwoSolversThatDiffer) {
  cvc5_is("printf 'sat\\nsat\\n'");
  const Result r = run("prove " + kProved + " --solver both");
  EXPECT_EQ(r.code, 6);
  EXPECT_TRUE(r.out.starts_with("disagree ")) << r.out;
  EXPECT_NE(r.out.find("Z3: proved; cvc5: refuted"), std::string::npos) << r.out;
  EXPECT_EQ(run("prove " + kProved + " --solver cvc5").code, 1);
}

TEST_F(ProveCli, ASecondSolverThatHangsIsStopped) {
  cvc5_is("exec /bin/sleep 100");
  const Result r = run("prove " + kProved + " --solver both --time 1");
  EXPECT_EQ(r.code, 5) << r.err;
  EXPECT_TRUE(r.out.starts_with("unknown ")) << r.out;
}

TEST_F(ProveCli, ASecondSolverThatFailsIsAnError) {
  cvc5_is("echo '(error \"no\")'; exit 1");
  const Result r = run("prove " + kProved + " --solver both");
  EXPECT_EQ(r.code, 6);
  EXPECT_NE(r.err.find("cvc5: "), std::string::npos) << r.err;
}

TEST_F(ProveCli, TheSameBytesWithAnyNumberOfThreads) {
  const Result one = run("prove range --jobs 1"), many = run("prove range --jobs 5");
  EXPECT_EQ(one.out, many.out);
  EXPECT_EQ(run("--json prove tlb --jobs 1").out, run("--json prove tlb --jobs 3").out);
}

// The solver that stands for cvc5 tells when it has begun; then SIGINT comes.
TEST_F(ProveCli, AfterSigintTheRestIsNotRun) {
  cvc5_is(": > " + path("begun") + "; exec /bin/sleep 100");
  const std::string out = path("out");
  std::array<std::string, 7> words = {MMUCHECK_BINARY, "prove",  "tlb", "--solver",
                                      "both",          "--jobs", "1"};
  std::array<char*, 8> arguments = {};
  for (size_t i = 0; i < words.size(); i++) arguments[i] = words[i].data();
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, out.c_str(), O_WRONLY | O_CREAT, 0600);
  pid_t pid = 0;
  ASSERT_EQ(posix_spawn(&pid, MMUCHECK_BINARY, &actions, nullptr, arguments.data(), environ), 0);
  posix_spawn_file_actions_destroy(&actions);
  while (!std::filesystem::exists(path("begun"))) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  kill(pid, SIGINT);
  int status = 0;
  ASSERT_EQ(waitpid(pid, &status, 0), pid);
  ASSERT_TRUE(WIFEXITED(status)) << status;
  EXPECT_EQ(WEXITSTATUS(status), 130);
  const std::string text = content(out);
  EXPECT_TRUE(text.starts_with("not run  tlb.tracked-means-gone")) << text;
  EXPECT_NE(text.find("not run  tlb.migration-not-tracked"), std::string::npos) << text;
  EXPECT_NE(text.find("\ninterrupted: "), std::string::npos) << text;
  EXPECT_EQ(text.find("proved  "), std::string::npos) << text;
}

}  // namespace
}  // namespace mmucheck::cli
