// checker/replay/tracepoint: what lost events may have changed is forgotten, and nothing else.
//
// A lost event is of one thread and changes at most one entry; that may have linked a table below
// it, or have been the last of its removal. While events are being lost (doubt() is called behind
// each event that may lie beside a lost one) nothing is known of the entries and tables that are
// named, nor of any thread, but for what it is in the middle of under mmu_lock: it stays on its CPU
// there, and where that loses nothing, that goes on. So whatever the lost events were, as long as
// they changed no other entry: what the replay would have accepted behind them it accepts behind
// the doubts. A divergence behind all doubts therefore says that some other entry was changed by
// what was lost, or that there is none. That a page is a table already is not asked of a replay
// with doubts.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "checker/replay/tracepoint/missing.h"

namespace mmucheck::replay {

// CPUs that may be losing events.
struct LostCpus {
  std::vector<uint32_t> cpus;
  bool any = false;  // whichever: it is not told
  bool has(uint32_t cpu) const {
    return any || std::find(cpus.begin(), cpus.end(), cpu) != cpus.end();
  }
};

struct Doubts {
  std::vector<EntryPlace> entries;  // whose value may be another one
  // The same, and tables may have been linked below, as many as the entry is named times: where
  // there was none, or whatever was there.
  std::vector<EntryPlace> links, relinks;
  std::vector<EntryPlace> splits;  // of these, in the place of huge pages that are not told of
  size_t roots = 0;          // that may have been made
  bool last = false;         // nothing is lost behind this: of two tables in turn the first is gone
  uint64_t direct_bits = 0;  // bits of gfns that what was lost may have told of
};

}  // namespace mmucheck::replay
