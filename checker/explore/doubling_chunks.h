// Layer: checker/explore. Contract: where elements are that live in chunks each twice as large as the
// one before, so that none ever moves: the first chunk has 1 << FirstBits.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace mmucheck::explore {

template <unsigned FirstBits>
struct DoublingChunks {
  static constexpr unsigned chunk_of(uint32_t i) {
    return static_cast<unsigned>(std::bit_width((i >> FirstBits) + 1)) - 1;
  }
  static constexpr size_t in_chunk(uint32_t i, unsigned chunk) {
    return i - (((1u << chunk) - 1) << FirstBits);
  }
  static constexpr size_t size(unsigned chunk) { return size_t{1} << (chunk + FirstBits); }
};

}  // namespace mmucheck::explore
