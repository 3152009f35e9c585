#include "checker/replay/complete/entries_needed.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "checker/replay/complete/one_event.h"
#include "checker/replay/tracepoint/entry_book.h"

namespace mmucheck::replay {

namespace {

constexpr int kRootLevel = 4;
// A huge page in the place of a table: the change and kvm_mmu_prepare_zap_page, at least.
constexpr size_t kEventsOfRecovery = 2;

// Something that lost events may have done: changes of an entry; links of tables from `links[0]`
// down, in a root that was made for it or in a table that was there, of which the entry was cut off
// before (`again`) or not.
struct Way {
  std::vector<EntryPlace> entries, links;
  bool root = false, again = false;
  size_t events = 0;
  size_t of_entry = 0;  // of these, the change of the entry
  // What it is to help with.
  struct Of {
    size_t at = 0;
    TpRule rule = TpRule::kChain;
    EntryPlace about;
    bool operator==(const Lacking& l) const {
      return at == l.at && rule == l.rule && l.about == about;
    }
  };
  std::optional<Of> of;
};

EntryPlace above(const EntryPlace& entry) {
  return {entry.as_id, entry.level + 1, model::gfn_round_for_level<>(entry.gfn, entry.level + 1)};
}

bool is_in(const std::vector<EntryPlace>& places, const EntryPlace& place) {
  return std::find(places.begin(), places.end(), place) != places.end();
}

void append(Doubts& doubts, const Way& way) {
  doubts.entries.insert(doubts.entries.end(), way.entries.begin(), way.entries.end());
  doubts.roots += way.root;
  for (size_t i = 0; i < way.links.size(); i++) {
    (way.again && i == 0 ? doubts.relinks : doubts.links).push_back(way.links[i]);
  }
  // A table is linked in one that is there.
  std::sort(doubts.links.begin(), doubts.links.end(),
            [](const EntryPlace& a, const EntryPlace& b) { return a.level > b.level; });
}

bool is_below(const EntryPlace& entry, const EntryPlace& other) {
  return entry.level < other.level &&
         model::gfn_round_for_level<>(entry.gfn, other.level) == other.gfn;
}

// From the first on the replay may be wrong; a link that could not be stored, further above, comes
// before what is missing below it.
const Lacking* first_of(const Attempt& attempt) {
  const auto earlier = [](const Lacking& a, const Lacking& b) { return a.known_at < b.known_at; };
  const auto first = std::min_element(attempt.findings.begin(), attempt.findings.end(), earlier);
  if (first == attempt.findings.end()) return nullptr;
  const Lacking* above = nullptr;
  for (const Lacking& l : attempt.findings) {
    const bool is_above =
        first->about && l.about && l.rule == TpRule::kChain && is_below(*first->about, *l.about);
    if (is_above && (above == nullptr || earlier(l, *above))) above = &l;
  }
  return above != nullptr ? above : &*first;
}

class Ways {
  using Told = GappedRecording::Told;
  using Begun = Told::Begun;

 public:
  Ways(GappedRecording& recording, size_t lost, const std::function<bool()>& tick)
      : recording_(recording), lost_(lost), tick_(tick) {}

  enum class Answer : uint8_t { kNone, kMayBe };

  // With nothing but threads in doubt. A lost event may have told which bit of a gfn tells shared
  // from private; what is told behind it must contradict then, too.
  Answer start() {
    const Attempt told = recording_.replay(Doubts{});
    Doubts known;
    known.direct_bits = told.direct_bits;
    if (told.findings.empty() || recording_.replay(known).findings.empty()) return Answer::kMayBe;
    first_ = *first_of(told);
    replays_ += 2;
    return any(Doubts{}, {}, lost_);
  }

  const Lacking& first() const { return first_; }
  size_t replays() const { return replays_ + tried_; }
  bool found() const { return found_; }

 private:
  // Does what is doubted, and one of the ways from there on with the events that are left, hold?
  Answer any(const Doubts& doubts, const Way& last, size_t left) {
    if (++replays_ > kMaxWays || (tick_ && !tick_())) return Answer::kMayBe;
    const Attempt attempt = recording_.replay(doubts);
    const Lacking* first = first_of(attempt);
    if (first == nullptr) {
      const Answer answer = shown(doubts);
      return lost_ == 1 ? answer : Answer::kMayBe;
    }
    // What was to help did not.
    if (!first->about || (last.of && *last.of == *first)) return Answer::kNone;
    // What was to make it otherwise came before.
    until_ = std::max(first->at, first->known_at);
    seen_ = first->seen;
    for (Way& way : ways_to(*first->about, doubts)) {
      if (way.events > left) continue;
      way.of = Way::Of{first->at, first->rule, *first->about};
      Doubts more = doubts;
      append(more, way);
      const auto counted = counted_;
      for (const EntryPlace& entry : way.entries) counted_[entry] = way.of_entry;
      const Answer answer = any(more, way, left - way.events);
      counted_ = counted;
      if (answer == Answer::kMayBe) return answer;
    }
    return Answer::kNone;
  }

  const Told& told_of(const EntryPlace& entry) {
    const auto it = told_.find(entry);
    return it != told_.end() ? it->second
                             : told_.emplace(entry, recording_.told_of(entry)).first->second;
  }

  Begun begun_of(const Told& told) const { return told.begun_until(until_); }

  // A change that is not made in place, by a call of handle_changed_spte.
  static size_t events_of_call(const Begun& begun) { return size_t{2} - begun.entered; }

  // What was counted of a change of the entry.
  size_t counted_of(const EntryPlace& entry) const {
    const auto it = counted_.find(entry);
    return it == counted_.end() ? 0 : it->second;
  }

  // The table that the entry links is cut off: its own change, and what is told of its removal.
  // What was counted of the entries below may be part of that.
  size_t events_of_removal(const EntryPlace& entry, const Doubts& done) {
    const Told& told = told_of(entry);
    if (told.prepare_zap) return 1;
    size_t below = told.present == SIZE_MAX ? 0 : told.present;
    for (const auto* places : {&done.entries, &done.links, &done.relinks}) {
      for (const EntryPlace& at : *places) {
        if (is_below(at, entry)) below -= std::min(below, std::max(counted_of(at), size_t{1}));
      }
    }
    return events_of_call(begun_of(told)) + 1 + below;
  }

  // A table where one is in doubt already: of another root, or the first is cut off again.
  size_t events_of_another(const EntryPlace& entry, const Doubts& done) {
    const Told& told = told_of(entry);
    const bool one = told.tables + done.roots <= 1;
    return events_of_link(entry) + (one ? events_of_call(begun_of(told)) + !told.prepare_zap : 0);
  }

  size_t events_of_link(const EntryPlace& entry) {
    const Begun begun = begun_of(told_of(entry));
    return events_of_call(begun) + (begun.get_page ? 0 : size_t{2} - begun.init_sp);
  }

  size_t events_of_map(const Told& told) const {
    const Begun begun = begun_of(told);
    const size_t fault = begun.request ? 0 : size_t{3} - begun.tdp_map - begun.iter_start;
    return events_of_call(begun) + fault + !told.set_spte;
  }

  // The same, where a change of the entry may have been counted already.
  size_t more_for_link(const EntryPlace& entry, const Doubts& done, bool again) {
    const size_t events = events_of_link(entry) + (again ? events_of_removal(entry, done) : 0);
    return events - std::min(events, counted_of(entry));
  }

  // May its change be part of a removal that was counted?
  static bool in_removal(const EntryPlace& entry, const Doubts& done) {
    const auto above = [&](const EntryPlace& at) { return is_below(entry, at); };
    return std::any_of(done.entries.begin(), done.entries.end(), above) ||
           std::any_of(done.relinks.begin(), done.relinks.end(), above);
  }

  static bool may_be_in_new_table(const EntryPlace& entry, const Doubts& done) {
    const auto above = [&](const EntryPlace& at) { return is_below(entry, at); };
    return done.roots != 0 || std::any_of(done.links.begin(), done.links.end(), above) ||
           std::any_of(done.relinks.begin(), done.relinks.end(), above);
  }

  // That is empty, unless it took the place of a huge page, which may have been mapped by what was
  // lost as well: the first entry of the table that is seen tells of that, and the others of
  // nothing.
  size_t events_in_new_table(const EntryPlace& entry, const Doubts& done) {
    if (entry.level >= model::kMaxHugepageLevel || !may_be_of_split(entry)) {
      return events_to_use(entry);
    }
    const EntryPlace table = above(entry);
    const auto is_no_page = [&](uint64_t spte) {
      return !model::is_shadow_present_pte<>(spte) || !model::is_last_spte<>(spte, table.level);
    };
    if (!told_of(table).holds_all(until_, is_no_page)) return 1;
    const auto beside = [&](const EntryPlace& at) {
      return at.level == entry.level && above(at) == table;
    };
    if (std::any_of(done.entries.begin(), done.entries.end(), beside)) return 0;
    return std::min(events_to_use(entry), events_of_map(told_of(table)));
  }

  // make_huge_page_split_spte: gfn and page are congruent.
  bool may_be_of_split(const EntryPlace& entry) const {
    if (!seen_ || !model::is_shadow_present_pte<>(*seen_) ||
        !model::is_last_spte<>(*seen_, entry.level)) {
      return true;
    }
    const uint64_t low = model::pages_per_hpage(entry.level + 1) - 1;
    return ((model::spte_to_pfn<>(*seen_) ^ entry.gfn) & low) == 0;
  }

  // A map or a link; a huge page may have replaced a table.
  size_t events_to_use(const EntryPlace& entry) {
    const size_t map = events_of_map(told_of(entry));
    if (entry.level == 1) return map;
    const size_t link = events_of_link(entry);
    if (entry.level > model::kMaxHugepageLevel) return link;
    const bool leaf = seen_ && model::is_shadow_present_pte<>(*seen_) &&
                      model::is_last_spte<>(*seen_, entry.level);
    return std::min(map, leaf ? link + kEventsOfRecovery : link);
  }

  // `anew`: it may be an entry of a table that was linked for it.
  size_t events_of_change(const EntryPlace& entry, const Doubts& done, bool anew = false) {
    const size_t events = events_of_change_there(entry, done);
    if (!anew && !may_be_in_new_table(entry, done)) return events;
    return std::min(events, events_in_new_table(entry, done));
  }

  // A change of an entry, from what it held to what is seen.
  size_t events_of_change_there(const EntryPlace& entry, const Doubts& done) {
    const Told& told = told_of(entry);
    const bool all_empty =
        told.holds_all(until_, [](uint64_t spte) { return spte == model::kNonpresent; });
    if (all_empty && !told.values.format_known) return 1;
    if (!all_empty && in_removal(entry, done)) return 0;
    size_t least = SIZE_MAX;
    for (const Told::Value& v : told.there) {
      if (v.since <= until_) least = std::min(least, events_from(v.value.spte, entry, done));
    }
    return least == SIZE_MAX ? events_to_use(entry) : least;
  }

  size_t events_from(uint64_t spte, const EntryPlace& entry, const Doubts& done) {
    if (spte == model::kNonpresent) return events_to_use(entry);
    if (spte == kUnknownSpte || !model::is_shadow_present_pte<>(spte)) return 1;
    if (links_table(spte, entry.level)) return events_of_removal(entry, done);
    if (!seen_) return 1;
    const size_t zap = events_of_call(begun_of(told_of(entry)));
    if (!model::is_shadow_present_pte<>(*seen_)) return zap;
    if (!model::is_last_spte<>(*seen_, entry.level)) return events_of_link(entry);
    const bool same_page = model::spte_to_pfn<>(*seen_) == model::spte_to_pfn<>(spte);
    return same_page ? 1 : zap + events_of_map(told_of(entry));
  }

  // What may make an entry otherwise: a change of it, links from ever further above down to it, and
  // both.
  std::vector<Way> ways_to(const EntryPlace& entry, const Doubts& done) {
    std::vector<Way> ways;
    const bool doubted = is_in(done.entries, entry);
    const auto add = [&](Way way) {
      ways.push_back(way);
      if (doubted) return;
      way.entries.push_back(entry);
      way.of_entry = events_of_change(entry, done, true);
      way.events += way.of_entry;
      ways.push_back(std::move(way));
    };
    if (!doubted) {
      Way change;
      change.entries = {entry};
      change.events = change.of_entry = events_of_change(entry, done);
      ways.push_back(std::move(change));
    }
    Way way;
    for (EntryPlace at = above(entry); at.level <= kRootLevel; at = above(at)) {
      const bool linked = is_in(done.links, at) || is_in(done.relinks, at);
      way.links.insert(way.links.begin(), at);
      if (linked) {
        Way another = way;
        another.events += events_of_another(at, done);
        add(std::move(another));
        way.events += events_of_link(at);
        continue;
      }
      Way again = way;
      again.again = true;
      again.events += more_for_link(at, done, true);
      way.events += more_for_link(at, done, false);
      add(way);
      add(std::move(again));
    }
    way.root = true;
    way.events += size_t{2} - begun_of(told_of(entry)).init_sp;
    add(std::move(way));
    return ways;
  }

  // Is there one event that does all that is doubted? Only that of one entry, or of a root, is
  // tried.
  Answer shown(const Doubts& doubts) {
    std::set<EntryPlace> places(doubts.entries.begin(), doubts.entries.end());
    places.insert(doubts.links.begin(), doubts.links.end());
    places.insert(doubts.relinks.begin(), doubts.relinks.end());
    OneEvent one = OneEvent::kTooMany;
    if (doubts.roots != 0 && places.empty()) {
      one = one_root(recording_, tick_, tried_);
    } else if (doubts.roots == 0 && places.size() == 1) {
      one = one_event_at(recording_, *places.begin(), tick_, tried_);
    }
    found_ = one == OneEvent::kFound;
    return one == OneEvent::kNone ? Answer::kNone : Answer::kMayBe;
  }

  GappedRecording& recording_;
  size_t lost_;
  const std::function<bool()>& tick_;
  size_t replays_ = 0, tried_ = 0;
  size_t until_ = SIZE_MAX;       // position
  std::optional<uint64_t> seen_;  // what the entry that is otherwise must hold
  std::map<EntryPlace, size_t> counted_;
  std::map<EntryPlace, Told> told_;
  Lacking first_;
  bool found_ = false;
};

}  // namespace

std::optional<NoWay> no_way(GappedRecording& recording, size_t lost,
                            const std::function<bool()>& tick, size_t& replays, bool& found) {
  Ways ways(recording, lost, tick);
  const bool none = ways.start() == Ways::Answer::kNone;
  replays += ways.replays();
  found = ways.found();
  if (!none) return std::nullopt;
  NoWay no;
  no.first = ways.first();
  return no;
}

}  // namespace mmucheck::replay
