// tools/bench: one instance of the race, searched by the engine of `explore` with as many words a
// state as it needs.
#pragma once

#include "checker/explore/reduction.h"
#include "tools/bench/sept_race.h"

namespace mmucheck::bench {

struct RaceResult {
  uint64_t states = 0, transitions = 0, depth = 0, end_states = 0, memory = 0;
  unsigned bytes = 0;                     // a state
  unsigned property = explore::kNothing;  // that is violated
  uint64_t trace_steps = 0;               // to it
  std::string bound;
};

RaceResult search_race(const SeptRace& race, const explore::SearchBounds& bounds = {},
                       const explore::Reductions& reductions = {});

}  // namespace mmucheck::bench
