// Layer: checker/explore. Contract: what exchanging two threads makes of states of lanes (lanes.h),
// and the one of all permuted states that is kept.
//
// What an exchange makes of a content is not computed from its bytes, it is told: whoever runs a
// step runs it with the threads exchanged, too, and tells that what the one stored is what the
// other stored (define()). A content that would become two others, or two that would become one,
// shows that the threads are not interchangeable: failed(). Exchanges of neighbours in a group make
// all of its permutations.
//
// Of the permuted states the one is kept in which the threads of each group are in the order of
// labels (the least hash that permutations make of what a thread holds), and of several such the
// one with the least hash. No content's number matters, these are by who came first.
//
// define() locks; whatever else is asked at the same time sees what was told, or nothing yet.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <utility>
#include <vector>

#include "checker/explore/doubling_chunks.h"
#include "checker/explore/lanes.h"

namespace mmucheck::explore {

template <unsigned N>
class LaneSymmetry {
 public:
  using State = LaneState<N>;
  using Id = uint32_t;
  using Groups = std::vector<std::vector<unsigned>>;  // of threads: the first lanes
  static constexpr unsigned kMostExchanges = 7;
  // Lanes that belong to threads besides: `each` of them to every one, from `first` on.
  struct OwnLanes {
    unsigned first = 0, each = 0;
  };
  struct Exchange {
    unsigned a = 0, b = 0;          // threads
    std::array<uint8_t, N> lane{};  // what is in lane i goes to
  };
  struct Content {
    unsigned lane;
    Id id;
    uint64_t adds;  // to the hash of a state (hash_in_lane)
  };

  // Where an exchange puts a lane is known, of contents only that the first one of each lane, its
  // number 0, becomes the first one (`adds`, by lane): the first state is its own image.
  void start(const Groups& groups, const OwnLanes& own, const std::vector<uint64_t>& adds) {
    groups_ = groups;
    lanes_ = static_cast<unsigned>(adds.size());
    for (const auto& group : groups) {
      for (size_t i = 1; i < group.size(); i++)
        exchanges_.push_back(made(group[i - 1], group[i], own));
    }
    for (unsigned e = 0; e < exchanges_.size(); e++) {
      for (unsigned lane = 0; lane < lanes_; lane++) {
        const unsigned to = exchanges_[e].lane[lane];
        define(e, {lane, 0, adds[lane]}, {to, 0, adds[to]});
      }
    }
  }

  bool any() const { return !exchanges_.empty(); }
  unsigned exchanges() const { return static_cast<unsigned>(exchanges_.size()); }
  const Exchange& exchange(unsigned e) const { return exchanges_[e]; }
  unsigned lane(unsigned e, unsigned of) const { return exchanges_[e].lane[of]; }

  // --- what exchanges make of contents ---
  std::optional<Id> image(unsigned e, unsigned lane, Id id) const {
    const Entry* const entry = find(lane, id);
    const uint32_t v = entry == nullptr ? 0 : entry->image[e].load(std::memory_order_acquire);
    return v == 0 ? std::nullopt : std::optional<Id>(v - 1);
  }
  // `to` is in the lane where the exchange puts `from`, and the other way round. False: one of them
  // is something else's already.
  bool define(unsigned e, const Content& from, const Content& to) {
    const std::lock_guard<std::mutex> hold(lock_);
    Entry& x = entry(from);
    Entry& y = entry(to);
    const uint32_t of_x = x.image[e].load(std::memory_order_relaxed);
    const uint32_t of_y = y.image[e].load(std::memory_order_relaxed);
    if (of_x != 0 || of_y != 0) return of_x == to.id + 1 && of_y == from.id + 1;
    x.image[e].store(to.id + 1, std::memory_order_release);
    y.image[e].store(from.id + 1, std::memory_order_release);
    return true;
  }
  // The threads are not interchangeable.
  void fail(unsigned e) const { failed_.fetch_or(1u << e, std::memory_order_relaxed); }
  uint32_t failed() const { return failed_.load(std::memory_order_relaxed); }  // a bit each

  // --- of states ---
  // False: of a content it is not known yet.
  bool apply(unsigned e, const State& s, State& to) const {
    to = s;
    const Exchange& x = exchanges_[e];
    for (unsigned lane = 0; lane < lanes_; lane++) {
      const unsigned there = x.lane[lane];
      Id id = 0;
      if (s.lanes[lane] != 0) {
        const auto known = image(e, lane, s.lanes[lane]);
        if (!known) return false;
        id = *known;
      }
      if (id == s.lanes[there]) continue;
      if (!image(e, there, s.lanes[there])) return false;  // nothing was told of it, its hash neither
      to.hash += adds(there, id) - adds(there, s.lanes[there]);
      to.lanes[there] = id;
    }
    return true;
  }
  // Makes it the one that is kept, and says how many different states it is kept for. `images`:
  // where it may work.
  uint64_t canonical(State& s, std::vector<State>& images) const;
  // That and all the others.
  std::vector<State> images(const State& s) const {
    std::vector<State> all = {s};
    std::vector<unsigned> each(exchanges());
    for (unsigned e = 0; e < each.size(); e++) each[e] = e;
    close(all, each);
    return all;
  }

  // Where threads go, by thread, in all permutations that make `kept` of `s`, which is kept for it.
  using Permutation = std::array<uint8_t, kMostExchanges + 1>;
  std::vector<Permutation> ways_to(const State& s, const State& kept) const;

  // --- while nobody works ---
  uint64_t memory() const { return memory_; }
  // Exchanges are permutations of what is known: those of three neighbours, and those that have no
  // thread in common, do the same in either order that does.
  bool consistent() const;

 private:
  using Chunked = DoublingChunks<5>;
  static constexpr unsigned kChunks = 27;
  struct Entry {                                                // of a content
    std::array<std::atomic<uint32_t>, kMostExchanges> image{};  // + 1; 0: not known
    uint64_t adds = 0;
    mutable std::atomic<uint64_t> label{0};  // 0: not asked for yet
  };
  struct Chunks {
    std::array<std::atomic<Entry*>, kChunks> at{};
    std::array<std::unique_ptr<Entry[]>, kChunks> owned;
  };

  Exchange made(unsigned a, unsigned b, const OwnLanes& own) const {
    Exchange x{a, b, {}};
    for (unsigned lane = 0; lane < N; lane++) x.lane[lane] = static_cast<uint8_t>(lane);
    std::swap(x.lane[a], x.lane[b]);
    for (unsigned i = 0; i < own.each; i++) {
      std::swap(x.lane[own.first + a * own.each + i], x.lane[own.first + b * own.each + i]);
    }
    return x;
  }

  const Entry* find(unsigned lane, Id id) const {
    const unsigned chunk = Chunked::chunk_of(id);
    const Entry* const entries = contents_[lane].at[chunk].load(std::memory_order_acquire);
    return entries == nullptr ? nullptr : entries + Chunked::in_chunk(id, chunk);
  }
  Entry& entry(const Content& c) {
    const unsigned chunk = Chunked::chunk_of(c.id);
    Chunks& of = contents_[c.lane];
    if (of.owned[chunk] == nullptr) {
      const size_t n = Chunked::size(chunk);
      of.owned[chunk] = std::make_unique<Entry[]>(n);
      memory_ += n * sizeof(Entry);
      of.at[chunk].store(of.owned[chunk].get(), std::memory_order_release);
    }
    Entry& e = of.owned[chunk][Chunked::in_chunk(c.id, chunk)];
    if (e.adds == 0) e.adds = c.adds;
    return e;
  }
  uint64_t adds(unsigned lane, Id id) const { return find(lane, id)->adds; }

  uint64_t label(unsigned lane, Id id) const;
  template <class Swap, class Behind>
  bool sort_by_labels(const State& s, const Swap& swap, const Behind& behind) const;
  // All that exchanges of `by` make of what is there already.
  void close(std::vector<State>& all, const std::vector<unsigned>& by) const {
    State to;
    for (size_t i = 0; i < all.size(); i++) {
      for (const unsigned e : by) {
        if (apply(e, all[i], to) && std::find(all.begin(), all.end(), to) == all.end()) {
          all.push_back(to);
        }
      }
    }
  }
  bool less(const State& a, const State& b) const {
    if (a.hash != b.hash) return a.hash < b.hash;
    for (unsigned lane = 0; lane < lanes_; lane++) {
      if (a.lanes[lane] != b.lanes[lane]) {
        return adds(lane, a.lanes[lane]) < adds(lane, b.lanes[lane]);
      }
    }
    return false;
  }

  Groups groups_;
  unsigned lanes_ = 0;
  std::vector<Exchange> exchanges_;  // group by group, neighbours in the order of the group
  mutable std::mutex lock_;
  std::array<Chunks, N> contents_;
  uint64_t memory_ = 0;
  mutable std::atomic<uint32_t> failed_{0};
};

template <unsigned N>
uint64_t LaneSymmetry<N>::label(unsigned lane, Id id) const {
  const Entry* const entry = find(lane, id);
  if (entry == nullptr) return 0;
  const uint64_t known = entry->label.load(std::memory_order_relaxed);
  if (known != 0) return known;
  std::vector<std::pair<unsigned, Id>> all = {{lane, id}};
  uint64_t least = ~uint64_t{0};
  for (size_t i = 0; i < all.size(); i++) {
    const auto [of, what] = all[i];
    least = std::min(least, adds(of, what));
    for (unsigned e = 0; e < exchanges(); e++) {
      const auto to = image(e, of, what);
      if (!to) continue;
      const std::pair<unsigned, Id> there{exchanges_[e].lane[of], *to};
      if (std::find(all.begin(), all.end(), there) == all.end()) all.push_back(there);
    }
  }
  least |= 1;
  entry->label.store(least, std::memory_order_relaxed);
  return least;
}

// Puts the threads of each group in the order of their labels: swap(e) makes of `s` its image; false:
// there is none. Then, of each thread but the first, the i-th of its group, behind(i, e, tie): e
// exchanges it with the one before, which has an equal label where that is a tie.
template <unsigned N>
template <class Swap, class Behind>
bool LaneSymmetry<N>::sort_by_labels(const State& s, const Swap& swap,
                                     const Behind& behind) const {
  unsigned first = 0;  // exchange of the group
  for (const auto& group : groups_) {
    std::array<uint64_t, kMostExchanges + 1> labels;
    for (unsigned i = 0; i < group.size(); i++) {
      labels[i] = label(group[i], s.lanes[group[i]]);
      for (unsigned j = i; j > 0 && labels[j - 1] > labels[j]; j--) {
        if (!swap(first + j - 1)) return false;
        std::swap(labels[j - 1], labels[j]);
      }
    }
    for (unsigned i = 1; i < group.size(); i++) {
      behind(i, first + i - 1, labels[i] == labels[i - 1]);
    }
    first += static_cast<unsigned>(group.size()) - 1;
  }
  return true;
}

template <unsigned N>
uint64_t LaneSymmetry<N>::canonical(State& s, std::vector<State>& images) const {
  uint64_t like = 1;
  std::array<unsigned, kMostExchanges> ties;
  size_t n_ties = 0;
  State to;
  const auto exchange = [&](unsigned e) {
    if (!apply(e, s, to)) return false;
    s = to;
    return true;
  };
  unsigned run = 1;  // of equal labels
  // Permutations of the group, less those among equal labels, which are counted below.
  const auto behind = [&](unsigned i, unsigned e, bool tie) {
    like *= i + 1;
    run = !tie ? 1 : i == 1 ? 2 : run + 1;
    like /= run;
    if (tie) ties[n_ties++] = e;
  };
  if (!sort_by_labels(s, exchange, behind)) return 1;
  if (n_ties == 0) return like;
  images.assign(1, s);
  close(images, {ties.begin(), ties.begin() + n_ties});
  s = *std::min_element(images.begin(), images.end(),
                        [this](const State& a, const State& b) { return less(a, b); });
  return like * images.size();
}

// Sorted by their labels threads stand where they do in `kept`, but for those of equal labels.
template <unsigned N>
auto LaneSymmetry<N>::ways_to(const State& s, const State& kept) const
    -> std::vector<Permutation> {
  struct Way {
    State at;
    Permutation to{};  // by thread
  };
  const auto follow = [this](Way w, unsigned e) {
    State to;
    if (!apply(e, w.at, to)) throw std::logic_error("a state has no image");
    w.at = to;
    for (uint8_t& t : w.to) t = t < lanes_ ? exchanges_[e].lane[t] : t;
    return w;
  };
  Way first{s};
  for (uint8_t t = 0; t < first.to.size(); t++) first.to[t] = t;
  std::vector<unsigned> ties;
  const auto exchange = [&](unsigned e) {
    first = follow(first, e);
    return true;
  };
  sort_by_labels(first.at, exchange, [&](unsigned, unsigned e, bool tie) {
    if (tie) ties.push_back(e);
  });
  std::vector<Way> all = {first};
  for (size_t i = 0; i < all.size(); i++) {
    for (const unsigned tie : ties) {
      const Way next = follow(all[i], tie);
      if (std::none_of(all.begin(), all.end(), [&](const Way& w) { return w.to == next.to; })) {
        all.push_back(next);
      }
    }
  }
  std::vector<Permutation> ways;
  for (const Way& w : all) {
    if (w.at == kept) ways.push_back(w.to);
  }
  return ways;
}

template <unsigned N>
bool LaneSymmetry<N>::consistent() const {
  const auto same = [this](unsigned lane, Id id, const std::vector<unsigned>& one,
                           const std::vector<unsigned>& other) {
    const auto along = [&](const std::vector<unsigned>& way) {
      std::optional<std::pair<unsigned, Id>> at = {{lane, id}};
      for (const unsigned e : way) {
        const auto to = image(e, at->first, at->second);
        if (!to) return std::optional<std::pair<unsigned, Id>>();
        at = {exchanges_[e].lane[at->first], *to};
      }
      return at;
    };
    const auto a = along(one), b = along(other);
    return !a || !b || a == b;
  };
  for (unsigned lane = 0; lane < lanes_; lane++) {
    for (Id id = 0; find(lane, id) != nullptr; id++) {
      for (unsigned e = 0; e < exchanges(); e++) {
        if (!same(lane, id, {e, e}, {})) return false;
        for (unsigned o = e + 1; o < exchanges(); o++) {
          const bool meet = exchanges_[e].b == exchanges_[o].a;
          if (meet ? !same(lane, id, {e, o, e}, {o, e, o}) : !same(lane, id, {e, o}, {o, e})) {
            return false;
          }
        }
      }
    }
  }
  return true;
}

}  // namespace mmucheck::explore
