// tools/import/ftrace: kernel pointers into small stable numbers.
//
// Contract: numbers are given in order of first appearance, from 1; 0 means unknown. A VM's life is
// init_vm .. destroy_vm (the teardown that follows destroy_vm still belongs to it); a struct kvm at
// an address used before is a new VM. At most kMaxTracked are remembered at a time; beyond that a
// pointer gets 0 and is counted in overflow().
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <unordered_map>
#include <unordered_set>

#include "checker/trace/event.h"

namespace mmucheck::import {

inline constexpr size_t kMaxTracked = 65536;

class VmTable {
 public:
  // The VM at `kvm`, as an event of `kind` sees it; creates or ends lives.
  uint32_t see(uint64_t kvm, trace::EventKind kind);
  // The VM whose notifier is at `mn`: kvm + offset when the offset is known, else the closest VM
  // that starts less than 64 KiB below. 0: none.
  uint32_t by_notifier(uint64_t mn, std::optional<uint64_t> offset) const;
  // The only VM alive, or the last destroyed when none is; 0 when there are several.
  uint32_t sole() const;
  bool several_alive() const { return alive_ > 1; }
  bool lives(uint32_t id) const { return living_.contains(id); }
  uint64_t overflow() const { return overflow_; }
  uint32_t count() const { return next_ - 1; }
  // How many VMs have lived at `kvm` so far.
  uint32_t generation(uint64_t kvm) const;

 private:
  struct Entry {
    uint32_t id = 0;
    uint32_t generation = 0;
    bool destroyed = false;
  };
  Entry* insert(uint64_t kvm);

  std::map<uint64_t, Entry> by_pointer_;
  uint64_t cached_pointer_ = 0;
  Entry* cached_ = nullptr;
  uint32_t next_ = 1;
  size_t alive_ = 0;
  std::unordered_set<uint32_t> living_;  // their numbers
  uint32_t last_destroyed_ = 0;
  uint64_t overflow_ = 0;
};

// Numbers for pointers without a life of their own (guest_memfd inodes and bindings).
class SmallIds {
 public:
  uint32_t see(uint64_t pointer);

 private:
  std::unordered_map<uint64_t, uint32_t> ids_;
};

// State for each thread. An idle task exists once a CPU. When more than kMaxTracked threads are
// met all are forgotten, which costs context but no correctness.
template <class T>
class ThreadMap {
 public:
  T& of(const trace::Event& e) {
    const uint64_t key = e.thread != 0 ? e.thread : uint64_t{1} << 32 | e.cpu;
    if (key == cached_key_ && cached_ != nullptr) return *cached_;
    if (threads_.size() >= kMaxTracked) threads_.clear();
    cached_key_ = key;
    cached_ = &threads_[key];
    return *cached_;
  }
  void clear() {
    threads_.clear();
    cached_ = nullptr;
  }

 private:
  std::unordered_map<uint64_t, T> threads_;
  uint64_t cached_key_ = 0;
  T* cached_ = nullptr;
};

}  // namespace mmucheck::import
