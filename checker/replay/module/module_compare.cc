#include "checker/replay/module/module_compare.h"

#include <algorithm>
#include <map>

#include "checker/replay/sequence/sequence_env.h"

namespace mmucheck::replay {

namespace tdx = model::tdx;
using model::CellKind;

namespace {

struct Unequal {
  std::string expected, got;
};

// Throws where the two are not the same; caught in compare_module_call.
void same(const std::string& what, const std::string& expected, const std::string& got) {
  if (expected != got) throw Unequal{what + " " + expected, what + " " + got};
}
void same(const std::string& what, uint64_t expected, uint64_t got) {
  if (expected != got) same(what, "0x" + hex(expected), "0x" + hex(got));
}

void compare_registers(const ModuleRecord& r) {
  const tdx::ModuleCall& c = r.call;
  const tdx::Registers &want = r.out, &got = c.out;
  same("rcx", want.rcx, got.rcx);
  same("rdx", want.rdx, got.rdx);
  const bool data = c.status.ok() && (c.leaf == tdx::Leaf::kMemRd || c.leaf == tdx::Leaf::kMemWr);
  if (!data) same("r8", want.r8, got.r8);
  same("r9", want.r9, got.r9);
  same("r10", want.r10, got.r10);
  same("r11", want.r11, got.r11);
}

void compare_exit(const ModuleRecord& r) {
  const tdx::ModuleCall& c = r.call;
  const bool exits = c.status == tdx::kTdExit;
  same("exit", r.exit ? "there is one" : "there is none", exits ? "there is one" : "there is none");
  if (!exits) return;
  same("exit gpa", r.exit->gpa, c.exit.gpa);
  // The page walk of an access is the harness's, and so is what it says of the entry's rights.
  const uint64_t mask = c.leaf == tdx::Leaf::kGuestAccess ? 7 : ~uint64_t{0};
  same("exit qualification", r.exit->qualification & mask, c.exit.qualification & mask);
  same("exit extended qualification", r.exit->extended, c.exit.extended);
  same("exit requested level", r.exit->req_level, c.exit.req_level);
  same("exit failing level", r.exit->err_level, c.exit.err_level);
  same("exit state", r.exit->err_state, c.exit.err_state);
}

void compare_answer(ModuleMachine& m, const ModuleRecord& r) {
  const tdx::ModuleCall& c = r.call;
  same("status", r.status, tdx::status_text(c.status));
  if (r.rax) same("rax", *r.rax, c.status.v);
  compare_registers(r);
  if (c.leaf == tdx::Leaf::kVpEnter) {
    const auto want = r.out_enter.value_or(std::array<uint64_t, 3>{});
    same("flushes for a new epoch", want[0], c.flushed_epoch);
    same("flushes for another vCPU", want[1], c.flushed_switch);
    same("vCPU epoch", want[2], m.store().get(model::cell::of(CellKind::kTdvpsEpoch, c.vcpu)));
  }
  if (r.out_hpa) same("page", *r.out_hpa, c.accessed_page);
  compare_exit(r);
}

std::string entry_text(const std::optional<uint64_t>& e) {
  return e ? std::string(tdx::sept_state_name(*e)) + " 0x" + hex(*e) : "ABSENT";
}

void compare_entries(ModuleMachine& m, const ModuleRecord& r) {
  if (!r.wrong_names.empty()) {
    throw Unequal{"an entry in the state " + r.wrong_names[0], "its raw value has another state"};
  }
  using Key = std::pair<int, uint64_t>;
  std::map<Key, std::pair<std::string, std::string>> want, got;
  for (const SeptDiff& d : r.diff) {
    want[{d.level, d.gpa}] = {entry_text(d.before), entry_text(d.after)};
  }
  for (const JournalStore::EntryChange& d : m.store().entry_changes()) {
    got[{d.level, d.gpa}] = {entry_text(d.before), entry_text(d.after)};
  }
  if (want == got) return;
  const auto text = [](const auto& changes, const Key& at) {
    const auto it = changes.find(at);
    return it == changes.end() ? "unchanged" : it->second.first + " -> " + it->second.second;
  };
  auto compare_all = [&](const auto& changes) {
    for (const auto& [at, unused] : changes) {
      same("entry level " + std::to_string(at.first) + " gpa 0x" + hex(at.second), text(want, at),
           text(got, at));
    }
  };
  compare_all(want);
  compare_all(got);
}

bool is_pamt(CellKind k) {
  return k == CellKind::kPamtType || k == CellKind::kPamtOwner || k == CellKind::kPamtBepoch ||
         k == CellKind::kPamtLock;
}

std::string pamt_text(const PamtEntry& e) {
  return std::string(tdx::pt_name(static_cast<tdx::Pt>(e.pt))) + " owner " +
         std::to_string(e.owner) + " bepoch " + std::to_string(e.bepoch) + " lock " +
         std::to_string(e.lock);
}

void compare_pamt(ModuleMachine& m, const ModuleRecord& r) {
  using Key = std::pair<int, uint64_t>;
  std::map<Key, std::pair<PamtEntry, PamtEntry>> want, got;
  for (const PamtDiff& d : r.pamt_diff) want[{d.size, d.page}] = {d.before, d.after};
  const JournalStore& store = m.store();
  for (const model::Cell touched : store.touched()) {
    if (!is_pamt(touched.kind)) continue;
    const Key at{static_cast<int>(touched.object), touched.index};
    if (at.first == tdx::k4K && at.second >= m.header().pamt_recorded_4k) continue;
    if (got.contains(at)) continue;
    const auto entry = [&](auto read) {
      const auto field = [&](CellKind k) { return read(tdx::pamt_cell(k, at.first, at.second)); };
      return PamtEntry{field(CellKind::kPamtType), field(CellKind::kPamtOwner),
                       field(CellKind::kPamtBepoch), field(CellKind::kPamtLock)};
    };
    const PamtEntry before = entry([&](model::Cell c) { return store.before(c); });
    const PamtEntry after = entry([&](model::Cell c) { return store.get(c); });
    if (before != after) got[at] = {before, after};
  }
  if (want == got) return;
  const auto text = [](const auto& changes, const Key& at) {
    const auto it = changes.find(at);
    return it == changes.end()
               ? "unchanged"
               : pamt_text(it->second.first) + " -> " + pamt_text(it->second.second);
  };
  auto compare_all = [&](const auto& changes) {
    for (const auto& [at, unused] : changes) {
      same("PAMT size " + std::to_string(at.first) + " page " + std::to_string(at.second),
           text(want, at), text(got, at));
    }
  };
  compare_all(want);
  compare_all(got);
}

void compare_td(ModuleMachine& m, const ModuleRecord& r) {
  same("td epoch", r.epoch, m.value(CellKind::kTdEpoch));
  for (uint64_t p = 0; p < 2; p++) {
    same("td refcount " + std::to_string(p), r.refcount[p], m.value(CellKind::kTdRefcount, p));
  }
  same("td chldcnt", r.chldcnt, m.value(CellKind::kTdChldcnt));
  // Told only where it changed.
  const auto changed = [&](const char* what, const std::optional<uint64_t>& told, CellKind k) {
    if (told || m.value(k) != m.value_before(k)) {
      same(what, told ? std::to_string(*told) : "unchanged", std::to_string(m.value(k)));
    }
  };
  changed("td op state", r.op_state, CellKind::kTdOpState);
  changed("td life cycle", r.lifecycle, CellKind::kTdLifecycle);
  changed("td assoc", r.assoc, CellKind::kTdNumAssoc);
  same("td epoch lock", r.epoch_lock, m.value(CellKind::kTdEpochLock));
  same("td tree lock", r.tree_lock, m.value(CellKind::kTdSeptLock));
  same("td op-state lock", r.op_lock, m.value(CellKind::kTdOpStateLock));
}

}  // namespace

std::optional<ModuleDifference> compare_module_call(ModuleMachine& m, const ModuleRecord& r) {
  try {
    if (r.harness == Harness::kNone) {
      compare_answer(m, r);
    } else {
      same("status", r.status, "-");
    }
    compare_entries(m, r);
    compare_pamt(m, r);
    compare_td(m, r);
  } catch (const Unequal& u) {
    return ModuleDifference{r.i, r.leaf, u.expected, u.got};
  }
  return std::nullopt;
}

}  // namespace mmucheck::replay
