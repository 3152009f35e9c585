// tools/import/ftrace: the bodies of KVM's tracepoints, each by a reader of its own.
//
// Contract: raw.event.kind says which one; fields are set as event_kinds.def names them. False when
// the text does not have the form of 6.12 or 7.2 (mmutrace.h, x86/kvm/trace.h, events/kvm.h). No
// allocation; the text of markers and exit reasons is a view of the line. Where trace-cmd could not
// format an event ("[FAILED TO PARSE] name=value ...") the raw fields are taken by their names.
#pragma once

#include <string_view>

#include "tools/import/ftrace/raw_event.h"

namespace mmucheck::import {

bool parse_tracepoint(std::string_view body, RawEvent& raw);

}  // namespace mmucheck::import
