// tools/import/ftrace: tells stimuli, inputs and observations apart, and writes the inputs out.
//
// Contract: every recorded event passes through once, in order, and is kept; split() sets its class
// and answers the packets that go before and after it. The rules are lexical (what this line says,
// what its thread did last, and for a few what it does next); nothing models the MMU. An input
// stands directly before the observation that it was taken from and carries only what a model
// cannot compute. Each with the place where the recording shows it:
//
//   input                 before                        taken from
//   fault_pfn             tdp_map                       its pfn, map_writable, max_level; none
//                                                       without memslot (pfn is an error value)
//                         spte_requested                its pfn, where tdp_map is not recorded
//   host_level            spte_requested                its level: the host's mapping, as clipped
//   new_table             init_sp                       its page: which page the allocator gave
//   hw_ad                 init_sp of a split,
//                         changed_spte, cmpxchg_spte,   A and D bits of `old`, where that is a
//                         fast_page_fault, spte_changed present leaf with A/D bits: the CPU sets
//                         without a probe before it     them unseen
//                         set_spte                      the same of its re-read value, when that
//                                                       has more than was written
//                         the change in recover_huge    the bits of the huge page that is made of
//                                                       the first leaf found
//                         test_age_range_ret            young = 1
//   cmpxchg_lost          cmpxchg_spte                  its cmpxchg_spte_ret has ret != 0: the
//                                                       entry was read before another's store
//                         cmpxchg_spte_ret              ret != 0
//                         fast_page_fault               spurious, and new is not old any more
//                         tdp_map_ret                   ret = 1, where cmpxchg_spte is not recorded
//                         iter_start                    a walk directly after another, in a
//                                                       fault before tdp_map (mmu.c:
//                                                       fast_page_fault() retries)
//   yield_here            yield_read, yield_write       or before the flush_all directly before
//                                                       them (tdp_mmu_iter_cond_resched() flushes
//                                                       what is pending, then yields)
//   alloc_failed          split_huge_page               errno = -12
//   topup_failed          soft_exit_ret                 ret = -12
//   faultin_outcome       faultin_ret, fault_stale_ret  its ret
//                         init_sp                       its link is lost: cmpxchg_spte_ret, two
//                                                       events later
//   others_first          fast_page_fault               spurious: the store that made it so may be
//                                                       logged later; neither fixed nor spurious,
//                                                       huge: so may a memslot update
//                         tdp_map_ret                   ret = 6; ret = 1 directly after
//                                                       iter_restart: a frozen entry
//   external_page         mock_sept_add                 its hpa: which page the vCPU's cache gave
//   seamcall_status       mock_*_ret                    TDX_OPERAND_BUSY
//   external_result       mock_set_external_ret         ret != 0, where SEAMCALLs are not recorded
//   vcpu_role             alloc_root                    role, and which of both roots
//                         page_fault, tdp_map           role of the root that it walks, when the vCPU was last seen with
//                                                       another (a cached root is loaded silently)
//   module_param_set      tdp_map                       nx_workaround, when it was another before
//   flush_here            flush_all                     after age_range_ret (the caller asked for
//                                                       clear_flush_young), after clear_dirty_pt
//                                                       (a dirty ring is reset)
//   mmu_destroy           put_root of a mirror root     after free_roots without a root, where
//                                                       mmu_destroy is not recorded
//   fault_address         faultin_ret                   the tdp_map that follows, where the start of
//                                                       the prefault could not say it
//   gmem_slot             the start of an invalidation  slot of the mmu_unmap_gfn_range that follows
//   dirty_log_clear       the first call for a chunk    slot and mask of its clear_dirty_pt
//   capability            zap_all_fast, mmu_zap_all_fast, invalidate_all_roots or unmap_gfn_range,
//     slot_zap_quirk      whichever comes first between set_memslot and commit_memslot (x86.c:
//                         kvm_arch_flush_shadow_memslot())
//   capability            set_memslot_ret               directly after a commit_memslot that turns
//     initially_set                                     dirty logging on (mmu.c:
//                                                       kvm_mmu_slot_apply_flags())
//   collapse_host_level   cmpxchg_spte (6.12) to a      its level
//                         frozen value, or
//                         flush_range (6.12), inside    pages flushed: 512 is level 2, 512*512 is 3
//                         zap_collapsible
//                         iter_start (7.2), min_level=1 level of the child table, plus 1
//                         inside recover_huge
//   dirty_mask            clear_dirty_pt                its mask
//   nx_recovery_count     zap_sp, zap_nx                1: the worker takes one more page
//   callback_run          rcu_free_sp                   its page
//
// Stimuli that no line states are written out too: `prefault` before the first event of a fault
// that no exit began (its address is that of the tdp_map or fast_page_fault that follows in the
// thread), `nx_recovery` before the first zap_sp where the worker's start is not recorded, and
// from markers of the recording workload `module_param_set` and `enable_cap`. `vm_config` goes
// before init_vm.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <unordered_map>
#include <vector>

#include "checker/trace/event.h"
#include "tools/import/ftrace/ids.h"
#include "tools/import/ftrace/profile.h"
#include "tools/import/ftrace/thread_context.h"

namespace mmucheck::import {

// What follows the event at hand. Answers nullptr behind the end, or behind the window's limit.
using LookAhead = std::function<const trace::Event*(size_t index)>;

// In events, how far rules look: what comes next in a thread follows soon, unless the thread sleeps
// in between, as one does that yields.
inline constexpr size_t kNearAhead = 4096;
inline constexpr size_t kFarAhead = 65536;  // a power of two

// The next event of the thread of `event` at or behind `index`, which is left behind it.
const trace::Event* next_of_thread(const trace::Event& event, const LookAhead& ahead,
                                   size_t& index, size_t limit = kNearAhead);

class InputSplitter {
 public:
  explicit InputSplitter(const Profile& profile);

  // `mirror`: for init_vm, what is known of its mirror root; else nullptr.
  void split(trace::Event& event, const MirrorFacts* mirror, const LookAhead& ahead,
             std::vector<trace::Event>& before, std::vector<trace::Event>& after);
  // Events were lost.
  void forget_threads() { threads_.clear(); }

 private:
  using Out = std::vector<trace::Event>;

  void fault_inputs(const trace::Event& e, ThreadContext& c, const LookAhead& ahead, Out& out);
  void open_unseen_fault(const trace::Event& e, ThreadContext& c, const LookAhead& ahead, Out& out);
  void change_inputs(const trace::Event& e, ThreadContext& c, const LookAhead& ahead, Out& out);
  void walk_inputs(const trace::Event& e, ThreadContext& c, const LookAhead& ahead, Out& out);
  void operation_inputs(const trace::Event& e, ThreadContext& c, Out& out);
  void vm_config(const trace::Event& e, const MirrorFacts* mirror, Out& out);
  void marker(const trace::Event& e, Out& out);
  bool ad_of(uint64_t spte, uint64_t level, bool& accessed, bool& dirty) const;
  struct Entry {
    uint64_t gfn = 0, level = 0;  // level 0: the first present leaf that maps one of npages
    uint64_t npages = 1;
  };
  void hw_ad(const trace::Event& e, uint64_t spte, Entry entry, Out& out) const;
  bool dirty_chunk(const trace::Event& e, const LookAhead& ahead, Out& out) const;
  void vcpu_facts(const trace::Event& e, const ThreadContext& c, const LookAhead& ahead, Out& out);
  void mirror_root_put(const trace::Event& e, ThreadContext& c, Out& out) const;
  void gmem_slot(const trace::Event& e, const LookAhead& ahead, Out& out) const;
  void td_inputs(const trace::Event& e, Out& out) const;
  void late_address(const trace::Event& e, ThreadContext& c, const LookAhead& ahead, Out& out);
  void lost_before_link(const trace::Event& e, const LookAhead& ahead, Out& out) const;
  void bits_before_split(const trace::Event& e, const LookAhead& ahead, Out& out) const;
  bool recorded(trace::EventKind kind) const;
  bool is_td(uint32_t vm) const;

  const Profile& profile_;
  ThreadMap<ThreadContext> threads_;
  std::unordered_map<uint32_t, uint32_t> vm_types_;
  std::unordered_map<uint64_t, uint64_t> vcpu_roles_;  // by VM and vCPU: as last told
  std::optional<bool> nx_told_;
  bool any_memslot_work_ = false;
};

}  // namespace mmucheck::import
