// checker/replay: a whole file of one scripted sequence, plain or compressed, through the runner.
//
// Throws trace::TraceError with file, line and byte offset: a line that is no record, a file that
// ends before its end line, an unreadable file. Memory: one line (at most kMaxSequenceLine bytes)
// and the state of one VM.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "checker/replay/sequence/sequence_env.h"
#include "checker/trace/byte_stream.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

inline constexpr size_t kMaxSequenceLine = size_t{8} << 20;

struct SequenceResult {
  uint64_t ops = 0;
  uint64_t agree = 0;  // operations before the first difference
  std::optional<Difference> first_difference;
};

// Reads `in` to its end. `stop`, when set, ends it between two operations
// (TraceErrorKind::kInterrupted).
SequenceResult run_sequence(trace::ByteStream& in, const std::atomic<bool>* stop = nullptr);

// How a reader of lines stops: throws a TraceError at the current line.
using FailLine = std::function<void(trace::TraceErrorKind kind, const std::string& message)>;

// Calls `each` with every line of `in`, numbered from 1, and `end` behind the last one. A set `stop`
// ends it between two lines (TraceErrorKind::kInterrupted).
void for_each_sequence_line(
    trace::ByteStream& in, const std::atomic<bool>* stop,
    const std::function<void(const std::string& line, uint64_t number, const FailLine& fail)>& each,
    const std::function<void(uint64_t lines, const FailLine& fail)>& end);

}  // namespace mmucheck::replay
