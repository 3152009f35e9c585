// model/store: the typed cells that hold all mutable state of a VM.
//
// A cell is named by its kind, an object and an index. One cell an object and an owner: never a
// bit mask over vCPUs or CPUs, so that independent steps touch different cells. Tables are named
// by the small ids that the store hands out (0 .. kMaxTables-1), never by address.
// All values are uint64_t; "id + 1" means that 0 says "none".
#pragma once

#include <cstdint>

namespace mmucheck::model {

enum class CellKind : uint8_t {
  // --- one page-table entry: object = table id, index = 0..511 ---
  kPte,

  // --- a page-table page (struct kvm_mmu_page): object = table id ---
  kSpRole,         // role word
  kSpGfn,          // sp->gfn
  kSpParent,       // sp->ptep: (parent table id * 512 + index) + 1; 0 for a root
  kSpPfn,          // page frame of the table
  kSpState,        // SpState
  kSpNx,           // nx_huge_page_disallowed
  kNxNext,         // list of possible NX huge pages: next table id + 1
  kNxPrev,
  kNxOnList,       // 1 while on that list
  kRootRefs,       // tdp_mmu_root_count
  kRootScheduled,  // tdp_mmu_scheduled_root_to_zap
  kRootNext,       // kvm->arch.tdp_mmu_roots: next root + 1
  kRootPrev,
  kHooksOpen,      // hooks under way on an entry of the table, where they may meet its removal
  kSpExternal,     // external_spt: its frame + 1, mirror tables only

  // --- one per VM ---
  kRootHead,       // first root + 1; newest first
  kNxHead,
  kNxTail,
  kNxCount,        // pages on the list, as the TDP MMU counts them (7.x: nr_pages)
  kNxShadowCount,  // the shadow MMU's count, which recovery of 7.x decrements by mistake
  kNxSplits,       // kvm->stat.nx_lpage_splits
  kTdpMmuPages,    // kvm->arch.tdp_mmu_pages
  kInvalidateSeq,         // mmu_invalidate_seq
  kInvalidateInProgress,  // mmu_invalidate_in_progress
  kInvalidateStart,       // mmu_invalidate_range_start
  kInvalidateEnd,
  kRcuHead,        // queue of pending RCU callbacks: first table + 1
  kRcuTail,
  kRcuCount,
  kLockReaders,    // mmu_lock: readers inside
  kLockWriter,     // mmu_lock: 1 while held for write
  kVmBugged,       // kvm->vm_bugged
  kDirtyLoggingSlots,  // kvm->nr_memslots_dirty_logging
  kSlotBound,      // slot handles in use are below
  kSlotStamp,      // counts memslots ever created
  kTdRunnable,     // kvm_tdx->state is TD_STATE_RUNNABLE
  kPreFaultAllowed,  // kvm->arch.pre_fault_allowed, of a TD
  kHkidAssigned,   // kvm_tdx->hkid is one
  kTdxBugs,        // SEAMCALLs that met TDX_BUG_ON
  kWaitForSeptZap, // kvm_tdx->wait_for_sept_zap; v8..v19: tdh_mem_track, which vCPUs wait for, too
  kSeamcallLock,   // kvm_tdx->seamcall_lock (v8): 1 while held
  kNrPremapped,    // kvm_tdx->nr_premapped
  kPageAddSrc,     // kvm_tdx->page_add_src: KVM_TDX_INIT_MEM_REGION has a page to add
  kPamtSpinlock,   // pamt_lock (Dynamic PAMT): 1 while held
  kSrcuIndex,      // kvm->srcu: 0 or 1, which readers that begin now count in
  kReapHead,       // work of RCU callbacks: first table to reap + 1; kRcuNext is the next
  kMmReleased,     // the mm is gone: kvm_mmu_notifier_release has run
  kPinnedPages,    // get_page() of private pages less put_page(), of all pages
  kMemCalls,       // SEAMCALLs on the TD's memory under way, where a design has one at a time
  kRcuLeft,        // threads inside mmu_lock that are in no read-side section of RCU
  // Where machines are driven step by step (model/vm/step.h):
  kSlotsLock,      // kvm->slots_lock: 1 while held
  kRcuReaders,     // walks without mmu_lock under way
  kMnActive,       // kvm->mn_active_invalidate_count
  kTlbVcpus,       // vCPUs with cached translations have numbers below

  // --- by object ---
  kMemslotGen,     // __kvm_memslots(kvm, as_id)->generation - as_id: object = address space
  kMemslotUpdating,  // KVM_MEMSLOT_GEN_UPDATE_IN_PROGRESS may be set: object = address space
  kRcuNext,        // object = table id
  kPageStat,       // kvm->stat.pages[]: object = level
  kVcpuRoot,       // mmu->root.hpa: root table id + 1; object = vCPU, index = 0 root, 1 mirror, 2.. prev_roots
  kVcpuRequest,    // object = vCPU, index = request number
  kVcpuMode,       // object = vCPU: VcpuMode
  kVcpuMmio,       // vcpu->arch.mmio_gfn (index 0), mmio_gen (index 1): object = vCPU
  kSlotField,      // object = slot handle, index = SlotField
  kLpageDisallow,  // lpage_info[].disallow_lpage: object = slot handle, index = level << 40 | i
  kMemAttr,        // object = 0, index = gfn: KVM_MEMORY_ATTRIBUTE_*
  kDirtyBit,       // object = slot handle, index = page offset in the slot
  kWriteTrack,     // object = slot handle, index = page offset: gfn is write-tracked
  kPagePins,       // get_page() of private pages: object = 0, index = pfn
  kSrcuReaders,    // object = 0 or 1: read-side sections of kvm->srcu
  kPamtRefs,       // Dynamic PAMT: references of a 2M region; index = its first page
  kTlb,            // cached translations: object = vCPU, index: see model/tdp/tlb.h
  kVcpuInCall,     // object = vCPU: 1 while it is on its way into the TD, or in a TDCALL
  kGmemBinding,    // object = slot handle: the file that has it in its bindings, + 1
  kGmemLock,       // object = 0, index = file handle + 1: filemap_invalidate_lock is held
  kGmemDying,      // object = 0, index = file handle + 1: 1 from its last reference to its release

  // --- the TDX module (model/tdx): a TD, a vCPU and a PAMT entry are named by page numbers ---
  kPamtType,       // PAMT entry: object = PageSize, index = its first 4K page: Pamt::pt
  kPamtOwner,      // page number of the owner TDR
  kPamtBepoch,
  kPamtLock,       // host-priority sharex word
  kTdLifecycle,    // object = TD number: TdLifecycle
  kTdFatal,
  kTdChldcnt,      // 4K pages owned, the TDR apart
  kTdWbPending,    // 1: some package has not yet written its caches back
  kTdOpState,      // OpState
  kTdOpStateLock,  // host-priority sharex word
  kTdSeptLock,     // secure_ept_lock, sharex word
  kTdEpoch,
  kTdRefcount,     // index = parity of the epoch
  kTdEpochLock,    // sharex word
  kTdBwEpoch,
  kTdNumVcpus,     // vCPUs created
  kTdNumAssoc,     // vCPUs associated with a CPU
  kTdvpsEpoch,     // object = vCPU number
  kTdvpsAssoc,     // CPU + 1
  kTdvpsInside,    // 1 from VP.ENTER to TD exit
  kLpLastVcpu,     // object = CPU: vCPU number + 1 that ran there last
  kLpTranslation,  // object = CPU, index = TD << 40 | page of the gpa: cached entry
  kKotLock,        // sharex word
  kPageUnflushed,  // object = 0, index = page: left a TD, not written back since: TDR page + 1
};

inline constexpr CellKind kFirstTableField = CellKind::kSpRole;
inline constexpr CellKind kLastTableField = CellKind::kSpExternal;
inline constexpr CellKind kFirstScalar = CellKind::kRootHead;
inline constexpr CellKind kLastScalar = CellKind::kTlbVcpus;
inline constexpr CellKind kFirstModuleCell = CellKind::kPamtType;
inline constexpr CellKind kLastCellKind = CellKind::kPageUnflushed;

enum class SpState : uint8_t {
  kFree,        // not a page table; any access is a violation
  kAllocated,   // initialised, not yet reachable (or lost its race)
  kLinked,
  kRemoved,     // cut off, waiting for the RCU grace period
  kToReap,      // the same, and blocked in the S-EPT, where all below it is still there
};

struct Cell {
  CellKind kind;
  uint32_t object = 0;
  uint64_t index = 0;
};

constexpr bool operator==(const Cell& a, const Cell& b) {
  return a.kind == b.kind && a.object == b.object && a.index == b.index;
}

namespace cell {
constexpr Cell pte(uint32_t table, uint64_t index) { return {CellKind::kPte, table, index}; }
constexpr Cell of(CellKind kind, uint32_t object = 0, uint64_t index = 0) {
  return {kind, object, index};
}
}  // namespace cell

inline constexpr uint32_t kNoTable = 0xffffffffu;

}  // namespace mmucheck::model
