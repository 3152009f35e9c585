// checker/replay/complete: what a recording that lost events may have lost.
//
// The recording is replayed as if nothing was missing. Each divergence says which events would have
// made it legal (tracepoint/missing.h); they are put where events were lost, one divergence after
// the other, until the whole replays without a finding: a legal execution of what was recorded and
// what is put in. Nothing is put in where nothing needs it, so the witness is small, not complete:
// events that leave no mark can have been lost besides.
//
//   consistent    a witness was found; it replays.
//   inconsistent  the recorded events contradict each other or a rule of one event, with nothing
//                 assumed known after a gap, or before any event can have been lost: no lost event
//                 explains that. Behind a gap two changes of one entry contradict each other
//                 where fewer events were lost than it takes to make another table that one of
//                 them can be of (tables_needed.h), or, counted over all entries, to change those
//                 that must have been changed, those that lost events left in the middle of a
//                 removal among them (entries_needed.h, surely_lost.h). Where kprobes are recorded
//                 they are counted, too, and tell of which table a change is.
//   undetermined  neither, within the bounds below; `detail` is what must have been lost, `lacking`
//                 what would help where the search got stuck.
// A second search may put in another table, or a root and tables, for the entry that needs it; a
// third one those that must have been made (with_tables.h).
// Where one event was lost all are tried that can have changed what must have been changed
// (one_event.h): there is a witness then, or none.
// Bounds: kMaxCompletedEvents events are held in memory, kMaxAttempts replays, kPatience of them
// without getting further, at most as many events in a gap as were lost there, kMaxPerGap where
// their number is unknown.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "checker/report/verdict.h"
#include "checker/trace/event_source.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::replay {

inline constexpr size_t kMaxCompletedEvents = size_t{1} << 20;
inline constexpr size_t kMaxLosingCpus = 1024;
inline constexpr size_t kMaxAttempts = 4096;
inline constexpr size_t kMaxPerGap = 4096;
// Attempts in a row that explain no more of the recording than those before.
inline constexpr size_t kPatience = 100;
// Replayed events of all attempts together.
inline constexpr uint64_t kMaxReplayedEvents = 200'000'000;

enum class Completion : uint8_t { kNothingLost, kConsistent, kInconsistent, kUndetermined };
const char* name_of(Completion completion);

// Where events are missing, and what is put there.
struct CompletedGap {
  uint64_t line = 0;  // of the event that tells of it; 0: before the first event, or `tail`
  uint32_t cpu = 0;
  uint64_t count = 0;  // 0: unknown
  bool tail = false;   // a full ring: what the CPU did last is missing
  std::vector<trace::OwnedEvent> witness;
};

struct CompletionResult {
  Completion answer = Completion::kUndetermined;
  std::string reason;   // inconsistent, undetermined: why
  report::Place place;  // of the event that this is about
  std::string detail;   // what lost events must have done, as far as that is known
  // Undetermined: events before `place` with which it would be legal, and for which no room or no
  // place was found.
  std::vector<trace::OwnedEvent> lacking;
  std::vector<CompletedGap> gaps;  // in the order of the recording
  size_t attempts = 0;             // replays that it took
};

// Reads `source` to its end. `tick` false stops: undetermined.
CompletionResult complete(trace::EventSource& source, const std::function<bool()>& tick = {});

}  // namespace mmucheck::replay
