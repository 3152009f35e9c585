// checker/replay: which invariants does an observed event break, whatever the model thinks?
//
// Asked when an observation is not what the model did: a divergence that breaks a rule of the
// catalogue is a violation of that rule. The rules are those of model/spte/change.h and
// checker/invariant/rules.h, applied to what was seen and to the state before it.
#pragma once

#include <vector>

#include "checker/replay/operation.h"
#include "checker/trace/event.h"

namespace mmucheck::replay {

invariant::View view_of(const VmModel& v);

constexpr bool flushes_tlbs(trace::EventKind kind) {
  using Kind = trace::EventKind;
  return kind == Kind::kFlushAll || kind == Kind::kFlushRange || kind == Kind::kFlushMemslot;
}

struct ObservedStep {
  const trace::Event& seen;
  const Predicted* predicted = nullptr;  // nullptr: the thread's operations are over
  bool prefault = false;                 // what the thread is doing
  bool harvests_log = false;
  bool starts_log = false;  // of a slot
  bool ages = false;
  bool recovers_nx = false;
  bool zaps = false;
  bool updates_slot = false;
  bool removes_slot = false;  // from where it was
  uint8_t attr_filter = 0;    // of the unmap that is going on; 0: none
  uint64_t zap_start = 0, zap_end = 0;  // gfns of an unmap, where they are one range; else 0
  bool private_fault = false;
  int host_level = 0;  // at the place of a change, where huge pages are recovered; else 0
  int call_level = 0;  // of a SEAMCALL that no hook made
  const model::Fault* fault = nullptr;  // that the thread has begun last, over or not
  bool populates = false;  // KVM_TDX_INIT_MEM_REGION, over or not
  bool private_may_go = true;  // by what it does: see TDX-DATA-KEPT
};

// In the order of the kernel's checks; empty when no rule speaks against it.
std::vector<invariant::Id> broken_by(const invariant::View& view, const ObservedStep& step);

// Of a TD's calls, S-EPT entries, private faults and end (observed_td_rules.cc).
std::vector<invariant::Id> td_broken_by(const invariant::View& view, const ObservedStep& step);
// Of ranges, references and invalidations (observed_range_rules.cc): asked where no other rule speaks
// against it, and so are those of pages, links and removed tables (observed_leaf_rules.cc).
std::vector<invariant::Id> range_broken_by(const invariant::View& view, const ObservedStep& step);
std::vector<invariant::Id> leaf_broken_by(const invariant::View& view, const ObservedStep& step);

}  // namespace mmucheck::replay
