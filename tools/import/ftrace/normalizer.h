// tools/import/ftrace: kernel addresses to physical ones, kernel pointers to VM numbers.
//
// Contract: events come in file order; resolve() sets event.vm and rewrites the address fields that
// RawEvent marks. Table addresses become page frame numbers, entry addresses physical bytes; an
// address outside the direct map becomes absent and is counted. A line without `kvm=` gets the VM
// of what surrounds it in its thread: the vCPU's for fault events, else that of the thread's last
// event with a VM, a table's for rcu_free_sp and iter_start; failing all, the only VM alive; else
// 0.
#pragma once

#include <cstdint>
#include <unordered_map>

#include "tools/import/ftrace/ids.h"
#include "tools/import/ftrace/profile.h"
#include "tools/import/ftrace/raw_event.h"

namespace mmucheck::import {

class Normalizer {
 public:
  explicit Normalizer(const Profile& profile) : profile_(profile) {}

  struct Result {
    bool vm_certain = false;    // from kvm=, mn= or the table's own VM
    bool vm_contested = false;  // a fault while several VMs live: it names only the vCPU number
  };
  Result resolve(RawEvent& raw);

  const VmTable& vms() const { return vms_; }
  uint64_t outside_direct_map() const { return outside_; }
  // Facts of the VM that an init_vm event has just created.
  const MirrorFacts* mirror_facts(uint64_t kvm) const;
  // Events were lost: what surrounded them is no longer known.
  void forget_threads() { threads_.clear(); }

 private:
  struct Thread {
    uint32_t vm = 0;       // of the last event that names one
    uint32_t vcpu_vm = 0;  // of the last vCPU that ran here
    bool in_notifier = false;
  };
  bool to_physical(uint64_t va, uint64_t& pa) const;

  const Profile& profile_;
  VmTable vms_;
  SmallIds gmems_;
  SmallIds inodes_;
  ThreadMap<Thread> threads_;
  std::unordered_map<uint64_t, uint32_t> table_vm_;  // by page frame; living tables only
  std::unordered_map<uint32_t, uint32_t> inode_vm_;
  uint32_t punching_inode_ = 0;
  uint64_t outside_ = 0;
};

}  // namespace mmucheck::import
