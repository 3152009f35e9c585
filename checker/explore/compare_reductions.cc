#include "checker/explore/compare_reductions.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "checker/explore/end_states.h"
#include "checker/explore/state_graph.h"
#include "checker/explore/symmetric_search.h"

namespace mmucheck::explore {
namespace {

struct SearchEnds {
  std::set<unsigned> broken;
  std::set<uint64_t> states;      // where all is over, by their hashes
  std::set<std::string> came_to;
  uint64_t counted = 0;           // by the search
};

struct OneSearch {
  ReducedSearch told;
  SearchEnds ends;
};

// Of the states of the search, with those that they stand for.
void take_ends(SearchEnds& ends, const ScenarioSystem& system,
               const Search<ScenarioSystem>& search) {
  ScenarioSystem::Worker worker = system.worker();
  ends = {};
  search.for_each_state([&](const ScenarioSystem::State& s) {
    if (!worker.ended(s)) return;
    for (const ScenarioSystem::State& image : system.images(s)) {
      ends.states.insert(ScenarioSystem::hash(image));
      ends.came_to.insert(end_text(worker.at(image)));
    }
  });
}

OneSearch search_with(const Reduction& r, const Scenario& scenario, const model::Design* design,
                      const Bounds& bounds, const SearchTick& tick,
                      const PartialOrderFaults& faults) {
  ScenarioSystem::Options options = options_of(bounds);
  options.all = true;
  options.coverage = options.self_check = false;
  options.like_pages = r.like_pages;
  options.partial_order = r.partial_order;
  options.faults = faults;
  const SearchBounds limits = {.max_states = bounds.max_states,
                               .max_memory = bounds.max_memory,
                               .workers = bounds.workers,
                               .all = true};
  OneSearch one;
  const Searched s = symmetric_search(
      scenario, design, options, limits, r.symmetry, tick,
      [&](const ScenarioSystem& system, const auto& search, const auto& done) {
        if (done.bound.empty()) take_ends(one.ends, system, search);
      });
  for (const auto& v : s.result.violations) one.ends.broken.insert(v.property);
  one.ends.counted = s.stands_for().end_states;
  one.told = {r, s.result.states, s.result.transitions, !s.symmetric.empty(), s.result.bound, {}};
  return one;
}

// `same_names`: a search whose tables are numbered alike.
std::vector<std::string> what_differs(const SearchEnds& ends, const SearchEnds& whole,
                                      const SearchEnds& same_names) {
  std::vector<std::string> all;
  const auto compare = [&](const char* what, const auto& seen, const auto& wanted) {
    if (seen == wanted) return;
    const auto missing = std::count_if(wanted.begin(), wanted.end(),
                                       [&](const auto& v) { return !seen.contains(v); });
    const auto more = std::count_if(seen.begin(), seen.end(),
                                    [&](const auto& v) { return !wanted.contains(v); });
    all.push_back(fmt::format("{}: {} of {} missing, {} more", what, missing, wanted.size(), more));
  };
  compare("violations", ends.broken, whole.broken);
  compare("what the VM comes to", ends.came_to, whole.came_to);
  compare("end states", ends.states, same_names.states);
  if (ends.states.size() != ends.counted) {
    all.push_back(fmt::format("end states: {} counted, {} seen", ends.counted, ends.states.size()));
  }
  return all;
}

}  // namespace

const std::vector<Reduction>& all_reductions() {
  static const std::vector<Reduction> kAll = {
      {},
      {.like_pages = true},
      {.partial_order = true},
      {.symmetry = true},
      {.like_pages = true, .partial_order = true},
      {.like_pages = true, .symmetry = true},
      {.partial_order = true, .symmetry = true},
      {.like_pages = true, .partial_order = true, .symmetry = true}};
  return kAll;
}

bool ReductionsCompared::lost() const {
  return std::any_of(searches.begin(), searches.end(),
                     [](const ReducedSearch& s) { return !s.lost.empty(); });
}

bool ReductionsCompared::whole() const {
  return doubts.empty() && std::all_of(searches.begin(), searches.end(),
                                       [](const ReducedSearch& s) { return s.bound.empty(); });
}

ReductionsCompared compare_reductions(const Scenario& scenario, const model::Design* design,
                                      const Bounds& bounds, const SearchTick& tick,
                                      const PartialOrderFaults& faults) {
  ReductionsCompared all;
  Stepper stepper(scenario, design, bounds.busy);
  all.doubts = stepper.take_doubts();
  if (all.doubts.empty() && !stepper.take_violations().empty()) {
    all.doubts.emplace_back("something is broken before anything runs concurrently");
  }
  if (!all.doubts.empty()) return all;
  SearchEnds whole, like_pages;
  bool by_thread = false;  // like_pages is there
  for (const Reduction& r : all_reductions()) {
    OneSearch one = search_with(r, scenario, design, bounds, tick, faults);
    const bool first = all.searches.empty();
    if (first) whole = one.ends;
    if (r.name() == "--like-pages" && one.told.bound.empty()) {
      like_pages = one.ends;
      by_thread = true;
    }
    if (one.told.bound.empty()) {
      one.told.lost = what_differs(one.ends, whole,
                                   !r.like_pages ? whole : by_thread ? like_pages : one.ends);
    }
    all.searches.push_back(std::move(one.told));
    if (first && !all.searches.front().bound.empty()) break;
  }
  all.end_states = whole.states.size();
  all.came_to = whole.came_to.size();
  all.broken = whole.broken.size();
  return all;
}

}  // namespace mmucheck::explore
