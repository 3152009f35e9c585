// Layer: checker/explore. Contract: numbers for what states are made of, so that what many states
// share is stored once: a *leaf* is a string of bytes and what was kept for it, a *pair* is two
// numbers, and a state is a tree of pairs. Equal content has an equal number, and no other has.
// Numbers depend on who came first, hash_of_pair() does not: it is that of the content.
//
// Any number of threads may add; what a thread was given a number of it may read. consistent()
// looks everything up again: equal numbers are what comparing states relies on.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace mmucheck::explore {

// What the tests break.
struct NoTableFaults {
  static constexpr bool kStaleTable = false;  // of the numbers, behind its growth
};

template <class Kept, class Faults = NoTableFaults>
class PartTable {
 public:
  using Id = uint32_t;

  // `keep()` is called when the bytes are new; `bytes()` of it says what it occupies, about.
  template <class Keep>
  Id leaf(const std::string& bytes, const Keep& keep) {
    const uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
    return leaves_.add(
               static_cast<uint32_t>(hash >> 32),
               [&](const Leaf& l) { return l.full_hash == hash && l.bytes == bytes; },
               [&](uint64_t* more) {
                 Leaf made{static_cast<uint32_t>(hash >> 32), hash, bytes, keep()};
                 *more = bytes.size() + made.kept.bytes() + kHeapBlock;
                 return made;
               }) |
           kLeaf;
  }
  Id pair(Id left, Id right) {
    const auto hash = static_cast<uint32_t>(hash_of_pair(left, right) >> 32);
    return pairs_.add(
        hash, [&](const Pair& p) { return p.left == left && p.right == right; },
        [&](uint64_t*) {
          return Pair{hash, left, right};
        });
  }

  uint64_t hash_of_pair(Id left, Id right) const {
    uint64_t h = uint64_t{hash(left)} << 32 | hash(right);
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
    h = (h ^ h >> 32) * 0xd6e8feb86659fd93ull;
    return h ^ h >> 32;
  }
  static bool is_leaf(Id id) { return (id & kLeaf) != 0; }
  const Kept& kept(Id leaf) const { return leaf_at(leaf).kept; }
  const std::string& bytes(Id leaf) const { return leaf_at(leaf).bytes; }
  std::pair<Id, Id> both(Id pair) const { return {pairs_.at(pair).left, pairs_.at(pair).right}; }

  // Everything is found under its own number, while nobody adds.
  bool consistent() const {
    return leaves_.each([&](const Leaf& l) {
      return leaves_.number(l.hash, [&](const Leaf& o) { return o.bytes == l.bytes; });
    }) && pairs_.each([&](const Pair& p) {
      return pairs_.number(p.hash,
                           [&](const Pair& o) { return o.left == p.left && o.right == p.right; });
    });
  }

  // Bytes taken.
  uint64_t memory() const { return leaves_.memory() + pairs_.memory(); }
  uint64_t leaves() const { return leaves_.size(); }
  uint64_t pairs() const { return pairs_.size(); }

 private:
  static constexpr Id kLeaf = 1u << 31;
  static constexpr uint64_t kHeapBlock = 16;  // what malloc adds
  struct Leaf {
    uint32_t hash = 0;
    uint64_t full_hash = 0;
    std::string bytes;
    Kept kept;
  };
  struct Pair {
    uint32_t hash;
    Id left, right;
  };

  uint32_t hash(Id id) const { return is_leaf(id) ? leaf_at(id).hash : pairs_.at(id).hash; }
  const Leaf& leaf_at(Id id) const { return leaves_.at(id & ~kLeaf); }

  // Held for a look-up: waiting for it is never worth a sleep.
  class SpinLock {
   public:
    void lock() {
      while (held_.test_and_set(std::memory_order_acquire)) {
        if (++tries_ % 64 == 0) std::this_thread::yield();
      }
    }
    void unlock() { held_.clear(std::memory_order_release); }

   private:
    std::atomic_flag held_;
    static thread_local inline unsigned tries_ = 0;
  };

  // Things in shards by hash, each with a lock and a table of indices; they never move.
  template <class T, unsigned ChunkBits>
  class Interned {
   public:
    template <class Same, class Make>
    Id add(uint32_t hash, const Same& same, const Make& make) {
      const Id number = hash >> (32 - kShardBits);
      Shard& s = shards_[number];
      const std::lock_guard<SpinLock> hold(s.lock);
      if (s.size * 4 >= s.slots.size() * 3) grow(s);
      size_t i = hash & (s.slots.size() - 1);
      for (; s.slots[i] != 0; i = (i + 1) & (s.slots.size() - 1)) {
        if (same(s.at(s.slots[i] - 1))) return (s.slots[i] - 1) << kShardBits | number;
      }
      if (s.size >> ChunkBits == kChunks) throw std::bad_alloc();
      std::unique_ptr<T[]>& chunk = s.chunks[s.size >> ChunkBits];
      if (chunk == nullptr) {
        chunk = std::make_unique<T[]>(kInChunk);
        s.memory += kInChunk * sizeof(T);
      }
      uint64_t more = 0;
      s.at(s.size) = make(&more);
      s.memory += more;
      s.slots[i] = ++s.size;
      return (s.size - 1) << kShardBits | number;
    }
    const T& at(Id id) const { return shards_[id % kShards].at(id >> kShardBits); }
    // --- while nobody adds ---
    template <class Same>
    std::optional<Id> number(uint32_t hash, const Same& same) const {
      const Shard& s = shards_[hash >> (32 - kShardBits)];
      for (size_t i = hash & (s.slots.size() - 1); s.slots[i] != 0;
           i = (i + 1) & (s.slots.size() - 1)) {
        if (same(s.at(s.slots[i] - 1))) {
          return (s.slots[i] - 1) << kShardBits | hash >> (32 - kShardBits);
        }
      }
      return std::nullopt;
    }
    // `find(thing)` gives the number of each.
    template <class Find>
    bool each(const Find& find) const {
      for (Id shard = 0; shard < kShards; shard++) {
        for (uint32_t i = 0; i < shards_[shard].size; i++) {
          if (find(shards_[shard].at(i)) != (i << kShardBits | shard)) return false;
        }
      }
      return true;
    }
    uint64_t memory() const { return sum(&Shard::memory); }
    uint64_t size() const { return sum(&Shard::size); }

   private:
    static constexpr unsigned kShardBits = 4;
    static constexpr size_t kShards = 1u << kShardBits, kChunks = 1u << 12;
    static constexpr uint32_t kInChunk = 1u << ChunkBits;
    struct Shard {
      SpinLock lock;
      std::vector<uint32_t> slots = std::vector<uint32_t>(64);  // index + 1
      std::array<std::unique_ptr<T[]>, kChunks> chunks;
      uint32_t size = 0;
      uint64_t memory = 0;

      T& at(uint32_t i) const { return chunks[i >> ChunkBits][i & (kInChunk - 1)]; }
    };
    template <class Member>
    uint64_t sum(Member Shard::*member) const {
      uint64_t all = 0;
      for (const Shard& s : shards_) all += s.*member;
      return all;
    }
    static void grow(Shard& s) {
      std::vector<uint32_t> slots(s.slots.size() * 2);
      if constexpr (Faults::kStaleTable) return s.slots.swap(slots);
      for (const uint32_t v : s.slots) {
        if (v == 0) continue;
        size_t i = s.at(v - 1).hash & (slots.size() - 1);
        while (slots[i] != 0) i = (i + 1) & (slots.size() - 1);
        slots[i] = v;
      }
      s.memory += (slots.size() - s.slots.size()) * sizeof(uint32_t);
      s.slots = std::move(slots);
    }

    std::array<Shard, kShards> shards_;
  };

  Interned<Leaf, 6> leaves_;
  Interned<Pair, 10> pairs_;
};

}  // namespace mmucheck::explore
