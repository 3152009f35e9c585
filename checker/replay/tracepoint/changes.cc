#include <fmt/format.h>

#include <algorithm>

#include "checker/invariant/catalogue.h"
#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;
using model::ChangeRule;

namespace {

struct Broken {
  const char* id;
  size_t slot;
};

Broken broken_rule(ChangeRule r) {
  switch (r) {
    case ChangeRule::kLevel: return {"MMU-SPTE-LEVEL", 1};
    case ChangeRule::kAlignment: return {"MMU-SPTE-ALIGN", 2};
    case ChangeRule::kLeafPfnChanged: return {"MMU-SPTE-PFN", 3};
    case ChangeRule::kNonpresentChange: return {"MMU-SPTE-NONPRESENT", 4};
    case ChangeRule::kTableMoved: return {"MMU-SPTE-TABLE", 5};
    case ChangeRule::kMmuWritable: return {"MMU-SPTE-HOSTW", 6};
    case ChangeRule::kWritable: return {"MMU-SPTE-MMUW", 7};
    case ChangeRule::kNone: break;
  }
  return {"", 0};
}

}  // namespace

void TracepointReplayer::spte_changed(const Event& e, Thread& t) {
  namespace s = f::spte_changed;
  n_.changes++;
  if (!started_ && !forgot_) {
    // The VM is older than the trace.
    started_ = true;
    forgot_ = true;
    t.unsure = t.removal_unsure = true;
  }
  Change c;
  c.as_id = static_cast<int>(e.get(s::as_id) & 0xff);
  learn_direct_bit_of_zap(e, t);
  c.gfn = plain_gfn(e.get(s::gfn));
  c.old_spte = e.get(s::old_spte);
  c.new_spte = e.get(s::new_spte);
  c.thread = e.thread;
  c.vm = e.vm;
  const uint64_t level = e.get(s::level);
  if (e.get(s::as_id) > 1 || level < 1 || level > static_cast<uint64_t>(root_level_)) {
    return diverge(e, TpRule::kSpace, "an address space of 0 or 1 and a level of the tree");
  }
  if (c.as_id != 0 && mirrored_vms_.contains(e.vm)) {
    return diverge(e, TpRule::kSpace, "address space 0: a VM with a mirror has no other");
  }
  c.level = static_cast<int>(level);
  const ChangeRule rule =
      model::first_broken_rule(values_.fmt, c.gfn, c.level, c.old_spte, c.new_spte);
  if (rule != ChangeRule::kNone && (values_.format_known || rule == ChangeRule::kAlignment) &&
      !is_mmio(values_, c.new_spte) && !is_mmio(values_, c.old_spte)) {
    const Broken b = broken_rule(rule);
    n_.broken[b.slot]++;
    if (verdict_.violations.size() < kMaxFindings) {
      report::Violation v;
      v.invariant = b.id;
      if (const invariant::Invariant* i = invariant::find(b.id)) {
        v.statement = i->statement;
        v.source = i->source;
      }
      v.place = place(e);
      v.before = fmt::format("{:x}", c.old_spte);
      v.after = fmt::format("{:x}", c.new_spte);
      verdict_.violations.push_back(std::move(v));
    }
    if (rule == ChangeRule::kAlignment) return;
  }

  settle_change(e, t);
  told_by_probes(e, t, c);
  const bool was_table = links_table(c.old_spte, c.level);
  if (doubting_ && was_table) learn_linked(c);
  // 7.x: the change of the parent entry ends the removal of the table below it.
  bool below = false;
  uint64_t first_leaf = 0;
  if (late_parent_ && !t.blocks.empty()) {
    const Block& top = t.blocks.back();
    if (top.level + 1 == c.level && top.gfn == c.gfn) {
      below = true;
      early_ = {c.gfn, c.level};  // its store came before the whole subtree
      first_leaf = top.first_leaf;
      close_block(e, t, was_table ? model::spte_to_pfn<>(c.old_spte) : 0);
    }
  }
  const auto is_child = [&](const Block& b) {
    return b.level == c.level && EntryBook::base(b.level, c.gfn) == b.gfn;
  };
  if (late_parent_) {
    if (!t.blocks.empty() && !is_child(t.blocks.back())) close_all(e, t);
  } else {
    while (!t.blocks.empty() && !is_child(t.blocks.back())) {
      close_block(e, t, t.blocks.back().pfn);
    }
  }
  Step step = Step::kFreeze;
  TableRow* hint = nullptr;
  if (!t.blocks.empty()) {
    hint = book_.by_pfn(t.blocks.back().pfn);
    removed_child(e, t, c, below);
  } else {
    step = judge(e, t, c, below, first_leaf);
    check_order(e, t, c, step);
    if (step == Step::kFreeze) resume_removal(e, t, c);
  }
  applied_root_ = 0;
  applied_ = nullptr;
  apply(e, c, hint);
  const uint32_t root = applied_root_;
  if (step == Step::kUnlink) {
    log_.may_recover(nx_ever_ || !values_.nx_known || !late_parent_);
  }
  walk_on(e, t, c, step);
  if (links_table(c.new_spte, c.level) && !was_table) new_table(e, c, root);
  if (!has_cause(step)) n_.cause++;
  // 6.12: all 512 are done.
  if (!late_parent_ && !t.blocks.empty() && t.blocks.back().next == 512 && !t.zap.on) {
    close_block(e, t, t.blocks.back().pfn);
  }
}

// zap_root of a TD's direct root prints gfns with the shared bit, all else without: an entry that
// is known without it and not with it tells the bit.
void TracepointReplayer::learn_direct_bit_of_zap(const Event& e, const Thread& t) {
  namespace s = f::spte_changed;
  const uint64_t raw = e.get(s::gfn), level = e.get(s::level), old_spte = e.get(s::old_spte);
  const uint64_t bit = raw & ~direct_bits_ & kDirectBits;
  if (bit == 0 || (bit & (bit - 1)) != 0 || t.req.on || level < 1 || level > 5) return;
  if (model::is_shadow_present_pte<>(e.get(s::new_spte))) return;
  const auto has = [&](uint64_t gfn) {
    const size_t i = EntryBook::index(static_cast<int>(level), gfn);
    const auto rows = book_.at(static_cast<int>(level), gfn);
    return std::any_of(rows.begin(), rows.end(),
                       [&](const auto& row) { return row->e[i] == old_spte; });
  };
  if (forgot_ || (has(raw & ~bit) && !has(raw))) {
    direct_bits_ |= bit;
    values_.td = true;
  }
}

void TracepointReplayer::settle_change(const Event& e, Thread& t) {
  if (t.split.on && sees(K::kSplitHugePage)) {
    lack_split(e, t, t.split);
    diverge(e, TpRule::kSplit, "kvm_mmu_split_huge_page of the page that was split");
  }
  if (t.zap.on && sees(K::kPrepareZapPage)) {
    lack_prepare_zap(e, t, t.zap);
    diverge(e, TpRule::kRemoval, "kvm_mmu_prepare_zap_page of the table that was cut off");
  }
  if (t.mmio.on && sees(K::kMarkMmioSpte)) {
    lack_mmio(e, t, t.mmio);
    diverge(e, TpRule::kMmio, "mark_mmio_spte");
  }
  const bool removes = !sees(K::kPrepareZapPage) &&
                       model::is_frozen_spte<>(values_.fmt, e.get(f::spte_changed::new_spte));
  if (t.req.installed && !t.req.mmio && t.blocks.empty() && !removes) {
    if (sees(K::kSetSpte)) {
      lack_set_spte(e, t, t.req);
      diverge(e, TpRule::kSetSpte, "kvm_mmu_set_spte of the installed leaf");
    }
    t.req = {};
  }
  t.split.on = t.zap.on = t.mmio.on = false;
}

// What the change can be; counts a divergence when it can be nothing.
Step TracepointReplayer::judge(const Event& e, Thread& t, const Change& c, bool below,
                               uint64_t first_leaf) {
  const model::SpteFormat& fmt_ = values_.fmt;
  const model::ChangeKind<> k = model::classify_change<>(c.old_spte, c.new_spte, c.level);
  const bool was_table = k.was_present && !k.was_leaf;
  if (below && !was_table) {
    diverge(e, TpRule::kRemoval, "an old value that points to the removed table");
  }
  if (model::is_frozen_spte<>(fmt_, c.old_spte)) {
    diverge(e, TpRule::kValue, "an old value that is not frozen");
    return Step::kNone;
  }
  if (c.old_spte == c.new_spte) {
    diverge(e, TpRule::kValue, "a value that differs from the old one");
    return Step::kNone;
  }
  if (k.is_present) {
    return k.is_leaf ? judge_leaf(e, t, c, below, first_leaf) : judge_link(e, t, c);
  }
  if (c.new_spte == model::kNonpresent) {
    if (!k.was_present) {
      diverge(e, TpRule::kValue, "no change: an entry that is not present is not zapped");
    } else if (was_table && late_parent_) {
      if (!below && !t.removal_unsure && sees(K::kPrepareZapPage)) {
        lack_next(t, {missing_prepare_zap(e, c.gfn, c.level - 1)});
        diverge(e, TpRule::kRemoval, "the removal of the table below first");
      }
    } else if (was_table) {
      t.zap.on = true;
      t.zap.gfn = c.gfn;
      t.zap.level = c.level - 1;
      t.zap.value = model::spte_to_pfn<>(c.old_spte);
    }
    return was_table ? Step::kUnlink : Step::kZap;
  }
  if (is_mmio(values_, c.new_spte)) {
    const bool asked = t.req.on && !t.req.installed && c.level == 1 && c.gfn == t.req.gfn &&
                       t.req.pfn == model::kNoslotPfn;
    if (!asked && !t.unsure && sees(K::kSpteRequested)) {
      lack_next(t, {missing_request(e, c.gfn, model::kNoslotPfn, 1)});
      diverge(e, TpRule::kRequest, "a fault without a memslot on this thread");
    }
    if (!is_mmio_of(values_, c.new_spte, c.gfn)) {
      diverge(e, TpRule::kMmio, fmt::format("the entry of gfn {:x}", c.gfn));
    }
    t.req.installed = t.req.mmio = true;
    t.mmio.on = true;
    t.mmio.gfn = c.gfn;
    t.mmio.value = model::mmio_spte_generation<>(fmt_, c.new_spte);
    return Step::kMmio;
  }
  if (model::is_frozen_spte<>(fmt_, c.new_spte) &&
      (t.removal_unsure || !sees(K::kPrepareZapPage))) {
    return Step::kFreeze;
  }
  if (model::is_frozen_spte<>(fmt_, c.new_spte)) {
    lack({missing_prepare_zap(e, EntryBook::base(c.level, c.gfn), c.level)});
    lack_unlink(e, EntryBook::base(c.level, c.gfn), c.level, false);
  }
  diverge(e, TpRule::kValue, "the non-present value or an MMIO entry",
          fmt::format("new {:x}", model::kNonpresent), fmt::format("new {:x}", c.new_spte));
  return Step::kNone;
}

Step TracepointReplayer::judge_link(const Event& e, Thread& t, const Change& c) {
  const bool was_present = model::is_shadow_present_pte<>(c.old_spte);
  const bool linked = t.link.on && t.link.gfn == c.gfn && t.link.level == c.level - 1;
  t.link.on = false;
  if (linked && t.link.value != 0 && t.link.value != model::spte_to_pfn<>(c.new_spte)) {
    diverge(e, TpRule::kProbe, "the page that tdp_mmu_init_sp has just made a table");
  }
  if (values_.format_known &&
      c.new_spte != model::make_nonleaf_spte<>(values_.fmt, model::spte_to_pfn<>(c.new_spte),
                                               !values_.fmt.ad_enabled)) {
    diverge(e, TpRule::kLink, "make_nonleaf_spte of the new table");
  }
  if (!linked && !t.unsure && sees(K::kGetPage)) {
    lack_next(t, {missing_link(e, c.as_id, c.gfn, c.level - 1, c.new_spte)[0]});
    diverge(e, TpRule::kLink, "kvm_mmu_get_page of this table just before");
  }
  if (was_present) {
    t.split.on = true;
    t.split.gfn = c.gfn;
    t.split.level = c.level;
    t.split.value = c.old_spte;
    return Step::kSplit;
  }
  const bool asked = t.req.on && !t.req.installed && c.level > t.req.level &&
                     c.gfn == model::gfn_round_for_level<>(t.req.gfn, c.level);
  if (!asked && !t.unsure && sees(K::kSpteRequested)) {
    const uint64_t faulted = plain_gfn(t.fault.gfn);
    const bool of_fault = t.fault.on && model::gfn_round_for_level<>(faulted, c.level) == c.gfn;
    lack({missing_request(e, of_fault ? faulted : c.gfn, kUnknownSpte, 1)}, t.link_at);
    diverge(e, TpRule::kRequest, "a fault of this thread below this entry");
  }
  return Step::kLink;
}

Step TracepointReplayer::judge_leaf(const Event& e, Thread& t, const Change& c, bool below,
                                    uint64_t first_leaf) {
  const model::ChangeKind<> k = model::classify_change<>(c.old_spte, c.new_spte, c.level);
  const bool was_table = k.was_present && !k.was_leaf;
  if (was_table && !late_parent_) {
    t.zap.on = true;
    t.zap.gfn = c.gfn;
    t.zap.level = c.level - 1;
    t.zap.value = model::spte_to_pfn<>(c.old_spte);
  } else if (was_table && !below && !t.removal_unsure && sees(K::kPrepareZapPage)) {
    lack_next(t, {missing_prepare_zap(e, c.gfn, c.level - 1)});
    diverge(e, TpRule::kRemoval, "the removal of the table below first");
  }
  // disallowed_hugepage_adjust goes below the requested level without a word.
  const bool level_fits =
      c.level == t.req.level || (c.level < t.req.level && (nx_ever_ || !values_.nx_known));
  const bool asked = t.req.on && !t.req.installed && level_fits &&
                     c.gfn == model::gfn_round_for_level<>(t.req.gfn, c.level) &&
                     t.req.pfn != model::kNoslotPfn;
  if (asked) {
    LeafRequest r;
    r.pfn = t.req.pfn;
    r.level = c.level;
    const bool of_fault = t.fault.on && plain_gfn(t.fault.gfn) == t.req.gfn;
    r.may_access = of_fault;
    r.may_prefetch = !of_fault || t.fault.used;
    // A hit of a stale MMIO entry is an EPT misconfiguration: no kvm_page_fault.
    if (!sees(K::kPageFault) || forgot_ || t.no_fault || is_mmio(values_, c.old_spte)) {
      r.may_access = r.may_prefetch = true;
    }
    const auto how = explain_leaf(values_, r, c.old_spte, c.new_spte);
    if (how || !values_.format_known) {
      t.req.installed = true;
      t.req.value = c.new_spte;
      t.req.level = c.level;
      n_.host_writable++;
      if (how && how->prefetch) n_.prefetch++;
      return Step::kFault;
    }
  }
  if (was_table) {
    if (!asked && first_leaf != 0 && values_.format_known) {
      const uint64_t ad = values_.fmt.accessed | values_.fmt.dirty;
      for (const bool nx : {values_.host.nx_huge_pages, !values_.host.nx_huge_pages}) {
        if (nx != values_.host.nx_huge_pages && !doubting_) break;
        const uint64_t huge = model::make_huge_spte<>(values_.fmt, first_leaf, c.level, nx);
        if (((huge ^ c.new_spte) & ~ad) == 0) return Step::kRecover;
      }
    }
    if (t.unsure || !values_.format_known || !sees(K::kSpteRequested)) return Step::kRecover;
    diverge(e, TpRule::kValue, "a huge leaf that a fault asked for or that is recovered");
    return Step::kNone;
  }
  if (k.was_leaf) {
    switch (explain_step(values_, c.old_spte, c.new_spte)) {
      case LeafStep::kWriteProtect:
      case LeafStep::kUnwritable: return Step::kProtect;
      case LeafStep::kClearDirty: return Step::kClearDirty;
      case LeafStep::kAge: return Step::kAge;
      case LeafStep::kNone: break;
    }
  }
  if (!values_.format_known || t.unsure || !sees(K::kSpteRequested)) return Step::kNone;
  if (asked) {
    lack({like(e, K::kPageFault, {{f::page_fault::address, c.gfn << model::kPageShift}})},
         t.req.at);
    diverge(e, TpRule::kRequest, "the value that make_spte gives for the request",
            fmt::format("pfn {:x}", t.req.pfn), fmt::format("new {:x}", c.new_spte));
    t.req.installed = true;
    t.req.value = c.new_spte;
  } else if (k.was_leaf) {
    diverge(e, TpRule::kValue, "W, D or A cleared, or nothing changed",
            fmt::format("old {:x}", c.old_spte), fmt::format("new {:x}", c.new_spte));
  } else {
    lack_next(t, {missing_request(e, c.gfn, model::spte_to_pfn<>(c.new_spte), c.level)});
    diverge(e, TpRule::kRequest, "a fault of this thread for this entry");
  }
  return Step::kNone;
}

void TracepointReplayer::new_table(const Event& e, const Change& c, uint32_t root) {
  const uint64_t pfn = model::spte_to_pfn<>(c.new_spte);
  if (TableRow* live = book_.by_pfn(pfn)) {
    // A removal whose last event was not seen yet, by a thread that did nothing since.
    for (auto& [id, t] : threads_) {
      if (!late_parent_ && !t.blocks.empty()) close_all(e, t);
    }
    live = book_.by_pfn(pfn);
    if (live != nullptr) {
      if (!forgot_ && !doubting_) diverge(e, TpRule::kTable, "a page that is not a table already");
      erase(live);
    }
  }
  TableRow* row = book_.add(pfn, c.gfn, c.level - 1, c.as_id, c.vm, model::kNonpresent);
  if (row == nullptr) {
    inconclusive(fmt::format("more than {} page tables", EntryBook::kMaxTables));
    forgot_ = true;
    return;
  }
  row->root = root;
  row->page = pfn;
  if (model::is_shadow_present_pte<>(c.old_spte)) {
    // Where nobody told: only the NX workaround takes X from a huge page (spte.c: make_spte).
    const bool nx = values_.nx_known ? values_.host.nx_huge_pages
                                     : !model::is_executable_pte<>(values_.fmt, c.old_spte);
    for (uint64_t i = 0; i < row->e.size(); i++) {
      row->e[i] = model::make_huge_page_split_spte<>(values_.fmt, c.old_spte, c.level - 1, i, nx);
    }
  }
  if (!held_.empty()) retry_held();
}

}  // namespace mmucheck::replay
