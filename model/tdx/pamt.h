// model/tdx: the PAMT: what each physical page is used for, and its locks.
//
// A range has its entry at one size; at the others it is NDA. A page that is named by its address
// is locked on the way down: the 1G entry shared, the 2M entry shared unless the range is used at
// 1G, then the entry itself. A page that an S-EPT entry points to is locked alone. With Dynamic PAMT
// a 2M entry leads to 4K entries only while it has a pair of pages (Pt::kPamt).
// Source: TDX module 1.5, pamt_manager.c (pamt_walk, pamt_implicit_get_and_lock, pamt_promote,
// pamt_demote), helpers.c.
#pragma once

#include "model/tdx/locks.h"
#include "model/tdx/operand_rules.h"

namespace mmucheck::model::tdx {

constexpr Cell pamt_cell(CellKind k, int size, uint64_t page) {
  return cell::of(k, static_cast<uint32_t>(size), page_round(page, size));
}

template <class W>
Pt pamt_type(W& w, int size, uint64_t page) {
  return static_cast<Pt>(w.store.get(pamt_cell(CellKind::kPamtType, size, page)));
}
template <class W>
void set_pamt_type(W& w, int size, uint64_t page, Pt pt) {
  w.store.set(pamt_cell(CellKind::kPamtType, size, page), static_cast<uint64_t>(pt));
}
// A page that is freed keeps its owner and epoch as left-overs.
template <class W>
void pamt_free(W& w, int size, uint64_t page) {
  set_pamt_type(w, size, page, Pt::kNda);
}
namespace detail {
// Of the 4K pages of a page of up to 2M; a gigabyte comes and goes in no call of KVM's.
template <class W>
void note_lines(W& w, int size, uint64_t page, uint64_t owner_plus_1) {
  if (size > k2M) return;
  for (uint64_t i = 0; i < pages_of(size); i++) {
    w.store.set(cell::of(CellKind::kPageUnflushed, 0, page_round(page, size) + i), owner_plus_1);
  }
}
}  // namespace detail

// A page that leaves a TD that has its key: lines of it may be in the caches until they are written
// back (PHYMEM.PAGE.WBINVD), or those of the whole key are.
template <class W>
void pamt_leave(W& w, int size, uint64_t page, uint64_t owner) {
  pamt_free(w, size, page);
  detail::note_lines(w, size, page, owner + 1);
}
template <class W>
void pamt_use(W& w, int size, uint64_t page, Pt pt, uint64_t owner) {
  set_pamt_type(w, size, page, pt);
  w.store.set(pamt_cell(CellKind::kPamtOwner, size, page), owner);
  w.store.set(pamt_cell(CellKind::kPamtBepoch, size, page), 0);
  detail::note_lines(w, size, page, 0);
}
template <class W>
uint64_t pamt_bepoch(W& w, int size, uint64_t page) {
  return w.store.get(pamt_cell(CellKind::kPamtBepoch, size, page));
}

template <class W>
bool lock_pamt(W& w, ModuleCall& c, int size, uint64_t page, LockMode mode) {
  return try_lock(w, c, pamt_cell(CellKind::kPamtLock, size, page), HeldKind::kHostPriority, mode);
}

// Does the walk go below the entry of `page` at `size`?
template <class W>
bool pamt_walk_continues(W& w, int size, uint64_t page) {
  const Pt pt = pamt_type(w, size, page);
  return pt == (size == k2M && w.platform.version.dynamic_pamt ? Pt::kPamt : Pt::kNda);
}

// pamt_walk. `size` is the size that the operand stands for; c.page_size receives the size at
// which the range is really used. An entry for more than 4K is first locked shared, and then made
// exclusive where that is wanted.
template <class W>
Status lock_explicit_page(W& w, ModuleCall& c, uint64_t page, int size, LockMode mode, Operand op) {
  for (int s = k1G;; s--) {
    if (!lock_pamt(w, c, s, page, s == k4K ? mode : LockMode::kShared)) {
      return {StatusCode::kOperandBusy, op};
    }
    c.page_size = s;
    if (s == k4K) return {};
    if (s != size && pamt_walk_continues(w, s, page)) continue;
    if (mode == LockMode::kExclusive && !promote_last(w, c)) return {StatusCode::kOperandBusy, op};
    return {};
  }
}

// The checks of an HPA operand, then its lock.
template <class W>
Status lock_explicit_hpa(W& w, ModuleCall& c, uint64_t hpa, int size, LockMode mode, Operand op) {
  if (!private_hpa_valid<>(hpa, size, w.platform.hkid_mask)) {
    return {StatusCode::kOperandInvalid, op};
  }
  if ((hpa >> 12) + pages_of(size) > w.platform.tdmr_pages) {
    return {StatusCode::kOperandAddrRangeError, op};
  }
  return lock_explicit_page(w, c, hpa >> 12, size, mode, op);
}

// A page that a TD is about to get: unused at its size, and for 2M in each of its 4K entries.
template <class W>
Status lock_new_page(W& w, ModuleCall& c, uint64_t hpa, int size, Operand op) {
  const Status s = lock_explicit_hpa(w, c, hpa, size, LockMode::kExclusive, op);
  if (!s.ok()) return s;
  c.new_page = hpa >> 12;
  c.new_page_was = pamt_type(w, size, c.new_page);
  const Status used{StatusCode::kPageMetadataIncorrect, op};
  if (w.platform.version.dynamic_pamt && size == k4K && c.page_size == k2M &&
      pamt_type(w, k2M, c.new_page) == Pt::kNda) {
    return {StatusCode::kMissingPamtPagePair, op};
  }
  if (c.page_size != size || c.new_page_was != Pt::kNda) return used;
  for (uint64_t i = 0; size == k2M && i < pages_of(k2M); i++) {
    if (pamt_type(w, k4K, c.new_page + i) != Pt::kNda) return used;
  }
  return {};
}

// pamt_promote: 512 small entries become one large; the large one keeps its old epoch.
template <class W>
void pamt_promote(W& w, int size, uint64_t page, uint64_t owner) {
  for (uint64_t i = 0; i < 512; i++) pamt_free(w, size - 1, page + i * pages_of(size - 1));
  set_pamt_type(w, size, page, Pt::kReg);
  w.store.set(pamt_cell(CellKind::kPamtOwner, size, page), owner);
}
template <class W>
void pamt_demote(W& w, int size, uint64_t page, uint64_t owner) {
  pamt_free(w, size, page);
  if (size == k2M && w.platform.version.dynamic_pamt) set_pamt_type(w, size, page, Pt::kPamt);
  for (uint64_t i = 0; i < 512; i++) {
    pamt_use(w, size - 1, page + i * pages_of(size - 1), Pt::kReg, owner);
  }
}

}  // namespace mmucheck::model::tdx
