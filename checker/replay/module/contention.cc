// The table of contention: one lock held by somebody else, one call; then the holder lets go, and
// the call is tried again.

#include "checker/replay/module/module_fixture.h"
#include "checker/replay/module/module_tables.h"
#include "checker/replay/sequence/sequence_env.h"

namespace mmucheck::replay {
namespace {

using model::Cell;
using model::CellKind;
using tdx::Leaf;

enum Column : size_t {
  kLeaf,
  kLevel,
  kState,
  kOpState,
  kLock,
  kMode,
  kStatus,
  kRax,
  kRcx,
  kRdx,
  kWordBefore,
  kWordAfter,
  kEntryBefore,
  kEntryAfter,
  kGuestAccept,
  kStatusRetry,
  kEntryRetry,
  kGuestRetry,
};

// A held lock: whose it is does not matter, only its word.
struct HeldLock {
  enum class Kind : uint8_t { kNone, kVcpuInside, kHostWish, kWord };
  Kind kind = Kind::kNone;
  tdx::Held held;
};

bool is_guest(Leaf leaf) {
  return leaf >= Leaf::kPageAccept;
}

void make_vcpu_enter(ModuleFixture& f) {
  tdx::ModuleCall enter = f.call(Leaf::kVpEnter);
  f.run(enter);
}

// The TD in the state in which the call would go through.
void set_up(ModuleFixture& f, Leaf leaf, const TableRow& row) {
  const tdx::SeptStateInfo* state = find_sept_state(row[kState]);
  if (state == nullptr) throw BadModuleTable("\"" + row[kState] + "\" is no state of an entry");
  if (row[kLevel] != "0" && row[kLevel] != "1")
    throw BadModuleTable("the level is neither 0 nor 1");
  f.set_target(row[kLevel] == "1", state->state, ModuleFixture::kEpoch - 1);
  if (leaf == Leaf::kMemPagePromote && row[kLevel] == "1") f.set_mapped_children();
  const bool inside = row[kLock] == "TDR (vCPU inside)";
  if (inside || is_guest(leaf)) make_vcpu_enter(f);
  const auto set_lifecycle = [&f](tdx::TdLifecycle to) {
    f.world.set(CellKind::kTdLifecycle, 0, 0, static_cast<uint64_t>(to));
  };
  if ((leaf == Leaf::kMngVpflushdone || leaf == Leaf::kMngKeyFreeid) && !inside) {
    f.world.set(CellKind::kTdvpsAssoc, 0, 0, 0);
    f.world.set(CellKind::kTdNumAssoc, 0, 0, 0);
  }
  if (leaf == Leaf::kMngKeyFreeid) set_lifecycle(tdx::TdLifecycle::kBlocked);
  if (leaf == Leaf::kPhymemPageReclaim) set_lifecycle(tdx::TdLifecycle::kTeardown);
}

Cell pamt_lock(int size, uint64_t page) {
  return tdx::pamt_cell(CellKind::kPamtLock, size, page);
}

// No value: the model has no such lock.
std::optional<HeldLock> lock_of(const ModuleFixture& f, const TableRow& row) {
  using tdx::HeldKind;
  const std::string& name = row[kLock];
  const bool ex = row[kMode] == "EX";
  if (!ex && row[kMode] != "SH" && row[kMode] != "-") {
    throw BadModuleTable("\"" + row[kMode] + "\" is no mode of a lock");
  }
  const bool large = f.level == 1;
  const bool takes_4k = row[kLeaf] != "TDH.MEM.PAGE.AUG";
  const uint64_t mapped = large ? ModuleFixture::kMapped2m : ModuleFixture::kMapped4k;
  const uint64_t fresh = large && !takes_4k ? ModuleFixture::kNewPage2m : ModuleFixture::kNewPage;
  const bool none = row[kState] == "FREE" || row[kState] == "REMOVED";
  const auto word = [&](Cell at, HeldKind kind) {
    return HeldLock{HeldLock::Kind::kWord, {at, kind, ex}};
  };
  const auto pamt = [&](int size, uint64_t page) {
    return word(pamt_lock(size, page), HeldKind::kHostPriority);
  };
  if (name == "none") return HeldLock{};
  if (name == "TDR") return pamt(tdx::k4K, ModuleFixture::kTdr);
  if (name == "TDR (vCPU inside)") {
    return HeldLock{HeldLock::Kind::kVcpuInside, {pamt_lock(tdx::k4K, ModuleFixture::kTdr)}};
  }
  if (name == "OP_STATE") {
    return word(model::cell::of(CellKind::kTdOpStateLock), HeldKind::kHostPriority);
  }
  if (name == "SEPT_TREE") return word(model::cell::of(CellKind::kTdSeptLock), HeldKind::kSharex);
  if (name == "TD_EPOCH") return word(model::cell::of(CellKind::kTdEpochLock), HeldKind::kSharex);
  if (name == "KOT") return word(model::cell::of(CellKind::kKotLock), HeldKind::kSharex);
  if (name == "SEPT_ENTRY target") return word(f.target, HeldKind::kEntry);
  if (name == "SEPT_ENTRY parent") return word(f.parent, HeldKind::kEntry);
  if (name == "SEPT_ENTRY child 5") {
    const uint32_t table = f.store.find_table(f.page);
    if (table == model::kNoTable) return std::nullopt;
    return word(model::cell::pte(table, 5), HeldKind::kEntry);
  }
  if (name == "SEPT_ENTRY target TDHP only") {
    return HeldLock{HeldLock::Kind::kHostWish, {f.target, HeldKind::kEntry}};
  }
  if (name == "PAMT_4K mapped or S-EPT page") return pamt(tdx::k4K, none ? mapped : f.page);
  if (name == "PAMT_4K new page (first 4K of R8)") return pamt(tdx::k4K, fresh);
  if (name == "PAMT_4K inside 2M R8 (+7)") return pamt(tdx::k4K, fresh + 7);
  if (name == "PAMT_4K TDVPR") return pamt(tdx::k4K, ModuleFixture::kTdvpr);
  if (name == "PAMT_2M range of TDR") return pamt(tdx::k2M, ModuleFixture::kTdr);
  if (name == "PAMT_2M range of mapped page") return pamt(tdx::k2M, mapped);
  if (name == "PAMT_2M range of new page") return pamt(tdx::k2M, fresh);
  if (name == "PAMT_1G of everything") return pamt(tdx::k1G, 0);
  return std::nullopt;
}

// False: somebody in the fixture itself holds it already.
bool take(ModuleFixture& f, const HeldLock& l) {
  tdx::ModuleCall scratch;
  switch (l.kind) {
    case HeldLock::Kind::kNone:
    case HeldLock::Kind::kVcpuInside: return true;
    case HeldLock::Kind::kHostWish:
      f.store.set(f.target, f.target_entry() | tdx::kSeptTdhp);
      return true;
    case HeldLock::Kind::kWord: break;
  }
  return tdx::try_lock(f.world, scratch, l.held.cell, l.held.kind,
                       l.held.exclusive ? tdx::LockMode::kExclusive : tdx::LockMode::kShared);
}
void let_go(ModuleFixture& f, const HeldLock& l) {
  if (l.kind == HeldLock::Kind::kVcpuInside) tdx::td_exit(f.world, 0);
  if (l.kind == HeldLock::Kind::kWord) tdx::release(f.world, l.held);
}

// `otherwise`: of an entry whose S-EPT page is gone; nobody has written to it.
std::string word_text(const ModuleFixture& f, const HeldLock& l, const std::string& otherwise) {
  if (l.kind == HeldLock::Kind::kNone) return "0x0";
  const bool entry = l.held.cell.kind == CellKind::kPte;
  if (entry && !f.store.is_live(l.held.cell.object)) return otherwise;
  const uint64_t v = f.store.get(l.held.cell);
  return "0x" + hex(l.held.kind == tdx::HeldKind::kEntry ? (v & tdx::kSeptTdel) != 0 : v);
}

struct Comparison {
  std::string expected, got;
  void add(const char* what, const std::string& want, const std::string& is) {
    if (want == is || !expected.empty()) return;
    expected = std::string(what) + " " + want;
    got = std::string(what) + " " + is;
  }
  std::optional<RowDifference> result() const {
    if (expected.empty()) return std::nullopt;
    return RowDifference{expected, got};
  }
};

std::string entry_text(const ModuleFixture& f) {
  return "0x" + hex(f.target_entry());
}

// What is tried once the holder has let go.
void retry(ModuleFixture& f, Leaf leaf, const TableRow& row, Comparison& compare) {
  std::string guest_accept, guest_retry;
  if (!is_guest(leaf) && row[kLock] == "SEPT_ENTRY target" && row[kOpState] == "RUNNABLE") {
    const model::RadixStore before = f.store;
    make_vcpu_enter(f);
    tdx::ModuleCall accept = f.call(Leaf::kPageAccept);
    f.run(accept);
    guest_accept = tdx::status_text(accept.status);
    f.store = before;
  }
  tdx::ModuleCall again = f.call(leaf);
  f.run(again);
  const std::string entry = entry_text(f);
  if (again.status.code() == tdx::StatusCode::kOperandBusyHostPriority) {
    tdx::ModuleCall read = f.call(Leaf::kMemSeptRd);
    f.run(read);
    tdx::ModuleCall once_more = f.call(leaf);
    f.run(once_more);
    guest_retry = tdx::status_text(once_more.status);
  }
  compare.add("guest's ACCEPT after the release", row[kGuestAccept], guest_accept);
  compare.add("status after the release", row[kStatusRetry], tdx::status_text(again.status));
  compare.add("entry after the retry", row[kEntryRetry], entry);
  compare.add("guest's retry after SEPT.RD", row[kGuestRetry], guest_retry);
}

}  // namespace

std::optional<RowDifference> check_contention_row(const TableRow& row) {
  const tdx::LeafInfo* info = tdx::find_leaf(row[kLeaf]);
  if (info == nullptr) throw BadModuleTable("\"" + row[kLeaf] + "\" is no call");
  const Leaf leaf = info->leaf;
  if (row[kOpState] != "RUNNABLE" && row[kOpState] != "INITIALIZED") {
    throw BadModuleTable("\"" + row[kOpState] + "\" is no op state of this table");
  }
  ModuleFixture f(row[kOpState] == "RUNNABLE" ? tdx::OpState::kRunnable
                                              : tdx::OpState::kInitialized);
  set_up(f, leaf, row);
  const std::optional<HeldLock> named = lock_of(f, row);
  if (!named) return RowDifference{"lock " + row[kLock], "the model has no such lock"};
  const HeldLock& lock = *named;
  Comparison compare;
  if (!take(f, lock)) {
    compare.add("status", row[kStatus], "not set up: lock already held");
    return compare.result();
  }
  const std::string word_before = word_text(f, lock, ""), entry_before = entry_text(f);
  tdx::ModuleCall c = f.call(leaf);
  while (c.pc != tdx::CallPhase::kRelease) tdx::step(f.world, c);
  const std::string word_inside = word_text(f, lock, word_before);
  f.run(c);
  // These rows were read before the vCPU had left the TD.
  const bool still_inside =
      c.status == tdx::kTdExit && lock.held.kind == tdx::HeldKind::kHostPriority;
  const std::string word_after = still_inside ? word_inside : word_text(f, lock, word_before);
  compare.add("status", row[kStatus], tdx::status_text(c.status));
  // After a fatal error nothing else counts.
  if (c.status.code() == tdx::StatusCode::kModuleFatal) return compare.result();
  compare.add("rax", row[kRax], "0x" + hex(c.status.v));
  compare.add("rcx", row[kRcx], "0x" + hex(c.out.rcx));
  compare.add("rdx", row[kRdx], "0x" + hex(c.out.rdx));
  compare.add("lock word before", row[kWordBefore], word_before);
  compare.add("lock word after", row[kWordAfter], word_after);
  compare.add("entry before", row[kEntryBefore], entry_before);
  compare.add("entry after", row[kEntryAfter], entry_text(f));
  const tdx::StatusCode code = c.status.code();
  const bool busy =
      code == tdx::StatusCode::kOperandBusy || code == tdx::StatusCode::kOperandBusyHostPriority;
  if (busy) {
    let_go(f, lock);
    retry(f, leaf, row, compare);
  } else {
    for (const Column empty : {kGuestAccept, kStatusRetry, kEntryRetry, kGuestRetry}) {
      compare.add("after the release", row[empty], "");
    }
  }
  return compare.result();
}

}  // namespace mmucheck::replay
