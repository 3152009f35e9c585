// Layer: checker/replay. Contract: what recordings call a stimulus, in the words of hand-written traces,
// for those who write a trace as a kernel's functions and tracepoints would show it. Whether `set_memslot`
// creates, deletes, moves or changes flags, and which file a hole is in where only one is bound, says the
// VM. Guest entries and exits say nothing about page tables.
#pragma once

#include <optional>

#include "checker/replay/vm_model.h"
#include "checker/trace/event.h"

namespace mmucheck::replay {

// The same as a stimulus of stimuli.proto; nullopt: it has none, or is one already.
std::optional<trace::Event> as_written(const trace::Event& e, const ReplayWorld& w);

}  // namespace mmucheck::replay
