#include "checker/replay/tracepoint/doubt.h"

#include <algorithm>

#include "checker/replay/tracepoint/tracepoint_replayer.h"

namespace mmucheck::replay {

using K = trace::EventKind;

namespace {

// Pages of tables that may have been linked: no recording has them.
constexpr uint64_t kFreshPages = uint64_t{1} << 52;

}  // namespace

void TracepointReplayer::doubt_threads(const LostCpus& lost) {
  for (auto& [id, t] : threads_) {
    const bool here = !lost.has(t.cpu);
    if (!records(K::kIterRestart)) t.walked = {};
    // A fault or a removal that is over may look so, too; what else it was in is forgotten then.
    const bool removes = std::any_of(t.blocks.begin(), t.blocks.end(), [&](const Block& b) {
      return late_parent_ || (b.hole && b.next != 512);
    });
    // What comes next is told of under the same lock.
    const bool expects =
        t.link.on || t.split.on || t.zap.on || t.mmio.on || (t.req.installed && sees(K::kSetSpte));
    const bool locked = t.req.on || expects || removes;
    if (here && locked) {
      t.stayed = t.fault_may_be_lost = true;
      t.attributes = {};
      t.walk = {};
      t.run = 0;
      if (!removes && !expects) {
        for (const Block& b : t.blocks) pending_removals_.insert({b.level, b.gfn});
        t.blocks.clear();
      }
      continue;
    }
    sharing_doubted_ = sharing_doubted_ || t.req.on;
    for (const Block& b : t.blocks) pending_removals_.insert({b.level, b.gfn});
    Thread unknown = unknown_thread();
    unknown.no_fault = true;
    if (here) {
      unknown.cpu = t.cpu;
      unknown.stayed = true;
      unknown.entered = std::move(t.entered);
      unknown.walked = t.walked;
      unknown.made = t.made;
    }
    t = std::move(unknown);
  }
  // A write of the module parameter may be lost.
  values_.nx_known = false;
  nx_ever_ = true;
}

void TracepointReplayer::doubt(const Doubts& doubts, const LostCpus& lost) {
  const bool first = !std::exchange(doubting_, true);
  losses_over_ = doubts.last ? now_ : 0;
  mirrored_vms_.clear();  // another VM may have the number
  doubt_threads(lost);
  for (const EntryPlace& entry : doubts.relinks) {
    for (const auto& row : book_.at(entry.level - 1, entry.gfn)) {
      row->used = row->used && !first;
    }
  }
  const auto roots = book_.at(root_level_, 0);
  const auto idle =
      std::count_if(roots.begin(), roots.end(), [](const auto& r) { return r->fresh && !r->used; });
  for (auto i = static_cast<size_t>(idle); i < doubts.roots; i++) {
    TableRow* root = book_.add(0, 0, root_level_, -1, 0, model::kNonpresent);
    if (root != nullptr) root->fresh = true;
  }
  if (std::exchange(cut_at_, book_.added()) != book_.added() || first) {
    for (const auto* entries : {&doubts.relinks, &doubts.entries}) {
      for (const EntryPlace& entry : *entries) {
        book_.each_below(entry.level, entry.gfn, [](TableRow& row) { row.cut = true; });
      }
    }
  }
  doubt_entries(doubts, true);
  for (const EntryPlace& entry : doubts.relinks) {
    if (doubts.last) doubt_removed(entry);
  }
  if (held_.empty()) return;
  previous_ = 0;
  early_ = {};
  retry_held();
  doubt_entries(doubts, false);
}

// `link`: tables may have been linked there.
void TracepointReplayer::doubt_entries(const Doubts& doubts, bool link) {
  const auto times = [&](const EntryPlace& entry) {
    const auto in = [&](const std::vector<EntryPlace>& entries) {
      return static_cast<size_t>(std::count(entries.begin(), entries.end(), entry));
    };
    return link ? in(doubts.relinks) + in(doubts.links) : 0;
  };
  const auto splits = [&](const EntryPlace& entry) {
    return std::find(doubts.splits.begin(), doubts.splits.end(), entry) != doubts.splits.end();
  };
  for (const EntryPlace& entry : doubts.relinks) {
    doubt_entry(entry, Doubted::kRelink, times(entry), splits(entry));
  }
  for (const EntryPlace& entry : doubts.links) {
    doubt_entry(entry, Doubted::kLink, times(entry), splits(entry));
  }
  for (const EntryPlace& entry : doubts.entries) doubt_entry(entry, Doubted::kChange, 0, false);
}

void TracepointReplayer::doubt_entry(const EntryPlace& entry, Doubted how, size_t links,
                                     bool split) {
  const size_t i = EntryBook::index(entry.level, entry.gfn);
  doubted_[{entry.level, entry.gfn}] = now_;
  sharing_doubted_ = sharing_doubted_ || entry.level == root_level_;
  bool empty = false, huge = false, any = false;
  for (const auto& row : book_.at(entry.level, entry.gfn)) {
    if (!row->fits(entry.as_id, 0)) continue;
    const uint64_t spte = row->e[i];
    const bool known = spte != kUnknownSpte;
    const bool present = known && model::is_shadow_present_pte<>(spte);
    const bool leaf = present && model::is_last_spte<>(spte, entry.level);
    if (how == Doubted::kLink && present && !leaf) continue;  // nothing is linked where a table is
    row->e[i] = kUnknownSpte;
    any = true;
    empty = empty || !present;
    huge = huge || leaf;
  }
  if (links > 0 && any && (how == Doubted::kRelink || empty || huge)) {
    doubt_link(entry, huge || split ? kUnknownSpte : model::kNonpresent, links);
  }
}

// What links a table is read: no other one was linked there.
void TracepointReplayer::settle_link(const Change& c) {
  const size_t i = EntryBook::index(c.level, c.gfn);
  for (const auto& row : book_.at(c.level, c.gfn)) {
    if (row->e[i] == kUnknownSpte) return;
  }
  if (links_table(c.old_spte, c.level)) return;
  for (const auto& row : book_.at(c.level - 1, c.gfn)) row->gone = row->gone || row->fresh;
  // Nor was one linked in that.
  for (auto it = doubted_.rbegin(); it != doubted_.rend(); ++it) {
    const auto& [level, gfn] = it->first;
    if (level < 2 || level >= c.level || model::gfn_round_for_level<>(gfn, c.level) != c.gfn) {
      continue;
    }
    const size_t at = EntryBook::index(level, gfn);
    const auto rows = book_.at(level, gfn);
    const bool may_be = std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
      return !row->gone && row->e[at] == kUnknownSpte;
    });
    if (may_be) continue;
    for (const auto& row : book_.at(level - 1, gfn)) row->gone = row->gone || row->fresh;
  }
}

// Which page it is that is linked there is told: that of the one table that may be.
void TracepointReplayer::learn_linked(const Change& c) {
  const uint64_t pfn = model::spte_to_pfn<>(c.old_spte);
  if (book_.by_pfn(pfn) != nullptr) return;
  TableRow* only = nullptr;
  for (const auto& row : book_.at(c.level - 1, c.gfn)) {
    if (row->gone || !row->fits(c.as_id, c.vm)) continue;
    if (only != nullptr) return;
    only = row.get();
  }
  if (only != nullptr && only->fresh) book_.set_page(only, pfn);
}

// A table that lost events linked was used behind them: an entry that no change was told of since
// links it, if no other one can.
bool TracepointReplayer::must_link(const TableRow& row, size_t i) const {
  if (row.level < 2 || row.e[i] != kUnknownSpte) return false;
  const uint64_t gfn = row.gfn + i * model::pages_per_hpage(row.level);
  const auto tables = book_.at(row.level - 1, gfn);
  const bool used = std::any_of(tables.begin(), tables.end(), [&](const auto& table) {
    return table->fresh && table->used_behind && !table->gone && table->fits(row.as_id, row.vm);
  });
  const auto rows = book_.at(row.level, gfn);
  return used && std::none_of(rows.begin(), rows.end(), [&](const auto& o) {
           const bool may_link = o->e[i] == kUnknownSpte || links_table(o->e[i], o->level);
           return o.get() != &row && !o->gone && may_link && o->fits(row.as_id, row.vm);
         });
}

// Of a table that may have taken the place of a huge page: what make_huge_page_split_spte made, as
// long as nothing else was changed, or nothing.
bool TracepointReplayer::may_hold(const TableRow& row, const Change& c) const {
  if (!row.fresh || !row.unknown || c.old_spte == model::kNonpresent ||
      doubted_.contains({c.level, c.gfn})) {
    return true;
  }
  const uint64_t low = model::pages_per_hpage(c.level + 1) - 1;
  return maps_page(c.old_spte, c.level) && ((model::spte_to_pfn<>(c.old_spte) ^ c.gfn) & low) == 0;
}

// The table that was cut off, if it is surely that one, is gone, and all that it linked.
void TracepointReplayer::doubt_removed(const EntryPlace& entry) {
  TableRow* gone = nullptr;
  for (const auto& row : book_.at(entry.level - 1, entry.gfn)) {
    if (row->fresh || !row->fits(entry.as_id, 0)) continue;
    if (gone != nullptr || row->used) return;
    gone = row.get();
  }
  if (gone != nullptr) erase_below(gone);
}

void TracepointReplayer::erase_below(TableRow* row) {
  for (size_t i = 0; i < row->e.size() && row->level > 1; i++) {
    TableRow* below = table_below(*row, i);
    if (below != nullptr) erase_below(below);
  }
  erase(row);
}

TableRow* TracepointReplayer::table_below(const TableRow& row, size_t i) const {
  const uint64_t spte = row.e[i];
  if (!links_table(spte, row.level)) return nullptr;
  TableRow* below = book_.by_pfn(model::spte_to_pfn<>(spte));
  return below != nullptr && below->level == row.level - 1 ? below : nullptr;
}

// Events that the removal of a table takes besides the change that cuts it off, at least.
size_t TracepointReplayer::present_in(const TableRow& row) const {
  size_t n = 0;
  for (size_t i = 0; i < row.e.size(); i++) {
    if (row.e[i] == kUnknownSpte || !model::is_shadow_present_pte<>(row.e[i])) continue;
    n++;
    const TableRow* below = table_below(row, i);
    if (below != nullptr) n += present_in(*below);
  }
  return n;
}

// There must be as many tables that nothing used since, whenever the links were lost.
void TracepointReplayer::doubt_link(const EntryPlace& entry, uint64_t fill, size_t links) {
  const int level = entry.level - 1;
  const auto rows = book_.at(level, entry.gfn);
  const auto unused = std::count_if(rows.begin(), rows.end(), [&](const auto& row) {
    return row->fresh && !row->used && !row->gone && row->fits(entry.as_id, 0) &&
           (fill != kUnknownSpte || row->unknown);
  });
  for (auto i = static_cast<size_t>(unused); i < links; i++) {
    TableRow* row = book_.add(kFreshPages + ++fresh_, entry.gfn, level, entry.as_id, 0, fill);
    if (row == nullptr) return;
    row->fresh = true;
    row->unknown = fill == kUnknownSpte;
  }
}

// What was told that is missing no more should an event be lost now.
TracepointReplayer::Pending TracepointReplayer::pending_at(const EntryPlace& entry,
                                                           const LostCpus& lost) const {
  Pending p;
  for (const auto& [id, t] : threads_) {
    if (!lost.has(t.cpu)) continue;  // it stays there while it holds mmu_lock
    p.request = p.request || (t.req.on && !t.req.installed &&
                              model::gfn_round_for_level<>(t.req.gfn, entry.level) == entry.gfn);
    p.link = p.link || (t.link.on && t.link.level == entry.level - 1 && t.link.gfn == entry.gfn);
    for (const Block& b : t.blocks) {
      p.removal = p.removal || (b.level == entry.level - 1 && b.gfn == entry.gfn);
    }
  }
  p.present = SIZE_MAX;
  for (const auto& row : book_.at(entry.level - 1, entry.gfn)) {
    if (!row->fits(entry.as_id, 0)) continue;
    p.present = std::min(p.present, present_in(*row));
  }
  if (p.present == SIZE_MAX) p.present = 0;
  return p;
}

std::vector<TracepointReplayer::EntryValue> TracepointReplayer::entries_at(
    const EntryPlace& entry) const {
  std::vector<EntryValue> all;
  for (const auto& row : book_.at(entry.level, entry.gfn)) {
    if (!row->fits(entry.as_id, 0)) continue;
    all.push_back({row->as_id, row->vm, row->guessed ? 0 : row->pfn,
                   row->e[EntryBook::index(entry.level, entry.gfn)]});
  }
  return all;
}

// A table goes when its entries are empty; the one that is not known is then of another table.
void TracepointReplayer::erase(TableRow* row) {
  for (size_t i = 0; i < row->e.size() && doubting_; i++) {
    if (row->e[i] != kUnknownSpte) continue;
    for (const auto& o : book_.at(row->level, row->gfn)) {
      if (o.get() == row || o->gone || !o->fits(row->as_id, row->vm) ||
          model::is_shadow_present_pte<>(o->e[i])) {
        continue;
      }
      o->e[i] = kUnknownSpte;
      break;
    }
  }
  book_.erase(row);
}

bool TracepointReplayer::doubted_since(int level, uint64_t gfn, uint64_t since) const {
  const auto it = doubted_.find({level, gfn});
  return it != doubted_.end() && it->second >= since;
}

// Is the entry in a table that may have been linked, at a page that nothing told of?
bool TracepointReplayer::may_be_linked(int level, uint64_t gfn) const {
  const auto rows = book_.at(level, gfn);
  return std::any_of(rows.begin(), rows.end(),
                     [](const auto& row) { return row->fresh && !row->gone; });
}

}  // namespace mmucheck::replay
