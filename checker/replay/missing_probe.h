// checker/replay: could it be that a probe was not set, rather than that the kernel went wrong?
//
// A recording's capabilities are the kinds that occur in it. A kind that never occurs may never
// have happened, or its probe was missing. full_engine_can() asks for the probes without which
// nothing can be predicted. missing_probe() names one whose absence explains a step that the model
// did not expect, so that the answer is "inconclusive" instead of "diverged"; one probe is taken to
// be missing, not several.
//
// What never occurs is most of what a kernel can do, so that a kind is absent is no explanation by
// itself: what was seen must be what the lack of this very kind makes the model not see, at this
// place of this operation. Each rule says why.
#pragma once

#include <string_view>

#include "checker/replay/operation.h"
#include "checker/trace/event.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

bool full_engine_can(const trace::KindSet& kinds);

// What the model did not expect.
struct Surprise {
  const trace::Event* event = nullptr;
  const VmModel* vm = nullptr;                           // of the event; may be unknown
  const Operation* op = nullptr;                         // of the thread, nullptr for none
  trace::EventKind expected = trace::EventKind::kNone;   // what should have come, if anything
  trace::EventKind before = trace::EventKind::kNone;     // what came before, of the same thread
  bool values_differ = false;                            // it is what should come, but not alike
};

// Empty when no missing probe explains it.
std::string_view missing_probe(const trace::KindSet& kinds, const Surprise& s);

}  // namespace mmucheck::replay
