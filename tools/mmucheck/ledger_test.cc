// The ledger: verdicts follow from what the evidence does, never from the file.
#include "tools/mmucheck/ledger.h"

#include <gtest/gtest.h>

#include <fstream>
#include <set>
#include <sstream>

#include "checker/trace/byte_stream.h"
#include "tools/mmucheck/session.h"

namespace mmucheck::cli {
namespace {

std::unique_ptr<trace::EventSource> open(const std::string& path) { return Session().open(path); }

std::string text_of(const std::string& path) {
  std::ifstream in(path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

std::string written(const std::string& name, const std::string& text) {
  const std::string path = testing::TempDir() + name;
  std::ofstream(path) << text;
  return path;
}

std::string ledger_of(const std::string& quantifier, const std::string& trace) {
  return R"({"format":"mmucheck claims 1","claims":[{"id":"1.1","quantifier":")" + quantifier +
         R"(","text":"t","by":["R","Z"],"parts":[{"traces":[")" + trace + R"("]}]}]})";
}

ClaimVerdict decided(const std::string& quantifier, const std::string& trace) {
  std::vector<Claim> claims = read_ledger(written("ledger.json", ledger_of(quantifier, trace)));
  decide(claims.front(), open);
  return claims.front().verdict;
}

TEST(Ledger, HasEveryClaimOnceAndItsEvidenceIsThere) {
  const std::vector<Claim> claims = read_ledger("traces/claims.json");
  EXPECT_EQ(claims.size(), 52u);
  std::set<std::string> ids;
  for (const Claim& c : claims) {
    EXPECT_TRUE(ids.insert(c.id).second) << c.id;
    for (const ClaimPart& p : c.parts) {
      for (const std::string& t : p.traces) EXPECT_NO_THROW(open(t)) << c.id;
    }
  }
}

TEST(Ledger, ShippedClaimsThatReplaysDecide) {
  std::vector<Claim> claims = read_ledger("traces/claims.json");
  const auto verdict = [&](const std::string& id) {
    for (Claim& c : claims) {
      if (c.id != id) continue;
      decide(c, open);
      return c.verdict;
    }
    return ClaimVerdict::kDepends;
  };
  EXPECT_EQ(verdict("000.7"), ClaimVerdict::kSupported);
  EXPECT_EQ(verdict("004.12"), ClaimVerdict::kRefuted);
  EXPECT_EQ(verdict("004.3"), ClaimVerdict::kOpen);  // instances alone
}

// The same trace with what really happens as its observation is no counterexample.
TEST(Ledger, TheVerdictTurnsWithTheTrace) {
  const std::string claimed = text_of("traces/seed-004/block-parent-then-children.txtpb");
  EXPECT_EQ(decided("all", written("claimed.txtpb", claimed)), ClaimVerdict::kRefuted);
  EXPECT_EQ(decided("exists", written("claimed.txtpb", claimed)), ClaimVerdict::kOpen);
  std::string really = claimed;
  const std::string remove = "leaf: SEAMCALL_LEAF_MEM_PAGE_REMOVE status: 0x0";
  const size_t at = really.find(remove);
  ASSERT_NE(at, std::string::npos);
  really = really.substr(0, at) + "leaf: SEAMCALL_LEAF_MEM_PAGE_REMOVE status: 0xc0000b0000000001 } }\n";
  EXPECT_EQ(decided("all", written("really.txtpb", really)), ClaimVerdict::kOpen);
  EXPECT_EQ(decided("exists", written("really.txtpb", really)), ClaimVerdict::kSupported);
}

TEST(Ledger, BadOnesAreOneClearError) {
  for (const char* text : {"", "{", "[]", "{\"format\":\"x\"}", "{\"format\":\"mmucheck claims 1\"}",
                           "{\"format\":\"mmucheck claims 1\",\"claims\":[{\"id\":\"1\"}]}"}) {
    EXPECT_THROW(read_ledger(written("bad.json", text)), trace::TraceError) << text;
  }
  EXPECT_THROW(read_ledger(written("some.json", ledger_of("some", "x"))), trace::TraceError);
}

}  // namespace
}  // namespace mmucheck::cli
