// tools/import/ftrace: what a thread is in the middle of, told from its own events alone.
//
// Contract: a lexical automaton, one state a thread; it knows which function is called by which
// (kvm_main.c, mmu.c, x86.c of 6.12 and 7.2) and nothing of page tables. It answers two things:
//  - the class of an event. A function that KVM calls on behalf of an operation that the thread is
//    seen to be in is an observation; the same function out of the blue is a stimulus, as then the
//    operation itself was not recorded. Kinds that are not listed keep the class of the event
//    table.
//  - whether a page fault is being handled, and which.
// Events in interrupt context (RCU callbacks) do not take part.
#pragma once

#include <array>
#include <cstdint>

#include "checker/trace/event.h"

namespace mmucheck::import {

enum class Operation : uint8_t {
  kNone,
  kSetMemslot,     // until set_memslot_ret
  kSetAttributes,  // until set_mem_attr_ret
  kNotifier,       // until mn_inv_end; then what was before
  kPunchHole,
  kGmemRelease,
  kGmemInvalidate,
  kZapGfnRange,
  kZapAllFast,
  kDestroyVm,
  kAge,
  kDirtyChunk,  // CLEAR_DIRTY_LOG or GET_DIRTY_LOG of up to 64 pages, until clear_dirty_pt
  kNxRecovery,
  kMmuLoad,
  kInvalidation,
  kRangeUnmap,
};

enum class FaultKind : uint8_t {
  kNone,
  kExit,        // kvm_page_fault
  kSoft,        // soft_exit .. soft_exit_ret
  kPrefault,    // KVM_PRE_FAULT_MEMORY: has no event of its own
  kPrivatePfn,  // kvm_tdp_mmu_map_private_pfn
};

struct ThreadContext {
  Operation operation = Operation::kNone;
  Operation outer = Operation::kNone;  // interrupted by a notifier
  bool notifier_ending = false;        // mn_inv_end was seen; its inv_end follows
  uint32_t operation_vm = 0;
  bool nx_by_inference = false;  // the recovery worker's start was not recorded
  bool collapsing = false;       // 6.12: inside zap_collapsible
  bool recovering = false;       // 7.2: inside recover_huge
  bool zap_seen = false;         // set_memslot: which zap it uses has been told
  bool yield_told = false;       // yield_here was placed before the flush that belongs to the yield
  bool after_dirty_chunk = false;  // clear_dirty_pt was the last function called
  bool after_commit = false;       // the last event was commit_memslot
  bool unloaded = false;           // the last event was free_roots without a root
  bool in_external_hook = false;   // between mock_set_external and its return
  uint64_t mflags = 0;             // of the set_memslot in progress
  int64_t change = 0;              // of the last commit_memslot

  FaultKind fault = FaultKind::kNone;
  bool rsvd = false;     // of the fault's error code
  bool mapping = false;  // between tdp_map and tdp_map_ret
  uint32_t walks = 0;    // iter_start of the current fast page fault, nothing else between
  uint64_t fault_gfn = 0;
  bool walking = false;       // the last event was iter_restart
  bool address_told = false;  // of a prefault

  // The last values written or about to be, to tell what is new in a later one.
  uint64_t test_start = 0, test_end = 0;  // of the last test_age_range
  bool cmpxchg_valid = false;
  uint64_t cmpxchg_old = 0;
  bool written_valid = false;
  uint64_t written_gfn = 0, written_level = 0, written_new = 0;

  // changed_spte probes whose tracepoint has not come yet: 7.2 prints a removed table's children
  // in between, so they nest.
  struct Change {
    uint64_t gfn = 0, level = 0, old_spte = 0, new_spte = 0;
  };
  std::array<Change, 8> open_changes;
  uint32_t open_change_count = 0;
};

// The class of `event`, after which the context is that behind the event's beginning.
trace::PacketClass classify(const trace::Event& event, ThreadContext& context);

// Opens and closes the fault; to be called after the inputs of `event` are out. `is_td`: the fault
// handler of such a VM retries without a new exit (tdx.c: tdx_handle_ept_violation).
void follow_fault(const trace::Event& event, bool is_td, ThreadContext& context);

}  // namespace mmucheck::import
