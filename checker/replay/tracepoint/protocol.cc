#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

constexpr uint64_t kPferrWrite = 2;
constexpr uint64_t kPferrFetch = 16;

}  // namespace

void TracepointReplayer::page_fault(const Event& e, Thread& t) {
  t.fault.on = true;
  t.fault.used = false;
  t.fault.gfn = e.get(f::page_fault::address) >> model::kPageShift;
  t.fault.at = now_;
  t.req = {};
  t.unsure = t.no_fault = t.fault_may_be_lost = false;
}

// A fault may begin on a CPU that loses it and go on, until it takes mmu_lock, on another one.
void TracepointReplayer::doubt_fault(Thread& t) {
  if (!std::exchange(t.fault_may_be_lost, false)) return;
  t.fault = {};
  t.no_fault = true;
}

void TracepointReplayer::requested(const Event& e, Thread& t) {
  namespace r = f::spte_requested;
  doubt_fault(t);
  learn_direct_bit(t, e.get(r::gfn));
  t.req = {};
  t.req.on = true;
  t.req.at = now_;
  t.req.gfn = e.get(r::gfn);
  t.req.pfn = e.get(r::pfn);
  t.req.level = static_cast<int>(e.get(r::level));
  t.req.shared =
      t.fault.on && plain_gfn(t.fault.gfn) == t.req.gfn && (t.fault.gfn & direct_bits_) != 0;
  t.unsure = false;
  if (t.req.level < 1 || t.req.level > model::kMaxHugepageLevel) {
    t.req = {};
    t.unsure = true;
    return diverge(e, TpRule::kRequest, "a level of a leaf: 1 to 3");
  }
  // gfn and pfn of a huge mapping are congruent (kvm_mmu_hugepage_adjust).
  const uint64_t low = model::pages_per_hpage(t.req.level) - 1;
  if (t.req.pfn != model::kNoslotPfn && ((t.req.gfn ^ t.req.pfn) & low) != 0) {
    diverge(e, TpRule::kRequest, "gfn and pfn that are congruent at that level");
  }
}

void TracepointReplayer::set_spte(const Event& e, Thread& t) {
  namespace s = f::set_spte;
  Request req = t.req;
  t.req = {};
  t.fault.used = true;
  const uint64_t gfn = plain_gfn(e.get(s::gfn)), spte = e.get(s::spte);
  const int level = static_cast<int>(e.get(s::level));
  if (!req.installed && level >= 1 && level < req.level && (nx_ever_ || !values_.nx_known)) {
    req.level = level;  // disallowed_hugepage_adjust
  }
  if (!req.on) {
    if (!t.unsure && sees(K::kSpteRequested)) {
      lack_next(t, {missing_request(e, gfn, model::spte_to_pfn<>(spte), level)});
      diverge(e, TpRule::kSetSpte, "a request of this thread before it");
    }
    return;
  }
  if (level != req.level || gfn != model::gfn_round_for_level<>(req.gfn, req.level)) {
    return diverge(e, TpRule::kSetSpte,
                   fmt::format("gfn {:x} level {}",
                               model::gfn_round_for_level<>(req.gfn, req.level), req.level));
  }
  if (e.has(s::access) && model::is_shadow_present_pte<>(spte) &&
      ((e.get(s::access) & 2) != 0) != model::is_writable_pte<>(spte)) {
    diverge(e, TpRule::kSetSpte, "the access that the value grants");
  }
  Change c;
  c.as_id = -1;
  c.gfn = gfn;
  c.level = level;
  c.old_spte = spte;
  c.thread = e.thread;
  c.vm = e.vm;
  if (req.installed) {
    if (!may_read(values_, req.value, spte, level)) {
      // Another thread changed it between the store and this look.
      const bool same_page = model::spte_to_pfn<>(req.value) == model::spte_to_pfn<>(spte);
      if (same_page && model::is_shadow_present_pte<>(spte) && forgot_) return;
      witness(e, c, t.previous);
    }
  } else if (!t.unsure) {
    // Without a change the entry had the value already (6.12 prints that).
    const LeafRequest r{req.pfn, req.level, true, true};
    if (values_.format_known && !explain_leaf(values_, r, spte, spte) &&
        !explain_leaf(values_, r, model::kNonpresent, spte)) {
      diverge(e, TpRule::kSetSpte, "the value that make_spte gives");
    }
    witness(e, c, req.at);
  }
  if (!e.has(s::sptep)) return;
  const uint64_t pfn = e.get(s::sptep) >> model::kPageShift;
  const size_t index = (e.get(s::sptep) & 4095) / 8;
  TableRow* row = book_.by_pfn(pfn);
  if (index != EntryBook::index(level, gfn)) {
    return diverge(e, TpRule::kTable, fmt::format("entry {}", EntryBook::index(level, gfn)), "",
                   fmt::format("entry {}", index));
  }
  if (row == nullptr) {
    if (!forgot_ && !book_.erased_lately(pfn) && !may_be_linked(level, gfn)) {
      about_ = EntryPlace{-1, level, gfn};
      const uint64_t table = model::make_nonleaf_spte<>(values_.fmt, pfn, !values_.fmt.ad_enabled);
      lack(missing_link(e, -1, gfn, level, table));
      diverge(e, TpRule::kTable, "an address in a linked table");
    }
    return;
  }
  if (row->level != level || row->gfn != EntryBook::base(level, gfn)) {
    if (doubting_) return;
    return diverge(
        e, TpRule::kTable,
        fmt::format("the table at {:x} is that of gfn {:x} level {}", pfn, row->gfn, row->level));
  }
  if (req.installed) log_.installed_in(e, gfn, row->root);
  const bool host_writable = model::is_host_writable_spte<>(values_.fmt, spte);
  row->shared = row->shared || req.shared || !host_writable || level > 1;
  // The address tells which of two tables took the leaf.
  if (row->e[index] != spte) {
    for (const auto& o : book_.at(level, gfn)) {
      if (o.get() == row || o->e[index] != spte || !o->fits(row->as_id, row->vm)) continue;
      std::swap(o->e[index], row->e[index]);
      break;
    }
  }
  if (req.installed && level == 1) check_private(e, t, req, *row);
}

// A TD has a mirror and a direct root before it faults: where there are just two roots and one
// fault carries the shared bit, they are the two of that TD. Its gfn is private or shared, and what
// was mapped as the other is zapped by the change of the attribute (or the VM is dead).
void TracepointReplayer::check_private(const Event& e, const Thread& t, const Request& req,
                                       const TableRow& row) {
  if (!values_.td || direct_bits_ == 0 || !t.fault.on || forgot_ || sharing_doubted_) return;
  if (book_.roots() != 2) return;
  if (plain_gfn(t.fault.gfn) != req.gfn) return;
  const size_t i = EntryBook::index(1, req.gfn);
  for (const auto& other : book_.at(1, req.gfn)) {
    if (other.get() == &row || other->shared == req.shared || row.shared != req.shared) continue;
    const uint64_t spte = other->e[i];
    if (spte == kUnknownSpte || !model::is_shadow_present_pte<>(spte)) continue;
    about_ = EntryPlace{other->as_id, 1, req.gfn};
    seen_ = model::kNonpresent;
    Event zap = missing_change(e, other->as_id, req.gfn, 1, spte, model::kNonpresent);
    zap.thread = 0;
    lack({zap});
    diverge(e, TpRule::kPrivate,
            fmt::format("the zap of gfn {:x}, mapped as {} ({:x}), before it", req.gfn,
                        req.shared ? "private" : "shared", spte));
  }
}

void TracepointReplayer::fast_page_fault(const Event& e, Thread& t) {
  namespace q = f::fast_page_fault;
  doubt_fault(t);
  const uint64_t gfn = plain_gfn(e.get(q::address) >> model::kPageShift);
  const uint64_t old_spte = e.get(q::old_spte), new_spte = e.get(q::new_spte);
  const bool write = (e.get(q::error_code) & kPferrWrite) != 0;
  TableRow* row = e.has(q::sptep) ? book_.by_pfn(e.get(q::sptep) >> model::kPageShift) : nullptr;
  int level = 0;
  if (row != nullptr) {
    level = row->level;
    const size_t index = (e.get(q::sptep) & 4095) / 8;
    if (row->gfn != EntryBook::base(level, gfn) || index != EntryBook::index(level, gfn)) {
      if (doubting_) return;
      return diverge(e, TpRule::kTable, "the address of an entry that maps the fault");
    }
  }
  // Without A/D bits a pre-fault, which has no kvm_page_fault, takes this path too.
  if (t.fault.on && !t.unsure && values_.fmt.ad_enabled && values_.format_known &&
      plain_gfn(t.fault.gfn) != gfn) {
    lack({like(e, K::kPageFault, {{f::page_fault::address, e.get(q::address)}})});
    diverge(e, TpRule::kFastFault,
            fmt::format("the fault of this thread at gfn {:x}", plain_gfn(t.fault.gfn)));
  }
  const bool fixed = e.get(q::fixed) != 0;
  t.fault.used = t.fault.used || fixed;
  if (!fixed || !values_.format_known) log_.fast_fault(e, gfn, level, 0, fixed);
  if (!values_.format_known) return;
  const model::SpteFormat& fmt_ = values_.fmt;
  const bool tracked = model::is_access_track_spte<>(fmt_, old_spte);
  const uint64_t want = fast_fault_value(values_, old_spte, write);
  if (!fixed) {
    // A 4K leaf that can be mended is, but for four lost exchanges in a row.
    const model::Access access{write, (e.get(q::error_code) & kPferrFetch) != 0};
    const bool mendable = model::is_shadow_present_pte<>(old_spte) && want != old_spte &&
                          !model::is_large_pte<>(old_spte) &&
                          model::is_access_allowed<>(fmt_, access, want);
    const bool changed = std::any_of(recent_.begin(), recent_.end(), [&](const Change& r) {
      return r.at >= t.previous && r.level == 1 && r.gfn == gfn;
    });
    if (mendable && e.get(q::spurious) == 0 && (row == nullptr || level == 1) && !changed &&
        !doubted_since(1, gfn, t.previous)) {
      about_ = EntryPlace{-1, 1, gfn};
      diverge(e, TpRule::kFastFault, "fixed: the entry can be mended");
    }
    return;
  }
  if (!model::is_shadow_present_pte<>(old_spte) || want == old_spte ||
      (!tracked && !model::is_mmu_writable_spte<>(fmt_, old_spte))) {
    return diverge(e, TpRule::kFastFault, "a fault that is not fixed: nothing can be mended here");
  }
  if (level == 0) {
    // The lowest level where such an entry is known; a page that cannot be split has bit 7.
    level = model::is_large_pte<>(old_spte) ? 2 : 1;
  }
  Change c;
  c.as_id = -1;
  c.level = level;
  c.gfn = model::gfn_round_for_level<>(gfn, level);
  c.old_spte = old_spte;
  c.new_spte = want;
  c.thread = e.thread;
  c.vm = e.vm;
  applied_root_ = 0;
  apply(e, c, row);
  log_.fast_fault(e, c.gfn, level, applied_root_, true);
  if (!may_read(values_, want, new_spte, level)) {
    c.old_spte = new_spte;
    witness(e, c, t.previous);
  }
}

void TracepointReplayer::get_page(const Event& e, Thread& t) {
  namespace g = f::get_page;
  if (e.has(g::direct) && e.get(g::direct) == 0) return;  // a shadow page
  if (!e.has(g::level) || !e.has(g::gfn)) return;
  const int level = static_cast<int>(e.get(g::level));
  const uint64_t gfn = plain_gfn(e.get(g::gfn));
  // With a host of 5 levels, roots of 4 occur: they are made outside of faults.
  const NewTable made = std::exchange(t.made, {});
  if (made.page != 0 && (made.level != level || plain_gfn(made.gfn) != gfn)) {
    diverge(e, TpRule::kProbe, "the table that tdp_mmu_init_sp has just made");
  }
  if (level >= root_level_ || (level == 4 && !t.req.on)) {
    started_ = true;
    t.link.on = false;
    if (level > 5 || gfn != 0) return diverge(e, TpRule::kTable, "a root of gfn 0");
    TableRow* row = book_.add(0, 0, level, -1, e.vm, model::kNonpresent);
    if (row == nullptr) {
      inconclusive(fmt::format("more than {} page tables", EntryBook::kMaxTables));
      forgot_ = true;
    } else {
      row->page = made.page;
      book_.learn_root_page(row->root, made.page);
    }
    return;
  }
  if (level < 1 || gfn != EntryBook::base(level, gfn)) {
    return diverge(e, TpRule::kLink, "a gfn that is aligned to the table's range");
  }
  t.link.on = true;
  t.link_at = now_;
  t.link.gfn = gfn;
  t.link.level = level;
  t.link.value = made.page;
  // A split may have given mmu_lock up to allocate it, and reclaim have run another walk.
  if (!t.req.on) t.walked = {};
}

void TracepointReplayer::split_huge_page(const Event& e, Thread& t) {
  namespace s = f::split_huge_page;
  const uint64_t gfn = plain_gfn(e.get(s::gfn)), spte = e.get(s::spte);
  const int level = static_cast<int>(e.get(s::level));
  const bool ok = e.get_signed(s::err) == 0;
  const Expect split = t.split;
  t.split.on = false;
  if (ok && !split.on) {
    if (!t.unsure) diverge(e, TpRule::kSplit, "the link of the new table before it");
    return;
  }
  if (!ok && split.on) return diverge(e, TpRule::kSplit, "success: the table was linked");
  t.link.on = false;
  if (!ok) return;
  if (split.gfn != gfn || split.level != level || split.value != spte) {
    diverge(e, TpRule::kSplit, "the entry that was split",
            fmt::format("gfn {:x} level {} spte {:x}", split.gfn, split.level, split.value),
            fmt::format("gfn {:x} level {} spte {:x}", gfn, level, spte));
  }
}

void TracepointReplayer::mark_mmio(const Event& e, Thread& t) {
  namespace m = f::mark_mmio_spte;
  const Expect mmio = t.mmio;
  t.mmio.on = false;
  t.req = {};
  if (!mmio.on) {
    // An entry that had the value already; in shadow paging there is no change at all.
    return;
  }
  if (plain_gfn(e.get(m::gfn)) != mmio.gfn || e.get(m::gen) != mmio.value) {
    diverge(e, TpRule::kMmio, "gfn and generation of the entry",
            fmt::format("gfn {:x} gen {:x}", mmio.gfn, mmio.value),
            fmt::format("gfn {:x} gen {:x}", e.get(m::gfn), e.get(m::gen)));
  }
}

void TracepointReplayer::check_mmio(const Event& e) {
  namespace m = f::check_mmio_spte;
  const uint64_t gen = model::mmio_spte_generation<>(values_.fmt, e.get(m::spte));
  if (e.get(m::spte_gen) != gen) {
    diverge(e, TpRule::kMmio, "the generation in the entry", fmt::format("spte_gen {:x}", gen),
            fmt::format("spte_gen {:x}", e.get(m::spte_gen)));
  }
  const bool same = e.get(m::kvm_gen) == e.get(m::spte_gen);
  if (e.has(m::valid) && (e.get(m::valid) != 0) != same) {
    diverge(e, TpRule::kMmio, same ? "valid: the generations agree" : "not valid");
  }
}

}  // namespace mmucheck::replay
