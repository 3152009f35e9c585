#include "checker/replay/sequence/sequence_file.h"

#include "checker/replay/sequence/sequence_runner.h"

namespace mmucheck::replay {
namespace {

using trace::TraceError;
using trace::TraceErrorKind;

// Lines of a sequence are longer than the stream's own window for lines.
bool read_sequence_line(trace::ByteStream& in, uint64_t number, std::string* line) {
  const auto offset = static_cast<int64_t>(in.offset());
  line->clear();
  while (true) {
    const std::string_view window = in.peek(1);
    if (window.empty()) return !line->empty();
    const size_t newline = window.find('\n');
    const size_t n = newline == std::string_view::npos ? window.size() : newline;
    if (line->size() + n > kMaxSequenceLine) {
      throw TraceError(TraceErrorKind::kTooLarge,
                       {.file = in.name(), .line = number, .offset = offset},
                       "a line is longer than 8 MiB");
    }
    line->append(window.substr(0, n));
    in.consume(newline == std::string_view::npos ? n : n + 1);
    if (newline != std::string_view::npos) return true;
  }
}

}  // namespace

void for_each_sequence_line(
    trace::ByteStream& in, const std::atomic<bool>* stop,
    const std::function<void(const std::string& line, uint64_t number, const FailLine& fail)>& each,
    const std::function<void(uint64_t lines, const FailLine& fail)>& end) {
  std::string line;
  uint64_t number = 0;
  auto offset = static_cast<int64_t>(in.offset());
  const FailLine fail = [&](TraceErrorKind kind, const std::string& message) {
    throw TraceError(kind, {.file = in.name(), .line = number, .offset = offset}, message);
  };
  while (read_sequence_line(in, number + 1, &line)) {
    number++;
    if (stop != nullptr && stop->load(std::memory_order_relaxed)) {
      fail(TraceErrorKind::kInterrupted, "interrupted");
    }
    each(line, number, fail);
    offset = static_cast<int64_t>(in.offset());
  }
  end(number, fail);
}

SequenceResult run_sequence(trace::ByteStream& in, const std::atomic<bool>* stop) {
  SequenceRunner runner;
  for_each_sequence_line(
      in, stop,
      [&](const std::string& line, uint64_t, const FailLine& fail) {
        if (!runner.line(line)) fail(TraceErrorKind::kCorrupt, runner.error());
      },
      [&](uint64_t lines, const FailLine& fail) {
        if (runner.ended()) return;
        fail(TraceErrorKind::kTruncated,
             lines == 0 ? "the file is empty" : "the sequence has no end line: it is cut off");
      });
  return {runner.ops(), runner.agree(), runner.first_difference()};
}

}  // namespace mmucheck::replay
