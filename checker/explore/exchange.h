// Layer: checker/explore. Contract: two alike blocks of cells (block_order.h) exchanged, and so the
// threads that go by them; what is known of the one thread is then known of the other one.
#pragma once

#include <algorithm>
#include <numeric>
#include <utility>
#include <vector>

#include "checker/explore/block_order.h"
#include "checker/explore/footprint.h"

namespace mmucheck::explore {

struct Exchange {
  std::vector<CellNumber> cells;  // by cell: which one it becomes
  std::vector<unsigned> threads;

  CellSet of(const CellSet& set) const {
    CellSet all;
    for (CellNumber c = 0; c < cells.size(); c++) {
      if (set.has(c)) all.add(cells[c]);
    }
    return all;
  }
  StepFootprint of(const StepFootprint& f) const { return {of(f.reads), of(f.writes)}; }
};

// Of neighbours: enough of them, one behind the other, make every order. A thread goes by the block
// that has its program counter, cell counters[thread].
inline std::vector<Exchange> exchanges(const SymmetricBlocks& groups, unsigned cells,
                                       const std::vector<CellNumber>& counters) {
  std::vector<Exchange> all;
  const auto thread_of = [&](const std::vector<CellNumber>& block) {
    const auto at = std::find_if(counters.begin(), counters.end(), [&](CellNumber c) {
      return std::find(block.begin(), block.end(), c) != block.end();
    });
    return static_cast<size_t>(at - counters.begin());
  };
  for (const auto& blocks : groups) {
    for (size_t b = 1; b < blocks.size(); b++) {
      Exchange& x = all.emplace_back();
      x.cells.resize(cells);
      x.threads.resize(counters.size());
      std::iota(x.cells.begin(), x.cells.end(), 0);
      std::iota(x.threads.begin(), x.threads.end(), 0);
      for (size_t i = 0; i < blocks[b].size(); i++) {
        std::swap(x.cells[blocks[b - 1][i]], x.cells[blocks[b][i]]);
      }
      const size_t one = thread_of(blocks[b - 1]), other = thread_of(blocks[b]);
      if (one < counters.size() && other < counters.size()) {
        std::swap(x.threads[one], x.threads[other]);
      }
    }
  }
  return all;
}

}  // namespace mmucheck::explore
