// Layer: checker/explore. Contract: numbers for what states are made of, so that what many states
// share is stored once: a *leaf* is a string of bytes and what was kept for it, a *pair* is two
// numbers, and a state is a tree of pairs. Equal content has an equal number, and no other has.
// Numbers depend on who came first, hash_of_pair() does not: it is that of the content.
//
// Any number of threads may add; what a thread was given a number of it may read. What is there
// already is found without a lock. consistent() looks everything up again: equal numbers are what
// comparing states relies on.
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

  // While nobody adds: gives back what was only kept for who was still looking there.
  void tidy() {
    leaves_.tidy();
    pairs_.tidy();
  }
  // Bytes taken, behind tidy().
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
      if (const auto known = s.find(hash, same, nullptr)) return *known << kShardBits | number;
      const std::lock_guard<SpinLock> hold(s.lock);
      if (s.size * 4 >= s.newest->size() * 3) grow(s);
      size_t i = 0;
      if (const auto known = s.find(hash, same, &i)) return *known << kShardBits | number;
      if (s.size >> ChunkBits == kChunks) throw std::bad_alloc();
      std::unique_ptr<T[]>& chunk = s.chunks[s.size >> ChunkBits];
      if (chunk == nullptr) {
        chunk = std::make_unique<T[]>(kInChunk);
        s.memory += kInChunk * sizeof(T);
      }
      uint64_t more = 0;
      s.at(s.size) = make(&more);
      s.memory += more;
      s.newest->slots[i].store(++s.size, std::memory_order_release);
      return (s.size - 1) << kShardBits | number;
    }
    const T& at(Id id) const { return shards_[id % kShards].at(id >> kShardBits); }
    // --- while nobody adds ---
    template <class Same>
    std::optional<Id> number(uint32_t hash, const Same& same) const {
      const Id shard = hash >> (32 - kShardBits);
      const auto known = shards_[shard].find(hash, same, nullptr);
      if (!known) return std::nullopt;
      return *known << kShardBits | shard;
    }
    void tidy() {
      for (Shard& s : shards_) s.older.clear();
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
    struct Slots {  // index + 1
      explicit Slots(size_t n) : mask(n - 1), slots(new std::atomic<uint32_t>[n]()) {}
      size_t size() const { return mask + 1; }
      size_t mask;
      std::unique_ptr<std::atomic<uint32_t>[]> slots;
    };
    struct Shard {
      // Who looks reads this line only; the others change when something is new.
      alignas(64) std::atomic<const Slots*> current{nullptr};
      alignas(64) SpinLock lock;
      std::unique_ptr<Slots> newest = std::make_unique<Slots>(64);
      std::vector<std::unique_ptr<Slots>> older;
      uint32_t size = 0;
      uint64_t memory = 0;
      std::array<std::unique_ptr<T[]>, kChunks> chunks;

      Shard() { current.store(newest.get(), std::memory_order_relaxed); }
      T& at(uint32_t i) const { return chunks[i >> ChunkBits][i & (kInChunk - 1)]; }
      // `free`: where it would be, for who holds the lock.
      template <class Same>
      std::optional<uint32_t> find(uint32_t hash, const Same& same, size_t* free) const {
        const Slots& in = *current.load(std::memory_order_acquire);
        for (size_t i = hash & in.mask;; i = (i + 1) & in.mask) {
          const uint32_t v = in.slots[i].load(std::memory_order_acquire);
          if (v != 0 && same(at(v - 1))) return v - 1;
          if (v != 0) continue;
          if (free != nullptr) *free = i;
          return std::nullopt;
        }
      }
    };
    template <class Member>
    uint64_t sum(Member Shard::*member) const {
      uint64_t all = 0;
      for (const Shard& s : shards_) all += s.*member;
      return all;
    }
    static void grow(Shard& s) {
      auto slots = std::make_unique<Slots>(s.newest->size() * 2);
      constexpr auto kNobodyLooks = std::memory_order_relaxed;
      for (size_t from = 0; from < s.newest->size() && !Faults::kStaleTable; from++) {
        const uint32_t v = s.newest->slots[from].load(kNobodyLooks);
        if (v == 0) continue;
        size_t i = s.at(v - 1).hash & slots->mask;
        while (slots->slots[i].load(kNobodyLooks) != 0) i = (i + 1) & slots->mask;
        slots->slots[i].store(v, kNobodyLooks);
      }
      s.memory += (slots->size() - s.newest->size()) * sizeof(uint32_t);
      s.current.store(slots.get(), std::memory_order_release);
      s.older.push_back(std::exchange(s.newest, std::move(slots)));
    }

    std::array<Shard, kShards> shards_;
  };

  Interned<Leaf, 6> leaves_;
  Interned<Pair, 10> pairs_;
};

}  // namespace mmucheck::explore
