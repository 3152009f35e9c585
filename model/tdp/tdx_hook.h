// model/tdp: where a thread stands inside an external hook of a mirror root, as plain values. What
// the hooks do is in tdx.h.
#pragma once

#include <cstdint>

#include "model/tdx/module.h"

namespace mmucheck::model {

// One SEAMCALL, from the entry of its wrapper to its return. gpa and hpa in bytes, KVM's level.
struct Seamcall {
  uint8_t pc = 0;
  int8_t level = 0;
  uint64_t gpa = 0;
  uint64_t hpa = 0;
  tdx::ModuleCall call = {};
};

struct NoVcpus {  // tdh_do_no_vcpus
  uint8_t pc = 0;
  Seamcall call = {};
};

struct TdxHook {
  struct Part {  // of the function that the hook calls
    uint8_t pc = 0;
  };
  uint8_t pc = 0;
  int8_t level = 0;
  bool shared = false;  // the change is atomic, under mmu_lock for read
  Part part = {};
  Part track = {};
  Part pamt = {};      // tdx_pamt_get or tdx_pamt_put
  int8_t pins = 0;     // get_page() less put_page() of this hook
  uint16_t next = 0;   // of the pages of a leaf; of a mapping: its leaf function
  int32_t ret = 0;
  int32_t pamt_ret = 0;
  uint32_t table = 0xffffffffu;  // that holds the entry; none: kNoTable
  uint64_t gfn = 0;
  uint64_t page = 0;  // that the SEAMCALL takes
  uint64_t old_spte = 0;
  uint64_t new_spte = 0;
  NoVcpus tdh = {};
};

}  // namespace mmucheck::model
