// tools/corrupt: does an execution that the replay gave account for a whole recording?
//
// Contract: reads the text of the recording itself and takes no word of the replay for it: every
// SPTE change and every event that asks for something or tells of a table stands in exactly one
// operation of its thread, by its line; a change in one of the ranges that the operation names; and
// each operation has as many changes as it says. For recordings without kprobes.
#pragma once

#include <string>

#include "checker/report/execution.h"
#include "tools/corrupt/recording_text.h"

namespace mmucheck::corrupt {

// What is not accounted for first; empty: nothing.
std::string accounts_for(const report::Execution& execution, const RecordingText& recording);

}  // namespace mmucheck::corrupt
