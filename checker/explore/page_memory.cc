#include "checker/explore/page_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <new>

namespace mmucheck::explore {
namespace {

constexpr size_t kLargePage = size_t{2} << 20;
constexpr size_t kFirstBlock = size_t{4} << 20;
constexpr size_t kLargestBlock = size_t{64} << 20;

size_t rounded(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

// Aligned to large pages where it is as large as one.
uint8_t* map_pages(size_t bytes) {
  const size_t slack = bytes >= kLargePage ? kLargePage : 0;
  void* const p = mmap(nullptr, bytes + slack, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p == MAP_FAILED) throw std::bad_alloc();
  auto* const begin = static_cast<uint8_t*>(p);
  if (slack == 0) return begin;
  auto* const aligned =
      reinterpret_cast<uint8_t*>(rounded(reinterpret_cast<uintptr_t>(begin), kLargePage));
  const size_t before = static_cast<size_t>(aligned - begin);
  if (before != 0) munmap(begin, before);
  if (before != slack) munmap(aligned + bytes, slack - before);
  return aligned;
}

}  // namespace

uint64_t resident_bytes() {
  std::FILE* const f = std::fopen("/proc/self/statm", "r");
  if (f == nullptr) return 0;
  unsigned long total = 0, resident = 0;
  const int read = std::fscanf(f, "%lu %lu", &total, &resident);
  std::fclose(f);
  return read == 2 ? uint64_t{resident} * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

PageArray::PageArray(size_t count) : bytes_(rounded(std::max<size_t>(count * 4, 1), 4096)) {
  data_ = reinterpret_cast<uint32_t*>(map_pages(bytes_));
  if (bytes_ >= 2 * kLargePage) madvise(data_, bytes_, MADV_HUGEPAGE);
}

PageArray::~PageArray() {
  if (data_ != nullptr) munmap(data_, bytes_);
}

PagePool::~PagePool() {
  for (const auto& [block, bytes] : blocks_) munmap(block, bytes);
}

uint8_t* PagePool::take(size_t bytes) {
  const std::lock_guard<std::mutex> hold(lock_);
  if (!free_.empty()) {
    uint8_t* const piece = free_.back();
    free_.pop_back();
    return piece;
  }
  if (blocks_.empty() || used_ + bytes > blocks_.back().second) {
    // Small searches touch only what they use of small pages.
    const size_t wanted = blocks_.empty() ? kFirstBlock : kLargestBlock;
    const size_t block = rounded(std::max(wanted, bytes), kLargePage);
    blocks_.emplace_back(map_pages(block), block);
    if (blocks_.size() > 1) madvise(blocks_.back().first, block, MADV_HUGEPAGE);
    used_ = 0;
  }
  uint8_t* const piece = blocks_.back().first + used_;
  used_ += bytes;
  taken_ += bytes;
  return piece;
}

void PagePool::give_back(uint8_t* piece) {
  const std::lock_guard<std::mutex> hold(lock_);
  free_.push_back(piece);
}

}  // namespace mmucheck::explore
