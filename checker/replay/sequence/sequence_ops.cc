#include "checker/replay/sequence/sequence_ops.h"

#include <functional>
#include <unordered_map>

#include "model/tdp/age.h"
#include "model/tdp/dirty.h"
#include "model/tdp/fast_page_fault.h"
#include "model/tdp/nx_recovery.h"
#include "model/tdp/recover.h"
#include "model/tdp/split.h"
#include "model/tdp/zap.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT

namespace {

using W = SequenceWorld;

constexpr uint64_t kMaxVcpu = 255;

bool flag(const json& a, const char* key) { return unsigned_at(a, key, 1) != 0; }
uint8_t byte_of(const json& a, const char* key, uint64_t max = 255) {
  return static_cast<uint8_t>(unsigned_at(a, key, max));
}
uint8_t vcpu_of(const json& a) { return byte_of(a, "vcpu", kMaxVcpu); }
uint64_t gfn_of(const json& a) { return unhex_at(a, "gfn", kMaxGfn); }

int8_t level_of(const json& a, const char* key, int max) {
  const auto level = static_cast<int8_t>(unsigned_at(a, key, static_cast<uint64_t>(max)));
  if (level < kPgLevel4K) throw BadSequence(std::string(key) + " is no level");
  return level;
}

uint32_t slot_of(const W& w, const json& a) {
  const uint64_t slot = unsigned_at(a, "slot");
  if (slot >= w.env.slots.size()) throw BadSequence("there is no slot " + std::to_string(slot));
  return static_cast<uint32_t>(slot);
}

// The table that an argument names by its page; kNoTable, and a difference, when the model has
// none there.
uint32_t table_at(W& w, const json& a, const char* key) {
  const uint64_t page = unsigned_at(a, key, uint64_t{1} << 32);
  const uint32_t table = w.env.table_of(page);
  if (table == kNoTable) w.env.differ(std::string(key) + " " + std::to_string(page), "no table");
  return table;
}

// Frames of the page-table pool are never guest memory, not even within the same 1G.
void check_guest_pfn(const W& w, uint64_t pfn) {
  if (pfn > kMaxGfn || pfn >> 18 == w.env.pool_pfn() >> 18) {
    throw BadSequence("pfn " + hex(pfn) + " is no guest page");
  }
}

// A machine that does not get to its end would wait for another task for ever.
void finish(W& w, Run r) {
  if (r != Run::kDone) w.env.differ("the operation ends", "it waits for another task");
}

template <class Body>
void locked(W& w, LockMode mode, Body body) {
  mmu_lock(w, mode);
  body();
  mmu_unlock(w, mode);
}

Fault fault_of(const W& w, const json& a) {
  Fault f;
  f.vcpu = vcpu_of(a);
  f.gfn = gfn_of(a);
  f.addr = f.gfn << kPageShift;
  f.is_private = flag(a, "private");
  if (!f.is_private) f.addr |= w.vm.gfn_direct_bits << kPageShift;
  f.write = flag(a, "write");
  f.exec = flag(a, "exec");
  f.prefetch = flag(a, "prefetch");
  f.present = flag(a, "present");
  f.rsvd = flag(a, "rsvd");
  f.max_level = static_cast<uint8_t>(level_of(a, "max_level", kMaxHugepageLevel));
  f.map_writable = flag(a, "map_writable");
  f.nx_workaround = flag(a, "nxw") && w.host.nx_huge_pages;
  f.mmio_gen = unhex_at(a, "gen");
  const auto slot = a.find("slot");
  if (slot != a.end() && *slot == -1) return f;  // no slot: the default pfn says so
  f.slot = slot_of(w, a);
  f.pfn = unhex_at(a, "pfn");
  check_guest_pfn(w, f.pfn);
  return f;
}

json op_alloc_root(W& w, const json& a) {
  AllocRoot m;
  m.vcpu = vcpu_of(a);
  m.mirror = flag(a, "mirror");
  m.role = static_cast<uint32_t>(unhex_at(a, "role", 0xffffffff));
  if (role_level(m.role) < kPgLevel512G || role_level(m.role) > kMaxRootLevel) {
    throw BadSequence("role " + hex(m.role) + " is of no root");
  }
  locked(w, LockMode::kRead, [&] { finish(w, kvm_tdp_mmu_alloc_root(w, m)); });
  return w.env.page_of(m.root);
}

json op_put_root(W& w, const json& a) {
  locked(w, LockMode::kRead, [&] {
    const uint32_t root = table_at(w, a, "root");
    if (root == kNoTable) return;
    if (w.field(CellKind::kRootRefs, root) == 0) return w.env.differ("a root", "no references");
    put_root(w, root);
    w.store.set(cell::of(CellKind::kVcpuRoot, vcpu_of(a), flag(a, "mirror")), 0);
  });
  return nullptr;
}

json op_map(W& w, const json& a) {
  TdpMmuMap m;
  m.fault = fault_of(w, a);
  locked(w, LockMode::kRead, [&] { finish(w, kvm_tdp_mmu_map(w, m)); });
  return {{"r", static_cast<int>(m.ret)},
          {"pfn", hex(m.fault.slot == kNoSlot ? 0 : m.fault.pfn)},
          {"goal", m.fault.goal_level},
          {"req", m.fault.req_level}};
}

json op_fast_pf(W& w, const json& a) {
  FastPageFault m;
  m.fault = fault_of(w, a);
  finish(w, fast_page_fault(w, m));
  return static_cast<int>(m.ret);
}

json op_walk(W& w, const json& a) {
  TdpMmuWalk m;
  m.vcpu = vcpu_of(a);
  m.gfn = gfn_of(a);
  finish(w, kvm_tdp_mmu_get_walk(w, m));
  json sptes = json::array();
  for (int level = m.root_level; level >= m.leaf && level > 0; level--) {
    sptes.push_back(hex(m.sptes[level]));
  }
  return {{"leaf", m.leaf}, {"root_level", m.root_level}, {"sptes", sptes}};
}

json op_unmap(W& w, const json& a) {
  const uint32_t slot = slot_of(w, a);
  ZapRange m = kvm_tdp_mmu_unmap_gfn_range(
      w, static_cast<uint32_t>(slot_get(w, slot, SlotField::kAsId)), unhex_at(a, "start"),
      unhex_at(a, "end"), byte_of(a, "filter"), flag(a, "may_block"), flag(a, "flush"));
  locked(w, LockMode::kWrite, [&] { finish(w, zap_leafs_of_roots(w, m)); });
  return m.flush ? 1 : 0;
}

json op_zap_leafs(W& w, const json& a) {
  ZapRange m = kvm_tdp_mmu_zap_leafs(unhex_at(a, "start"), unhex_at(a, "end"), flag(a, "flush"));
  locked(w, LockMode::kWrite, [&] { finish(w, zap_leafs_of_roots(w, m)); });
  return m.flush ? 1 : 0;
}

json op_zap_all(W& w, const json&) {
  ZapAll m;
  locked(w, LockMode::kWrite, [&] { finish(w, kvm_tdp_mmu_zap_all(w, m)); });
  return nullptr;
}

json op_invalidate_roots(W& w, const json& a) {
  locked(w, LockMode::kWrite, [&] { invalidate_roots(w, byte_of(a, "types")); });
  return nullptr;
}

void zap_invalidated(W& w, bool shared) {
  ZapInvalidatedRoots m;
  m.shared = shared;
  locked(w, shared ? LockMode::kRead : LockMode::kWrite,
         [&] { finish(w, kvm_tdp_mmu_zap_invalidated_roots(w, m)); });
}

json op_zap_invalidated_roots(W& w, const json& a) {
  zap_invalidated(w, flag(a, "shared"));
  return nullptr;
}

template <bool kTest>
json op_age(W& w, const json& a) {
  AgeRange m;
  m.test_only = kTest;
  m.as_id = static_cast<uint32_t>(slot_get(w, slot_of(w, a), SlotField::kAsId));
  m.start = unhex_at(a, "start");
  m.end = unhex_at(a, "end");
  m.attr_filter = byte_of(a, "filter");
  if (w.design.ageing == Ageing::kWriteLockAllRoots) {
    locked(w, LockMode::kWrite, [&] { finish(w, kvm_tdp_mmu_age_gfn_range(w, m)); });
  } else {
    finish(w, kvm_tdp_mmu_age_gfn_range(w, m));
  }
  return m.young ? 1 : 0;
}

template <bool kClear>
json op_dirty_slot(W& w, const json& a) {
  DirtySlot m;
  m.clear_dirty = kClear;
  m.slot = slot_of(w, a);
  m.min_level = kClear ? int8_t{1} : level_of(a, "min_level", kMaxRootLevel);
  locked(w, LockMode::kRead, [&] { finish(w, dirty_slot(w, m)); });
  // clear_dirty_slot returns nothing since 6.13.
  if (kClear && w.design.collapse == Collapse::kRecoverHuge) return 0;
  return m.spte_set ? 1 : 0;
}

json op_clear_dirty_pt(W& w, const json& a) {
  ClearDirtyPt m;
  m.slot = slot_of(w, a);
  m.gfn = gfn_of(a);
  m.mask = unhex_at(a, "mask");
  m.wrprot = flag(a, "wrprot");
  locked(w, LockMode::kWrite, [&] { finish(w, kvm_tdp_mmu_clear_dirty_pt_masked(w, m)); });
  return nullptr;
}

json op_split(W& w, const json& a) {
  TrySplit m;
  m.slot = slot_of(w, a);
  m.start = unhex_at(a, "start");
  m.end = unhex_at(a, "end");
  m.target_level = level_of(a, "target", kMaxHugepageLevel);
  m.shared = flag(a, "shared");
  locked(w, m.shared ? LockMode::kRead : LockMode::kWrite,
         [&] { finish(w, kvm_tdp_mmu_try_split_huge_pages(w, m)); });
  return nullptr;
}

json op_collapse(W& w, const json& a) {
  CollapseSlot m;
  m.slot = slot_of(w, a);
  locked(w, LockMode::kRead, [&] { finish(w, collapse_slot(w, m)); });
  return nullptr;
}

json op_write_protect_gfn(W& w, const json& a) {
  WriteProtectGfn m;
  m.slot = slot_of(w, a);
  m.gfn = gfn_of(a);
  m.min_level = level_of(a, "min_level", kMaxRootLevel);
  locked(w, LockMode::kWrite, [&] { finish(w, kvm_tdp_mmu_write_protect_gfn(w, m)); });
  return m.spte_set ? 1 : 0;
}

LockMode nx_mode(const W& w) {
  return w.design.nx_recovery == NxRecovery::kReadLockZapPossibleNx ? LockMode::kRead
                                                                    : LockMode::kWrite;
}

json op_nx_recover(W& w, const json& a) {
  RecoverNxHugePages m;
  m.ratio = unsigned_at(a, "ratio", 0xffffffff);
  locked(w, nx_mode(w), [&] { finish(w, kvm_recover_nx_huge_pages(w, m)); });
  return nullptr;
}

json op_nx_zap(W& w, const json& a) {
  ZapSp m;
  m.sp = table_at(w, a, "page");
  if (m.sp == kNoTable) return nullptr;
  const LockMode mode = nx_mode(w);
  locked(w, mode, [&] {
    finish(w, mode == LockMode::kRead ? kvm_tdp_mmu_zap_possible_nx_huge_page(w, m)
                                      : kvm_tdp_mmu_zap_sp(w, m));
  });
  return m.zapped ? 1 : 0;
}

json op_rcu_run(W& w, const json& a) {
  for (uint64_t n = unsigned_at(a, "n"); n > 0 && rcu_first(w) != kNoTable; n--) {
    rcu_run_callback(w, rcu_first(w));
  }
  return nullptr;
}

// The CPU sets A (and D for a write) in the leaf that it walks to, in the vCPU's direct root. The
// record shows the store itself.
json op_hw(W&, const json&) { return nullptr; }

json op_track(W& w, const json& a) {
  const uint32_t slot = slot_of(w, a);
  const uint64_t gfn = gfn_of(a);
  const uint64_t base = slot_get(w, slot, SlotField::kBase);
  const bool on = flag(a, "on");
  w.store.set(cell::of(CellKind::kWriteTrack, slot, gfn - base), on);
  for (int level = kPgLevel2M; level <= kMaxHugepageLevel; level++) {
    const Cell c = lpage_cell(slot, level, gfn_to_index(gfn, base, level));
    w.store.add(c, on ? 1 : ~uint64_t{0});
  }
  return nullptr;
}

json op_set_dirty_log(W& w, const json& a) {
  const uint32_t slot = slot_of(w, a);
  const uint64_t flags = slot_get(w, slot, SlotField::kFlags);
  const bool was = flags & kMemLogDirtyPages;
  const bool on = flag(a, "on");
  slot_set(w, slot, SlotField::kFlags,
           on ? flags | kMemLogDirtyPages : flags & ~kMemLogDirtyPages);
  if (was != on) w.store.add(cell::of(CellKind::kDirtyLoggingSlots), on ? 1 : ~uint64_t{0});
  return nullptr;
}

json op_memslot_gen(W& w, const json& a) {
  w.set_field(CellKind::kMemslotGen, 0, unhex_at(a, "gen"));
  return nullptr;
}

json op_host_level(W& w, const json& a) {
  const uint32_t slot = slot_of(w, a);
  const uint64_t gfn = gfn_of(a);
  const uint64_t level = unsigned_at(a, "level", kPgLevel1G);
  if (level == kPgLevel1G) {
    w.env.host_1g.insert(w.env.hva_of(slot, gfn) >> 30);
  } else if (level == 0) {
    w.env.host_1g.erase(w.env.hva_of(slot, gfn) >> 30);
  } else {
    // Whole 2M regions: the first and the last may reach over the slot.
    const uint64_t pages = pages_per_hpage(kPgLevel2M);
    const SequenceEnv::HostSlot& s = w.env.slots[slot];
    const uint64_t first = gfn_round_for_level<>(s.base, kPgLevel2M);
    const uint64_t last = gfn_round_for_level<>(s.base + s.npages + pages - 1, kPgLevel2M);
    const uint64_t npages = unhex_at(a, "npages", last - first);
    if (gfn < first || gfn > last - npages) throw BadSequence("gfn is not in the slot");
    const uint64_t end = gfn + npages;
    for (uint64_t g = gfn; g < end; g += pages) {
      w.env.host_2m[w.env.hva_of(slot, g) >> 21] = static_cast<uint8_t>(level);
    }
  }
  return nullptr;
}

// kvm_mmu_uninit_tdp_mmu.
json op_uninit(W& w, const json&) {
  invalidate_roots(w, w.design.root_types ? kValidRoots : kDirectRoots);
  zap_invalidated(w, w.design.vm_destroy == VmDestroyZap::kSharedSilentInvalidate);
  if (first_root(w) != kNoTable) w.warn("MMU-ROOT-LEAK");
  while (rcu_first(w) != kNoTable) rcu_run_callback(w, rcu_first(w));  // rcu_barrier
  return nullptr;
}

const std::unordered_map<std::string, json (*)(W&, const json&)>& table() {
  static const std::unordered_map<std::string, json (*)(W&, const json&)> ops{
      {"alloc_root", op_alloc_root},
      {"put_root", op_put_root},
      {"map", op_map},
      {"fast_pf", op_fast_pf},
      {"walk", op_walk},
      {"unmap", op_unmap},
      {"zap_leafs", op_zap_leafs},
      {"zap_all", op_zap_all},
      {"invalidate_roots", op_invalidate_roots},
      {"zap_invalidated_roots", op_zap_invalidated_roots},
      {"age", op_age<false>},
      {"test_age", op_age<true>},
      {"wrprot_slot", op_dirty_slot<false>},
      {"clear_dirty_slot", op_dirty_slot<true>},
      {"clear_dirty_pt_masked", op_clear_dirty_pt},
      {"split", op_split},
      {"recover", op_collapse},
      {"zap_collapsible", op_collapse},
      {"write_protect_gfn", op_write_protect_gfn},
      {"nx_recover", op_nx_recover},
      {"nx_zap", op_nx_zap},
      {"rcu_run", op_rcu_run},
      {"hw", op_hw},
      {"track", op_track},
      {"set_dirty_log", op_set_dirty_log},
      {"memslot_gen", op_memslot_gen},
      {"host_level", op_host_level},
      {"uninit", op_uninit},
  };
  return ops;
}

}  // namespace

std::optional<json> run_sequence_op(SequenceWorld& w, const json& record) {
  const auto it = table().find(record.at("op").get<std::string>());
  if (it == table().end()) return std::nullopt;
  return it->second(w, record.at("a"));
}

}  // namespace mmucheck::replay
