#include "tools/tidy/catalogue_rules.h"

#include <algorithm>
#include <cctype>
#include <set>
#include <string_view>

namespace mmucheck::tidy {
namespace {

using std::string_view;

constexpr string_view kCatalogue = "checker/invariant/catalogue.def";

// C++ text without comments and preprocessor lines, newlines kept (they count lines).
std::string code_of(const SourceFile& file) {
  std::string code;
  for (const std::string& line : file.lines) {
    bool in_string = false;
    const size_t first = line.find_first_not_of(" \t");
    const bool directive = first != std::string::npos && line[first] == '#';
    for (size_t i = 0; i < line.size() && !directive; ++i) {
      if (line[i] == '"' && (i == 0 || line[i - 1] != '\\')) in_string = !in_string;
      if (!in_string && line.compare(i, 2, "//") == 0) break;
      code += line[i];
    }
    code += '\n';
  }
  return code;
}

struct Entry {
  std::string id;
  size_t line = 0;
  size_t strings = 0;  // non-empty string literals after the id; adjacent ones count once
  bool no_trace = false;  // says itself that its traces are missing
};

// Reads one INVARIANT(...) whose arguments begin at `at`; leaves `at` behind its closing bracket.
Entry parse_entry(const std::string& code, size_t& at) {
  Entry entry;
  const size_t start = at;
  int depth = 1;
  bool in_id = true, literal_counted = false;
  for (; at < code.size() && depth > 0; ++at) {
    const char c = code[at];
    if (c == '"') {
      const size_t begin = at + 1;
      for (++at; at < code.size() && code[at] != '"'; ++at) {
        if (code[at] == '\\') ++at;
      }
      const std::string literal = code.substr(begin, std::min(at, code.size()) - begin);
      if (in_id) {
        entry.id += literal;
      } else if (!literal.empty() && !literal_counted) {
        ++entry.strings;
        literal_counted = true;
      }
      continue;
    }
    if (c == '(' || c == '{') ++depth;
    if (c == ')' || c == '}') --depth;
    if (c == ',') {
      in_id = false;
      literal_counted = false;
    } else if (in_id && depth == 1 && std::isspace(static_cast<unsigned char>(c)) == 0) {
      entry.id += c;
    }
  }
  entry.no_trace = code.substr(start, at - start).find("kNoTrace") != std::string::npos;
  return entry;
}

std::vector<Entry> parse_catalogue(const SourceFile& file) {
  static constexpr string_view kMacro = "INVARIANT(";
  const std::string code = code_of(file);
  std::vector<Entry> entries;
  size_t at = 0;
  while ((at = code.find(kMacro, at)) != std::string::npos) {
    const size_t begin = at;
    at += kMacro.size();
    if (begin > 0 && (code[begin - 1] == '_' ||
                      std::isalnum(static_cast<unsigned char>(code[begin - 1])) != 0)) {
      continue;
    }
    Entry entry = parse_entry(code, at);
    entry.line = static_cast<size_t>(std::count(code.begin(), code.begin() + begin, '\n')) + 1;
    entries.push_back(std::move(entry));
  }
  return entries;
}

// Text of a .txtpb without its comments.
std::string packets_of(const SourceFile& file) {
  std::string text;
  for (const std::string& line : file.lines) text += line.substr(0, line.find('#')) + '\n';
  return text;
}

struct Coverage {
  std::set<std::string> violating, nearly;
};

void collect(const SourceFile& file, Coverage& coverage) {
  static constexpr string_view kField = "invariant:";
  const std::string text = packets_of(file);
  for (size_t at = text.find("expect"); at != std::string::npos; at = text.find("expect", at + 1)) {
    const size_t open = text.find_first_not_of(" \t\n:", at + 6);
    if (open == std::string::npos || text[open] != '{') continue;
    const std::string body = text.substr(open, text.find('}', open) - open);
    const size_t field = body.find(kField);
    if (field == std::string::npos) continue;
    const size_t quote = body.find_first_of("\"'", field);
    if (quote == std::string::npos) continue;
    const std::string id = body.substr(quote + 1, body.find(body[quote], quote + 1) - quote - 1);
    if (body.find("VIOLATED") != std::string::npos) coverage.violating.insert(id);
    if (body.find("HOLDS") != std::string::npos) coverage.nearly.insert(id);
  }
}

}  // namespace

CatalogueCheck check_catalogue(const SourceTree& tree) {
  CatalogueCheck result;
  Coverage coverage;
  const SourceFile* catalogue = nullptr;
  for (const SourceFile& file : tree) {
    if (file.path == kCatalogue) catalogue = &file;
    if (file.path.starts_with("traces/") && file.path.ends_with(".txtpb")) collect(file, coverage);
  }
  if (catalogue == nullptr) return result;
  result.catalogue_found = true;

  std::set<std::string> seen;
  for (const Entry& entry : parse_catalogue(*catalogue)) {
    const auto complain = [&](const std::string& what) {
      result.findings.push_back({catalogue->path, entry.line, "invariant " + entry.id + what});
    };
    result.ids.push_back(entry.id);
    if (!seen.insert(entry.id).second) complain(" stands twice");
    if (entry.strings < 2) complain(" needs a statement and a source");
    const bool violating = coverage.violating.contains(entry.id);
    const bool nearly = coverage.nearly.contains(entry.id);
    if (entry.no_trace) {
      ++result.untraced;
      if (violating && nearly) complain(" has its traces: kNoTrace must go");
      continue;
    }
    if (!violating) complain(": no trace violates it");
    if (!nearly) complain(": no trace nearly violates it");
  }
  if (result.ids.empty()) {
    result.findings.push_back({catalogue->path, 0, "no INVARIANT(id, ...) found"});
  }
  return result;
}

}  // namespace mmucheck::tidy
