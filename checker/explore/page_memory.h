// Layer: checker/explore. Contract: memory of a search, zeroed, in large pages where the system has
// them: random accesses to gigabytes miss the TLB otherwise. Throws std::bad_alloc.
#pragma once

#include <cstddef>
#include <cstdint>
#include <mutex>
#include <utility>
#include <vector>

namespace mmucheck::explore {

// What the process occupies now; 0 where the system does not tell.
uint64_t resident_bytes();

// An array of 32-bit numbers.
class PageArray {
 public:
  PageArray() = default;
  explicit PageArray(size_t count);
  PageArray(PageArray&& o) noexcept
      : data_(std::exchange(o.data_, nullptr)), bytes_(std::exchange(o.bytes_, 0)) {}
  PageArray& operator=(PageArray&& o) noexcept {
    std::swap(data_, o.data_);
    std::swap(bytes_, o.bytes_);
    return *this;
  }
  ~PageArray();

  uint32_t& operator[](size_t i) const { return data_[i]; }

 private:
  uint32_t* data_ = nullptr;
  size_t bytes_ = 0;
};

// Pieces that live as long as the pool, all of one size. Several threads may take.
class PagePool {
 public:
  PagePool() = default;
  PagePool(const PagePool&) = delete;
  PagePool& operator=(const PagePool&) = delete;
  ~PagePool();

  uint8_t* take(size_t bytes);
  void give_back(uint8_t* piece);  // is taken again before others; its bytes are not zeroed
  size_t allocated() const { return taken_; }  // of pieces

 private:
  std::mutex lock_;
  std::vector<std::pair<uint8_t*, size_t>> blocks_;
  std::vector<uint8_t*> free_;
  size_t used_ = 0;  // of the last block
  size_t taken_ = 0;
};

}  // namespace mmucheck::explore
