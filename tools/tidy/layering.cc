#include "tools/tidy/layering.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <utility>

namespace mmucheck::tidy {
namespace {

using std::string_view;

struct Include {
  std::string target;
  bool angle = false;
};

std::optional<Include> parse_include(string_view line) {
  const size_t hash = line.find_first_not_of(" \t");
  if (hash == string_view::npos || line[hash] != '#') return std::nullopt;
  line.remove_prefix(hash + 1);
  line.remove_prefix(std::min(line.find_first_not_of(" \t"), line.size()));
  if (!line.starts_with("include")) return std::nullopt;
  line.remove_prefix(7);
  const size_t open = line.find_first_of("\"<");
  if (open == string_view::npos) return std::nullopt;
  const bool angle = line[open] == '<';
  const size_t close = line.find(angle ? '>' : '"', open + 1);
  if (close == string_view::npos) return std::nullopt;
  return Include{std::string(line.substr(open + 1, close - open - 1)), angle};
}

bool is_source(string_view path) {
  return path.ends_with(".h") || path.ends_with(".cc") || path.ends_with(".def");
}

bool is_test(string_view path) { return path.ends_with("_test.cc") || path.ends_with("_test.h"); }

// "model/spte/spte.h" -> "model/spte"; "model/x.h" -> "model".
std::string room_of(string_view path) {
  const size_t first = path.find('/');
  if (first == string_view::npos) return std::string(path);
  const size_t second = path.find('/', first + 1);
  return std::string(path.substr(0, second == string_view::npos ? first : second));
}

string_view floor_of(string_view path) { return path.substr(0, path.find('/')); }

int rank(string_view name, const std::vector<std::pair<string_view, int>>& ranks) {
  for (const auto& [key, value] : ranks) {
    if (name == key) return value;
  }
  return -1;
}

// Larger may include smaller or equal; equal rooms must not form a circle (checked apart).
int floor_rank(string_view floor) {
  return rank(floor, {{"model", 0}, {"checker", 1}, {"tools", 2}});
}

int room_rank(string_view room) {
  return rank(room, {{"model/domain", 0},   {"model/address", 1},     {"model/spte", 2},
                     {"model/design", 2},   {"model/store", 3},       {"model/vm", 4},
                     {"model/tdx", 5},      {"model/tdp", 6},         {"model/shadow", 6},
                     {"checker/trace", 10}, {"checker/invariant", 10}, {"checker/report", 11},
                     {"checker/replay", 12}, {"checker/explore", 12}, {"checker/prove", 12},
                     {"checker/shrink", 12}});
}

bool is_generated(const Include& include) {
  return include.target.ends_with(".pb.h") || include.target.starts_with("google/protobuf/");
}

// Standard headers that the model must do without: clock, randomness, threads, files.
bool is_forbidden_standard_header(string_view name) {
  static constexpr std::array kForbidden = {
      string_view("atomic"), string_view("barrier"), string_view("chrono"),
      string_view("condition_variable"), string_view("cstdio"), string_view("ctime"),
      string_view("filesystem"), string_view("fstream"), string_view("future"),
      string_view("iostream"), string_view("latch"), string_view("mutex"), string_view("random"),
      string_view("semaphore"), string_view("shared_mutex"), string_view("stop_token"),
      string_view("syncstream"), string_view("thread")};
  return std::find(kForbidden.begin(), kForbidden.end(), name) != kForbidden.end();
}

bool is_standard_name(string_view name) {
  return name.find_first_of("./") == string_view::npos;
}

std::string breach(const SourceFile& file, const Include& include) {
  const string_view from_floor = floor_of(file.path);
  const std::string from = room_of(file.path);
  const std::string& target = include.target;

  if (is_generated(include)) {
    return from == "checker/trace" ? "" : "only checker/trace may see generated protobuf headers";
  }
  if (target.starts_with("z3")) {
    return from == "checker/prove" ? "" : "only checker/prove may include Z3";
  }
  if (include.angle) {
    if (from_floor != "model" || is_test(file.path)) return "";
    if (!is_standard_name(target)) return "model includes the standard library and itself only";
    return is_forbidden_standard_header(target)
               ? "model has no clock, randomness, threads or files"
               : "";
  }
  const int to_floor_rank = floor_rank(floor_of(target));
  if (to_floor_rank < 0) return "a quoted include names a file from the source root";
  if (to_floor_rank > floor_rank(from_floor)) return "includes go tools -> checker -> model";
  const int from_rank = room_rank(from);
  const int to_rank = room_rank(room_of(target));
  if (from_rank >= 0 && to_rank > from_rank) return from + " is below " + room_of(target);
  return "";
}

// Rooms on a circle of includes, found by depth-first search over the graph of rooms.
class CircleSearch {
 public:
  using Graph = std::map<std::string, std::map<std::string, Finding>>;
  explicit CircleSearch(const Graph& graph) : graph_(graph) {}

  std::vector<Finding> run() {
    for (const auto& [room, edges] : graph_) visit(room);
    return std::move(found_);
  }

 private:
  void visit(const std::string& room) {
    if (done_.contains(room)) return;
    done_.insert(room);
    open_.push_back(room);
    if (const auto it = graph_.find(room); it != graph_.end()) {
      for (const auto& [next, where] : it->second) {
        const auto begin = std::find(open_.begin(), open_.end(), next);
        if (begin == open_.end()) {
          visit(next);
          continue;
        }
        std::string message = "circle of includes: ";
        for (auto step = begin; step != open_.end(); ++step) message += *step + " -> ";
        found_.push_back({where.path, where.line, message + next});
      }
    }
    open_.pop_back();
  }

  const Graph& graph_;
  std::set<std::string> done_;
  std::vector<std::string> open_;
  std::vector<Finding> found_;
};

}  // namespace

std::vector<Finding> check_layering(const SourceTree& tree) {
  std::vector<Finding> findings;
  CircleSearch::Graph graph;
  for (const SourceFile& file : tree) {
    if (!is_source(file.path) || floor_rank(floor_of(file.path)) < 0) continue;
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::optional<Include> include = parse_include(file.lines[i]);
      if (!include) continue;
      const std::string reason = breach(file, *include);
      if (!reason.empty()) {
        findings.push_back({file.path, i + 1, "includes " + include->target + ": " + reason});
      }
      const std::string from = room_of(file.path);
      const std::string to = room_of(include->target);
      if (!include->angle && from != to && !is_test(file.path)) {
        graph[from].try_emplace(to, Finding{file.path, i + 1, ""});
      }
    }
  }
  const std::vector<Finding> circles = CircleSearch(graph).run();
  findings.insert(findings.end(), circles.begin(), circles.end());
  return findings;
}

}  // namespace mmucheck::tidy
