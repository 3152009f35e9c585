// model/tdp: what seed 004 proposes to do from the RCU callback of a removed table: a worker removes
// all that is below the entry that was blocked in the S-EPT, children first, then the entry itself.
//
// The proposal's own calls: PAGE.REMOVE and SEPT.REMOVE of entries that were not blocked one by one.
// The caller holds mmu_lock for read. Source: seed 004 (January 2023).
#pragma once

#include "model/tdp/tdx.h"

namespace mmucheck::model {

struct ReapSpt {
  uint8_t pc = 0;
  int8_t depth = -1;
  bool failed = false;     // the VM is dead; what is left stays with the module
  uint32_t path[5] = {};   // the removed table, and those below it on the way down
  uint16_t next[5] = {};   // entry of each that is processed next
  uint64_t spte = 0;
  NoVcpus call = {};
};

namespace detail {

template <class W>
void reaped_entry(W& w, ReapSpt& m) {
  const uint32_t table = m.path[m.depth], index = m.next[m.depth]++;
  w.store.set(cell::pte(table, index), w.fmt.frozen);
  w.emit(ev::Store{table, index, m.spte, w.fmt.frozen, ev::How::kSet});
}

// The SEAMCALL that takes away the entry of `level` for `gfn`.
template <class W>
Run remove_for_reap(W& w, ReapSpt& m) {
  if (w.platform == nullptr) return Run::kDone;
  return tdh_do_no_vcpus(w, m.call);
}

}  // namespace detail

// Reaps the table that was removed last, if there is one.
template <class W>
Run reap_removed_spt(W& w, ReapSpt& m) {
  const auto table = [&] { return m.path[m.depth]; };
  const auto call = [&](tdx::Leaf leaf, uint64_t gfn, int level) {
    m.call = {};
    if (w.platform != nullptr) m.call = {0, tdh(w, leaf, gfn, level, 0)};
  };
  MMU_BEGIN(m);
  m.depth = -1;
  m.failed = false;
  if (w.field(CellKind::kReapHead) == 0) return Run::kDone;
  m.depth = 0;
  m.path[0] = static_cast<uint32_t>(w.field(CellKind::kReapHead) - 1);
  m.next[0] = 0;
  w.set_field(CellKind::kReapHead, 0, w.field(CellKind::kRcuNext, m.path[0]));
  if (w.platform != nullptr && !is_hkid_assigned(w)) {
    kvm_bug(w, "TDX-BUG-HKID");
    return Run::kDone;
  }
  while (m.depth >= 0 && !m.failed) {
    if (m.next[m.depth] < kSpteEntPerPage) {
      m.spte = w.read_spte(table(), m.next[m.depth]);
      if (!is_shadow_present_pte<>(m.spte)) {
        m.next[m.depth]++;
        continue;
      }
      if (!is_last_spte<>(m.spte, role_level(w.role(table())))) {
        m.path[m.depth + 1] = w.store.find_table(spte_to_pfn<>(m.spte));
        m.next[++m.depth] = 0;
        continue;
      }
      call(tdx::Leaf::kMemPageRemove,
           w.field(CellKind::kSpGfn, table()) +
               m.next[m.depth] * pages_per_hpage(role_level(w.role(table()))),
           role_level(w.role(table())));
      MMU_CALL(m, 1, detail::remove_for_reap(w, m));
      m.failed = tdx_bug_on(w, m.call.call);
      if (!m.failed) detail::reaped_entry(w, m);
      continue;
    }
    call(tdx::Leaf::kMemSeptRemove, w.field(CellKind::kSpGfn, table()),
         role_level(w.role(table())) + 1);
    MMU_CALL(m, 2, detail::remove_for_reap(w, m));
    m.failed = tdx_bug_on(w, m.call.call);
    if (m.failed) continue;
    free_external_page(w, table());
    w.emit(ev::Freed{table()});
    w.store.free_table(table());
    m.depth--;
    if (m.depth >= 0) {
      m.spte = w.read_spte(table(), m.next[m.depth]);
      detail::reaped_entry(w, m);
    }
  }
  MMU_END(m);
}

}  // namespace mmucheck::model
