#include "tools/mmucheck/design_matrix.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "checker/replay/corpus_designs.h"
#include "checker/report/text_writer.h"
#include "model/design/choices.h"

namespace mmucheck::cli {
namespace {

using Json = nlohmann::ordered_json;
using report::Outcome;

constexpr size_t kNameWidth = 20;
constexpr size_t kColumnWidth = 3;
constexpr size_t kColumns = (report::kTextWidth - 2 - kNameWidth) / kColumnWidth;

std::string cut_line(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  if (line.size() > report::kTextWidth) line = line.substr(0, report::kTextWidth - 3) + "...";
  return line + "\n";
}

// Letters for the rules that are broken, in the order in which the table comes to them.
class Letters {
 public:
  std::string of(const std::string& rule) {
    const auto at = std::find(rules_.begin(), rules_.end(), rule);
    if (at == rules_.end()) rules_.push_back(rule);
    return letter(
        static_cast<size_t>(std::find(rules_.begin(), rules_.end(), rule) - rules_.begin()));
  }
  std::string legend() const {
    std::string text;
    for (size_t i = 0; i < rules_.size(); i++) {
      text += fmt::format("  {:>2}  violated: {}\n", letter(i), rules_[i]);
    }
    return text;
  }

 private:
  static std::string letter(size_t i) {
    const std::string last(1, static_cast<char>('a' + i % 26));
    return i < 26 ? last : static_cast<char>('a' + i / 26 - 1) + last;
  }
  std::vector<std::string> rules_;
};

std::string mark(const DesignCell& c, Letters& letters) {
  if (c.nothing) return "-";
  switch (c.outcome) {
    case Outcome::kHolds: return ".";
    case Outcome::kViolated: return letters.of(c.rule);
    case Outcome::kDiverged: return "D";
    default: return "?";
  }
}

}  // namespace

DesignCell cell_of(const report::Verdict& v) {
  DesignCell c;
  c.outcome = report::outcome_of(v);
  switch (c.outcome) {
    case Outcome::kViolated:
      c.rule = v.violations[0].invariant;
      c.packet = v.violations[0].place.packet;
      break;
    case Outcome::kDiverged:
      c.rule = v.divergences[0].excluded_by;
      c.packet = v.divergences[0].place.packet;
      break;
    case Outcome::kInconclusive:
      c.doubt = v.inconclusive.empty() ? "events were lost" : v.inconclusive[0];
      break;
    default: c.nothing = report::nothing_checked(v);
  }
  if (c.nothing) c.doubt = "nothing to check";
  return c;
}

Json not_modelled_json(const model::Design& design) {
  Json names = Json::array();
  for (const model::Choice* c : model::not_modelled(design)) names.push_back(c->name);
  return names;
}

std::string column_text(const DesignColumn& column) {
  std::string text = column.file + "\n";
  for (size_t i = 0; i < column.cells.size(); i++) {
    const DesignCell& c = column.cells[i];
    std::string line = fmt::format("  {:<20}{:<14}{}", model::designs()[i].name,
                                   report::name_of(c.outcome), c.rule);
    if (!c.rule.empty() && c.packet != 0) line += "  ";
    if (c.packet != 0) line += fmt::format("packet {}", c.packet);
    text += cut_line(line + c.doubt);
  }
  return text;
}

Json column_json(const DesignColumn& column) {
  Json all = Json::array();
  for (size_t i = 0; i < column.cells.size(); i++) {
    const DesignCell& c = column.cells[i];
    all.push_back({{"design", model::designs()[i].name},
                   {"verdict", report::name_of(c.outcome)},
                   {"invariant", c.rule.empty() ? Json(nullptr) : Json(c.rule)},
                   {"packet", c.packet == 0 ? Json(nullptr) : Json(c.packet)},
                   {"reason", c.doubt.empty() ? Json(nullptr) : Json(c.doubt)},
                   {"not_modelled", not_modelled_json(model::designs()[i])}});
  }
  return {{"file", column.file}, {"designs", all}};
}

std::string matrix_text(const std::vector<DesignColumn>& columns) {
  std::string text;
  Letters letters;
  for (size_t first = 0; first < columns.size(); first += kColumns) {
    const size_t end = std::min(columns.size(), first + kColumns);
    std::string head = std::string(kNameWidth, ' ');
    for (size_t k = first; k < end; k++) head += fmt::format("{:>{}}", k + 1, kColumnWidth);
    text += cut_line("  " + head);
    for (size_t i = 0; i < model::designs().size(); i++) {
      std::string line = fmt::format("{:<{}}", model::designs()[i].name, kNameWidth);
      for (size_t k = first; k < end; k++) {
        line += fmt::format("{:>{}}", mark(columns[k].cells[i], letters), kColumnWidth);
      }
      text += cut_line("  " + line);
    }
    text += "\n";
  }
  text += "   .  holds   D  diverged   ?  inconclusive   -  nothing to check\n" + letters.legend() +
          "\n";
  for (size_t k = 0; k < columns.size(); k++) {
    text += cut_line(fmt::format("  {:>2}  {}", k + 1, columns[k].file));
  }
  return text;
}

std::string expectations_text(const std::vector<DesignColumn>& columns) {
  std::string text = "{";
  for (const DesignColumn& column : columns) {
    Json verdicts = Json::object();
    for (size_t i = 0; i < column.cells.size(); i++) {
      const DesignCell& c = column.cells[i];
      if (c.outcome == Outcome::kInconclusive) continue;
      verdicts[replay::designs_verdict(c.outcome, c.rule)].push_back(model::designs()[i].name);
    }
    text += fmt::format("{}\n{}: {{", text.size() == 1 ? "" : ",",
                        Json(std::filesystem::path(column.file).filename().string()).dump());
    bool first = true;
    for (const auto& [verdict, designs] : verdicts.items()) {
      text += fmt::format("{}\n  {}: {}", first ? "" : ",", Json(verdict).dump(), designs.dump());
      first = false;
    }
    text += "}";
  }
  return text + "\n}\n";
}

}  // namespace mmucheck::cli
