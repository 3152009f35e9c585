// Layer: tools/mmucheck. Contract: verdicts of hand-written traces under every design: a cell each,
// a line a design for one trace, a table for several (rows designs, columns traces, numbered, with
// the names below), and as JSON. Nothing here is wider than report::kTextWidth.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "checker/report/verdict.h"
#include "model/design/design.h"

namespace mmucheck::cli {

// What made a verdict: the first broken rule and its packet, or the first doubt.
struct DesignCell {
  report::Outcome outcome = report::Outcome::kHolds;
  bool nothing = false;  // there was nothing to check
  std::string rule;
  uint64_t packet = 0;  // 0: none
  std::string doubt;
};
DesignCell cell_of(const report::Verdict& v);

struct DesignColumn {
  std::string file;
  std::vector<DesignCell> cells;  // in the order of model::designs()
};

// The choices of a design that the model does not act on.
nlohmann::ordered_json not_modelled_json(const model::Design& design);

std::string column_text(const DesignColumn& column);
nlohmann::ordered_json column_json(const DesignColumn& column);  // file, designs
std::string matrix_text(const std::vector<DesignColumn>& columns);

// The designs.json of a corpus folder (checker/replay/corpus_designs.h), a line a verdict.
std::string expectations_text(const std::vector<DesignColumn>& columns);

}  // namespace mmucheck::cli
