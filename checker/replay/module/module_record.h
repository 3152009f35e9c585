// checker/replay/module: the lines of a module sequence as values: the header, and one record a
// call: its inputs, and everything that the module answered and changed.
//
// Reading throws BadSequence for a line that is no such record: unknown call, missing field, number
// out of range. What a record claims may still be wrong; that is for the comparison.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checker/replay/sequence/sequence_json.h"
#include "model/tdx/module.h"

namespace mmucheck::replay {

struct ModuleHeader {
  model::tdx::TdConfig td;
  uint64_t other_tdr = 0;
  std::vector<model::tdx::VcpuConfig> vcpus;
  std::vector<uint32_t> vcpu_lp;  // kNone: associated with no CPU
  std::vector<uint64_t> vcpu_epoch;
  model::tdx::Platform platform;  // without its lists
  std::vector<std::pair<uint64_t, uint64_t>> reserved;  // first page, end
  uint64_t tdcx = 0, tdcx_count = 0;
  uint64_t pamt_recorded_4k = 0;  // changes of 4K entries from this page on are not in the records
  model::tdx::OpState op_state = model::tdx::OpState::kRunnable;
  model::tdx::TdLifecycle lifecycle = model::tdx::TdLifecycle::kKeysConfigured;
  uint64_t epoch = 0, chldcnt = 0;
  std::array<uint64_t, 2> refcount{};
};
ModuleHeader read_module_header(const json& j);

enum class Harness : uint8_t { kNone, kLock, kUnlock, kPokeEntry, kPokeOpState, kPokeFatal };
enum class HarnessLock : uint8_t {
  kTdr, kOpState, kSeptTree, kTdEpoch, kKot, kPamt4k, kPamt2m, kPamt1g, kSeptEntry,
};

struct SeptDiff {
  int level = 0;
  uint64_t gpa = 0;
  std::optional<uint64_t> before, after;  // raw; none: no page of the tree holds the entry
};
struct PamtEntry {
  uint64_t pt = 0, owner = 0, bepoch = 0, lock = 0;
  friend bool operator==(const PamtEntry&, const PamtEntry&) = default;
};
struct PamtDiff {
  int size = 0;
  uint64_t page = 0;
  PamtEntry before, after;
};

struct ModuleRecord {
  int64_t i = -1;
  std::string leaf;
  Harness harness = Harness::kNone;
  HarnessLock lock = HarnessLock::kTdr;
  bool lock_exclusive = false;
  uint64_t arg = 0;                // page of a PAMT lock
  uint64_t poke_gpa = 0;
  int poke_level = 0;
  uint64_t poke = 0;               // encoding of the state; op state; fatal
  model::tdx::ModuleCall call;     // inputs
  bool names_vcpu = false;

  std::string status;
  std::optional<uint64_t> rax;
  model::tdx::Registers out;       // registers after the call
  std::optional<uint64_t> out_hpa;
  std::optional<std::array<uint64_t, 3>> out_enter;  // flushed for epoch, for switch, vCPU epoch
  std::optional<model::tdx::ExitInfo> exit;
  std::vector<SeptDiff> diff;
  std::vector<std::string> wrong_names;  // states whose name is not that of the raw entry
  std::vector<PamtDiff> pamt_diff;
  uint64_t epoch = 0, chldcnt = 0;
  std::array<uint64_t, 2> refcount{};
  std::optional<uint64_t> op_state, lifecycle, assoc;
  uint64_t epoch_lock = 0, tree_lock = 0, op_lock = 0;
};
ModuleRecord read_module_record(const json& j);

}  // namespace mmucheck::replay
