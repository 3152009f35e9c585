// checker/replay/complete: events that a recording tells to have been lost, whatever else was.
//
// Two kinds. Whoever removes a table goes through its entries in order and does nothing else until
// all that it links is gone. Where a loss cuts that, those that were present were frozen by lost
// events, and in a shared zap (6.8 to 6.16), which tells of each, all: if what follows is of
// another removal, even more were. And where the call of handle_changed_spte is a kprobe, the first
// tracepoint behind a loss lacks its own.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "checker/replay/tracepoint/doubt.h"

namespace mmucheck::replay {

struct SurelyLost {
  struct Frozen {
    EntryPlace table;  // its level, its first gfn
    std::vector<size_t> entries;
    EntryPlace entry(size_t i) const {
      return {table.as_id, table.level, table.gfn + i * model::pages_per_hpage(table.level)};
    }
    bool begun = false;  // the call for the first one is told
    uint32_t thread = 0;
    size_t position = 0;  // behind the loss
  };
  std::vector<Frozen> frozen;
  size_t calls = 0;
  bool freezes_called = false;  // a freeze takes its call, too

  // How many these are. What is in doubt is counted elsewhere: `of_removal`, of which entries below
  // one that is.
  size_t events(const Doubts& but,
                const std::function<size_t(const EntryPlace&)>& of_removal) const;
};

}  // namespace mmucheck::replay
