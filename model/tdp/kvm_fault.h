// model/tdp: one page fault from the exit to its result. Source: mmu.c (kvm_mmu_page_fault,
// handle_mmio_page_fault, kvm_tdp_mmu_page_fault, kvm_mmu_faultin_pfn).
//
// What no state determines comes from the environment: the pfn with its host mapping, a failed
// allocation, an asynchronous page fault, and the outcome of faultin where an invalidation or a
// memslot update of another thread overlaps its window.
#pragma once

#include <algorithm>

#include "model/tdp/fast_page_fault.h"
#include "model/tdp/kvm_invalidate.h"

namespace mmucheck::model {

struct FaultinPfn {  // what kvm_mmu_faultin_pfn found
  uint64_t pfn = kNoslotPfn;
  bool map_writable = false;
  uint8_t max_level = kMaxHugepageLevel;
};

struct PageFault {
  uint8_t pc = 0;
  uint8_t as_id = 0;
  bool own_invalidation = false;  // this thread's page walk ran a notifier on the slot
  bool mmio_hit = false;
  bool mismatch = false;          // is_private against the attributes, at the fault's start
  uint8_t srcu = 0;
  uint32_t gone_slot = kNoSlot;   // taken to be deleted when faultin was over
  bool address_unknown = false;   // nothing shows which gfn it is
  bool seq_moved = false;         // between the fault's start and the end of faultin
  uint64_t window = 0;            // since when the snapshots may date, by the environment's clock
  int8_t invalid_slot = 0;        // the slot was being deleted or moved at the start
  bool began_open = false;        // an invalidation of the gfn was open then
  bool holds_page = false;        // found, and not yet given back
  int32_t faultin = 0;            // RET_PF_* or an error
  RetPf ret = RetPf::kInvalid;
  Fault fault = {};
  FastPageFault fast = {};
  TdpMmuWalk walk = {};
  TdpMmuMap map = {};
};

template <class W>
bool mem_is_private(const W& w, uint64_t gfn) {
  return w.store.get(cell::of(CellKind::kMemAttr, 0, gfn)) & kMemoryAttributePrivate;
}

// Each address space starts with a generation of its own (kvm_create_vm).
template <class W>
uint64_t memslot_generation(const W& w, uint32_t as_id) {
  return w.field(CellKind::kMemslotGen, as_id) + as_id;
}

// vcpu_cache_mmio_info: the vCPU remembers its last MMIO page, but not while memslots change.
template <class W>
void vcpu_cache_mmio_info(W& w, uint32_t vcpu, uint32_t as_id, uint64_t gfn) {
  if (w.field(CellKind::kMemslotUpdating, as_id) != 0) return;
  w.store.set(cell::of(CellKind::kVcpuMmio, vcpu, 0), gfn);
  w.store.set(cell::of(CellKind::kVcpuMmio, vcpu, 1), memslot_generation(w, as_id));
}

// mmio_info_in_cache, vcpu_match_mmio_gpa: such a fault is emulated without a look at the tables.
// vcpu_clear_mmio_info() leaves gfn and generation alone.
template <class W>
bool mmio_info_in_cache(const W& w, uint32_t vcpu, uint32_t as_id, uint64_t gfn) {
  return gfn != 0 && w.field(CellKind::kMemslotUpdating, as_id) == 0 &&
         w.store.get(cell::of(CellKind::kVcpuMmio, vcpu, 0)) == gfn &&
         w.store.get(cell::of(CellKind::kVcpuMmio, vcpu, 1)) == memslot_generation(w, as_id);
}

// What an overlap with another thread leaves open of a result that state decides: retry or not, and
// whether the attributes agree; or everything.
enum class Openness : uint8_t { kClosed, kOverlap, kAnything };

namespace detail {

template <class W>
bool is_mismatch(const W& w, const Fault& f) {
  return f.is_private != mem_is_private(w, f.gfn);
}

inline constexpr int32_t kEfault = -14;
inline constexpr int32_t kEagain = -11;
inline constexpr int32_t kEopnotsupp = -95;

// Without its barrier kvm_mmu_faultin_pfn may read mmu_invalidate_seq behind the attributes.
template <class W>
bool seq_is_read_late(const W& w) {
  return w.design.seq_barriers == SeqBarriers::kNoRmb;
}

// kvm_arch_vcpu_pre_fault_memory: a TD that is not finalized cannot be asked to. Hand-written files
// populate with what stands here for a pre-fault where populating faults pages in (6.16 to 6.18).
template <class W>
bool may_not_prefault(const W& w, const Fault& f) {
  return (w.env.lock_steps() || (w.platform != nullptr && !w.design.premap_count)) && f.prefetch &&
         w.vm.has_mirror && w.field(CellKind::kPreFaultAllowed) == 0;
}

// The part of faultin that state decides; `open` when an overlap leaves both results possible.
template <class W>
int32_t faultin_result(const W& w, PageFault& m, Openness* open) {
  Fault& f = m.fault;
  *open = m.address_unknown ? Openness::kAnything : Openness::kClosed;
  const auto overlaps = [open] { *open = std::max(*open, Openness::kOverlap); };
  f.slot = gfn_to_memslot(w, m.as_id, f.gfn);
  if (w.vm.has_private_mem) {
    // The attributes are looked at first, and stored in the middle of the invalidation.
    const bool mismatch = seq_is_read_late(w) ? m.mismatch : is_mismatch(w, f);
    if (mismatch != m.mismatch || invalidate_in_progress(w, f.gfn)) overlaps();
    if (mismatch) return kEfault;
  }
  if (f.slot == kNoSlot) {
    if (f.is_private) return kEfault;
    // kvm_handle_noslot_fault: no entry can be made, or none that a guest's address leads to.
    const bool caches = w.fmt.mmio_caching && f.gfn < max_gfn_exclusive(w.host.maxphyaddr);
    return static_cast<int32_t>(caches ? RetPf::kContinue : RetPf::kEmulate);
  }
  if (w.field(CellKind::kMemslotUpdating, m.as_id) != 0) overlaps();
  const bool invalid_now = slot_get(w, f.slot, SlotField::kInvalid) != 0;
  if (invalid_now != (m.invalid_slot != 0)) overlaps();
  if (invalid_now && m.invalid_slot) {
    overlaps();  // the update that follows may be installed already
    return f.prefetch && w.design.prefault_eagain_on_invalid_slot
               ? kEagain : static_cast<int32_t>(RetPf::kRetry);
  }
  if (m.own_invalidation) return static_cast<int32_t>(RetPf::kRetry);
  const bool in_range = invalidate_in_progress(w, f.gfn);
  const bool moved = w.field(CellKind::kInvalidateSeq) != f.mmu_seq;
  if (in_range || moved) overlaps();
  if (f.is_private && slot_get(w, f.slot, SlotField::kGmem) == 0) return kEfault;
  if (!f.is_private && f.write && slot_get(w, f.slot, SlotField::kFlags) & kMemReadonly) {
    return static_cast<int32_t>(RetPf::kEmulate);
  }
  return in_range || moved ? static_cast<int32_t>(RetPf::kRetry)
                           : static_cast<int32_t>(RetPf::kContinue);
}

// The memslot at the gfn goes away, or moves.
template <class W>
bool in_invalid_slot(const W& w, const PageFault& m) {
  const uint32_t slot = gfn_to_memslot(w, m.as_id, m.fault.gfn);
  return slot != kNoSlot && slot_get(w, slot, SlotField::kInvalid) != 0;
}

// It does, and the next attempt ends as this one did. (That of a pre-fault may end the fault, 6.18.)
template <class W>
bool waits_for_slot(const W& w, const PageFault& m) {
  return in_invalid_slot(w, m) && !(m.fault.prefetch && w.design.prefault_eagain_on_invalid_slot);
}

// Snapshots of kvm_mmu_faultin_pfn's start.
template <class W>
void faultin_begin(const W& w, PageFault& m) {
  m.fault.mmu_seq = w.field(CellKind::kInvalidateSeq);
  m.window = w.env.window_start();
  m.own_invalidation = false;
  m.mismatch = w.vm.has_private_mem && is_mismatch(w, m.fault);
  m.began_open = invalidate_in_progress(w, m.fault.gfn);
  m.invalid_slot = in_invalid_slot(w, m) ? 1 : 0;
}

// KVM_PRE_FAULT_MEMORY, and tdx_handle_ept_violation() for a private gpa, try again by themselves
// while the VM lives; the latter leaves a memslot that goes away to the next exit (6.18). Its test
// for a dead VM took the request away up to 6.19: kvm_vcpu_ioctl() refuses the vCPU all the same.
template <class W>
bool retries_locally(W& w, const PageFault& m) {
  if (!m.fault.prefetch && !(w.vm.has_mirror && m.fault.is_private)) return false;
  if (w.field(CellKind::kVmBugged) != 0) {
    if (!m.fault.prefetch && w.design.retry_eats_vm_dead) {
      w.store.set(cell::of(CellKind::kVcpuRequest, m.fault.vcpu, kVmDeadSeen), 1);
    }
    return false;
  }
  if (!w.env.lock_steps()) return true;
  const bool again = m.fault.prefetch || !w.design.retry_tests_slot || !in_invalid_slot(w, m);
  w.emit(ev::RetryWait{again && waits_for_slot(w, m) &&
                       m.srcu != w.field(CellKind::kSrcuIndex)});
  return again;
}

// Would another attempt end as this one did, whoever goes on spinning?
template <class W>
bool spins(const W& w, const PageFault& m) {
  return w.env.lock_steps() &&
         (invalidate_in_progress(w, m.fault.gfn) || waits_for_slot(w, m));
}

template <class W>
Run page_fault(W& w, PageFault& m) {
  const LockMode mode =
      w.design.fault_lock == FaultLock::kWrite ? LockMode::kWrite : LockMode::kRead;
  MMU_BEGIN(m);
  m.mmio_hit = false;
  if (detail::may_not_prefault(w, m.fault)) {
    m.faultin = detail::kEopnotsupp;
    return Run::kDone;
  }
  m.fault.addr = fault_addr<>(w.design.fault_addr, m.fault.addr, w.vm.gfn_direct_bits);
  if (m.fault.rsvd) {
    if (w.env.mmio_info_cached() &&
        mmio_info_in_cache(w, m.fault.vcpu, m.as_id, m.fault.gfn)) {
      m.ret = RetPf::kEmulate;
      m.pc = 0;
      return Run::kDone;
    }
    m.walk = {};
    m.walk.vcpu = m.fault.vcpu;
    m.walk.gfn = m.fault.gfn;
    MMU_CALL(m, 1, kvm_tdp_mmu_get_walk(w, m.walk));
    // Gone, or mapped, since the CPU looked: the guest tries again.
    if (!(m.walk.leaf > 0 && is_mmio_spte<>(w.fmt, m.walk.sptes[m.walk.leaf])) &&
        !w.env.faultin_follows()) {
      m.ret = RetPf::kRetry;
      m.pc = 0;
      return Run::kDone;
    }
    // check_mmio_spte gives up at once while the generation is being changed.
    if (m.walk.leaf > 0 && is_mmio_spte<>(w.fmt, m.walk.sptes[m.walk.leaf]) &&
        !w.env.generation_in_progress(w.field(CellKind::kMemslotUpdating, m.as_id) != 0)) {
      {
        const uint64_t spte = m.walk.sptes[m.walk.leaf];
        const uint64_t gen_mask = (uint64_t{1} << (w.fmt.mmio_gen_low_bits + 11)) - 1;
        const uint64_t kvm_gen = memslot_generation(w, m.as_id) & gen_mask;
        const uint64_t spte_gen = mmio_spte_generation<>(w.fmt, spte);
        m.mmio_hit = kvm_gen == spte_gen;
        w.emit(ev::Enter{ev::Fn::kCheckMmioSpte, kNoTable,
                         {spte, kvm_gen, spte_gen, m.mmio_hit}});
      }
      MMU_STEP(m, 2);
      if (m.mmio_hit) {
        vcpu_cache_mmio_info(w, m.fault.vcpu, m.as_id, m.fault.gfn);
        MMU_EMIT(m, 3, ev::Enter{ev::Fn::kHandleMmioPageFault, kNoTable, {0, m.fault.gfn}});
        m.ret = RetPf::kEmulate;
        m.pc = 0;
        return Run::kDone;
      }
    }
  }
  do {  // a pre-fault tries again by itself
    MMU_LEFT_IF(m, 14, m.ret == RetPf::kRetry);
    if (m.ret == RetPf::kRetry && detail::spins(w, m)) return Run::kBlocked;
    m.fast = {};
    m.fast.fault = m.fault;
    m.fast.fault.slot = gfn_to_memslot(w, m.as_id, m.fault.gfn);
    m.ret = RetPf::kInvalid;
    if (!w.vm.has_private_mem || m.fault.is_private == mem_is_private(w, m.fault.gfn)) {
      rcu_walk(w, true);
      MMU_CALL(m, 4, fast_page_fault(w, m.fast));
      rcu_walk(w, false);
      m.ret = m.fast.ret;
    }
    if (m.ret != RetPf::kInvalid) break;
    detail::faultin_begin(w, m);
    m.gone_slot = kNoSlot;
    w.env.open_window();
    MMU_STEP(m, 5);
    if (w.env.topup_failed()) break;
    if (detail::seq_is_read_late(w)) m.fault.mmu_seq = w.field(CellKind::kInvalidateSeq);
    if (m.fault.is_private && w.env.gets_gmem_pfn()) {
      MMU_EMIT(m, 6, ev::Enter{ev::Fn::kGmemGetPfn, kNoTable,
                               {gfn_to_memslot(w, m.as_id, m.fault.gfn), m.fault.gfn}});
    }
    {
      Openness open = Openness::kClosed;
      const int32_t result = detail::faultin_result(w, m, &open);
      m.faultin = w.env.faultin_outcome(result, open);
    }
    if (m.fault.slot == kNoSlot && m.faultin >= 0) {
      vcpu_cache_mmio_info(w, m.fault.vcpu, m.as_id, m.fault.gfn);
    }
    m.holds_page = m.fault.slot != kNoSlot &&
                   (m.faultin == static_cast<int32_t>(RetPf::kContinue) ||
                    (m.faultin == static_cast<int32_t>(RetPf::kRetry) && !m.began_open &&
                     !w.design.early_retry_puts && !m.own_invalidation && !m.invalid_slot));
    MMU_EMIT(m, 7, ev::Return{ev::Fn::kFaultin, static_cast<uint64_t>(int64_t{m.faultin})});
    if (m.faultin < 0) break;
    m.ret = static_cast<RetPf>(m.faultin);
    if (m.ret == RetPf::kRetry) {
      if (m.holds_page) w.warn("MMU-FAULT-PAGE");
      continue;
    }
    // It got through although the slot is on its way out: the slot was gone already.
    if (m.fault.slot != kNoSlot && m.invalid_slot &&
        slot_get(w, m.fault.slot, SlotField::kInvalid) != 0) {
      m.gone_slot = m.fault.slot;
      m.fault.slot = kNoSlot;
    }
    if (m.ret != RetPf::kContinue) break;
    // Past the last lockless test. Where the sequence moved since the fault began, the snapshot may
    // be from before or after.
    m.seq_moved = m.fault.mmu_seq != w.field(CellKind::kInvalidateSeq) ||
                  w.env.invalidated_since(m.window) || m.address_unknown;
    m.fault.mmu_seq = w.env.begun_seq(m.fault.mmu_seq, w.field(CellKind::kInvalidateSeq));
    MMU_STEP(m, 12);
    MMU_LOCK(m, 20, mode);
    m.ret = w.env.stale_outcome(is_page_fault_stale(w, m.fault), m.seq_moved) ? RetPf::kRetry
                                                                             : RetPf::kContinue;
    if (m.ret == RetPf::kRetry) mmu_unlock(w, mode);
    MMU_EMIT(m, 8, ev::Return{ev::Fn::kFaultStale, m.ret == RetPf::kRetry});
    if (m.ret == RetPf::kRetry) continue;
    {
      const FaultinPfn found = w.env.faultin_pfn();
      // It was not gone, or had come already: a page of it was found.
      if (m.fault.slot == kNoSlot && found.pfn != kNoslotPfn) {
        m.fault.slot = m.gone_slot != kNoSlot ? m.gone_slot
                                              : gfn_to_memslot(w, m.as_id, m.fault.gfn);
      }
      m.fault.pfn = m.fault.slot == kNoSlot ? kNoslotPfn : found.pfn;
      m.fault.map_writable = m.fault.slot != kNoSlot && found.map_writable;
      m.fault.max_level = found.max_level;
      m.fault.nx_workaround = w.host.nx_huge_pages;
      m.fault.mmio_gen = memslot_generation(w, m.as_id);
    }
    MMU_EMIT(m, 9, tdp_map_entry(m.fault));
    m.map = {};
    m.map.fault = m.fault;
    MMU_CALL(m, 10, kvm_tdp_mmu_map(w, m.map));
    mmu_unlock(w, mode);
    m.ret = m.map.ret;
    MMU_EMIT(m, 11, ev::Return{ev::Fn::kTdpMap, static_cast<uint64_t>(m.ret)});
    m.holds_page = false;
  } while (m.ret == RetPf::kRetry && detail::retries_locally(w, m));
  MMU_END(m);
}

}  // namespace detail

// The caller filled m.fault (vcpu, addr, gfn, error bits, is_private, prefetch) and as_id. All of it
// is one read-side section of kvm->srcu: vcpu_run() leaves it for the guest, the ioctl at its end.
template <class W>
Run kvm_mmu_page_fault(W& w, PageFault& m) {
  if (m.pc == 0) {
    m.ret = RetPf::kInvalid;
    m.srcu = srcu_read_lock(w);
  }
  const Run r = detail::page_fault(w, m);
  if (r == Run::kDone) srcu_read_unlock(w, m.srcu);
  return r;
}

}  // namespace mmucheck::model
