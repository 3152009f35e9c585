// The catalogue against the sources: every id that model/ or replay reports is explained, and every
// entry that claims to be reported by the model is.
#include "checker/invariant/catalogue.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <sstream>
#include <string>

namespace mmucheck::invariant {
namespace {

namespace fs = std::filesystem;

// Ids in string literals of the sources under `root`, with one file that has each. Tests may name
// ids that do not exist.
std::map<std::string, std::string> ids_under(const std::string& root) {
  static const std::regex kId("\"((MMU|TDX)-[A-Z0-9]+(-[A-Z0-9]+)*)\"");
  std::map<std::string, std::string> ids;
  for (const auto& entry : fs::recursive_directory_iterator(root)) {
    const std::string path = entry.path().string();
    if (!(path.ends_with(".h") || path.ends_with(".cc")) || path.ends_with("_test.cc")) continue;
    std::ifstream in(path);
    std::stringstream text;
    text << in.rdbuf();
    const std::string s = text.str();
    for (std::sregex_iterator at(s.begin(), s.end(), kId), end; at != end; ++at) {
      ids.emplace((*at)[1].str(), path);
    }
  }
  return ids;
}

TEST(Catalogue, IdsAreUniqueAndFound) {
  std::set<std::string_view> ids;
  for (const Invariant& i : catalogue()) {
    EXPECT_TRUE(ids.insert(i.id).second) << i.id << " stands twice";
    EXPECT_EQ(find(i.id), &i);
    EXPECT_TRUE(std::regex_match(std::string(i.id), std::regex("(MMU|TDX)(-[A-Z]+){2}"))) << i.id;
  }
  EXPECT_GE(ids.size(), 70u);
  EXPECT_EQ(find("MMU-NO-SUCH"), nullptr);
  EXPECT_EQ(find(""), nullptr);
}

TEST(Catalogue, EntriesAreExplained) {
  for (const Invariant& i : catalogue()) {
    EXPECT_GE(i.statement.size(), 20u) << i.id;
    EXPECT_NE(i.source.find(".h:") != std::string_view::npos ||
                  i.source.find(".c:") != std::string_view::npos,
              false)
        << i.id << ": the source names no function: " << i.source;
    EXPECT_NE(name_of(i.kind), "") << i.id;
    EXPECT_NE(name_of(i.scope), "") << i.id;
  }
}

TEST(Catalogue, EveryIdOfTheModelIsExplained) {
  const std::map<std::string, std::string> used = ids_under("model");
  EXPECT_GE(used.size(), 38u);
  for (const auto& [id, path] : used) {
    const Invariant* i = find(id);
    EXPECT_NE(i, nullptr) << path << " reports " << id << ", which the catalogue does not have";
    if (i != nullptr) {
      EXPECT_TRUE(i->in_model()) << id << " is said to be evaluated elsewhere, not in " << path;
    }
  }
  for (const auto& [id, path] : ids_under("checker/replay")) {
    EXPECT_NE(find(id), nullptr) << path << " reports " << id;
  }
}

TEST(Catalogue, EveryEntryOfTheModelIsReportedByIt) {
  std::map<std::string, std::string> used = ids_under("model");
  used.merge(ids_under("checker/replay/sequence"));  // kvm_mmu_uninit_tdp_mmu stands there, too
  for (const Invariant& i : catalogue()) {
    EXPECT_EQ(used.contains(std::string(i.id)), i.in_model()) << i.id;
  }
}

}  // namespace
}  // namespace mmucheck::invariant
