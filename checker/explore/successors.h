// Layer: checker/explore. Contract: successors that a worker of a search has made and that wait to
// be stored, by shard, in the order in which they were made: as whole states, or, where the codec
// knows of changes, as what they change of their parents.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include "checker/explore/state_set.h"

namespace mmucheck::explore {

// Appends to one of many vectors in turn: the next one to this vector finds its cache line there.
template <class T>
void append(std::vector<T>& to, const T& element) {
  to.push_back(element);
  __builtin_prefetch(reinterpret_cast<const char*>(to.data() + to.size()) + 48, 1);
}

template <class Codec>
class WholeSuccessors {
 public:
  using State = typename Codec::State;
  using Packed = typename Codec::Packed;

  // What follows are successors of this one.
  void of(const State&, const Packed&, const Codec&) {}
  void add(uint64_t hash, const State& s) { append(waiting_[shard_of(hash)], s); }
  size_t size(unsigned shard) const { return waiting_[shard].size(); }
  template <class Hash>
  uint64_t hash(unsigned shard, size_t i, const Hash& hash) const {
    return hash(waiting_[shard][i]);
  }
  const Packed& packed(unsigned shard, size_t i, const Codec& codec) const {
    return codec.pack(waiting_[shard][i]);
  }
  void clear(unsigned shard) { waiting_[shard].clear(); }
  void clear() {
    for (auto& w : waiting_) w.clear();
  }

 private:
  std::array<std::vector<State>, kShards> waiting_;
};

template <class Codec>
class ChangedSuccessors {
 public:
  using State = typename Codec::State;
  using Packed = typename Codec::Packed;
  using Change = typename Codec::Change;

  void of(const State& parent, const Packed& packed, const Codec& codec) {
    parent_ = &parent;
    words_ = codec.words();
    parents_.insert(parents_.end(), packed.words.begin(), packed.words.begin() + words_);
  }
  void add(uint64_t hash, const State& s) {
    scratch_.clear();
    Codec::changes(*parent_, s, scratch_);
    add(hash, scratch_);
  }
  void add(uint64_t hash, std::span<const Change> changes) {
    append(waiting_[shard_of(hash)], {hash, static_cast<uint32_t>(parents_.size()) - words_,
                                      static_cast<uint32_t>(changes_.size()),
                                      static_cast<uint32_t>(changes.size())});
    changes_.insert(changes_.end(), changes.begin(), changes.end());
  }
  size_t size(unsigned shard) const { return waiting_[shard].size(); }
  template <class Hash>
  uint64_t hash(unsigned shard, size_t i, const Hash&) const {
    return waiting_[shard][i].hash;
  }
  Packed packed(unsigned shard, size_t i, const Codec& codec) const {
    const Waiting& w = waiting_[shard][i];
    return codec.changed(codec.from_words(&parents_[w.parent]),
                         std::span(changes_).subspan(w.first, w.count));
  }
  void clear(unsigned shard) { waiting_[shard].clear(); }
  void clear() {
    for (auto& w : waiting_) w.clear();
    parents_.clear();
    changes_.clear();
  }
  // From here on codec `to` packs, which knows more contents.
  void recode(const Codec& to, const Codec& from) {
    if (words_ == 0) return;
    std::vector<uint64_t> all;
    for (size_t at = 0; at < parents_.size(); at += words_) {
      const Packed p = to.repack(from.from_words(&parents_[at]), from);
      all.insert(all.end(), p.words.begin(), p.words.begin() + to.words());
    }
    for (auto& of_shard : waiting_) {
      for (Waiting& w : of_shard) w.parent = w.parent / words_ * to.words();
    }
    words_ = to.words();
    parents_ = std::move(all);
  }

 private:
  struct Waiting {
    uint64_t hash;
    uint32_t parent, first, count;  // where its words begin, and where its changes
  };
  std::array<std::vector<Waiting>, kShards> waiting_;
  const State* parent_ = nullptr;
  unsigned words_ = 0;  // of a parent
  std::vector<uint64_t> parents_;
  std::vector<Change> changes_, scratch_;
};

template <class Codec>
inline constexpr bool kKnowsChanges = requires {
  typename Codec::Change;
};

template <class Codec>
using Successors =
    std::conditional_t<kKnowsChanges<Codec>, ChangedSuccessors<Codec>, WholeSuccessors<Codec>>;

}  // namespace mmucheck::explore
