// checker/replay/module: a whole file of one module sequence, or of one table, against the model.
//
// Throws trace::TraceError with file, line and byte offset for input that is neither. Memory: one
// line (at most kMaxSequenceLine bytes) and the state of one platform. The model makes each call
// before the record's answer is looked at; after a difference it goes on from what the record says.
#pragma once

#include <atomic>
#include <cstdint>
#include <optional>

#include "checker/replay/module/module_compare.h"
#include "checker/trace/byte_stream.h"

namespace mmucheck::replay {

struct ModuleResult {
  uint64_t calls = 0;
  uint64_t agree = 0;
  std::optional<ModuleDifference> first_difference;  // of a table: i is the line
};

ModuleResult run_module_file(trace::ByteStream& in, const std::atomic<bool>* stop = nullptr);

}  // namespace mmucheck::replay
