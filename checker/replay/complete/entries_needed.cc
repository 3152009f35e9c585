#include "checker/replay/complete/entries_needed.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "checker/replay/complete/one_event.h"
#include "checker/replay/tracepoint/entry_book.h"

namespace mmucheck::replay {

namespace {

constexpr int kRootLevel = 4;

// Something that lost events may have done: changes of an entry; links of tables from `links[0]`
// down, in a root that was made for it or in a table that was there, of which the entry was cut off
// before (`again`) or not.
struct Way {
  std::vector<EntryPlace> entries, links;
  bool root = false, again = false;
  bool another = false;  // one more table where one is in doubt already: not followed
  size_t events = 0;
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

bool links_table(uint64_t spte, int level) {
  return spte != kUnknownSpte && model::is_shadow_present_pte<>(spte) &&
         !model::is_last_spte<>(spte, level);
}

void append(Doubts& doubts, const Way& way) {
  doubts.entries.insert(doubts.entries.end(), way.entries.begin(), way.entries.end());
  doubts.root = doubts.root || way.root;
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
    for (Way& way : ways_to(*first->about, doubts)) {
      if (way.events > left) continue;
      if (way.another) return Answer::kMayBe;
      way.of = Way::Of{first->at, first->rule, *first->about};
      Doubts more = doubts;
      append(more, way);
      const Answer answer = any(more, way, left - way.events);
      if (answer == Answer::kMayBe) return answer;
    }
    return Answer::kNone;
  }

  const GappedRecording::Told& told_of(const EntryPlace& entry) {
    const auto it = told_.find(entry);
    return it != told_.end() ? it->second
                             : told_.emplace(entry, recording_.told_of(entry)).first->second;
  }

  // A change that is not made in place, by a call of handle_changed_spte.
  static size_t events_of_call(const GappedRecording::Told& told) {
    return size_t{2} - told.entered;
  }

  // The table that the entry links is cut off: its own change, and what is told of its removal.
  // What was counted of the entries below may be part of that.
  size_t events_of_removal(const EntryPlace& entry, const Doubts& done) {
    const GappedRecording::Told& told = told_of(entry);
    if (told.prepare_zap) return 1;
    size_t below = told.present == SIZE_MAX ? 0 : told.present;
    for (const auto* places : {&done.entries, &done.links, &done.relinks}) {
      for (const EntryPlace& at : *places) {
        if (is_below(at, entry)) below -= std::min(below, events_of_change(at, Doubts{}));
      }
    }
    return events_of_call(told) + 1 + below;
  }

  // A table where one is in doubt already: of another root, or the first is cut off again.
  size_t events_of_another(const EntryPlace& entry, const Doubts& done) {
    const GappedRecording::Told& told = told_of(entry);
    const bool one = told.tables + done.root <= 1;
    return events_of_link(entry) + (one ? events_of_call(told) + !told.prepare_zap : 0);
  }

  size_t events_of_link(const EntryPlace& entry) {
    const GappedRecording::Told& told = told_of(entry);
    return events_of_call(told) + (told.get_page ? 0 : size_t{2} - told.init_sp);
  }

  static size_t events_of_map(const GappedRecording::Told& told) {
    const size_t fault = told.request ? 0 : size_t{3} - told.tdp_map - told.iter_start;
    return events_of_call(told) + fault + !told.set_spte;
  }

  // The same, where a change of the entry may have been counted already.
  size_t more_for_link(const EntryPlace& entry, const Doubts& done, bool again) {
    const size_t events = events_of_link(entry) + (again ? events_of_removal(entry, done) : 0);
    const size_t counted = is_in(done.entries, entry) ? events_of_change(entry, Doubts{}) : 0;
    return events - std::min(events, counted);
  }

  // May its change be part of a removal that was counted?
  static bool in_removal(const EntryPlace& entry, const Doubts& done) {
    const auto above = [&](const EntryPlace& at) { return is_below(entry, at); };
    return std::any_of(done.entries.begin(), done.entries.end(), above) ||
           std::any_of(done.relinks.begin(), done.relinks.end(), above);
  }

  // A change of an entry: of one that is empty a map or a link, of a table a removal.
  size_t events_of_change(const EntryPlace& entry, const Doubts& done) {
    const GappedRecording::Told& told = told_of(entry);
    bool all_empty = true, all_tables = !told.there.empty();
    for (const auto& there : told.there) {
      all_empty = all_empty && there.spte == model::kNonpresent;
      all_tables = all_tables && links_table(there.spte, entry.level);
    }
    if (!all_empty && in_removal(entry, done)) return 0;
    if (all_tables) return events_of_removal(entry, done);
    if (!all_empty || !told.values.format_known) return 1;
    const size_t map = events_of_map(told);
    if (entry.level == 1) return map;
    return entry.level > model::kMaxHugepageLevel ? events_of_link(entry)
                                                  : std::min(map, events_of_link(entry));
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
      way.events += events_of_change(entry, done);
      ways.push_back(std::move(way));
    };
    if (!doubted) {
      Way change;
      change.entries = {entry};
      change.events = events_of_change(entry, done);
      ways.push_back(std::move(change));
    }
    Way way;
    for (EntryPlace at = above(entry); at.level <= kRootLevel; at = above(at)) {
      if (is_in(done.links, at) || is_in(done.relinks, at)) {
        if (!way.links.empty()) add(way);
        way.another = true;
        way.events = events_of_another(at, done);
        ways.push_back(std::move(way));
        return ways;
      }
      way.links.insert(way.links.begin(), at);
      Way again = way;
      again.again = true;
      again.events += more_for_link(at, done, true);
      way.events += more_for_link(at, done, false);
      add(way);
      add(std::move(again));
    }
    way.root = true;
    way.events += size_t{2} - told_of(entry).init_sp;
    way.another = done.root;
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
    if (doubts.root && places.empty()) {
      one = one_root(recording_, tick_, tried_);
    } else if (!doubts.root && places.size() == 1) {
      one = one_event_at(recording_, *places.begin(), tick_, tried_);
    }
    found_ = one == OneEvent::kFound;
    return one == OneEvent::kNone ? Answer::kNone : Answer::kMayBe;
  }

  GappedRecording& recording_;
  size_t lost_;
  const std::function<bool()>& tick_;
  size_t replays_ = 0, tried_ = 0;
  std::map<EntryPlace, GappedRecording::Told> told_;
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
