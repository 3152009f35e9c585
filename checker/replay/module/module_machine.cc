#include "checker/replay/module/module_machine.h"

#include <algorithm>

#include "model/tdx/td_setup.h"

namespace mmucheck::replay {

namespace tdx = model::tdx;
using model::Cell;
using model::CellKind;

namespace {

// A vCPU has its TDVPR and five more pages behind it.
constexpr uint64_t kTdvpsPages = 6;

bool points_to_sept_page(uint64_t e) {
  return tdx::state_in<>(tdx::sept_state<>(e), tdx::sept_set(tdx::SeptEntryState::kNlMapped,
                                                             tdx::SeptEntryState::kNlBlocked));
}

}  // namespace

ModuleMachine::ModuleMachine(const ModuleHeader& header) : header_(header) {
  tds_.push_back(header_.td);
  if (header_.other_tdr != 0) tds_.push_back({.tdr = header_.other_tdr});
  platform_ = header_.platform;
  platform_.tds = tds_;
  platform_.vcpus = header_.vcpus;
  for (const auto& [first, end] : header_.reserved) {
    for (uint64_t p = first; p < end; p++) {
      tdx::set_pamt_type(world_, tdx::k4K, p, tdx::Pt::kRsvd);
    }
  }
  tdx::set_up_td(world_, kTd,
                 {.lifecycle = header_.lifecycle, .op_state = header_.op_state,
                  .epoch = header_.epoch, .chldcnt = header_.chldcnt});
  for (uint64_t parity = 0; parity < 2; parity++) {
    world_.set(CellKind::kTdRefcount, kTd, parity, header_.refcount[parity]);
  }
  for (uint64_t i = 0; i < header_.tdcx_count; i++) {
    tdx::set_up_td_page(world_, kTd, header_.tdcx + i, tdx::Pt::kTdcx);
  }
  for (uint32_t v = 0; v < header_.vcpus.size(); v++) {
    for (uint64_t i = 1; i < kTdvpsPages; i++) {
      tdx::set_up_td_page(world_, kTd, header_.vcpus[v].tdvpr + i, tdx::Pt::kTdcx);
    }
    tdx::set_up_vcpu(world_, v, header_.vcpu_lp[v], header_.vcpu_epoch[v]);
  }
  if (tds_.size() > 1) {
    tdx::set_up_td(world_, 1, {.lifecycle = tdx::TdLifecycle::kHkidAssigned,
                               .op_state = tdx::OpState::kUninitialized});
  }
  store_.begin();
}

std::optional<Cell> ModuleMachine::find_entry(uint64_t gpa, int level) const {
  const tdx::TdConfig& td = tds_[kTd];
  uint32_t table = store_.find_table(td.sept_root);
  for (int l = td.top_level(); l >= level && table != model::kNoTable; l--) {
    const Cell at = model::cell::pte(table, tdx::sept_index(gpa, l));
    if (l == level) return at;
    const uint64_t e = store_.get(at);
    if (!points_to_sept_page(e)) return std::nullopt;
    table = store_.find_table(tdx::sept_hpa<>(e, l) >> 12);
  }
  return std::nullopt;
}

Cell ModuleMachine::lock_cell(const ModuleRecord& r) const {
  switch (r.lock) {
    case HarnessLock::kTdr: return tdx::pamt_cell(CellKind::kPamtLock, tdx::k4K, tds_[kTd].tdr);
    case HarnessLock::kOpState: return model::cell::of(CellKind::kTdOpStateLock, kTd);
    case HarnessLock::kSeptTree: return model::cell::of(CellKind::kTdSeptLock, kTd);
    case HarnessLock::kTdEpoch: return model::cell::of(CellKind::kTdEpochLock, kTd);
    case HarnessLock::kKot: return model::cell::of(CellKind::kKotLock);
    case HarnessLock::kPamt4k: return tdx::pamt_cell(CellKind::kPamtLock, tdx::k4K, r.arg);
    case HarnessLock::kPamt2m: return tdx::pamt_cell(CellKind::kPamtLock, tdx::k2M, r.arg);
    case HarnessLock::kPamt1g: return tdx::pamt_cell(CellKind::kPamtLock, tdx::k1G, r.arg);
    case HarnessLock::kSeptEntry: break;
  }
  return {CellKind::kPte};
}

void ModuleMachine::harness_lock(const ModuleRecord& r) {
  const bool lock = r.harness == Harness::kLock;
  if (r.lock == HarnessLock::kSeptEntry) {
    const std::optional<Cell> at = find_entry(r.poke_gpa, r.poke_level);
    if (!at) return;
    const uint64_t e = store_.get(*at);
    store_.set(*at, lock ? e | tdx::kSeptTdel : e & ~tdx::kSeptTdel);
    return;
  }
  const bool host_priority = r.lock != HarnessLock::kSeptTree &&
                             r.lock != HarnessLock::kTdEpoch && r.lock != HarnessLock::kKot;
  const tdx::HeldKind kind =
      host_priority ? tdx::HeldKind::kHostPriority : tdx::HeldKind::kSharex;
  if (lock) {
    tdx::ModuleCall scratch;
    tdx::try_lock(world_, scratch, lock_cell(r), kind,
                  r.lock_exclusive ? tdx::LockMode::kExclusive : tdx::LockMode::kShared);
  } else {
    tdx::release(world_, {lock_cell(r), kind, r.lock_exclusive});
  }
}

// An entry of another state for the same page. What a state without a page keeps of the old entry
// is the harness's affair: there the record's own raw value is what was written.
void ModuleMachine::poke_entry(const ModuleRecord& r) {
  const std::optional<Cell> at = find_entry(r.poke_gpa, r.poke_level);
  if (!at) return;
  uint64_t e = tdx::make_sept_entry<>(r.poke, store_.get(*at) & tdx::kSeptHpa);
  const bool pageless = tdx::state_in<>(
      r.poke, tdx::sept_set(tdx::SeptEntryState::kFree, tdx::SeptEntryState::kRemoved));
  for (const SeptDiff& d : r.diff) {
    if (!pageless) break;
    const bool here = d.level == r.poke_level && d.gpa == r.poke_gpa && d.after.has_value();
    if (here && tdx::sept_state<>(*d.after) == r.poke) e = *d.after;
  }
  store_.set(*at, e);
}

void ModuleMachine::run(ModuleRecord& r) {
  store_.begin();
  switch (r.harness) {
    case Harness::kLock:
    case Harness::kUnlock: harness_lock(r); return;
    case Harness::kPokeEntry: poke_entry(r); return;
    case Harness::kPokeOpState: world_.set(CellKind::kTdOpState, kTd, 0, r.poke); return;
    case Harness::kPokeFatal: world_.set(CellKind::kTdFatal, kTd, 0, r.poke); return;
    case Harness::kNone: break;
  }
  const tdx::Leaf leaf = r.call.leaf;
  const bool by_vcpu = leaf >= tdx::Leaf::kPageAccept || leaf == tdx::Leaf::kVpEnter;
  if (by_vcpu && (!r.names_vcpu || r.call.vcpu >= header_.vcpus.size())) {
    throw BadSequence("the call names no vCPU of the TD");
  }
  tdx::run_call(world_, r.call);
}

void ModuleMachine::adopt(const ModuleRecord& r) {
  store_.revert();
  // From the top down, so that the page of an entry is there when the entry comes.
  std::vector<SeptDiff> diff = r.diff;
  std::stable_sort(diff.begin(), diff.end(),
                   [](const SeptDiff& a, const SeptDiff& b) { return a.level > b.level; });
  for (const SeptDiff& d : diff) {
    if (!d.after) continue;
    const std::optional<Cell> at = find_entry(d.gpa, d.level);
    if (!at) continue;
    const uint64_t old = store_.get(*at);
    const bool had = points_to_sept_page(old), has = points_to_sept_page(*d.after);
    if (had && !has) tdx::free_sept_page(world_, tdx::sept_hpa<>(old, d.level) >> 12);
    if (has && !had) {
      tdx::new_sept_page(world_, tdx::sept_hpa<>(*d.after, d.level) >> 12, d.gpa, d.level - 1);
    }
    store_.set(*at, *d.after);
  }
  for (const PamtDiff& d : r.pamt_diff) {
    store_.set(tdx::pamt_cell(CellKind::kPamtType, d.size, d.page), d.after.pt);
    store_.set(tdx::pamt_cell(CellKind::kPamtOwner, d.size, d.page), d.after.owner);
    store_.set(tdx::pamt_cell(CellKind::kPamtBepoch, d.size, d.page), d.after.bepoch);
    store_.set(tdx::pamt_cell(CellKind::kPamtLock, d.size, d.page), d.after.lock);
  }
  world_.set(CellKind::kTdEpoch, kTd, 0, r.epoch);
  world_.set(CellKind::kTdChldcnt, kTd, 0, r.chldcnt);
  for (uint64_t p = 0; p < 2; p++) world_.set(CellKind::kTdRefcount, kTd, p, r.refcount[p]);
  if (r.op_state) world_.set(CellKind::kTdOpState, kTd, 0, *r.op_state);
  if (r.lifecycle) world_.set(CellKind::kTdLifecycle, kTd, 0, *r.lifecycle);
  if (r.assoc) world_.set(CellKind::kTdNumAssoc, kTd, 0, *r.assoc);
  world_.set(CellKind::kTdEpochLock, kTd, 0, r.epoch_lock);
  world_.set(CellKind::kTdSeptLock, kTd, 0, r.tree_lock);
  world_.set(CellKind::kTdOpStateLock, kTd, 0, r.op_lock);
  const tdx::ModuleCall& c = r.call;
  if (c.vcpu >= header_.vcpus.size() || r.harness != Harness::kNone) return;
  const bool success = r.status == "TDX_SUCCESS";
  if (c.leaf == tdx::Leaf::kVpEnter && success) {
    world_.set(CellKind::kTdvpsAssoc, c.vcpu, 0, uint64_t{c.lp} + 1);
    world_.set(CellKind::kTdvpsInside, c.vcpu, 0, 1);
    world_.set(CellKind::kLpLastVcpu, c.lp, 0, uint64_t{c.vcpu} + 1);
  }
  if (r.out_enter) world_.set(CellKind::kTdvpsEpoch, c.vcpu, 0, (*r.out_enter)[2]);
  if (c.leaf == tdx::Leaf::kVpFlush && success) {
    world_.set(CellKind::kTdvpsAssoc, c.vcpu, 0, 0);
    world_.set(CellKind::kLpLastVcpu, c.lp, 0, 0);
  }
  if (r.exit || c.leaf == tdx::Leaf::kTdExit) world_.set(CellKind::kTdvpsInside, c.vcpu, 0, 0);
  if (c.leaf == tdx::Leaf::kMngVpflushdone && success) {
    world_.set(CellKind::kTdWbPending, kTd, 0, 1);
  }
  if (c.leaf == tdx::Leaf::kPhymemCacheWb) world_.set(CellKind::kTdWbPending, kTd, 0, 0);
}

}  // namespace mmucheck::replay
