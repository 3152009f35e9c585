#include "tools/tidy/file_rules.h"

#include <array>
#include <cctype>
#include <string_view>

namespace mmucheck::tidy {
namespace {

using std::string_view;

bool is_word(char c) { return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_'; }

// The words are written in halves, so that this file keeps its own rule.
constexpr std::array<string_view, 2> kOpenEnds = {"TO" "DO", "FIX" "ME"};
constexpr std::array<string_view, 5> kMachineRoots = {"/wo" "rk/", "/ho" "me/", "/ro" "ot/",
                                                      "/Use" "rs/", "/tm" "p/"};

bool has_open_end_without_owner(string_view line) {
  for (string_view word : kOpenEnds) {
    for (size_t at = line.find(word); at != string_view::npos; at = line.find(word, at + 1)) {
      const size_t end = at + word.size();
      if (at > 0 && is_word(line[at - 1])) continue;
      if (end < line.size() && is_word(line[end])) continue;
      const bool owned = line.substr(end).starts_with('(') && end + 1 < line.size() &&
                         is_word(line[end + 1]);
      if (!owned) return true;
    }
  }
  return false;
}

// A root counts only where a path can begin: "a/root/b" is prose.
bool names_a_machine(string_view line) {
  for (string_view root : kMachineRoots) {
    for (size_t at = line.find(root); at != string_view::npos; at = line.find(root, at + 1)) {
      const char before = at == 0 ? ' ' : line[at - 1];
      if (!is_word(before) && before != '.' && before != '-' && before != '}') return true;
    }
  }
  return false;
}

bool has_contract(const SourceFile& file) {
  size_t length = 0;
  for (const std::string& line : file.lines) {
    const string_view text = line;
    if (text.starts_with("//")) {
      length += text.size() - 2;
    } else if (length > 0 || (!text.empty() && text != "#pragma once")) {
      break;
    }
  }
  return length >= kMinContract;
}

}  // namespace

std::vector<Finding> check_files(const SourceTree& tree) {
  std::vector<Finding> findings;
  for (const SourceFile& file : tree) {
    if (file.path == "LICENSE") continue;
    if (file.lines.size() > kMaxLines) {
      findings.push_back({file.path, 0, std::to_string(file.lines.size()) +
                                            " lines, at most " + std::to_string(kMaxLines)});
    }
    if (file.path.ends_with(".h") && !has_contract(file)) {
      findings.push_back({file.path, 1, "a header begins with a comment: its layer and contract"});
    }
    for (size_t i = 0; i < file.lines.size(); ++i) {
      if (has_open_end_without_owner(file.lines[i])) {
        findings.push_back({file.path, i + 1, "unfinished work without an owner in parentheses"});
      }
      if (names_a_machine(file.lines[i])) {
        findings.push_back({file.path, i + 1, "names a path of one machine"});
      }
    }
  }
  return findings;
}

}  // namespace mmucheck::tidy
