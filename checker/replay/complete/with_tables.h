// checker/replay/complete: a witness with another table, or a root and tables.
//
// Where nothing but tables that lost events made can explain the recording (entries_needed.h), they
// are put in first, in one gap or another, and the rest is looked for.
#pragma once

#include <cstddef>
#include <functional>

#include "checker/replay/complete/entries_needed.h"
#include "checker/replay/complete/recording.h"

namespace mmucheck::replay {

// True: `recording` has the witness.
bool with_tables(GappedRecording& recording, const MaybeWay& maybe,
                 const std::function<bool()>& tick, size_t& attempts);

}  // namespace mmucheck::replay
