// checker/replay/tracepoint: which values an entry can get, where the tracepoints do not say what
// was asked for. All rules are those of model/spte; this only tries the inputs that are unknown.
#pragma once

#include <cstdint>
#include <optional>

#include "model/spte/change.h"
#include "model/spte/format.h"
#include "model/spte/spte.h"

namespace mmucheck::replay {

struct ValueFacts {
  const model::Design* design = nullptr;
  model::HostMmu host;
  model::SpteFormat fmt;
  bool format_known = false;        // else values are not judged
  bool nx_known = false;            // host.nx_huge_pages was told
  bool td = false;                  // VMs with an MMIO value of 0 may exist
  bool fast_faults_untold = false;  // no fast_page_fault is recorded
};

struct LeafRequest {
  uint64_t pfn = 0;
  int level = 1;
  bool may_prefetch = true;
  bool may_access = true;  // an access of a vCPU (not a prefetch)
};

struct LeafExplanation {
  bool host_writable = false;
  bool prefetch = false;
};

// The inputs of make_spte that give `new_spte`; nullopt when there are none.
std::optional<LeafExplanation> explain_leaf(const ValueFacts& v, const LeafRequest& r,
                                            uint64_t old_spte, uint64_t new_spte);

// A change of a present leaf to a present leaf that no fault made.
enum class LeafStep : uint8_t { kNone, kWriteProtect, kUnwritable, kClearDirty, kAge };
LeafStep explain_step(const ValueFacts& v, uint64_t old_spte, uint64_t new_spte);

// Can the entry that was last written as `known` now read `seen`? Hardware sets A and D only, a
// fast page fault that nothing tells of W.
bool may_read(const ValueFacts& v, uint64_t known, uint64_t seen, int level);

// A leaf of which bits alone change: ageing, write protection and clearing of D that take one store
// have a tracepoint of their own, and are no call of handle_changed_spte.
bool is_changed_in_place(uint64_t old_spte, uint64_t new_spte, int level);

// The bit of a gfn that tells shared from private, for a GPAW of 48 and of 52.
inline constexpr uint64_t kDirectBit48 = uint64_t{1} << 35;
inline constexpr uint64_t kDirectBit52 = uint64_t{1} << 39;
inline constexpr uint64_t kDirectBits = kDirectBit48 | kDirectBit52;
constexpr bool is_direct_bit(uint64_t bits) {
  return bits == kDirectBit48 || bits == kDirectBit52;
}

// What becomes what: nothing, a table, a page. One kind of change is made in one place, where a
// compiler may have inlined handle_changed_spte or not. Below 16; the lowest bit is was_present.
unsigned change_kind(uint64_t old_spte, uint64_t new_spte, int level);

// A table is linked there; of a value that is not known (entry_book.h) that is not said.
bool links_table(uint64_t spte, int level);
bool is_mmio(const ValueFacts& v, uint64_t spte);
bool is_mmio_of(const ValueFacts& v, uint64_t spte, uint64_t gfn);

// What a fast page fault makes of `old_spte`.
uint64_t fast_fault_value(const ValueFacts& v, uint64_t old_spte, bool write);

}  // namespace mmucheck::replay
