// Layer: tools/mmucheck. Contract: `replay --then-explore N`: behind a hand-written trace that
// holds, each choice of N further operations (follow_ups.h), in every order of their steps. Ends
// with the first choice that breaks a rule, whose execution is written as a trace that replays, or
// with what was covered. Bounds: kStatesEach of a choice, kStates together, which is well within
// kSeconds on any machine; where that is over first the output may differ from run to run, and says
// so.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "model/design/design.h"
#include "tools/mmucheck/session.h"

namespace mmucheck::cli {

struct ThenExplored {
  static constexpr uint64_t kStatesEach = 50'000, kStates = 500'000;
  static constexpr double kSeconds = 55;

  int exit_code = 0;
  std::string text;
  nlohmann::ordered_json json;
};

// `design`: nullptr: the trace's own; `design_name` as the user gave it, or empty. `output`: where
// a counterexample goes, empty: NAME-counterexample.txtpb in the current directory.
ThenExplored then_explore(const Session& session, const std::string& path,
                          const model::Design* design, const std::string& design_name, unsigned n,
                          const std::string& output);

}  // namespace mmucheck::cli
