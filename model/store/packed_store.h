// model/store: the store that exploration uses: a state is a few 64-bit words, and which cell lies
// where is data, one layout a scenario.
//
// A layout declares every page table that may live (with its fixed id and frame), every entry that
// may be used, and for each cell how it is kept: a number of some bits, or a code for one of the
// values that the scenario allows; one allowed value makes a constant, which costs nothing. No
// field crosses a word. A cell that is not declared holds 0, an entry of a declared table
// kNonpresent.
//
// Contract: as RadixStore (get of a fresh table's entry gives kNonpresent, get of a dead table's
// cell is poisoned), but alloc_table gives the table that was declared with that frame, and what a
// scenario did not foresee is an error of the state: error() keeps the first one, the cell keeps
// its value. Undeclared entries swallow kNonpresent and the frozen value, which the removal of a
// table stores everywhere: no walk of the scenario reaches them. alloc_table and free_table reset
// the cells of the table, so equal situations are equal words.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "model/store/cell.h"

namespace mmucheck::model {

inline constexpr int kMaxPackedWords = 8;
inline constexpr uint32_t kMaxPackedTables = 256;

enum class PackedError : uint8_t {
  kNone,
  kValue,       // a value that the scenario does not allow in that cell
  kUndeclared,  // a store to a cell that is not declared
  kFrame,       // a table in a frame that is not declared, or in one that is taken
  kPoisoned,    // an access to a table that does not live
};

class PackedLayout {
 public:
  struct Field {
    uint8_t word = 0;
    uint8_t shift = 0;
    uint64_t mask = 0;       // of the code, before the shift
    uint32_t first = 0;      // of its values; unused when `count` is 0
    uint32_t count = 0;      // 0: a plain number
  };

  explicit PackedLayout(uint64_t frozen) : frozen_(frozen) {}

  // The next table id, from 0; its kSpState and kSpPfn are declared with it.
  uint32_t add_table(uint64_t frame);
  void add_number(Cell c, int bits, uint64_t initial = 0);
  // `allowed[0]` is the value at the start, and that of a fresh table's cell: kNonpresent for
  // entries.
  void add_values(Cell c, std::vector<uint64_t> allowed);
  void add_constant(Cell c, uint64_t value) { add_values(c, {value}); }
  // All cells of the kind: they read 0 and forget what is stored (statistics).
  void ignore(CellKind kind) { ignored_[static_cast<size_t>(kind)] = true; }

  // Assigns places. False, and error() says why, when the declarations do not fit together.
  bool finish();
  const std::string& error() const { return error_; }

  int bits() const { return bits_; }
  int words() const { return words_; }  // 1, 2, 4 or 8
  uint32_t tables() const { return static_cast<uint32_t>(frames_.size()); }
  uint64_t frame(uint32_t table) const { return frames_[table]; }
  uint64_t frozen() const { return frozen_; }
  const std::array<uint64_t, kMaxPackedWords>& initial() const { return initial_; }
  // What a table's cells occupy, to reset them, and their codes when fresh.
  const std::array<uint64_t, kMaxPackedWords>& table_mask(uint32_t table) const {
    return table_mask_[table];
  }

  const Field* find(Cell c) const;
  bool ignored(CellKind kind) const { return ignored_[static_cast<size_t>(kind)]; }
  uint64_t decode(const Field& f, uint64_t code) const {
    return f.count == 0 ? code : code < f.count ? values_[f.first + code] : 0;
  }
  // False when the field cannot hold `v`.
  bool encode(const Field& f, uint64_t v, uint64_t& code) const;
  // The table declared with `frame`, or kNoTable.
  uint32_t table_of_frame(uint64_t frame) const;

 private:
  static constexpr size_t kKinds = static_cast<size_t>(kLastCellKind) + 1;
  struct Declared {
    Cell cell;
    int bits;
    uint64_t initial;
    Field field;
  };
  static uint64_t key(Cell c) {
    return static_cast<uint64_t>(c.kind) << 56 ^ static_cast<uint64_t>(c.object) << 40 ^ c.index;
  }
  void declare(Cell c, int bits, uint64_t initial, uint32_t first, uint32_t count);
  void fail(const std::string& why) {
    if (error_.empty()) error_ = why;
  }

  uint64_t frozen_;
  std::vector<uint64_t> frames_;
  std::vector<uint64_t> values_;
  std::vector<Declared> declared_;
  std::vector<std::array<uint16_t, 512>> entries_;  // by table: index in declared_, + 1
  std::unordered_map<uint64_t, std::vector<uint32_t>> others_;  // by key: indices in declared_
  std::array<bool, kKinds> ignored_{};
  std::array<uint64_t, kMaxPackedWords> initial_{};
  std::vector<std::array<uint64_t, kMaxPackedWords>> table_mask_;
  std::string error_;
  int bits_ = 0;
  int words_ = 0;
};

template <int W>
class PackedStore {
 public:
  using State = std::array<uint64_t, W>;

  // `layout` is finished, has at most W words, and outlives the store.
  explicit PackedStore(const PackedLayout& layout) : layout_(&layout) {
    std::copy_n(layout.initial().begin(), W, state_.begin());
  }

  const State& state() const { return state_; }
  void set_state(const State& s) {
    state_ = s;
    error_ = PackedError::kNone;
  }
  PackedError error() const { return error_; }
  Cell error_cell() const { return error_cell_; }
  uint64_t error_value() const { return error_value_; }

  uint64_t get(Cell c) const {
    if (!usable(c)) return poisoned(c);
    const PackedLayout::Field* f = layout_->find(c);
    if (f != nullptr) return layout_->decode(*f, state_[f->word] >> f->shift & f->mask);
    return c.kind == CellKind::kPte ? kNonpresentEntry : 0;
  }

  void set(Cell c, uint64_t v) {
    if (!usable(c)) {
      poisoned(c);
      return;
    }
    const PackedLayout::Field* f = layout_->find(c);
    if (f == nullptr) return set_undeclared(c, v);
    uint64_t code;
    if (!layout_->encode(*f, v, code)) return fail(PackedError::kValue, c, v);
    uint64_t& word = state_[f->word];
    word = (word & ~(f->mask << f->shift)) | code << f->shift;
  }

  bool cas(Cell c, uint64_t& expected, uint64_t desired) {
    const uint64_t found = get(c);
    if (found != expected) {
      expected = found;
      return false;
    }
    set(c, desired);
    return true;
  }

  // Returns the new value (of an ignored cell: what was added).
  uint64_t add(Cell c, uint64_t delta) {
    const uint64_t v = get(c) + delta;
    set(c, v);
    return v;
  }

  uint32_t alloc_table(uint64_t frame) {
    const uint32_t table = layout_->table_of_frame(frame);
    if (table == kNoTable || is_live(table)) {
      fail(PackedError::kFrame, cell::of(CellKind::kSpPfn, table), frame);
      return kNoTable;
    }
    set_state_of(table, SpState::kAllocated);
    return table;
  }

  void free_table(uint32_t table) {
    if (!is_live(table)) return;
    for (size_t w = 0; w < W; w++) state_[w] &= ~layout_->table_mask(table)[w];
  }

  // Frames are fixed: true when the table is in that one.
  bool move_table(uint32_t table, uint64_t frame) {
    if (is_live(table) && layout_->frame(table) == frame) return true;
    fail(PackedError::kFrame, cell::of(CellKind::kSpPfn, table), frame);
    return false;
  }

  uint32_t find_table(uint64_t frame) const {
    const uint32_t table = layout_->table_of_frame(frame);
    return table != kNoTable && is_live(table) ? table : kNoTable;
  }

  bool is_live(uint32_t table) const {
    if (table >= layout_->tables()) return false;
    const PackedLayout::Field* f = layout_->find(cell::of(CellKind::kSpState, table));
    return (state_[f->word] >> f->shift & f->mask) != static_cast<uint64_t>(SpState::kFree);
  }

  uint64_t poisoned_reads() const { return poisoned_reads_; }

 private:
  static constexpr uint64_t kNonpresentEntry = uint64_t{1} << 63;

  bool usable(Cell c) const {
    return c.kind > kLastTableField || is_live(c.object);
  }
  uint64_t poisoned(Cell c) const {
    poisoned_reads_++;
    fail(PackedError::kPoisoned, c, 0);
    return 0;
  }
  void set_undeclared(Cell c, uint64_t v) {
    if (layout_->ignored(c.kind)) return;
    if (c.kind == CellKind::kPte) {
      if (v == kNonpresentEntry || v == layout_->frozen()) return;
    } else if (v == 0) {
      return;
    }
    fail(PackedError::kUndeclared, c, v);
  }
  void set_state_of(uint32_t table, SpState s) {
    const PackedLayout::Field* f = layout_->find(cell::of(CellKind::kSpState, table));
    uint64_t& word = state_[f->word];
    word = (word & ~(f->mask << f->shift)) | static_cast<uint64_t>(s) << f->shift;
  }
  void fail(PackedError e, Cell c, uint64_t v) const {
    if (error_ != PackedError::kNone) return;
    error_ = e;
    error_cell_ = c;
    error_value_ = v;
  }

  const PackedLayout* layout_;
  State state_{};
  mutable PackedError error_ = PackedError::kNone;
  mutable Cell error_cell_{CellKind::kPte};
  mutable uint64_t error_value_ = 0;
  mutable uint64_t poisoned_reads_ = 0;
};

}  // namespace mmucheck::model
