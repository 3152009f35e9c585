// checker/replay: one VM of a trace: its cells, the world that its machines run in, and what is
// known of it from configuration.
#pragma once

#include <cstdint>
#include <memory>
#include <unordered_map>

#include "checker/replay/replay_env.h"
#include "model/tdp/kvm_accept.h"
#include "model/tdp/kvm_gmem.h"
#include "model/tdp/kvm_dirty_log.h"
#include "model/tdp/kvm_lifecycle.h"
#include "model/tdp/nx_recovery.h"
#include "model/tdp/reap.h"
#include "model/tdp/tlb.h"

#include "checker/replay/flatten.h"

namespace mmucheck::replay {

using ReplayWorld = model::World<model::RadixStore, ReplayEnv>;

// KVM_X86_*_VM
inline constexpr uint64_t kVmTypeDefault = 0;
inline constexpr uint64_t kVmTypeSwProtected = 1;
inline constexpr uint64_t kVmTypeTdx = 5;

struct HostFacts {  // the same for every VM of a trace
  const model::Design* design = nullptr;
  model::HostMmu mmu;
  bool eager_page_split = true;
  bool noinline_build = false;
};

struct VmModel {
  VmModel(uint32_t id, const HostFacts& host, const trace::KindSet& visible);
  VmModel(const VmModel&) = delete;
  VmModel& operator=(const VmModel&) = delete;

  // A VM with a mirror root becomes the only TD of a TDX module; `gpaw` is 48 or 52.
  void become_td(int gpaw);
  void add_td_vcpu();
  // From now on CPUs cache translations of this page of the TD; false: there are kMaxFollowed.
  static constexpr size_t kMaxFollowed = 1024;
  bool follow(uint64_t gpa);

  // The frame of a removed table is used again although no callback was recorded.
  void reclaim(uint32_t table);

  uint32_t id;
  uint64_t vm_type = kVmTypeDefault;
  bool destroyed = false;
  bool abandoned = false;  // after a divergence its state is not the kernel's any more
  model::RadixStore store;
  ReplayEnv env;
  ReplayWorld world;
  model::tdx::Platform platform;
  std::vector<model::tdx::TdConfig> tds;
  std::vector<model::tdx::VcpuConfig> vcpus;
  std::vector<uint64_t> followed;
  std::unique_ptr<invariant::Monitor> monitor;
  std::unordered_map<uint64_t, uint64_t> gmem_names;  // by the number in events: file handle + 1
  // free_roots names a root, not a vCPU: which one it was taken to be, where several had that root.
  struct FreedByGuess { uint32_t root, vcpu; };
  std::vector<FreedByGuess> freed_by_guess;
  uint32_t vcpu_bound = 1;      // vCPUs that have loaded a root have numbers below
  uint64_t missed_frees = 0;    // frames reused without a recorded callback
};

}  // namespace mmucheck::replay
