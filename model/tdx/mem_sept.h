// model/tdx: TDH.MEM.SEPT.ADD, SEPT.REMOVE, SEPT.RD: the S-EPT pages themselves.
// Source: TDX module 1.5, tdh_mem_sept_add.c, tdh_mem_sept_remove.c, tdh_mem_sept_rd.c.
#pragma once

#include "model/tdx/prologue.h"

namespace mmucheck::model::tdx {

// Each leaf has acquire (locks and the checks between them), check (under the locks) and commit.
struct MemSeptAdd {
  static constexpr uint64_t kAllowExisting = 1;

  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    // Every other low bit of RDX is reserved, and thus a misaligned TDR.
    return sept_prologue(w, c, kAllowExisting);
  }

  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const Status s = check_l1_page(w, c);
    if (!s.ok() || c.version == 0) return s;
    // Pages for VMs that are not there.
    const uint64_t l2_pages[] = {c.in.r9, c.in.r10, c.in.r11};
    const Operand operands[] = {Operand::kR9, Operand::kR10, Operand::kR11};
    for (int vm = 0; vm < 3; vm++) {
      if (l2_pages[vm] != kNullPa) return {StatusCode::kOperandInvalid, operands[vm]};
    }
    return s;
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    if (c.value != 0) return {};
    new_sept_page(w, c.new_page, c.gpa, c.pos.level - 1);
    pamt_use(w, k4K, c.new_page, Pt::kEpt, tdr_page(w, c));
    add_chldcnt(w, c, 1);
    commit_entry(w, c, c.new_page << 12);
    if (c.version > 0) c.out.r8 = kNullPa;
    return {};
  }

  // Bit 63 of a page is no part of it; version 1 answers with it where a page was not consumed, and
  // with no page where it was.
  static constexpr uint64_t kUnused = uint64_t{1} << 63;
  static constexpr uint64_t page_of(uint64_t r) { return r == kNullPa ? r : r & ~kUnused; }

 private:
  template <class W>
  static Status check_l1_page(W& w, ModuleCall& c) {
    const Status wrong{StatusCode::kEptEntryStateIncorrect, Operand::kRcx};
    const Status s = check_state(c);
    if (!s.ok()) return s;
    const bool exists = !is_sept_free<>(c.entry);
    c.value = exists;
    if (c.in.r8 == kNullPa) {  // version 1: only pages for L2 VMs
      if (c.version == 0) return {StatusCode::kOperandInvalid, Operand::kR8};
      return exists ? Status{} : with_details(c, c.entry, wrong);
    }
    if (!exists) return lock_new_page(w, c, page_of(c.in.r8), k4K, Operand::kR8);
    if ((c.in.rdx & kAllowExisting) == 0) return with_details(c, c.entry, wrong);
    if (c.version > 0) c.out.r8 |= kUnused;
    return {};
  }
};

struct MemSeptRemove : SeptCall {
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    Status s = check_state(c);
    if (s.ok()) s = lock_entry_page(w, c);
    if (s.ok()) s = check_blocked_and_tracked(w, c);
    if (!s.ok()) return s;
    // Exactly FREE, whatever the locks of the entries; nothing else will do, not even REMOVED.
    const uint32_t table = w.store.find_table(c.page);
    for (uint32_t i = 0; table != kNoTable && i < kSeptEntries; i++) {
      if (!is_sept_free<>(w.store.get(cell::pte(table, i)))) {
        return with_details(c, c.entry, {StatusCode::kEptPageNotFree, Operand::kRcx});
      }
    }
    return {};
  }

  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    commit_entry(w, c);
    free_sept_page(w, c.page);
    pamt_leave(w, k4K, c.page, tdr_page(w, c));
    add_chldcnt(w, c, ~uint64_t{0});
    c.out.rcx = c.page << 12;
    return {};
  }
};

struct MemSeptRd : SeptCall {
  template <class W>
  static Status check(W&, ModuleCall& c) {
    return check_state(c);
  }
  template <class W>
  static Status commit(W&, ModuleCall& c) {
    show_entry(c, c.entry);
    return {};
  }
};

}  // namespace mmucheck::model::tdx
