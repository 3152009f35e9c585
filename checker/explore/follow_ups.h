// Layer: checker/explore. Contract: what may come behind a trace: scenarios whose prefix is a whole
// hand-written trace, and whose threads are each choice of `n` operations of a menu. The menu is
// made of the VM that the trace leaves: for each of the last pages that it names (at most kPages),
// a fault of each vCPU that has a root (at most kVcpus), an ACCEPT, an MMU notifier invalidation, a
// hole in the guest_memfd, a change of the attributes; and the deletion of the page's memslot. Each
// is a thread, but for those of one vCPU, which are one after the other. Deterministic.
//
// A trace that has not one live VM, or in which something is broken or in doubt, has nothing behind
// it: std::invalid_argument. A recording is trace::TraceError.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checker/explore/scenario.h"
#include "model/design/design.h"

namespace mmucheck::explore {

struct FollowUp {
  std::string name;                // "fault vcpu 0 gfn 0x10; gmem_punch gfn 0x10"
  std::vector<size_t> operations;  // of the menu
};

class FollowUps {
 public:
  static constexpr size_t kPages = 2, kVcpus = 2, kMost = 4;

  // Reads the source to its end. `design`: nullptr, or one that the trace runs under instead of its
  // own, and that outlives this. `n`: 1 to kMost.
  FollowUps(trace::EventSource& source, const model::Design* design, unsigned n);

  size_t operations() const { return menu_.size(); }
  const std::vector<FollowUp>& all() const { return all_; }
  Scenario scenario(const FollowUp& f) const;

 private:
  struct Item {
    std::string name;
    std::optional<uint32_t> vcpu;  // that does it
    std::vector<Operation> operations;
  };
  void make_menu(const model::Design* design);
  void add(std::string name, std::optional<uint32_t> vcpu, std::vector<Packet> packets);

  Scenario prefix_;
  std::vector<Item> menu_;
  std::vector<FollowUp> all_;
};

}  // namespace mmucheck::explore
