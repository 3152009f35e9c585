// Layer: checker/invariant. Contract: evaluates the catalogue while a model runs, on the instances
// that each step touches, and counts every evaluation by id.
//
// A monitor belongs to one VM. It is given each event of the model (model/tdp/events.h) after the
// step's effect, and looks at the cells that the event names, never at all of memory: a check of a
// range looks at kRangeLimit gfns. Rules that the model reports itself (ev::Warn, at the place of
// the kernel's own WARN) are counted at the event behind which the model evaluated them. What is
// broken collects in broken() until the engine takes it. Nothing here allocates unless a rule breaks.
#pragma once

#include <array>
#include <vector>

#include "checker/invariant/ids.h"
#include "checker/invariant/rules.h"
#include "checker/invariant/td_rules.h"
#include "model/store/radix_store.h"
#include "model/tdp/kvm_memslot.h"

namespace mmucheck::invariant {

// What a rule may look at; model/'s own helpers take it in place of a World.
struct View {
  const model::RadixStore& store;
  const model::Design& design;
  const model::SpteFormat& fmt;
  const model::HostMmu& host;
  const model::VmConfig& vm;
  const model::tdx::Platform* platform = nullptr;  // of a TD

  uint64_t field(model::CellKind kind, uint32_t object = 0) const {
    return store.get(model::cell::of(kind, object));
  }
  uint32_t role(uint32_t table) const {
    return static_cast<uint32_t>(field(model::CellKind::kSpRole, table));
  }
  bool root_invalid(uint32_t root) const { return model::role_invalid(design, role(root)); }
  bool is_mirror(uint32_t table) const { return model::role_mirror(role(table)); }
  bool locked_for_write() const { return field(model::CellKind::kLockWriter) != 0; }
  bool locked() const {
    return locked_for_write() || field(model::CellKind::kLockReaders) != 0;
  }
};

// Does a root of the address space, of the kinds that `filter` names (KVM_FILTER_*), map a gfn of
// [start, end)?
bool any_leaf(const View& view, uint32_t as_id, uint64_t start, uint64_t end, bool invalid_too,
              uint64_t filter);

// Of a TD's page: is it in use by the TD, and does a CPU that runs a vCPU of the TD have a
// translation to it?
bool page_of_td(const View& view, uint64_t page);
bool cached_inside(const View& view, uint64_t page);

// The S-EPT entry for `gfn` at KVM's `level`, as the module would walk to it; free where the walk ends
// above, which `reached` tells.
uint64_t sept_entry(const View& view, uint64_t gfn, int level, bool* reached = nullptr);

class Monitor {
 public:
  static constexpr uint64_t kRangeLimit = 512;
  // So often is a guest refused an entry that a host wants before the host has given it up.
  static constexpr uint64_t kGuestPatience = 4;

  Monitor(const View& view, Tally& tally) : view_(view), tally_(tally) {}

  // Evaluates `rule` once.
  void check(Id rule, bool holds) {
    tally_.evaluated[rule]++;
    if (!holds) [[unlikely]] fail(rule);
  }
  void fail(Id rule);
  void count(Id rule) { tally_.evaluated[rule]++; }

  std::vector<Id>& broken() { return broken_; }
  const View& view() const { return view_; }

  // What it remembers from one event to the next, for engines that tell states apart. The store is
  // told what of it a step looks at and changes, as cells of kMemoryKind of no table.
  enum Remembered : uint8_t {
    kTracking,
    // The unmap under way, and whether a leaf of a valid root has gone since. One that yields may
    // be overlapped by another one: then neither is judged, since events name no thread.
    kLeafGone,
    kRootValid,
    kAttrFilter,
    kAsId,
    kStart,
    kEnd,
    kHooksOpen,
    kUnmapsOpen,
    kUnmapsOverlap,
    kAttributesOpen,
    kAttributesStart,
    kAttributesEnd,
    kAttributesSlot,
    kWalking,  // the unmap, over a root, and it has not yielded there
    kLastEpoch,
    kRefusedGpa,
    kRefused,        // gpa + 1 of a guest's call, and how often in a row
    kUnacceptedGpa,  // gpa + 1: the leaf there is larger than was accepted
    kToPrivate,      // the unmap is one of pages that become private in place
    kRememberedLimit,
  };
  static constexpr model::CellKind kMemoryKind = model::CellKind::kSpGfn;
  static constexpr model::Cell cell_of(Remembered what) {
    return {kMemoryKind, model::kNoTable, what};
  }
  using Memory = std::array<uint64_t, kRememberedLimit>;
  const Memory& memory() const { return memory_; }
  void remember(const Memory& m) {
    memory_ = m;
    broken_.clear();
  }

  // A gfn is write-tracked from now on: leafs are looked up in their slot.
  void write_tracking_used() { keep(kTracking, true); }
  // The constants of a VM.
  void vm_created();

  void on(const model::ev::ChangedSpte& e);
  void on(const model::ev::Store& e);
  void on(const model::ev::InitSp& e);
  void on(const model::ev::SetSpte& e);
  void on(const model::ev::SpteChanged& e);
  void on(const model::ev::FastPageFault& e);
  void on(const model::ev::SplitHugePage& e);
  void on(const model::ev::PutRoot& e);
  void on(const model::ev::IterStart& e);
  void on(const model::ev::Yield& e);
  void on(const model::ev::Unlock& e);
  void on(const model::ev::Freed& e);
  void on(const model::ev::CmpxchgSpteRet& e);
  void on(const model::ev::Flush& e);
  void on(const model::ev::Enter& e);
  void on(const model::ev::Return& e);
  void on(const model::ev::Warn& e);
  void on(const model::ev::RetryWait& e);
  // --- td_monitor.cc ---
  void on(const model::ev::ExternalSet& e);
  void on(const model::ev::ExternalSetRet& e);
  void on(const model::ev::ExternalFree& e);
  void on(const model::ev::FreedExternal& e);
  void on(const model::ev::PutPage& e);
  void on(const model::ev::SeamcallRet& e);
  void on(const model::ev::SeptState& e);
  void on(const model::ev::TdDestroy& e);
  void on(const model::ev::PamtRefs& e);
  void on(const model::ev::LostBehindHook& e);
  void on(const model::ev::AttributesSet& e);
  // Touches nothing that a rule is about, nor what the monitor remembers.
  struct Unheard {};
  template <class E>
  Unheard on(const E&) {
    return {};
  }

 private:
  static constexpr Memory initial_memory() {
    Memory m{};
    m[kRootValid] = true;
    return m;
  }
  uint64_t recall(Remembered what) const {
    view_.store.touch(cell_of(what), model::kRead);
    return memory_[what];
  }
  void keep(Remembered what, uint64_t v) {
    view_.store.touch(cell_of(what), model::kWrite);
    memory_[what] = v;
  }
  // Hooks of several threads may be open; whose began first is no difference.
  void hook_open(bool open) {
    view_.store.touch(cell_of(kHooksOpen), model::kCount);
    uint64_t& n = memory_[kHooksOpen];
    if (open || n > 0) n += open ? 1 : ~uint64_t{0};
  }
  void mirror_fault(const model::ev::Enter& e);
  void mirror_change(uint64_t gfn, int level, uint64_t spte);
  void mirror_thaw(const model::ev::Store& e);
  bool hook_to_come(uint64_t new_spte) const;
  void mirror_leaf(const model::ev::ChangedSpte& e);
  void private_removal(const model::ev::ExternalSet& e);
  void children_first(const model::tdx::ModuleCall& c);
  void pages_left_file(const model::ev::Enter& e);
  bool hosts_page(uint64_t page) const;
  // --- module_monitor.cc ---
  void module_call(const model::tdx::ModuleCall& c);
  void entry_call(const model::tdx::ModuleCall& c);
  void contents(const model::tdx::ModuleCall& c, uint64_t before, uint64_t after);
  void td_call(const model::tdx::ModuleCall& c);
  void guest_waits(const model::tdx::ModuleCall& c);
  void leaf_installed(uint32_t as_id, uint64_t gfn, int level, uint64_t spte);
  void enter_range(const model::ev::Enter& e);
  void enter_slot(const model::ev::Enter& e);
  void slot_deleted(uint64_t number);
  void enter_root(const model::ev::Enter& e);
  void unmapped(uint64_t flush);
  void nx_list();
  void translations();
  void leafs_of_attributes(uint64_t gfn);
  void mixed_flags(uint64_t start, uint64_t end, uint32_t slot);

  View view_;
  Tally& tally_;
  std::vector<Id> broken_;
  Memory memory_ = initial_memory();
};

}  // namespace mmucheck::invariant
