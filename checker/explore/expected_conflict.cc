#include "checker/explore/expected_conflict.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <numeric>
#include <set>
#include <stdexcept>
#include <utility>

#include "checker/explore/cell_words.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::explore {
namespace {

std::string_view trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(' ');
  if (from == std::string_view::npos) return {};
  return text.substr(from, text.find_last_not_of(' ') - from + 1);
}

std::vector<std::string_view> split(std::string_view text, std::string_view by) {
  std::vector<std::string_view> all;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(by, at), text.size());
    all.push_back(trimmed(text.substr(at, end - at)));
    at = end + by.size();
  }
  return all;
}

// "writes a, b" is "writes a" and "writes b".
std::vector<std::string> parts_shown(std::string_view what) {
  std::vector<std::string> parts;
  std::string verb;
  for (const std::string_view part : split(what, ",")) {
    for (const char* v : {"writes ", "reads "}) {
      if (part.starts_with(v)) verb = v;
    }
    parts.push_back((part.starts_with(verb) ? "" : verb) + std::string(part));
  }
  return parts;
}

// "... L2"
std::string_view without_level(std::string_view part) {
  const size_t at = part.rfind(" L");
  if (at == std::string_view::npos || at + 3 != part.size()) return part;
  return part[at + 2] >= '1' && part[at + 2] <= '5' ? part.substr(0, at) : part;
}

// All that steps may show, without levels.
const std::vector<std::string>& step_words() {
  static const std::vector<std::string> kAll = [] {
    std::set<std::string> all = {"begins",
                                 "goes on",
                                 "read_lock(mmu_lock)",
                                 "write_lock(mmu_lock)",
                                 "read_unlock(mmu_lock)",
                                 "write_unlock(mmu_lock)"};
    for (const trace::KindInfo& k : trace::all_kinds()) {
      all.emplace(k.name.starts_with("mock_") ? k.name.substr(5) : k.name);
    }
    for (unsigned k = 0; k <= static_cast<unsigned>(model::kLastCellKind); k++) {
      const std::string cell = words_of(static_cast<model::CellKind>(k));
      all.insert({"writes " + cell, "reads " + cell});
    }
    return std::vector<std::string>(all.begin(), all.end());
  }();
  return kAll;
}

// Letters to change, add or leave out.
size_t edits_between(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), size_t{0});
  for (size_t i = 1; i <= a.size(); i++) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); j++) {
      const size_t replace = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({replace, row[j] + 1, row[j - 1] + 1});
    }
  }
  return row.back();
}

StepName parse_step(std::string_view text) {
  const auto refuse = [&](const std::string& why) {
    throw std::invalid_argument(fmt::format("\"{}\" names no step: {}", text, why));
  };
  StepName name;
  std::string_view rest = text;
  constexpr std::string_view kThread = "thread ";
  if (!rest.starts_with(kThread)) refuse("it begins with \"thread NUMBER\"");
  rest = trimmed(rest.substr(kThread.size()));
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), name.thread);
  if (error != std::errc()) refuse("it begins with \"thread NUMBER\"");
  rest = trimmed(rest.substr(static_cast<size_t>(end - rest.data())));
  if (rest.starts_with('[')) {
    const size_t close = rest.find(']');
    if (close == std::string_view::npos) refuse("no ] behind the operation");
    name.operation = trimmed(rest.substr(1, close - 1));
    rest = trimmed(rest.substr(close + 1));
  }
  name.parts = parts_shown(rest);
  for (const std::string& part : name.parts) {
    const auto& known = step_words();
    if (std::binary_search(known.begin(), known.end(), part) ||
        std::binary_search(known.begin(), known.end(), std::string(without_level(part)))) {
      continue;
    }
    refuse(fmt::format("nothing that a step does is called \"{}\"{}", part,
                       near_names(without_level(part), known)));
  }
  return name;
}

}  // namespace

bool StepName::is(uint32_t of_thread, std::string_view operations, std::string_view what) const {
  if (of_thread != thread) return false;
  const auto names = split(operations, ",");
  if (!operation.empty() && std::find(names.begin(), names.end(), operation) == names.end()) {
    return false;
  }
  const std::vector<std::string> shown = parts_shown(what);
  return std::all_of(parts.begin(), parts.end(), [&](const std::string& part) {
    return std::any_of(shown.begin(), shown.end(), [&](const std::string& s) {
      return s == part || without_level(s) == part;
    });
  });
}

ExpectedConflict parse_expected_conflict(std::string_view what) {
  constexpr size_t kLongest = 500;
  if (what.size() > kLongest) throw std::invalid_argument("\"what\" is longer than 500 letters");
  const auto steps = split(what, ";");
  if (steps.size() != 2) {
    throw std::invalid_argument("two steps stand in \"what\", with a semicolon between");
  }
  ExpectedConflict c{std::string(what), parse_step(steps[0]), parse_step(steps[1])};
  if (c.first.thread == c.second.thread) {
    throw std::invalid_argument("steps of one thread are always in the same order");
  }
  return c;
}

std::string near_names(std::string_view name, const std::vector<std::string>& names) {
  constexpr size_t kMost = 3;
  std::vector<std::pair<size_t, std::string>> close;
  for (const std::string& n : names) {
    const size_t edits = edits_between(name, n);
    if (edits <= 1 + name.size() / 3) close.emplace_back(edits, n);
  }
  std::sort(close.begin(), close.end());
  std::string text;
  for (size_t i = 0; i < std::min(kMost, close.size()); i++) {
    text += (i == 0 ? ", near: " : ", ") + close[i].second;
  }
  return text;
}

}  // namespace mmucheck::explore
