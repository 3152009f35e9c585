#include "checker/replay/complete/event_costs.h"

#include <algorithm>

#include "checker/replay/tracepoint/entry_book.h"

namespace mmucheck::replay {

namespace {

// A huge page in the place of a table: the change and kvm_mmu_prepare_zap_page, at least.
constexpr size_t kEventsOfRecovery = 2;

}  // namespace

bool is_in(const std::vector<EntryPlace>& places, const EntryPlace& place) {
  return std::find(places.begin(), places.end(), place) != places.end();
}

const EventCosts::Told& EventCosts::told_of(const EntryPlace& entry) {
  const auto it = told_.find(entry);
  return it != told_.end() ? it->second
                           : told_.emplace(entry, recording_.told_of(entry)).first->second;
}

size_t EventCosts::counted_below(const Told& told) {
  return told.prepare_zap || told.present == SIZE_MAX ? 0 : told.present;
}

// A change that is not made in place, by a call of handle_changed_spte.
size_t EventCosts::of_call(const Begun& begun) {
  return size_t{2} - begun.entered;
}

size_t EventCosts::counted_of(const EntryPlace& entry) const {
  const auto it = counted.find(entry);
  return it == counted.end() ? 0 : it->second.events;
}

// The table that the entry links is cut off: its own change, and what is told of its removal.
// What was counted of the entries below may be part of that.
size_t EventCosts::of_removal(const EntryPlace& entry, const Doubts& done) {
  const Told& told = told_of(entry);
  if (told.prepare_zap) return 1;
  size_t below = counted_below(told);
  for (const auto* places : {&done.entries, &done.links, &done.relinks}) {
    for (const EntryPlace& at : *places) {
      if (is_below(at, entry)) below -= std::min(below, std::max(counted_of(at), size_t{1}));
    }
  }
  return of_call(begun_of(told)) + 1 + below;
}

size_t EventCosts::of_another(const EntryPlace& entry, const Doubts& done) {
  const Told& told = told_of(entry);
  const bool one = told.tables + done.roots <= 1;
  return of_link(entry) + (one ? of_call(begun_of(told)) + !told.prepare_zap : 0);
}

size_t EventCosts::of_root(const EntryPlace& entry) {
  return size_t{2} - begun_of(told_of(entry)).init_sp;
}

size_t EventCosts::of_link(const EntryPlace& entry) {
  const Begun begun = begun_of(told_of(entry));
  return of_call(begun) + (begun.get_page ? 0 : size_t{2} - begun.init_sp);
}

// The request and, where these are told, kvm_tdp_mmu_map and tdp_iter_start.
size_t EventCosts::of_fault(const Begun& begun) {
  return begun.request ? 0 : size_t{3} - begun.tdp_map - begun.iter_start;
}

size_t EventCosts::of_map(const Told& told) const {
  const Begun begun = begun_of(told);
  return of_call(begun) + of_fault(begun) + !told.set_spte;
}

bool EventCosts::is_in_fault(const EntryPlace& entry) {
  return told_of(entry).holds_all(asked.until, [&](uint64_t spte) {
    return spte != kUnknownSpte && !maps_page(spte, entry.level);
  });
}

size_t EventCosts::of_link(const EntryPlace& entry, const Doubts& done, bool again) {
  const size_t events = of_link(entry) + (again ? of_removal(entry, done) : 0);
  return events - std::min(events, counted_of(entry));
}

// May its change be part of a removal that was counted?
bool EventCosts::in_removal(const EntryPlace& entry, const Doubts& done) {
  const auto above = [&](const EntryPlace& at) { return is_below(entry, at); };
  return std::any_of(done.entries.begin(), done.entries.end(), above) ||
         std::any_of(done.relinks.begin(), done.relinks.end(), above);
}

bool EventCosts::may_be_in_new_table(const EntryPlace& entry, const Doubts& done) {
  if (entry.level == kRootLevel) return done.roots != 0;
  const auto links = [&](const EntryPlace& at) {
    return at.level == entry.level + 1 && is_below(entry, at);
  };
  return std::any_of(done.links.begin(), done.links.end(), links) ||
         std::any_of(done.relinks.begin(), done.relinks.end(), links);
}

bool EventCosts::may_be_linked(const EntryPlace& entry, const Doubts& done) {
  return may_be_in_new_table(entry, done) ||
         !told_of(entry).holds_all(asked.until,
                                   [&](uint64_t spte) { return links_table(spte, entry.level); });
}

// That is empty, unless it took the place of a huge page that is told of.
size_t EventCosts::in_new_table(const EntryPlace& entry) {
  if (entry.level >= model::kMaxHugepageLevel || !may_be_of_split(entry)) {
    return of_use(entry);
  }
  const EntryPlace table = above(entry);
  const bool page = !told_of(table).holds_all(asked.until, [&](uint64_t spte) {
    return spte != kUnknownSpte && !maps_page(spte, table.level);
  });
  return page ? 1 : of_use(entry);
}

// Or what was lost mapped it before.
size_t EventCosts::of_split(const EntryPlace& table) {
  return of_map(told_of(table)) + !told_of(table).split;
}

// make_huge_page_split_spte: gfn and page are congruent.
bool EventCosts::may_be_of_split(const EntryPlace& entry) const {
  if (!asked.seen || !maps_page(*asked.seen, entry.level)) return true;
  const uint64_t low = model::pages_per_hpage(entry.level + 1) - 1;
  return ((model::spte_to_pfn<>(*asked.seen) ^ entry.gfn) & low) == 0;
}

// A map or a link; a huge page may have replaced a table.
size_t EventCosts::of_use(const EntryPlace& entry) {
  const size_t map = of_map(told_of(entry));
  if (entry.level == 1) return map;
  const size_t link = of_link(entry);
  if (entry.level > model::kMaxHugepageLevel) return link;
  const bool leaf = asked.seen && maps_page(*asked.seen, entry.level);
  return std::min(map, leaf ? link + kEventsOfRecovery : link);
}

// `anew`: it may be an entry of a table that was linked for it.
size_t EventCosts::of_change(const EntryPlace& entry, const Doubts& done, bool anew) {
  if (is_in_next_table(entry, done)) return in_new_table(entry);
  const size_t events = of_change_there(entry, done);
  if (!anew && !may_be_in_new_table(entry, done)) return events;
  return std::min(events, in_new_table(entry));
}

// A change of an entry, from what it held to what is seen.
size_t EventCosts::of_change_there(const EntryPlace& entry, const Doubts& done) {
  const Told& told = told_of(entry);
  const bool all_empty =
      told.holds_all(asked.until, [](uint64_t spte) { return spte == model::kNonpresent; });
  if (all_empty && !told.values.format_known) return 1;
  const bool seen_present = asked.seen && model::is_shadow_present_pte<>(*asked.seen);
  if (!all_empty && !seen_present && in_removal(entry, done)) return 0;
  size_t least = SIZE_MAX;
  for (const Told::Value& v : told.there) {
    if (v.since > asked.until || !may_be_of(v.value)) continue;
    least = std::min(least, of_change_from(v.value.spte, entry, done));
  }
  return least == SIZE_MAX ? of_use(entry) : least;
}

bool EventCosts::may_be_of(const TracepointReplayer::EntryValue& there) const {
  return (asked.vm == 0 || there.vm == 0 || there.vm == asked.vm) &&
         (asked.table == 0 || there.table == 0 || there.table == asked.table);
}

size_t EventCosts::of_change_from(uint64_t spte, const EntryPlace& entry, const Doubts& done) {
  if (spte == model::kNonpresent) return of_use(entry);
  if (spte == kUnknownSpte || !model::is_shadow_present_pte<>(spte)) return 1;
  if (links_table(spte, entry.level)) return of_removal(entry, done);
  if (!asked.seen) return 1;
  const size_t zap = of_call(begun_of(told_of(entry)));
  if (!model::is_shadow_present_pte<>(*asked.seen)) return zap;
  if (!model::is_last_spte<>(*asked.seen, entry.level)) return of_link(entry);
  const bool same_page = model::spte_to_pfn<>(*asked.seen) == model::spte_to_pfn<>(spte);
  return same_page ? 1 : zap + of_map(told_of(entry));
}

// Is what was read behind the losses read in a table that took the place of the one before?
bool EventCosts::is_in_next_table(const EntryPlace& entry, const Doubts& done) {
  if (asked.until <= losses_end_ || done.roots != 0) return false;
  if (!asked.seen || !model::is_shadow_present_pte<>(*asked.seen)) return false;
  // What was told of it between losses may have been in that table.
  const std::vector<Told::Value>& there = told_of(entry).there;
  const auto later = [&](const Told::Value& v) { return v.since != there.front().since; };
  if (std::any_of(there.begin(), there.end(), later)) return false;
  return std::any_of(done.relinks.begin(), done.relinks.end(), [&](const EntryPlace& at) {
    return entry.as_id == at.as_id && is_below(entry, at) && told_of(at).tables <= 1;
  });
}

// Is there no way to change it without a map?
bool EventCosts::is_map(const EntryPlace& entry, size_t events) {
  if (entry.level != 1 || !asked.seen || !maps_page(*asked.seen, 1)) return false;
  const uint64_t pfn = model::spte_to_pfn<>(*asked.seen);
  return events >= of_map(told_of(entry)) &&
         told_of(entry).holds_all(asked.until, [&](uint64_t spte) {
           return spte == model::kNonpresent ||
                  (maps_page(spte, 1) && model::spte_to_pfn<>(spte) != pfn);
         });
}

}  // namespace mmucheck::replay
