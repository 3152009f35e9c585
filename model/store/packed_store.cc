#include "model/store/packed_store.h"

#include <bit>

#include "model/spte/format.h"

namespace mmucheck::model {
namespace {

bool is_table_cell(Cell c) { return c.kind <= kLastTableField; }

std::string name_of(Cell c) {
  return "cell kind " + std::to_string(static_cast<int>(c.kind)) + " object " +
         std::to_string(c.object) + " index " + std::to_string(c.index);
}

}  // namespace

uint32_t PackedLayout::add_table(uint64_t frame) {
  if (frames_.size() >= kMaxPackedTables) {
    fail("more than " + std::to_string(kMaxPackedTables) + " tables");
    return kNoTable;
  }
  if (table_of_frame(frame) != kNoTable) fail("frame " + std::to_string(frame) + " stands twice");
  const auto table = static_cast<uint32_t>(frames_.size());
  frames_.push_back(frame);
  entries_.emplace_back().fill(0);
  add_number(cell::of(CellKind::kSpState, table), 2);
  add_constant(cell::of(CellKind::kSpPfn, table), frame);
  return table;
}

void PackedLayout::add_number(Cell c, int bits, uint64_t initial) {
  if (bits < 1 || bits > 64 || (bits < 64 && initial >> bits != 0)) {
    return fail(name_of(c) + " does not fit into " + std::to_string(bits) + " bits");
  }
  if (is_table_cell(c) && initial != 0) return fail(name_of(c) + " starts with a number");
  declare(c, bits, initial, 0, 0);
}

void PackedLayout::add_values(Cell c, std::vector<uint64_t> allowed) {
  if (allowed.empty()) return fail(name_of(c) + " may hold nothing");
  if (c.kind == CellKind::kPte && allowed[0] != kNonpresent) {
    return fail(name_of(c) + " does not start non-present");
  }
  const auto first = static_cast<uint32_t>(values_.size());
  values_.insert(values_.end(), allowed.begin(), allowed.end());
  const auto count = static_cast<uint32_t>(allowed.size());
  std::sort(allowed.begin(), allowed.end());
  if (std::adjacent_find(allowed.begin(), allowed.end()) != allowed.end()) {
    return fail(name_of(c) + " has a value twice");
  }
  declare(c, std::bit_width(count - 1), 0, first, count);
}

void PackedLayout::declare(Cell c, int bits, uint64_t initial, uint32_t first, uint32_t count) {
  if (is_table_cell(c) && c.object >= frames_.size()) return fail(name_of(c) + " has no table");
  if (find(c) != nullptr) return fail(name_of(c) + " stands twice");
  if (c.kind == CellKind::kPte && c.index >= 512) return fail(name_of(c) + " is no entry");
  Declared d{c, bits, initial, {}};
  d.field.first = first;
  d.field.count = count;
  d.field.mask = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
  const auto at = static_cast<uint32_t>(declared_.size());
  declared_.push_back(d);
  if (c.kind == CellKind::kPte) {
    entries_[c.object][c.index] = static_cast<uint16_t>(at + 1);
  } else {
    others_[key(c)].push_back(at);
  }
  if (at + 1 >= 0xffff) fail("too many cells");
}

bool PackedLayout::finish() {
  std::array<int, kMaxPackedWords> used{};
  table_mask_.assign(frames_.size(), {});
  bits_ = 0;
  for (Declared& d : declared_) {
    int word = 0;  // the first one with room
    while (word < kMaxPackedWords && used[word] + d.bits > 64) word++;
    if (word == kMaxPackedWords) {
      fail("the state is wider than " + std::to_string(kMaxPackedWords) + " words");
      break;
    }
    d.field.word = static_cast<uint8_t>(word);
    d.field.shift = static_cast<uint8_t>(d.bits == 0 ? 0 : used[word]);
    used[word] += d.bits;
    bits_ += d.bits;
    if (d.bits == 0) continue;
    initial_[word] |= d.initial << d.field.shift;
    if (is_table_cell(d.cell)) {
      table_mask_[d.cell.object][word] |= d.field.mask << d.field.shift;
    }
  }
  int words = kMaxPackedWords;
  while (words > 1 && used[words - 1] == 0) words--;
  words_ = static_cast<int>(std::bit_ceil(static_cast<unsigned>(words)));
  return error_.empty();
}

const PackedLayout::Field* PackedLayout::find(Cell c) const {
  if (c.kind == CellKind::kPte) {
    if (c.object >= entries_.size() || c.index >= 512) return nullptr;
    const uint16_t at = entries_[c.object][c.index];
    return at == 0 ? nullptr : &declared_[at - 1].field;
  }
  const auto it = others_.find(key(c));
  if (it == others_.end()) return nullptr;
  for (const uint32_t at : it->second) {
    if (declared_[at].cell == c) return &declared_[at].field;
  }
  return nullptr;
}

bool PackedLayout::encode(const Field& f, uint64_t v, uint64_t& code) const {
  if (f.count == 0) {
    code = v;
    return (v & ~f.mask) == 0;
  }
  for (uint32_t i = 0; i < f.count; i++) {
    if (values_[f.first + i] == v) {
      code = i;
      return true;
    }
  }
  return false;
}

uint32_t PackedLayout::table_of_frame(uint64_t frame) const {
  const auto it = std::find(frames_.begin(), frames_.end(), frame);
  return it == frames_.end() ? kNoTable : static_cast<uint32_t>(it - frames_.begin());
}

}  // namespace mmucheck::model
