// Layer: checker/replay. Contract: what the traces of a folder must give under designs other than
// their own: `designs.json` beside them,
//   {"a.txtpb": {"holds": ["v19", "upstream-7.x"], "violated MMU-INV-DONE": ["v8"]}}
// The first broken rule is named as in violations; a design that is not listed is not compared.
#pragma once

#include <string>

#include "checker/replay/corpus.h"

namespace mmucheck::replay {

inline constexpr const char* kDesignsFile = "designs.json";

// "violated MMU-INV-DONE", "diverged".
std::string designs_verdict(report::Outcome outcome, const std::string& rule);

// `what.expect_file` is the designs.json. Never throws for a bad file or trace.
CorpusResult run_designs_case(const CorpusCase& what, const OpenTrace& open);

}  // namespace mmucheck::replay
