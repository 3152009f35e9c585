// tools/import/ftrace, tests only: a text into events, all at once.
//
// Contract: import_text() never reads side files; the events' texts are owned by the result.
#pragma once

#include <deque>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/ftrace_source.h"

namespace mmucheck::import {

struct Imported {
  std::vector<trace::Event> events;
  std::deque<std::string> texts;
  trace::TraceInfo info;
  ImportReport report;

  std::vector<trace::Event> of(trace::EventKind kind) const {
    std::vector<trace::Event> found;
    for (const trace::Event& e : events) {
      if (e.kind == kind) found.push_back(e);
    }
    return found;
  }
  // Names of the events behind the configuration, inputs in brackets, stimuli with '!'.
  std::string outline() const {
    std::string out;
    for (const trace::Event& e : events) {
      if (e.cls == trace::PacketClass::kConfig && e.kind != trace::EventKind::kVmConfig &&
          e.kind != trace::EventKind::kLostEvents) {
        continue;
      }
      if (!out.empty()) out += ' ';
      const std::string name(trace::kind_name(e.kind));
      if (e.cls == trace::PacketClass::kInput) {
        out += '[' + name + ']';
      } else if (e.cls == trace::PacketClass::kStimulus) {
        out += '!' + name;
      } else {
        out += name;
      }
    }
    return out;
  }
};

inline Imported import_text(std::string text, FtraceOptions options = {}) {
  options.side_files = false;
  const auto source = open_ftrace(trace::ByteStream::from_memory(std::move(text)), options);
  Imported result;
  trace::Event e;
  while (source->next(e)) {
    if (!e.text.empty()) {
      result.texts.emplace_back(e.text);
      e.text = result.texts.back();
    }
    result.events.push_back(e);
  }
  result.info = source->info();
  result.report = source->report();
  return result;
}

// Bodies of events into lines of one thread, a microsecond apart.
inline std::string lines(std::initializer_list<std::string_view> bodies, int pid = 61) {
  std::string text;
  int time = 0;
  for (const std::string_view body : bodies) {
    text += "         kvmload-" + std::to_string(pid) + "      [000] .....     1.0000" +
            std::to_string(10 + time++) + ": " + std::string(body) + "\n";
  }
  return text;
}

}  // namespace mmucheck::import
