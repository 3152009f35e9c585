#include "tools/bench/sept_race_search.h"

namespace mmucheck::bench {
namespace {

template <int W>
explore::SearchResult<explore::Words<W>> reduced_race(const SeptRace& race, const explore::SearchBounds& bounds,
                                      const explore::Reductions& reductions) {
  explore::Reduced<SeptRace, W> system(race, reductions);
  return explore::reduced_search(system, bounds);
}

template <int W>
RaceResult search_race_in(const SeptRace& race, const explore::SearchBounds& bounds,
                          const explore::Reductions& reductions) {
  using System = explore::Interleaving<SeptRace, W>;
  const System system(race);
  const auto x = reductions.partial_order || reductions.symmetry
                     ? reduced_race<W>(race, bounds, reductions)
                     : explore::Search<System>(system, bounds).run();
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

RaceResult search_race(const SeptRace& race, const explore::SearchBounds& bounds,
                       const explore::Reductions& reductions) {
  const unsigned words = explore::CellLayout(race.cells()).words();
  if (words == 1) return search_race_in<1>(race, bounds, reductions);
  if (words == 2) return search_race_in<2>(race, bounds, reductions);
  return search_race_in<4>(race, bounds, reductions);
}

}  // namespace mmucheck::bench
