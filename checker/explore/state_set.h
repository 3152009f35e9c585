// Layer: checker/explore. Contract: the set of states that a search has visited. Whole states, each
// stored once in an append-only array; the table on top of it holds 32-bit indices.
//
// How a state is stored says a codec. It has the types State and Packed, which compares; bytes(),
// at most 8 times the words of one; pack() and unpack(); load() and store(), which move whole
// words; and fits(): some states it may have no room for; another codec may repack() what it has
// packed then. Where it can tell a hash from what is packed, hash(). Where successors are told by
// what they change: the type Change, changes() of two states, and changed(), of a packed one.
//
// Of states that nobody asks for any more only the hashes may be kept (keep_hashes()): equal ones are
// then taken for equal states.
//
// Everything is split by hash into kShards parts that know nothing of each other: workers that
// insert into different shards share nothing. A state is named by its shard and its index there,
// in the order of insertion.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <memory>
#include <stdexcept>
#include <utility>
#include <vector>

#include "checker/explore/page_memory.h"

namespace mmucheck::explore {

template <int W>
using Words = std::array<uint64_t, W>;

inline constexpr unsigned kShardBits = 6;
inline constexpr unsigned kShards = 1u << kShardBits;
inline constexpr uint32_t kNoState = 0xffffffffu;

// States that are stored as they are: words, of which the last may be short.
template <int W>
class WordsCodec {
 public:
  using State = Words<W>;
  using Packed = Words<W>;

  // 8 * (W - 1) < bytes <= 8 * W; the unused high bytes of a state's last word are 0.
  explicit WordsCodec(unsigned bytes)
      : bytes_(bytes),
        last_mask_(bytes == 8 * W ? ~uint64_t{0} : (uint64_t{1} << (8 * (bytes % 8))) - 1) {}

  unsigned bytes() const { return bytes_; }
  static constexpr bool fits(const State&) { return true; }
  static const Packed& pack(const State& s) { return s; }
  static const State& unpack(const Packed& p) { return p; }
  Packed load(const uint8_t* from) const {
    Packed p;
    std::memcpy(p.data(), from, 8 * W);
    p[W - 1] &= last_mask_;
    return p;
  }
  static void store(uint8_t* to, const Packed& p) { std::memcpy(to, p.data(), 8 * W); }

 private:
  unsigned bytes_;
  uint64_t last_mask_;
};

// The shard of a hash; its low 32 bits choose the slot, those between are the tag.
constexpr unsigned shard_of(uint64_t hash) {
  return static_cast<unsigned>(hash >> (64 - kShardBits));
}

template <class Codec>
class StateSet {
 public:
  using State = typename Codec::State;

  explicit StateSet(const Codec& codec)
      : codec_(codec),
        pool_(std::make_unique<PagePool>()),
        hash_pool_(std::make_unique<PagePool>()) {
    resize(kFirstSlots);
  }

  uint64_t size() const {
    uint64_t n = 0;
    for (const Shard& s : shards_) n += s.size;
    return n;
  }
  uint32_t size(unsigned shard) const { return shards_[shard].size; }
  // Of the states and the table.
  uint64_t memory() const {
    return pool_->allocated() + hash_pool_->allocated() + uint64_t{slots_} * kShards * 4;
  }
  // What memory() would be after reserve(most) and as many insertions.
  uint64_t memory_after(uint64_t most_in_a_shard) const {
    const uint64_t chunks = (most_in_a_shard + kChunkStates - 1) / kChunkStates;
    uint64_t whole = 0;
    for (const Shard& s : shards_) whole += chunks - std::min(chunks, s.hashed_chunks());
    return std::max(whole * chunk_bytes(codec_), pool_->allocated()) + hash_pool_->allocated() +
           uint64_t{slots_for(most_in_a_shard)} * kShards * 4;
  }

  // From now on nobody asks for the states of a shard below `upto`. Several shards at once may.
  template <class Hash>
  void keep_hashes(unsigned shard, uint32_t upto, const Hash& hash) {
    if (codec_.bytes() <= sizeof(uint64_t)) return;
    Shard& s = shards_[shard];
    for (; s.hashed + kChunkStates <= upto; s.hashed += kChunkStates) {
      uint8_t* const to = hash_pool_->take(kHashChunk);
      for (uint32_t i = 0; i < kChunkStates; i++) {
        const uint64_t h = hash_of(codec_.load(place(s, s.hashed + i)), hash);
        std::memcpy(to + i * sizeof h, &h, sizeof h);
      }
      pool_->give_back(std::exchange(s.chunks[s.hashed / kChunkStates], to));
    }
  }

  Codec& codec() { return codec_; }
  const Codec& codec() const { return codec_; }
  // Stores all states by another codec, under the same numbers; memory_of_recode() is what that
  // takes meanwhile. each(): as below.
  template <class Each>
  void recode(const Codec& codec, const Each& each) {
    auto pool = std::make_unique<PagePool>();
    each([&](unsigned shard) {
      Shard& s = shards_[shard];
      for (uint32_t from = s.hashed; from < s.size; from += kChunkStates) {
        uint8_t* const to = pool->take(chunk_bytes(codec));
        for (uint32_t i = from; i < std::min(from + kChunkStates, s.size); i++) {
          codec.store(to + size_t{i - from} * codec.bytes(),
                      codec.repack(codec_.load(place(s, i)), codec_));
        }
        s.chunks[from / kChunkStates] = to;
      }
    });
    codec_ = codec;
    pool_ = std::move(pool);
  }
  uint64_t memory_of_recode(const Codec& codec) const {
    uint64_t chunks = 0;
    for (const Shard& s : shards_) chunks += s.chunks.size() - s.hashed_chunks();
    return chunks * chunk_bytes(codec);
  }

  // Not of those of which only the hash is there.
  typename Codec::Packed packed(unsigned shard, uint32_t index) const {
    if (index < shards_[shard].hashed) throw std::logic_error("only its hash was kept");
    return codec_.load(place(shards_[shard], index));
  }
  State at(unsigned shard, uint32_t index) const { return codec_.unpack(packed(shard, index)); }

  // Makes room for `most` states in the fullest shard. `each(work)` runs work(shard) for all of
  // them, in any order; `hash` is the function that gave the hashes of the states.
  template <class Each, class Hash>
  void reserve(uint64_t most, const Each& each, const Hash& hash) {
    const uint32_t slots = slots_for(most);
    if (slots == slots_) return;
    resize(slots);
    each([&](unsigned shard) { fill(shard, hash); });
  }

  void prefetch_slot(uint64_t hash) const { __builtin_prefetch(&slot(shard_of(hash), home(hash))); }
  // The state that is probably meant: the first one with its tag.
  void prefetch_state(uint64_t hash) const {
    const Shard& s = shards_[shard_of(hash)];
    const uint32_t* const table = &table_[size_t{shard_of(hash)} * slots_];
    const uint32_t tag = tag_of(hash);
    for (uint32_t i = home(hash); table[i] != 0; i = i + 1 == slots_ ? 0 : i + 1) {
      if ((table[i] & ~index_mask_) == tag) {
        __builtin_prefetch(any_place(s, (table[i] & index_mask_) - 1));
        return;
      }
    }
  }

  uint32_t find(uint64_t hash, const State& state) const {
    if (!codec_.fits(state)) return kNoState;
    return look(shard_of(hash), hash, codec_.pack(state)).second;
  }
  // False when it was there. There must be room: reserve(); and it must fit.
  bool insert(uint64_t hash, const typename Codec::Packed& packed) {
    const unsigned shard = shard_of(hash);
    const auto [free_slot, found] = look(shard, hash, packed);
    if (found != kNoState) return false;
    Shard& s = shards_[shard];
    if (s.size % kChunkStates == 0) s.chunks.push_back(pool_->take(chunk_bytes(codec_)));
    codec_.store(place(s, s.size), packed);
    s.size++;
    *free_slot = s.size | tag_of(hash);
    return true;
  }

 private:
  static constexpr uint32_t kChunkStates = 1u << 12;
  static constexpr uint32_t kFirstSlots = 64;

  static constexpr uint64_t kHashChunk = kChunkStates * sizeof(uint64_t);

  struct Shard {
    uint32_t size = 0;
    uint32_t hashed = 0;  // whole chunks of states: of those only the hash is there
    std::vector<uint8_t*> chunks;

    uint64_t hashed_chunks() const { return hashed / kChunkStates; }
  };

  // Linear probing; at most 4 of 5 slots are taken.
  uint32_t slots_for(uint64_t most) const {
    uint64_t slots = slots_;
    while (slots * 4 < most * 5) slots += slots < (1u << 14) ? slots : slots / 2;
    return static_cast<uint32_t>(slots);
  }
  // Room behind the last state: a word is loaded and stored as a whole.
  static uint64_t chunk_bytes(const Codec& codec) {
    return (uint64_t{kChunkStates} * codec.bytes() + 8 + 63) / 64 * 64;
  }

  void resize(uint32_t slots) {
    slots_ = slots;
    index_mask_ = 1;
    while (index_mask_ < slots) index_mask_ = index_mask_ << 1 | 1;
    table_ = {};  // first: it can be made again from the states
    table_ = PageArray(size_t{slots} * kShards);
  }

  template <class Hash>
  void fill(unsigned shard, const Hash& hash) {
    constexpr uint32_t kAhead = 32;
    const Shard& s = shards_[shard];
    std::array<uint64_t, kAhead> hashes;
    const auto put = [&](uint32_t i) {
      const uint64_t h = hashes[i % kAhead];
      uint32_t at = home(h);
      while (slot(shard, at) != 0) at = at + 1 == slots_ ? 0 : at + 1;
      slot(shard, at) = (i + 1) | tag_of(h);
    };
    for (uint32_t i = 0; i < s.size; i++) {
      if (i >= kAhead) put(i - kAhead);
      hashes[i % kAhead] =
          i < s.hashed ? kept_hash(s, i) : hash_of(codec_.load(place(s, i)), hash);
      prefetch_slot(hashes[i % kAhead]);
    }
    for (uint32_t i = s.size < kAhead ? 0 : s.size - kAhead; i < s.size; i++) put(i);
  }

  template <class Hash>
  uint64_t hash_of(const typename Codec::Packed& p, const Hash& hash) const {
    if constexpr (requires { codec_.hash(p); }) {
      return codec_.hash(p);
    } else {
      return hash(codec_.unpack(p));
    }
  }
  std::pair<uint32_t*, uint32_t> look(unsigned shard, uint64_t hash,
                                      const typename Codec::Packed& state) const {
    const Shard& s = shards_[shard];
    uint32_t* const table = &table_[size_t{shard} * slots_];
    const uint32_t tag = tag_of(hash);
    for (uint32_t i = home(hash);; i = i + 1 == slots_ ? 0 : i + 1) {
      const uint32_t v = table[i];
      if (v == 0) return {&table[i], kNoState};
      if ((v & ~index_mask_) != tag) continue;
      const uint32_t at = (v & index_mask_) - 1;
      if (at < s.hashed ? kept_hash(s, at) == hash : codec_.load(place(s, at)) == state) {
        return {&table[i], at};
      }
    }
  }

  uint32_t& slot(unsigned shard, uint32_t i) const { return table_[size_t{shard} * slots_ + i]; }
  uint32_t home(uint64_t hash) const {
    return static_cast<uint32_t>((hash & 0xffffffff) * slots_ >> 32);
  }
  uint32_t tag_of(uint64_t hash) const { return static_cast<uint32_t>(hash >> 26) & ~index_mask_; }
  uint8_t* place(const Shard& s, uint32_t i) const {
    return s.chunks[i / kChunkStates] + size_t{i % kChunkStates} * codec_.bytes();
  }
  static uint8_t* hash_place(const Shard& s, uint32_t i) {
    return s.chunks[i / kChunkStates] + size_t{i % kChunkStates} * sizeof(uint64_t);
  }
  uint8_t* any_place(const Shard& s, uint32_t i) const {
    return i < s.hashed ? hash_place(s, i) : place(s, i);
  }
  static uint64_t kept_hash(const Shard& s, uint32_t i) {
    uint64_t h;
    std::memcpy(&h, hash_place(s, i), sizeof h);
    return h;
  }

  Codec codec_;
  uint32_t slots_ = 0;  // in each shard
  uint32_t index_mask_ = 0;
  std::array<Shard, kShards> shards_;
  std::unique_ptr<PagePool> pool_, hash_pool_;
  PageArray table_;  // 0: free; else the index + 1, and above it the tag
};

}  // namespace mmucheck::explore
