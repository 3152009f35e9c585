// Layer: checker/explore. Contract: numbers for what one slot of states holds, so that it is stored
// once: a *content* is a string of bytes and what was kept for it. Equal bytes have an equal
// number, and no others have; numbers are dense, from 0 on, by who came first. hash() is that of
// the bytes.
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

#include "checker/explore/doubling_chunks.h"

namespace mmucheck::explore {

// What the tests break.
struct NoTableFaults {
  static constexpr bool kStaleTable = false;  // of the numbers, behind its growth
};

template <class Kept, class Faults = NoTableFaults>
class ContentTable {
 public:
  using Id = uint32_t;

  ContentTable() { current_.store(newest_.get(), std::memory_order_relaxed); }

  // `keep()` is called when the bytes are new; `bytes()` of it says what it occupies, about.
  template <class Keep>
  Id add(const std::string& bytes, const Keep& keep) {
    const uint64_t hash = XXH3_64bits(bytes.data(), bytes.size());
    if (const auto known = find(hash, bytes, nullptr)) return *known;
    const std::lock_guard<SpinLock> hold(lock_);
    if (size_ * 4 >= newest_->size() * 3) grow();
    size_t free_slot = 0;
    if (const auto known = find(hash, bytes, &free_slot)) return *known;
    const unsigned chunk = Chunked::chunk_of(size_);
    if (chunk == kChunks) throw std::bad_alloc();
    if (chunks_[chunk] == nullptr) {
      const size_t n = Chunked::size(chunk);
      chunks_[chunk] = std::make_unique<Content[]>(n);
      memory_ += n * sizeof(Content);
    }
    Content& made = at(size_);
    made = {hash, bytes, keep()};
    memory_ += bytes.size() + made.kept.bytes() + kHeapBlock;
    newest_->slots[free_slot].store(++size_, std::memory_order_release);
    return size_ - 1;
  }
  uint64_t hash(Id id) const { return at(id).hash; }
  const Kept& kept(Id id) const { return at(id).kept; }
  const std::string& bytes(Id id) const { return at(id).bytes; }

  // --- while nobody adds ---
  uint32_t size() const { return size_; }
  // Everything is found under its own number.
  bool consistent() const {
    for (Id id = 0; id < size_; id++) {
      if (find(at(id).hash, at(id).bytes, nullptr) != id) return false;
    }
    return true;
  }
  // Gives back what was only kept for who was still looking there.
  void tidy() { older_.clear(); }
  // Bytes taken, behind tidy().
  uint64_t memory() const { return memory_; }

 private:
  static constexpr uint64_t kHeapBlock = 16;  // what malloc adds
  using Chunked = DoublingChunks<3>;
  static constexpr unsigned kChunks = 28;
  struct Content {
    uint64_t hash = 0;
    std::string bytes;
    Kept kept;
  };
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
  struct Slots {  // number + 1
    explicit Slots(size_t n) : mask(n - 1), slots(new std::atomic<uint32_t>[n]()) {}
    size_t size() const { return mask + 1; }
    size_t mask;
    std::unique_ptr<std::atomic<uint32_t>[]> slots;
  };

  Content& at(Id id) const {
    const unsigned chunk = Chunked::chunk_of(id);
    return chunks_[chunk][Chunked::in_chunk(id, chunk)];
  }
  // `free_slot`: where it would be, for who holds the lock.
  std::optional<Id> find(uint64_t hash, const std::string& bytes, size_t* free_slot) const {
    const Slots& in = *current_.load(std::memory_order_acquire);
    for (size_t i = hash & in.mask;; i = (i + 1) & in.mask) {
      const uint32_t v = in.slots[i].load(std::memory_order_acquire);
      if (v != 0 && at(v - 1).hash == hash && at(v - 1).bytes == bytes) return v - 1;
      if (v != 0) continue;
      if (free_slot != nullptr) *free_slot = i;
      return std::nullopt;
    }
  }
  void grow() {
    auto slots = std::make_unique<Slots>(newest_->size() * 2);
    constexpr auto kNobodyLooks = std::memory_order_relaxed;
    for (size_t from = 0; from < newest_->size() && !Faults::kStaleTable; from++) {
      const uint32_t v = newest_->slots[from].load(kNobodyLooks);
      if (v == 0) continue;
      size_t i = at(v - 1).hash & slots->mask;
      while (slots->slots[i].load(kNobodyLooks) != 0) i = (i + 1) & slots->mask;
      slots->slots[i].store(v, kNobodyLooks);
    }
    memory_ += (slots->size() - newest_->size()) * sizeof(uint32_t);
    current_.store(slots.get(), std::memory_order_release);
    older_.push_back(std::exchange(newest_, std::move(slots)));
  }

  // Who looks reads this line only; the others change when something is new.
  alignas(64) std::atomic<const Slots*> current_{nullptr};
  alignas(64) SpinLock lock_;
  std::unique_ptr<Slots> newest_ = std::make_unique<Slots>(16);
  std::vector<std::unique_ptr<Slots>> older_;
  uint32_t size_ = 0;
  uint64_t memory_ = 0;
  std::array<std::unique_ptr<Content[]>, kChunks> chunks_;
};

}  // namespace mmucheck::explore
