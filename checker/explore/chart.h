// Layer: checker/explore. Contract: a path as a sequence chart in plain text: a column a thread, a
// line an event that a move showed; moves that show nothing are counted. Numbers are those of the
// moves, from 1.
#pragma once

#include <string>
#include <vector>

#include "checker/explore/explorer.h"

namespace mmucheck::explore {

// What one move did, in the words of the events that show it.
struct ChartStep {
  uint32_t thread = 0;
  std::vector<std::string> events;
};

// What is said of a kind of steps: the event's name and level; mmu_lock that is taken or dropped
// (SteppedState::lock()).
std::string kind_text(const replay::Predicted& p);
std::vector<std::string> lock_texts(std::pair<uint64_t, uint64_t> before,
                                    std::pair<uint64_t, uint64_t> after);

// What the thread's last step showed, an event each.
std::vector<std::string> event_texts(const replay::SyntheticReplayer& replayer, uint32_t thread);

// Runs the path again; behind it, where there is one, the loop once.
std::vector<ChartStep> chart_steps(const Scenario& scenario, const model::Design* design,
                                   const std::vector<Move>& path, const Bounds& bounds);
inline std::vector<ChartStep> chart_steps(const Scenario& scenario, const model::Design* design,
                                          const Exploration& found, const Bounds& bounds) {
  std::vector<Move> all = found.path;
  all.insert(all.end(), found.loop.begin(), found.loop.end());
  return chart_steps(scenario, design, all, bounds);
}

std::string chart_text(const std::vector<ChartStep>& steps);

}  // namespace mmucheck::explore
