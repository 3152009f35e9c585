// Layer: checker/explore. Contract: of the states of step machines (interleaving.h) that differ
// only in which of several alike blocks of cells holds what, the one whose blocks are in ascending
// order. A block is told by the values of its cells, the first one counting most; it has at most 64
// bits.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <stdexcept>
#include <vector>

#include "checker/explore/interleaving.h"

namespace mmucheck::explore {

// Groups of blocks; those of a group are alike: cells of the same bits, one for one.
using SymmetricBlocks = std::vector<std::vector<std::vector<CellNumber>>>;

template <int W>
class BlockOrder {
 public:
  BlockOrder(const CellLayout& layout, const SymmetricBlocks& groups) {
    for (const auto& blocks : groups) {
      if (blocks.size() < 2) continue;
      if (blocks.size() > kMostBlocks) throw std::length_error("more than 64 alike blocks");
      Group& group = groups_.emplace_back();
      group.blocks = static_cast<unsigned>(blocks.size());
      group.cells = static_cast<unsigned>(blocks.front().size());
      for (const auto& block : blocks) {
        for (const CellNumber c : block) group.parts.push_back(part(layout.fields()[c]));
      }
      unsigned bits = 0;
      for (unsigned i = 0; i < group.cells; i++) bits += group.parts[i].width;
      if (bits > 64) throw std::length_error("a block of more than 64 bits");
    }
  }

  Words<W> first(Words<W> s) const {
    for (const Group& group : groups_) sort(group, s);
    return s;
  }

 private:
  static constexpr unsigned kMostBlocks = 64;
  struct Part {
    uint32_t mask;
    uint8_t word, shift, width;
  };
  struct Group {
    unsigned blocks = 0, cells = 0;
    std::vector<Part> parts;  // of the first block's cells, then of the second one's
  };

  static Part part(const CellLayout::Field& f) {
    return {f.mask, f.word, f.shift, static_cast<uint8_t>(std::bit_width(f.mask))};
  }

  static void sort(const Group& group, Words<W>& s) {
    std::array<uint64_t, kMostBlocks> value;
    const Part* p = group.parts.data();
    bool moved = false;
    for (unsigned b = 0; b < group.blocks; b++) {
      uint64_t v = 0;
      for (unsigned i = 0; i < group.cells; i++, p++) {
        v = v << p->width | ((s[p->word] >> p->shift) & p->mask);
      }
      unsigned at = b;
      for (; at > 0 && value[at - 1] > v; at--) value[at] = value[at - 1];
      value[at] = v;
      moved |= at != b;
    }
    if (moved) put(group, value, s);
  }
  static void put(const Group& group, const std::array<uint64_t, kMostBlocks>& value, Words<W>& s) {
    for (unsigned b = 0; b < group.blocks; b++) {
      const Part* const of = &group.parts[size_t{b} * group.cells];
      uint64_t v = value[b];
      for (unsigned i = group.cells; i-- > 0;) {
        const Part p = of[i];
        uint64_t& word = s[p.word];
        word = (word & ~(uint64_t{p.mask} << p.shift)) | (v & p.mask) << p.shift;
        v >>= p.width;
      }
    }
  }

  std::vector<Group> groups_;
};

}  // namespace mmucheck::explore
