// checker/replay/tracepoint: the page tables that the tracepoints told of: which table pages are
// linked, where, and the last value of each of their entries.
//
// A tracepoint names no table, a kprobe may: several rows (two roots, two address spaces whose
// number is not known yet, two VMs) may answer to one gfn and level. Entries of equal value in one
// column of such rows are interchangeable until an address tells them apart. Bounded: kMaxTables
// rows of 512 words, kMaxIdleRoots roots that nothing was linked into; add() beyond gives nullptr.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <span>
#include <unordered_map>
#include <vector>

#include "model/spte/spte.h"

namespace mmucheck::replay {

// An entry whose value is not known; no SPTE has it.
inline constexpr uint64_t kUnknownSpte = ~uint64_t{0};

struct TableRow {
  uint64_t pfn = 0;     // 0: unknown (a root, or linked unseen)
  uint64_t gfn = 0;     // first gfn that it maps
  int level = 0;        // of its entries
  int as_id = -1;       // -1: not known yet
  uint32_t vm = 0;      // 0: unknown
  uint32_t root = 0;    // 1.. in the order in which roots were made; 0: linked unseen
  uint64_t page = 0;    // pfn of the table itself, of a root as well; 0: nothing told
  bool shared = false;  // of a TD: maps memory that it shares with the host
  // Of a table that lost events may have linked (doubt.h): so it is, what is in it is not known,
  // and something was stored in it.
  bool fresh = false, unknown = false, used = false;
  bool used_behind = false;  // the same, behind all losses: it is linked then
  // Lost events may have cut it off (doubt.h); and, of one that they may have linked, have, if they
  // did: its removal alone may still be told.
  bool cut = false, gone = false;
  bool guessed = false;  // of some change it is not told that it, and no other table, is meant
  std::array<uint64_t, 512> e{};

  bool fits(int space, uint32_t in_vm) const {
    return (as_id < 0 || space < 0 || as_id == space) && (vm == 0 || in_vm == 0 || vm == in_vm);
  }
};

// A page is mapped there, as far as is known.
inline bool maps_page(uint64_t spte, int level) {
  return spte != kUnknownSpte && model::is_shadow_present_pte<>(spte) &&
         model::is_last_spte<>(spte, level);
}

class EntryBook {
 public:
  static constexpr size_t kMaxTables = 65536;
  static constexpr size_t kMaxIdleRoots = 256;
  static constexpr size_t kMaxRecentlyErased = 1024;

  // `pfn` 0 is a root; with `fill` kUnknownSpte a table that was linked unseen.
  TableRow* add(uint64_t pfn, uint64_t gfn, int level, int as_id, uint32_t vm, uint64_t fill);
  // Rows of the tables whose entries of `level` cover `gfn`; valid until the next add or erase.
  std::span<const std::unique_ptr<TableRow>> at(int level, uint64_t gfn) const;
  TableRow* by_pfn(uint64_t pfn) const;
  // It is told which page the table is.
  void set_page(TableRow* row, uint64_t pfn);
  // Was a table with that page dropped lately?
  bool erased_lately(uint64_t pfn) const;
  void erase(TableRow* row);
  void clear();
  size_t size() const { return size_; }
  // Rows of tables below an entry, however deep.
  void each_below(int level, uint64_t gfn, const std::function<void(TableRow&)>& row) const;
  // How many rows were ever added.
  uint64_t added() const { return added_; }
  // The page of a root, by its number; 0: nothing told. A page is that of the root that has it
  // last.
  uint64_t root_page(uint32_t root) const;
  void learn_root_page(uint32_t root, uint64_t page);
  // Rows of roots.
  size_t roots() const { return live_roots_; }
  size_t linked() const { return by_pfn_.size(); }

  static uint64_t base(int level, uint64_t gfn) {
    return level >= 5 ? 0 : gfn & ~((uint64_t{1} << (9 * level)) - 1);
  }
  static size_t index(int level, uint64_t gfn) { return gfn >> (9 * (level - 1)) & 511; }

 private:
  static uint64_t key(int level, uint64_t gfn) {
    return base(level, gfn) << 3 | static_cast<uint64_t>(level);
  }
  std::unordered_map<uint64_t, std::vector<std::unique_ptr<TableRow>>> groups_;
  std::unordered_map<uint64_t, TableRow*> by_pfn_;
  std::deque<uint64_t> erased_;
  std::deque<TableRow*> idle_roots_;
  size_t size_ = 0, live_roots_ = 0;
  uint32_t roots_ = 0;
  uint64_t added_ = 0;
  std::unordered_map<uint32_t, uint64_t> root_pages_;
  std::unordered_map<uint64_t, uint32_t> root_of_page_;
};

}  // namespace mmucheck::replay
