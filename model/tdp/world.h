// model/tdp: the world that a step machine runs in: the VM's cells, its constants, and the
// environment that answers what no state determines.
//
// Env offers:
//   template <class E> void emit(const E&)   something became visible (model/tdp/events.h)
//   bool pause()                             return to the driver at this step?
//   bool lock_steps()                        is coming to mmu_lock, or leaving it, a step's end?
//   bool lock_free(bool write)               may mmu_lock be taken now? false: the thread waits.
//                                            Where a trace orders the steps it always may
//   void before(Point, table, index)         an atomic action on an entry is about to happen
//   bool hardware_first(table, index, old)   did the CPU change A or D before this exchange?
//   uint64_t refreshed(table, index, value)  what a lost exchange found, with those bits
//   bool need_resched(const TdpIter&)        is a reschedule due, or the lock contended?
//   uint64_t observe(table, index, value)    what a read finds: `value`, or what stood there before
//                                            a store of another thread that was ordered too early
//   uint64_t new_table_frame(ev::TableKind)  frame of a fresh page-table page; kNoFrame: no memory
//   int host_level(slot, gfn)                host_pfn_mapping_level
//   int external_result(...)                 what the external hook answers, where a script says
//   TdxHook& hook()                          the hook that the stepped thread is in
//   tdx::Status injected_status(leaf)        an answer that takes the place of a SEAMCALL's
//   uint64_t external_page(table, page)      frame + 1 of a table's external page; `page` if known
// and for the operations of KVM around the TDP MMU:
//   bool sees_inlined()                      are calls visible that most builds inline?
//   bool nx_goes_on(bool zaps)               does the recovery worker take another page? one that
//                                            it zaps, or that it only takes off the list
//   bool topup_failed(), gets_gmem_pfn(), flush_here(), initially_all_set(), eager_page_split()
//   bool slot_zap_all(bool default_type)     does deleting a slot zap all roots?
//   int32_t faultin_outcome(result, open)    `result`, or another one where `open` allows it
//   bool mmio_info_cached()                  may a vCPU's last MMIO page answer for the tables?
//   bool faultin_follows()                   is it known that the fault goes on to faultin?
//   bool generation_in_progress(open)        where a memslot update overlaps: is an MMIO entry not
//                                            even looked at?
//   bool stale_outcome(result, open)         the same for is_page_fault_stale
//   uint64_t begun_seq(taken, now)           mmu_invalidate_seq of the fault's start: `taken`, or
//                                            `now` where only a window of it is known
//   uint64_t window_start()                  since when a snapshot that is taken now may date
//   bool invalidated_since(start)            did an invalidation end since then?
//   FaultinPfn faultin_pfn()                 pfn, map_writable, max_level
//   int32_t memory_region_result(result)
//   uint32_t vcpu_role(vcpu)                 root role that the vCPU's mode asks for
//   void open_window()                      what others may overlap with begins here: a fault's
//                                            snapshots are taken, a memslot update has begun
//   void vcpus_go()                          the vCPUs of a dying VM give up their roots now
#pragma once

#include <cstdint>

#include "model/address/alias.h"
#include "model/design/design.h"
#include "model/spte/change.h"
#include "model/spte/role.h"
#include "model/spte/spte.h"
#include "model/store/cell.h"
#include "model/tdp/alias.h"
#include "model/tdp/events.h"
#include "model/tdp/tdx_hook.h"

namespace mmucheck::model {

inline constexpr uint64_t kNoFrame = ~uint64_t{0};
inline constexpr uint64_t kVmDeadSeen = 0;  // kVcpuRequest: KVM_REQ_VM_DEAD was consumed

// kTrace: a tracepoint reads the entry again.
enum class Point : uint8_t { kRead, kCas, kXchg, kHook, kUnlocked, kTrace };

enum class LockMode : uint8_t { kNone, kRead, kWrite };

// Constants of one VM while it lives.
struct VmConfig {
  uint64_t gfn_direct_bits = 0;  // kvm->arch.gfn_direct_bits
  bool has_mirror = false;       // kvm_has_mirrored_tdp
  bool has_private_mem = false;  // VM types with memory attributes
  bool default_type = true;      // KVM_X86_DEFAULT_VM
};

template <class StoreT, class EnvT>
struct World {
  StoreT& store;
  EnvT& env;
  const Design& design;
  SpteFormat fmt;
  HostMmu host;
  VmConfig vm;
  // The TDX module's world in which this VM is the only TD; none: hooks answer by script.
  const tdx::Platform* platform = nullptr;

  bool pause() { return env.pause(); }
  template <class E>
  void emit(const E& e) {
    env.emit(e);
  }
  void warn(const char* rule) { env.emit(ev::Warn{rule}); }

  uint64_t field(CellKind kind, uint32_t object = 0) const {
    return store.get(cell::of(kind, object));
  }
  void set_field(CellKind kind, uint32_t object, uint64_t v) {
    store.set(cell::of(kind, object), v);
  }
  uint32_t role(uint32_t table) const {
    return static_cast<uint32_t>(field(CellKind::kSpRole, table));
  }
  bool root_invalid(uint32_t root) const { return role_invalid(design, role(root)); }
  bool is_mirror(uint32_t table) const { return role_mirror(role(table)); }

  // One read of an entry (kvm_tdp_mmu_read_spte).
  uint64_t read_spte(uint32_t table, uint32_t index) {
    env.before(Point::kRead, table, index);
    return env.observe(table, index, store.get(cell::pte(table, index)));
  }
  // The value that a tracepoint prints, read again.
  uint64_t reread_spte(uint32_t table, uint32_t index) {
    env.before(Point::kTrace, table, index);
    return store.get(cell::pte(table, index));
  }
  // spte_to_child_pt: the table that a present non-leaf entry points to.
  uint32_t child_table(uint64_t spte, int level) const {
    if (!is_shadow_present_pte<>(spte) || is_last_spte<>(spte, level)) return kNoTable;
    return store.find_table(spte_to_pfn<>(spte));
  }
  bool locked_for_write() const { return field(CellKind::kLockWriter) != 0; }
  bool locked_for_read() const { return field(CellKind::kLockReaders) != 0; }
};

// KVM_BUG_ON that hit: the VM is dead; only the first time is reported.
template <class W>
void kvm_bug(W& w, const char* rule) {
  if (w.field(CellKind::kVmBugged)) return;
  w.set_field(CellKind::kVmBugged, 0, 1);
  w.warn(rule);
}

// Bits that index a root but are in no gfn (kvm_gfn_root_bits): none in a mirror. It is where
// hardware looks, whatever the design.
template <class W>
uint64_t gfn_root_bits(const W& w, uint32_t root) {
  return gfn_bits_of_root<>(w.vm.gfn_direct_bits, w.is_mirror(root));
}
// The gfn that memslots and attributes know; only iter.gfn of a raw walk is another.
template <class W>
uint64_t gfn_of_slot(const W& w, uint64_t gfn) {
  return gfn & ~w.vm.gfn_direct_bits;
}

// mmu_lock, taken and dropped by the callers of the TDP MMU.
template <class W>
void mmu_lock(W& w, LockMode mode) {
  const bool write = mode == LockMode::kWrite;
  w.store.add(cell::of(write ? CellKind::kLockWriter : CellKind::kLockReaders), 1);
  w.emit(ev::Lock{write});
}
// The same as a step of machine `m`, which waits here while others hold the lock.
#define MMU_LOCK(m, n, mode)                                              \
  do {                                                                    \
    (m).pc = (n);                                                         \
    if (w.env.lock_steps()) return Run::kRan;                             \
    [[fallthrough]];                                                      \
    case (n):                                                             \
      if (!w.env.lock_free((mode) == LockMode::kWrite)) return Run::kBlocked; \
      mmu_lock(w, mode);                                                  \
  } while (0)
// Between an unlock and what follows it without any step of its own.
#define MMU_LEFT(m, n)                        \
  do {                                        \
    (m).pc = (n);                             \
    if (w.env.lock_steps()) return Run::kRan; \
    [[fallthrough]];                          \
    case (n):;                                \
  } while (0)
#define MMU_LEFT_IF(m, n, condition)                           \
  do {                                                         \
    (m).pc = (n);                                              \
    if ((condition) && w.env.lock_steps()) return Run::kRan;   \
    [[fallthrough]];                                           \
    case (n):;                                                 \
  } while (0)
template <class W>
void mmu_unlock(W& w, LockMode mode) {
  const bool write = mode == LockMode::kWrite;
  w.store.add(cell::of(write ? CellKind::kLockWriter : CellKind::kLockReaders), ~uint64_t{0});
  w.emit(ev::Unlock{write});
}
// Locks that exist only where machines are driven step by step: elsewhere the trace orders what
// they order. kvm->slots_lock, taken in a machine's first step.
template <class W>
bool slots_lock_held(const W& w) {
  return w.env.lock_steps() && w.field(CellKind::kSlotsLock) != 0;
}
template <class W>
void set_slots_lock(W& w, bool held) {
  if (w.env.lock_steps()) w.set_field(CellKind::kSlotsLock, 0, held);
}
// filemap_invalidate_lock of a guest_memfd; `file`: its handle + 1.
template <class W>
bool gmem_lock_held(const W& w, uint64_t file) {
  return w.env.lock_steps() && w.store.get(cell::of(CellKind::kGmemLock, 0, file)) != 0;
}
template <class W>
void set_gmem_lock(W& w, uint64_t file, bool held) {
  if (w.env.lock_steps()) w.store.set(cell::of(CellKind::kGmemLock, 0, file), held);
}
// kvm->mn_active_invalidate_count: while a notifier is between invalidate_range_start and _end,
// memslots are not replaced (kvm_swap_active_memslots), so that both halves find the same.
template <class W>
void notifier_begins(W& w) {
  if (w.env.lock_steps()) w.store.add(cell::of(CellKind::kMnActive), 1);
}
template <class W>
void notifier_ends(W& w) {
  const bool open = w.env.lock_steps() && w.field(CellKind::kMnActive) != 0;
  if (open) w.store.add(cell::of(CellKind::kMnActive), ~uint64_t{0});
}
template <class W>
bool notifiers_are_open(const W& w) {
  return w.env.lock_steps() && w.field(CellKind::kMnActive) != 0;
}
// A read-side section of kvm->srcu; `index` is what srcu_read_lock() returned.
template <class W>
uint8_t srcu_read_lock(W& w) {
  if (!w.env.lock_steps()) return 0;
  const auto index = static_cast<uint8_t>(w.field(CellKind::kSrcuIndex));
  w.store.add(cell::of(CellKind::kSrcuReaders, index), 1);
  return index;
}
template <class W>
void srcu_read_unlock(W& w, uint8_t index) {
  if (w.env.lock_steps()) w.store.add(cell::of(CellKind::kSrcuReaders, index), ~uint64_t{0});
}
// synchronize_srcu: sections that began before are waited for.
#define MMU_SYNCHRONIZE_SRCU(m, n)                                                        \
  do {                                                                                    \
    (m).pc = (n);                                                                         \
    if (w.env.lock_steps()) {                                                             \
      w.set_field(CellKind::kSrcuIndex, 0, w.field(CellKind::kSrcuIndex) ^ 1);            \
      return Run::kRan;                                                                   \
    }                                                                                     \
    [[fallthrough]];                                                                      \
    case (n):                                                                             \
      if (w.env.lock_steps() && w.field(CellKind::kSrcuReaders,                           \
                                        w.field(CellKind::kSrcuIndex) == 0 ? 1 : 0) != 0) \
        return Run::kBlocked;                                                             \
  } while (0)
// A read-side section of RCU that holds no mmu_lock: a walk without locks.
template <class W>
void rcu_walk(W& w, bool begins) {
  if (w.env.lock_steps()) {
    w.store.add(cell::of(CellKind::kRcuReaders), begins ? 1 : ~uint64_t{0});
  }
}

// What cond_resched_rwlock_*() does to the lock: dropped and taken again.
template <class W>
void mmu_lock_drop(W& w, bool write, bool drop) {
  w.store.add(cell::of(write ? CellKind::kLockWriter : CellKind::kLockReaders),
              drop ? ~uint64_t{0} : 1);
}

}  // namespace mmucheck::model
