// mmucheck explore as a user runs it: what a search that holds has covered, forecasts, and
// counterexamples that are smaller than their scenario.
#include <fstream>
#include <nlohmann/json.hpp>

#include "tools/mmucheck/program_test.h"

namespace mmucheck::cli {
namespace {

class ExploreCli : public ProgramTest {
 protected:
  bool contains(const std::string& text, const std::string& part) {
    return text.find(part) != std::string::npos;
  }
  nlohmann::json json(const std::string& arguments) {
    return nlohmann::json::parse(run("--json explore " + arguments).out);
  }
};

const std::string kZap = "traces/scenarios/unmap/fault-against-notifier.txtpb";
const std::string kLeafs = "traces/scenarios/seed-004/two-leafs-busy.txtpb";
const std::string kNaive = "--no-remedy --design naive traces/scenarios/seed-004/child-first.txtpb";

TEST_F(ExploreCli, SaysWhichConflictsWereSeenInBothOrders) {
  const Result brief = run("explore " + kZap);
  EXPECT_EQ(brief.code, 0);
  const auto coverage = json(kZap)["coverage"];
  EXPECT_TRUE(contains(brief.out, "conflicting pairs of steps seen in both orders: " +
                                      std::to_string(coverage["both_orders"].get<int>()) + " of " +
                                      std::to_string(coverage["conflicting_pairs"].get<int>())))
      << brief.out;
  const Result all = run("explore -v " + kZap);
  EXPECT_TRUE(contains(all.out, "only before thread ")) << all.out;
  EXPECT_EQ(coverage["not_in_both_orders"].size() + coverage["both_orders"].get<size_t>(),
            coverage["conflicting_pairs"]);
  EXPECT_EQ(run("explore -v --threads 2 " + kZap).out, all.out);
  EXPECT_EQ(run("explore -v --threads 4 " + kZap).out, all.out);
}

TEST_F(ExploreCli, NothingToCheckIsFour) {
  const Result apart = run("explore --busy 0 " + kLeafs);
  EXPECT_EQ(apart.code, 4) << apart.out;
  EXPECT_TRUE(apart.out.starts_with("nothing to check  within bounds: 2 threads")) << apart.out;
  EXPECT_EQ(json("--busy 0 " + kLeafs)["nothing_checked"], true);
  EXPECT_EQ(run("explore " + kLeafs).code, 0);  // BUSY, from others
  EXPECT_EQ(run("explore --table --busy 0 --design upstream-7.x " + kLeafs).code, 4);
}

TEST_F(ExploreCli, ForecastsAndDoesNotSearch) {
  const Result guess = run("explore --forecast traces/scenarios/big/five-leafs.txtpb");
  EXPECT_EQ(guess.code, 0) << guess.err;
  EXPECT_TRUE(contains(guess.out, "forecast  about 12,000,000 states, between ")) << guess.out;
  const Result small = run("explore --forecast --design linux-7.2 " + kZap);
  const auto counted = json("--design linux-7.2 " + kZap)["states"];
  EXPECT_EQ(json("--forecast --design linux-7.2 " + kZap)["states"], counted);
  EXPECT_TRUE(contains(small.out, "states: all were visited")) << small.out;
  const Result none = run("explore --forecast --preemptions 2 " + kZap);
  EXPECT_EQ(none.code, 2);
  EXPECT_TRUE(contains(none.err, "there is no forecast with --preemptions: ")) << none.err;
}

// forecast_test has how far off they are.
TEST_F(ExploreCli, ForecastsWhatReductionsLeave) {
  const std::string tables = "--forecast traces/scenarios/big/punch-and-tables.txtpb";
  const auto alike = json("--symmetry " + tables);
  EXPECT_EQ(alike["symmetric"], nlohmann::json::parse("[[1, 2]]"));
  EXPECT_EQ(alike["at_most"], false);
  const Result most = run("explore --por " + tables);
  EXPECT_TRUE(contains(most.out, "forecast  at most about ")) << most.out;
  EXPECT_TRUE(contains(most.out, "without --por: ")) << most.out;
}

TEST_F(ExploreCli, ATableComparesWithWhatIsPinnedOfTheReductions) {
  const std::string bug = "traces/scenarios/bugs/attr-huge-window.txtpb";
  const Result fine = run("explore --table --por " + bug);
  EXPECT_EQ(fine.code, 0) << fine.out;
  EXPECT_TRUE(contains(fine.out, " as pinned\n")) << fine.out;
  // Other numbers with that reduction are noticed with it alone.
  std::string text = content(bug);
  const size_t por = text.find("por: true"), states = text.rfind("states: ", por);
  ASSERT_NE(por, std::string::npos);
  text.insert(states + 8, "1");
  const std::string other = path("other.txtpb");
  std::ofstream(other) << text;
  EXPECT_EQ(run("explore --table " + other).code, 0);
  const Result differs = run("explore --table --por " + other);
  EXPECT_EQ(differs.code, 1);
  EXPECT_TRUE(contains(differs.out, " is pinned\n")) << differs.out;
}

TEST_F(ExploreCli, HashesProveNothing) {
  const Result less = run("explore --hash-compact " + kZap);
  EXPECT_EQ(less.code, 5) << less.out;
  EXPECT_TRUE(less.out.starts_with("inconclusive  within bounds: ")) << less.out;
  EXPECT_TRUE(contains(less.out, "told apart by 64 bits of a hash: ")) << less.out;
  EXPECT_EQ(json("--hash-compact " + kZap)["states"], json(kZap)["states"]);
  EXPECT_GT(json("--hash-compact " + kZap)["expected_omissions"], 0);
  EXPECT_EQ(json(kZap)["expected_omissions"], 0);
  // A path is looked for once more, without hashes.
  const std::string file = path("found.txtpb");
  EXPECT_EQ(json("--hash-compact " + kNaive + " -o " + file)["steps"],
            json(kNaive + " -o " + file)["steps"]);
  EXPECT_EQ(run("explore --hash-compact --all " + kZap).code, 2);
}

// What a scenario says it is about is no pass where it did not happen.
TEST_F(ExploreCli, AConflictThatNeverHappenedIsFour) {
  const std::string scenario = content(kZap);
  const auto with = [&](const std::string& conflict) {
    const std::string file = path("about.txtpb");
    std::ofstream(file) << scenario << "packet { expected_conflict { what: \"" << conflict
                        << "\" } }\n";
    return file;
  };
  EXPECT_TRUE(contains(run("explore " + kZap).out, "conflicts that the scenario is about: 2 of 2 seen"));
  const std::string never = with("thread 1 set_spte L2; thread 2 changed_spte L1");
  for (const char* options : {"", "--threads 2 ", "--threads 4 ", "--por "}) {
    const Result r = run("explore " + (options + never));
    EXPECT_EQ(r.code, 4) << r.out;
    EXPECT_TRUE(r.out.starts_with("nothing to check  within bounds: 2 threads")) << r.out;
    EXPECT_TRUE(contains(r.out,
                         "conflicts that the scenario is about: 2 of 3 seen\n"
                         "         thread 1 set_spte L2; thread 2 changed_spte L1\n"
                         "           such steps never conflicted\n"))
        << r.out;
  }
  EXPECT_EQ(json(never)["conflicts_not_seen"][0]["why"], "such steps never conflicted");
  const Result table = run("explore --table " + never);
  EXPECT_EQ(table.code, 4);
  EXPECT_TRUE(contains(table.out, "nothing to check  thread 1 set_spte L2; thread 2 changed_spte L1: "
                                  "such steps never conflicted"))
      << table.out;
  const Result unknown = run("explore " + with("thread 1 set_spt L2; thread 2 changed_spte L1"));
  EXPECT_EQ(unknown.code, 3);
  EXPECT_TRUE(contains(unknown.err, "expected_conflict: \"thread 1 set_spt L2\" names no step: nothing "
                                    "that a step does is called \"set_spt L2\", near: set_spte"))
      << unknown.err;
}

TEST_F(ExploreCli, ComparesReductionsWithTheWholeSearch) {
  const std::string two = "traces/scenarios/seed-004/two-vcpus-leaf.txtpb";
  const Result text = run("explore --compare " + two);
  EXPECT_EQ(text.code, 0) << text.out << text.err;
  EXPECT_TRUE(contains(text.out, "reduced searches found what the whole one did, 0 did not; 0 hit a bound"))
      << text.out;
  const auto all = json("--compare " + two)["comparisons"];
  for (const auto& c : all) EXPECT_EQ(c["searches"].size(), 8u);
  EXPECT_EQ(run("explore --compare --threads 3 " + two).out, text.out);
  EXPECT_EQ(run("explore --compare --max-states 100 " + two).code, 5);
  EXPECT_EQ(run("explore --compare --por " + two).code, 2);
}

// Of a deadlock and of a loop, too, what they do not need is left out.
TEST_F(ExploreCli, ADeadlockAndALoopHaveWhatTheyNeed) {
  struct {
    const char *arguments, *gone;
  } const kCases[] = {
      {"--design linux-7.2,retry_tests_slot=no traces/scenarios/bugs/zero-step-slot-deadlock.txtpb",
       "mock_finalize"},
      {"--design huge,accept_inhibit=none --only MMU-LOCK-LIVE --fair "
       "traces/scenarios/pending/accept-smaller.txtpb",
       "npages: 0x1000"}};
  for (const auto& c : kCases) {
    const std::string small = path("small.txtpb"), whole = path("whole.txtpb");
    const std::string arguments = std::string("explore --no-remedy ") + c.arguments + " -o ";
    EXPECT_TRUE(contains(run(arguments + small).out, "smaller than the scenario by "));
    run(arguments + whole + " --no-shrink");
    EXPECT_TRUE(contains(content(whole), c.gone)) << content(whole);
    EXPECT_FALSE(contains(content(small), c.gone)) << content(small);
    for (const std::string& file : {small, whole}) {
      EXPECT_TRUE(contains(run("replay " + file).out,
                           "as expected: the file says violated MMU-LOCK-LIVE"));
    }
    const std::string once = content(small);
    for (const char* threads : {" --threads 2", " --threads 4"}) {
      run(arguments + small + threads);
      EXPECT_EQ(content(small), once);
    }
  }
}

TEST_F(ExploreCli, ACounterexampleHasWhatItNeeds) {
  const std::string small = path("small.txtpb"), whole = path("whole.txtpb");
  const auto shrunk = json(kNaive + " -o " + small);
  const auto plain = json("--no-shrink " + kNaive + " -o " + whole);
  EXPECT_EQ(shrunk["steps"].size(), plain["steps"].size());
  EXPECT_EQ(shrunk["invariant"], plain["invariant"]);
  EXPECT_GT(shrunk["left_out"], 0);
  EXPECT_EQ(plain["left_out"], 0);
  EXPECT_LT(content(small).size(), content(whole).size());
  for (const std::string& file : {small, whole}) {
    const Result again = run("replay " + file);
    EXPECT_TRUE(contains(again.out, "as expected: the file says violated TDX-SEPT-ORDER"))
        << again.out;
  }
  // Nor are runs of it any different.
  const std::string once = content(small), text = run("explore " + kNaive + " -o " + small).out;
  EXPECT_EQ(content(small), once);
  EXPECT_TRUE(contains(text, "smaller than the scenario by ")) << text;
  EXPECT_FALSE(contains(run("explore --no-shrink " + kNaive + " -o " + small).out, "smaller than"));
}

// One thread is one vCPU; a long range is not made of a short one.
TEST_F(ExploreCli, ACounterexampleStaysPossible) {
  const std::string small = path("small.txtpb");
  const Result race =
      run("explore --no-remedy --design naive "
          "traces/scenarios/sept-race/two-vcpus.txtpb -o " +
          small);
  // What is printed is what is written.
  EXPECT_TRUE(contains(race.out, "page_aug gpa 0 L1")) << race.out;
  const std::string text = content(small);
  for (const char* part :
       {"packet { vcpu_create { } }", "packet { vcpu_create { vcpu_id: 1 } }",
        "packet { root_load { vcpu_id: 1 } }", "thread: 2 fault { vcpu_id: 1 "}) {
    EXPECT_TRUE(contains(text, part)) << part << "\n" << text;
  }
  EXPECT_FALSE(contains(text, "gmem_punch")) << text;
  const Result far =
      run("explore --no-remedy --design v19-exclude "
          "traces/scenarios/rules/mmu-inv-done.txtpb -o " +
          small);
  EXPECT_EQ(far.code, 1);
  EXPECT_TRUE(contains(content(small), "start: 0x7ff")) << content(small);
}

}  // namespace
}  // namespace mmucheck::cli
