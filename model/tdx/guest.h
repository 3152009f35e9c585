// model/tdx: what the guest does: TDG.MEM.PAGE.ACCEPT, ATTR.RD, ATTR.WR, and a plain access.
//
// Guest calls take no lock but that of the entry, and in its guest flavour. They first walk without
// any lock, then lock the entry and read it again: two steps, between which a host call may commit.
// ACCEPT judges "is there a leaf" by the first reading and the rest by the second, so that with an
// AUG in between it can answer PAGE_SIZE_MISMATCH for a page of the right size.
// Source: TDX module 1.5, tdg_mem_page_accept.c, tdg_mem_page_attr_rd.c, tdg_mem_page_attr_wr.c,
// td_ept_violation.c.
#pragma once

#include "model/tdx/vp.h"

namespace mmucheck::model::tdx {

namespace detail {

enum class ExitType : uint64_t { kNone = 0, kAccept = 1, kAttrWr = 5, kPending = 6 };

template <class W>
void enter_guest_call(W& w, ModuleCall& c) {
  c.td = w.platform.vcpus[c.vcpu].td;
}

// EPT violation that tells what was asked for and where it failed.
inline Status exit_with_details(ModuleCall& c, ExitType type, uint64_t entry) {
  ExitInfo& x = c.exit;
  x.gpa = c.gpa;
  x.qualification = 2 | (entry & kSeptRwx) << 3;
  x.req_level = static_cast<uint8_t>(c.value);
  x.err_level = static_cast<uint8_t>(c.pos.level);
  x.err_state = static_cast<uint8_t>(sept_arch_state<>(sept_state<>(entry)));
  const uint64_t info = static_cast<uint64_t>(x.req_level) |
                        static_cast<uint64_t>(x.err_level) << 3 |
                        static_cast<uint64_t>(x.err_state) << 6 |
                        static_cast<uint64_t>(is_sept_leaf<>(entry)) << 14;
  x.extended = static_cast<uint64_t>(type) | info << 32;
  return kTdExit;
}

template <class W>
Status lock_entry_guest(W& w, ModuleCall& c) {
  const uint64_t e = w.store.get(c.pos.cell());
  const Attempt<> a = entry_lock_guest<>(e);
  if (!a.taken) {
    return {(e & kSeptTdel) != 0 ? StatusCode::kOperandBusy : StatusCode::kOperandBusyHostPriority,
            Operand::kRcx};
  }
  w.store.set(c.pos.cell(), a.word);
  note_held(c, c.pos.cell(), HeldKind::kEntry, true);
  c.entry = a.word;
  return {};
}

}  // namespace detail

struct PageAccept {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    detail::enter_guest_call(w, c);
    const Status s = check_page_info(w, c);
    if (!s.ok()) return s;
    c.pos = sept_walk(w, c.td, c.gpa, c.value);
    if (c.pos.level == c.value) return {};
    if (sept_state_is_guest_accessible_leaf<>(c.pos.entry)) {
      return {StatusCode::kPageAlreadyAccepted, c.pos.level};
    }
    return detail::exit_with_details(c, detail::ExitType::kAccept, c.pos.entry);
  }

  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const Status s = detail::lock_entry_guest(w, c);
    if (!s.ok()) return s;
    if (!is_sept_leaf<>(c.pos.entry) && !is_sept_free<>(c.entry)) {
      return {StatusCode::kPageSizeMismatch, c.value};
    }
    if (sept_state_is_guest_accessible_leaf<>(c.entry)) {
      return {StatusCode::kPageAlreadyAccepted, c.value};
    }
    if (!sept_state_allows<>(c.leaf, c.entry)) {
      return detail::exit_with_details(c, detail::ExitType::kAccept, c.entry);
    }
    return {};
  }

  // A large page is zeroed in 512 chunks with a look for interrupts after each; the entry keeps how
  // far it came, still PENDING, and the guest runs the call again.
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    const uint64_t hpa = c.entry & sept_hpa_mask(c.pos.level);
    if (c.pos.level == 1) {
      const uint64_t done = (c.entry & kAcceptCounterMask) >> kAcceptCounterShift;
      if (c.intr_after != 0 && done + c.intr_after < kAcceptChunks) {
        const uint64_t chunks = done + c.intr_after;
        w.store.set(c.pos.cell(), make_sept_entry<>(sept_state<>(c.entry),
                                                    hpa | chunks << kAcceptCounterShift));
        return Status(StatusCode::kTdcallInterrupted);
      }
    }
    commit_entry(w, c);
    return {};
  }
};

namespace detail {

// GPA, level and attributes of a page as the guest sees them; L2 VMs have none.
inline void show_attributes(ModuleCall& c) {
  constexpr uint64_t pending = uint64_t{1} << 62;
  c.out.rcx = (c.gpa & sept_hpa_mask(c.pos.level)) | static_cast<uint64_t>(c.pos.level) |
              (is_pending<>(c.entry) ? pending : 0);
  c.out.rdx = 0;
}

}  // namespace detail

struct PageAttrRd {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    detail::enter_guest_call(w, c);
    // No level and no reserved bits: the offset in the page is not looked at.
    if (!gpa_is_private<>(c.in.rcx, td_config(w, c).gpaw)) {
      return {StatusCode::kOperandInvalid, Operand::kRcx};
    }
    c.gpa = c.in.rcx;
    // To wherever the walk ends: that entry is locked before anybody asks what it is.
    c.pos = sept_walk(w, c.td, c.gpa, 0);
    return {};
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const Status s = detail::lock_entry_guest(w, c);
    if (!s.ok()) return s;
    return sept_state_allows<>(c.leaf, c.entry) ? Status{} : leave(c);
  }
  template <class W>
  static Status commit(W&, ModuleCall& c) {
    detail::show_attributes(c);
    return {};
  }

 private:
  static Status leave(ModuleCall& c) {
    c.exit.gpa = c.gpa & kSeptHpa;
    return kTdExit;
  }
};

struct PageAttrWr {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    detail::enter_guest_call(w, c);
    // 16 bits a VM: of VM 0 and of VMs that are not there they are zero.
    for (int vm = 0; vm < 4; vm++) {
      const uint64_t bits = uint64_t{0xffff} << (16 * vm);
      if ((c.in.rdx & bits) != 0) return {StatusCode::kOperandInvalid, Operand::kRdx};
      if ((c.in.r8 & bits) != 0) return {StatusCode::kOperandInvalid, Operand::kR8};
    }
    const Status s = check_page_info(w, c);
    if (!s.ok()) return s;
    c.pos = sept_walk(w, c.td, c.gpa, c.value);
    if (c.pos.level == c.value) return {};
    return detail::exit_with_details(c, detail::ExitType::kAttrWr, c.pos.entry);
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const Status s = detail::lock_entry_guest(w, c);
    if (!s.ok()) return s;
    if (!is_sept_leaf<>(c.entry) && !is_sept_free<>(c.entry)) {
      return {StatusCode::kPageSizeMismatch, c.value};
    }
    if (!sept_state_allows<>(c.leaf, c.entry)) {
      return detail::exit_with_details(c, detail::ExitType::kAttrWr, c.entry);
    }
    return {};
  }
  template <class W>
  static Status commit(W&, ModuleCall& c) {
    detail::show_attributes(c);
    return {};
  }
};

// An access of the vCPU to c.in.rcx, through what its CPU has cached of a followed page, else by a
// walk of the hardware, which fills the cache.
struct GuestAccess {
  template <class W>
  static Status acquire(W& w, ModuleCall& c) {
    detail::enter_guest_call(w, c);
    c.gpa = c.in.rcx;
    const uint64_t cached =
        is_followed(w, c.gpa) ? w.store.get(translation_cell(c.lp, c.td, c.gpa)) : 0;
    c.pos = sept_walk(w, c.td, c.gpa, 0);
    if (cached != 0) c.pos.entry = cached;
    return {};
  }
  template <class W>
  static Status check(W& w, ModuleCall& c) {
    const uint64_t e = c.pos.entry;
    switch (hardware_view(e, c.access_write)) {
      case HardwareView::kAllowed: return {};
      case HardwareView::kPendingVe:
        if (!td_config(w, c).sept_ve_disable) return Status(StatusCode::kVe);
        c.exit.extended = static_cast<uint64_t>(detail::ExitType::kPending);
        break;
      case HardwareView::kViolation: break;
    }
    c.exit.gpa = c.gpa & kSeptHpa;
    c.exit.qualification = c.access_write ? 2 : c.access_exec ? 4 : 1;
    return kTdExit;
  }
  template <class W>
  static Status commit(W& w, ModuleCall& c) {
    const uint64_t span = sept_span(c.pos.level);
    const uint64_t base = c.pos.entry & sept_hpa_mask(c.pos.level);
    c.accessed_page = (base | (c.gpa & (span - 1))) >> 12;
    if (is_followed(w, c.gpa)) {  // as a 4K translation, whatever the size of the leaf
      const uint64_t flags = c.pos.entry & ~kSeptHpa;
      w.store.set(translation_cell(c.lp, c.td, c.gpa), flags | c.accessed_page << 12);
    }
    return Status(StatusCode::kAccessOk);
  }

 private:
  template <class W>
  static bool is_followed(W& w, uint64_t gpa) {
    for (const uint64_t page : w.platform.followed) {
      if (page == (gpa & kSeptHpa)) return true;
    }
    return false;
  }
};

}  // namespace mmucheck::model::tdx
