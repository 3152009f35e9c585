// model/tdp: roots: reference counts, the list, lookup and allocation, invalidation. Source:
// tdp_mmu.c (tdp_mmu_next_root, kvm_tdp_mmu_put_root, kvm_tdp_mmu_alloc_root,
// kvm_tdp_mmu_invalidate_roots). List order: newest first.
#pragma once

#include "model/tdp/page_table.h"
#include "model/vm/step.h"

namespace mmucheck::model {

inline constexpr uint8_t kInvalidRoots = 1;  // KVM_INVALID_ROOTS
inline constexpr uint8_t kDirectRoots = 2;
inline constexpr uint8_t kMirrorRoots = 4;
inline constexpr uint8_t kValidRoots = kDirectRoots | kMirrorRoots;
inline constexpr uint8_t kAllRoots = kValidRoots | kInvalidRoots;
inline constexpr int kAnyAsId = -1;

// tdp_mmu_root_match. Kernels without root kinds have direct roots only.
template <class W>
bool tdp_mmu_root_match(W& w, uint32_t root, uint8_t types) {
  if ((types & kValidRoots) == 0) {
    w.warn("MMU-ROOT-TYPES");
    return false;
  }
  if (w.root_invalid(root) && !(types & kInvalidRoots)) return false;
  return w.is_mirror(root) ? types & kMirrorRoots : types & kDirectRoots;
}

// kvm_gfn_range_filter_to_root_types.
template <class W>
uint8_t gfn_range_filter_to_root_types(W& w, uint32_t attr_filter) {
  if (!w.vm.has_mirror) return kDirectRoots;
  uint8_t types = 0;
  if (attr_filter & kFilterPrivate) types |= kMirrorRoots;
  if (attr_filter & kFilterShared) types |= kDirectRoots;
  if (types == 0) w.warn("MMU-ROOT-TYPES");
  return types;
}

template <class W>
uint32_t first_root(const W& w) {
  const uint64_t v = w.field(CellKind::kRootHead);
  return v == 0 ? kNoTable : static_cast<uint32_t>(v - 1);
}
template <class W>
uint32_t list_next_root(const W& w, uint32_t root) {
  const uint64_t v = w.field(CellKind::kRootNext, root);
  return v == 0 ? kNoTable : static_cast<uint32_t>(v - 1);
}

// kvm_tdp_mmu_get_root: refcount_inc_not_zero.
template <class W>
bool get_root(W& w, uint32_t root) {
  if (w.field(CellKind::kRootRefs, root) == 0) return false;
  w.store.add(cell::of(CellKind::kRootRefs, root), 1);
  return true;
}

template <class W>
void put_root(W& w, uint32_t root) {
  w.emit(ev::PutRoot{root, w.field(CellKind::kRootRefs, root)});
  if (w.store.add(cell::of(CellKind::kRootRefs, root), ~uint64_t{0}) != 0) return;
  if (!w.root_invalid(root)) w.warn("MMU-ROOT-LASTREF");
  const uint64_t prev = w.field(CellKind::kRootPrev, root);
  const uint64_t next = w.field(CellKind::kRootNext, root);
  // list_del_rcu: a walker that stands on the root still finds its successor.
  if (prev == 0) {
    w.set_field(CellKind::kRootHead, 0, next);
  } else {
    w.set_field(CellKind::kRootNext, static_cast<uint32_t>(prev - 1), next);
  }
  if (next != 0) w.set_field(CellKind::kRootPrev, static_cast<uint32_t>(next - 1), prev);
  call_rcu_free_sp(w, root);
}

// One walk over the roots; `yield_safe` ones hold a reference on the root they stand on.
struct RootIter {
  uint8_t pc = 0;
  uint8_t types = kDirectRoots;
  bool yield_safe = true;
  int16_t as_id = kAnyAsId;
  uint32_t root = kNoTable;
  uint32_t prev = kNoTable;
  bool started = false;
};

constexpr RootIter root_iter(uint8_t types, int as_id = kAnyAsId, bool yield_safe = true) {
  RootIter it;
  it.types = types;
  it.as_id = static_cast<int16_t>(as_id);
  it.yield_safe = yield_safe;
  return it;
}

// tdp_mmu_next_root until a root of the wanted address space; kNoTable at the end. The next root
// is taken before the previous one is put.
template <class W>
Run next_root(W& w, RootIter& it) {
  MMU_BEGIN(it);
  do {
    it.prev = it.root;
    it.root = it.started ? list_next_root(w, it.prev) : first_root(w);
    it.started = true;
    while (it.root != kNoTable &&
           !(tdp_mmu_root_match(w, it.root, it.types) && (!it.yield_safe || get_root(w, it.root)))) {
      it.root = list_next_root(w, it.root);
    }
    if (it.yield_safe && it.prev != kNoTable) {
      put_root(w, it.prev);
      MMU_STEP(it, 1);
    }
  } while (it.root != kNoTable && it.as_id != kAnyAsId &&
           role_as_id(w.role(it.root)) != static_cast<uint32_t>(it.as_id));
  MMU_END(it);
}

#define MMU_NEXT_ROOT(m, n, iter)        \
  MMU_CALL(m, n, next_root(w, iter));    \
  if ((iter).root == kNoTable) break;

// The second look of kvm_tdp_mmu_alloc_root, with tdp_mmu_pages_lock held: takes a reference.
template <class W>
uint32_t find_valid_root(W& w, uint32_t role) {
  for (uint32_t r = first_root(w); r != kNoTable; r = list_next_root(w, r)) {
    if (w.role(r) == role && get_root(w, r)) return r;
  }
  return kNoTable;
}

struct AllocRoot {
  uint8_t pc = 0;
  uint16_t vcpu = 0;
  bool mirror = false;
  bool failed = false;
  uint32_t role = 0;
  uint32_t root = kNoTable;  // result
  RootIter roots = {};
};

// kvm_tdp_mmu_alloc_root with mmu_lock held for read; the caller takes and drops the lock.
template <class W>
Run kvm_tdp_mmu_alloc_root(W& w, AllocRoot& m) {
  MMU_BEGIN(m);
  m.root = kNoTable;
  if (m.mirror) m.role |= kRoleMirror;
  {
    uint8_t types = kDirectRoots;
    if (w.design.alloc_root_visits == AllocRootVisits::kAllValid) types = kValidRoots;
    m.roots = root_iter(types, static_cast<int>(role_as_id(m.role)));
  }
  while (true) {
    MMU_NEXT_ROOT(m, 1, m.roots);
    if (w.role(m.roots.root) == m.role) {
      m.root = m.roots.root;  // keeps the reference of the walk
      break;
    }
  }
  if (m.root == kNoTable) m.root = find_valid_root(w, m.role);
  if (m.root == kNoTable) {
    m.root = tdp_mmu_alloc_sp(w, ev::TableKind::kVcpuCache);
    m.failed = m.root == kNoTable;
    if (!m.failed) {
      tdp_mmu_init_sp(w, m.root, kNoTable, 0, 0, m.role);
      MMU_STEP(m, 2);
      // The list follows the tracepoint at once, under tdp_mmu_pages_lock: one step.
      w.emit(ev::GetPage{m.root, 0, m.role});
      w.set_field(CellKind::kRootRefs, m.root, 2);
      w.set_field(CellKind::kSpState, m.root, static_cast<uint64_t>(SpState::kLinked));
      {
        const uint64_t head = w.field(CellKind::kRootHead);
        w.set_field(CellKind::kRootNext, m.root, head);
        w.set_field(CellKind::kRootPrev, m.root, 0);
        if (head != 0) w.set_field(CellKind::kRootPrev, static_cast<uint32_t>(head - 1), m.root + 1);
        w.set_field(CellKind::kRootHead, 0, m.root + 1);
      }
      MMU_STEP(m, 3);
    }
  }
  w.store.set(cell::of(CellKind::kVcpuRoot, m.vcpu, m.mirror ? 1 : 0),
              m.failed ? 0 : uint64_t{m.root} + 1);
  MMU_END(m);
}

// kvm_tdp_mmu_invalidate_roots (6.12: kvm_tdp_mmu_invalidate_all_roots).
template <class W>
void invalidate_roots(W& w, uint8_t types) {
  if (types & kInvalidRoots) w.warn("MMU-ROOT-TYPES");
  for (uint32_t r = first_root(w); r != kNoTable; r = list_next_root(w, r)) {
    if (!tdp_mmu_root_match(w, r, types)) continue;
    w.set_field(CellKind::kRootScheduled, r, 1);
    w.set_field(CellKind::kSpRole, r, w.role(r) | role_invalid_mask(w.design));
  }
}

// The root that a vCPU has loaded, kNoTable without one.
template <class W>
uint32_t vcpu_root(const W& w, uint32_t vcpu, bool mirror) {
  const uint64_t v = w.store.get(cell::of(CellKind::kVcpuRoot, vcpu, mirror ? 1 : 0));
  return v == 0 ? kNoTable : static_cast<uint32_t>(v - 1);
}

}  // namespace mmucheck::model
