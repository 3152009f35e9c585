// model/tdp: linking a table below an entry, empty or with the pieces of a huge page. Source:
// tdp_mmu.c (tdp_mmu_link_sp, tdp_mmu_split_huge_page).
#pragma once

#include "model/tdp/set_spte.h"

namespace mmucheck::model {

// Gives a fresh table the role and place of the child of `it`'s entry (tdp_mmu_init_child_sp).
template <class W>
void tdp_mmu_init_child_sp(W& w, uint32_t sp, const TdpIter& it) {
  tdp_mmu_init_sp(w, sp, it.table, it.index, it.gfn, role_child(w.role(it.table)));
}

struct LinkSp {
  uint8_t pc = 0;
  bool lost = false;
  SetSpteAtomic atomic = {};
  SetSpte plain = {};
};

// tdp_mmu_link_sp.
template <class W>
Run tdp_mmu_link_sp(W& w, LinkSp& m, TdpIter& it, uint32_t sp, bool shared) {
  const auto value = [&] {
    return make_nonleaf_spte<>(w.fmt, w.field(CellKind::kSpPfn, sp), !w.fmt.ad_enabled);
  };
  MMU_BEGIN(m);
  m.lost = false;
  m.atomic = {};
  m.plain = {};
  if (shared) {
    MMU_CALL(m, 1, tdp_mmu_set_spte_atomic(w, m.atomic, it, value()));
    m.lost = m.atomic.lost;
  } else {
    MMU_CALL(m, 2, tdp_mmu_iter_set_spte(w, m.plain, it, value()));
  }
  if (!m.lost) tdp_account_mmu_page(w, sp);
  MMU_END(m);
}

struct SplitHugePage {
  uint8_t pc = 0;
  bool lost = false;
  uint64_t huge_spte = 0;
  LinkSp link = {};
};

// tdp_mmu_split_huge_page: all children are built before the table becomes reachable.
template <class W>
Run tdp_mmu_split_huge_page(W& w, SplitHugePage& m, TdpIter& it, uint32_t sp, bool shared) {
  MMU_BEGIN(m);
  m.huge_spte = it.old_spte;
  m.link = {};
  for (uint32_t i = 0; i < kSpteEntPerPage; i++) {
    w.store.set(cell::pte(sp, i), make_huge_page_split_spte<>(w.fmt, m.huge_spte, it.level - 1, i,
                                                              w.host.nx_huge_pages));
  }
  MMU_CALL(m, 1, tdp_mmu_link_sp(w, m.link, it, sp, shared));
  m.lost = m.link.lost;
  if (!m.lost) detail::update_page_stats(w, it.level - 1, kSpteEntPerPage);
  MMU_EMIT(m, 2, ev::SplitHugePage{it.gfn, m.huge_spte, it.level, m.lost ? -16 : 0});
  MMU_END(m);
}

}  // namespace mmucheck::model
