#include "tools/bench/sept_race_search.h"

namespace mmucheck::bench {
namespace {

template <int W>
RaceResult search_race_in(const SeptRace& race, const explore::SearchBounds& bounds) {
  using System = explore::Interleaving<SeptRace, W>;
  const System system(race);
  const auto x = explore::Search<System>(system, bounds).run();
  RaceResult race_result{.states = x.states,
                         .transitions = x.transitions,
                         .depth = x.depth,
                         .end_states = x.end_states,
                         .memory = x.memory,
                         .bytes = system.bytes(),
                         .bound = x.bound};
  if (!x.violations.empty()) {
    race_result.property = x.violations[0].property;
    race_result.trace_steps = x.violations[0].steps();
  }
  return race_result;
}

}  // namespace

RaceResult search_race(const SeptRace& race, const explore::SearchBounds& bounds) {
  const unsigned words = explore::CellLayout(race.cells()).words();
  if (words == 1) return search_race_in<1>(race, bounds);
  if (words == 2) return search_race_in<2>(race, bounds);
  return search_race_in<4>(race, bounds);
}

}  // namespace mmucheck::bench
