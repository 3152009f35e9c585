// tools/import/ftrace: one line of ftrace text into its columns; knows no event.
//
// Contract: the views in a Line point into the text handed in. Understood are the three forms in
// which Linux gives out a trace:
//   trace, trace_pipe  kvm-12     [001] ..s1.   103.159682: init_vm: (...)
//   trace-cmd report   kvm-12     [001]   148.123568: init_vm:        (...)
// (kernel: trace_output.c; libtraceevent: tep_print_event())
// with any task name ("<idle>", "<...>", spaces and dashes included), an optional tgid column, an
// optional flags column of any width, and clocks that print secs.micros, secs.nanos or a bare
// counter. Nothing is allocated and no line is an error: what is not an event is classified.
#pragma once

#include <cstdint>
#include <string_view>

namespace mmucheck::import {

// Bits of Line::flags; the same bits go into trace::Event::context.
inline constexpr uint32_t kContextSoftirq = 1u << 0;
inline constexpr uint32_t kContextHardirq = 1u << 1;
inline constexpr uint32_t kContextNeedResched = 1u << 2;

enum class LineKind : uint8_t {
  kEvent,
  kBlank,
  kComment,        // '#' or "cpus=N"
  kEntries,        // the header's entries-in-buffer/entries-written; numbers in `a`, `b`
  kBufferStarted,  // "##### CPU 0 buffer started ####": nothing of `cpu` before this line is kept
  kLost,           // events lost here on `cpu`; how many in `a` when has_count
  kMalformed,
};

struct Line {
  LineKind kind = LineKind::kBlank;
  std::string_view task;
  uint32_t pid = 0;
  uint32_t cpu = 0;
  uint32_t flags = 0;
  bool has_flags = false;
  bool counter_clock = false;  // the timestamp is a bare integer, kept as it stands
  uint64_t timestamp = 0;      // nanoseconds, or the counter
  std::string_view event;      // event name; empty when the line has none (function tracer)
  std::string_view body;       // what follows the name, leading blanks removed
  bool has_count = false;
  uint64_t a = 0;
  uint64_t b = 0;
};

Line tokenize(std::string_view text);

}  // namespace mmucheck::import
