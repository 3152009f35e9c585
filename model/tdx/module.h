// model/tdx: what the calls work on: the platform and its TDs (constants of a run), the store, and
// one call in progress as a plain value.
//
// All mutable state lies in cells of the store (model/store/cell.h). An S-EPT page is a table of
// the store in the frame of that page: its entries are the module's raw 64-bit values, with the
// entry lock in them. Pages are named by number (physical address >> 12), TDs and vCPUs by their
// place in the platform's lists, CPUs by number.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "model/store/cell.h"
#include "model/tdx/leaf.h"
#include "model/tdx/status.h"
#include "model/tdx/tlb_tracking.h"

namespace mmucheck::model::tdx {

inline constexpr uint64_t kNullPa = ~uint64_t{0};
inline constexpr uint32_t kNone = 0xffffffffu;

enum PageSize : int { k4K = 0, k2M = 1, k1G = 2 };
constexpr uint64_t pages_of(int size) {
  return uint64_t{1} << (9 * size);
}
constexpr uint64_t page_round(uint64_t page, int size) {
  return page & ~(pages_of(size) - 1);
}

enum class Pt : uint8_t {
  kNda = 0,
  kRsvd = 1,
  kReg = 3,
  kTdr = 4,
  kTdcx = 5,
  kTdvpr = 6,
  kEpt = 8,
  kPamt = 0xf,  // of a 2M entry whose 4K entries lie in a pair of pages (Dynamic PAMT)
};
struct PtName {
  Pt type;
  const char* name;
};
inline constexpr std::array<PtName, 8> kPtNames = {{{Pt::kNda, "NDA"},
                                                    {Pt::kRsvd, "RSVD"},
                                                    {Pt::kReg, "REG"},
                                                    {Pt::kTdr, "TDR"},
                                                    {Pt::kTdcx, "TDCX"},
                                                    {Pt::kTdvpr, "TDVPR"},
                                                    {Pt::kEpt, "EPT"},
                                                    {Pt::kPamt, "PAMT"}}};
constexpr const char* pt_name(Pt type) {
  for (const PtName& p : kPtNames) {
    if (p.type == type) return p.name;
  }
  return "?";
}

// What differs between versions of the module (reference: 1.5.01).
struct ModuleVersion {
  Operand untracked_unblock = Operand::kSeptTree;  // RCX from 1.5.05 on
  bool flush_on_vcpu_switch = true;                // 1.0 did not
  bool dynamic_pamt = false;                       // 4K entries of a 2M range come with PAMT.ADD
  bool non_blocking_resize = false;                // DEMOTE of an entry that is not blocked
};

struct TdConfig {
  uint64_t tdr = 0;        // page
  uint64_t sept_root = 0;  // page, a TDCX
  int sept_levels = 4;     // 4 or 5
  int gpaw = 48;           // 48 or 52
  bool debug = false;
  bool sept_ve_disable = false;
  int top_level() const { return sept_levels - 1; }
};
struct VcpuConfig {
  uint64_t tdvpr = 0;  // page
  uint32_t td = 0;
};

struct Platform {
  uint64_t tdmr_pages = 0;  // one TDMR from page 0 on
  int hkid_shift = 46;
  uint64_t hkid_mask = 0;
  uint64_t first_private_hkid = 0;
  uint64_t seamrr = 0, seamrr_end = 0;
  ModuleVersion version = {};
  std::span<const TdConfig> tds = {};
  std::span<const VcpuConfig> vcpus = {};
  // GPAs (page aligned) whose cached translations are followed; none: accesses always walk.
  std::span<const uint64_t> followed = {};

  uint32_t td_of(uint64_t tdr_page) const {
    for (uint32_t i = 0; i < tds.size(); i++) {
      if (tds[i].tdr == tdr_page) return i;
    }
    return kNone;
  }
  uint32_t vcpu_of(uint64_t tdvpr_page) const {
    for (uint32_t i = 0; i < vcpus.size(); i++) {
      if (vcpus[i].tdvpr == tdvpr_page) return i;
    }
    return kNone;
  }
};

template <class StoreType>
struct ModuleWorld {
  StoreType& store;
  const Platform& platform;

  uint64_t get(CellKind k, uint32_t object = 0, uint64_t index = 0) const {
    return store.get(cell::of(k, object, index));
  }
  void set(CellKind k, uint32_t object, uint64_t index, uint64_t v) {
    store.set(cell::of(k, object, index), v);
  }
  auto add(CellKind k, uint32_t object, uint64_t index, uint64_t v) {
    return store.add(cell::of(k, object, index), v);
  }
  OpState op_state(uint32_t td) const {
    return static_cast<OpState>(get(CellKind::kTdOpState, td));
  }
  TdLifecycle lifecycle(uint32_t td) const {
    return static_cast<TdLifecycle>(get(CellKind::kTdLifecycle, td));
  }
  EpochAndRefcount<> epoch_and_refcount(uint32_t td) const {
    return {get(CellKind::kTdEpoch, td), get(CellKind::kTdRefcount, td, 0),
            get(CellKind::kTdRefcount, td, 1)};
  }
};

// An entry of an S-EPT, and the value that was read there.
struct SeptPosition {
  uint32_t table = kNoTable;
  uint32_t index = 0;
  int level = 0;
  uint64_t entry = 0;
  Cell cell() const { return cell::pte(table, index); }
};

struct Registers {
  uint64_t rcx = 0, rdx = 0, r8 = 0, r9 = 0, r10 = 0, r11 = 0;
};

// What a TD exit tells the host.
struct ExitInfo {
  uint64_t gpa = 0;
  uint64_t qualification = 0;
  uint64_t extended = 0;
  uint8_t req_level = 0, err_level = 0, err_state = 0;
};

enum class HeldKind : uint8_t { kSharex, kHostPriority, kEntry };
struct Held {
  Cell cell{CellKind::kPte};
  HeldKind kind = HeldKind::kSharex;
  bool exclusive = false;
};

enum class CallPhase : uint8_t { kAcquire, kCheck, kCommit, kRelease, kDone };

// One call: its inputs, where it stands, and its answer. The phases are the atomic steps: take the
// locks, in order, with the checks that come before each; check under them; change the state;
// release. Guest calls walk in the first step and take their one lock in the second.
struct ModuleCall {
  CallPhase pc = CallPhase::kAcquire;
  Leaf leaf = Leaf::kMemSeptRd;
  uint8_t version = 0;
  uint32_t vcpu = 0;          // guest calls, VP.ENTER, TD exit
  uint32_t lp = 0;            // VP.ENTER, VP.FLUSH; of a guest call, where the vCPU runs
  uint32_t intr_after = 0;    // the poll that finds an interrupt pending; 0: none does
  bool pamt_pair = false;     // DEMOTE with Dynamic PAMT: R12 and R13 are a pair of pages
  bool access_write = false;  // kGuestAccess
  bool access_exec = false;
  Registers in = {};

  Registers out = {};
  Status status = {};
  ExitInfo exit = {};
  uint64_t accessed_page = 0;  // kGuestAccess
  bool flushed_epoch = false;  // VP.ENTER
  bool flushed_switch = false;

  uint32_t td = kNone;
  uint64_t gpa = 0;
  SeptPosition pos = {};  // `entry` as read before the entry lock
  uint64_t entry = 0;     // as read under it
  uint64_t page = 0;      // that the entry points to; RECLAIM, WBINVD: the operand
  uint64_t new_page = 0;
  Pt new_page_was = Pt::kNda;  // before this call took it
  int page_size = 0;
  int value = 0;  // of the leaf's own
  uint32_t held_count = 0;
  uint32_t children_locked = 0;  // PROMOTE
  std::array<Held, 12> held = {};
};

}  // namespace mmucheck::model::tdx
