// The ledger and what is made of it: verdicts follow from what the evidence does, never from the
// file.
#include "tools/mmucheck/ledger.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include "tools/mmucheck/claims_text.h"
#include "tools/mmucheck/decide_claim.h"
#include "tools/mmucheck/session.h"

namespace mmucheck::cli {
namespace {

constexpr const char* kProvable = R"({"obligation":"walk.kvm-index"})";
constexpr const char* kRefutable = R"({"obligation":"walk.sketch-index"})";
constexpr const char* kExplored = R"({"scenario":"/unmap.txtpb"})";

std::unique_ptr<trace::EventSource> open_evidence(const std::string& path) {
  return Session().open(
      path == "/unmap.txtpb" ? "traces/scenarios/unmap/fault-against-notifier.txtpb" : path);
}

std::string contents(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string written(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + std::to_string(getpid()) + "-" + name;
  std::ofstream(path) << text;
  return path;
}

std::string trace(const std::string& path) {
  return R"({"trace":")" + path + R"("})";
}

std::string ledger_of(const std::string& quantifier, const std::string& parts) {
  return R"({"format":"mmucheck claims 2","claims":[{"id":"1.1","quantifier":")" + quantifier +
         R"(","text":"t","by":["R","X","Z"],"parts":[)" + parts + "]}]}";
}
std::string evidence(const std::string& list) {
  return R"({"evidence":[)" + list + "]}";
}

struct Decided {
  std::vector<LedgerClaim> ledger;
  DecidedClaim claim;
};
Decided decided_parts(const std::string& quantifier, const std::string& parts) {
  Decided d;
  d.ledger = read_ledger(written("ledger.json", ledger_of(quantifier, parts)));
  ClaimEngines engines(open_evidence);
  d.claim = decide(d.ledger.front(), engines);
  return d;
}
ClaimVerdict decided(const std::string& quantifier, const std::string& list) {
  return decided_parts(quantifier, evidence(list)).claim.verdict;
}

// A trace that goes as it is written, and one that does not.
std::string as_written() {
  return trace("traces/seed-004/sept-remove-empty.txtpb");
}
std::string otherwise() {
  return trace("traces/seed-004/block-parent-then-children.txtpb");
}

TEST(Ledger, HasEveryClaimOnceAndItsEvidenceIsThere) {
  const std::vector<LedgerClaim> claims = read_ledger("traces/claims.json");
  EXPECT_EQ(claims.size(), 52u);
  std::set<std::string> ids;
  for (const LedgerClaim& c : claims) {
    EXPECT_TRUE(ids.insert(c.id).second) << c.id;
    for (const LedgerPart& p : c.parts) {
      for (const LedgerCase& one : p.cases) {
        for (const LedgerEvidence& e : one.evidence) {
          if (e.kind == EvidenceKind::kObligation) continue;
          EXPECT_NO_THROW(open_evidence(e.name)) << c.id;
        }
      }
    }
  }
}

TEST(Ledger, OfAllAReplayAloneSupportsNothing) {
  EXPECT_EQ(decided("all", as_written()), ClaimVerdict::kOpen);
  EXPECT_EQ(decided("all", otherwise()), ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("all", as_written() + "," + otherwise()), ClaimVerdict::kRefuted);
}

TEST(Ledger, OfAllAProofOrAnExplorationSupports) {
  EXPECT_EQ(decided("all", kProvable), ClaimVerdict::kSupported);
  EXPECT_EQ(decided("all", std::string(kProvable) + "," + as_written()), ClaimVerdict::kSupported);
  EXPECT_EQ(decided("all", kExplored), ClaimVerdict::kSupported);
  EXPECT_EQ(decided("all", R"({"scenario":"/unmap.txtpb","max_states":5})"), ClaimVerdict::kOpen);
}

TEST(Ledger, ValuesAloneRefuteNothing) {
  EXPECT_EQ(decided("all", kRefutable), ClaimVerdict::kOpen);
  EXPECT_EQ(decided("all", std::string(kRefutable) + "," + as_written()), ClaimVerdict::kOpen);
  EXPECT_EQ(decided("all", std::string(kRefutable) + "," + otherwise()), ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("exists", kRefutable), ClaimVerdict::kOpen);
}

TEST(Ledger, ValuesDecideWhatIsAboutValuesAlone) {
  const std::string values = R"({"obligation":"walk.sketch-index","values":true})";
  EXPECT_EQ(decided("all", values), ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("exists", values), ClaimVerdict::kSupported);
  EXPECT_EQ(decided("all", R"({"obligation":"walk.kvm-index","values":true})"),
            ClaimVerdict::kSupported);
  EXPECT_EQ(decided("exists", R"({"obligation":"walk.kvm-index","values":true})"),
            ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("all", std::string(kProvable) + "," + values), ClaimVerdict::kRefuted);
}

TEST(Ledger, ThatOneExistsTakesAWitness) {
  EXPECT_EQ(decided("exists", as_written()), ClaimVerdict::kSupported);
  EXPECT_EQ(decided("exists", otherwise()), ClaimVerdict::kOpen);
  EXPECT_EQ(decided("exists", kProvable), ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("exists", kExplored), ClaimVerdict::kRefuted);
}

TEST(Ledger, AProofAgainstACounterexampleIsADisagreement) {
  for (const char* quantifier : {"all", "exists"}) {
    const bool all = std::string(quantifier) == "all";
    const Decided d = decided_parts(
        quantifier, evidence(std::string(kProvable) + "," + (all ? otherwise() : as_written())));
    EXPECT_EQ(d.claim.verdict, ClaimVerdict::kOpen);
    EXPECT_TRUE(d.claim.parts.front().cases.front().disagree);
    EXPECT_EQ(claim_json(d.claim)["engines_disagree"], true);
  }
}

TEST(Ledger, BreakingAnInvariantIsEvidence) {
  const std::string path = "traces/walk/index-violated.txtpb";
  const auto breaks = [&](const char* rule) {
    return R"({"trace":")" + path + R"(","breaks":")" + rule + R"("})";
  };
  EXPECT_EQ(decided("all", breaks("MMU-WALK-INDEX")), ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("exists", breaks("MMU-WALK-INDEX")), ClaimVerdict::kSupported);
  EXPECT_EQ(decided("exists", breaks("MMU-PT-CHILD")), ClaimVerdict::kOpen);
  // The same file under a design that indexes as the kernel does.
  EXPECT_EQ(decided("all", R"({"trace":")" + path +
                               R"(","design":"upstream-7.x","breaks":"MMU-WALK-INDEX"})"),
            ClaimVerdict::kOpen);
}

TEST(Ledger, AScenarioMayBeAboutOneInvariant) {
  const auto of = [](const char* file, const char* design, const char* rest) {
    return R"({"scenario":"traces/scenarios/)" + std::string(file) + R"(.txtpb","design":")" +
           design + R"(",)" + rest + "}";
  };
  const char* file = "seed-004/same-gfn-against-zap";
  const char* never = R"("holds":"TDX-SEPT-ORDER")";
  // Something else is broken on the way, which decides nothing.
  EXPECT_EQ(decided("all", of(file, "v8", R"("breaks":"TDX-SEPT-ORDER")")), ClaimVerdict::kOpen);
  EXPECT_EQ(decided("all", of(file, "v8", never)), ClaimVerdict::kSupported);
  EXPECT_EQ(decided("exists", of(file, "v8", never)), ClaimVerdict::kSupported);
  const char* other = "seed-004/two-vcpus-one-table";
  EXPECT_EQ(decided("all", of(other, "naive", never)), ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("exists", of(other, "naive", never)), ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("exists", of(other, "naive", never) + "," + of(file, "v8", never)),
            ClaimVerdict::kSupported);
  // It was never asked for.
  EXPECT_EQ(decided("all", of(file, "v8", R"("holds":"MMU-NX-LIST")")), ClaimVerdict::kOpen);
}

TEST(Ledger, FairExecutionsMustEnd) {
  const std::string live =
      R"({"scenario":"traces/scenarios/pending/accept-smaller.txtpb","holds":"MMU-LOCK-LIVE",)"
      R"("fair":true,"design":)";
  EXPECT_EQ(decided("all", live + R"("huge"})"), ClaimVerdict::kSupported);
  EXPECT_EQ(decided("all", live + R"("huge,accept_inhibit=none"})"), ClaimVerdict::kRefuted);
}

TEST(Ledger, TwoDesignsMayEndAlike) {
  const std::string ends =
      R"({"scenario":"/unmap.txtpb","design":"linux-7.2","same_ends_as":)";
  EXPECT_EQ(decided("all", ends + R"("linux-7.2,fault_lock=write"})"), ClaimVerdict::kSupported);
  const std::string part =
      R"({"scenario":"traces/scenarios/pending/accept-smaller.txtpb","design":"huge","same_ends_as":)";
  EXPECT_EQ(decided("all", part + R"("huge,private_max_level=1"})"), ClaimVerdict::kRefuted);
}

TEST(Ledger, CasesAndPartsThatDifferDepend) {
  const std::string cases = R"({"cases":[{"when":{"range":"a"},"evidence":[)" +
                            std::string(kProvable) + R"(]},{"when":{"range":"b"},"evidence":[)" +
                            otherwise() + "]}]}";
  const Decided d = decided_parts("all", cases);
  EXPECT_EQ(d.claim.verdict, ClaimVerdict::kDepends);
  EXPECT_EQ(d.claim.condition, "range: a supported; range: b refuted");
  const std::string a = R"({"part":"a","evidence":[)" + std::string(kProvable) + "]}";
  const std::string b = R"({"part":"b","evidence":[)" + otherwise() + "]}";
  const std::string open = R"({"part":"c","open":"nobody has looked"})";
  EXPECT_EQ(decided_parts("all", a + "," + b).claim.verdict, ClaimVerdict::kDepends);
  EXPECT_EQ(decided_parts("all", a + "," + open).claim.verdict, ClaimVerdict::kOpen);
}

// The same trace with what really happens as its observation is no counterexample.
TEST(Ledger, TheVerdictTurnsWithTheTrace) {
  const std::string claimed = contents("traces/seed-004/block-parent-then-children.txtpb");
  EXPECT_EQ(decided("all", trace(written("claimed.txtpb", claimed))), ClaimVerdict::kRefuted);
  const std::string remove = "leaf: SEAMCALL_LEAF_MEM_PAGE_REMOVE status: 0x0";
  const size_t at = claimed.find(remove);
  ASSERT_NE(at, std::string::npos);
  const std::string really = claimed.substr(0, at) +
                             "leaf: SEAMCALL_LEAF_MEM_PAGE_REMOVE status: 0xc0000b0000000001 } }\n";
  EXPECT_EQ(decided("all", trace(written("really.txtpb", really))), ClaimVerdict::kOpen);
  EXPECT_EQ(decided("exists", trace(written("really.txtpb", really))), ClaimVerdict::kSupported);
}

bool stands_in(const std::string& text, const std::string& id) {
  for (size_t at = text.find(id); at != std::string::npos; at = text.find(id, at + 1)) {
    const auto part_of_word = [&](size_t i) {
      return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) != 0);
    };
    if (!part_of_word(at - 1) && !part_of_word(at + id.size())) return true;
  }
  return false;
}

TEST(Ledger, TheIdsOfItsClaimsStandNowhereElse) {
  namespace fs = std::filesystem;
  std::set<std::string> ids;
  for (const LedgerClaim& c : read_ledger("traces/claims.json")) ids.insert(c.id);
  EXPECT_TRUE(stands_in("see 1.2 (a)", "1.2"));
  EXPECT_FALSE(stands_in("see 1.23", "1.2"));
  size_t files = 0;
  for (const char* folder : {"model", "checker", "tools", "proto"}) {
    for (const auto& f : fs::recursive_directory_iterator(folder)) {
      if (!f.is_regular_file()) continue;
      const std::string text = contents(f.path().string());
      for (const std::string& id : ids) EXPECT_FALSE(stands_in(text, id)) << f.path() << ": " << id;
      files++;
    }
  }
  EXPECT_GT(files, 300u);
}

TEST(Ledger, MailFitsAndIsAscii) {
  const std::vector<LedgerClaim> claims = read_ledger("traces/claims.json");
  ClaimEngines engines(open_evidence);
  size_t blocks = 0;
  for (const LedgerClaim& c : claims) {
    bool explores = false;
    for (const LedgerPart& p : c.parts) {
      for (const LedgerCase& one : p.cases) {
        for (const LedgerEvidence& e : one.evidence) explores |= e.kind == EvidenceKind::kScenario;
      }
    }
    if (explores) continue;
    std::istringstream mail(claim_email(decide(c, engines)));
    for (std::string line; std::getline(mail, line);) {
      // A command is one line, however long its file's name.
      const bool one_word = line.find(' ', line.find_first_not_of(' ')) == std::string::npos;
      EXPECT_TRUE(line.size() <= kMailWidth || one_word) << c.id << ": " << line;
      for (const char ch : line) EXPECT_TRUE(ch >= ' ' && ch <= '~') << c.id << ": " << line;
    }
    blocks++;
  }
  EXPECT_GT(blocks, 30u);
}

TEST(Ledger, BadOnesAreOneClearError) {
  const std::string bad[] = {
      "",
      "{",
      "[]",
      R"({"format":"x"})",
      R"({"format":"mmucheck claims 2"})",
      R"({"format":"mmucheck claims 2","claims":[{"id":"1"}]})",
      ledger_of("some", evidence(kProvable)),
      ledger_of("all", "{}"),
      ledger_of("all", evidence("{}")),
      ledger_of("all", evidence(R"({"obligation":"a","trace":"b"})")),
      ledger_of("all", evidence(R"({"obligation":"a","design":"v8"})")),
      ledger_of("all", evidence(R"({"trace":"a","values":true})")),
      ledger_of("all", evidence(R"({"trace":"a","holds":"MMU-LOCK-LIVE"})")),
      ledger_of("all", evidence(R"({"scenario":"a","holds":"NONE"})")),
      ledger_of("all", evidence(R"({"scenario":"a","holds":"MMU-LOCK-LIVE","same_ends_as":"v8"})")),
      ledger_of("all", R"({"cases":[{"when":{"moon":"full"},"evidence":[]}]})"),
  };
  for (const std::string& text : bad) {
    EXPECT_THROW(read_ledger(written("bad.json", text)), trace::TraceError) << text;
  }
  EXPECT_THROW(decided("all", R"({"obligation":"walk"})"), std::invalid_argument);
  EXPECT_THROW(decided("all", R"({"scenario":"/unmap.txtpb","design":"v20"})"),
               std::invalid_argument);
}

}  // namespace
}  // namespace mmucheck::cli
