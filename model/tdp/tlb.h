// model/tdp: translations that vCPUs have cached from direct roots, tagged by the frame of the root
// as hardware tags them (EPTP, nCR3). They are filled by guest accesses, which only hand-written
// traces and scenarios have, and go with KVM's flushes and where a vCPU loads a root.
//
// At most kTlbEntries a vCPU, sorted; a full one forgets its last, as hardware may at any time. A
// cached translation is of one 4K gfn (without direct bits): frame and W. Sources: kvm_main.c
// (kvm_flush_remote_tlbs), mmu.c (kvm_mmu_load: flush_tlb_current).
#pragma once

#include <algorithm>

#include "model/tdp/roots.h"

namespace mmucheck::model {

inline constexpr uint64_t kTlbEntries = 8;

struct CachedTranslation {
  uint64_t gfn = 0;
  uint64_t root_frame = 0;
  uint64_t pfn = 0;
  bool writable = false;
};

namespace detail {

constexpr Cell tlb_cell(uint32_t vcpu, uint64_t entry, uint64_t part) {
  return cell::of(CellKind::kTlb, vcpu, entry * 4 + part);
}

template <class W>
bool tlb_get(const W& w, uint32_t vcpu, uint64_t entry, CachedTranslation* t) {
  const uint64_t gfn = w.store.get(tlb_cell(vcpu, entry, 0));
  if (entry >= kTlbEntries || gfn == 0) return false;
  const uint64_t word = w.store.get(tlb_cell(vcpu, entry, 2));
  *t = {gfn - 1, w.store.get(tlb_cell(vcpu, entry, 1)), word >> 1, (word & 1) != 0};
  return true;
}

template <class StoreT>
void tlb_put(StoreT& store, uint32_t vcpu, uint64_t entry, const CachedTranslation* t) {
  store.set(tlb_cell(vcpu, entry, 0), t == nullptr ? 0 : t->gfn + 1);
  store.set(tlb_cell(vcpu, entry, 1), t == nullptr ? 0 : t->root_frame);
  store.set(tlb_cell(vcpu, entry, 2), t == nullptr ? 0 : t->pfn << 1 | uint64_t{t->writable});
}

// Keeps the entries of a vCPU that `keep` is true of.
template <class W, class KeepF>
void tlb_filter(W& w, uint32_t vcpu, KeepF keep) {
  uint64_t to = 0;
  CachedTranslation t;
  for (uint64_t at = 0; tlb_get(w, vcpu, at, &t); at++) {
    if (!keep(t)) continue;
    if (to != at) tlb_put(w.store, vcpu, to, &t);
    to++;
  }
  for (CachedTranslation gone; tlb_get(w, vcpu, to, &gone); to++) {
    tlb_put(w.store, vcpu, to, nullptr);
  }
}

}  // namespace detail

template <class W, class VisitF>
void for_each_translation(const W& w, VisitF visit) {
  const auto vcpus = static_cast<uint32_t>(w.field(CellKind::kTlbVcpus));
  CachedTranslation t;
  for (uint32_t vcpu = 0; vcpu < vcpus; vcpu++) {
    for (uint64_t at = 0; detail::tlb_get(w, vcpu, at, &t); at++) visit(vcpu, t);
  }
}

// What the vCPU has cached of `gfn` from the root in `root_frame`.
template <class W>
bool tlb_lookup(const W& w, uint32_t vcpu, uint64_t gfn, uint64_t root_frame,
                CachedTranslation* found) {
  for (uint64_t at = 0; detail::tlb_get(w, vcpu, at, found); at++) {
    if (found->gfn == gfn && found->root_frame == root_frame) return true;
  }
  return false;
}

template <class W>
void tlb_fill(W& w, uint32_t vcpu, CachedTranslation t) {
  if (w.field(CellKind::kTlbVcpus) <= vcpu) w.set_field(CellKind::kTlbVcpus, 0, vcpu + 1);
  CachedTranslation there;
  for (uint64_t at = 0; at < kTlbEntries; at++) {
    const bool used = detail::tlb_get(w, vcpu, at, &there);
    if (used && (there.gfn < t.gfn || (there.gfn == t.gfn && there.root_frame < t.root_frame))) {
      continue;
    }
    detail::tlb_put(w.store, vcpu, at, &t);
    if (!used || (there.gfn == t.gfn && there.root_frame == t.root_frame)) return;
    t = there;  // moves one back
  }
}

// Every vCPU forgets [start, end).
template <class W>
void tlb_flush(W& w, uint64_t start, uint64_t end) {
  const auto vcpus = static_cast<uint32_t>(w.field(CellKind::kTlbVcpus));
  for (uint32_t vcpu = 0; vcpu < vcpus; vcpu++) {
    detail::tlb_filter(w, vcpu, [&](const CachedTranslation& t) {
      return t.gfn < start || t.gfn >= end;
    });
  }
}

template <class W>
void tlb_flush_vcpu(W& w, uint32_t vcpu) {
  detail::tlb_filter(w, vcpu, [](const CachedTranslation&) { return false; });
}

// What the tables of `root` say of a 4K gfn: false when no present leaf maps it.
template <class W>
bool translation_of(const W& w, uint32_t root, uint64_t gfn, CachedTranslation* t,
                    int* leaf_level = nullptr) {
  uint32_t table = root;
  const uint64_t indexed = gfn | (w.is_mirror(root) ? 0 : w.vm.gfn_direct_bits);
  while (table != kNoTable && w.store.is_live(table)) {
    const int level = role_level(w.role(table));
    const uint64_t spte = w.store.get(cell::pte(table, spte_index<>(indexed, level)));
    if (!is_shadow_present_pte<>(spte)) return false;
    if (is_last_spte<>(spte, level)) {
      const uint64_t mask = pages_per_hpage(level) - 1;
      *t = {gfn, w.field(CellKind::kSpPfn, root), (spte_to_pfn<>(spte) & ~mask) | (gfn & mask),
            is_writable_pte<>(spte)};
      if (leaf_level != nullptr) *leaf_level = level;
      return true;
    }
    table = w.store.find_table(spte_to_pfn<>(spte));
  }
  return false;
}

// Is the cached page still what the root that it is tagged with maps, if the vCPU may run on that
// root? It may on its current and its previous ones; before it runs on another one it loads that,
// which flushes, and so it does where the root is invalid.
template <class W>
bool translation_justified(const W& w, uint32_t vcpu, const CachedTranslation& cached) {
  constexpr uint64_t kRoots[] = {0, 2, 3, 4};  // mmu->root, prev_roots
  uint32_t root = kNoTable;
  for (const uint64_t i : kRoots) {
    const uint64_t loaded = w.store.get(cell::of(CellKind::kVcpuRoot, vcpu, i));
    if (loaded != 0 &&
        w.field(CellKind::kSpPfn, static_cast<uint32_t>(loaded - 1)) == cached.root_frame) {
      root = static_cast<uint32_t>(loaded - 1);
    }
  }
  if (root == kNoTable || w.root_invalid(root)) return true;
  CachedTranslation now;
  return translation_of(w, root, cached.gfn, &now) && now.pfn == cached.pfn;
}

}  // namespace mmucheck::model
