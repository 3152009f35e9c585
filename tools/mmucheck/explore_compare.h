// Layer: tools/mmucheck. Contract: a table of scenarios whose whole search is put beside those with
// each reduction and each combination of them (compare_reductions.h).
#pragma once

#include "tools/mmucheck/explore_table.h"

namespace mmucheck::cli {

// `designs` as in explore_table(), but that what has pinned none goes by its own design wherever it
// was found. Prints, and returns the exit code: that of an internal error where a reduction has
// lost something, inconclusive where a search has hit a bound.
int compare_table(const Session& session, const TableRequest& request);

}  // namespace mmucheck::cli
