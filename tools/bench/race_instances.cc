#include "tools/bench/race_instances.h"

#include <fmt/format.h>

#include <fstream>
#include <sstream>
#include <stdexcept>

namespace mmucheck::bench {
namespace {

constexpr size_t kColumns = 15;

std::optional<uint64_t> number(const std::string& text) {
  if (text.empty()) return {};
  size_t end = 0;
  const uint64_t v = std::stoull(text, &end);
  if (end != text.size()) throw std::invalid_argument(text);
  return v;
}

RaceInstance instance_of(const std::vector<std::string>& column) {
  const auto parameter = [&](size_t i) { return static_cast<unsigned>(number(column[i]).value()); };
  RaceInstance x;
  x.name = column[0];
  x.race = {.v = parameter(1),
            .k = parameter(2),
            .z = parameter(3),
            .r = parameter(4),
            .lockw = parameter(5) != 0,
            .shared = parameter(6) != 0,
            .naive = parameter(7) != 0,
            .rmp = parameter(8) != 0,
            .kick = parameter(9) != 0};
  x.property = column[11];
  if ((column[10] == "violated") != !x.property.empty()) throw std::invalid_argument(column[10]);
  x.trace_steps = number(column[12]).value_or(0);
  x.states = number(column[13]);
  x.transitions = number(column[14]);
  return x;
}

}  // namespace

std::vector<RaceInstance> read_race_instances(const std::string& path) {
  std::ifstream file(path);
  std::vector<RaceInstance> all;
  std::string line;
  std::getline(file, line);  // the names of the columns
  while (std::getline(file, line)) {
    std::vector<std::string> column;
    std::istringstream cells(line);
    for (std::string cell; std::getline(cells, cell, ',');) column.push_back(cell);
    column.resize(std::max(column.size(), kColumns));
    try {
      all.push_back(instance_of(column));
    } catch (const std::exception&) {
      throw std::runtime_error(fmt::format("{}: no instance: {}", path, line));
    }
  }
  if (all.empty()) throw std::runtime_error(path + ": no instances");
  return all;
}

std::string property_name(unsigned property) {
  if (property == explore::kNothing) return "";
  return property == explore::kDeadlock ? "deadlock" : fmt::format("I{}", property);
}

std::string disagreement(const RaceInstance& instance, const explore::SearchBounds& bounds) {
  const RaceResult x = search_race(instance.race, bounds);
  if (!x.bound.empty()) return "stopped: " + x.bound;
  if (property_name(x.property) != instance.property || x.trace_steps != instance.trace_steps) {
    return fmt::format("violated: \"{}\" after {} steps", property_name(x.property), x.trace_steps);
  }
  if (!instance.states) return "";
  RaceResult whole = x;
  if (x.property != explore::kNothing) {
    SeptRace unchecked = instance.race;
    unchecked.check = false;
    whole = search_race(unchecked, bounds);
  }
  if (whole.states == *instance.states && whole.transitions == instance.transitions) return "";
  return fmt::format("{} states, {} transitions", whole.states, whole.transitions);
}

}  // namespace mmucheck::bench
