// tools/bench: instances of the race with the numbers that other checkers have given, one a line of
// explore-vs-peers/instances.csv. Anything that is no such line is std::runtime_error.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/bench/sept_race_search.h"

namespace mmucheck::bench {

struct RaceInstance {
  std::string name;
  SeptRace race;
  std::string property;                         // that is violated; empty: none
  uint64_t trace_steps = 0;                     // of the shortest trace to it
  std::optional<uint64_t> states, transitions;  // of the whole graph, nothing being a property
};

std::vector<RaceInstance> read_race_instances(const std::string& path);

// I1 to I4, deadlock; empty for kNothing.
std::string property_name(unsigned property);

// What our engine says otherwise; empty: it agrees.
std::string disagreement(const RaceInstance& instance, const explore::SearchBounds& bounds = {});

}  // namespace mmucheck::bench
