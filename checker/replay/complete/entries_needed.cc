#include "checker/replay/complete/entries_needed.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>
#include <utility>
#include <vector>

#include "checker/replay/complete/event_costs.h"
#include "checker/replay/complete/lost_by_cpu.h"
#include "checker/replay/complete/one_event.h"
#include "checker/replay/tracepoint/entry_book.h"

namespace mmucheck::replay {

namespace {

// Something that lost events may have done: changes of an entry; links of tables from `links[0]`
// down, in a root that was made for it or in a table that was there, of which the entry was cut off
// before (`again`) or not.
struct Way {
  std::vector<EntryPlace> entries, links;
  bool root = false, again = false;
  bool split = false;  // the lowest table took the place of a huge page that what was lost mapped
  size_t events = 0;
  size_t of_entry = 0;  // of these, the change of the entry
  // And what of that was lost on one CPU each; what a fault takes besides.
  struct Together {
    LostTogether lost;
    size_t of_fault = 0;
  };
  std::vector<Together> together;
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

void append(Doubts& doubts, const Way& way) {
  doubts.entries.insert(doubts.entries.end(), way.entries.begin(), way.entries.end());
  doubts.roots += way.root;
  for (size_t i = 0; i < way.links.size(); i++) {
    (way.again && i == 0 ? doubts.relinks : doubts.links).push_back(way.links[i]);
  }
  if (way.split) doubts.splits.push_back(way.links.back());
  // A table is linked in one that is there.
  std::sort(doubts.links.begin(), doubts.links.end(),
            [](const EntryPlace& a, const EntryPlace& b) { return a.level > b.level; });
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

// Until which position, how many lost events.
using Taken = std::vector<std::pair<size_t, size_t>>;

// What was in doubt already, in another order, and with how many events left.
class SeenDoubts {
 public:
  // With more of them now? Notes it.
  bool exceeds(const Doubts& doubts, const CountedChanges& counted, Taken taken, size_t left) {
    std::sort(taken.begin(), taken.end());
    const auto sorted = [](std::vector<EntryPlace> places) {
      std::sort(places.begin(), places.end());
      return places;
    };
    Key key{
        sorted(doubts.links), sorted(doubts.relinks), sorted(doubts.splits), doubts.roots, counted,
        std::move(taken)};
    const auto [it, first] = left_.try_emplace(std::move(key), left);
    return first || left > std::exchange(it->second, std::max(it->second, left));
  }

 private:
  using Places = std::vector<EntryPlace>;
  using Key = std::tuple<Places, Places, Places, size_t, CountedChanges, Taken>;
  std::map<Key, size_t> left_;
};

class Ways {
 public:
  Ways(GappedRecording& recording, size_t lost, const std::function<bool()>& tick)
      : recording_(recording), lost_(lost), tick_(tick), costs_(recording) {}

  enum class Answer : uint8_t { kNone, kMayBe };

  // With nothing but threads in doubt. A lost event may have told which bit of a gfn tells shared
  // from private; what is told behind it must contradict then, too.
  Answer start() {
    const Attempt told = recording_.replay(Doubts{});
    Doubts known;
    known.direct_bits = told.direct_bits;
    if (told.findings.empty() || recording_.replay(known).findings.empty()) return Answer::kMayBe;
    if (told.root_level != EventCosts::kRootLevel) return Answer::kMayBe;
    first_ = *first_of(told);
    surely_lost_ = recording_.surely_lost();
    gaps_ = recording_.gap_begins();
    lost_by_cpu_ = recording_.lost_by_cpu();
    replays_ += 3;
    return any(Doubts{}, {}, lost_);
  }

  const Lacking& first() const { return first_; }
  size_t replays() const { return replays_ + tried_; }
  const MaybeWay& maybe() const { return maybe_; }

 private:
  // Does what is doubted, and one of the ways from there on with the events that are left, hold?
  Answer any(const Doubts& doubts, const Way& last, size_t left) {
    if (events_surely_lost(doubts) > left) return Answer::kNone;
    if (++replays_ > kMaxWays || replays_ * recording_.size() > kMaxEventsOfWays ||
        (tick_ && !tick_())) {
      return Answer::kMayBe;
    }
    const Attempt attempt = recording_.replay(doubts);
    const Lacking* first = first_of(attempt);
    if (first == nullptr) {
      maybe_.holds = doubts;
      maybe_.before = costs_.asked.until;
      maybe_.vm = costs_.asked.vm;
      const Answer answer = shown(doubts);
      return lost_ == 1 ? answer : Answer::kMayBe;
    }
    // What was to help did not.
    if (!first->about || (last.of && *last.of == *first)) return Answer::kNone;
    if (more_than(left, attempt, doubts)) return Answer::kNone;
    if (!seen_doubts_.exceeds(doubts, costs_.counted, taken_, left)) return Answer::kNone;
    // What was to make it otherwise came before.
    const Asked asked = asked_in(*first);
    costs_.asked = asked;
    for (Way& way : ways_to(*first->about, doubts)) {
      const CountedChanges counted = costs_.counted;
      for (const EntryPlace& entry : way.entries) costs_.counted[entry] = {way.of_entry, asked};
      if (way.again) way.events += more_behind_removal(way, doubts);
      if (way.events <= left && in_time(asked.until, way.events) &&
          fits(way, lost_ - left + way.events)) {
        way.of = Way::Of{first->at, first->rule, *first->about};
        Doubts more = doubts;
        append(more, way);
        taken_.emplace_back(asked.until, way.events);
        together_.insert(together_.end(), way.together.begin(), way.together.end());
        const Answer answer = any(more, way, left - way.events);
        taken_.pop_back();
        together_.resize(together_.size() - way.together.size());
        if (answer == Answer::kMayBe) return answer;
      }
      costs_.counted = counted;
      costs_.asked = asked;
    }
    return Answer::kNone;
  }

  // Does it take more than `left` events to change the entries, besides those in doubt, that lost
  // events must have changed? One is such that is read as a page, and was something else as far as
  // is told, in whichever table, unless that took the place of a huge page. What is told of two
  // tables as if they were one contradicts first where an empty entry is read.
  bool more_than(size_t left, const Attempt& attempt, const Doubts& doubts) {
    // What is told of one may not name its address space.
    std::set<std::pair<int, uint64_t>> looked_at;
    for (const EntryPlace& entry : doubts.entries) looked_at.emplace(entry.level, entry.gfn);
    std::vector<std::pair<EntryPlace, Asked>> changed;
    for (const Lacking& l : attempt.findings) {
      if (l.rule != TpRule::kChain || !l.about) continue;
      if (!looked_at.emplace(l.about->level, l.about->gfn).second) continue;
      costs_.asked = asked_in(l);
      if (l.seen && maps_page(*l.seen, l.about->level) && !costs_.may_be_of_split(*l.about)) {
        changed.emplace_back(*l.about, costs_.asked);
      }
    }
    if (changed.size() > left) return true;
    if (changed.size() * EventCosts::kMostOfMap <= left) return false;
    size_t events = 0;
    for (const auto& [entry, asked] : changed) {
      costs_.asked = asked;
      events += std::max(costs_.of_change(entry, doubts, true), size_t{1});
      if (events > left) return true;
    }
    return false;
  }

  static Asked asked_in(const Lacking& l) {
    return {std::max(l.at, l.until), l.seen, l.vm, l.table};
  }

  // Entries whose change was counted as if their table had stayed are read in the next one: what it
  // takes to use them there is more. Counts it.
  size_t more_behind_removal(const Way& way, const Doubts& doubts) {
    Doubts with = doubts;
    append(with, way);
    const Asked asked_now = costs_.asked;
    size_t more = 0;
    for (auto& [entry, counted] : costs_.counted) {
      costs_.asked = counted.asked;
      if (!is_below(entry, way.links.front()) || !costs_.is_in_next_table(entry, with)) continue;
      const size_t events = costs_.of_change(entry, with);
      if (events <= counted.events) continue;
      more += events - counted.events;
      counted.events = events;
    }
    costs_.asked = asked_now;
    return more;
  }

  // Were so many lost before what is to be explained, and before what was explained until now?
  bool in_time(size_t until_now, size_t events) const {
    Taken taken = taken_;
    taken.emplace_back(until_now, events);
    std::sort(taken.begin(), taken.end());
    size_t sum = 0;
    for (const auto& [until, n] : taken) {
      sum += n;
      size_t lost = 0;
      for (const auto& [begin, count] : gaps_) lost += begin < until ? count : 0;
      if (sum > lost) return false;
    }
    return true;
  }

  // `events` in all, the way's among them.
  bool fits(const Way& way, size_t events) const {
    if (lost_by_cpu_.empty()) return true;
    std::vector<LostTogether> together;
    size_t others = events, of_fault = SIZE_MAX;
    for (const auto* ops : {&together_, &way.together}) {
      for (const Way::Together& op : *ops) {
        together.push_back(op.lost);
        others -= std::min(others, op.lost.events);
        if (op.lost.fault == LostTogether::Fault::kNeeds)
          of_fault = std::min(of_fault, op.of_fault);
      }
    }
    return fits_cpus(lost_by_cpu_, std::move(together), of_fault, others);
  }

  size_t events_surely_lost(const Doubts& doubts) {
    return surely_lost_.events(doubts, [&](const EntryPlace& entry) {
      const size_t below = costs_.counted_below(entry);
      return is_in(doubts.relinks, entry) ? below : std::min(below, costs_.counted_of(entry));
    });
  }

  Way::Together link_together(const EntryPlace& entry) {
    using Fault = LostTogether::Fault;
    return {{costs_.of_link(entry), costs_.is_in_fault(entry) ? Fault::kNeeds : Fault::kNone},
            costs_.of_fault(entry)};
  }

  Way::Together map_together(const EntryPlace& entry) {
    return {{costs_.of_map(entry), LostTogether::Fault::kMakes}, 0};
  }

  // What may make an entry otherwise: a change of it, links from ever further above down to it, and
  // both.
  std::vector<Way> ways_to(const EntryPlace& entry, const Doubts& done) {
    std::vector<Way> ways;
    const bool doubted = is_in(done.entries, entry);
    const auto add = [&](Way way) {
      ways.push_back(way);
      if (entry.level < model::kMaxHugepageLevel && costs_.may_be_of_split(entry)) {
        Way split = way;
        split.split = true;
        for (Way::Together& op : split.together) op.lost.fault = LostTogether::Fault::kNone;
        split.events += costs_.of_split(above(entry));
        ways.push_back(std::move(split));
      }
      if (doubted) return;
      way.entries.push_back(entry);
      way.of_entry = costs_.of_change(entry, done, true);
      way.events += way.of_entry;
      if (costs_.is_map(entry, way.of_entry)) way.together.push_back(map_together(entry));
      ways.push_back(std::move(way));
    };
    if (!doubted) {
      Way change;
      change.entries = {entry};
      change.events = change.of_entry = costs_.of_change(entry, done);
      if (costs_.is_map(entry, change.of_entry)) change.together.push_back(map_together(entry));
      ways.push_back(std::move(change));
    }
    Way way;
    for (EntryPlace at = above(entry); at.level <= EventCosts::kRootLevel; at = above(at)) {
      const bool linked = is_in(done.links, at) || is_in(done.relinks, at);
      way.links.insert(way.links.begin(), at);
      if (linked) {
        Way another = way;
        another.events += costs_.of_another(at, done);
        add(std::move(another));
        way.events += costs_.of_link(at);
        continue;
      }
      Way again = way;
      again.again = true;
      again.events += costs_.of_link(at, done, true);
      way.events += costs_.of_link(at, done, false);
      if (costs_.counted_of(at) == 0) way.together.push_back(link_together(at));
      if (costs_.may_be_linked(at, done)) add(way);
      add(std::move(again));
    }
    way.root = true;
    const size_t of_root = costs_.of_root(entry);
    way.events += of_root;
    way.together.push_back({{of_root, LostTogether::Fault::kNone}, 0});
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
    maybe_.found = one == OneEvent::kFound;
    return one == OneEvent::kNone ? Answer::kNone : Answer::kMayBe;
  }

  GappedRecording& recording_;
  size_t lost_;
  const std::function<bool()>& tick_;
  size_t replays_ = 0, tried_ = 0;
  EventCosts costs_;
  SeenDoubts seen_doubts_;
  SurelyLost surely_lost_;
  std::vector<std::pair<size_t, size_t>> gaps_;  // where they begin (position), lost events
  Taken taken_;
  std::vector<size_t> lost_by_cpu_;      // empty: not told
  std::vector<Way::Together> together_;  // of what is in doubt
  Lacking first_;
  MaybeWay maybe_;
};

}  // namespace

std::optional<NoWay> no_way(GappedRecording& recording, size_t lost,
                            const std::function<bool()>& tick, size_t& replays, MaybeWay& maybe) {
  Ways ways(recording, lost, tick);
  const bool none = ways.start() == Ways::Answer::kNone;
  replays += ways.replays();
  maybe = ways.maybe();
  if (!none) return std::nullopt;
  NoWay no;
  no.first = ways.first();
  return no;
}

}  // namespace mmucheck::replay
