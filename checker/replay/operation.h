// checker/replay: an operation of a thread: one of the model's machines, by value.
#pragma once

#include <cstdint>
#include <string_view>
#include <variant>

#include "checker/replay/vm_model.h"

namespace mmucheck::replay {

// One dirty log ioctl is as many chunks as user space asked for, then a flush.
struct DirtyLogFlush {
  uint8_t pc = 0;
  uint32_t slot = model::kNoSlot;
};

using Machine =
    std::variant<model::PageFault, model::MmuLoad, model::FreeRoots, model::MmuDestroy,
                 model::InvalidateRange, model::InvalidateRangeEnd, model::AgeHva,
                 model::SetMemoryRegion, model::SetMemAttributes, model::GmemInvalidate,
                 model::ZapGfnRange, model::FlushShadowAll, model::DestroyVm, model::DirtyLogChunk,
                 DirtyLogFlush, model::RecoverNxHugePages, model::ZapAllFast, model::MapPrivatePfn,
                 model::TdxFinalize, model::RawSeamcall, model::ZeroStepEnter, model::GmemRelease,
                 model::VcpuInit, model::GuestAccept, model::GmemConvert,
                 model::ReleaseHkid>;

struct Operation {
  Machine machine;
  VmModel* vm = nullptr;
  uint64_t line = 0;  // of the event that began it
  std::string_view name;
};

// Runs until something visible happens or the operation ends.
model::Run run_operation(Operation& op);

// Can `kind` begin while the operation is not over? A page fault's own page walk runs notifiers.
bool may_nest(const Operation& outer, trace::EventKind kind);

}  // namespace mmucheck::replay
