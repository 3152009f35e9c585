// checker/replay: which SEAMCALL, or TDCALL, the probes of a recording stand for.
#pragma once

#include <optional>

#include "checker/trace/event_kinds.h"
#include "model/tdx/leaf.h"

namespace mmucheck::replay {

struct SeamcallProbe {
  model::tdx::Leaf leaf;
  trace::EventKind entry, ret;
  bool has_place = false;   // the entry shows gpa and level (of ACCEPT: gpa alone)
  bool takes_page = false;  // and hpa of a page that becomes the TD's
};

// The leaf by the number that traces give it, where the model has it.
std::optional<model::tdx::Leaf> leaf_of(trace::SeamcallLeaf named);
trace::SeamcallLeaf named_leaf(model::tdx::Leaf leaf);

// nullptr: no probe shows it.
const SeamcallProbe* probe_of(model::tdx::Leaf leaf);
const SeamcallProbe* probe_of(trace::EventKind entry);
const SeamcallProbe* returning_probe(trace::EventKind ret);

}  // namespace mmucheck::replay
