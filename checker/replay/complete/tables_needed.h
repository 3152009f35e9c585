// checker/replay/complete: how many events must have been lost, at least, for what is told behind
// the last loss to be possible.
//
// Each table has one entry at a place (address space, level, gfn), and each change takes the value
// that one of these entries has and leaves another there. A change behind the loss whose old value
// no other change can have left since is therefore of a table that was there when the last events
// were lost, another one for each such change. More of them than tables at that place when the
// first were lost: the others were linked by what was lost, below tables that were there, or were
// linked as well, up to a root. A link takes two events (kvm_mmu_get_page and the change), a root
// one; a table in which a value was found that no new table has takes another change. Kprobes that
// are recorded are hit before: tdp_mmu_init_sp, handle_changed_spte.
//
// All of this is a lower bound, also for changes of any order: a store lies behind the event of
// its thread before its own and not behind its own; changes behind the loss whose store may not be
// are not looked at, but they and whatever a fast page fault or a link may have left count as
// leaving values. Tables that are being removed need no entry above them. So a recording of which
// some events are missing never needs more than these.
// Bounds: a place with more than kMaxToldOfPlace changes is not looked at.
//
// Source of the rules: tdp_mmu.c: handle_changed_spte, handle_removed_pt, tdp_mmu_link_sp,
// kvm_tdp_mmu_map; mmu.c: fast_page_fault.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <unordered_map>
#include <vector>

#include "checker/replay/tracepoint/legal_values.h"
#include "checker/trace/event_source.h"

namespace mmucheck::replay {

class TablesNeeded {
 public:
  static constexpr size_t kMaxToldOfPlace = 1024;

  struct Place {
    int as_id = 0, level = 0;
    uint64_t gfn = 0;
    auto operator<=>(const Place&) const = default;
  };
  struct Needed {
    Place place;
    uint64_t line = 0;            // of the change that shows it
    size_t tables = 0;            // that were there behind the last loss, at least
    size_t there = 0;             // of them, when the first events were lost, at most
    size_t roots = 0, links = 0;  // lost, at least
    size_t pages = 0;             // kvm_mmu_get_page of these links
    size_t changes = 0;           // of entries of the new tables
    size_t probes = 0;            // of these, that are recorded as well
    size_t elsewhere = 0;         // events that another address space needs
    size_t events() const { return roots + links + pages + changes + probes; }
  };
  // How many tables there were at a place, at most, when the first events were lost.
  using TablesThere = std::function<size_t(const Place& entry)>;

  // Where a packet stands: before any event may have been lost, behind the first and not the last
  // of them, behind all.
  enum class Phase : uint8_t { kBefore, kAmong, kBehind };

  // Are tdp_mmu_init_sp and handle_changed_spte recorded?
  struct Probes {
    bool init_sp = false, changed_spte = false;
  };

  TablesNeeded(const ValueFacts& values, Probes probes, TablesThere there)
      : values_(values), probes_(probes), there_(std::move(there)) {}

  // All recorded events, in their order; `at` is 1 and up.
  void add(const trace::Event& e, size_t at, Phase phase);
  // Of the places looked at the one that needs most events, and how many another address space
  // needs besides; ends where that is more than `lost`. nullopt: none needs any.
  std::optional<Needed> needed(size_t lost) const;

 private:
  struct Told {
    size_t after = 0, at = 0;
    uint64_t line = 0, old_spte = 0, new_spte = 0;
    bool behind = false;       // the store surely is
    bool any = false;          // what it left is not known
    bool old_removal = false;  // if it is of a removal, that may be older than the last loss
  };
  struct Thread {
    size_t last = 0;
    bool anew = false;            // behind the last loss it did something else than remove tables
    bool took_page = false;       // and changed nothing since
    bool made_table = false;      // tdp_mmu_init_sp, and took no page since
    size_t entered = 0;           // calls of handle_changed_spte without their tracepoint
    std::vector<Place> removing;  // tables (of the gfn), and nothing else since
  };

  void add_probe(const trace::Event& e, Phase phase);
  void add_change(const trace::Event& e, Told told);
  void add_fast_fault(const trace::Event& e, Told told);
  void add_page(const trace::Event& e, Thread& t, Told told, Phase phase);
  void add_removal(const trace::Event& e, Thread& t, const Told& told);
  void begin();
  size_t removals(const Place& entry) const;
  Needed needs(const Place& entry, size_t tables) const;
  std::vector<Told> left_at(const Place& entry) const;
  // Calls `found` with each change of `which` that needs a table of its own, and how many there are
  // so far; false stops.
  void tables_of(const Place& entry, const std::function<bool(const Told&)>& which,
                 const std::function<bool(const Told&, size_t)>& found) const;
  // How many of them had no table linked in the entry.
  size_t without_table(const Place& entry) const;

  ValueFacts values_;
  Probes probes_;
  TablesThere there_;
  bool began_ = false;
  size_t behind_ = 0;  // the first event behind all losses
  std::unordered_map<uint32_t, Thread> threads_;
  std::map<Place, std::vector<Told>> changes_;
  std::map<Place, std::vector<Told>> links_;  // of the tables, by their first entry
  std::map<Place, std::vector<Told>> fast_;   // address space 0
  std::vector<Told> roots_;
  std::map<Place, size_t> removed_;       // tables, by their first entry; space 0
  std::map<Place, size_t> linked_among_;  // the same, linked before the last loss
  size_t roots_among_ = 0, removed_anywhere_ = 0;
  size_t pages_told_ = 0;                    // kvm_mmu_get_page whose link may be lost
  size_t made_told_ = 0, entered_told_ = 0;  // probes whose tracepoint may be
};

}  // namespace mmucheck::replay
