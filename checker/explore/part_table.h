// Layer: checker/explore. Contract: numbers for what states are made of, so that what many states
// share is stored once: a *leaf* is a string of bytes and what was kept for it, a *pair* is two
// numbers, and a state is a tree of pairs. Equal content has an equal number, and no other has.
// Numbers depend on who came first, hash() does not: it is that of the content.
//
// Any number of threads may add; what a thread was given a number of it may read.
#pragma once

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <new>
#include <span>
#include <string>
#include <vector>

namespace mmucheck::explore {

template <class Kept>
class PartTable {
 public:
  using Id = uint32_t;

  // `keep()` is called when the bytes are new.
  template <class Keep>
  Id leaf(const std::string& bytes, const Keep& keep) {
    const uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
    return leaves_.add(
               hash, [&](const Leaf& l) { return l.hash == hash && l.bytes == bytes; },
               [&] {
                 return Leaf{hash, bytes, keep()};
               },
               bytes.size() * kKeptPerByte) |
           kLeaf;
  }
  Id pair(Id left, Id right) {
    const uint64_t hash = hash_of_pair(left, right);
    return pairs_.add(
        hash, [&](const Pair& p) { return p.left == left && p.right == right; },
        [&] {
          return Pair{hash, left, right};
        },
        0);
  }
  // A tree of them all, by their number; at least one.
  Id tree(std::span<const Id> all) {
    if (all.size() == 1) return all[0];
    const size_t half = all.size() / 2;
    return pair(tree(all.first(half)), tree(all.subspan(half)));
  }

  uint64_t hash(Id id) const { return is_leaf(id) ? leaf_at(id).hash : pairs_.at(id).hash; }
  uint64_t hash_of_pair(Id left, Id right) const {
    const std::array<uint64_t, 2> both = {hash(left), hash(right)};
    return XXH3_64bits(both.data(), sizeof both);
  }
  const Kept& kept(Id leaf) const { return leaf_at(leaf).kept; }
  // The leaves of a tree, in order.
  void leaves_of(Id id, std::vector<Id>& out) const {
    if (is_leaf(id)) {
      out.push_back(id);
      return;
    }
    const Pair& p = pairs_.at(id);
    leaves_of(p.left, out);
    leaves_of(p.right, out);
  }

  // Bytes taken, those of what was kept by a rule of thumb.
  uint64_t memory() const { return leaves_.memory() + pairs_.memory(); }
  uint64_t leaves() const { return leaves_.size(); }
  uint64_t pairs() const { return pairs_.size(); }

 private:
  static constexpr Id kLeaf = 1u << 31;
  static constexpr uint64_t kKeptPerByte = 3;
  struct Leaf {
    uint64_t hash = 0;
    std::string bytes;
    Kept kept;
  };
  struct Pair {
    uint64_t hash;
    Id left, right;
  };

  static bool is_leaf(Id id) { return (id & kLeaf) != 0; }
  const Leaf& leaf_at(Id id) const { return leaves_.at(id & ~kLeaf); }

  // Things in shards by hash, each with a lock and a table of indices; they never move.
  template <class T, unsigned ChunkBits>
  class Interned {
   public:
    template <class Same, class Make>
    Id add(uint64_t hash, const Same& same, const Make& make, uint64_t more_memory) {
      const Id number = static_cast<Id>(hash >> (64 - kShardBits));
      Shard& s = shards_[number];
      const std::lock_guard<std::mutex> hold(s.lock);
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
      s.at(s.size) = make();
      s.memory += more_memory;
      s.slots[i] = ++s.size;
      return (s.size - 1) << kShardBits | number;
    }
    const T& at(Id id) const { return shards_[id % kShards].at(id >> kShardBits); }
    // While nobody adds.
    uint64_t memory() const { return sum(&Shard::memory); }
    uint64_t size() const { return sum(&Shard::size); }

   private:
    static constexpr unsigned kShardBits = 4;
    static constexpr size_t kShards = 1u << kShardBits, kChunks = 1u << 12;
    static constexpr uint32_t kInChunk = 1u << ChunkBits;
    struct Shard {
      std::mutex lock;
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
