// checker/replay: what a VM's model holds, as ranges: page tables, memslots, attributes, invalidation.
//
// Neighbouring entries of one level that differ in their frame only are one range. gfn and npages in
// 4 KiB frames; permissions as the CPU sees them, "---" is not present.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checker/replay/td_state.h"

namespace mmucheck::replay {

struct MappedRange {
  uint64_t gfn = 0, npages = 0;
  uint64_t pfn = 0;  // of the first page, where `leaf`
  int level = 0;     // of the entries
  bool leaf = false;
  std::string what;  // permissions and kind, equal for the whole range

  uint64_t last_gfn() const { return gfn + npages - 1; }
};

struct RootState {
  uint64_t spt = 0;  // physical address
  uint32_t role = 0;
  uint64_t refs = 0;
  bool invalid = false, mirror = false;
  std::vector<MappedRange> ranges;
};

struct SlotState {
  uint64_t as_id = 0, id = 0, base = 0, npages = 0, hva = 0, flags = 0;
  bool invalid = false;
};

struct GfnRange {
  uint64_t start = 0, end = 0;  // gfns, end exclusive
};

struct VmState {
  uint32_t vm = 0;
  bool abandoned = false;  // after a divergence: no more the kernel's state
  std::vector<RootState> roots;  // newest first
  std::vector<SlotState> slots;
  std::vector<GfnRange> private_gfns;  // by their attributes
  uint64_t invalidate_seq = 0, invalidations = 0;
  GfnRange invalidating;  // while there are invalidations
  std::optional<TdState> td;  // of a VM with a mirror root
};

// Permissions and kind of an entry; "---" is not present.
std::string spte_text(const VmModel& v, uint64_t spte, int level);

// How `root` maps [from, to), holes too.
std::vector<MappedRange> ranges_of(const VmModel& v, uint32_t root, uint64_t from, uint64_t to);

// What is there; holes are left out. Takes the time of a walk over all tables and memslots.
VmState state_of(const VmModel& v);

// As lines: each root, and its ranges within `radius` entries of the level that `gfn` is looked at;
// where there is a mirror root, all trees side by side.
std::vector<std::string> state_around(const VmModel& v, uint64_t gfn, int level,
                                      uint64_t radius = 8);

const char* size_of(int level);  // "4K", "2M", ...
std::string text_of(const RootState& root);      // one line, without its ranges
std::string text_of(const MappedRange& range);

}  // namespace mmucheck::replay
