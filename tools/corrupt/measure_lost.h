// tools/corrupt: what `complete` says of recordings that lost events, with and without something
// planted beside the gap that contradicts the rest.
//
// Contract: of each recording that holds, events in a row are taken away (lose_events.h), as it
// stands and with one corruption (corruption.h) of which no line was taken away, and which the
// rules that `complete` knows notice in the whole recording. Same recordings and seeds: same
// counts.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checker/replay/complete/complete.h"
#include "tools/corrupt/corruption.h"
#include "tools/corrupt/lose_events.h"

namespace mmucheck::corrupt {

// Answers where nothing was planted; none of them may be `inconsistent`.
struct LostAlone {
  uint64_t made = 0;
  uint64_t equal = 0;     // consistent, the witness is of what was lost
  uint64_t unmarked = 0;  // consistent, nothing that was lost left a mark
  uint64_t other = 0;     // consistent, with another witness
  uint64_t undetermined = 0, inconsistent = 0;
};

// Answers where something was planted.
struct LostBeside {
  uint64_t made = 0, inconsistent = 0;
  uint64_t explained = 0;  // consistent: with the witness it is no contradiction
  uint64_t unmarked = 0;   // consistent: without what was lost it is no contradiction
  uint64_t undetermined = 0;
  void operator+=(const LostBeside& other);
};

struct LostMeasurement {
  size_t lost = 1;  // events in each gap
  uint64_t recordings = 0;
  LostAlone alone;
  std::map<Class, LostBeside> before, behind;  // where it was planted: before the gap, behind it
  uint64_t unnoticed = 0;                      // corruptions that break no rule of tracepoints
  std::map<std::string, std::string> unusable;
  // What is told of in the answer's reason or detail, of those undetermined.
  std::map<std::string, uint64_t> reasons;
  std::vector<nlohmann::ordered_json> cases;  // all that is not as it should be
};

// `count` gaps where nothing is planted and, unless `alone`, `count` corruptions of each class.
void measure_lost(const std::string& path, uint64_t seed, size_t count, bool alone,
                  LostMeasurement& into);

std::string to_text(const LostMeasurement& measurement);
nlohmann::ordered_json to_json(const LostMeasurement& measurement);

}  // namespace mmucheck::corrupt
