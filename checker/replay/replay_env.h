// checker/replay: the environment of the model while it replays a trace.
//
// The model asks for what no state determines; the answers are the *inputs* of the thread that is
// stepped, which stand in the trace before the observation that they were taken from. An emission
// becomes a Predicted if the recording could contain such an event, and then the machine pauses.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checker/invariant/monitor.h"
#include "checker/replay/predicted.h"
#include "checker/trace/event_source.h"
#include "model/store/radix_store.h"
#include "model/tdp/kvm_fault.h"
#include "model/tdp/world.h"

namespace mmucheck::replay {

// Frames from here on are made up, for tables that no input names: no machine has them.
inline constexpr uint64_t kFirstProvisional = uint64_t{1} << 39;

// What a step may depend on that is in no cell, named in footprints as cells of no table.
inline constexpr model::Cell kNextFrame{model::CellKind::kSpPfn, model::kNoTable, ~uint64_t{0}};
inline constexpr model::Cell kRoles{model::CellKind::kSpRole, model::kNoTable, 0};

// Inputs of one thread that its next step may use.
struct PendingInputs {
  struct HwAd {
    uint64_t gfn = 0;
    int level = 0;  // 0: the first present leaf that maps one of npages
    uint64_t npages = 1;
    bool accessed = false, dirty = false;
  };
  std::vector<HwAd> hw_ad;
  std::optional<model::FaultinPfn> fault_pfn;
  std::optional<int> host_level;
  std::optional<uint64_t> new_table;
  std::optional<int64_t> faultin;
  bool no_efault = false;                // whatever the page, that is no result
  struct Collapse { int level; uint64_t gfn; };
  std::optional<Collapse> collapse;
  bool yield = false;
  std::optional<uint64_t> yield_gfn;
  bool cmpxchg_lost = false;
  std::optional<uint64_t> lost_sptep;    // of the entry that the lost exchange is for
  bool alloc_failed = false;
  bool topup_failed = false;
  bool flush_here = false;
  std::optional<uint64_t> external_page;
  int external_result = 0;               // what a scripted hook answers
  model::tdx::Status seamcall_status;    // what takes the place of the module's answer
  struct LeafStatus { model::tdx::Leaf leaf; model::tdx::Status status; };
  std::optional<LeafStatus> seamcall_leaf;  // the same, of the next call of one leaf
  bool others_froze = false;             // and that is a frozen entry
  bool others_first = false;  // another thread's store is logged after its effect
  uint64_t nx_pages = 0;

  void clear() { *this = PendingInputs{}; }
};

// A warning of the kernel that the model says must have fired.
struct BrokenRule {
  const char* rule;
};

class ReplayEnv {
 public:
  ReplayEnv(model::RadixStore& store, const model::Design& design, const trace::KindSet& visible)
      : store_(store), design_(design), visible_(visible) {}

  // The thread that is stepped; `ending`: another operation of it has begun, so this one is over.
  void select(PendingInputs* inputs, std::vector<Predicted>* out, uint32_t thread, bool ending,
              bool to_window = false) {
    in_ = inputs;
    out_ = out;
    thread_ = thread;
    ending_ = ending;
    to_window_ = to_window;
    paused_ = false;
    numbers_now_ = nullptr;
    for (TableNumbers& n : numbers_) {
      if (n.thread == thread) numbers_now_ = &n;
    }
    if (!numbers_.empty()) {
      store_.allocate_from(numbers_now_ == nullptr ? 0 : numbers_now_->first_table);
    }
  }
  bool emitted() const { return paused_; }
  // Number of this event, and of the thread's event before.
  void set_time(uint64_t now, uint64_t previous) {
    now_ = now;
    previous_ = previous;
  }
  void set_gfn_alias(uint64_t direct_bits) { gfn_alias_ = direct_bits; }
  // The machine is driven step by step: it pauses at each, and mmu_lock excludes. No recording
  // orders anything then: what a window of events leaves open elsewhere is what state says.
  void drive_steps(bool on) { each_step_ = on; }
  void walks_locked(bool locked) { locked_ = locked; }
  // Frames of tables that no input names, counting up.
  void frames_from(uint64_t pfn) { next_provisional_ = pfn; }
  // Of each thread's own, so that who allocates first does not show.
  struct TableNumbers {
    static constexpr uint64_t kNear = 48;  // frames within one 2M region, then others
    uint32_t thread = 0;
    uint32_t first_table = 0;
    uint64_t first_frame = 0, far_frame = 0;
    uint64_t used = 0;
    uint64_t take() {
      const uint64_t n = used++;
      return n < kNear ? first_frame + n : far_frame + n;
    }
  };

  // --- facts of the VM ---
  bool eager_split = true;
  bool init_set = false;
  bool slot_zap_quirk = true;
  bool mmio_info_cache = true;
  bool noinline_build = false;  // functions that are usually inlined were probed
  bool in_order = false;        // events stand where things happened, as in a trace that is written
  std::unordered_map<uint32_t, uint32_t> roles;  // by vCPU
  // Pages of which sizes the host maps, the latest last; 4K elsewhere. A hand-written trace says so.
  struct HostRange { uint32_t slot; uint64_t start, end; int level; };
  std::vector<HostRange> host_ranges;
  int mapped_level(uint32_t slot, uint64_t gfn) const;
  const model::SpteFormat* format = nullptr;
  std::function<void(uint32_t table)> reclaim;   // a removed table's frame is used again

  // --- counts and findings ---
  uint64_t hardware_ad = 0;
  uint64_t stale_reads = 0;     // an entry was read before a store that the trace orders earlier
  uint64_t open_faultins = 0;   // faultin results that an overlap left open
  uint64_t async_faultins = 0;  // RETRY or -EINTR without a cause in the VM's state
  uint64_t adopted_frames = 0;
  std::vector<BrokenRule> broken;
  const trace::KindSet* silent = nullptr;  // kinds that were probed and never came
  std::vector<trace::EventKind> missed;    // of these, what should have come
  invariant::Monitor* monitor = nullptr;  // evaluates the catalogue on what the model does
  struct Free { uint32_t table; uint64_t pfn; };
  std::vector<Free> freed;

  // --- the model's environment (model/tdp/world.h) ---
  bool pause() const { return paused_ || each_step_; }
  bool lock_steps() const { return each_step_; }
  bool lock_free(bool write) const {
    if (!each_step_) return true;
    const auto held = [&](model::CellKind kind) { return store_.get(model::cell::of(kind)) != 0; };
    return !held(model::CellKind::kLockWriter) &&
           !(write && held(model::CellKind::kLockReaders));
  }
  uint64_t begun_seq(uint64_t taken, uint64_t now) const {
    return each_step_ || in_order ? taken : now;
  }
  void before(model::Point point, uint32_t table, uint32_t index);
  bool need_resched(const model::TdpIter& it);
  bool hardware_first(uint32_t table, uint32_t index, uint64_t old_spte);
  uint64_t refreshed(uint32_t table, uint32_t index, uint64_t value);
  uint64_t observe(uint32_t table, uint32_t index, uint64_t value);
  uint64_t new_table_frame(model::ev::TableKind kind);
  int host_level(uint32_t slot, uint64_t gfn, bool level_unseen = false);
  // Both are for the next call only.
  int external_result(uint64_t, int, uint64_t, uint64_t) {
    return std::exchange(in_->external_result, 0);
  }
  model::TdxHook& hook() { return hooks_[thread_]; }
  model::tdx::Status injected_status(model::tdx::Leaf leaf) {
    if (in_->seamcall_leaf && in_->seamcall_leaf->leaf == leaf) {
      return std::exchange(in_->seamcall_leaf, std::nullopt)->status;
    }
    return std::exchange(in_->seamcall_status, {});
  }
  // The page is known when the SEAMCALL that takes it is seen.
  uint64_t external_page(uint32_t, uint64_t page) {
    return in_->external_page ? *in_->external_page + 1 : page;
  }
  bool sees_inlined() const { return noinline_build; }
  bool topup_failed() { return ending_ || in_->topup_failed; }
  bool gets_gmem_pfn() const { return !in_->faultin.has_value(); }
  bool flush_here() const { return in_->flush_here; }
  bool initially_all_set() const { return init_set; }
  bool eager_page_split() const { return eager_split; }
  bool slot_zap_all(bool default_type) const { return default_type && slot_zap_quirk; }
  int32_t faultin_outcome(int32_t result, model::Openness openness);
  bool mmio_info_cached() const { return mmio_info_cache; }
  bool faultin_follows() const { return in_->faultin.has_value(); }
  // The next thing seen of the fault is faultin's result: no look at the entry came before it.
  // An update that was installed since the thread's last event may still have been under way then.
  bool generation_in_progress(bool open) const {
    return (open || (!each_step_ && last_commit_ >= previous_)) && in_->faultin.has_value();
  }
  bool stale_outcome(bool result, bool open) const {
    return open && in_->faultin ? *in_->faultin != 0 : result;
  }
  uint64_t window_start() const { return each_step_ ? 0 : previous_; }
  bool invalidated_since(uint64_t start) const {
    return !each_step_ && last_invalidation_end_ > start;
  }
  model::FaultinPfn faultin_pfn() const { return in_->fault_pfn.value_or(model::FaultinPfn{}); }
  int32_t memory_region_result(int32_t result) const { return result; }
  uint32_t vcpu_role(uint32_t vcpu) const {
    store_.touch(kRoles, model::kRead);
    const auto it = roles.find(vcpu);
    return it == roles.end() ? 0 : it->second;
  }
  void vcpus_go() {}
  void open_window() { paused_ = paused_ || to_window_; }
  bool nx_goes_on(bool zaps);

  template <class E>
  void emit(const E& e);

  // A value that was read again before the store that explains it was logged.
  struct ExpectedStore {
    uint32_t table, index;
    uint64_t value;
    uint64_t deadline;  // event number
    uint64_t line;
  };
  void expect_store(const ExpectedStore& s) { expected_stores_.push_back(s); }
  std::optional<ExpectedStore> overdue_store();

  // Was what the CPU did to an entry seen already, in a value that another event showed?
  bool adopted(uint32_t table, uint32_t index, uint64_t new_spte) const;

  // Physical address of an entry; 0 for none.
  uint64_t sptep(uint32_t table, uint32_t index) const;
  uint64_t pfn(uint32_t table) const;
  // Where each thread stands in a hook; pc 0: in none.
  const std::unordered_map<uint32_t, model::TdxHook>& hooks() const { return hooks_; }
  // Gives a table the frame that the recording shows.
  void adopt_frame(uint32_t table, uint64_t pfn);

 private:
  friend struct Flatten;
  friend class SteppedState;
  void add(const Predicted& p);
  void take_broken();
  bool visible(trace::EventKind k) const { return visible_.test(static_cast<size_t>(k)); }
  void note_store(const model::ev::Store& e);
  void flush_tlbs(const model::ev::Flush& e);

  model::RadixStore& store_;
  const model::Design& design_;
  const trace::KindSet& visible_;
  PendingInputs* in_ = nullptr;
  std::vector<Predicted>* out_ = nullptr;
  uint32_t thread_ = 0;
  bool ending_ = false;
  bool to_window_ = false;
  bool paused_ = false;
  bool each_step_ = false;
  bool locked_ = true;  // the machine holds mmu_lock while it walks
  uint64_t gfn_alias_ = 0;
  uint64_t now_ = 0;
  uint64_t previous_ = 0;
  uint64_t last_commit_ = 0;  // of a memslot update
  uint64_t last_invalidation_end_ = 0;
  uint64_t next_provisional_ = kFirstProvisional;
  std::vector<TableNumbers> numbers_;    // empty: all threads count together
  TableNumbers* numbers_now_ = nullptr;  // of the thread that is stepped

  std::unordered_map<uint32_t, model::TdxHook> hooks_;  // by thread

  static constexpr size_t kMaxStores = 1u << 16;
  struct LastStore {
    uint32_t thread;
    uint64_t at;        // event number
    uint64_t old_spte;  // what it replaced
  };
  // By entry, newest first: a mirror entry is frozen and thawed within one change.
  static constexpr size_t kStoresKept = 4;
  std::unordered_map<uint64_t, std::array<LastStore, kStoresKept>> last_stores_;
  struct Adopted {
    uint64_t at;  // event number
    uint64_t spte;
  };
  std::unordered_map<uint64_t, Adopted> adopted_;  // A and D that came as inputs
  std::vector<ExpectedStore> expected_stores_;
};

}  // namespace mmucheck::replay
