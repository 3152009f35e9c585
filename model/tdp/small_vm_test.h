// model/tdp, tests only: one small VM that runs on any store: four levels, two entries used in
// each table, two vCPU threads, frames that depend on nothing but thread and place. Events are
// text that names tables by frame, so runs on different stores can be compared.
#pragma once

#include <string>
#include <vector>

#include "model/spte/test_formats.h"
#include "model/store/packed_store.h"
#include "model/tdp/age.h"
#include "model/tdp/fast_page_fault.h"
#include "model/tdp/map.h"
#include "model/tdp/zap.h"

namespace mmucheck::model {

inline constexpr uint64_t kRootFrame = 0x1000;
inline constexpr uint64_t kGuestFrame = 0x1000000;
inline constexpr int kTestThreads = 2;
inline constexpr uint32_t kPlaces = 14;  // tables below the root

// Leaf number 0..15: one bit of index a level.
inline uint64_t test_gfn(uint32_t leaf) {
  return uint64_t{leaf >> 3 & 1} << 27 | uint64_t{leaf >> 2 & 1} << 18 |
         uint64_t{leaf >> 1 & 1} << 9 | (leaf & 1);
}
// The place of the table at `level` (3..1) on the way to `gfn`.
inline uint32_t test_place(uint64_t gfn, int level) {
  const auto a = static_cast<uint32_t>(gfn >> 27 & 1), b = static_cast<uint32_t>(gfn >> 18 & 1),
             c = static_cast<uint32_t>(gfn >> 9 & 1);
  return level == 3 ? a : level == 2 ? 2 + a * 2 + b : 6 + a * 4 + b * 2 + c;
}
inline uint64_t test_frame(uint32_t place, int thread) {
  return kRootFrame + 1 + static_cast<uint64_t>(thread) * kPlaces + place;
}
inline uint32_t test_root_role(const Design& d, const SpteFormat& f) {
  return (d.name == "linux-6.12" ? 0x3784 : 0x6f84) | (f.ad_enabled ? 0 : kRoleAdDisabled);
}

// Everything that an entry for `gfn` may hold as a leaf.
inline std::vector<uint64_t> test_leafs(const TestFormat& t, uint64_t gfn) {
  std::vector<uint64_t> all;
  const auto add = [&](uint64_t v) {
    if (std::find(all.begin(), all.end(), v) == all.end()) all.push_back(v);
  };
  for (uint32_t form = 0; form < 4; form++) {
    MakeSpte in;
    in.host_writable = form & 1;
    in.prefetch = form & 2;
    in.ad_disabled = !t.fmt.ad_enabled;
    const uint64_t v = make_spte<>(t.fmt, in, kGuestFrame + gfn, kNonpresent);
    for (const uint64_t w : {v, v & ~t.fmt.dirty}) {
      add(w);
      add(t.fmt.ad_enabled ? w & ~t.fmt.accessed : mark_spte_for_access_track<>(t.fmt, w));
    }
  }
  return all;
}

inline PackedLayout test_layout(const TestFormat& t) {
  PackedLayout layout(t.fmt.frozen);
  const uint32_t root_role = test_root_role(*t.design, t.fmt);
  const auto table_value = [&](uint32_t place, int thread) {
    return make_nonleaf_spte<>(t.fmt, test_frame(place, thread), !t.fmt.ad_enabled);
  };
  const uint32_t root = layout.add_table(kRootFrame);
  layout.add_values(cell::of(CellKind::kSpRole, root),
                    {root_role, root_role | role_invalid_mask(*t.design)});
  layout.add_number(cell::of(CellKind::kRootRefs, root), 4);
  layout.add_number(cell::of(CellKind::kRootScheduled, root), 1);
  for (int thread = 0; thread < kTestThreads; thread++) {
    for (uint32_t p = 0; p < kPlaces; p++) layout.add_table(test_frame(p, thread));
  }
  const auto entries = [&](uint32_t table, int level, uint64_t gfn) {
    for (uint64_t i = 0; i < 2; i++) {
      std::vector<uint64_t> values{kNonpresent, t.fmt.frozen};
      const uint64_t child = gfn + i * pages_per_hpage(level);
      if (level == 1) {
        for (const uint64_t v : test_leafs(t, child)) values.push_back(v);
      } else {
        for (int k = 0; k < kTestThreads; k++) {
          values.push_back(table_value(test_place(child, level - 1), k));
        }
      }
      layout.add_values(cell::pte(table, i), values);
    }
  };
  entries(root, 4, 0);
  for (uint32_t leaf = 0; leaf < 16; leaf++) {
    for (int level = 3; level >= 1; level--) {
      const uint64_t gfn = gfn_round_for_level<>(test_gfn(leaf), level + 1);
      if (gfn != test_gfn(leaf)) continue;
      for (int thread = 0; thread < kTestThreads; thread++) {
        const uint32_t table = layout.table_of_frame(test_frame(test_place(gfn, level), thread));
        layout.add_constant(cell::of(CellKind::kSpGfn, table), gfn);
        layout.add_constant(cell::of(CellKind::kSpRole, table),
                            role_with_level(root_role, level));
        std::vector<uint64_t> parents;
        for (int k = 0; k < (level == 3 ? 1 : kTestThreads); k++) {
          const uint32_t parent =
              level == 3 ? root : layout.table_of_frame(test_frame(test_place(gfn, level + 1), k));
          parents.push_back(uint64_t{parent} * kSpteEntPerPage +
                            spte_index<>(gfn, level + 1) + 1);
        }
        layout.add_values(cell::of(CellKind::kSpParent, table), parents);
        entries(table, level, gfn);
      }
    }
  }
  for (uint32_t table = 0; table < layout.tables(); table++) {
    layout.add_number(cell::of(CellKind::kRcuNext, table), 5);
  }
  for (const CellKind kind : {CellKind::kRcuHead, CellKind::kRcuTail, CellKind::kRcuCount}) {
    layout.add_number(cell::of(kind), 5);
  }
  layout.add_number(cell::of(CellKind::kRootHead), 1);
  layout.add_number(cell::of(CellKind::kLockReaders), 2);
  layout.add_number(cell::of(CellKind::kLockWriter), 1);
  layout.add_number(cell::of(CellKind::kVcpuRoot), 1);
  layout.add_constant(cell::of(CellKind::kSlotField, 0, static_cast<uint64_t>(SlotField::kNpages)),
                      uint64_t{1} << 28);
  layout.ignore(CellKind::kPageStat);
  layout.ignore(CellKind::kTdpMmuPages);
  layout.finish();
  return layout;
}

template <class Store>
class TestEnv {
 public:
  explicit TestEnv(Store& store) : store_(store) {}

  bool pausing = false;
  int thread = 0;                   // that steps now
  uint64_t nx_pages = 0;            // that NX recovery still zaps
  const TdpMmuMap* map = nullptr;   // what it runs; nullptr: a root is allocated
  std::vector<std::string> events;  // since the last clear

  bool pause() const { return pausing; }
  bool lock_steps() const { return false; }
  bool lock_free(bool) const { return true; }
  void before(Point, uint32_t, uint32_t) {}
  bool need_resched(const TdpIter&) { return false; }
  bool nx_goes_on(bool zaps) { return nx_pages != 0 && (!zaps || nx_pages-- != 0); }
  bool lose_cmpxchg(uint32_t, uint32_t) { return false; }
  uint64_t observe(uint32_t, uint32_t, uint64_t v) const { return v; }
  bool hardware_first(uint32_t, uint32_t, uint64_t) const { return false; }
  uint64_t refreshed(uint32_t, uint32_t, uint64_t v) const { return v; }
  template <class... A>
  int host_level(A...) {
    return kPgLevel4K;
  }
  int external_result(uint64_t, int, uint64_t, uint64_t) { return 0; }
  TdxHook& hook() { return hook_; }
  tdx::Status injected_status(tdx::Leaf) const { return {}; }
  uint64_t external_page(uint32_t, uint64_t page) const { return page; }
  uint64_t new_table_frame(ev::TableKind) {
    return map == nullptr ? kRootFrame
                          : test_frame(test_place(map->fault.gfn, map->iter.level - 1), thread);
  }

  void emit(const ev::Store& e) {
    add("store", frame(e.table), e.index, e.old_spte, e.new_spte, static_cast<int>(e.how));
  }
  void emit(const ev::SpteChanged& e) { add("changed", e.gfn, e.level, e.old_spte, e.new_spte); }
  void emit(const ev::CasFail& e) { add("casfail", frame(e.table), e.index, e.expected, e.found); }
  void emit(const ev::AllocTable& e) { add("alloc", frame(e.table)); }
  void emit(const ev::InitSp& e) { add("init", frame(e.table), e.gfn, e.role); }
  void emit(const ev::PrepareZapPage& e) { add("zappt", frame(e.table), e.gfn, e.role); }
  void emit(const ev::RcuQueued& e) { add("rcu", frame(e.table), e.pending); }
  void emit(const ev::Freed& e) { add("free", frame(e.table)); }
  void emit(const ev::PutRoot& e) { add("put", frame(e.root), e.refs); }
  void emit(const ev::Flush& e) { add("flush", static_cast<int>(e.kind), e.a, e.b); }
  void emit(const ev::SetSpte& e) { add("set", e.gfn, e.level, e.spte); }
  void emit(const ev::Warn& e) { events.push_back(std::string("warn ") + e.rule); }
  template <class E>
  void emit(const E&) {
    events.push_back("other");
  }

 private:
  TdxHook hook_;
  uint64_t frame(uint32_t table) {
    return store_.is_live(table) ? store_.get(cell::of(CellKind::kSpPfn, table)) : 0;
  }
  template <class... N>
  void add(const char* what, N... n) {
    std::string s = what;
    ((s += ' ', s += std::to_string(n)), ...);
    events.push_back(std::move(s));
  }
  Store& store_;
};

template <class Store>
struct TestVm {
  explicit TestVm(Store& s, const TestFormat& t)
      : store(s), env(s), world{s, env, *t.design, t.fmt, t.host, {}} {
    world.store.set(cell::of(CellKind::kSlotField, 0, static_cast<uint64_t>(SlotField::kNpages)),
                    uint64_t{1} << 28);
  }
  Store& store;
  TestEnv<Store> env;
  World<Store, TestEnv<Store>> world;
};

inline Fault test_fault(uint32_t leaf, bool writable, bool prefetch) {
  Fault f;
  f.gfn = test_gfn(leaf);
  f.addr = f.gfn << kPageShift;
  f.pfn = kGuestFrame + f.gfn;
  f.slot = 0;
  f.map_writable = writable;
  f.write = writable && !prefetch;
  f.prefetch = prefetch;
  return f;
}

}  // namespace mmucheck::model
