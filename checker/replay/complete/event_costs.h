// checker/replay/complete: how many lost events it takes, at least, to change an entry, to link a
// table there, to make a root.
//
// A change is one event, or two where the call of handle_changed_spte is told; a link takes its
// kvm_mmu_get_page besides, a map its request and its kvm_mmu_set_spte, the removal of a table all
// that is told of its entries, and each the kprobes that are hit on the way, as far as these cannot
// have been told. What it takes depends on what the entry held until then, on what is seen, and on
// what was counted already.
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <map>
#include <optional>
#include <vector>

#include "checker/replay/complete/recording.h"

namespace mmucheck::replay {

// What a finding is about beside the entry.
struct Asked {
  size_t until = SIZE_MAX;       // position: lost events came before
  std::optional<uint64_t> seen;  // what the entry that is otherwise must hold
  uint32_t vm = 0;               // of the entry; 0: any
  uint64_t table = 0;            // its page; 0: any
  auto operator<=>(const Asked&) const = default;
};

// An entry whose change is in doubt: what was counted of that, and what it was to explain.
struct Counted {
  size_t events = 0;
  Asked asked;
  auto operator<=>(const Counted&) const = default;
};
using CountedChanges = std::map<EntryPlace, Counted>;

bool is_in(const std::vector<EntryPlace>& places, const EntryPlace& place);

class EventCosts {
  using Told = GappedRecording::Told;
  using Begun = Told::Begun;

 public:
  static constexpr int kRootLevel = 4;
  // Of a map, with all its kprobes.
  static constexpr size_t kMostOfMap = 6;

  explicit EventCosts(const GappedRecording& recording)
      : recording_(recording), losses_end_(recording.losses_end()) {}

  // The finding that the costs are for.
  Asked asked;
  CountedChanges counted;

  size_t counted_of(const EntryPlace& entry) const;
  // Of the removal of the table that the entry links: of how many entries.
  size_t counted_below(const EntryPlace& entry) { return counted_below(told_of(entry)); }

  size_t of_root(const EntryPlace& entry);
  size_t of_link(const EntryPlace& entry);
  // The same, where a change of the entry may have been counted already, and (`again`) the table
  // that is there is removed before.
  size_t of_link(const EntryPlace& entry, const Doubts& done, bool again);
  // A table where one is in doubt already: of another root, or the first is cut off again.
  size_t of_another(const EntryPlace& entry, const Doubts& done);
  // A table took the place of a huge page that what was lost mapped before.
  size_t of_split(const EntryPlace& table);
  size_t of_fault(const EntryPlace& entry) { return of_fault(begun_of(told_of(entry))); }
  size_t of_map(const EntryPlace& entry) { return of_map(told_of(entry)); }
  // `anew`: it may be an entry of a table that was linked for it.
  size_t of_change(const EntryPlace& entry, const Doubts& done, bool anew = false);

  // A link in an empty entry is part of a fault.
  bool is_in_fault(const EntryPlace& entry);
  // Is there no way to change it without a map?
  bool is_map(const EntryPlace& entry, size_t events);
  // Was there a table with the entry, that linked none there already?
  bool may_be_linked(const EntryPlace& entry, const Doubts& done);
  bool may_be_of_split(const EntryPlace& entry) const;
  // Is what was read behind the losses read in a table that took the place of the one before?
  bool is_in_next_table(const EntryPlace& entry, const Doubts& done);

 private:
  const Told& told_of(const EntryPlace& entry);
  Begun begun_of(const Told& told) const { return told.begun_until(asked.until); }
  static size_t counted_below(const Told& told);
  static size_t of_call(const Begun& begun);
  static size_t of_fault(const Begun& begun);
  size_t of_map(const Told& told) const;
  size_t of_removal(const EntryPlace& entry, const Doubts& done);
  size_t of_use(const EntryPlace& entry);
  size_t in_new_table(const EntryPlace& entry);
  size_t of_change_there(const EntryPlace& entry, const Doubts& done);
  size_t of_change_from(uint64_t spte, const EntryPlace& entry, const Doubts& done);
  bool may_be_of(const TracepointReplayer::EntryValue& there) const;
  static bool in_removal(const EntryPlace& entry, const Doubts& done);
  static bool may_be_in_new_table(const EntryPlace& entry, const Doubts& done);

  const GappedRecording& recording_;
  size_t losses_end_;  // position
  std::map<EntryPlace, Told> told_;
};

}  // namespace mmucheck::replay
