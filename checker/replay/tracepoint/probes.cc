#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_kinds.h"
#include "model/spte/role.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

// A removal has one call for each level of the tree; exchanges that the hook refused end without a
// tracepoint, until the next walk begins.
constexpr size_t kMaxEntered = 8;

bool has_present(const TableRow& row) {
  return std::any_of(row.e.begin(), row.e.end(), [](uint64_t spte) {
    return spte != kUnknownSpte && model::is_shadow_present_pte<>(spte);
  });
}

}  // namespace

void TracepointReplayer::probe(const Event& e, Thread& t) {
  moved(e, t);
  // Walks begin and go on when no table is being removed.
  if (e.kind == K::kIterStart || e.kind == K::kIterRestart) t.removal_unsure = false;
  switch (e.kind) {
    case K::kIterStart: {
      namespace i = f::iter_start;
      no_call_left(e, t);
      t.walked = {};
      // Without tdp_iter_restart nothing tells that a walk went on behind a loss.
      if (!e.has(i::role) || (lossy_ && !records(K::kIterRestart))) return;
      const auto role = static_cast<uint32_t>(e.get(i::role));
      t.walked.on = true;
      t.walked.begins = records(K::kIterRestart);
      t.walked.as_id = static_cast<int>(model::role_as_id(role));
      t.walked.root = e.get_or(i::spt_pfn, 0);
      return;
    }
    case K::kIterRestart:
      // The first is part of tdp_iter_start; of the next the thread gave mmu_lock up, and may have
      // been elsewhere.
      if (!std::exchange(t.walked.begins, false)) t.walked = {};
      return;
    case K::kInitSp: {
      namespace i = f::init_sp;
      t.made = {};
      if (!e.has(i::role) || !e.has(i::spt_pfn)) return;
      const auto role = static_cast<uint32_t>(e.get(i::role));
      t.made = {e.get(i::spt_pfn), e.get(i::gfn), model::role_level(role)};
      return;
    }
    case K::kChangedSpte: return entered_change(e, t);
    default: return;
  }
}

void TracepointReplayer::entered_change(const Event& e, Thread& t) {
  namespace x = f::changed_spte;
  Probed p;
  p.gfn = e.get(x::gfn);
  p.level = static_cast<int>(e.get(x::level));
  p.old_spte = e.get(x::old_spte);
  p.new_spte = e.get(x::new_spte);
  p.table = e.get_or(x::spt_pfn, 0);
  if (e.has(x::as_id)) p.as_id = static_cast<int>(e.get(x::as_id) & 0xff);
  if (e.has(x::role)) {
    const auto role = static_cast<uint32_t>(e.get(x::role));
    p.as_id = static_cast<int>(model::role_as_id(role));
    p.mirror = model::role_mirror(role);
    if (p.mirror && e.vm != 0) mirrored_vms_.insert(e.vm);
    // Which bit tells shared from private may not be known yet.
    const uint64_t differ = e.has(x::table_gfn) ? plain_gfn(e.get(x::table_gfn)) ^
                                                      EntryBook::base(p.level, plain_gfn(p.gfn))
                                                : 0;
    const bool fits = model::role_level(role) == p.level && (differ == 0 || is_direct_bit(differ));
    if (!fits) diverge(e, TpRule::kProbe, "an entry of the table that is named");
  }
  if (p.old_spte == p.new_spte) return;  // no tracepoint
  if (t.entered.size() == kMaxEntered) t.entered.erase(t.entered.begin());
  t.entered.push_back(p);
}

// The thread is out of handle_changed_spte. A hook that the TDX module refuses ends it early.
void TracepointReplayer::no_call_left(const Event& e, Thread& t) {
  const bool left =
      std::any_of(t.entered.begin(), t.entered.end(), [](const Probed& p) { return !p.mirror; });
  t.entered.clear();
  if (left && t.answered && !values_.td) {
    diverge(e, TpRule::kProbe, "the tracepoint of each call that went before");
  }
}

// A compiler may have inlined the function in one of its callers: within one walk changes of one
// kind are made in one place.
bool TracepointReplayer::lacks_call(Thread& t, const Change& c, bool called) {
  if (!t.walked.on || !records(K::kChangedSpte) || links_table(c.old_spte, c.level) ||
      model::is_frozen_spte<>(values_.fmt, c.new_spte) ||
      is_changed_in_place(c.old_spte, c.new_spte, c.level)) {
    return false;
  }
  // Whether nothing or a table was there is not told apart here: without the lowest bit.
  const unsigned told_apart = change_kind(c.old_spte, c.new_spte, c.level) >> 1;
  const auto kind = static_cast<uint16_t>(1u << told_apart);
  if (called) t.walked.called |= kind;
  return !called && (t.walked.called & kind) != 0;
}

// The call that the tracepoint is of is the last one of the entry.
void TracepointReplayer::told_by_probes(const Event& e, Thread& t, Change& c) {
  namespace s = f::spte_changed;
  const auto last = std::find_if(t.entered.rbegin(), t.entered.rend(), [&](const Probed& p) {
    return p.level == c.level && p.gfn == e.get(s::gfn);
  });
  const bool called = last != t.entered.rend();
  const bool lacks = lacks_call(t, c, called);
  if (called) {
    if (last->old_spte != c.old_spte || last->new_spte != c.new_spte ||
        (last->as_id >= 0 && last->as_id != c.as_id)) {
      diverge(e, TpRule::kProbe, "what handle_changed_spte was called with");
    }
    c.table = last->table;
    t.answered = true;
    t.entered.erase(std::next(last).base(), t.entered.end());
  } else if (lacks) {
    diverge(e, TpRule::kProbe, "a call of handle_changed_spte before it");
  }
  // NX recovery cuts tables off without a walk; what is below them is frozen by their removal.
  if (!t.walked.on || links_table(c.old_spte, c.level) ||
      model::is_frozen_spte<>(values_.fmt, c.new_spte)) {
    return;
  }
  // tdp_iter_next: a table before its entries, these in ascending order.
  Walked& w = t.walked;
  const uint64_t gfn = e.get(s::gfn);
  if (w.level != 0 && (gfn < w.gfn || (gfn == w.gfn && c.level >= w.level))) {
    diverge(e, TpRule::kOrder, fmt::format("an entry behind gfn {:x} level {}", w.gfn, w.level));
  }
  w.gfn = gfn;
  w.level = c.level;
  c.root = t.walked.root;
  if (c.as_id != t.walked.as_id) {
    diverge(e, TpRule::kProbe, "the address space of the root that is walked");
  }
}

// Nothing that was told says that the change is of another table.
bool TracepointReplayer::may_be_of(const TableRow& row, const Change& c) const {
  if (c.table != 0 && row.page != 0 && row.page != c.table) return false;
  const uint64_t root = c.root == 0 ? 0 : book_.root_page(row.root);
  return root == 0 || root == c.root;
}

bool TracepointReplayer::is_surely_of(const TableRow& row, const Change& c) const {
  const bool same =
      c.table != 0 ? row.page == c.table : c.root != 0 && book_.root_page(row.root) == c.root;
  if (!same || row.cut || row.fresh) return false;
  // A root goes when it is empty, without an event.
  return !doubting_ || row.pfn != 0 || has_present(row);
}

// The one table that the change is of, as far as it is told; nullptr: it may be several, or one
// that nothing told of.
const TableRow* TracepointReplayer::surely_of(const Change& c) const {
  if (c.table == 0 && c.root == 0) return nullptr;
  const TableRow* sure = nullptr;
  for (const auto& row : book_.at(c.level, c.gfn)) {
    if (!row->fits(c.as_id, c.vm) || !is_surely_of(*row, c)) continue;
    if (sure != nullptr) return nullptr;
    sure = row.get();
  }
  return sure;
}

void TracepointReplayer::learn_page(TableRow& row, const Change& c) {
  if (row.page == 0) row.page = c.table;
  if (c.root != 0 && row.root != 0) book_.learn_root_page(row.root, c.root);
}

void TracepointReplayer::forget_probes(const LostCpus& lost) {
  for (auto& [id, t] : threads_) {
    if (!records(K::kIterRestart)) t.walked = {};
    if (!lost.has(t.cpu)) continue;
    t.entered.clear();
    t.walked = {};
    t.made = {};
  }
}

}  // namespace mmucheck::replay
