// The part of Monitor that looks at what a call of the TDX module did, after its last step and
// before anybody else's next one.
#include "checker/invariant/monitor.h"
#include "model/tdx/prologue.h"
#include "model/tdx/vp.h"

namespace mmucheck::invariant {

using model::CellKind;
using model::kNoTable;
namespace cell = model::cell;
namespace tdx = model::tdx;
using tdx::Leaf;

namespace {

using Module = tdx::ModuleWorld<const model::RadixStore>;

constexpr uint64_t kLockBits = tdx::kSeptTdel | tdx::kSeptTdhp;

// They free a page, or change what is behind a GPA or how.
constexpr bool frees_or_changes(Leaf leaf) {
  return leaf == Leaf::kMemPageRemove || leaf == Leaf::kMemSeptRemove ||
         leaf == Leaf::kMemPageDemote || leaf == Leaf::kMemPagePromote ||
         leaf == Leaf::kMemPageRelocate;
}
constexpr bool takes_pages(Leaf leaf) {
  return leaf == Leaf::kMemSeptAdd || leaf == Leaf::kMemPageAdd || leaf == Leaf::kMemPageAug ||
         leaf == Leaf::kMemPageRelocate || leaf == Leaf::kMemPageDemote ||
         leaf == Leaf::kMemPagePromote;
}
constexpr bool is_guest_call(Leaf leaf) {
  return leaf >= Leaf::kPageAccept;
}

bool is_empty(uint64_t e) {
  return tdx::is_sept_free<>(e) || tdx::is_state<>(e, tdx::SeptEntryState::kRemoved);
}

struct Pages {  // that an entry points to
  uint64_t first = 0;
  int size = tdx::k4K;
};
Pages pages_behind(uint64_t e, int level) {
  return {tdx::sept_hpa<>(e, level) >> model::kPageShift,
          tdx::is_sept_leaf<>(e) ? level : int{tdx::k4K}};
}

bool owned(const Module& w, uint32_t td, uint64_t e, int level) {
  const Pages p = pages_behind(e, level);
  const tdx::Pt want = tdx::is_sept_leaf<>(e) ? tdx::Pt::kReg : tdx::Pt::kEpt;
  return tdx::pamt_type(w, p.size, p.first) == want &&
         w.store.get(tdx::pamt_cell(CellKind::kPamtOwner, p.size, p.first)) ==
             w.platform.tds[td].tdr;
}

// Used at this size, and at no other one.
bool at_one_size(const Module& w, const Pages& p) {
  for (int s = p.size + 1; s <= tdx::k1G; s++) {
    const tdx::Pt type = tdx::pamt_type(w, s, p.first);
    if (type != tdx::Pt::kNda && type != tdx::Pt::kPamt) return false;
  }
  if (p.size != tdx::k2M) return true;  // 1G is made of 2M that were looked at
  for (uint64_t i = 0; i < tdx::pages_of(tdx::k2M); i++) {
    if (tdx::pamt_type(w, tdx::k4K, p.first + i) != tdx::Pt::kNda) return false;
  }
  return true;
}

template <class F>
bool all_inside(const Module& w, uint32_t td, F&& holds) {
  for (uint32_t v = 0; v < w.platform.vcpus.size(); v++) {
    if (w.platform.vcpus[v].td == td && w.get(CellKind::kTdvpsInside, v) != 0 && !holds(v)) {
      return false;
    }
  }
  return true;
}

// Does the CPU of vCPU `v` have a translation to one of the pages?
bool caches(const Module& w, uint32_t td, uint32_t v, const Pages& p) {
  const auto lp = static_cast<uint32_t>(w.get(CellKind::kTdvpsAssoc, v) - 1);
  for (const uint64_t gpa : w.platform.followed) {
    const uint64_t t = w.store.get(tdx::translation_cell(lp, td, gpa));
    const uint64_t page = (t & tdx::kSeptHpa) >> model::kPageShift;
    if (t != 0 && page - p.first < tdx::pages_of(p.size)) return true;
  }
  return false;
}

// What the entries of the S-EPT page `table` and below point to, in 4K pages.
uint64_t pages_below(const Module& w, uint32_t table, int level) {
  uint64_t pages = 0;
  for (uint32_t i = 0; table != kNoTable && i < tdx::kSeptEntries; i++) {
    const uint64_t e = w.store.get(cell::pte(table, i));
    if (is_empty(e)) continue;
    if (tdx::is_sept_leaf<>(e)) {
      pages += tdx::pages_of(level);
    } else {
      pages += 1 + pages_below(w, w.store.find_table(tdx::sept_hpa<>(e, level) >> 12), level - 1);
    }
  }
  return pages;
}

// The children that DEMOTE made of `before` are pages of its range, as pending as it was.
template <class F>
bool first_and_last_child(const Module& w, uint64_t entry, int level, F&& holds) {
  const uint32_t table = w.store.find_table(tdx::sept_hpa<>(entry, level) >> model::kPageShift);
  if (table == kNoTable) return true;
  for (const uint32_t i : {0u, 511u}) {
    if (!holds(i, w.store.get(cell::pte(table, i)))) return false;
  }
  return true;
}

}  // namespace

bool cached_inside(const View& v, uint64_t page) {
  const Module w{v.store, *v.platform};
  const Pages one{page, tdx::k4K};
  return !all_inside(w, 0, [&](uint32_t vcpu) { return !caches(w, 0, vcpu, one); });
}

bool page_of_td(const View& v, uint64_t page) {
  const Module w{v.store, *v.platform};
  for (const int size : {tdx::k4K, tdx::k2M, tdx::k1G}) {
    const tdx::Pt type = tdx::pamt_type(w, size, page);
    if (type != tdx::Pt::kNda && type != tdx::Pt::kRsvd && type != tdx::Pt::kPamt) return true;
  }
  return false;
}

void Monitor::module_call(const tdx::ModuleCall& c) {
  // The entry's lock bit shows in `entry` when the call got it, and when somebody else had it.
  const bool busy = c.status.code() == tdx::StatusCode::kOperandBusy ||
                    c.status.code() == tdx::StatusCode::kOperandBusyHostPriority;
  const bool locked = (c.entry & tdx::kSeptTdel) != 0 && !busy && c.leaf != Leaf::kMemPageAdd &&
                      c.pos.table != kNoTable && view_.store.is_live(c.pos.table);
  const uint64_t now = locked ? view_.store.get(c.pos.cell()) : 0;
  check(id("TDX-LOCK-FREE"),
        c.held_count == 0 && c.children_locked == 0 && (now & tdx::kSeptTdel) == 0);
  guest_waits(c);
  if (c.status.code() == tdx::StatusCode::kTdAssociatedPagesExist) count(id("TDX-TD-LAST"));
  if (c.status.ok()) {
    if (locked || (c.leaf == Leaf::kMemPageAdd && c.pos.table != kNoTable)) entry_call(c);
    td_call(c);
  } else if (locked) {
    check(id("TDX-CALL-FAILED"),
          tdx::sept_state<>(now) == tdx::sept_state<>(c.entry) &&
              tdx::sept_hpa<>(now, c.pos.level) == tdx::sept_hpa<>(c.entry, c.pos.level));
  }
}

// A call that succeeded on an entry.
void Monitor::entry_call(const tdx::ModuleCall& c) {
  const Module w{view_.store, *view_.platform};
  const int level = c.pos.level;
  const uint64_t before = c.entry & ~kLockBits;
  const uint64_t after = view_.store.get(c.pos.cell()) & ~kLockBits;
  check(id("TDX-SEPT-SHAPE"), sept_entry_well_formed<>(after, level));
  if (!is_guest_call(c.leaf)) {
    const tdx::SeptPosition walked = tdx::sept_walk(w, c.td, c.gpa, level);
    check(id("TDX-SEPT-WALK"), walked.table == c.pos.table && walked.level == level);
  }
  if (!is_empty(after)) {
    check(id("TDX-PAMT-OWNER"), owned(w, c.td, after, level) && c.new_page_was == tdx::Pt::kNda);
  }
  if (takes_pages(c.leaf)) check(id("TDX-PAMT-SIZE"), at_one_size(w, pages_behind(after, level)));

  // A module that resizes what is mapped makes translations of both sizes lead to the same page.
  const bool in_place = c.leaf == Leaf::kMemPageDemote && w.platform.version.non_blocking_resize;
  const bool changes = frees_or_changes(c.leaf) && !in_place;
  if (changes || c.leaf == Leaf::kMemRangeUnblock) {
    const Pages old = pages_behind(before, level);
    if (tdx::op_state_in(w.op_state(c.td), tdx::kTrackingOpStates) &&
        tdx::sept_state_is_tlb_tracking_required<>(before)) {
      const uint64_t bepoch = tdx::pamt_bepoch(w, old.size, old.first);
      check(id("TDX-SEPT-TRACKED"),
            tdx::sept_state_is_any_blocked<>(before) && all_inside(w, c.td, [&](uint32_t v) {
              return entered_after_block<>(w.get(CellKind::kTdvpsEpoch, v), bepoch);
            }));
    }
    if (changes) {
      check(id("TDX-TLB-STALE"),
            all_inside(w, c.td, [&](uint32_t v) { return !caches(w, c.td, v, old); }));
    }
  }
  if (c.leaf == Leaf::kMemRangeBlock) {
    const Pages p = pages_behind(after, level);
    const uint64_t bepoch = tdx::pamt_bepoch(w, p.size, p.first);
    check(id("TDX-EPOCH-BLOCK"),
          bepoch <= w.get(CellKind::kTdEpoch, c.td) && all_inside(w, c.td, [&](uint32_t v) {
            return !caches(w, c.td, v, p) || w.get(CellKind::kTdvpsEpoch, v) <= bepoch;
          }));
  }
  if (tdx::sept_state_is_any_blocked<>(before) || c.leaf == Leaf::kMemRangeBlock) {
    check(id("TDX-SEPT-BLOCKED"),
          tdx::sept_state_is_any_blocked<>(after) || frees_or_changes(c.leaf) ||
              c.leaf == Leaf::kMemRangeUnblock);
  }
  contents(c, before, after);
}

// What a page holds, and which page is behind a GPA.
void Monitor::contents(const tdx::ModuleCall& c, uint64_t before, uint64_t after) {
  const Module w{view_.store, *view_.platform};
  const int level = c.pos.level;
  bool pending = stays_pending<>(before, after);
  bool in_place = c.leaf == Leaf::kMemPageRelocate || same_page_behind<>(before, after, level);
  switch (c.leaf) {
    case Leaf::kMemPageAug: pending = tdx::is_pending<>(after); break;
    case Leaf::kMemPageAdd:
      pending = w.op_state(c.td) == tdx::OpState::kInitialized && !tdx::is_pending<>(after);
      break;
    case Leaf::kPageAccept: pending = tdx::is_pending<>(before) && !tdx::is_pending<>(after); break;
    case Leaf::kMemPageDemote: {
      const uint64_t base = tdx::sept_hpa<>(before, level);
      pending = first_and_last_child(w, after, level, [&](uint32_t, uint64_t e) {
        return tdx::is_pending<>(e) == tdx::is_pending<>(before);
      });
      in_place = first_and_last_child(w, after, level, [&](uint32_t i, uint64_t e) {
        return tdx::sept_hpa<>(e, level - 1) == base + i * tdx::sept_span(level - 1);
      });
      break;
    }
    case Leaf::kMemWr: in_place = w.platform.tds[c.td].debug; break;
    default: break;
  }
  check(id("TDX-SEPT-PENDING"), pending);
  check(id("TDX-DATA-PLACE"), in_place);
}

// A call that succeeded on a TD or a vCPU.
void Monitor::td_call(const tdx::ModuleCall& c) {
  const Module w{view_.store, *view_.platform};
  switch (c.leaf) {
    case Leaf::kMrFinalize:
      check(id("TDX-TD-LIFE"),
            w.op_state(c.td) == tdx::OpState::kRunnable && w.get(CellKind::kTdNumVcpus, c.td) != 0);
      return;
    case Leaf::kMngVpflushdone: {
      bool associated = w.get(CellKind::kTdNumAssoc, c.td) != 0;
      for (uint32_t v = 0; v < w.platform.vcpus.size(); v++) {
        associated |= w.platform.vcpus[v].td == c.td && w.get(CellKind::kTdvpsAssoc, v) != 0;
      }
      check(id("TDX-TD-LIFE"), !associated);
      const tdx::TdConfig& td = w.platform.tds[c.td];
      check(id("TDX-PAMT-COUNT"), pages_below(w, w.store.find_table(td.sept_root),
                                              td.top_level()) == w.get(CellKind::kTdChldcnt, c.td));
      return;
    }
    case Leaf::kMngKeyFreeid:
      check(id("TDX-TD-LIFE"), w.get(CellKind::kTdWbPending, c.td) == 0);
      return;
    case Leaf::kPhymemPageReclaim:
      check(id("TDX-TD-LIFE"), w.lifecycle(c.td) == tdx::TdLifecycle::kTeardown);
      if (c.value != 0) check(id("TDX-TD-LAST"), w.get(CellKind::kTdChldcnt, c.td) == 0);
      return;
    case Leaf::kVpEnter:
    case Leaf::kTdExit:
    case Leaf::kMemTrack: break;
    default: return;
  }
  const uint32_t td = c.leaf == Leaf::kTdExit ? w.platform.vcpus[c.vcpu].td : c.td;
  const uint64_t epoch = w.get(CellKind::kTdEpoch, td);
  uint64_t inside[2] = {};
  const bool recent = all_inside(w, td, [&](uint32_t v) {
    const uint64_t entered = w.get(CellKind::kTdvpsEpoch, v);
    inside[entered & 1]++;
    return epoch_is_recent<>(entered, epoch);
  });
  check(id("TDX-EPOCH-RANGE"), recent && epoch >= recall(kLastEpoch));
  if (epoch != recall(kLastEpoch)) keep(kLastEpoch, epoch);
  check(id("TDX-EPOCH-COUNT"), !recent || (inside[0] == w.get(CellKind::kTdRefcount, td, 0) &&
                                           inside[1] == w.get(CellKind::kTdRefcount, td, 1)));
}

// A guest's call that was refused, and what the host owes it then.
void Monitor::guest_waits(const tdx::ModuleCall& c) {
  const uint64_t here = c.gpa + 1;
  if (!is_guest_call(c.leaf)) {
    // A host call looked at the entry, or at one above or below it.
    if (c.pos.table == kNoTable) return;
    const uint64_t span = tdx::sept_span(c.pos.level);
    const auto covers = [&](uint64_t gpa) { return gpa != 0 && ((gpa - 1) ^ c.gpa) < span; };
    if (covers(recall(kRefusedGpa))) keep(kRefusedGpa, 0);
    if (covers(recall(kUnacceptedGpa))) keep(kUnacceptedGpa, 0);
    return;
  }
  if (c.leaf != Leaf::kPageAccept || c.pos.table == kNoTable) return;
  if (c.status.code() == tdx::StatusCode::kOperandBusyHostPriority) {
    keep(kRefused, recall(kRefusedGpa) == here ? recall(kRefused) + 1 : 1);
    keep(kRefusedGpa, here);
    check(id("TDX-LOCK-PRIORITY"), recall(kRefused) < kGuestPatience);
  } else if (recall(kRefusedGpa) == here) {
    keep(kRefusedGpa, 0);
  }
  // What is larger than the guest accepts must be split before it asks again.
  const bool larger = c.status.code() == tdx::StatusCode::kTdExitEptViolation &&
                      c.pos.level > c.value && tdx::is_sept_leaf<>(c.pos.entry);
  check(id("TDX-ACCEPT-LEVEL"), !(larger && recall(kUnacceptedGpa) == here));
  if (larger) {
    keep(kUnacceptedGpa, here);
  } else if (recall(kUnacceptedGpa) == here) {
    keep(kUnacceptedGpa, 0);
  }
}

}  // namespace mmucheck::invariant
