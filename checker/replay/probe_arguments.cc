#include "checker/replay/probe_arguments.h"

#include <initializer_list>
#include <span>

#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;

namespace {

struct Taken {
  K kind;
  uint32_t fields;
  uint32_t beside = 0;  // only of a kind that has one of these
};

constexpr uint32_t kNamesVm = uint32_t{1} << ProbeArguments::kVmBit;

constexpr uint32_t mask_of(std::initializer_list<size_t> fields) {
  uint32_t mask = 0;
  for (const size_t i : fields) mask |= uint32_t{1} << i;
  return mask;
}

// What operations begin with, and what the importer makes inputs of (tools/import/ftrace).
constexpr Taken kTaken[] = {
    {K::kInitVm, mask_of({f::init_vm::vm_type})},
    {K::kSetMemslot, mask_of({f::set_memslot::slot, f::set_memslot::mflags, f::set_memslot::gpa,
                           f::set_memslot::size, f::set_memslot::hva})},
    {K::kCommitMemslot, mask_of({f::commit_memslot::change})},
    {K::kMmuLoad, mask_of({f::mmu_load::vcpu_id})},
    {K::kAllocRoot, mask_of({f::alloc_root::vcpu_id, f::alloc_root::root_role})},
    {K::kFreeRoots, mask_of({f::free_roots::root_hpa, f::free_roots::roots_to_free})},
    {K::kInitSp, mask_of({f::init_sp::spt_pfn})},
    {K::kRcuFreeSp, mask_of({f::rcu_free_sp::spt_pfn})},
    {K::kTdpMap,
     mask_of({f::tdp_map::vcpu_id, f::tdp_map::addr, f::tdp_map::error_code, f::tdp_map::gfn,
           f::tdp_map::pfn, f::tdp_map::prefetch, f::tdp_map::is_private, f::tdp_map::max_level,
           f::tdp_map::map_writable})},
    {K::kTdpMapRet, mask_of({f::tdp_map_ret::ret})},
    {K::kFaultinRet, mask_of({f::faultin_ret::ret})},
    {K::kFaultStaleRet, mask_of({f::fault_stale_ret::stale})},
    {K::kGmemGetPfn, mask_of({f::gmem_get_pfn::gfn})},
    {K::kSoftExit, mask_of({f::soft_exit::gpa, f::soft_exit::error_code})},
    {K::kSoftExitRet, mask_of({f::soft_exit_ret::ret})},
    {K::kIterStart, mask_of({f::iter_start::role, f::iter_start::min_level, f::iter_start::start})},
    {K::kIterRestart, mask_of({f::iter_restart::next_gfn})},
    {K::kChangedSpte, mask_of({f::changed_spte::gfn, f::changed_spte::level,
                            f::changed_spte::old_spte, f::changed_spte::new_spte})},
    // What is called gfn is the table's where its struct was read, unless there is another one.
    {K::kChangedSpte, mask_of({f::changed_spte::table_gfn}),
     mask_of({f::changed_spte::spt_pfn, f::changed_spte::role, f::changed_spte::refs})},
    {K::kCmpxchgSpte, mask_of({f::cmpxchg_spte::sptep, f::cmpxchg_spte::gfn, f::cmpxchg_spte::level,
                            f::cmpxchg_spte::old_spte, f::cmpxchg_spte::new_spte})},
    {K::kCmpxchgSpteRet, mask_of({f::cmpxchg_spte_ret::ret})},
    {K::kSetMemAttr, mask_of({f::set_mem_attr::start, f::set_mem_attr::end,
                           f::set_mem_attr::attributes})},
    {K::kGmemPunchHole, mask_of({f::gmem_punch_hole::offset, f::gmem_punch_hole::len})},
    {K::kGmemInvalidate, mask_of({f::gmem_invalidate::start, f::gmem_invalidate::end,
                               f::gmem_invalidate::gmem})},
    {K::kGmemRelease, mask_of({f::gmem_release::gmem})},
    {K::kMnInvStart, mask_of({f::mn_inv_start::start, f::mn_inv_start::end,
                           f::mn_inv_start::mnflags})},
    {K::kMnInvEnd, mask_of({f::mn_inv_end::start, f::mn_inv_end::end})},
    {K::kZapGfnRange, mask_of({f::zap_gfn_range::start, f::zap_gfn_range::end})},
    {K::kZapSp, mask_of({f::zap_sp::spt_pfn})},
    {K::kZapNx, mask_of({f::zap_nx::spt_pfn})},
    {K::kFlushRange, mask_of({f::flush_range::gfn, f::flush_range::npages})},
    {K::kClearDirtyPt, mask_of({f::clear_dirty_pt::slot, f::clear_dirty_pt::base_gfn,
                             f::clear_dirty_pt::gfn, f::clear_dirty_pt::mask})},
    {K::kTestAgeRange, mask_of({f::test_age_range::start, f::test_age_range::end})},
    {K::kTestAgeRangeRet, mask_of({f::test_age_range_ret::young})},
    {K::kMapPrivatePfn, mask_of({f::map_private_pfn::gfn})},
};

// Of recordings with a mirror root: the hooks' answers, and where and what the SEAMCALLs are for.
constexpr Taken kTakenOfMirror[] = {
    {K::kAllocRoot, mask_of({f::alloc_root::mirror}) | kNamesVm},
    {K::kTdpMap, kNamesVm},
    {K::kPutRoot, mask_of({f::put_root::role})},
    {K::kMockSetExternalRet, mask_of({f::mock_set_external_ret::ret})},
    {K::kMockSeptAdd, mask_of({f::mock_sept_add::gpa, f::mock_sept_add::level,
                            f::mock_sept_add::hpa})},
    {K::kMockSeptAddRet, mask_of({f::mock_sept_add_ret::ret})},
    {K::kMockPageAddRet, mask_of({f::mock_page_add_ret::ret})},
    {K::kMockPageAugRet, mask_of({f::mock_page_aug_ret::ret})},
    {K::kMockRangeBlockRet, mask_of({f::mock_range_block_ret::ret})},
    {K::kMockTrackRet, mask_of({f::mock_track_ret::ret})},
    {K::kMockPageRemoveRet, mask_of({f::mock_page_remove_ret::ret})},
    {K::kMockWbinvdRet, mask_of({f::mock_wbinvd_ret::ret})},
    {K::kMockReclaimRet, mask_of({f::mock_reclaim_ret::ret})},
    {K::kMockAccept, mask_of({f::mock_accept::gpa})},
    {K::kMockAcceptRet, mask_of({f::mock_accept_ret::ret})},
};

}  // namespace

std::string ProbeArguments::missing() const {
  const bool mirror = seen_.test(static_cast<size_t>(K::kMockSetExternal));
  for (const std::span<const Taken> rows :
       {std::span<const Taken>(kTaken), std::span<const Taken>(kTakenOfMirror)}) {
    if (rows.data() == kTakenOfMirror && !mirror) break;
    for (const Taken& row : rows) {
      const auto kind = static_cast<size_t>(row.kind);
      const uint32_t absent = row.fields & ~present_[kind];
      if (!seen_.test(kind) || absent == 0) continue;
      if (row.beside != 0 && (row.beside & present_[kind]) == 0) continue;
      const trace::KindInfo& info = trace::kind_info(row.kind);
      const auto field = static_cast<size_t>(__builtin_ctz(absent));
      const std::string_view name = field == kVmBit ? std::string_view("kvm")
                                                                : info.fields[field].name;
      return std::string(info.name) + "." + std::string(name);
    }
  }
  return {};
}

}  // namespace mmucheck::replay
