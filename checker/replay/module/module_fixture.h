// checker/replay/module: one TD in the state in which a row of a table wants it: a 4-level S-EPT
// with one entry of interest at GPA 0, so that each call on it can be tried by itself.
//
// The addresses are those of the tables (page numbers): TDR 0x100, TDVPR 0x120, S-EPT pages 0x201
// (level 2), 0x202 (level 1), 0x203 (level 0), mapped page 0x300 (4K) or 0x1000 (2M), new page
// 0x400 (4K) or 0x2000 (2M).
#pragma once

#include <string_view>

#include "model/store/radix_store.h"
#include "model/tdx/call.h"
#include "model/tdx/td_setup.h"

namespace mmucheck::replay {

namespace tdx = model::tdx;

using ModuleStoreWorld = tdx::ModuleWorld<model::RadixStore>;

class ModuleFixture {
 public:
  static constexpr uint64_t kTdr = 0x100, kSeptRoot = 0x104, kTdvpr = 0x120;
  static constexpr uint64_t kMapped4k = 0x300, kMapped2m = 0x1000;
  static constexpr uint64_t kNewPage = 0x400, kNewPage2m = 0x2000, kSourcePage = 0xd0000;
  static constexpr uint64_t kEpoch = 10, kChldcnt = 100'000;

  explicit ModuleFixture(tdx::OpState op_state);
  ModuleFixture(const ModuleFixture&) = delete;
  ModuleFixture& operator=(const ModuleFixture&) = delete;

  // Builds the walk down to `level` and puts an entry of `state` there (or FREE, REMOVED), with
  // what it points to: a page, or an S-EPT page of FREE entries.
  void set_target(int level, tdx::SeptEntryState state, uint64_t bepoch);
  // The target of `level` below a parent (level + 1) of any state.
  void set_target_below(int level, tdx::SeptEntryState state, tdx::SeptEntryState parent,
                        uint64_t bepoch);
  // 512 contiguous MAPPED 4K entries below the target.
  void set_mapped_children();

  // A call on the target with valid operands.
  tdx::ModuleCall call(tdx::Leaf leaf) const;
  void run(tdx::ModuleCall& c) { tdx::run_call(world, c); }

  uint64_t target_entry() const { return store.get(target); }
  // The page that the target pointed to at first; for FREE and REMOVED the page that is offered.
  uint64_t page = 0;
  int page_size = 0;
  int level = 0;
  model::Cell target{model::CellKind::kPte};
  model::Cell parent{model::CellKind::kPte};

  model::RadixStore store;
  tdx::Platform platform;
  ModuleStoreWorld world{store, platform};

 private:
  void use_page(tdx::SeptEntryState state, uint64_t bepoch);
  tdx::TdConfig td_;
  tdx::VcpuConfig vcpu_;
};

// The state with this name; nullptr: none.
const tdx::SeptStateInfo* find_sept_state(std::string_view name);

}  // namespace mmucheck::replay
