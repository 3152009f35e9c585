// vCPUs of a hand-written trace: their roots, their accesses and their faults.
#include "checker/replay/flatten.h"
#include "checker/replay/synthetic/synthetic_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT: machines by name
using invariant::id;
using K = trace::EventKind;
namespace f = trace::f;
using trace::Event;

namespace {

// PFERR_* bits of an error code.
constexpr uint64_t kPresent = 1, kWrite = 2, kRsvd = 8, kFetch = 16;
constexpr uint64_t kPrivateAccess = uint64_t{1} << 49;

struct Found {  // where a walk of the CPU ends
  uint32_t table = kNoTable;
  uint32_t index = 0;
  int level = 0;
  uint64_t spte = 0;
};

Found walk(const ReplayWorld& w, uint32_t vcpu, uint64_t gpa) {
  Found at;
  at.table = vcpu_root(w, vcpu, false);
  while (at.table != kNoTable) {
    at.level = role_level(w.role(at.table));
    at.index = static_cast<uint32_t>(spte_index<>(gpa >> kPageShift, at.level));
    at.spte = w.store.get(cell::pte(at.table, at.index));
    const uint32_t child = w.child_table(at.spte, at.level);
    if (child == kNoTable) return at;
    at.table = child;
  }
  return at;
}

uint32_t default_role(const Design& d, const HostMmu& h, uint64_t levels, uint32_t as_id) {
  // direct, efer_nx, cr0_wp and all access bits, as every recording of a 4-level root shows.
  const uint32_t base = d.role_access_bits == 3 ? 0x3780 : 0x6f80;
  const bool no_ad = h.format == PageTableFormat::kEpt && !h.ad_bits;
  return base | static_cast<uint32_t>(levels) | as_id << 24 | (no_ad ? kRoleAdDisabled : 0);
}

// kvm_mmu_get_tdp_level(): a TD's guests have a width of their own, which its S-EPT has, too.
uint64_t root_levels(const ReplayWorld& w, uint64_t levels) {
  if (w.platform != nullptr) return static_cast<uint64_t>(w.platform->tds[0].sept_levels);
  return w.vm.gfn_direct_bits == gfn_direct_bits_for_gpaw(52) ? 5 : levels;
}

// What the hardware does to an entry that permits the access.
void set_accessed_dirty(ReplayWorld& w, const Found& at, bool write) {
  if (!spte_ad_enabled<>(w.fmt, at.spte)) return;
  const uint64_t bits = w.fmt.accessed | (write ? w.fmt.dirty : 0);
  if ((bits & ~at.spte) == 0) return;
  w.store.set(cell::pte(at.table, at.index), at.spte | bits);
  w.env.hardware_ad++;
}

}  // namespace

int SyntheticReplayer::host_level(const Vm& v, uint32_t as_id, uint64_t gfn) const {
  return v.model->env.mapped_level(gfn_to_memslot(v.model->world, as_id, gfn), gfn);
}

void SyntheticReplayer::page_fault(const Event& e, Thread& t, Vm& v, PageFault m) {
  ReplayWorld& w = v.model->world;
  const uint32_t root = vcpu_root(w, m.fault.vcpu, false);
  if (root != kNoTable) m.as_id = static_cast<uint8_t>(role_as_id(w.role(root)));
  if (w.platform != nullptr && m.fault.is_private) private_backing(t, v, m.fault.gfn);
  if (!t.in.fault_pfn) {
    const uint64_t frame = backing_frame(v, m.as_id, m.fault.gfn, m.fault.is_private);
    t.in.fault_pfn = FaultinPfn{frame, true, kMaxHugepageLevel};
  }
  if (!t.in.host_level) t.in.host_level = host_level(v, m.as_id, m.fault.gfn);
  push(t, v, e, m);
  t.fault = m.fault;
}

// What a root maps at the gfn is there still, or an invalidation would have taken it away. Where no
// packet names a frame, all have that of their gfn.
uint64_t SyntheticReplayer::backing_frame(const Vm& v, uint32_t as_id, uint64_t gfn,
                                          bool is_private) const {
  const ReplayWorld& w = v.model->world;
  const bool mirror = is_private && w.vm.has_mirror;
  if (!names_frames_) return kBackingFrame + gfn;
  for (uint32_t root = first_root(w); root != kNoTable; root = list_next_root(w, root)) {
    CachedTranslation leaf;
    if (w.is_mirror(root) == mirror && role_as_id(w.role(root)) == as_id &&
        translation_of(w, root, gfn, &leaf)) {
      return leaf.pfn;
    }
  }
  return kBackingFrame + gfn;
}

void SyntheticReplayer::start_fault(const Event& e, Thread& t, Vm& v) {
  ReplayWorld& w = v.model->world;
  PageFault m;
  Fault& fault = m.fault;
  switch (e.kind) {
    case K::kGuestAccess: return guest_access(e, t, v);
    case K::kHwAccess: return hw_access(e, v);
    case K::kHostLevelChange: {
      namespace x = f::host_level_change;
      const auto slot = slot_of(e, v, x::slot, x::as_id);
      if (!slot) return;
      auto& ranges = v.model->env.host_ranges;
      if (ranges.size() >= kMaxHostRanges) return refuse(e, "too many ranges");
      ranges.push_back({*slot, e.get(x::gfn), e.get(x::gfn) + e.get(x::npages),
                        static_cast<int>(e.get(x::level))});
      return;
    }
    case K::kPageFault: {
      const uint64_t error = e.get(f::page_fault::error_code);
      fault.vcpu = static_cast<uint16_t>(e.get(f::page_fault::vcpu_id));
      fault.addr = e.get(f::page_fault::address);
      fault.write = error & kWrite;
      fault.exec = error & kFetch;
      fault.present = error & kPresent;
      fault.rsvd = error & kRsvd;
      fault.is_private = error & kPrivateAccess;
      break;
    }
    case K::kPrefault: {
      namespace x = f::prefault;
      fault.vcpu = static_cast<uint16_t>(e.get(x::vcpu_id));
      fault.addr = e.get(x::gpa);
      fault.prefetch = true;
      fault.is_private = e.has(x::is_private)
                             ? e.get(x::is_private) != 0
                             : mem_is_private(w, fault.addr >> kPageShift);
      fault.addr = fault_source_addr<>(FaultSource::kPrefault, fault.addr, fault.is_private,
                                       w.vm.gfn_direct_bits);
      break;
    }
    default: {
      namespace x = f::fault;
      fault.vcpu = static_cast<uint16_t>(e.get(x::vcpu_id));
      fault.addr = e.get(x::gfn) << kPageShift;
      fault.write = e.get(x::write) != 0;
      fault.exec = e.get(x::exec) != 0;
      fault.present = e.get(x::present) != 0;
      fault.prefetch = e.get(x::prefetch) != 0;
      fault.is_private = e.get(x::is_private) != 0;
      const int level = static_cast<int>(
          e.get_or(x::max_level, static_cast<uint64_t>(host_level(v, 0, e.get(x::gfn)))));
      FaultinPfn pfn;
      names_frames_ = names_frames_ || e.has(x::pfn);
      pfn.pfn = e.has(x::pfn) ? e.get(x::pfn)
                              : backing_frame(v, static_cast<uint32_t>(e.get(x::as_id)),
                                              e.get(x::gfn) & ~w.vm.gfn_direct_bits,
                                              fault.is_private);
      pfn.map_writable = e.get_or(x::map_writable, 1) != 0;
      // Private memory has no host page table: its level is that of the file's folio.
      pfn.max_level = static_cast<uint8_t>(fault.is_private ? level : kMaxHugepageLevel);
      t.in.fault_pfn = pfn;
      t.in.host_level = level;
      check(v, e, id("MMU-FAULT-ALIAS"),
            !is_gfn_alias<>(w.vm.gfn_direct_bits, {e.get(x::gfn)}));
      break;
    }
  }
  fault.gfn = (fault.addr >> kPageShift) & ~w.vm.gfn_direct_bits;
  page_fault(e, t, v, m);
  if (e.kind != K::kPrefault || t.stack.empty()) return;
  // kvm_mmu_reload() comes first, once: what becomes obsolete later keeps the pre-fault busy.
  if (reload_loads(w, fault.vcpu)) load_root(e, t, v, fault.vcpu);
}

void SyntheticReplayer::guest_access(const Event& e, Thread& t, Vm& v) {
  namespace x = f::guest_access;
  ReplayWorld& w = v.model->world;
  const auto vcpu = static_cast<uint32_t>(e.get(x::vcpu_id));
  const Access access{e.get(x::write) != 0, e.get(x::exec) != 0};
  if (w.platform != nullptr && private_access(e, t, v)) return;
  if (w.platform != nullptr) {  // no machine's rule: the guests of recorded mock TDs do it
    check(v, e, id("TDX-BUG-FETCH"), !access.exec);
    if (access.exec) return;
  }
  const uint64_t gfn = (e.get(x::gpa) >> kPageShift) & ~w.vm.gfn_direct_bits;
  const uint32_t root = vcpu_root(w, vcpu, false);
  // Its vCPUs were kicked out with a request; they load another one before they run.
  if (root != kNoTable && w.root_invalid(root)) return load_root(e, t, v, vcpu);
  if (CachedTranslation cached; root != kNoTable && !w.root_invalid(root) &&
      tlb_lookup(w, vcpu, gfn, w.field(CellKind::kSpPfn, root), &cached) &&
      (cached.writable || !access.write)) {
    return;  // hardware does not look at the tables
  }
  const Found at = walk(w, vcpu, e.get(x::gpa));
  const bool mapped = at.table != kNoTable && is_shadow_present_pte<>(at.spte);
  // To hardware an entry that tracks accesses is not present.
  const bool present = mapped && is_access_allowed<>(w.fmt, {}, at.spte);
  if (mapped && is_access_allowed<>(w.fmt, access, at.spte)) {
    set_accessed_dirty(w, at, access.write);
    CachedTranslation fill;
    if (translation_of(w, root, gfn, &fill)) {
      // Without D hardware walks again for the first write.
      fill.writable = fill.writable && (!spte_ad_enabled<>(w.fmt, at.spte) || access.write ||
                                        (at.spte & w.fmt.dirty) != 0);
      tlb_fill(w, vcpu, fill);
    }
    return;
  }
  PageFault m;
  m.fault.vcpu = static_cast<uint16_t>(vcpu);
  m.fault.addr = e.get(x::gpa);
  m.fault.gfn = gfn;
  m.fault.write = access.write;
  m.fault.exec = access.exec;
  m.fault.present = present;
  m.fault.rsvd = at.table != kNoTable && is_mmio_spte<>(w.fmt, at.spte);
  // __vmx_handle_ept_violation() goes by the address, where a shared bit is part of it.
  m.fault.is_private = e.has(x::is_private) ? e.get(x::is_private) != 0
                       : w.vm.has_mirror
                           ? !is_addr_direct<>(w.vm.gfn_direct_bits, Gpa<>{m.fault.addr})
                           : mem_is_private(w, m.fault.gfn);
  page_fault(e, t, v, m);
}

void SyntheticReplayer::hw_access(const Event& e, Vm& v) {
  namespace x = f::hw_access;
  ReplayWorld& w = v.model->world;
  const bool write = e.get(x::write) != 0;
  const auto vcpu = static_cast<uint32_t>(e.get(x::vcpu_id));
  const Found at = walk(w, vcpu, e.get(x::gpa));
  if (at.table == kNoTable) return refuse(e, "the vCPU has no root");
  if (w.platform != nullptr && !is_addr_direct<>(w.vm.gfn_direct_bits, Gpa<>{e.get(x::gpa)})) {
    return refuse(e, "a guest_access is what goes through the S-EPT");
  }
  const bool permitted = is_shadow_present_pte<>(at.spte) &&
                         is_access_allowed<>(w.fmt, {write, false}, at.spte);
  // Else hardware did it with a translation that should have been flushed, or that somebody still is to.
  CachedTranslation cached;
  const bool owed =
      tlb_lookup(w, vcpu, (e.get(x::gpa) >> kPageShift) & ~w.vm.gfn_direct_bits,
                 w.field(CellKind::kSpPfn, vcpu_root(w, vcpu, false)), &cached) &&
      (cached.writable || !write);
  check(v, e, id("MMU-TLB-COVERED"), permitted || owed);
  if (!permitted) return;
  const uint32_t as_id = role_as_id(w.role(at.table));
  const uint64_t gfn = e.get(x::gpa) >> kPageShift;
  const uint32_t slot = gfn_to_memslot(w, as_id, gfn);
  if (write && slot_dirty_track_enabled(w, slot)) {
    const Cell bit =
        cell::of(CellKind::kDirtyBit, slot, gfn - slot_get(w, slot, SlotField::kBase));
    // PML logs the write that sets D; what was written before that is in the log already.
    if (w.host.cpu_dirty_log_size != 0 && !(at.spte & w.fmt.dirty)) w.store.set(bit, 1);
    check(v, e, id("MMU-DIRTY-LOST"), w.store.get(bit) != 0);
  }
  set_accessed_dirty(w, at, write);
}

// kvm_mmu_load drops an obsolete root first; a valid one is kept while there is room for previous roots.
void SyntheticReplayer::load_root(const Event& e, Thread& t, Vm& v, uint32_t vcpu) {
  ReplayWorld& w = v.model->world;
  const uint32_t current = vcpu_root(w, vcpu, false);
  const bool full = vcpu_root_slot(w, vcpu, kFirstPrevRoot + kPrevRoots - 1) != 0;
  const bool drops = current != kNoTable && (full || w.root_invalid(current));
  if (current != kNoTable && !drops) cache_current_root(w, vcpu);
  if (!w.env.roles.contains(vcpu)) {
    w.store.touch(kRoles, model::kWrite);
    w.env.roles[vcpu] = default_role(w.design, w.host, root_levels(w, levels_), 0);
  }
  MmuLoad m;
  m.vcpu = static_cast<uint16_t>(vcpu);
  push(t, v, e, m);
  if (drops) {
    FreeRoots drop;
    drop.vcpu = m.vcpu;
    drop.roots_to_free = 1;
    push(t, v, e, drop);
  }
}

// kvm_destroy_vm() destroys what vCPUs there are (kvm_destroy_vcpus); and it is not called before the
// files of its guest_memfds are released, which refer to the VM (__kvm_gmem_create). Where the leafs of
// a TD may outlive its key, private pages were no file's yet.
void SyntheticReplayer::destroy_vm(const Event& e, Thread& t, Vm& v) {
  const ReplayWorld& w = v.model->world;
  push(t, v, e, DestroyVm{});
  for (const uint32_t vcpu : v.vcpus) {
    FreeRoots roots;
    roots.vcpu = static_cast<uint16_t>(vcpu);
    roots.roots_to_free = 0xf;
    push(t, v, e, MmuDestroy{0, roots.vcpu});
    push(t, v, e, roots);
  }
  v.vcpus.clear();
  std::set<uint64_t> files;
  for (uint32_t s = 0; s < slot_bound(w) && !w.design.leaf_reclaim; s++) {
    if (slot_in_use(w, s)) files.insert(w.field(CellKind::kGmemBinding, s));
  }
  for (const uint64_t file : files) {
    GmemRelease release;
    release.gmem = file;
    if (file != 0) push(t, v, e, release);
  }
}

void SyntheticReplayer::start_vcpu(const Event& e, Thread& t, Vm& v) {
  ReplayWorld& w = v.model->world;
  const auto vcpu = static_cast<uint16_t>(e.get(0));  // the first field where there is one
  switch (e.kind) {
    case K::kVcpuCreate:
      verdict_.vcpus++;
      v.vcpus.insert(vcpu);
      while (w.platform != nullptr && v.model->vcpus.size() <= vcpu) v.model->add_td_vcpu();
      return;
    case K::kVcpuEnter:
    case K::kVcpuExit:
    case K::kVcpuMigrate:
    case K::kYield: return;  // nothing in the page tables changes
    case K::kEnableCap: {
      const auto name = static_cast<trace::CapabilityName>(e.get(f::enable_cap::name));
      const bool on = e.get(f::enable_cap::value) != 0;
      if (name == trace::CapabilityName::kSlotZapQuirk) w.env.slot_zap_quirk = on;
      if (name == trace::CapabilityName::kInitiallySet) w.env.init_set = on;
      return;
    }
    case K::kRootLoad: {
      const auto role = static_cast<uint32_t>(
          e.get_or(f::root_load::role,
                   default_role(w.design, w.host, root_levels(w, levels_), 0)));
      if (role_level(role) < 4 || role_level(role) > 5) return refuse(e, "a root has 4 or 5 levels");
      w.store.touch(kRoles, model::kWrite);
      w.env.roles[vcpu] = role;
      return load_root(e, t, v, vcpu);
    }
    case K::kRootFree:
    case K::kVcpuDestroy: {
      FreeRoots m;
      m.vcpu = vcpu;
      m.roots_to_free = e.kind == K::kRootFree ? 1 : 0xf;
      if (e.kind == K::kVcpuDestroy) {
        v.vcpus.erase(vcpu);
        push(t, v, e, MmuDestroy{0, vcpu});
      }
      return push(t, v, e, m);
    }
    case K::kVmDestroy:
    case K::kDestroyVm: return destroy_vm(e, t, v);
    default:
      return refuse(e, "this version has no operation for it");
  }
}

}  // namespace mmucheck::replay
