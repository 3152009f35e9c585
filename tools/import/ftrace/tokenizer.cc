#include "tools/import/ftrace/tokenizer.h"

#include <cstring>

#include "tools/import/ftrace/text.h"

namespace mmucheck::import {
namespace {

// "12-345" with anything before the last dash: the task column.
bool split_task(std::string_view column, Line& line) {
  while (!column.empty() && is_space(column.back())) column.remove_suffix(1);
  if (!column.empty() && column.back() == ')') {  // the tgid column: "(  345)" or "(-----)"
    const size_t open = column.rfind('(');
    if (open == std::string_view::npos) return false;
    column = column.substr(0, open);
    while (!column.empty() && is_space(column.back())) column.remove_suffix(1);
  }
  const size_t dash = column.rfind('-');
  if (dash == std::string_view::npos || dash + 1 == column.size()) return false;
  Cursor number(column.substr(dash + 1));
  uint64_t pid = 0;
  if (!number.take_dec(pid) || !number.at_end() || pid > UINT32_MAX) return false;
  std::string_view task = column.substr(0, dash);
  while (!task.empty() && is_space(task.front())) task.remove_prefix(1);
  if (task.empty()) return false;
  line.task = task;
  line.pid = static_cast<uint32_t>(pid);
  return true;
}

// trace_output.c: trace_print_lat_fmt(). Column 2 need-resched, column 3 hardirq/softirq.
uint32_t decode_flags(std::string_view flags) {
  uint32_t bits = 0;
  if (flags.size() > 1) {
    switch (flags[1]) {
      case 'N':
      case 'B':
      case 'n':
      case 'p':
      case 'b':
      case 'l':
      case 'L': bits |= kContextNeedResched; break;
      default: break;
    }
  }
  if (flags.size() > 2) {
    switch (flags[2]) {
      case 's': bits |= kContextSoftirq; break;
      case 'h':
      case 'z': bits |= kContextHardirq; break;
      case 'H':
      case 'Z': bits |= kContextHardirq | kContextSoftirq; break;
      default: break;
    }
  }
  return bits;
}

// "6.717506:", "6.717506123:" or "42:".
bool take_timestamp(Cursor& c, Line& line) {
  const char* start = c.position();
  uint64_t seconds = 0;
  if (!c.take_dec(seconds)) return false;
  if (c.take(':')) {
    line.counter_clock = true;
    line.timestamp = seconds;
    return true;
  }
  if (!c.take('.')) {
    c.reset(start);
    return false;
  }
  const char* digits = c.position();
  uint64_t fraction = 0;
  if (!c.take_dec(fraction) || c.position() - digits > 9 || !c.take(':')) {
    c.reset(start);
    return false;
  }
  for (auto n = c.position() - 1 - digits; n < 9; ++n) fraction *= 10;
  if (seconds > (UINT64_MAX - fraction) / 1'000'000'000u) {
    c.reset(start);
    return false;
  }
  line.timestamp = seconds * 1'000'000'000u + fraction;
  return true;
}

// After "[001]": flags and time.
bool take_columns(Cursor& c, Line& line) {
  c.skip_spaces();
  if (take_timestamp(c, line)) return true;
  const std::string_view flags = c.take_token();
  if (flags.empty() || flags.size() > 12) return false;
  c.skip_spaces();
  if (!take_timestamp(c, line)) return false;
  line.has_flags = true;
  line.flags = decode_flags(flags);
  return true;
}

void take_event(Cursor& c, Line& line) {
  c.skip_spaces();
  const char* start = c.position();
  const std::string_view name = c.take_name();
  if (name.empty() || !c.take(':')) {
    c.reset(start);
    line.event = {};
    line.body = c.rest();
    return;
  }
  c.skip_spaces();
  line.event = name;
  line.body = c.rest();
  if (name == "print") {  // trace-cmd: the marker is an event "print" with the function inside
    const std::string_view inner = c.take_name();
    if (!inner.empty() && c.take(':')) {
      c.skip_spaces();
      line.event = inner;
      line.body = c.rest();
    }
  }
}

// "CPU:0 [LOST 188 EVENTS]", "CPU:1 [EVENTS DROPPED]", "CPU:1 [552 EVENTS DROPPED]".
bool lost_line(std::string_view text, Line& line) {
  Cursor c(text);
  uint64_t cpu = 0;
  if (!c.take("CPU:") || !c.take_dec(cpu) || cpu > UINT32_MAX || !c.take_word("[")) return false;
  if (c.take("LOST ")) {
    if (!c.take_dec(line.a) || !c.take(" EVENTS]")) return false;
    line.has_count = true;
  } else if (!c.take("EVENTS DROPPED]")) {
    if (!c.take_dec(line.a) || !c.take(" EVENTS DROPPED]")) return false;
    line.has_count = true;
  }
  line.kind = LineKind::kLost;
  line.cpu = static_cast<uint32_t>(cpu);
  return true;
}

void comment_line(std::string_view text, Line& line) {
  line.kind = LineKind::kComment;
  Cursor c(text);
  if (c.take("# entries-in-buffer/entries-written:")) {
    c.skip_spaces();
    if (c.take_dec(line.a) && c.take('/') && c.take_dec(line.b)) line.kind = LineKind::kEntries;
    return;
  }
  uint64_t cpu = 0;
  if (c.take("##### CPU ") && c.take_dec(cpu) && cpu <= UINT32_MAX &&
      c.take(" buffer started ####")) {
    line.kind = LineKind::kBufferStarted;
    line.cpu = static_cast<uint32_t>(cpu);
  }
}

}  // namespace

Line tokenize(std::string_view text) {
  Line line;
  while (!text.empty() && (is_space(text.back()) || text.back() == '\r')) text.remove_suffix(1);
  if (text.empty()) return line;
  if (text[0] == '#') {
    comment_line(text, line);
    return line;
  }
  if (text[0] == 'C' && lost_line(text, line)) return line;

  // The task name may hold anything, brackets too: take the first "[digits]" that makes sense.
  size_t from = 0;
  while (true) {
    const void* hit = std::memchr(text.data() + from, '[', text.size() - from);
    if (hit == nullptr) break;
    const size_t open = static_cast<size_t>(static_cast<const char*>(hit) - text.data());
    from = open + 1;
    Cursor c(text.substr(open + 1));
    uint64_t cpu = 0;
    if (!c.take_dec(cpu) || !c.take(']') || cpu > UINT32_MAX) continue;
    if (open == 0 || !is_space(text[open - 1])) continue;
    if (!split_task(text.substr(0, open), line)) continue;
    if (!take_columns(c, line)) continue;
    line.kind = LineKind::kEvent;
    line.cpu = static_cast<uint32_t>(cpu);
    take_event(c, line);
    return line;
  }
  line = Line{};
  line.kind = text.starts_with("cpus=") || text.starts_with("version =") ? LineKind::kComment
                                                                         : LineKind::kMalformed;
  return line;
}

}  // namespace mmucheck::import
