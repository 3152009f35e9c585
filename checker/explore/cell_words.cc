#include "checker/explore/cell_words.h"

#include <array>

namespace mmucheck::explore {
namespace {

using model::CellKind;

const char* words_of_page(CellKind kind) {
  switch (kind) {
    case CellKind::kPte: return "page table entry";
    case CellKind::kSpRole: return "sp->role";
    case CellKind::kSpGfn: return "sp->gfn";
    case CellKind::kSpParent: return "sp->ptep";
    case CellKind::kSpPfn: return "sp->spt";
    case CellKind::kSpState: return "page table";
    case CellKind::kSpNx: return "sp->nx_huge_page_disallowed";
    case CellKind::kSpExternal: return "sp->external_spt";
    case CellKind::kNxNext:
    case CellKind::kNxPrev:
    case CellKind::kNxOnList:
    case CellKind::kNxHead:
    case CellKind::kNxTail: return "possible_nx_huge_pages";
    case CellKind::kRootRefs: return "root->tdp_mmu_root_count";
    case CellKind::kRootScheduled: return "root->tdp_mmu_scheduled_root_to_zap";
    case CellKind::kRootNext:
    case CellKind::kRootPrev:
    case CellKind::kRootHead: return "tdp_mmu_roots";
    case CellKind::kHooksOpen: return "hooks under way";
    default: return nullptr;
  }
}

const char* words_of_vm(CellKind kind) {
  switch (kind) {
    case CellKind::kNxCount:
    case CellKind::kNxShadowCount: return "nx_huge_pages count";
    case CellKind::kNxSplits: return "nx_lpage_splits";
    case CellKind::kTdpMmuPages: return "tdp_mmu_pages";
    case CellKind::kInvalidateSeq: return "mmu_invalidate_seq";
    case CellKind::kInvalidateInProgress: return "mmu_invalidate_in_progress";
    case CellKind::kInvalidateStart:
    case CellKind::kInvalidateEnd: return "mmu_invalidate_range";
    case CellKind::kRcuHead:
    case CellKind::kRcuTail:
    case CellKind::kRcuCount:
    case CellKind::kRcuNext: return "RCU callbacks";
    case CellKind::kRcuLeft:
    case CellKind::kRcuReaders: return "RCU readers";
    case CellKind::kLockReaders:
    case CellKind::kLockWriter: return "mmu_lock";
    case CellKind::kVmBugged: return "vm_bugged";
    case CellKind::kDirtyLoggingSlots: return "nr_memslots_dirty_logging";
    case CellKind::kSlotBound:
    case CellKind::kSlotStamp:
    case CellKind::kMemslotGen:
    case CellKind::kMemslotUpdating:
    case CellKind::kSlotField: return "memslots";
    case CellKind::kTdRunnable: return "kvm_tdx->state";
    case CellKind::kPreFaultAllowed: return "pre_fault_allowed";
    case CellKind::kHkidAssigned: return "kvm_tdx->hkid";
    case CellKind::kTdxBugs: return "TDX_BUG_ON";
    case CellKind::kWaitForSeptZap: return "wait_for_sept_zap";
    case CellKind::kSeamcallLock:
    case CellKind::kMemCalls: return "seamcall_lock";
    case CellKind::kNrPremapped: return "nr_premapped";
    case CellKind::kPamtSpinlock: return "pamt_lock";
    case CellKind::kSrcuIndex:
    case CellKind::kSrcuReaders: return "kvm->srcu";
    case CellKind::kReapHead: return "tables to reap";
    case CellKind::kMmReleased: return "mm_users";
    case CellKind::kPinnedPages:
    case CellKind::kPagePins: return "page references";
    case CellKind::kSlotsLock: return "slots_lock";
    case CellKind::kMnActive: return "mn_active_invalidate_count";
    case CellKind::kPageStat: return "stat.pages";
    case CellKind::kLpageDisallow: return "disallow_lpage";
    case CellKind::kMemAttr: return "mem_attr_array";
    case CellKind::kDirtyBit: return "dirty_bitmap";
    case CellKind::kWriteTrack: return "write tracking";
    case CellKind::kPamtRefs: return "PAMT references";
    case CellKind::kGmemBinding: return "gmem->bindings";
    case CellKind::kGmemLock: return "filemap_invalidate_lock";
    case CellKind::kGmemDying: return "gmem file";
    default: return nullptr;
  }
}

const char* words_of_vcpu(CellKind kind) {
  switch (kind) {
    case CellKind::kVcpuRoot: return "mmu->root";
    case CellKind::kVcpuRequest: return "vcpu->requests";
    case CellKind::kVcpuMode: return "vcpu->mode";
    case CellKind::kVcpuMmio: return "mmio_gen";
    case CellKind::kVcpuInCall: return "vCPU in the TD";
    case CellKind::kTlb:
    case CellKind::kTlbVcpus:
    case CellKind::kLpTranslation: return "TLB";
    default: return nullptr;
  }
}

const char* words_of_module(CellKind kind) {
  switch (kind) {
    case CellKind::kPamtType:
    case CellKind::kPamtOwner:
    case CellKind::kPamtBepoch: return "PAMT entry";
    case CellKind::kPamtLock: return "PAMT entry's lock";
    case CellKind::kTdLifecycle:
    case CellKind::kTdOpState: return "TD's state";
    case CellKind::kTdFatal: return "TDR.FATAL";
    case CellKind::kTdChldcnt: return "TDR.CHLDCNT";
    case CellKind::kTdWbPending:
    case CellKind::kPageUnflushed: return "caches to write back";
    case CellKind::kTdOpStateLock: return "OP_STATE's lock";
    case CellKind::kTdSeptLock: return "S-EPT lock";
    case CellKind::kTdEpoch:
    case CellKind::kTdRefcount:
    case CellKind::kTdBwEpoch:
    case CellKind::kTdvpsEpoch: return "TD epoch";
    case CellKind::kTdEpochLock: return "TD epoch's lock";
    case CellKind::kTdNumVcpus:
    case CellKind::kTdNumAssoc:
    case CellKind::kTdvpsAssoc:
    case CellKind::kLpLastVcpu: return "vCPU association";
    case CellKind::kTdvpsInside: return "vCPU in the TD";
    case CellKind::kKotLock: return "KOT lock";
    default: return "a cell";
  }
}

}  // namespace

const char* words_of(CellKind kind) {
  for (const auto words : std::array{words_of_page, words_of_vm, words_of_vcpu}) {
    if (const char* const text = words(kind); text != nullptr) return text;
  }
  return words_of_module(kind);
}

}  // namespace mmucheck::explore
