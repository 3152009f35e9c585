// The part of InputSplitter that deals with TDs and guest_memfd: see inputs.h.
#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/input_packet.h"
#include "tools/import/ftrace/inputs.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
using trace::PacketClass;
namespace f = trace::f;

constexpr uint64_t kOperandBusy = 0x80000200;  // TDX_OPERAND_BUSY, bits 63:32 of a status
constexpr size_t kMaxEventsToUnmap = 8;  // from the start of an invalidation to its first unmap
constexpr uint64_t kRoleMirror = 1u << 19;

}  // namespace

// What of a hook or a SEAMCALL no state decides.
void InputSplitter::td_inputs(const Event& e, Out& out) const {
  switch (e.kind) {
    case EventKind::kMockSeptAdd: {
      Event input = make_packet(e, EventKind::kExternalPage);
      input.set(f::external_page::pfn, e.get(f::mock_sept_add::hpa) >> 12);
      out.push_back(input);
      return;
    }
    case EventKind::kMockSeptAddRet:
    case EventKind::kMockPageAddRet:
    case EventKind::kMockPageAugRet:
    case EventKind::kMockRangeBlockRet:
    case EventKind::kMockTrackRet:
    case EventKind::kMockPageRemoveRet:
    case EventKind::kMockAcceptRet:
    case EventKind::kMockZeroStepRet: {
      // Who holds the lock, and until when, the recording does not say.
      const uint64_t status = e.get(f::mock_sept_add_ret::ret);
      if (status >> 32 != kOperandBusy) return;
      Event input = make_packet(e, EventKind::kSeamcallStatus);
      input.set(f::seamcall_status::status, status);
      out.push_back(input);
      return;
    }
    case EventKind::kMockSetExternalRet: {
      const int64_t ret = e.get_signed(f::mock_set_external_ret::ret);
      if (ret == 0 || recorded(EventKind::kMockSeptState)) return;
      Event input = make_packet(e, EventKind::kExternalResult);
      input.set(f::external_result::ret, static_cast<uint64_t>(ret));
      out.push_back(input);
      return;
    }
    default: return;
  }
}

// Which file it is that is invalidated: its own number says nothing, the slots that are unmapped do.
void InputSplitter::gmem_slot(const Event& e, const LookAhead& ahead, Out& out) const {
  uint64_t gmem = 0;
  switch (e.kind) {
    case EventKind::kGmemRelease: gmem = e.get(f::gmem_release::gmem); break;
    case EventKind::kGmemInvalidate: gmem = e.get(f::gmem_invalidate::gmem); break;
    case EventKind::kGmemPunchHole: gmem = e.get(f::gmem_punch_hole::gmem); break;
    default: return;
  }
  size_t index = 0;
  for (size_t n = 0; n < kMaxEventsToUnmap; ++n) {
    const Event* next = next_of_thread(e, ahead, index);
    if (next == nullptr || next->kind == EventKind::kGmemInvalidateEnd) return;
    if (next->kind != EventKind::kMmuUnmapGfnRange) continue;
    namespace u = f::mmu_unmap_gfn_range;
    Event input = make_packet(e, EventKind::kGmemSlot);
    input.vm = next->vm;
    input.set(f::gmem_slot::gmem, gmem);
    input.set(f::gmem_slot::slot, next->get(u::slot));
    input.set(f::gmem_slot::as_id, next->get(u::as_id));
    out.push_back(input);
    return;
  }
}

// kvm_mmu_destroy() where it has no probe: both MMUs are unloaded, then the mirror root is put.
void InputSplitter::mirror_root_put(const Event& e, ThreadContext& c, Out& out) const {
  const bool unloaded = c.unloaded;
  c.unloaded = e.kind == EventKind::kFreeRoots && e.get(f::free_roots::root_hpa) == ~uint64_t{0};
  if (!unloaded || e.kind != EventKind::kPutRoot || recorded(EventKind::kMmuDestroy) ||
      (e.get(f::put_root::role) & kRoleMirror) == 0) {
    return;
  }
  Event s = make_packet(e, EventKind::kMmuDestroy);
  s.cls = PacketClass::kStimulus;
  out.push_back(s);
}

}  // namespace mmucheck::import
