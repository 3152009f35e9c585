// model/tdp: what a step makes visible: stores, tracepoints, function entries and returns.
//
// The fields are those of the kernel's tracepoints and of probes at function entry; tables are
// named by store ids. gfn in 4 KiB frames; level 1..5; values are SPTE words.
#pragma once

#include <cstdint>

#include "model/tdx/leaf.h"

namespace mmucheck::model::tdx {
struct ModuleCall;
}

namespace mmucheck::model::ev {

enum class How : uint8_t { kCas, kXchg, kAnd, kSet };
enum class FlushKind : uint8_t { kAll, kRange, kMemslot, kRequest };
enum class TableKind : uint8_t { kVcpuCache, kSplit, kExternal };

// --- page-table entries ---
struct Store { uint32_t table; uint32_t index; uint64_t old_spte, new_spte; How how; };
struct CasFail { uint32_t table; uint32_t index; uint64_t expected, found; };
struct CmpxchgSpte { uint32_t table, index; uint64_t gfn; int level; uint64_t old_spte, new_spte; };
struct CmpxchgSpteRet { int ret; };
// Entry of handle_changed_spte (6.12) or __handle_changed_spte (7.x).
struct ChangedSpte {
  uint32_t table; uint32_t index; uint32_t as_id; uint64_t gfn; int level;
  uint64_t old_spte, new_spte; bool shared;
};
// Tracepoint kvm_tdp_mmu_spte_changed.
struct SpteChanged {
  uint32_t as_id; uint64_t gfn; int level; uint64_t old_spte, new_spte;
  uint32_t table, index;
};
struct SpteRequested { uint64_t gfn, pfn; int level, req_level; };
struct SetSpte { int level; uint64_t gfn; uint32_t table, index; uint64_t spte; };
struct MarkMmioSpte { uint32_t table, index; uint64_t gfn, spte; };
struct SplitHugePage { uint64_t gfn, spte; int level, error; };
struct FastPageFault {
  uint64_t gfn; uint32_t table, index; uint64_t old_spte, new_spte; int ret; bool found;
};

// --- page-table pages ---
struct AllocTable { uint32_t table; TableKind kind; };
struct AllocFailed { TableKind kind; };
// The external page of a mirror table (sp->external_spt).
struct AllocExternal { uint32_t table; uint64_t frame; };
struct FreedExternal { uint64_t frame; };
struct InitSp { uint32_t table; uint32_t parent_table, parent_index; uint64_t gfn; uint32_t role; };
struct GetPage { uint32_t table; uint64_t gfn; uint32_t role; };
struct RemovedPt { uint32_t table; bool shared; };
struct PrepareZapPage { uint32_t table; uint64_t gfn; uint32_t role; };
struct RcuQueued { uint32_t table; uint64_t pending; };
struct RcuFree { uint32_t table; uint64_t pfn; uint32_t role; };
struct Freed { uint32_t table; };

// --- walks, roots, locks ---
struct IterStart { uint32_t root; int min_level; uint64_t start; };
struct IterRestart { uint64_t next_gfn; int level; };
struct PutRoot { uint32_t root; uint64_t refs; };
struct Yield { bool write; };
struct Lock { bool write; };
struct Unlock { bool write; };
struct Flush { FlushKind kind; uint64_t a, b; uint32_t slot = 0; };  // a, b: gfn and frames
struct MarkDirty { uint32_t slot; uint64_t gfn; };
struct PfnHint { bool dirty; };  // kvm_set_pfn_dirty or kvm_set_pfn_accessed (6.12)

// --- external page tables ---
// `hook`: which one, where there are several; kSet where one has all changes.
enum class HookKind : uint8_t { kSet, kLink, kZap, kRemove };
struct ExternalSet {
  uint64_t gfn; int level; uint64_t old_spte, new_spte; HookKind hook = HookKind::kSet;
};
// `freed_pfn`: of the leaf that a removal took away, plus 1; 0: the hook removed none.
struct ExternalSetRet { int ret; bool shared; uint64_t freed_pfn = 0; };
struct ExternalFree { uint32_t table; };
struct PutPage { uint64_t pfn; };  // put_page() of a private page

// --- the TDX module: gpa and hpa in bytes, KVM's level; 0 where the leaf has none ---
struct Seamcall { tdx::Leaf leaf; uint64_t gpa; int level; uint64_t hpa; };
// `level`: KVM's, of the entry where the walk ended; 0 without one.
// `call`: all of it, as long as the event is looked at; none where it never began.
struct SeamcallRet {
  tdx::Leaf leaf; uint64_t status; int level;
  const tdx::ModuleCall* call = nullptr;
};
// Pages that the TD still owns, its epoch, and how often a SEAMCALL met TDX_BUG_ON.
struct TdDestroy { uint64_t chldcnt, epoch, bugs; };
// A fault has lost its exchange behind its hook and is done with what it does about it: is its page
// in the S-EPT, where the mirror does not map it?
struct LostBehindHook { bool left; };
// Dynamic PAMT: the references of the 2M region at `page`, and whether its pair is there.
struct PamtRefs { uint64_t page, refs; bool pair; };
// An S-EPT entry changed: HPA in bits 51:12, architectural number of the state in 7:0.
struct SeptState { uint64_t gpa; int level; uint64_t old_state, new_state; };

// --- functions of the TDP MMU and of KVM around it, at entry and at return ---
// Arguments in order, by function:
enum class Fn : uint8_t {
  kZapLeafsRoot,        // start, end, can_yield, flush; returns flush
  kZapLeafs,            // start, end, flush
  kZapRoot,             // shared, zap_level
  kZapAll, kZapSp, kZapPossibleNx,
  kInvalidateRoots,     // root types
  kZapInvalidatedRoots, // shared
  kZapCollapsibleKvm, kZapCollapsible, kRecoverHuge,  // slot
  kTrySplit,            // start, end, target_level, shared, slot
  kSplitRoot,           // start, end, target_level, shared
  kWrprotSlot, kClearDirtySlot,    // slot, min_level
  kWrprotRange, kClearDirtyRange,  // start, end, min_level
  kClearDirtyPt,        // slot, gfn, mask, wrprot
  kWriteProtectGfn,     // slot, gfn, min_level
  kAgeRange, kTestAgeRange,  // start, end, attr_filter, as_id, slot; returns young
  kAllocRoot,           // vcpu, role, mirror
  kPageFaultWalk,
  kCheckMmioSpte,       // spte, generation of the VM, generation of the entry, valid
  kHandleMmioPageFault, // address, gfn
  kGmemGetPfn,          // slot, gfn
  kFaultin,             // returns RET_PF_* or an error
  kFaultStale,          // returns stale
  kTdpMap,              // vcpu, addr, gfn, pfn, write, exec, prefetch, is_private, max_level,
                        // map_writable, nx_workaround, mmu_seq, slot; returns RET_PF_*
  kInvBegin, kInvEnd,   // seq, in_progress, range start, range end: values before
  kInvAdd,              // start, end, then the same
  kMmuUnmapGfnRange, kUnmapGfnRange, kTdpUnmapGfnRange,  // start, end, slot, filter, may_block,
                                                         // flush; returns flush. Of the first the
                                                         // last: pages become private in place
  kZapAllFast, kMmuZapAllFast,
  kCommitMemslot,       // change, id, old id
  kSetMemslot,          // returns 0 or an error
  kVmSetMemAttributes,  // start, end, attributes: the tracepoint
  kSetMemAttr,          // returns 0 or an error
  kPreSetAttr, kPostSetAttr,  // start, end, slot
  kGmemInvalidate, kGmemInvalidateEnd,  // start, end in file pages, file handle + 1
  kFlushMemslot,        // slot
  kReleaseHkid,
};
struct Enter { Fn fn; uint32_t root; uint64_t a[13]; };
struct Return { Fn fn; uint64_t value; };

// Memory attributes of a range have changed, and the invalidation is over.
struct AttributesSet { uint64_t start, end, attributes; };
// A fault decides to try again without leaving its SRCU section; `stuck`: what it waits for waits
// for that section to end.
struct RetryWait { bool stuck; };

// A WARN or BUG condition of the kernel that fired, by the id of the invariant catalogue.
struct Warn { const char* rule; };

}  // namespace mmucheck::model::ev
