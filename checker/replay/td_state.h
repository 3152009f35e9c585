// checker/replay: what a VM with a mirror root holds, its trees side by side: direct root, mirror
// root, S-EPT, the PAMT entry of the page, the attributes, and who may still cache what.
//
// A row is a range of gfns (4 KiB frames, without the shared bit) in which every column says the
// same, pages counting up; gfns with nothing in any tree have none. The walk of each tree is
// compared at each level by the rule of TDX-SEPT-MIRROR; where it fails, the columns show the
// entries of that level. Of several direct roots the newest valid one is shown. Takes the time of a
// walk over all tables. Source: mmu.c, tdx.c; TDX module 1.5, is_tlb_tracked.
#pragma once

#include <string>
#include <vector>

#include "checker/replay/vm_model.h"

namespace mmucheck::replay {

// Where the walk of one tree ends.
struct TdSide {
  int level = 0;      // KVM's; 0: there is no such tree
  bool empty = true;  // nothing is there: "-" or FREE
  bool page = false;  // a page is, and `pfn` is its first frame
  uint64_t pfn = 0;
  std::string what;
};

enum class MirrorMatch : uint8_t { kAgree, kDiffer, kFrozen, kNotCompared };

struct TdRow {
  uint64_t gfn = 0, npages = 0;
  TdSide direct, mirror, sept;
  MirrorMatch match = MirrorMatch::kAgree;
  int level = 0;          // of the entries that differ, or of the frozen one
  bool has_page = false;  // that the S-EPT entry points to, else the mirror's
  uint64_t page = 0;      // the first one
  std::string pamt;       // its type in the PAMT
  bool blocked = false;   // then:
  uint64_t bepoch = 0;
  bool tracked = false;
  std::string attributes;  // private, shared, mixed; empty where the VM has none

  uint64_t last_gfn() const { return gfn + npages - 1; }
};

struct TdVcpu {
  uint32_t vcpu = 0;
  bool associated = false, inside = false;
  uint64_t cpu = 0, epoch = 0;
};

struct CachedRoot {  // a CPU may hold translations of a root
  uint32_t cpu = 0;
  uint64_t spt = 0;
};

struct TdState {
  bool module = false;  // hooks are answered by the TDX module, not by a script
  bool hkid_assigned = false;
  std::string lifecycle, op_state;
  uint64_t chldcnt = 0, epoch = 0, inside_now = 0, inside_before = 0;
  std::vector<std::pair<std::string, uint64_t>> pamt;  // used entries by type
  bool has_direct = false, has_mirror = false;
  uint64_t direct_spt = 0, mirror_spt = 0, sept_root = 0;  // physical addresses
  std::vector<TdRow> rows;
  std::vector<TdVcpu> vcpus;
  std::vector<CachedRoot> cached;
  std::vector<std::string> hooks;  // threads that are inside one
};

// Of a VM with a mirror root. Only rows that touch [from, to).
TdState td_state_of(const VmModel& v, uint64_t from = 0, uint64_t to = ~uint64_t{0});

// The rows as a table with a header line; at most 100 columns where nothing is longer than usual.
std::vector<std::string> td_table(const TdState& td);
// All of it.
std::vector<std::string> td_lines(const TdState& td);
// What a verdict shows: the rows where mirror and S-EPT differ or the mirror is frozen, and those
// beside them; none where there are none.
std::vector<std::string> td_disagreement(const VmModel& v);

}  // namespace mmucheck::replay
