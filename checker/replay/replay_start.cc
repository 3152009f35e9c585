// How a stimulus becomes an operation.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checker/replay/replayer.h"
#include "checker/replay/seamcall_probes.h"

namespace mmucheck::replay {

using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;

namespace {

// PFERR_* bits of an error code.
constexpr uint64_t kPresent = 1, kWrite = 2, kRsvd = 8, kFetch = 16;
constexpr uint64_t kPrivateAccess = uint64_t{1} << 49;
constexpr uint64_t kMnBlockable = 1;  // MMU_NOTIFIER_RANGE_BLOCKABLE
constexpr uint64_t kSlotIdMask = 0xffff;
constexpr uint64_t kPageOffset = (uint64_t{1} << model::kPageShift) - 1;

model::SlotWalk hva_walk(uint64_t start, uint64_t end) {
  model::SlotWalk w;
  w.kind = model::RangeKind::kHva;
  w.start = start;
  w.end = end;
  return w;
}

}  // namespace

void Replayer::push(Thread& t, VmModel& v, const Event& e, Machine machine) {
  Operation op;
  op.machine = std::move(machine);
  op.vm = &v;
  op.line = e.source_line;
  op.name = trace::kind_name(e.kind);
  t.stack.push_back(std::move(op));
}

model::PageFault Replayer::page_fault(VmModel& v, uint32_t vcpu, uint64_t gpa, uint64_t error) {
  model::PageFault m;
  model::Fault& fault = m.fault;
  fault.vcpu = static_cast<uint16_t>(vcpu);
  fault.addr = gpa;
  fault.gfn = (gpa >> model::kPageShift) & ~v.world.vm.gfn_direct_bits;
  fault.write = error & kWrite;
  fault.exec = error & kFetch;
  fault.present = error & kPresent;
  fault.rsvd = error & kRsvd;
  fault.is_private = error & kPrivateAccess;
  if (v.vm_type == kVmTypeSwProtected) fault.is_private = model::mem_is_private(v.world, fault.gfn);
  const uint32_t root = model::vcpu_root(v.world, vcpu, false);
  m.as_id = root == model::kNoTable
                ? uint8_t{0} : static_cast<uint8_t>(model::role_as_id(v.world.role(root)));
  return m;
}

// A vCPU that loads a root while it seems to have one: either another vCPU with the same root was
// the one that gave it up, or the old root was put aside because the paging mode changed.
void Replayer::settle_current_root(VmModel& v, uint32_t vcpu) {
  const uint32_t root = model::vcpu_root(v.world, vcpu, false);
  if (root == model::kNoTable) return;
  for (auto& guess : v.freed_by_guess) {
    if (guess.root != root || guess.vcpu == vcpu ||
        model::vcpu_root(v.world, guess.vcpu, false) != model::kNoTable) {
      continue;
    }
    using model::cell::of;
    v.store.set(of(model::CellKind::kVcpuRoot, guess.vcpu, 0), uint64_t{root} + 1);
    v.store.set(of(model::CellKind::kVcpuRoot, vcpu, 0), 0);
    guess = v.freed_by_guess.back();
    v.freed_by_guess.pop_back();
    return;
  }
  model::cache_current_root(v.world, vcpu);
}

uint32_t Replayer::vcpu_with_root(VmModel& v, const Thread& t, uint64_t root_hpa) const {
  const uint32_t root = v.store.find_table(root_hpa >> model::kPageShift);
  if (root == model::kNoTable) return t.vcpu;
  const auto holds = [&](uint32_t vcpu) {
    if (model::vcpu_root(v.world, vcpu, false) == root) return true;
    // Its paging mode changed silently.
    return model::switch_to_cached_root(v.world, vcpu, root);
  };
  if (holds(t.vcpu)) return t.vcpu;
  for (uint32_t vcpu = 0; vcpu < v.vcpu_bound; vcpu++) {
    if (holds(vcpu)) return vcpu;
  }
  return t.vcpu;
}

bool Replayer::too_large(const Event& e, VmModel& v, uint64_t pages) {
  if (pages <= kMaxRangePages) return false;
  v.abandoned = true;
  verdict_.inconclusive.push_back("line " + std::to_string(e.source_line) + ": a range of " +
                                  std::to_string(pages) + " pages; at most " +
                                  std::to_string(kMaxRangePages) + " are followed");
  return true;
}

// What user space, the guest, or somebody behind KVM's back asks the TDX module for.
bool Replayer::start_seamcall(const Event& e, Thread& t, VmModel& v) {
  if (v.world.platform == nullptr) return false;
  if (e.kind == K::kMockFinalize) {
    push(t, v, e, model::TdxFinalize{});
    return true;
  }
  if (e.kind == K::kMockZeroStep) {
    push(t, v, e, model::ZeroStepEnter{});
    return true;
  }
  if (e.kind == K::kMockAccept && t.accepts &&
      e.get(f::mock_accept::gpa) >> model::kPageShift != *t.accepts) {
    const uint64_t want = *t.accepts << model::kPageShift;
    diverge(e, t, fmt::format("mock_accept  gpa {:x}", want), "gpa", want,
            e.get(f::mock_accept::gpa));
    return true;
  }
  const SeamcallProbe* probe = probe_of(e.kind);
  model::RawSeamcall m;
  m.leaf = probe->leaf;
  if (probe->has_place) {
    m.gfn = e.get(f::mock_page_aug::gpa) >> model::kPageShift;
    m.level = e.kind == K::kMockAccept ? int8_t{1}
                                       : static_cast<int8_t>(e.get(f::mock_page_aug::level));
  }
  if (probe->takes_page) m.hpa = e.get(f::mock_page_aug::hpa);
  push(t, v, e, m);
  return true;
}

bool Replayer::start(const Event& e, Thread& t, VmModel& v) {
  using namespace model;  // NOLINT: machines by name
  switch (e.kind) {
    case K::kPageFault: {
      t.vcpu = static_cast<uint32_t>(e.get(f::page_fault::vcpu_id));
      if (const std::optional<SoftExit> exit = std::exchange(t.soft_exit, std::nullopt)) {
        const uint64_t address = e.get(f::page_fault::address);
        const uint64_t error_code = e.get(f::page_fault::error_code);
        if (address != exit->gpa || error_code != exit->error_code) {
          const bool elsewhere = address != exit->gpa;
          diverge(
              e, t,
              fmt::format("page_fault  address {:x}  error_code {:x}", exit->gpa, exit->error_code),
              elsewhere ? "address" : "error_code", elsewhere ? exit->gpa : exit->error_code,
              elsewhere ? address : error_code);
          return true;
        }
      }
      // tdx_handle_ept_violation: private is what has no shared bit.
      const uint64_t shared_bit = v.world.vm.gfn_direct_bits << kPageShift;
      const bool is_shared = (e.get(f::page_fault::address) & shared_bit) != 0;
      const bool is_private = (e.get(f::page_fault::error_code) & kPrivateAccess) != 0;
      if (v.world.vm.has_mirror && shared_bit != 0 && is_shared == is_private) {
        diverge(e, t, is_private ? "page_fault of a private address: no shared bit"
                                 : "page_fault of a shared address: the shared bit", "", 0, 0);
        return true;
      }
      push(t, v, e, page_fault(v, t.vcpu, e.get(f::page_fault::address),
                               e.get(f::page_fault::error_code)));
      const Fault& fault = std::get<PageFault>(t.stack.back().machine).fault;
      if (!fault.rsvd && !page_fault_can_be_fast(v.world, fault)) run_to_window(e, t);
      return true;
    }
    case K::kSoftExit: {
      // An EPT misconfiguration: no kvm_page_fault follows, the error code is RSVD alone. After any
      // other exit the fault is about what the exit was about.
      t.vcpu = static_cast<uint32_t>(e.get(f::soft_exit::vcpu_id));
      if (e.get(f::soft_exit::error_code) != kRsvd) {
        t.soft_exit = {e.get(f::soft_exit::gpa), e.get(f::soft_exit::error_code)};
        return false;
      }
      push(t, v, e, page_fault(v, t.vcpu, e.get(f::soft_exit::gpa), kRsvd));
      return true;
    }
    case K::kPrefault: {
      t.vcpu = static_cast<uint32_t>(e.get_or(f::prefault::vcpu_id, t.vcpu));
      PageFault m = page_fault(v, t.vcpu, e.get(f::prefault::gpa),
                               e.get(f::prefault::error_code));
      m.fault.prefetch = true;
      m.address_unknown = !e.has(f::prefault::gpa);
      if (e.has(f::prefault::is_private)) m.fault.is_private = e.get(f::prefault::is_private) != 0;
      push(t, v, e, m);
      return true;
    }
    case K::kMapPrivatePfn: {
      MapPrivatePfn m;
      t.vcpu = static_cast<uint32_t>(e.get(f::map_private_pfn::vcpu_id));
      m.vcpu = static_cast<uint16_t>(t.vcpu);
      m.gfn = e.get(f::map_private_pfn::gfn);
      push(t, v, e, m);
      return true;
    }
    case K::kMockFinalize:
    case K::kMockAccept:
    case K::kMockZeroStep:
    case K::kMockSeptAdd:
    case K::kMockPageAdd:
    case K::kMockPageAug:
    case K::kMockRangeBlock:
    case K::kMockTrack:
    case K::kMockPageRemove: return start_seamcall(e, t, v);
    case K::kMmuLoad: {
      MmuLoad m;
      t.vcpu = static_cast<uint32_t>(e.get(f::mmu_load::vcpu_id));
      m.vcpu = static_cast<uint16_t>(t.vcpu);
      v.vcpu_bound = std::max(v.vcpu_bound, t.vcpu + 1);
      settle_current_root(v, t.vcpu);
      push(t, v, e, m);
      return true;
    }
    case K::kFreeRoots: {
      FreeRoots m;
      m.vcpu = static_cast<uint16_t>(vcpu_with_root(v, t, e.get(f::free_roots::root_hpa)));
      m.roots_to_free = e.get(f::free_roots::roots_to_free);
      // Both of a vCPU's MMUs are freed; the one without a root has nothing cached either.
      const bool none = e.get(f::free_roots::root_hpa) == ~uint64_t{0};
      if (none) return false;
      const uint32_t root = model::vcpu_root(v.world, m.vcpu, false);
      for (uint32_t other = 0; other < v.vcpu_bound; other++) {
        if (other == m.vcpu || model::vcpu_root(v.world, other, false) != root) continue;
        v.freed_by_guess.push_back({root, m.vcpu});
        break;
      }
      push(t, v, e, m);
      return true;
    }
    case K::kMmuDestroy: {
      MmuDestroy m;
      if (e.has(f::mmu_destroy::vcpu_id)) {
        m.vcpu = static_cast<uint16_t>(e.get(f::mmu_destroy::vcpu_id));
      } else {  // one that has a mirror root still
        while (m.vcpu + 1u < v.vcpu_bound && vcpu_root(v.world, m.vcpu, true) == kNoTable) m.vcpu++;
      }
      push(t, v, e, m);
      return true;
    }
    case K::kMnInvStart: {
      InvalidateRange m;
      m.slots = hva_walk(e.get(f::mn_inv_start::start), e.get(f::mn_inv_start::end));
      m.may_block = e.get(f::mn_inv_start::mnflags) & kMnBlockable;
      push(t, v, e, m);
      return true;
    }
    case K::kMnInvEnd: {
      InvalidateRangeEnd m;
      m.slots = hva_walk(e.get(f::mn_inv_end::start), e.get(f::mn_inv_end::end));
      push(t, v, e, m);
      return true;
    }
    case K::kAgeHva:
    case K::kTestAgeHva: {
      AgeHva m;
      m.test_only = e.kind == K::kTestAgeHva;
      const uint64_t start = e.get(0);
      m.slots = hva_walk(start, m.test_only ? start + 1 : e.get(f::age_hva::end));
      push(t, v, e, m);
      return true;
    }
    case K::kSetMemslot: {
      namespace x = f::set_memslot;
      SetMemoryRegion m;
      MemoryRegion& r = m.region;
      r.id = e.get(x::slot) & kSlotIdMask;
      r.as_id = e.get(x::slot) >> 16;
      r.flags = e.get(x::mflags);
      r.base = e.get(x::gpa) >> kPageShift;
      r.npages = e.get(x::size) >> kPageShift;
      r.hva = e.get(x::hva);
      r.misaligned = ((e.get(x::gpa) | e.get(x::size) | r.hva) & kPageOffset) != 0;
      if (r.npages <= kMemMaxNrPages && too_large(e, v, r.npages)) return true;
      if (r.flags & kMemGuestMemfd) {
        r.gmem = static_cast<uint64_t>(e.get_signed(x::gmem_fd)) + 1;
        r.gmem_offset = e.get(x::gmem_off) >> kPageShift;
        r.misaligned = r.misaligned || (e.get(x::gmem_off) & kPageOffset) != 0;
      }
      push(t, v, e, m);
      run_to_window(e, t);
      return true;
    }
    case K::kSetMemAttr: {
      SetMemAttributes m;
      m.start = e.get(f::set_mem_attr::start);
      m.end = e.get(f::set_mem_attr::end);
      if (m.end > m.start && too_large(e, v, m.end - m.start)) return true;
      m.attributes = e.get(f::set_mem_attr::attributes);
      push(t, v, e, m);
      return true;
    }
    case K::kGmemPunchHole: {
      GmemInvalidate m;
      m.gmem = gmem_file(v, e.get(f::gmem_punch_hole::gmem));
      m.start = e.get(f::gmem_punch_hole::offset) >> kPageShift;
      m.end = (e.get(f::gmem_punch_hole::offset) + e.get(f::gmem_punch_hole::len)) >> kPageShift;
      push(t, v, e, m);
      return true;
    }
    case K::kGmemRelease:
    case K::kGmemInvalidate: {  // without its own probe a release begins with the invalidation
      GmemInvalidate m;
      m.gmem = gmem_file(v, e.kind == K::kGmemRelease ? e.get(f::gmem_release::gmem)
                                                      : e.get(f::gmem_invalidate::gmem));
      const bool release = e.kind == K::kGmemRelease;
      m.start = release ? 0 : e.get(f::gmem_invalidate::start);
      m.end = release ? ~uint64_t{0} : e.get(f::gmem_invalidate::end);
      push(t, v, e, m);
      return true;
    }
    case K::kZapGfnRange: {
      ZapGfnRange m;
      m.start = e.get(f::zap_gfn_range::start);
      m.end = e.get(f::zap_gfn_range::end);
      push(t, v, e, m);
      return true;
    }
    case K::kDirtyLogClear: {
      namespace x = f::dirty_log_clear;
      DirtyLogChunk m;
      m.slot = id_to_memslot(v.world, static_cast<uint32_t>(e.get(x::as_id)), e.get(x::slot));
      if (m.slot == kNoSlot || e.get(x::mask) == 0) return false;
      m.init_set = v.env.init_set;
      m.gfn = slot_get(v.world, m.slot, SlotField::kBase) + e.get(x::first_page);
      m.mask = e.get(x::mask);
      push(t, v, e, DirtyLogFlush{0, m.slot});
      push(t, v, e, m);
      return true;
    }
    case K::kNxRecover:
    case K::kNxRecovery: {
      RecoverNxHugePages m;
      m.counted = false;
      push(t, v, e, m);
      return true;
    }
    case K::kZapAllFast:
    case K::kMmuZapAllFast: push(t, v, e, ZapAllFast{}); return true;
    case K::kZapAll: push(t, v, e, FlushShadowAll{}); return true;
    case K::kDestroyVm: push(t, v, e, DestroyVm{}); return true;
    case K::kSoftAd: {
      const uint64_t sptep = e.get(f::soft_ad::sptep);
      const uint32_t table = v.store.find_table(sptep >> kPageShift);
      if (table == kNoTable) return false;
      const auto index = static_cast<uint32_t>(sptep / 8 % kSpteEntPerPage);
      const Cell c = cell::pte(table, index);
      const uint64_t old_spte = e.get(f::soft_ad::old_spte);
      const uint64_t new_spte = e.get(f::soft_ad::new_spte);
      const uint64_t spte = v.store.get(c);
      // It is logged after the exchange. By now the entry may have been changed from what it became
      // there, or zapped.
      const bool same_page = is_shadow_present_pte<>(spte) &&
                             spte_to_pfn<>(spte) == spte_to_pfn<>(old_spte);
      if ((spte != old_spte && !same_page) || v.env.adopted(table, index, new_spte)) return true;
      v.store.set(c, spte | (new_spte & ~old_spte));
      return true;
    }
    default: return false;
  }
}

// A file is known by its fd when a slot is bound, by a number afterwards: a new number is that of a
// file that has none yet.
uint64_t Replayer::gmem_file(VmModel& v, uint64_t name) {
  auto& names = v.gmem_names;
  const auto known = names.find(name);
  if (known != names.end()) return known->second;
  for (uint32_t s = 0; s < model::slot_bound(v.world); s++) {
    if (!model::slot_in_use(v.world, s)) continue;
    const uint64_t gmem = model::slot_get(v.world, s, model::SlotField::kGmem);
    const bool taken = std::any_of(names.begin(), names.end(),
                                   [gmem](const auto& n) { return n.second == gmem; });
    if (gmem == 0 || taken) continue;
    names.emplace(name, gmem);
    return gmem;
  }
  return 0;
}

// A fault that was told to retry looks at the attributes first: while nothing but holes in
// guest_memfd are under way, they are what they were, and agreed.
bool Replayer::can_fail_with_efault(const Thread& t) const {
  if (t.stack.empty()) return true;
  const Operation& op = t.stack.back();
  const auto* m = std::get_if<model::PageFault>(&op.machine);
  if (m == nullptr || !m->address_unknown || m->pc != 7 ||
      m->faultin != static_cast<int32_t>(model::RetPf::kRetry)) {
    return true;
  }
  if (op.vm->env.invalidated_since(t.last_event)) return true;
  uint64_t holes = 0;
  for (const auto& [key, other] : threads_) {
    for (const Operation& theirs : other.stack) {
      if (theirs.vm != op.vm) continue;
      if (std::holds_alternative<model::SetMemAttributes>(theirs.machine) ||
          std::holds_alternative<model::SetMemoryRegion>(theirs.machine)) {
        return true;
      }
      holes += std::holds_alternative<model::GmemInvalidate>(theirs.machine) ? 1 : 0;
    }
  }
  return op.vm->world.field(model::CellKind::kInvalidateInProgress) > holes;
}

// A fault that was retried, or whose address nothing showed, is about this page.
void Replayer::take_fault_address(const Event& e, Thread& t) {
  if (t.stack.empty()) return;
  Operation& op = t.stack.back();
  auto* m = std::get_if<model::PageFault>(&op.machine);
  if (m == nullptr || !m->address_unknown) return;
  namespace x = f::fault_address;
  m->address_unknown = false;
  m->fault.vcpu = static_cast<uint16_t>(e.get_or(x::vcpu_id, m->fault.vcpu));
  m->fault.addr = e.get(x::gpa);
  m->fault.gfn = (m->fault.addr >> model::kPageShift) & ~op.vm->world.vm.gfn_direct_bits;
  m->fault.is_private = e.get(x::is_private) != 0;
  model::detail::faultin_begin(op.vm->world, *m);
}

// The first unmap that follows names a slot of the file.
void Replayer::name_gmem_file(const Event& e, VmModel& v) {
  namespace x = f::gmem_slot;
  const uint32_t slot = model::id_to_memslot(v.world, static_cast<uint32_t>(e.get(x::as_id)),
                                             e.get(x::slot));
  if (slot == model::kNoSlot) return;
  const uint64_t gmem = model::slot_get(v.world, slot, model::SlotField::kGmem);
  const bool taken = std::any_of(v.gmem_names.begin(), v.gmem_names.end(),
                                 [gmem](const auto& n) { return n.second == gmem; });
  if (gmem != 0 && !taken) v.gmem_names.emplace(e.get(x::gmem), gmem);
}

void Replayer::operation_done(Thread& t, Operation& op) {
  if (const auto* fault = std::get_if<model::PageFault>(&op.machine)) {
    t.has_result = true;
    t.result = fault->faultin < 0 ? fault->faultin : static_cast<int64_t>(fault->ret);
    const bool maps = fault->faultin >= 0 && (fault->ret == model::RetPf::kFixed ||
                                              fault->ret == model::RetPf::kSpurious);
    t.accepts.reset();
    if (maps && fault->fault.is_private && !fault->fault.prefetch) t.accepts = fault->fault.gfn;
    // kvm_arch_vcpu_ioctl_run: an error ends vcpu_run(), and kvm_vcpu_ioctl() traces the exit.
    if (fault->faultin < 0 && !fault->fault.prefetch) t.owes_exit = fault->faultin;
  }
  if (std::holds_alternative<model::DestroyVm>(op.machine)) op.vm->destroyed = true;
  const auto* end = std::get_if<model::InvalidateRangeEnd>(&op.machine);
  if (end != nullptr && end->slots.part.slot != model::kNoSlot && t.stack.size() >= 2) {
    auto* outer = std::get_if<model::PageFault>(&t.stack[t.stack.size() - 2].machine);
    if (outer != nullptr && outer->pc == 5) outer->own_invalidation = true;
  }
}

// A fault takes its snapshots, a memslot update begins, as soon as it can: what another thread invalidates from then on makes
// it retry.
void Replayer::run_to_window(const Event& e, Thread& t) {
  Operation& op = t.stack.back();
  op.vm->env.set_time(events_, t.last_event);
  op.vm->env.select(&t.in, &t.queue, t.tid, /*ending=*/false, /*to_window=*/true);
  const model::Run r = run_operation(op);
  take_findings(*op.vm, e, &t);
  if (r == model::Run::kDone) {
    operation_done(t, op);
    t.stack.pop_back();
  }
}

// Another operation of the thread has begun: what is left of the ones before must be silent.
bool Replayer::finish_operations(const Event& e, Thread& t) {
  if (t.queue_at < t.queue.size()) {
    const Predicted p = t.queue[t.queue_at];
    diverge(e, t, std::string(trace::kind_name(p.kind)), "", 0, 0, p.kind, &p);
    return false;
  }
  while (!t.stack.empty() && !may_nest(t.stack.back(), e.kind)) {
    Operation& op = t.stack.back();
    if (op.vm->abandoned) {
      t.stack.pop_back();
      continue;
    }
    // A pre-fault that is told to retry ends when a signal is pending.
    const auto* fault = std::get_if<model::PageFault>(&op.machine);
    const bool retries = fault != nullptr && (fault->fault.prefetch ||
                                              (op.vm->world.vm.has_mirror && fault->fault.is_private));
    const bool gives_up = retries && fault->pc >= 7 &&
                          fault->ret == model::RetPf::kRetry;
    if (gives_up || std::holds_alternative<DirtyLogFlush>(op.machine)) {
      t.stack.pop_back();
      continue;
    }
    t.queue.clear();
    t.queue_at = 0;
    op.vm->env.set_time(events_, t.last_event);
    op.vm->env.select(&t.in, &t.queue, t.tid, /*ending=*/true);
    const model::Run r = run_operation(op);
    take_findings(*op.vm, e, &t);
    if (!t.queue.empty()) {
      const Predicted p = t.queue.front();
      diverge(e, t, std::string(trace::kind_name(p.kind)), "", 0, 0, p.kind, &p);
      return false;
    }
    if (r == model::Run::kBlocked) {
      diverge(e, t, "the operation before to end", "", 0, 0);
      return false;
    }
    if (r == model::Run::kDone) {
      operation_done(t, op);
      t.stack.pop_back();
    }
  }
  t.in.clear();
  return true;
}

}  // namespace mmucheck::replay
