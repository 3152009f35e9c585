#include "checker/replay/tracepoint/missing.h"

#include <algorithm>

#include "checker/replay/tracepoint/tracepoint_replayer.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

// A subtree whose removal would take more events than this is not written out.
constexpr size_t kMaxRemoval = 4096;

Event anyone(Event e) {
  e.thread = 0;
  return e;
}

}  // namespace

Event missing_change(const Event& e, int as_id, uint64_t gfn, int level, uint64_t old_spte,
                     uint64_t new_spte) {
  namespace s = f::spte_changed;
  Event m =
      like(e, K::kSpteChanged,
           {{s::gfn, gfn}, {s::level, static_cast<uint64_t>(level)}, {s::old_spte, old_spte}});
  if (as_id >= 0) m.set(s::as_id, static_cast<uint64_t>(as_id));
  if (new_spte != kUnknownSpte) m.set(s::new_spte, new_spte);
  return m;
}

Event missing_prepare_zap(const Event& e, uint64_t gfn, int level) {
  namespace p = f::prepare_zap_page;
  return like(e, K::kPrepareZapPage, {{p::gfn, gfn}, {p::level, static_cast<uint64_t>(level)}});
}

std::vector<Event> missing_link(const Event& e, int as_id, uint64_t gfn, int level,
                                uint64_t table) {
  namespace g = f::get_page;
  const uint64_t base = EntryBook::base(level, gfn);
  return {like(e, K::kGetPage,
               {{g::gfn, base}, {g::level, static_cast<uint64_t>(level)}, {g::direct, 1}}),
          missing_change(e, as_id, base, level + 1, model::kNonpresent, table)};
}

Event missing_request(const Event& e, uint64_t gfn, uint64_t pfn, int level) {
  namespace r = f::spte_requested;
  Event m = like(e, K::kSpteRequested, {{r::gfn, gfn}, {r::level, static_cast<uint64_t>(level)}});
  if (pfn != kUnknownSpte) m.set(r::pfn, pfn);
  return m;
}

Missing* TracepointReplayer::lack(std::vector<Event> events, uint64_t before, uint64_t since) {
  if (!lacking_sink_ || doubting_) return nullptr;
  std::erase_if(events, [&](const Event& m) { return !sees(m.kind); });
  if (events.empty()) return nullptr;
  Missing missing;
  missing.before = before == 0 ? now_ : before;
  missing.since = since;
  missing.events = std::move(events);
  lacks_.push_back(std::move(missing));
  return &lacks_.back();
}

void TracepointReplayer::lack_next(const Thread& t, std::vector<Event> events) {
  lack(std::move(events), 0, t.previous);
}

// The events that settle() and settle_change() wait for: nothing else of the thread comes before.
void TracepointReplayer::lack_prepare_zap(const Event& e, const Thread& t, const Expect& zap) {
  lack_next(t, {missing_prepare_zap(e, zap.gfn, zap.level)});
}

void TracepointReplayer::lack_split(const Event& e, const Thread& t, const Expect& split) {
  namespace s = f::split_huge_page;
  lack_next(t, {like(e, K::kSplitHugePage,
                     {{s::gfn, split.gfn},
                      {s::level, static_cast<uint64_t>(split.level)},
                      {s::spte, split.value},
                      {s::err, 0}})});
}

void TracepointReplayer::lack_mmio(const Event& e, const Thread& t, const Expect& mmio) {
  namespace m = f::mark_mmio_spte;
  lack_next(t, {like(e, K::kMarkMmioSpte, {{m::gfn, mmio.gfn}, {m::gen, mmio.value}})});
}

void TracepointReplayer::lack_set_spte(const Event& e, const Thread& t, const Request& req) {
  namespace s = f::set_spte;
  lack_next(t, {like(e, K::kSetSpte,
                     {{s::gfn, model::gfn_round_for_level<>(req.gfn, req.level)},
                      {s::level, static_cast<uint64_t>(req.level)},
                      {s::spte, req.value}})});
}

// The change that cuts the table of `gfn` and `level` off.
void TracepointReplayer::lack_unlink(const Event& e, uint64_t gfn, int level, bool nested) {
  if (!lacking_sink_) return;
  for (const auto& row : book_.at(level + 1, gfn)) {
    const uint64_t spte = row->e[EntryBook::index(level + 1, gfn)];
    if (!links_table(spte, level + 1)) continue;
    lack({missing_change(e, row->as_id, gfn, level + 1, spte,
                         nested ? values_.fmt.frozen : model::kNonpresent)});
  }
}

// Entries `from` to `end` of a removed table, all of which change.
void TracepointReplayer::lack_children(const Event& e, const Block& b, size_t from, size_t end) {
  if (!lacking_sink_) return;
  const auto rows = book_.at(b.level, b.gfn);
  const TableRow* row = book_.by_pfn(b.pfn);
  for (const auto& other : rows) {
    if (row == nullptr && other->fits(b.as_id, 0)) row = other.get();
  }
  if (row == nullptr) return;
  std::vector<Event> events;
  for (size_t i = from; i < end; i++) {
    if (row->e[i] == kUnknownSpte) return;
    events.push_back(missing_change(e, row->as_id, b.gfn + i * model::pages_per_hpage(b.level),
                                    b.level, row->e[i], values_.fmt.frozen));
  }
  lack(std::move(events), 0, b.resumed ? 0 : b.place.packet);
}

// All that the removal of the table below a present non-leaf entry tells, and its own change.
void TracepointReplayer::missing_removal(const Event& e, const TableRow& row, size_t index,
                                         uint64_t becomes, std::vector<Event>& events) const {
  const uint64_t spte = row.e[index];
  const uint64_t gfn = row.gfn + index * model::pages_per_hpage(row.level);
  const Event own = missing_change(e, row.as_id, gfn, row.level, spte, becomes);
  if (!late_parent_) events.push_back(own);
  events.push_back(missing_prepare_zap(e, gfn, row.level - 1));
  if (const TableRow* child = book_.by_pfn(model::spte_to_pfn<>(spte))) {
    for (size_t i = 0; i < child->e.size() && events.size() < kMaxRemoval; i++) {
      const uint64_t below = child->e[i];
      if (links_table(below, child->level)) {
        missing_removal(e, *child, i, values_.fmt.frozen, events);
      } else if (!late_parent_ || maps_page(below, child->level)) {
        const uint64_t at = child->gfn + i * model::pages_per_hpage(child->level);
        events.push_back(
            missing_change(e, child->as_id, at, child->level, below, values_.fmt.frozen));
      }
    }
  }
  if (late_parent_) events.push_back(own);
}

// How an entry that was left as `row` has it came to hold `c.old_spte`.
void TracepointReplayer::lack_step(const Event& e, const TableRow& row, const Change& c) {
  const uint64_t known = row.e[EntryBook::index(c.level, c.gfn)];
  const uint64_t seen = c.old_spte;
  if (known == kUnknownSpte) return;
  const auto to = [&](uint64_t from, uint64_t value) {
    return missing_change(e, row.as_id, c.gfn, c.level, from, value);
  };
  if (links_table(known, c.level)) {
    std::vector<Event> events;
    missing_removal(anyone(e), row, EntryBook::index(c.level, c.gfn), model::kNonpresent, events);
    if (events.size() < kMaxRemoval) lack(std::move(events));
    return;
  }
  if (links_table(seen, c.level)) {
    lack(missing_link(e, row.as_id, c.gfn, c.level - 1, seen));
    return;
  }
  if (maps_page(known, c.level) && maps_page(seen, c.level)) {
    if (model::spte_to_pfn<>(known) == model::spte_to_pfn<>(seen)) {
      for (const bool write : {true, false}) {
        namespace q = f::fast_page_fault;
        const uint64_t fixed = fast_fault_value(values_, known, write);
        if (fixed == known || !may_read(values_, fixed, seen, c.level)) continue;
        lack({anyone(like(e, K::kFastPageFault,
                          {{q::address, c.gfn << model::kPageShift},
                           {q::error_code, write ? 2u : 0u},
                           {q::old_spte, known},
                           {q::new_spte, seen},
                           {q::fixed, 1}}))});
      }
      lack({anyone(to(known, seen))});
      return;
    }
    // It went and came again: the second half is lacking then, too.
    lack({anyone(to(known, model::kNonpresent))});
    return;
  }
  if (maps_page(known, c.level) || is_mmio(values_, known)) {
    lack({anyone(to(known, model::kNonpresent))});
    return;
  }
  // All that a fault told, or nothing but the change, where the rest is told.
  if (known == model::kNonpresent && maps_page(seen, c.level) && e.kind != K::kSetSpte) {
    std::vector<Event> map = missing_map(anyone(e), c, false);
    std::erase_if(map, [](const Event& m) { return m.kind == K::kPageFault; });
    for (Event& m : map) {
      if (m.kind == K::kSpteChanged && row.as_id >= 0) {
        m.set(f::spte_changed::as_id, static_cast<uint64_t>(row.as_id));
      }
    }
    if (Missing* missing = lack(std::move(map))) missing->whole = true;
  }
  lack({anyone(to(known, seen))});
}

// What explains that the entry of `c` holds another value than the one that is known.
std::vector<Missing> TracepointReplayer::lacking_now(const Event& e, const Change& c) {
  if (!lacking_sink_ || doubting_) return {};
  std::vector<Missing> before = std::exchange(lacks_, {});
  bool any = false;
  for (const auto& row : book_.at(c.level, c.gfn)) {
    if (!fits(*row, c)) continue;
    any = true;
    lack_step(e, *row, c);
  }
  if (!any) lack_table(e, c);
  lack_another(e, c);
  return std::exchange(lacks_, std::move(before));
}

// What a fault installs in an empty entry that is read as `seen` then, and the fault; a change
// behind it where there is one. `ahead`: for no access, which takes one event less.
std::vector<Event> TracepointReplayer::missing_map(const Event& e, const Change& c,
                                                   bool ahead) const {
  const uint64_t pfn = model::spte_to_pfn<>(c.old_spte);
  const uint64_t ad = values_.fmt.accessed | values_.fmt.dirty;
  const uint64_t writable = model::kPtWritable | values_.fmt.mmu_writable;
  for (const uint64_t then : {c.old_spte, c.old_spte | model::kPtWritable, c.old_spte | writable,
                              c.old_spte | values_.fmt.dirty}) {
    for (const uint64_t leaf :
         {then, then & ~values_.fmt.dirty, then & ~values_.fmt.accessed, then & ~ad}) {
      if (!may_read(values_, leaf, then, c.level)) continue;
      const LeafRequest request{pfn, c.level, ahead, !ahead};
      const auto how = explain_leaf(values_, request, model::kNonpresent, leaf);
      const bool changes = then != c.old_spte;
      if (!how || (changes && explain_step(values_, then, c.old_spte) == LeafStep::kNone)) continue;
      std::vector<Event> events;
      if (!how->prefetch) {
        events.push_back(
            like(e, K::kPageFault, {{f::page_fault::address, c.gfn << model::kPageShift}}));
      }
      events.push_back(missing_request(e, c.gfn, pfn, c.level));
      events.push_back(missing_change(e, c.as_id, c.gfn, c.level, model::kNonpresent, leaf));
      namespace s = f::set_spte;
      events.push_back(
          like(e, K::kSetSpte,
               {{s::gfn, c.gfn}, {s::level, static_cast<uint64_t>(c.level)}, {s::spte, leaf}}));
      if (changes) {
        events.push_back(missing_change(e, c.as_id, c.gfn, c.level, then, c.old_spte));
      }
      return events;
    }
  }
  return {};
}

// Another table that holds `c.old_spte`: linked in one that is there, as low as there is an empty
// entry, or below another root.
void TracepointReplayer::lack_another(const Event& e, const Change& c) {
  if (!lacking_sink_ || doubting_ || root_level_ != 4 || c.as_id < 0) return;
  if (surely_of(c) != nullptr) return;
  for (int top = c.level + 1; top <= root_level_; top++) {
    const auto rows = book_.at(top, c.gfn);
    const bool empty = std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
      return row->fits(c.as_id, c.vm) && row->e[EntryBook::index(top, c.gfn)] == model::kNonpresent;
    });
    if (!empty) continue;
    lack_tables(e, c, top, false);
    break;
  }
  if (sees(K::kGetPage) && !values_.td) lack_tables(e, c, root_level_, true);
}

// Tables below the entry at level `top`, down to the entry of `c`.
void TracepointReplayer::lack_tables(const Event& e, const Change& c, int top, bool root) {
  std::vector<Event> map;
  if (maps_page(c.old_spte, c.level)) {
    map = missing_map(e, c, true);
    if (map.empty()) map = missing_map(e, c, false);
  } else if (c.old_spte == model::kNonpresent) {
    map = {missing_request(e, c.gfn, c.gfn, std::min(c.level, model::kMaxHugepageLevel))};
  }
  if (map.empty()) return;
  namespace g = f::get_page;
  std::vector<Event> events;
  if (root) events.push_back(like(e, K::kGetPage, {{g::gfn, 0}, {g::level, 4}, {g::direct, 1}}));
  const auto request = std::find_if(map.begin(), map.end(),
                                    [](const Event& m) { return m.kind == K::kSpteRequested; }) +
                       1;
  events.insert(events.end(), map.begin(), request);
  uint64_t page = kLastPage;
  for (int level = top - 1; level >= c.level; level--, page--) {
    while (book_.by_pfn(page) != nullptr) page--;
    const uint64_t table = model::make_nonleaf_spte<>(values_.fmt, page, !values_.fmt.ad_enabled);
    const std::vector<Event> link = missing_link(e, c.as_id, c.gfn, level, table);
    events.insert(events.end(), link.begin(), link.end());
  }
  events.insert(events.end(), request, map.end());
  for (Event& m : events) m.thread = kNewThread;
  if (Missing* missing = lack(std::move(events))) missing->another_table = true;
}

// No table covers the entry: a link is lacking, if the entry above it is there.
void TracepointReplayer::lack_table(const Event& e, const Change& c) {
  const int level = c.level + 1;
  for (int parent = level; parent <= root_level_; parent++) {
    if (book_.at(parent, c.gfn).empty()) continue;
    const TableRow& row = *book_.at(parent, c.gfn).front();
    lack(missing_link(e, row.as_id, c.gfn, parent - 1, kUnknownSpte));
    return;
  }
}

}  // namespace mmucheck::replay
