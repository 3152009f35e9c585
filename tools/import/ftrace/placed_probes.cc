#include "tools/import/ftrace/placed_probes.h"

#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/parser.h"

namespace mmucheck::import {

using trace::EventKind;
using trace::KindSet;

KindSet silent_kinds(const std::vector<std::string>& probes, const KindSet& occur) {
  KindSet placed;
  for (const std::string& name : probes) {
    const EventKind kind = parser().kind_of(name);
    if (kind != EventKind::kNone) placed.set(static_cast<size_t>(kind));
  }
  KindSet silent;
  for (const trace::KindInfo& info : trace::all_kinds()) {
    // event_kinds.def: tracepoints, then probes, the last of which are on hooks and SEAMCALLs.
    if (info.kind < EventKind::kTdpMap || info.kernel_name.empty()) continue;
    const auto kind = static_cast<size_t>(info.kind);
    if (occur.test(kind) && !placed.test(kind)) return {};
    if (info.kind >= EventKind::kMockSetExternal && !occur.test(kind)) {
      silent.set(kind, placed.test(kind));
    }
  }
  return silent;
}

}  // namespace mmucheck::import
