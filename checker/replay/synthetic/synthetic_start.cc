// How a stimulus of a hand-written trace becomes an operation: memslots, ranges, tables, dirty logs.
#include <algorithm>

#include "checker/replay/field_ranges.h"
#include "checker/replay/flatten.h"
#include "checker/replay/synthetic/recorded_stimuli.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT: machines by name
using invariant::id;
using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;

namespace {

constexpr uint64_t kHvaBase = 0x7f0000000000;  // hva of gfn 0
constexpr uint64_t kMaxSlotPages = uint64_t{1} << 22;
constexpr uint64_t kMaxAttributePages = uint64_t{1} << 20;
constexpr uint64_t kMaxGfn = uint64_t{1} << 40;  // 52 address bits

MemoryRegion region_of(const ReplayWorld& w, uint32_t slot) {
  MemoryRegion r;
  r.as_id = slot_get(w, slot, SlotField::kAsId);
  r.id = slot_get(w, slot, SlotField::kId);
  r.flags = slot_get(w, slot, SlotField::kFlags);
  r.base = slot_get(w, slot, SlotField::kBase);
  r.npages = slot_get(w, slot, SlotField::kNpages);
  r.hva = slot_get(w, slot, SlotField::kHva);
  return r;
}

// KVM_FILTER_* bits from whichever form the trace uses: today's attr_filter; only_private and
// only_shared of the series up to v19; exclude_private and exclude_shared of "MMU part 1".
uint8_t filter_of(const Event& e) {
  namespace x = f::unmap_gfn_range_op;
  if (e.has(x::attr_filter)) return static_cast<uint8_t>(e.get(x::attr_filter) & 3);
  if (e.get(x::only_private) != 0) return kFilterPrivate;
  if (e.get(x::only_shared) != 0) return kFilterShared;
  uint8_t filter = kFilterShared | kFilterPrivate;
  if (e.get(x::exclude_private) != 0) filter &= static_cast<uint8_t>(~kFilterPrivate);
  if (e.get(x::exclude_shared) != 0) filter &= static_cast<uint8_t>(~kFilterShared);
  return filter;
}

}  // namespace

std::optional<uint32_t> SyntheticReplayer::slot_of(const Event& e, Vm& v, size_t slot,
                                                   size_t as_id) {
  const ReplayWorld& w = v.model->world;
  const uint32_t found = id_to_memslot(w, static_cast<uint32_t>(e.get(as_id)), e.get(slot));
  if (found != kNoSlot) return found;
  // One that was deleted, perhaps by another thread, is no mistake of the trace: the ioctl fails.
  for (uint32_t s = 0; s < slot_bound(w); s++) {
    if (slot_get(w, s, SlotField::kId) == e.get(slot) &&
        slot_get(w, s, SlotField::kAsId) == e.get(as_id)) {
      return std::nullopt;
    }
  }
  refuse(e, "there is no such memslot");
  return std::nullopt;
}

void SyntheticReplayer::start(const Event& e, Thread& t, Vm& v) {
  if (const std::optional<Event> same = as_written(e, v.model->world)) {
    check_field_ranges(verdict_.file, *same);
    return start(*same, t, v);
  }
  switch (e.kind) {
    case K::kMemslotCreate:
    case K::kMemslotMove:
    case K::kMemslotFlags:
    case K::kMemslotDelete:
    case K::kDirtyLogEnable:
    case K::kDirtyLogDisable:
    case K::kGmemBind: return start_slot(e, t, v);
    case K::kUnmapGfnRangeOp:
    case K::kSetAttributes:
    case K::kZapGfnRangeOp:
    case K::kNotifierBegin:
    case K::kNotifierEnd:
    case K::kGmemPunch:
    case K::kGmemReleaseOp:
    case K::kAgeOp:
    case K::kTestAgeOp: return start_range(e, t, v);
    case K::kZapLeafsOp:
    case K::kZapRootOp:
    case K::kZapAllOp:
    case K::kZapSpOp:
    case K::kInvalidateRootsOp:
    case K::kZapInvalidatedRootsOp:
    case K::kNxRecovery:
    case K::kRcuRun:
    case K::kReapOp:
    case K::kFlushTlbs: return start_table(e, t, v);
    case K::kDirtyLogGet:
    case K::kDirtyLogClear:
    case K::kSplitOp:
    case K::kRecoverOp:
    case K::kWrprotSlotOp:
    case K::kClearDirtySlotOp:
    case K::kWriteProtectGfnOp:
    case K::kWriteTrack: return start_dirty(e, t, v);
    case K::kGuestAccess:
    case K::kPageFault:
    case K::kFault:
    case K::kPrefault:
    case K::kHwAccess:
    case K::kHostLevelChange: return start_fault(e, t, v);
    case K::kShadowSetSpte: return shadow_set_spte(e, v);
    case K::kShadowSplit: return shadow_split(e, v);
    case K::kSeamcall:
    case K::kGuestAccept:
    case K::kMapPrivatePfn:
    case K::kVcpuEnter:
    case K::kVcpuExit:
    case K::kVcpuMigrate:
    case K::kExternalHook:
    case K::kMockFinalize:
    case K::kMockZeroStep:
    case K::kMockReleaseHkid:
    case K::kVcpuInit:
      if (v.model->world.platform != nullptr) return start_td(e, t, v);
      return start_vcpu(e, t, v);
    default: return start_vcpu(e, t, v);
  }
}

void SyntheticReplayer::start_slot(const Event& e, Thread& t, Vm& v) {
  ReplayWorld& w = v.model->world;
  SetMemoryRegion m;
  if (e.kind == K::kMemslotCreate) {
    namespace x = f::memslot_create;
    MemoryRegion& r = m.region;
    r.id = e.get(x::slot);
    r.as_id = e.get(x::as_id);
    r.base = e.get(x::base_gfn);
    r.npages = e.get(x::npages);
    r.flags = e.get(x::flags);
    r.hva = e.get_or(x::hva, kHvaBase + (r.base << kPageShift));
    if (r.npages == 0 || r.npages > kMaxSlotPages || r.as_id > 1 || r.base >= kMaxGfn) {
      return refuse(e, "a memslot has 1 to 2^22 pages below 2^52, in address space 0 or 1");
    }
    if (r.flags & kMemGuestMemfd) {
      r.gmem = static_cast<uint64_t>(e.get_signed(x::gmem_fd)) + 1;
      r.gmem_offset = e.get(x::gmem_offset) >> kPageShift;
      check(v, e, id("MMU-GMEM-BIND"), e.has(x::gmem_fd) && e.get_signed(x::gmem_fd) >= 0);
    }
    return push(t, v, e, m);
  }
  // The first two fields of all others are slot and as_id.
  const auto slot = slot_of(e, v, 0, 1);
  if (!slot) return;
  m.region = region_of(w, *slot);
  switch (e.kind) {
    case K::kMemslotMove: m.region.base = e.get(f::memslot_move::base_gfn); break;
    case K::kMemslotFlags: m.region.flags = e.get(f::memslot_flags::flags); break;
    case K::kMemslotDelete: m.region.npages = 0; break;
    case K::kDirtyLogEnable: m.region.flags |= kMemLogDirtyPages; break;
    case K::kDirtyLogDisable: m.region.flags &= ~kMemLogDirtyPages; break;
    default:
      slot_set(w, *slot, SlotField::kGmem,
               static_cast<uint64_t>(e.get_signed(f::gmem_bind::gmem_fd)) + 1);
      w.set_field(CellKind::kGmemBinding, *slot, slot_get(w, *slot, SlotField::kGmem));
      slot_set(w, *slot, SlotField::kGmemOffset,
               e.get(f::gmem_bind::gmem_offset) >> kPageShift);
      check(v, e, id("MMU-GMEM-BIND"), e.get_signed(f::gmem_bind::gmem_fd) >= 0);
      return;
  }
  if (m.region.base >= kMaxGfn) return refuse(e, "a memslot lies below 2^52");
  push(t, v, e, m);
}

void SyntheticReplayer::start_range(const Event& e, Thread& t, Vm& v) {
  ReplayWorld& w = v.model->world;
  const auto hva_walk = [](uint64_t start, uint64_t end) {
    SlotWalk walk;
    walk.start = start;
    walk.end = end;
    return walk;
  };
  switch (e.kind) {
    case K::kUnmapGfnRangeOp: {
      namespace x = f::unmap_gfn_range_op;
      const auto slot = slot_of(e, v, x::slot, x::as_id);
      if (!slot) return;
      UnmapOp op;
      op.unmap.slot = *slot;
      op.unmap.start = e.get(x::start);
      op.unmap.end = e.get(x::end);
      op.unmap.may_block = e.get_or(x::may_block, 1) != 0;
      op.unmap.flush = e.get(x::flush) != 0;
      op.unmap.attr_filter = filter_of(e);
      return push(t, v, e, op);
    }
    case K::kSetAttributes: {
      SetMemAttributes m;
      m.start = e.get(f::set_attributes::start);
      m.end = e.get(f::set_attributes::end);
      m.attributes = e.get(f::set_attributes::attributes);
      check(v, e, id("MMU-ATTR-RANGE"), m.start < m.end && w.vm.has_private_mem);
      if (m.start >= m.end || !w.vm.has_private_mem) return;
      if (m.end - m.start > kMaxAttributePages) return refuse(e, "more than 2^20 pages");
      if (w.design.gmem_in_place && w.vm.has_mirror) {
        GmemConvert convert;
        convert.start = m.start;
        convert.end = m.end;
        convert.attributes = m.attributes;
        return push(t, v, e, convert);
      }
      return push(t, v, e, m);
    }
    case K::kZapGfnRangeOp: {
      ZapGfnRange m;
      m.start = e.get(f::zap_gfn_range_op::start);
      m.end = e.get(f::zap_gfn_range_op::end);
      check(v, e, id("MMU-SLOT-RANGE"), m.start < m.end);
      if (m.start < m.end) push(t, v, e, m);
      return;
    }
    case K::kNotifierBegin: {
      InvalidateRange m;
      m.slots = hva_walk(e.get(f::notifier_begin::start), e.get(f::notifier_begin::end));
      m.may_block = e.get_or(f::notifier_begin::may_block, 1) != 0;
      check(v, e, id("MMU-INV-HVA"), m.slots.start < m.slots.end);
      if (m.slots.start < m.slots.end) push(t, v, e, m);
      return;
    }
    case K::kNotifierEnd: {
      InvalidateRangeEnd m;
      m.slots = hva_walk(e.get(f::notifier_end::start), e.get(f::notifier_end::end));
      return push(t, v, e, m);
    }
    case K::kGmemPunch: {
      GmemInvalidate m;
      m.gmem = static_cast<uint64_t>(e.get_signed(f::gmem_punch::gmem_fd)) + 1;
      m.start = e.get(f::gmem_punch::offset) >> kPageShift;
      m.end = (e.get(f::gmem_punch::offset) + e.get(f::gmem_punch::len)) >> kPageShift;
      return push(t, v, e, m);
    }
    case K::kGmemReleaseOp: {
      GmemRelease m;
      m.gmem = static_cast<uint64_t>(e.get_signed(f::gmem_release_op::gmem_fd)) + 1;
      return push(t, v, e, m);
    }
    default: {
      namespace x = f::age_op;
      const auto slot = slot_of(e, v, x::slot, x::as_id);
      if (!slot) return;
      AgeOp op;
      op.age.test_only = e.kind == K::kTestAgeOp;
      op.age.slot = *slot;
      op.age.as_id = static_cast<uint32_t>(e.get(x::as_id));
      op.age.start = e.get(x::start);
      op.age.end = e.get(x::end);
      op.age.attr_filter = static_cast<uint8_t>(e.get_or(x::attr_filter, kFilterShared));
      return push(t, v, e, op);
    }
  }
}

void SyntheticReplayer::start_table(const Event& e, Thread& t, Vm& v) {
  ReplayWorld& w = v.model->world;
  const auto table = [&](size_t field) {
    const uint32_t found =
        e.has(field) ? w.store.find_table(e.get(field)) : first_root(w);
    if (found == kNoTable) refuse(e, "there is no such page table");
    return found;
  };
  switch (e.kind) {
    case K::kZapLeafsOp: {
      namespace x = f::zap_leafs_op;
      ZapLeafsOp op;
      op.zap = kvm_tdp_mmu_zap_leafs(e.get(x::start), e.get(x::end), e.get(x::flush) != 0);
      op.zap.can_yield = e.get_or(x::can_yield, 1) != 0;
      return push(t, v, e, op);
    }
    case K::kZapRootOp: {
      ZapRootOp op;
      op.zap.root = table(f::zap_root_op::root_pfn);
      op.zap.shared = e.get(f::zap_root_op::shared) != 0;
      if (op.zap.root != kNoTable) push(t, v, e, op);
      return;
    }
    case K::kZapAllOp: return push(t, v, e, ZapAllOp{});
    case K::kZapSpOp: {
      ZapSpOp op;
      op.zap.sp = table(f::zap_sp_op::spt_pfn);
      if (op.zap.sp != kNoTable) push(t, v, e, op);
      return;
    }
    case K::kInvalidateRootsOp: {
      InvalidateRootsOp op;
      op.types =
          static_cast<uint8_t>(e.get_or(f::invalidate_roots_op::root_types, kDirectRoots));
      return push(t, v, e, op);
    }
    case K::kZapInvalidatedRootsOp: {
      ZapInvalidatedRootsOp op;
      op.zap.shared = e.get_or(f::zap_invalidated_roots_op::shared, 1) != 0;
      return push(t, v, e, op);
    }
    case K::kNxRecovery: {
      RecoverNxHugePages m;
      m.counted = e.has(f::nx_recovery::ratio);
      m.ratio = e.get(f::nx_recovery::ratio);
      t.in.nx_pages = e.get_or(f::nx_recovery::to_zap, ~uint64_t{0});
      return push(t, v, e, m);
    }
    case K::kRcuRun: {
      RcuRunOp op;
      op.count = e.get_or(f::rcu_run::count, ~uint64_t{0});
      return push(t, v, e, op);
    }
    case K::kReapOp: return push(t, v, e, ReapOp{});
    default: {
      FlushOp op;
      op.start = e.get(f::flush_tlbs::start);
      op.npages = e.get(f::flush_tlbs::npages);
      return push(t, v, e, op);
    }
  }
}

void SyntheticReplayer::start_dirty(const Event& e, Thread& t, Vm& v) {
  ReplayWorld& w = v.model->world;
  const auto slot = slot_of(e, v, 0, 1);  // the first two fields of all of them
  if (!slot) return;
  switch (e.kind) {
    case K::kDirtyLogGet:
    case K::kDirtyLogClear: {
      namespace x = f::dirty_log_clear;
      const uint64_t npages = slot_get(w, *slot, SlotField::kNpages);
      const bool get = e.kind == K::kDirtyLogGet;
      const uint64_t first = get ? 0 : e.get(x::first_page) & ~uint64_t{63};
      const uint64_t end =
          std::min(npages, get ? npages : e.get(x::first_page) + e.get_or(x::num_pages, 64));
      push(t, v, e, DirtyLogFlush{0, *slot});
      for (uint64_t page = first; page < end; page += 64) {
        DirtyLogChunk m;
        for (uint64_t i = 0; get && i < 64 && page + i < npages; i++) {
          m.mask |= w.store.get(cell::of(CellKind::kDirtyBit, *slot, page + i)) << i;
        }
        if (!get) m.mask = e.get_or(x::mask, ~uint64_t{0});
        if (m.mask == 0) continue;
        if (t.stack.size() >= kMaxTasks) return refuse(e, "too many pages in one harvest");
        m.init_set = w.env.init_set;
        m.slot = *slot;
        m.gfn = slot_get(w, *slot, SlotField::kBase) + page;
        push(t, v, e, m);
      }
      return;
    }
    case K::kSplitOp: {
      namespace x = f::split_op;
      SplitOp op;
      op.split.slot = *slot;
      op.split.start = e.get_or(x::start, slot_get(w, *slot, SlotField::kBase));
      op.split.end = e.get_or(x::end, op.split.start + slot_get(w, *slot, SlotField::kNpages));
      op.split.target_level = static_cast<int8_t>(e.get_or(x::target_level, 1));
      op.split.shared = e.get(x::shared) != 0;
      if (op.split.target_level < 1 || op.split.target_level > 2) {
        return refuse(e, "a split ends at level 1 or 2");
      }
      return push(t, v, e, op);
    }
    case K::kRecoverOp: {
      RecoverOp op;
      op.collapse.slot = *slot;
      return push(t, v, e, op);
    }
    case K::kWrprotSlotOp:
    case K::kClearDirtySlotOp: {
      DirtySlotOp op;
      op.dirty.slot = *slot;
      op.dirty.clear_dirty = e.kind == K::kClearDirtySlotOp;
      if (!op.dirty.clear_dirty) {
        op.dirty.min_level =
            static_cast<int8_t>(std::min<uint64_t>(e.get_or(f::wrprot_slot_op::min_level, 1), 5));
      }
      return push(t, v, e, op);
    }
    case K::kWriteProtectGfnOp: {
      namespace x = f::write_protect_gfn_op;
      WriteProtectOp op;
      op.protect.slot = *slot;
      op.protect.gfn = e.get(x::gfn);
      op.protect.min_level =
          static_cast<int8_t>(std::min<uint64_t>(e.get_or(x::min_level, 1), 5));
      return push(t, v, e, op);
    }
    default: {
      namespace x = f::write_track;
      if (!slot_contains(w, *slot, e.get(x::gfn))) {
        return refuse(e, "the gfn is not in the memslot");
      }
      v.monitor->write_tracking_used();
      WriteProtectOp op;
      op.tracks = e.get(x::on) != 0 ? Tracks::kFromNow : Tracks::kNoMore;
      op.protect.slot = *slot;
      op.protect.gfn = e.get(x::gfn);
      return push(t, v, e, op);
    }
  }
}

}  // namespace mmucheck::replay
