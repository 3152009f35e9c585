// checker/replay/complete: is there one event that, lost in a gap of one, explains the rest?
//
// Where one event must have changed a given entry (entries_needed.h), there are few that can have:
// a change of it, a fast page fault on it, a kvm_mmu_set_spte that tells which of two tables has
// which value, from what the entry held to what is read of it behind the gap or to what the rules
// make of it, by one of the threads, at one of the places in the gap that differ for it. All of
// them are tried: each is put in, and the whole is replayed.
#pragma once

#include <cstddef>
#include <functional>

#include "checker/replay/complete/recording.h"

namespace mmucheck::replay {

// Replays of one search.
inline constexpr size_t kMaxTried = 8192;

enum class OneEvent : uint8_t {
  kFound,  // and put in
  kNone,
  kTooMany,
};

// A change of the entry, or of what is linked there.
OneEvent one_event_at(GappedRecording& recording, const EntryPlace& entry,
                      const std::function<bool()>& tick, size_t& replays);
// A root.
OneEvent one_root(GappedRecording& recording, const std::function<bool()>& tick, size_t& replays);

}  // namespace mmucheck::replay
