// checker/replay/complete: which entries lost events must have changed for what is told to be
// possible, whatever else they did.
//
// The recording is replayed with doubts (tracepoint/doubt.h). The first divergence says which entry
// would have to be otherwise: lost events changed it, or linked a table below one of those above
// it, or made a root. Each of these in turn is doubted as well, until the replay holds or more
// events were needed than were lost. Where none of these ways ends in a replay that holds, no lost
// events explain the recording: a change is one event, and each of another entry another one; a
// link takes its kvm_mmu_get_page besides, a map its request and its kvm_mmu_set_spte, the removal
// of a table all that is told of its entries, and each the kprobes that are hit on the way, as far
// as these cannot have been told. What it takes depends on what the entry held until then, and on
// what is seen. A second table at a place takes another root, or the removal of the first.
//
// Of one lost event the ways that are left are tried for what they are (one_event.h).
#pragma once

#include <cstddef>
#include <functional>
#include <optional>

#include "checker/replay/complete/recording.h"

namespace mmucheck::replay {

// Replays until the ways are too many.
inline constexpr size_t kMaxWays = 512;

struct NoWay {
  Lacking first;  // the first divergence with nothing but threads in doubt
};

// `lost`: how many events. nullopt: there may be a way.
// `found`: one event that explains all was found, and put in.
std::optional<NoWay> no_way(GappedRecording& recording, size_t lost,
                            const std::function<bool()>& tick, size_t& replays, bool& found);

}  // namespace mmucheck::replay
