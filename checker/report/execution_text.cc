#include "checker/report/execution_text.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "checker/report/text_writer.h"

namespace mmucheck::report {
namespace {

using Json = nlohmann::ordered_json;

std::string size_of(int level) {
  static constexpr const char* kSizes[] = {"", "4K", "2M", "1G", "512G", "256T"};
  return level >= 1 && level <= 5 ? kSizes[level] : std::to_string(level);
}

// The last gfn that the range maps.
uint64_t end_of(const OperationRange& r) {
  const int bits = r.level >= 1 && r.level <= 5 ? 9 * (r.level - 1) : 0;
  return r.last_gfn + (uint64_t{1} << bits) - 1;
}

std::string range_text(const OperationRange& r) {
  std::string s = fmt::format("{} {:x}", r.effect, r.first_gfn);
  if (r.last_gfn != r.first_gfn) s += fmt::format("-{:x}", end_of(r));
  if (r.level != 0) s += " " + size_of(r.level);
  if (r.changes == 0) return s;
  if (r.root != 0) s += fmt::format(" root {}", r.root);
  if (r.as_id != 0) s += fmt::format(" as_id {}", r.as_id);
  if (r.changes > 1) s += fmt::format(" ({} entries)", with_thousands(r.changes));
  return s;
}

std::string head_of(const Operation& o) {
  std::string s = fmt::format("  {:>7}-{:<7} thread {:<6} {}", o.first_line, o.last_line, o.thread,
                              o.kind);
  if (o.count > 1) s += fmt::format(" x{}", with_thousands(o.count));
  if (!o.stimulus.empty()) {
    s += " [" + o.stimulus;
    if (o.stimulus_end != 0) s += fmt::format(" {:x}-{:x}", o.stimulus_first, o.stimulus_end);
    s += "]";
  }
  return s;
}

}  // namespace

void put_execution(std::string& out, const Execution& execution) {
  out += fmt::format("\n  execution: {} explain {} changes{}\n",
                     execution.operations.size() == 1
                         ? std::string("1 line of operations")
                         : with_thousands(execution.operations.size()) + " lines of operations",
                     with_thousands(execution.changes),
                     execution.complete() ? "; all is accounted for" : "");
  static constexpr size_t kIndent = 18;
  for (const Operation& o : execution.operations) {
    std::string line = head_of(o);
    bool first = true;
    for (const OperationRange& r : o.ranges) {
      const std::string text = range_text(r);
      line += first ? ":" : ",";
      if (line.size() + 1 + text.size() > kTextWidth) {
        out += line + "\n";
        line = std::string(kIndent, ' ') + text;
      } else {
        line += " " + text;
      }
      first = false;
    }
    out += line + "\n";
  }
  if (execution.left_out != 0) {
    out += fmt::format("  and {} operations that are not kept\n",
                       with_thousands(execution.left_out));
  }
  for (const std::string& gap : execution.gaps) out += "  not explained: " + gap + "\n";
}

void put_execution(Json& json, const Execution& execution) {
  Json list = Json::array();
  for (const Operation& o : execution.operations) {
    Json ranges = Json::array();
    for (const OperationRange& r : o.ranges) {
      ranges.push_back({{"effect", r.effect}, {"as_id", r.as_id}, {"root", r.root},
                        {"level", r.level}, {"first_gfn", r.first_gfn}, {"last_gfn", r.last_gfn},
                        {"changes", r.changes}});
    }
    list.push_back({{"kind", o.kind}, {"stimulus", o.stimulus},
                    {"stimulus_first", o.stimulus_first}, {"stimulus_end", o.stimulus_end},
                    {"thread", o.thread}, {"cpu", o.cpu}, {"first_line", o.first_line},
                    {"last_line", o.last_line}, {"count", o.count}, {"changes", o.changes},
                    {"ranges", ranges}});
  }
  json["execution"] = std::move(list);
  json["execution_complete"] = execution.complete();
  json["execution_changes"] = execution.changes;
  json["execution_left_out"] = execution.left_out;
  json["execution_gaps"] = execution.gaps;
}

}  // namespace mmucheck::report
