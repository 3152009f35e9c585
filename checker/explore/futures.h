// Layer: checker/explore. Contract: what threads can still touch, learned place by place, and which
// thread may therefore be run alone: the part of partial order reduction that is the same for step
// machines over numbered cells (reduction.h) and for those of a scenario (thread_futures.h).
//
// A *place* is where a thread is in its program. Of each are known what its steps, those that wait
// too, have touched, and the places they led to; the future of a place is all that it and the
// places behind it touch. A search that reduces by futures and sees steps that they lack proves
// nothing: it is repeated with all that is known by then.
//
// Futures come in kinds: those of kind 0 are all that a thread can do, those of another kind what
// it can do while somebody keeps it from some steps; of a step that is barred only what it looks at
// belongs to the future then, and nothing behind it.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "checker/explore/search.h"

namespace mmucheck::explore {

// `Touched` has join(x), true when that made it larger, for another one and for what learn() is
// given.
template <class Touched, unsigned Kinds = 1>
class Futures {
 public:
  using Place = uint32_t;

  // A step at `place` that led to `to` (itself where it waited). Bit k of `barred`: not while kind
  // k keeps it; `looked` is what it touches then. True when that is news; the places before it have
  // it from the next close() on.
  template <class T>
  bool learn(Place place, const T& touched, Place to, unsigned barred, const T& looked) {
    grow(std::max(place, to));
    bool news = false;
    places_[place].own.join(touched);
    for (unsigned k = 0; k < Kinds; k++) {
      news |= places_[place].future[k].join((barred >> k & 1) != 0 ? looked : touched);
    }
    return lead(place, to, barred) || news;
  }
  template <class T>
  bool learn(Place place, const T& touched, Place to) {
    return learn(place, touched, to, 0, touched);
  }
  // Would learn() add nothing to what the place can do and where it leads?
  template <class T>
  bool knows(Place place, const T& touched, Place to) const {
    Touched known = future(place);
    return !known.join(touched) && place < places_.size() &&
           std::any_of(places_[place].to.begin(), places_[place].to.end(),
                       [&](const Edge& e) { return e.other == to && e.barred == 0; });
  }
  // All that another one has learned, of other places: place(p), touching as(touched).
  template <class PlaceOf, class As>
  bool join(const Futures& o, const PlaceOf& place, const As& as) {
    bool news = false;
    for (Place p = 0; p < o.places_.size(); p++) {
      const Place to = place(p);
      grow(to);
      places_[to].own.join(as(o.places_[p].own));
      for (unsigned k = 0; k < Kinds; k++) {
        news |= places_[to].future[k].join(as(o.places_[p].future[k]));
      }
      for (const Edge& e : o.places_[p].to) {
        grow(place(e.other));
        news |= lead(to, place(e.other), e.barred);
      }
    }
    return news;
  }
  bool join(const Futures& o) {
    return join(o, [](Place p) { return p; }, [](const Touched& t) -> const Touched& { return t; });
  }
  // What a place can do, those before it can. Places that are behind others have the higher numbers
  // mostly. True when that was news.
  bool close() {
    bool news = false;
    for (bool more = true; more;) {
      more = false;
      for (size_t p = places_.size(); p-- > 0;) more |= close(places_[p]);
      news |= more;
    }
    closed_ = edges_;
    return news;
  }
  uint64_t edges() const { return edges_; }
  uint64_t closed() const { return closed_; }  // edges, when it was
  const Touched& own(Place p) const { return p < places_.size() ? places_[p].own : nothing_; }
  const Touched& future(Place p, unsigned kind = 0) const {
    return p < places_.size() ? places_[p].future[kind] : nothing_;
  }

 private:
  struct Edge {
    Place other;
    unsigned barred;
  };
  struct At {
    Touched own;  // of its steps alone
    std::array<Touched, Kinds> future;
    std::vector<Edge> to;
  };

  void grow(Place p) {
    if (p >= places_.size()) places_.resize(p + 1);
  }
  bool lead(Place place, Place to, unsigned barred) {
    for (const Edge& e : places_[place].to) {
      if (e.other == to && e.barred == barred) return false;
    }
    places_[place].to.push_back({to, barred});
    edges_++;
    return true;
  }
  bool close(At& at) {
    bool more = false;
    for (unsigned k = 0; k < Kinds; k++) {
      for (const Edge& e : at.to) {
        if ((e.barred >> k & 1) == 0) more |= at.future[k].join(places_[e.other].future[k]);
      }
    }
    return more;
  }

  std::vector<At> places_;
  uint64_t edges_ = 0, closed_ = 0;
  Touched nothing_{};
};

// The first thread that may be run alone, if one may: `moves` says of a thread whether its next
// steps can be taken and break nothing that is looked at (may_go(t)), whether they conflict with
// what another one can still do (conflict(t, other)), and whether one of them leads to a state that
// was not known when the level began (leads_on(t)): else what the others do could be put off for
// ever. `proviso`: what the tests leave out.
template <class Moves>
std::optional<unsigned> thread_to_run_alone(unsigned threads, Moves&& moves, bool proviso = true) {
  for (unsigned t = 0; t < threads; t++) {
    if (!moves.may_go(t)) continue;
    bool free = true;
    for (unsigned o = 0; o < threads && free; o++) free = o == t || !moves.conflict(t, o);
    if (free && (!proviso || moves.leads_on(t))) return t;
  }
  return std::nullopt;
}

// When a search that proves nothing is better begun anew: it has come to twice as many states as
// when it last saw something new, so most that there is to be seen is known.
class InVain {
 public:
  void begin() { last_.reset(); }
  void news() { fresh_ = true; }  // since the last block
  // Behind a block, by when there are so many states.
  bool behind_block(uint64_t states) {
    if (std::exchange(fresh_, false)) last_ = states;
    return last_ && states / 2 >= std::max(*last_, kWorthIt);
  }

 private:
  static constexpr uint64_t kWorthIt = 10'000;
  bool fresh_ = false;
  std::optional<uint64_t> last_;
};

template <class System>
using Behind =
    std::function<void(const Search<System>&, const SearchResult<typename System::State>&)>;

// Searches until nothing new is seen, or something is found that needs no more. `wrong`: what a
// system says of a reduction that is, which is no news where it knew too little. `behind` is called with
// each search before it goes, but for those that were given up.
template <class System>
SearchResult<typename System::State> reduced_search(System& system, const SearchBounds& bounds,
                                            const SearchTick& tick = {},
                                            unsigned wrong = kNothing,
                                            const std::type_identity_t<Behind<System>>& behind = {}) {
  for (;;) {
    // Workers tell what they have seen as they end, with the search.
    auto search = std::make_unique<Search<System>>(system, bounds);
    SearchResult<typename System::State> r = search->run(tick);
    const bool in_vain = r.bound == kInVain;
    if (behind && !in_vain) behind(*search, r);
    search.reset();
    const bool stopped = !r.bound.empty() && r.bound != "max-depth" && !in_vain;
    // A path is a path.
    const bool found =
        !bounds.all && !r.violations.empty() && r.violations.front().property != wrong;
    if (!system.must_repeat() || stopped || found) return r;
  }
}

}  // namespace mmucheck::explore
