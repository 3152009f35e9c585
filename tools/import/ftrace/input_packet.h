// tools/import/ftrace: how an added packet takes its place, time, thread and VM from the recorded
// event beside which it stands.
//
// Contract: make_packet() answers a packet of `kind` without fields, of the kind's default class.
#pragma once

#include "checker/trace/event_kinds.h"

namespace mmucheck::import {

inline trace::Event make_packet(const trace::Event& at, trace::EventKind kind) {
  trace::Event e;
  e.ts_ns = at.ts_ns;
  e.cpu = at.cpu;
  e.thread = at.thread;
  e.vm = at.vm;
  e.context = at.context;
  e.source_line = at.source_line;
  e.source_offset = at.source_offset;
  trace::start_event(e, kind);
  return e;
}

}  // namespace mmucheck::import
