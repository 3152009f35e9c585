#include "checker/replay/complete/tables_needed.h"

#include <algorithm>

#include "checker/replay/tracepoint/entry_book.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

constexpr int kRootLevel = 4;

TablesNeeded::Place table_of(const TablesNeeded::Place& entry) {
  return {entry.as_id, entry.level, EntryBook::base(entry.level, entry.gfn)};
}

TablesNeeded::Place above(const TablesNeeded::Place& entry) {
  const int level = entry.level + 1;
  return {entry.as_id, level, model::gfn_round_for_level<>(entry.gfn, level)};
}

// A probe may be hit between a store and its tracepoint; these are not.
bool in_order_of_stores(K kind) {
  switch (kind) {
    case K::kPageFault:
    case K::kSpteRequested:
    case K::kSpteChanged:
    case K::kSetSpte:
    case K::kFastPageFault:
    case K::kGetPage:
    case K::kPrepareZapPage:
    case K::kSplitHugePage: return true;
    default: return false;
  }
}

size_t count_of(const std::map<TablesNeeded::Place, size_t>& counts,
                const TablesNeeded::Place& place) {
  const auto it = counts.find(place);
  return it == counts.end() ? 0 : it->second;
}

}  // namespace

// What was under way when the first events may have been lost.
void TablesNeeded::begin() {
  began_ = true;
  for (const auto& [id, t] : threads_) {
    pages_told_ += t.took_page;
    made_told_ += t.made_table;
    entered_told_ += t.entered;
    for (const Place& table : t.removing) removed_[table]++;
  }
}

void TablesNeeded::add(const Event& e, size_t at, Phase phase) {
  if (phase != Phase::kBefore && !began_) begin();
  if (phase == Phase::kBehind && behind_ == 0) behind_ = at;
  add_probe(e, phase);
  if (!in_order_of_stores(e.kind)) return;
  Thread& t = threads_[e.thread];
  Told told;
  told.after = e.thread == 0 ? 0 : t.last;
  told.at = at;
  told.line = e.source_line;
  told.behind = behind_ != 0 && told.after >= behind_;
  told.old_removal = !t.anew;
  t.last = at;
  const bool change = e.kind == K::kSpteChanged;
  const bool freezes =
      change && model::is_frozen_spte<>(values_.fmt, e.get(f::spte_changed::new_spte));
  if (change) t.took_page = false;
  if (!freezes && e.kind != K::kPrepareZapPage) t.removing.clear();
  const bool unlinks = change && links_table(e.get(f::spte_changed::old_spte),
                                             static_cast<int>(e.get(f::spte_changed::level)));
  if (behind_ != 0 && e.thread != 0 && !freezes && !unlinks && e.kind != K::kPrepareZapPage) {
    t.anew = true;
  }
  switch (e.kind) {
    case K::kSpteChanged: return add_change(e, told);
    case K::kFastPageFault: return add_fast_fault(e, told);
    case K::kGetPage: return add_page(e, t, told, phase);
    case K::kPrepareZapPage: return add_removal(e, t, told);
    default: return;
  }
}

// A probe comes before its tracepoint, which may be lost then.
void TablesNeeded::add_probe(const Event& e, Phase phase) {
  switch (e.kind) {
    case K::kInitSp:
      threads_[e.thread].made_table = true;
      made_told_ += phase == Phase::kAmong;
      return;
    case K::kGetPage: threads_[e.thread].made_table = false; return;
    case K::kChangedSpte:
      threads_[e.thread].entered++;
      entered_told_ += phase == Phase::kAmong;
      return;
    case K::kSpteChanged: {
      Thread& t = threads_[e.thread];
      t.entered -= std::min<size_t>(t.entered, 1);
      return;
    }
    default: return;
  }
}

void TablesNeeded::add_change(const Event& e, Told told) {
  namespace s = f::spte_changed;
  if (!began_) return;
  const Place place{static_cast<int>(e.get(s::as_id)), static_cast<int>(e.get(s::level)),
                    e.get(s::gfn)};
  told.old_spte = e.get(s::old_spte);
  told.new_spte = e.get(s::new_spte);
  const bool was_table = links_table(told.old_spte, place.level);
  if (was_table) {
    // On 7.x it is told after all of the removal below it.
    told.after = 0;
    told.behind = false;
  }
  changes_[place].push_back(told);
  if (was_table || !links_table(told.new_spte, place.level)) return;
  told.any = model::is_shadow_present_pte<>(told.old_spte);  // a huge page was split
  told.new_spte = model::kNonpresent;
  const Place table{place.as_id, place.level - 1, place.gfn};
  links_[table].push_back(told);
  if (behind_ == 0) linked_among_[table]++;
}

// The level is not told; without the entry's address it may be any.
void TablesNeeded::add_fast_fault(const Event& e, Told told) {
  namespace q = f::fast_page_fault;
  if (!began_ || e.get_or(q::fixed, 1) == 0) return;
  told.any = true;  // the new value is read some time after
  const uint64_t gfn = e.get(q::address) >> model::kPageShift;
  for (int level = 1; level <= model::kMaxHugepageLevel; level++) {
    fast_[{0, level, model::gfn_round_for_level<>(gfn, level)}].push_back(told);
  }
}

void TablesNeeded::add_page(const Event& e, Thread& t, Told told, Phase phase) {
  namespace g = f::get_page;
  if (e.get_or(g::level, kRootLevel) >= kRootLevel) {
    if (!began_) return;
    told.new_spte = model::kNonpresent;
    roots_.push_back(told);
    roots_among_ += phase == Phase::kAmong;
  } else {
    pages_told_ += phase == Phase::kAmong;
    t.took_page = true;
  }
}

void TablesNeeded::add_removal(const Event& e, Thread& t, const Told& told) {
  namespace p = f::prepare_zap_page;
  if (!told.old_removal) return;
  if (!e.has(p::gfn) || !e.has(p::level)) {
    removed_anywhere_++;
    return;
  }
  const Place table{0, static_cast<int>(e.get(p::level)), e.get(p::gfn)};
  if (began_) {
    removed_[table]++;
  } else {
    t.removing.push_back(table);
  }
}

// How many of the tables of an entry may have been cut off when the last events were lost, and not
// been emptied.
size_t TablesNeeded::removals(const Place& entry) const {
  Place table = table_of(entry);
  table.as_id = 0;
  size_t n = removed_anywhere_ + count_of(removed_, table);
  const auto count = [&](const Place& at, const std::function<bool(const Told&)>& is) {
    const auto it = changes_.find(at);
    if (it == changes_.end()) return;
    for (const Told& t : it->second) n += t.old_removal && is(t);
  };
  count(entry, [&](const Told& t) { return model::is_frozen_spte<>(values_.fmt, t.new_spte); });
  count(above(entry), [&](const Told& t) { return links_table(t.old_spte, entry.level + 1); });
  return n;
}

TablesNeeded::Needed TablesNeeded::needs(const Place& entry, size_t tables) const {
  Needed n;
  n.place = entry;
  n.tables = tables;
  const auto lost_at = [&](const Place& at, size_t wanted) {
    const size_t among =
        at.level == kRootLevel ? roots_among_ : count_of(linked_among_, table_of(at));
    const size_t had = there_(at) + among;
    return wanted > had ? wanted - had : 0;
  };
  n.there = there_(entry);
  const size_t made = lost_at(entry, tables);
  if (made == 0) return n;
  bool parents_new = false;
  size_t wanted = tables;
  for (Place at = entry; at.level <= kRootLevel && wanted > 0; at = above(at)) {
    const size_t lost = lost_at(at, wanted);
    (at.level == kRootLevel ? n.roots : n.links) += lost;
    if (at.level == entry.level + 1) parents_new = lost >= made;
    wanted -= std::min(wanted, removals(at));
    // Those that link these tables, and those in which something else was found.
    if (wanted > 0) wanted += without_table(above(at));
  }
  n.pages = n.links - std::min(n.links, pages_told_);
  // A table of a split huge page is full; the page was mapped in an entry of a new table, then.
  size_t empty = 0;
  for (const Told& t : changes_.at(entry)) empty += t.behind && t.old_spte == model::kNonpresent;
  if (parents_new && entry.level < kRootLevel && made > empty) n.changes = made - empty;
  const auto of_probe = [&](bool recorded, size_t events, size_t told) {
    if (recorded) n.probes += events - std::min(events, told);
  };
  of_probe(probes_.init_sp, n.roots + n.pages, made_told_);
  of_probe(probes_.changed_spte, n.links + n.changes, entered_told_);
  return n;
}

// What may have left a value in an entry at the place.
std::vector<TablesNeeded::Told> TablesNeeded::left_at(const Place& entry) const {
  std::vector<Told> left = changes_.at(entry);
  const auto append = [&](const std::map<Place, std::vector<Told>>& from, const Place& place) {
    const auto it = from.find(place);
    if (it != from.end()) left.insert(left.end(), it->second.begin(), it->second.end());
  };
  append(links_, table_of(entry));
  append(fast_, {0, entry.level, entry.gfn});
  if (entry.level == kRootLevel) left.insert(left.end(), roots_.begin(), roots_.end());
  return left;
}

// Each change is given another one that left its old value, as far as there are (the largest
// matching, by augmenting paths).
void TablesNeeded::tables_of(const Place& entry, const std::function<bool(const Told&)>& which,
                             const std::function<bool(const Told&, size_t)>& found) const {
  const std::vector<Told> left = left_at(entry);
  if (left.size() > kMaxToldOfPlace) return;
  const size_t own = changes_.at(entry).size();
  const auto may_follow = [&](const Told& first, const Told& second) {
    return second.at > first.after &&
           (first.any || may_read(values_, first.new_spte, second.old_spte, entry.level));
  };
  constexpr size_t kFree = SIZE_MAX;
  std::vector<size_t> taken(left.size(), kFree);  // by which change
  std::vector<char> tried;
  const std::function<bool(size_t)> take = [&](size_t change) {
    for (size_t i = left.size(); i-- > 0;) {
      if (i == change || tried[i] || !may_follow(left[i], left[change])) continue;
      tried[i] = 1;
      if (taken[i] != kFree && !take(taken[i])) continue;
      taken[i] = change;
      return true;
    }
    return false;
  };
  size_t tables = 0;
  for (size_t i = 0; i < own; i++) {
    if (!left[i].behind || !which(left[i])) continue;
    tried.assign(left.size(), 0);
    if (!take(i) && !found(left[i], ++tables)) return;
  }
}

size_t TablesNeeded::without_table(const Place& entry) const {
  size_t n = 0;
  if (!changes_.contains(entry)) return n;
  const auto is_empty = [&](const Told& t) { return !links_table(t.old_spte, entry.level); };
  tables_of(entry, is_empty, [&](const Told&, size_t tables) {
    n = tables;
    return true;
  });
  return n;
}

std::optional<TablesNeeded::Needed> TablesNeeded::needed(size_t lost) const {
  std::map<int, Needed> most;  // by address space: no event is of two
  for (const auto& [place, told] : changes_) {
    bool too_many = false;
    const auto any = [](const Told&) { return true; };
    tables_of(place, any, [&, &entry = place](const Told& change, size_t tables) {
      Needed n = needs(entry, tables);
      n.line = change.line;
      Needed& known = most[entry.as_id];
      if (n.events() > known.events()) known = n;
      size_t all = 0;
      for (const auto& [space, needed] : most) all += needed.events();
      too_many = all > lost;
      return !too_many;
    });
    if (too_many) break;
  }
  std::optional<Needed> sum;
  for (const auto& [space, needed] : most) {
    if (needed.events() == 0) continue;
    const size_t others = sum ? sum->events() + sum->elsewhere : 0;
    if (!sum || needed.events() > sum->events()) sum = needed;
    sum->elsewhere = others == 0 ? 0 : others + needed.events() - sum->events();
  }
  return sum;
}

}  // namespace mmucheck::replay
