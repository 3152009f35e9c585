#include <fmt/format.h>

#include <algorithm>

#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

// Changes in ascending order, without another event of the thread, that make a walk.
constexpr int kDenseRun = 3;
constexpr int kSparseRun = 8;

// The order of a walk is that of one kind: zaps of leafs and of tables are the same walk.
Step kind_of(Step s) {
  if (s == Step::kUnlink) return Step::kZap;
  return s == Step::kClearDirty ? Step::kProtect : s;
}

uint64_t key_of(uint64_t table, size_t index) {
  return table << 9 | index;
}

}  // namespace

// A walk that passed an entry does not come back for it directly behind the one that it went on to.
// Several operations on single pages, one after the other, could look so; a long run does not.
void TracepointReplayer::check_order(const Event& e, Thread& t, const Change& c, Step change) {
  const Step step = kind_of(change);
  const bool walk = step == Step::kZap || step == Step::kProtect || step == Step::kAge;
  const auto same = [&](const Passed& p) {
    return p.step == step && p.level == c.level && p.as_id == c.as_id;
  };
  const uint64_t pages = model::pages_per_hpage(c.level);
  const bool back =
      walk && same(t.last) && same(t.before) && c.gfn < t.last.gfn && c.gfn > t.before.gfn;
  const bool adjacent = c.gfn + pages == t.last.gfn && t.before.gfn + pages == c.gfn;
  if (back && t.run >= (adjacent ? kDenseRun : kSparseRun)) {
    diverge(e, TpRule::kOrder, fmt::format("a gfn after {:x}", t.last.gfn));
  }
  t.run = walk && same(t.last) && (c.gfn > t.last.gfn || back) ? t.run + 1 : 1;
  t.before = t.last;
  t.last = {c.gfn, c.level, c.as_id, step};
}

// Does the walk that went on to `c` leave a leaf behind it, between entry `from` and its own? Each
// is remembered: when the table's removal finds it there, this is where its change is missing.
bool TracepointReplayer::pass(const Event& e, const Thread& t, const Change& c, const TableRow& row,
                              size_t from) {
  bool left = false;
  for (size_t i = from; i < EntryBook::index(c.level, c.gfn); i++) {
    const uint64_t spte = row.e[i];
    if (spte == kUnknownSpte || !model::is_shadow_present_pte<>(spte) ||
        !model::is_last_spte<>(spte, c.level)) {
      continue;
    }
    left = true;
    if (passed_.size() >= kMaxPassed) passed_.clear();
    passed_[key_of(row.pfn, i)] = place(e);
    const uint64_t gfn = row.gfn + i * model::pages_per_hpage(c.level);
    const Attributes& a = t.attributes;
    // Where two tables answer to the gfn, the other one may be meant; giving a private page of a TD
    // back may fail.
    if (gfn >= a.first && gfn < a.end && c.gfn >= a.first && c.gfn < a.end && !forgot_ &&
        !values_.td && book_.at(c.level, c.gfn).size() == 1) {
      lack({missing_change(e, row.as_id, gfn, c.level, spte, model::kNonpresent)});
      about_ = EntryPlace{row.as_id, c.level, gfn};
      seen_ = model::kNonpresent;
      diverge(e, TpRule::kRange, fmt::format("the zap of gfn {:x} ({:x}) before it", gfn, spte));
    }
  }
  return left;
}

void TracepointReplayer::walk_on(const Event& e, Thread& t, const Change& c, Step step) {
  const TableRow* row = step == Step::kZap ? applied_ : nullptr;
  bool near = false, passed = false;
  if (row != nullptr && row->pfn != 0) {
    if (t.walk.table == row->pfn && t.walk.level == c.level && t.walk.gfn < c.gfn) {
      passed = pass(e, t, c, *row, EntryBook::index(c.level, t.walk.gfn) + 1);
      near = !passed;
    } else if (t.attributes.end > row->gfn) {
      const uint64_t begin = std::max(t.attributes.first, row->gfn);
      if (begin <= c.gfn) pass(e, t, c, *row, EntryBook::index(c.level, begin));
    }
    t.walk = {row->pfn, c.gfn, c.level};
  } else {
    t.walk = {};
  }
  const bool asked =
      t.req.on && !t.req.installed && c.gfn == model::gfn_round_for_level<>(t.req.gfn, c.level);
  log_.change(e, {c.as_id, c.gfn, c.level, applied_root_, step, asked, near, passed});
}

// A page was left in a removed table: where the walk went past it, if one did.
report::Place TracepointReplayer::place_left(const TableRow& row, size_t index,
                                             const report::Place& otherwise) const {
  const auto it = passed_.find(key_of(row.pfn, index));
  return it == passed_.end() ? otherwise : it->second;
}

void TracepointReplayer::not_passed(const TableRow& row, size_t index) {
  if (!passed_.empty()) passed_.erase(key_of(row.pfn, index));
}

// To which operation an event belongs that is no change.
void TracepointReplayer::log_event(const Event& e, const Thread& t) {
  switch (e.kind) {
    case K::kPageFault:
      return log_.fault(e, plain_gfn(e.get(f::page_fault::address) >> model::kPageShift));
    case K::kSpteRequested: return log_.request(e, plain_gfn(e.get(f::spte_requested::gfn)));
    case K::kSetSpte:
    case K::kMarkMmioSpte: return log_.touch(e);
    case K::kGetPage: {
      namespace g = f::get_page;
      if (e.has(g::direct) && e.get(g::direct) == 0) return;
      const int level = static_cast<int>(e.get(g::level));
      if (level >= root_level_ || (level == 4 && !t.req.on)) return log_.begin(e, Op::kNewRoot);
      return t.req.on ? log_.touch(e) : log_.ahead(e);
    }
    case K::kPrepareZapPage: return late_parent_ ? log_.ahead(e) : log_.touch(e);
    case K::kSplitHugePage: {
      namespace s = f::split_huge_page;
      if (e.get_signed(s::err) == 0) return log_.touch(e);
      return log_.failed_split(e, plain_gfn(e.get(s::gfn)), static_cast<int>(e.get(s::level)));
    }
    case K::kCheckMmioSpte:
    case K::kHandleMmioPageFault: return log_.mmio(e);
    case K::kMmuZapAllFast: return log_.begin(e, Op::kZapAll);
    case K::kUnmapHvaRange:
      return log_.begin(e, Op::kUnmap, e.get(f::unmap_hva_range::start),
                        e.get(f::unmap_hva_range::end));
    case K::kAgeHva:
      return log_.begin(e, Op::kAge, e.get(f::age_hva::start), e.get(f::age_hva::end));
    case K::kTestAgeHva: {
      const uint64_t hva = e.get(f::test_age_hva::hva);
      return log_.begin(e, Op::kTestAge, hva, hva + (uint64_t{1} << model::kPageShift));
    }
    case K::kVmSetMemAttributes:
      return log_.begin(e, Op::kAttributes, e.get(f::vm_set_mem_attributes::start),
                        e.get(f::vm_set_mem_attributes::end));
    case K::kUserspaceExit: return log_.end(e);
    default: return;
  }
}

}  // namespace mmucheck::replay
