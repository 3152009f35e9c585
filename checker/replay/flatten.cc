#include "checker/replay/flatten.h"

#include "checker/replay/seamcall_probes.h"
#include "model/address/address.h"
#include "model/spte/role.h"
#include "model/spte/spte.h"

namespace mmucheck::replay {

using model::CellKind;
using model::SlotField;
using K = trace::EventKind;
namespace f = trace::f;
namespace ev = model::ev;

namespace {
uint64_t u(int v) { return static_cast<uint64_t>(int64_t{v}); }

trace::HookKind hook_of(ev::HookKind hook) {
  switch (hook) {
    case ev::HookKind::kSet: return trace::HookKind::kSet;
    case ev::HookKind::kLink: return trace::HookKind::kLink;
    case ev::HookKind::kZap: return trace::HookKind::kZap;
    case ev::HookKind::kRemove: break;
  }
  return trace::HookKind::kRemove;
}
}  // namespace

void Flatten::operator()(const ev::Store& e) { env.note_store(e); }

void Flatten::operator()(const ev::Freed& e) {
  env.freed.push_back({e.table, env.pfn(e.table)});
}

void Flatten::operator()(const ev::CmpxchgSpte& e) {
  namespace x = f::cmpxchg_spte;
  env.add(Predicted(K::kCmpxchgSpte)
              .set(x::sptep, env.sptep(e.table, e.index))
              .set(x::gfn, e.gfn)
              .set(x::level, u(e.level))
              .set(x::old_spte, e.old_spte)
              .set(x::new_spte, e.new_spte));
}

void Flatten::operator()(const ev::CmpxchgSpteRet& e) {
  env.add(Predicted(K::kCmpxchgSpteRet).set(f::cmpxchg_spte_ret::ret, u(e.ret)));
}

void Flatten::operator()(const ev::ChangedSpte& e) {
  namespace x = f::changed_spte;
  Predicted p(K::kChangedSpte);
  p.set(x::as_id, e.as_id)
      .set(x::gfn, e.gfn)
      .set(x::old_spte, e.old_spte)
      .set(x::new_spte, e.new_spte)
      .set(x::level, u(e.level))
      .set(x::shared, e.shared)
      .set(x::spt_pfn, env.pfn(e.table))
      .set(x::role, role(e.table))
      .set(x::table_gfn, field(CellKind::kSpGfn, e.table));
  env.add(p);
}

void Flatten::operator()(const ev::SpteChanged& e) {
  namespace x = f::spte_changed;
  env.add(Predicted(K::kSpteChanged)
              .set(x::as_id, e.as_id)
              .set(x::gfn, e.gfn)
              .set(x::level, u(e.level))
              .set(x::old_spte, e.old_spte)
              .set(x::new_spte, e.new_spte));
}

void Flatten::operator()(const ev::SpteRequested& e) {
  namespace x = f::spte_requested;
  Predicted p(K::kSpteRequested);
  p.set(x::gfn, e.gfn).set(x::level, u(e.level));
  // The tracepoint prints the pfn with the gfn's low bits put back.
  if (!(e.pfn & model::kNoslotPfn)) {
    p.set(x::pfn, e.pfn | (e.gfn & (model::pages_per_hpage(e.level) - 1)));
  }
  env.add(p);
}

void Flatten::operator()(const ev::SetSpte& e) {
  namespace x = f::set_spte;
  env.add(Predicted(K::kSetSpte)
              .set(x::gfn, e.gfn)
              .set(x::spte, e.spte)
              .set(x::level, u(e.level))
              .set(x::sptep, env.sptep(e.table, e.index)));
}

void Flatten::operator()(const ev::MarkMmioSpte& e) {
  env.add(Predicted(K::kMarkMmioSpte).set(f::mark_mmio_spte::gfn, e.gfn));
}

void Flatten::operator()(const ev::SplitHugePage& e) {
  namespace x = f::split_huge_page;
  env.add(Predicted(K::kSplitHugePage)
              .set(x::gfn, e.gfn)
              .set(x::spte, e.spte)
              .set(x::level, u(e.level))
              .set(x::err, u(e.error)));
}

void Flatten::operator()(const ev::FastPageFault& e) {
  namespace x = f::fast_page_fault;
  Predicted p(K::kFastPageFault);
  p.set(x::spurious, e.ret == 6).set(x::fixed, e.ret == 5);
  if (e.found) {
    p.set(x::old_spte, e.old_spte).set(x::new_spte, e.new_spte);
    p.set(x::sptep, env.sptep(e.table, e.index));
  }
  env.add(p);
}

void Flatten::operator()(const ev::InitSp& e) {
  if (env.in_->new_table) env.adopt_frame(e.table, *env.in_->new_table);
  namespace x = f::init_sp;
  Predicted p(K::kInitSp);
  p.set(x::spt_pfn, env.pfn(e.table)).set(x::gfn, e.gfn).set(x::role, e.role);
  p.set(x::sptep, e.parent_table == model::kNoTable ? 0
                                                    : env.sptep(e.parent_table, e.parent_index));
  env.add(p);
}

void Flatten::operator()(const ev::GetPage& e) {
  env.add(Predicted(K::kGetPage)
              .set(f::get_page::gfn, e.gfn)
              .set(f::get_page::level, u(model::role_level(e.role))));
}

void Flatten::operator()(const ev::RemovedPt& e) {
  env.add(Predicted(K::kRemovedPt)
              .set(f::removed_pt::spt_pfn, env.pfn(e.table))
              .set(f::removed_pt::shared, e.shared));
}

void Flatten::operator()(const ev::PrepareZapPage& e) {
  env.add(Predicted(K::kPrepareZapPage)
              .set(f::prepare_zap_page::gfn, e.gfn)
              .set(f::prepare_zap_page::level, u(model::role_level(e.role))));
}

void Flatten::operator()(const ev::IterStart& e) {
  namespace x = f::iter_start;
  Predicted p(K::kIterStart);
  p.set(x::spt_pfn, env.pfn(e.root))
      .set(x::role, role(e.root))
      .set(x::gfn, field(CellKind::kSpGfn, e.root))
      .set(x::min_level, u(e.min_level))
      .set(x::start, e.start);
  // A lockless walk may see another thread's temporary reference.
  if (env.locked_) p.set(x::refs, field(CellKind::kRootRefs, e.root));
  env.add(p);
}

void Flatten::operator()(const ev::IterRestart& e) {
  env.add(Predicted(K::kIterRestart).set(f::iter_restart::next_gfn, e.next_gfn));
}

Predicted Flatten::root_event(K kind, uint32_t root, bool with_refs) const {
  // spt_pfn, role, gfn, refs are the first fields of every event about a root or table.
  Predicted p(kind);
  p.set(0, env.pfn(root)).set(1, role(root)).set(2, field(CellKind::kSpGfn, root));
  if (with_refs) p.set(3, field(CellKind::kRootRefs, root));
  return p;
}

void Flatten::operator()(const ev::PutRoot& e) { env.add(root_event(K::kPutRoot, e.root, true)); }

void Flatten::operator()(const ev::Yield& e) {
  env.add(Predicted(e.write ? K::kYieldWrite : K::kYieldRead));
}

Predicted Flatten::slot_event(K kind, uint64_t slot) const {
  // slot, as_id, base_gfn, npages, hva, flags are the first fields of every event about a slot.
  Predicted p(kind);
  p.set(0, slot_field(slot, SlotField::kId))
      .set(1, slot_field(slot, SlotField::kAsId))
      .set(2, slot_field(slot, SlotField::kBase))
      .set(3, slot_field(slot, SlotField::kNpages))
      .set(4, slot_field(slot, SlotField::kHva))
      .set(5, slot_field(slot, SlotField::kFlags));
  return p;
}

void Flatten::flush_memslot(uint64_t slot) {
  env.add(slot_event(K::kFlushMemslot, slot));
  env.add(Predicted(K::kFlushRange)
              .set(f::flush_range::gfn, slot_field(slot, SlotField::kBase))
              .set(f::flush_range::npages, slot_field(slot, SlotField::kNpages)));
  env.add(Predicted(K::kFlushAll));
}

void Flatten::operator()(const ev::Flush& e) {
  switch (e.kind) {
    case ev::FlushKind::kAll: return env.add(Predicted(K::kFlushAll));
    case ev::FlushKind::kRange:
      env.add(Predicted(K::kFlushRange)
                  .set(f::flush_range::gfn, e.a)
                  .set(f::flush_range::npages, e.b));
      return env.add(Predicted(K::kFlushAll));
    case ev::FlushKind::kMemslot: return flush_memslot(e.slot);
    case ev::FlushKind::kRequest: return;
  }
}

void Flatten::operator()(const ev::ExternalSet& e) {
  namespace x = f::mock_set_external;
  env.add(Predicted(K::kMockSetExternal)
              .set(x::gfn, e.gfn)
              .set(x::old_spte, e.old_spte)
              .set(x::new_spte, e.new_spte)
              .set(x::level, u(e.level))
              .set(x::hook, static_cast<uint64_t>(hook_of(e.hook))));
}

void Flatten::operator()(const ev::ExternalSetRet& e) {
  env.add(Predicted(K::kMockSetExternalRet).set(f::mock_set_external_ret::ret, u(e.ret)));
}

void Flatten::operator()(const ev::ExternalFree& e) {
  Predicted p = root_event(K::kMockFreeExternal, e.table, false);
  const uint64_t external = field(CellKind::kSpExternal, e.table);
  if (external != 0 && external - 1 < kFirstProvisional) {
    p.set(f::mock_free_external::external_spt_pfn, external - 1);
  }
  env.add(p);
}

void Flatten::operator()(const ev::Seamcall& e) {
  if (e.leaf == model::tdx::Leaf::kMngKeyFreeid) return env.add(Predicted(K::kMockFreeid));
  const SeamcallProbe* probe = probe_of(e.leaf);
  if (probe == nullptr) return;
  Predicted p(probe->entry);
  if (probe->has_place) p.set(f::mock_page_aug::gpa, e.gpa);
  if (probe->has_place && probe->entry != K::kMockAccept) {
    p.set(f::mock_page_aug::level, u(e.level));
  }
  if (probe->takes_page) p.set(f::mock_page_aug::hpa, e.hpa);
  if (probe->entry == K::kMockWbinvd || probe->entry == K::kMockReclaim) {
    p.set(f::mock_wbinvd::hpa, e.hpa);
  }
  env.add(p);
}

void Flatten::operator()(const ev::SeamcallRet& e) {
  env.add(Predicted(K::kSeamcallRet)
              .set(f::seamcall_ret::leaf, static_cast<uint64_t>(named_leaf(e.leaf)))
              .set(f::seamcall_ret::status, e.status));
  const SeamcallProbe* probe = probe_of(e.leaf);
  if (probe == nullptr) return;
  namespace tdx = model::tdx;
  tdx::Status status;
  status.v = e.status;
  // The mock has no vCPU to leave the TD with: where ACCEPT would be an EPT violation, it answers
  // as a SEAMCALL would.
  if (status.code() == tdx::StatusCode::kTdExitEptViolation) {
    status = {e.level == model::kPgLevel4K ? tdx::StatusCode::kEptEntryStateIncorrect
                                           : tdx::StatusCode::kEptWalkFailed,
              tdx::Operand::kRcx};
  }
  env.add(Predicted(probe->ret).set(f::mock_page_aug_ret::ret, status.v));
}

void Flatten::operator()(const ev::SeptState& e) {
  namespace x = f::mock_sept_state;
  env.add(Predicted(K::kMockSeptState)
              .set(x::gpa, e.gpa)
              .set(x::level, u(e.level))
              .set(x::old_state, e.old_state)
              .set(x::new_state, e.new_state));
}

void Flatten::operator()(const ev::TdDestroy& e) {
  namespace x = f::mock_td_destroy;
  env.add(Predicted(K::kMockTdDestroy)
              .set(x::chldcnt, e.chldcnt)
              .set(x::epoch, e.epoch)
              .set(x::bugs, e.bugs));
}

void Flatten::operator()(const ev::Warn& e) { env.broken.push_back({e.rule}); }

// start, end, slot, as_id, arg, attr_filter, may_block: the fields of every gfn range event.
Predicted Flatten::range_event(K kind, const uint64_t* a) const {
  namespace x = f::unmap_gfn_range;
  Predicted p(kind);
  p.set(x::start, a[0]).set(x::end, a[1]);
  p.set(x::slot, slot_field(a[2], SlotField::kId));
  p.set(x::as_id, slot_field(a[2], SlotField::kAsId));
  p.set(x::attr_filter, a[3]).set(x::may_block, a[4]);
  return p;
}

Predicted Flatten::invalidation(K kind, const uint64_t* a) const {
  namespace x = f::inv_begin;
  Predicted p(kind);
  p.set(x::seq, a[0]).set(x::in_progress, a[1]).set(x::rstart, a[2]).set(x::rend, a[3]);
  return p;
}

void Flatten::enter_fault(const ev::Enter& e) {
  const uint64_t* a = e.a;
  switch (e.fn) {
    case ev::Fn::kCheckMmioSpte: {
      namespace x = f::check_mmio_spte;
      return env.add(Predicted(K::kCheckMmioSpte)
                         .set(x::spte, a[0])
                         .set(x::kvm_gen, a[1])
                         .set(x::spte_gen, a[2])
                         .set(x::valid, a[3]));
    }
    case ev::Fn::kHandleMmioPageFault:
      return env.add(Predicted(K::kHandleMmioPageFault)
                         .set(f::handle_mmio_page_fault::addr, a[0])
                         .set(f::handle_mmio_page_fault::gfn, a[1]));
    case ev::Fn::kGmemGetPfn:
      return env.add(Predicted(K::kGmemGetPfn)
                         .set(f::gmem_get_pfn::slot, slot_field(a[0], SlotField::kId))
                         .set(f::gmem_get_pfn::gfn, a[1]));
    case ev::Fn::kTdpMap: {
      namespace x = f::tdp_map;
      Predicted p(K::kTdpMap);
      p.set(x::vcpu_id, a[0]).set(x::addr, a[1]).set(x::gfn, a[2]);
      p.set(x::write, a[4]).set(x::exec, a[5]).set(x::prefetch, a[6]).set(x::is_private, a[7]);
      p.set(x::map_writable, a[9]).set(x::nx_workaround, a[10]);
      const bool slot = a[12] != model::kNoSlot;
      if (slot) {
        p.set(x::pfn, a[3]).set(x::max_level, a[8]).set(x::mmu_seq, a[11]);
        p.set(x::fslot, slot_field(a[12], SlotField::kId));
        p.set(x::fslot_as, slot_field(a[12], SlotField::kAsId));
      }
      const uint64_t root =
          env.store_.get(model::cell::of(CellKind::kVcpuRoot, static_cast<uint32_t>(a[0]), 0));
      if (root != 0) {
        const auto table = static_cast<uint32_t>(root - 1);
        p.set(x::root_hpa, env.pfn(table) << model::kPageShift);
      }
      return env.add(p);
    }
    default: return;
  }
}

void Flatten::operator()(const ev::Enter& e) {
  using Fn = ev::Fn;
  const uint64_t* a = e.a;
  switch (e.fn) {
    case Fn::kZapLeafsRoot: {
      namespace x = f::zap_leafs_root;
      Predicted p = root_event(K::kZapLeafsRoot, e.root, true);
      p.set(x::start, a[0]).set(x::end, a[1]).set(x::can_yield, a[2]).set(x::flush, a[3]);
      return env.add(p);
    }
    case Fn::kZapLeafs:
      return env.add(Predicted(K::kZapLeafs)
                         .set(f::zap_leafs::start, a[0])
                         .set(f::zap_leafs::end, a[1])
                         .set(f::zap_leafs::flush, a[2]));
    case Fn::kZapRoot:
      return env.add(root_event(K::kZapRoot, e.root, true)
                         .set(f::zap_root::shared, a[0])
                         .set(f::zap_root::zap_level, a[1]));
    case Fn::kZapAll: return env.add(Predicted(K::kZapAll));
    case Fn::kZapSp: return env.add(root_event(K::kZapSp, e.root, false));
    case Fn::kZapPossibleNx: return env.add(root_event(K::kZapNx, e.root, false));
    case Fn::kInvalidateRoots: {
      Predicted p(K::kInvalidateAllRoots);
      if (env.design_.root_types) p.set(f::invalidate_all_roots::root_types, a[0]);
      return env.add(p);
    }
    case Fn::kZapInvalidatedRoots: {
      Predicted p(K::kZapInvalidatedRoots);
      if (env.design_.root_types) p.set(f::zap_invalidated_roots::shared, a[0]);
      return env.add(p);
    }
    case Fn::kZapCollapsibleKvm: return env.add(slot_event(K::kZapCollapsibleKvm, a[0]));
    case Fn::kZapCollapsible: return env.add(slot_event(K::kZapCollapsible, a[0]));
    case Fn::kRecoverHuge: return env.add(slot_event(K::kRecoverHuge, a[0]));
    case Fn::kTrySplit: {
      namespace x = f::try_split;
      Predicted p = slot_event(K::kTrySplit, a[4]);
      p.set(x::start, a[0]).set(x::end, a[1]).set(x::target_level, a[2]).set(x::shared, a[3]);
      return env.add(p);
    }
    case Fn::kSplitRoot: {
      namespace x = f::split_root;
      Predicted p = root_event(K::kSplitRoot, e.root, true);
      p.set(x::start, a[0]).set(x::end, a[1]).set(x::target_level, a[2]).set(x::shared, a[3]);
      return env.add(p);
    }
    case Fn::kWrprotSlot:
      return env.add(slot_event(K::kWrprotSlot, a[0]).set(f::wrprot_slot::min_level, a[1]));
    case Fn::kClearDirtySlot: return env.add(slot_event(K::kClearDirtySlot, a[0]));
    case Fn::kWrprotRange:
      return env.add(root_event(K::kWrprotRange, e.root, true)
                         .set(f::wrprot_range::start, a[0])
                         .set(f::wrprot_range::end, a[1])
                         .set(f::wrprot_range::min_level, a[2]));
    case Fn::kClearDirtyRange:
      return env.add(root_event(K::kClearDirtyRange, e.root, true)
                         .set(f::clear_dirty_range::start, a[0])
                         .set(f::clear_dirty_range::end, a[1]));
    case Fn::kClearDirtyPt:
      return env.add(slot_event(K::kClearDirtyPt, a[0])
                         .set(f::clear_dirty_pt::gfn, a[1])
                         .set(f::clear_dirty_pt::mask, a[2])
                         .set(f::clear_dirty_pt::wrprot, a[3]));
    case Fn::kWriteProtectGfn:
      return env.add(slot_event(K::kWriteProtectGfn, a[0])
                         .set(f::write_protect_gfn::gfn, a[1])
                         .set(f::write_protect_gfn::min_level, a[2]));
    case Fn::kAgeRange:
    case Fn::kTestAgeRange: {
      namespace x = f::age_range;
      Predicted p(e.fn == Fn::kAgeRange ? K::kAgeRange : K::kTestAgeRange);
      p.set(x::start, a[0]).set(x::end, a[1]).set(x::attr_filter, a[2]).set(x::as_id, a[3]);
      p.set(x::slot, slot_field(a[4], SlotField::kId));
      return env.add(p);
    }
    case Fn::kAllocRoot: {
      namespace x = f::alloc_root;
      Predicted p(K::kAllocRoot);
      p.set(x::vcpu_id, a[0]).set(x::root_role, a[1]);
      if (env.design_.root_types) p.set(x::mirror, a[2]);
      return env.add(p);
    }
    case Fn::kInvBegin: return env.add(invalidation(K::kInvBegin, a));
    case Fn::kInvEnd:
      env.last_invalidation_end_ = env.now_;
      return env.add(invalidation(K::kInvEnd, a));
    case Fn::kInvAdd: {
      namespace x = f::inv_add;
      Predicted p(K::kInvAdd);
      p.set(x::start, a[0]).set(x::end, a[1]).set(x::seq, a[2]).set(x::in_progress, a[3]);
      p.set(x::rstart, a[4]).set(x::rend, a[5]);
      return env.add(p);
    }
    case Fn::kMmuUnmapGfnRange: return env.add(range_event(K::kMmuUnmapGfnRange, a));
    case Fn::kUnmapGfnRange: return env.add(range_event(K::kUnmapGfnRange, a));
    case Fn::kTdpUnmapGfnRange:
      return env.add(range_event(K::kTdpUnmapGfnRange, a).set(f::tdp_unmap_gfn_range::flush, a[5]));
    case Fn::kZapAllFast: return env.add(Predicted(K::kZapAllFast));
    case Fn::kMmuZapAllFast: return env.add(Predicted(K::kMmuZapAllFast));
    case Fn::kCommitMemslot:
      env.last_commit_ = env.now_;
      return env.add(Predicted(K::kCommitMemslot).set(f::commit_memslot::change, a[0]));
    case Fn::kVmSetMemAttributes: {
      namespace x = f::vm_set_mem_attributes;
      return env.add(Predicted(K::kVmSetMemAttributes)
                         .set(x::start, a[0])
                         .set(x::end, a[1])
                         .set(x::attributes, a[2]));
    }
    case Fn::kPreSetAttr:
    case Fn::kPostSetAttr: {
      namespace x = f::pre_set_attr;
      Predicted p(e.fn == Fn::kPreSetAttr ? K::kPreSetAttr : K::kPostSetAttr);
      p.set(x::start, a[0]).set(x::end, a[1]);
      p.set(x::slot, slot_field(a[2], SlotField::kId));
      return env.add(p);
    }
    case Fn::kGmemInvalidate:
    case Fn::kGmemInvalidateEnd: {
      Predicted p(e.fn == Fn::kGmemInvalidate ? K::kGmemInvalidate : K::kGmemInvalidateEnd);
      p.set(f::gmem_invalidate::start, a[0]).set(f::gmem_invalidate::end, a[1]);
      return env.add(p);
    }
    case Fn::kFlushMemslot: return flush_memslot(a[0]);
    case Fn::kReleaseHkid: return env.add(Predicted(K::kMockReleaseHkid));
    default: return enter_fault(e);
  }
}

void Flatten::operator()(const ev::Return& e) {
  using Fn = ev::Fn;
  const auto ret = [&](K kind) { env.add(Predicted(kind).set(0, e.value)); };
  switch (e.fn) {
    case Fn::kZapLeafsRoot: return ret(K::kZapLeafsRootRet);
    case Fn::kTdpUnmapGfnRange: return ret(K::kTdpUnmapGfnRangeRet);
    case Fn::kAgeRange: return ret(K::kAgeRangeRet);
    case Fn::kTestAgeRange: return ret(K::kTestAgeRangeRet);
    case Fn::kFaultin: return ret(K::kFaultinRet);
    case Fn::kFaultStale: return ret(K::kFaultStaleRet);
    case Fn::kTdpMap: return ret(K::kTdpMapRet);
    case Fn::kSetMemslot: return ret(K::kSetMemslotRet);
    case Fn::kSetMemAttr: return ret(K::kSetMemAttrRet);
    // These return nothing; the probe shows what was in the register.
    case Fn::kAllocRoot: return env.add(Predicted(K::kAllocRootRet));
    case Fn::kZapInvalidatedRoots: return env.add(Predicted(K::kZapInvalidatedRootsRet));
    default: return;
  }
}

}  // namespace mmucheck::replay
