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

uint64_t num(const json& a, const char* key) { return a.at(key).get<uint64_t>(); }
bool flag(const json& a, const char* key) { return num(a, key) != 0; }
uint32_t small(const json& a, const char* key) { return static_cast<uint32_t>(num(a, key)); }

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

Fault fault_of(const json& a) {
  Fault f;
  f.vcpu = static_cast<uint8_t>(num(a, "vcpu"));
  f.gfn = unhex(a.at("gfn"));
  f.addr = f.gfn << kPageShift;
  f.is_private = flag(a, "private");
  f.write = flag(a, "write");
  f.exec = flag(a, "exec");
  f.prefetch = flag(a, "prefetch");
  f.present = flag(a, "present");
  f.rsvd = flag(a, "rsvd");
  f.pfn = unhex(a.at("pfn"));
  f.max_level = static_cast<uint8_t>(num(a, "max_level"));
  f.map_writable = flag(a, "map_writable");
  const int64_t slot = a.at("slot").get<int64_t>();
  f.slot = slot < 0 ? kNoSlot : static_cast<uint32_t>(slot);
  if (slot < 0) f.pfn = kNoslotPfn;
  f.mmio_gen = unhex(a.at("gen"));
  return f;
}

Fault fault_in(const W& w, const json& a) {
  Fault f = fault_of(a);
  f.nx_workaround = flag(a, "nxw") && w.host.nx_huge_pages;
  if (!f.is_private) f.addr |= w.vm.gfn_direct_bits << kPageShift;
  return f;
}

json op_alloc_root(W& w, const json& a) {
  AllocRoot m;
  m.vcpu = static_cast<uint8_t>(num(a, "vcpu"));
  m.mirror = flag(a, "mirror");
  m.role = static_cast<uint32_t>(unhex(a.at("role")));
  locked(w, LockMode::kRead, [&] { finish(w, kvm_tdp_mmu_alloc_root(w, m)); });
  return w.env.page_of(m.root);
}

json op_put_root(W& w, const json& a) {
  locked(w, LockMode::kRead, [&] {
    put_root(w, w.env.table_of(num(a, "root")));
    w.store.set(cell::of(CellKind::kVcpuRoot, small(a, "vcpu"), num(a, "mirror")), 0);
  });
  return nullptr;
}

json op_map(W& w, const json& a) {
  TdpMmuMap m;
  m.fault = fault_in(w, a);
  locked(w, LockMode::kRead, [&] { finish(w, kvm_tdp_mmu_map(w, m)); });
  return {{"r", static_cast<int>(m.ret)},
          {"pfn", hex(m.fault.slot == kNoSlot ? 0 : m.fault.pfn)},
          {"goal", m.fault.goal_level},
          {"req", m.fault.req_level}};
}

json op_fast_pf(W& w, const json& a) {
  FastPageFault m;
  m.fault = fault_in(w, a);
  finish(w, fast_page_fault(w, m));
  return static_cast<int>(m.ret);
}

json op_walk(W& w, const json& a) {
  TdpMmuWalk m;
  m.vcpu = static_cast<uint8_t>(num(a, "vcpu"));
  m.gfn = unhex(a.at("gfn"));
  finish(w, kvm_tdp_mmu_get_walk(w, m));
  json sptes = json::array();
  for (int level = m.root_level; level >= m.leaf && level > 0; level--) {
    sptes.push_back(hex(m.sptes[level]));
  }
  return {{"leaf", m.leaf}, {"root_level", m.root_level}, {"sptes", sptes}};
}

json op_unmap(W& w, const json& a) {
  const uint32_t slot = small(a, "slot");
  ZapRange m = kvm_tdp_mmu_unmap_gfn_range(
      w, static_cast<uint32_t>(slot_get(w, slot, SlotField::kAsId)), unhex(a.at("start")),
      unhex(a.at("end")), small(a, "filter"), flag(a, "may_block"), flag(a, "flush"));
  locked(w, LockMode::kWrite, [&] { finish(w, zap_leafs_of_roots(w, m)); });
  return m.flush ? 1 : 0;
}

json op_zap_leafs(W& w, const json& a) {
  ZapRange m = kvm_tdp_mmu_zap_leafs(unhex(a.at("start")), unhex(a.at("end")), flag(a, "flush"));
  locked(w, LockMode::kWrite, [&] { finish(w, zap_leafs_of_roots(w, m)); });
  return m.flush ? 1 : 0;
}

json op_zap_all(W& w, const json&) {
  ZapAll m;
  locked(w, LockMode::kWrite, [&] { finish(w, kvm_tdp_mmu_zap_all(w, m)); });
  return nullptr;
}

json op_invalidate_roots(W& w, const json& a) {
  locked(w, LockMode::kWrite, [&] { invalidate_roots(w, static_cast<uint8_t>(num(a, "types"))); });
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
  m.as_id = static_cast<uint32_t>(slot_get(w, small(a, "slot"), SlotField::kAsId));
  m.start = unhex(a.at("start"));
  m.end = unhex(a.at("end"));
  m.attr_filter = static_cast<uint8_t>(num(a, "filter"));
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
  m.slot = small(a, "slot");
  m.min_level = kClear ? int8_t{1} : static_cast<int8_t>(num(a, "min_level"));
  locked(w, LockMode::kRead, [&] { finish(w, dirty_slot(w, m)); });
  // clear_dirty_slot returns nothing since 6.13.
  if (kClear && w.design.collapse == Collapse::kRecoverHuge) return 0;
  return m.spte_set ? 1 : 0;
}

json op_clear_dirty_pt(W& w, const json& a) {
  ClearDirtyPt m;
  m.slot = small(a, "slot");
  m.gfn = unhex(a.at("gfn"));
  m.mask = unhex(a.at("mask"));
  m.wrprot = flag(a, "wrprot");
  locked(w, LockMode::kWrite, [&] { finish(w, kvm_tdp_mmu_clear_dirty_pt_masked(w, m)); });
  return nullptr;
}

json op_split(W& w, const json& a) {
  TrySplit m;
  m.slot = small(a, "slot");
  m.start = unhex(a.at("start"));
  m.end = unhex(a.at("end"));
  m.target_level = static_cast<int8_t>(num(a, "target"));
  m.shared = flag(a, "shared");
  locked(w, m.shared ? LockMode::kRead : LockMode::kWrite,
         [&] { finish(w, kvm_tdp_mmu_try_split_huge_pages(w, m)); });
  return nullptr;
}

json op_collapse(W& w, const json& a) {
  CollapseSlot m;
  m.slot = small(a, "slot");
  locked(w, LockMode::kRead, [&] { finish(w, collapse_slot(w, m)); });
  return nullptr;
}

json op_write_protect_gfn(W& w, const json& a) {
  WriteProtectGfn m;
  m.slot = small(a, "slot");
  m.gfn = unhex(a.at("gfn"));
  m.min_level = static_cast<int8_t>(num(a, "min_level"));
  locked(w, LockMode::kWrite, [&] { finish(w, kvm_tdp_mmu_write_protect_gfn(w, m)); });
  return m.spte_set ? 1 : 0;
}

LockMode nx_mode(const W& w) {
  return w.design.nx_recovery == NxRecovery::kReadLockZapPossibleNx ? LockMode::kRead
                                                                    : LockMode::kWrite;
}

json op_nx_recover(W& w, const json& a) {
  RecoverNxHugePages m;
  m.ratio = num(a, "ratio");
  locked(w, nx_mode(w), [&] { finish(w, kvm_recover_nx_huge_pages(w, m)); });
  return nullptr;
}

json op_nx_zap(W& w, const json& a) {
  ZapSp m;
  m.sp = w.env.table_of(num(a, "page"));
  const LockMode mode = nx_mode(w);
  locked(w, mode, [&] {
    finish(w, mode == LockMode::kRead ? kvm_tdp_mmu_zap_possible_nx_huge_page(w, m)
                                      : kvm_tdp_mmu_zap_sp(w, m));
  });
  return m.zapped ? 1 : 0;
}

json op_rcu_run(W& w, const json& a) {
  for (uint64_t n = num(a, "n"); n > 0 && rcu_first(w) != kNoTable; n--) {
    rcu_run_callback(w, rcu_first(w));
  }
  return nullptr;
}

// The CPU sets A (and D for a write) in the leaf that it walks to, in the vCPU's direct root. The
// record shows the store itself.
json op_hw(W&, const json&) { return nullptr; }

json op_track(W& w, const json& a) {
  const uint32_t slot = small(a, "slot");
  const uint64_t gfn = unhex(a.at("gfn"));
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
  const uint32_t slot = small(a, "slot");
  const uint64_t flags = slot_get(w, slot, SlotField::kFlags);
  const bool was = flags & kMemLogDirtyPages;
  const bool on = flag(a, "on");
  slot_set(w, slot, SlotField::kFlags,
           on ? flags | kMemLogDirtyPages : flags & ~kMemLogDirtyPages);
  if (was != on) w.store.add(cell::of(CellKind::kDirtyLoggingSlots), on ? 1 : ~uint64_t{0});
  return nullptr;
}

json op_memslot_gen(W& w, const json& a) {
  w.set_field(CellKind::kMemslotGen, 0, unhex(a.at("gen")));
  return nullptr;
}

json op_host_level(W& w, const json& a) {
  const uint32_t slot = small(a, "slot");
  const uint64_t gfn = unhex(a.at("gfn"));
  const uint64_t level = num(a, "level");
  if (level == kPgLevel1G) {
    w.env.host_1g.insert(w.env.hva_of(slot, gfn) >> 30);
  } else if (level == 0) {
    w.env.host_1g.erase(w.env.hva_of(slot, gfn) >> 30);
  } else {
    const uint64_t end = gfn + unhex(a.at("npages"));
    for (uint64_t g = gfn; g < end; g += pages_per_hpage(kPgLevel2M)) {
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
