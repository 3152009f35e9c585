// checker/replay/module: the TDX module that a sequence is run on: the platform of its header, the
// model over a journal, and what the harness that wrote the sequence did between the calls.
#pragma once

#include <vector>

#include "checker/replay/module/journal_store.h"
#include "checker/replay/module/module_record.h"
#include "model/tdx/call.h"

namespace mmucheck::replay {

class ModuleMachine {
 public:
  explicit ModuleMachine(const ModuleHeader& header);
  ModuleMachine(const ModuleMachine&) = delete;
  ModuleMachine& operator=(const ModuleMachine&) = delete;

  static constexpr uint32_t kTd = 0;
  using World = model::tdx::ModuleWorld<JournalStore>;

  // What the record asks for. Only its inputs are looked at. Throws BadSequence where it names a
  // vCPU that does not exist.
  void run(ModuleRecord& r);
  // Takes back what run() did and does what the record says instead, so that the calls after a
  // difference can still be compared.
  void adopt(const ModuleRecord& r);

  const ModuleHeader& header() const { return header_; }
  World& world() { return world_; }
  JournalStore& store() { return store_; }
  uint64_t value(model::CellKind k, uint64_t index = 0) const {
    return store_.get(model::cell::of(k, kTd, index));
  }
  uint64_t value_before(model::CellKind k, uint64_t index = 0) const {
    return store_.before(model::cell::of(k, kTd, index));
  }

 private:
  void harness_lock(const ModuleRecord& r);
  void poke_entry(const ModuleRecord& r);
  model::Cell lock_cell(const ModuleRecord& r) const;
  // The entry of that level, however the entries above it are blocked; no value: no page holds it.
  std::optional<model::Cell> find_entry(uint64_t gpa, int level) const;

  ModuleHeader header_;
  std::vector<model::tdx::TdConfig> tds_;
  model::tdx::Platform platform_;
  JournalStore store_;
  World world_{store_, platform_};
};

}  // namespace mmucheck::replay
