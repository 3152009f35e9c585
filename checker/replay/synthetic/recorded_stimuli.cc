#include "checker/replay/synthetic/recorded_stimuli.h"

#include <initializer_list>
#include <utility>

#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using model::SlotField;
using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

// An event at the same place, with fields of `e` by (its index there, its index here).
Event written(const Event& e, K kind, std::initializer_list<std::pair<size_t, size_t>> fields) {
  Event w = e;
  trace::start_event(w, kind);
  for (const auto& [from, to] : fields) {
    if (e.has(from)) w.set(to, e.get(from));
  }
  return w;
}

// The file that is bound, where there is only one; else the number that the event gives it.
uint64_t file_of(const ReplayWorld& w, uint64_t named) {
  uint64_t only = 0;
  for (uint32_t s = 0; s < model::slot_bound(w); s++) {
    if (!model::slot_in_use(w, s)) continue;
    const uint64_t file = model::slot_get(w, s, SlotField::kGmem);
    if (file == 0 || file == only) continue;
    if (only != 0) return named;
    only = file;
  }
  return only == 0 ? named : only - 1;
}

Event memory_region(const Event& e, const ReplayWorld& w) {
  namespace x = f::set_memslot;
  namespace c = f::memslot_create;
  const uint64_t id = e.get(x::slot) & 0xffff, as_id = e.get(x::slot) >> 16;
  const uint32_t slot = model::id_to_memslot(w, static_cast<uint32_t>(as_id), id);
  const uint64_t base = e.get(x::gpa) >> model::kPageShift;
  Event m = written(e, K::kMemslotCreate, {{x::hva, c::hva}, {x::mflags, c::flags}});
  if (slot != model::kNoSlot && e.get(x::size) == 0) {
    trace::start_event(m, K::kMemslotDelete);
  } else if (slot != model::kNoSlot && base != model::slot_get(w, slot, SlotField::kBase)) {
    trace::start_event(m, K::kMemslotMove);
    m.set(f::memslot_move::base_gfn, base);
  } else if (slot != model::kNoSlot) {
    m = written(e, K::kMemslotFlags, {{x::mflags, f::memslot_flags::flags}});
  } else {
    m.set(c::base_gfn, base);
    m.set(c::npages, e.get(x::size) >> model::kPageShift);
    if (e.has(x::gmem_fd)) m.set(c::gmem_fd, e.get(x::gmem_fd));
    if (e.has(x::gmem_off)) m.set(c::gmem_offset, e.get(x::gmem_off));
  }
  m.set(c::slot, id);  // the first two fields of all four
  m.set(c::as_id, as_id);
  return m;
}

}  // namespace

std::optional<Event> as_written(const Event& e, const ReplayWorld& w) {
  switch (e.kind) {
    case K::kMmuLoad: return written(e, K::kRootLoad, {{0, 0}});
    case K::kCreateVcpu: return written(e, K::kVcpuCreate, {{0, 0}});
    case K::kSetMemslot: return memory_region(e, w);
    case K::kSetMemAttr: return written(e, K::kSetAttributes, {{0, 0}, {1, 1}, {2, 2}});
    case K::kZapGfnRange: return written(e, K::kZapGfnRangeOp, {{0, 0}, {1, 1}});
    case K::kNxRecover: return written(e, K::kNxRecovery, {});
    case K::kMnInvStart: {
      Event m = written(e, K::kNotifierBegin, {{0, 0}, {1, 1}});
      if (e.has(f::mn_inv_start::mnflags)) {
        m.set(f::notifier_begin::may_block, e.get(f::mn_inv_start::mnflags) & 1);
      }
      return m;
    }
    case K::kMnInvEnd: return written(e, K::kNotifierEnd, {{0, 0}, {1, 1}});
    case K::kGmemPunchHole: {
      namespace x = f::gmem_punch_hole;
      Event m = written(e, K::kGmemPunch,
                        {{x::offset, f::gmem_punch::offset}, {x::len, f::gmem_punch::len}});
      m.set(f::gmem_punch::gmem_fd, file_of(w, e.get(x::gmem)));
      return m;
    }
    case K::kGmemRelease: {
      Event m = written(e, K::kGmemReleaseOp, {});
      m.set(f::gmem_release_op::gmem_fd, file_of(w, e.get(f::gmem_release::gmem)));
      return m;
    }
    case K::kMockAccept: {
      Event m = written(e, K::kSeamcall, {{f::mock_accept::gpa, f::seamcall::gpa}});
      m.set(f::seamcall::leaf, static_cast<uint64_t>(trace::SeamcallLeaf::kMemPageAccept));
      return m;
    }
    case K::kEntry:
    case K::kExit: return written(e, K::kYield, {});
    default: return std::nullopt;
  }
}

}  // namespace mmucheck::replay
