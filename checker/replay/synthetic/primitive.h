// checker/replay: operations that a hand-written trace asks for by themselves: one function of the
// TDP MMU with the lock that its callers take and the flush that they owe.
//
// Source: the callers in mmu.c and kvm_main.c that are not a whole ioctl or fault.
#pragma once

#include <cstdint>
#include <variant>

#include "checker/replay/vm_model.h"

namespace mmucheck::replay {

struct UnmapOp { uint8_t pc = 0; model::UnmapGfnRange unmap = {}; };
struct ZapLeafsOp { uint8_t pc = 0; model::ZapRange zap = {}; };
struct ZapRootOp { uint8_t pc = 0; model::ZapRootPasses zap = {}; };
struct ZapAllOp { uint8_t pc = 0; model::ZapAll zap = {}; };
struct ZapSpOp { uint8_t pc = 0; model::ZapSp zap = {}; };
struct InvalidateRootsOp { uint8_t pc = 0; uint8_t types = 0; };
struct ZapInvalidatedRootsOp { uint8_t pc = 0; model::ZapInvalidatedRoots zap = {}; };
struct SplitOp { uint8_t pc = 0; model::TrySplit split = {}; };
struct RecoverOp { uint8_t pc = 0; model::CollapseSlot collapse = {}; };
struct DirtySlotOp { uint8_t pc = 0; model::DirtySlot dirty = {}; };
// kvm_write_track_add_gfn and _remove_gfn, or write protection alone.
enum class Tracks : uint8_t { kAsBefore, kFromNow, kNoMore };
struct WriteProtectOp {
  uint8_t pc = 0;
  Tracks tracks = Tracks::kAsBefore;
  model::WriteProtectGfn protect = {};
};
struct AgeOp { uint8_t pc = 0; model::AgeRange age = {}; };
// Callbacks of tables that were queued run, oldest first, after a grace period.
struct RcuRunOp { uint8_t pc = 0; uint64_t count = ~uint64_t{0}; };
struct ReapOp { uint8_t pc = 0; model::ReapSpt reap = {}; };
struct FlushOp { uint8_t pc = 0; uint64_t start = 0, npages = 0; };
struct HookOp { uint8_t pc = 0; model::TdxHook hook = {}; };  // of a mirror root, by nobody's change

using Primitive = std::variant<UnmapOp, ZapLeafsOp, ZapRootOp, ZapAllOp, ZapSpOp,
                               InvalidateRootsOp, ZapInvalidatedRootsOp, SplitOp, RecoverOp,
                               DirtySlotOp, WriteProtectOp, AgeOp, FlushOp, HookOp, RcuRunOp,
                               ReapOp>;

// Runs until something visible happens or the operation ends.
model::Run run_primitive(ReplayWorld& w, Primitive& p);

}  // namespace mmucheck::replay
