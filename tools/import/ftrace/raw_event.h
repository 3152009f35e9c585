// tools/import/ftrace: what the parser makes of one line, before addresses and VMs are resolved.
//
// Contract: `event` has kind, class, fields and envelope set; its vm is 0, and those fields that
// the text gives as kernel virtual addresses still hold them: bits of va_pfn (to become page frame
// numbers) and va (to become physical byte addresses). Kernel pointers that only serve to identify
// something stand beside it; 0 means that the line has none.
#pragma once

#include <cstdint>

#include "checker/trace/event.h"

namespace mmucheck::import {

struct RawEvent {
  trace::Event event;
  uint32_t va_pfn = 0;
  uint32_t va = 0;
  uint64_t kvm = 0;
  uint64_t vcpu = 0;
  uint64_t mn = 0;     // struct mmu_notifier inside struct kvm
  uint64_t gmem = 0;   // struct kvm_gmem: one binding of a guest_memfd to a VM
  uint64_t inode = 0;  // of a guest_memfd

  void clear() { *this = RawEvent{}; }
};

}  // namespace mmucheck::import
