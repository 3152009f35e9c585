#include "checker/explore/interleaving.h"

#include <algorithm>
#include <stdexcept>

namespace mmucheck::explore {

CellLayout::CellLayout(const std::vector<unsigned>& bits) : fields_(bits.size()) {
  std::vector<CellNumber> order(bits.size());
  for (CellNumber c = 0; c < order.size(); c++) order[c] = c;
  std::stable_sort(order.begin(), order.end(),
                   [&](CellNumber a, CellNumber b) { return bits[a] > bits[b]; });
  std::vector<unsigned> used;
  for (const CellNumber c : order) {
    if (bits[c] == 0 || bits[c] > 32) throw std::logic_error("a cell has 1 to 32 bits");
    size_t word = 0;
    while (word < used.size() && used[word] + bits[c] > 64) word++;
    if (word == used.size()) used.push_back(0);
    fields_[c] = {static_cast<uint32_t>((uint64_t{1} << bits[c]) - 1), static_cast<uint8_t>(word),
                  static_cast<uint8_t>(used[word])};
    used[word] += bits[c];
  }
  if (!used.empty()) {
    bytes_ = static_cast<unsigned>(8 * (used.size() - 1)) + (used.back() + 7) / 8;
  }
}

}  // namespace mmucheck::explore
