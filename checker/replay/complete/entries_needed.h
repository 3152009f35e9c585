// checker/replay/complete: which entries lost events must have changed for what is told to be
// possible, whatever else they did.
//
// The recording is replayed with doubts (tracepoint/doubt.h). The first divergence says which entry
// would have to be otherwise: lost events changed it, or linked a table below one of those above
// it, or made a root. Each of these in turn is doubted as well, until the replay holds or more
// events were needed than were lost. Where none of these ways ends in a replay that holds, no lost
// events explain the recording: a change is one event, and each of another entry another one; what
// the others take is in event_costs.h. A second table at a place takes another root, or the removal
// of the first; a table that took the place of a huge page holds what that mapped.
//
// A way ends where the lost events that it needs were not lost before what they are to explain, or
// not on the CPUs that lost some (lost_by_cpu.h), or leave no room for those that were surely lost
// (surely_lost.h), or for the changes of other entries that are read as pages behind the gap.
//
// Of one lost event the ways that are left are tried for what they are (one_event.h).
#pragma once

#include <cstddef>
#include <functional>
#include <optional>

#include "checker/replay/complete/recording.h"

namespace mmucheck::replay {

// Replays until the ways are too many, and events of all of them.
inline constexpr size_t kMaxWays = 8192;
inline constexpr uint64_t kMaxEventsOfWays = 100'000'000;

struct NoWay {
  Lacking first;  // the first divergence with nothing but threads in doubt
};

// What is known where there may be a way.
struct MaybeWay {
  bool found = false;           // one event that explains all was found, and put in
  std::optional<Doubts> holds;  // with these in doubt the replay holds
  size_t before = 0;            // position of the event that needs it, of the last of these
  uint32_t vm = 0;              // that it is about; 0: not told
};

// `lost`: how many events. nullopt: there may be a way.
std::optional<NoWay> no_way(GappedRecording& recording, size_t lost,
                            const std::function<bool()>& tick, size_t& replays, MaybeWay& maybe);

}  // namespace mmucheck::replay
