// model/tdp: loading and freeing a vCPU's roots, and the end of a VM. Source: mmu.c (kvm_mmu_load,
// mmu_alloc_direct_roots, kvm_mmu_free_roots, kvm_mmu_destroy, kvm_zap_gfn_range,
// kvm_mmu_zap_all), kvm_main.c (kvm_destroy_vm), tdp_mmu.c (kvm_mmu_uninit_tdp_mmu).
#pragma once

#include "model/tdp/kvm_memslot.h"
#include "model/tdp/kvm_tdx.h"
#include "model/tdp/tlb.h"

namespace mmucheck::model {

inline constexpr uint32_t kPrevRoots = 3;            // KVM_MMU_NUM_PREV_ROOTS
inline constexpr uint64_t kFirstPrevRoot = 2;        // index of prev_roots[0] in kVcpuRoot

template <class W>
uint64_t vcpu_root_slot(const W& w, uint32_t vcpu, uint64_t index) {
  return w.store.get(cell::of(CellKind::kVcpuRoot, vcpu, index));
}

struct MmuLoad {
  uint8_t pc = 0;
  uint16_t vcpu = 0;
  bool mirror = false;
  AllocRoot alloc = {};
};

// kvm_mmu_load: a root of the role that the vCPU has now (an input), the mirror root first.
template <class W>
Run kvm_mmu_load(W& w, MmuLoad& m) {
  MMU_BEGIN(m);
  for (m.mirror = w.vm.has_mirror && vcpu_root(w, m.vcpu, true) == kNoTable;; m.mirror = false) {
    m.alloc = {};
    m.alloc.vcpu = m.vcpu;
    m.alloc.mirror = m.mirror;
    m.alloc.role = w.env.vcpu_role(m.vcpu);
    MMU_EMIT(m, 1, ev::Enter{ev::Fn::kAllocRoot, kNoTable, {m.vcpu, m.alloc.role, m.mirror}});
    MMU_LOCK(m, 20, LockMode::kRead);
    MMU_CALL(m, 2, kvm_tdp_mmu_alloc_root(w, m.alloc));
    // flush_tlb_current() follows before the vCPU runs on the root.
    if (w.design.root_load_flush == RootLoadFlush::kAll) tlb_flush_vcpu(w, m.vcpu);
    mmu_unlock(w, LockMode::kRead);
    MMU_EMIT(m, 3, ev::Return{ev::Fn::kAllocRoot, 0});
    if (!m.mirror) break;
  }
  MMU_END(m);
}

// kvm_mmu_reload: does a vCPU that is about to use its root load another one first? A vCPU that runs
// was kicked out to drop what is obsolete; one whose ioctl makes faults for it was not.
template <class W>
bool reload_loads(const W& w, uint32_t vcpu) {
  const uint32_t root = vcpu_root(w, vcpu, false);
  return root == kNoTable || (w.design.reload_frees_obsolete && is_obsolete_root(w, root));
}

// A pre-fault on an obsolete root retries in its ioctl, which is where nobody gives the vCPU another
// one (kvm_tdp_map_page).
template <class W>
bool retries_for_ever(const W& w, const Fault& f) {
  return f.prefetch && w.design.stale_tests_root && is_obsolete_root(w, vcpu_root(w, f.vcpu, false));
}

struct FreeRoots {
  uint8_t pc = 0;
  uint16_t vcpu = 0;
  uint8_t index = 0;
  uint64_t roots_to_free = 0;  // bit 0: the current root, bit 1 + i: prev_roots[i]
  uint64_t root = 0;           // table + 1
};

// kvm_mmu_free_roots: the cached previous roots first. The mirror root is never dropped here.
template <class W>
Run kvm_mmu_free_roots(W& w, FreeRoots& m) {
  MMU_BEGIN(m);
  MMU_LOCK(m, 21, LockMode::kRead);
  for (m.index = 0; m.index <= kPrevRoots; m.index++) {
    if (m.index < kPrevRoots ? !(m.roots_to_free >> (1 + m.index) & 1) : !(m.roots_to_free & 1)) {
      continue;
    }
    {
      const uint64_t slot = m.index < kPrevRoots ? kFirstPrevRoot + m.index : 0;
      m.root = vcpu_root_slot(w, m.vcpu, slot);
      if (m.root == 0) continue;
      w.store.set(cell::of(CellKind::kVcpuRoot, m.vcpu, slot), 0);
    }
    put_root(w, static_cast<uint32_t>(m.root - 1));
    MMU_STEP(m, 1);
  }
  mmu_unlock(w, LockMode::kRead);
  MMU_END(m);
}

// A vCPU switches to another paging mode and keeps the old root cached (fast_pgd_switch).
template <class W>
void cache_current_root(W& w, uint32_t vcpu) {
  const uint64_t current = vcpu_root_slot(w, vcpu, 0);
  if (current == 0) return;
  for (uint64_t i = kFirstPrevRoot + kPrevRoots - 1; i > kFirstPrevRoot; i--) {
    w.store.set(cell::of(CellKind::kVcpuRoot, vcpu, i), vcpu_root_slot(w, vcpu, i - 1));
  }
  w.store.set(cell::of(CellKind::kVcpuRoot, vcpu, kFirstPrevRoot), current);
  w.store.set(cell::of(CellKind::kVcpuRoot, vcpu, 0), 0);
}

// The vCPU runs on `root` again, which it had cached; false when it had not.
template <class W>
bool switch_to_cached_root(W& w, uint32_t vcpu, uint32_t root) {
  for (uint64_t i = kFirstPrevRoot; i < kFirstPrevRoot + kPrevRoots; i++) {
    if (vcpu_root_slot(w, vcpu, i) != uint64_t{root} + 1) continue;
    const uint64_t current = vcpu_root_slot(w, vcpu, 0);
    w.store.set(cell::of(CellKind::kVcpuRoot, vcpu, 0), uint64_t{root} + 1);
    // cached_root_find_and_keep_current: the entries before it move one back.
    for (uint64_t k = i; k > kFirstPrevRoot; k--) {
      w.store.set(cell::of(CellKind::kVcpuRoot, vcpu, k), vcpu_root_slot(w, vcpu, k - 1));
    }
    w.store.set(cell::of(CellKind::kVcpuRoot, vcpu, kFirstPrevRoot), current);
    return true;
  }
  return false;
}

// The vCPU's mode is now `role`'s: if it runs on a root of another role, a cached one takes over.
template <class W>
void load_root_of_role(W& w, uint32_t vcpu, uint32_t role) {
  const uint32_t valid = ~role_invalid_mask(w.design);
  const uint32_t current = vcpu_root(w, vcpu, false);
  if (current == kNoTable || (w.role(current) & valid) == (role & valid)) return;
  for (uint64_t i = kFirstPrevRoot; i < kFirstPrevRoot + kPrevRoots; i++) {
    const uint64_t cached = vcpu_root_slot(w, vcpu, i);
    if (cached == 0 || (w.role(static_cast<uint32_t>(cached - 1)) & valid) != (role & valid)) {
      continue;
    }
    switch_to_cached_root(w, vcpu, static_cast<uint32_t>(cached - 1));
    return;
  }
}

struct MmuDestroy {
  uint8_t pc = 0;
  uint16_t vcpu = 0;
};

// kvm_mmu_destroy: where a vCPU's reference to the mirror root goes.
template <class W>
Run kvm_mmu_destroy(W& w, MmuDestroy& m) {
  MMU_BEGIN(m);
  if (vcpu_root(w, m.vcpu, true) != kNoTable) {
    put_root(w, vcpu_root(w, m.vcpu, true));
    w.store.set(cell::of(CellKind::kVcpuRoot, m.vcpu, 1), 0);
    MMU_STEP(m, 1);
  }
  MMU_END(m);
}

struct ZapGfnRange {
  uint8_t pc = 0;
  uint64_t start = 0;
  uint64_t end = 0;
  ZapRange zap = {};
};

// kvm_zap_gfn_range: memory types or APIC access changed.
template <class W>
Run kvm_zap_gfn_range(W& w, ZapGfnRange& m) {
  MMU_BEGIN(m);
  if (m.end <= m.start) return Run::kDone;  // the kernel warns
  MMU_LOCK(m, 22, LockMode::kWrite);
  invalidate_begin(w);
  MMU_STEP(m, 1);
  invalidate_range_add(w, m.start, m.end);
  MMU_STEP(m, 2);
  MMU_EMIT(m, 3, ev::Enter{ev::Fn::kZapLeafs, kNoTable, {m.start, m.end, 0}});
  m.zap = kvm_tdp_mmu_zap_leafs(m.start, m.end, false);
  MMU_CALL(m, 4, zap_leafs_of_roots(w, m.zap));
  if (m.zap.flush) {
    MMU_EMIT(m, 5, ev::Flush{ev::FlushKind::kRange, m.start, m.end - m.start});
  }
  invalidate_end(w);
  MMU_STEP(m, 6);
  invalidate_end_seen(w);
  mmu_unlock(w, LockMode::kWrite);
  MMU_END(m);
}

struct FlushShadowAll {
  uint8_t pc = 0;
  ZapAll zap = {};
};

// kvm_mmu_notifier_release -> kvm_mmu_zap_all: the mm goes away, or the VM.
template <class W>
Run kvm_flush_shadow_all(W& w, FlushShadowAll& m) {
  MMU_BEGIN(m);
  w.set_field(CellKind::kMmReleased, 0, 1);
  MMU_LOCK(m, 23, LockMode::kWrite);
  m.zap = {};
  MMU_CALL(m, 1, kvm_tdp_mmu_zap_all(w, m.zap));
  mmu_unlock(w, LockMode::kWrite);
  MMU_END(m);
}

struct DestroyVm {
  uint8_t pc = 0;
  ReleaseHkid release = {};
  FlushShadowAll flush = {};
  ZapInvalidatedRoots zap = {};
};

// kvm_destroy_vm: vCPUs give up their roots (operations of their own) between the two halves.
template <class W>
Run kvm_destroy_vm(W& w, DestroyVm& m) {
  const bool shared = w.design.vm_destroy == VmDestroyZap::kSharedSilentInvalidate;
  MMU_BEGIN(m);
  // kvm_arch_pre_destroy_vm
  MMU_EMIT(m, 9, ev::Enter{ev::Fn::kReleaseHkid, kNoTable, {}});
  if (w.platform != nullptr) {
    m.release = {};
    MMU_CALL(m, 7, tdx_mmu_release_hkid(w, m.release));
  }
  if (w.field(CellKind::kMmReleased) == 0) {
    m.flush = {};
    MMU_CALL(m, 1, kvm_flush_shadow_all(w, m.flush));
  }
  w.env.vcpus_go();
  MMU_STEP(m, 2);
  // kvm_mmu_uninit_tdp_mmu
  if (!shared || w.env.sees_inlined()) {
    w.emit(ev::Enter{ev::Fn::kInvalidateRoots, kNoTable,
                     {w.design.root_types ? kValidRoots : kDirectRoots}});
  }
  invalidate_roots(w, w.design.root_types ? kValidRoots : kDirectRoots);
  MMU_STEP(m, 3);
  MMU_EMIT(m, 4, ev::Enter{ev::Fn::kZapInvalidatedRoots, kNoTable, {shared}});
  MMU_LOCK(m, 24, shared ? LockMode::kRead : LockMode::kWrite);
  m.zap = {};
  m.zap.shared = shared;
  MMU_CALL(m, 5, kvm_tdp_mmu_zap_invalidated_roots(w, m.zap));
  mmu_unlock(w, shared ? LockMode::kRead : LockMode::kWrite);
  if (first_root(w) != kNoTable) w.warn("MMU-ROOT-LEAK");
  MMU_EMIT(m, 6, ev::Return{ev::Fn::kZapInvalidatedRoots, 0});
  if (w.platform != nullptr) MMU_EMIT(m, 8, td_destroy(w));
  MMU_END(m);
}

}  // namespace mmucheck::model
