// tools/fuzz: what is fed: one target for each reader.
//
// Contract: feed() reads the bytes to their end, and what can be read goes through the replay (text
// and packets, then the state is shown), the runner (sequences, module calls) or the explorer, within
// narrow bounds; designs and ledgers are read only. It returns normally for every input: bad
// input is a TraceError, which is caught; whatever else comes out is a defect. seeds_of() gives
// valid input in the target's format, made from files of the corpus.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mmucheck::fuzz {

enum class Target {
  kPb,
  kTxtpb,        // recordings as text
  kHandwritten,  // traces of the corpus
  kFtrace,
  kSequence,
  kModule,
  kScenario,
  kDesign,
  kLedger
};

struct Fed {
  bool refused = false;  // a TraceError
  bool replayed = false;
};

bool is_text(Target target);
Fed feed(Target target, std::string bytes);

// `corpus` is the folder traces/. Throws trace::TraceError.
std::vector<std::string> seeds_of(Target target, const std::string& corpus);

}  // namespace mmucheck::fuzz
