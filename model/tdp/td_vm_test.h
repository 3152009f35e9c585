// model/tdp, tests only: a small TD under any design: GPAW 48, a mirror and a direct root, one
// slot, vCPU 0 that has both roots. With a module, hooks are SEAMCALLs; without one they answer 0,
// or what `answers` holds. Events are text, as in small_vm_test.h, and hooks and SEAMCALLs.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model/design/spec.h"
#include "model/store/radix_store.h"
#include "model/tdp/kvm_tdx.h"
#include "model/tdp/small_vm_test.h"

namespace mmucheck::model {

class TdEnv : public TestEnv<RadixStore> {
 public:
  using TestEnv::emit;
  using TestEnv::TestEnv;

  std::deque<int> answers;  // of hooks, in order; then 0
  // Of SEAMCALLs that are answered by script, each once.
  std::deque<std::pair<tdx::Leaf, tdx::Status>> statuses;
  std::function<void(Point, uint32_t table, uint32_t index)> at;  // before an action on an entry
  std::function<void(tdx::Leaf)> at_seamcall;
  uint64_t private_pfn = kNoslotPfn;

  struct Found {
    uint64_t pfn;
  };
  Found faultin_pfn() const { return {private_pfn}; }
  void before(Point point, uint32_t table, uint32_t index) {
    if (at) at(point, table, index);
  }

  uint64_t new_table_frame(ev::TableKind) { return next_frame_++; }
  int external_result(uint64_t, int, uint64_t, uint64_t) {
    if (answers.empty()) return 0;
    const int answer = answers.front();
    answers.pop_front();
    return answer;
  }
  tdx::Status injected_status(tdx::Leaf leaf) {
    if (at_seamcall) at_seamcall(leaf);
    if (statuses.empty() || leaf != statuses.front().first) return {};
    const tdx::Status s = statuses.front().second;
    statuses.pop_front();
    return s;
  }
  std::string hooks;  // that were called: by the first letter of their names
  void emit(const ev::ExternalSet& e) {
    hooks += "slzr"[static_cast<size_t>(e.hook)];
    events.push_back("hook " + std::to_string(e.gfn) + " " + std::to_string(e.level) +
                     (is_shadow_present_pte<>(e.old_spte) ? " remove" : " add"));
  }
  void emit(const ev::ExternalFree&) { events.push_back("hook free"); }
  void emit(const ev::FreedExternal&) { events.push_back("external page freed"); }
  void emit(const ev::SeamcallRet& e) {
    tdx::Status status;
    status.v = e.status;
    events.push_back(tdx::leaf_info(e.leaf).name +
                     (status.ok() ? std::string() : " " + tdx::status_text(status)));
  }

 private:
  uint64_t next_frame_ = 0x1000;
};

class Td {
 public:
  static constexpr uint64_t kSharedBit = uint64_t{1} << 35;
  static constexpr uint64_t kPages = 0x3000;  // of guest memory

  explicit Td(std::string_view spec, bool module = false)
      : parsed_(parse_design_spec(spec)),
        design(parsed_.design->design),
        env(store),
        w{store, env, design, {}, {}, {}} {
    w.host.format = PageTableFormat::kEpt;
    w.host.maxphyaddr = 52;
    w.fmt = make_spte_format(design, w.host);
    w.vm = {kSharedBit, true, true, false};
    w.set_field(CellKind::kSlotBound, 0, 1);
    slot_set(w, 0, SlotField::kInUse, 1);
    slot_set(w, 0, SlotField::kNpages, kSharedBit);
    if (module) start_module();
    mmu_lock(w, LockMode::kRead);
    for (const bool is_mirror : {true, false}) {
      AllocRoot m;
      const char* words = design.role_invalid_bit == 11 ? "linux-6.12" : "linux-7.2";
      m.role = test_root_role(*find_design(words), w.fmt);
      m.mirror = is_mirror;
      kvm_tdp_mmu_alloc_root(w, m);
      (is_mirror ? mirror : direct) = m.root;
    }
    mmu_unlock(w, LockMode::kRead);
  }

  static uint64_t pfn_of(uint64_t gfn) { return kPages + (gfn & 0xfff); }

  TdpMmuMap fault_on(uint64_t gfn, bool shared) const {
    TdpMmuMap m;
    m.fault.gfn = gfn;
    m.fault.addr = fault_addr<>(design.fault_addr,
                                (gfn | (shared ? kSharedBit : 0)) << kPageShift, kSharedBit);
    m.fault.is_private = !shared;
    m.fault.pfn = pfn_of(gfn);
    m.fault.slot = 0;
    m.fault.map_writable = true;
    m.fault.write = true;
    return m;
  }
  RetPf run(TdpMmuMap m) {
    mmu_lock(w, LockMode::kRead);
    EXPECT_EQ(kvm_tdp_mmu_map(w, m), Run::kDone);
    mmu_unlock(w, LockMode::kRead);
    return m.ret;
  }
  RetPf map(uint64_t gfn, bool shared) { return run(fault_on(gfn, shared)); }

  Run populate(uint64_t gfn) {  // KVM_TDX_INIT_MEM_REGION
    MapPrivatePfn m;
    m.gfn = gfn;
    env.private_pfn = pfn_of(gfn);
    return kvm_tdp_mmu_map_private_pfn(w, m);
  }

  // The entry at the lowest level that is reached with `bits` in the index.
  uint64_t entry(uint32_t root, uint64_t gfn, uint64_t bits) const {
    uint32_t table = root;
    for (int level = role_level(w.role(root));; level--) {
      const uint64_t spte = store.get(cell::pte(table, spte_index<>(gfn | bits, level)));
      const uint32_t child = w.child_table(spte, level);
      if (level == kPgLevel4K || child == kNoTable) return spte;
      table = child;
    }
  }
  // Where hardware finds it.
  uint64_t entry(uint32_t root, uint64_t gfn) const {
    return entry(root, gfn, gfn_root_bits(w, root));
  }
  bool mapped(uint32_t root, uint64_t gfn) const {
    return is_shadow_present_pte<>(entry(root, gfn));
  }

  bool bugged() const { return w.field(CellKind::kVmBugged) != 0; }

  bool zap(ZapRange m) {
    mmu_lock(w, LockMode::kWrite);
    EXPECT_EQ(zap_leafs_of_roots(w, m), Run::kDone);
    mmu_unlock(w, LockMode::kWrite);
    return m.flush;
  }
  bool unmap(uint64_t start, uint64_t end, uint64_t attr_filter) {
    return zap(kvm_tdp_mmu_unmap_gfn_range(w, 0, start, end, static_cast<uint32_t>(attr_filter),
                                           false, false));
  }
  void zap_root(uint32_t root, LockMode mode) {
    ZapRootPasses m;
    m.root = root;
    m.shared = mode == LockMode::kRead;
    mmu_lock(w, mode);
    EXPECT_EQ(tdp_mmu_zap_root(w, m), Run::kDone);
    mmu_unlock(w, mode);
  }

  // The events that tell of stores, hooks, SEAMCALLs and tracepoints, by their first word; stores
  // by what they leave: F frozen, 0 nothing, P something present.
  std::string order() const {
    std::string s;
    for (const std::string& e : env.events) {
      const std::string word = e.substr(0, e.find(' '));
      std::string part;
      if (word == "store") {
        const size_t how = e.rfind(' ');
        const size_t value = e.rfind(' ', how - 1) + 1;
        const uint64_t v = std::stoull(e.substr(value, how - value));
        part = is_frozen_spte<>(w.fmt, v) ? "F" : is_shadow_present_pte<>(v) ? "P" : "0";
      } else if (word == "changed") {
        part = "trace";
      } else if (word == "hook") {
        part = e.ends_with("add") ? "add" : e.ends_with("remove") ? "remove" : "free";
      } else if (word == "warn" || word.starts_with("TDH")) {
        part = e;
      }
      if (!part.empty()) s += (s.empty() ? "" : " ") + part;
    }
    return s;
  }

 private:
  void start_module() {
    config_.tdr = 0x100;
    config_.sept_root = 0x104;
    vcpus_ = {{0x120, 0}};
    platform_.tdmr_pages = 1 << 19;
    platform_.hkid_mask = uint64_t{63} << 46;
    platform_.first_private_hkid = 32;
    platform_.version.dynamic_pamt = design.dynamic_pamt;
    platform_.version.non_blocking_resize = design.demote_protocol == DemoteProtocol::kDemoteOnly;
    platform_.tds = {&config_, 1};
    platform_.vcpus = vcpus_;
    w.platform = &platform_;
    tdx_td_init(w);
  }
  ParsedDesign parsed_;
  tdx::TdConfig config_;
  std::vector<tdx::VcpuConfig> vcpus_;
  tdx::Platform platform_;

 public:
  const Design& design;
  RadixStore store;
  TdEnv env;
  World<RadixStore, TdEnv> w;
  uint32_t mirror = kNoTable, direct = kNoTable;
};

}  // namespace mmucheck::model
