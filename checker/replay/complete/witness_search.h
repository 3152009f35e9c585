// checker/replay/complete: a witness, looked for one divergence after the other.
//
// What the first divergence lacks (tracepoint/missing.h) is put where events were lost, and the
// replay goes on from there; where that leads nowhere, the next alternative, or the next gap. What
// explains no more of the recording is followed for a few steps only, at first for fewer.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "checker/replay/complete/complete.h"
#include "checker/replay/complete/recording.h"

namespace mmucheck::replay {

class WitnessSearch {
 public:
  // `another`: an entry of which what was lost may have made another table.
  WitnessSearch(GappedRecording& recording, const std::function<bool()>& tick,
                const std::optional<EntryPlace>& another = std::nullopt)
      : recording_(recording), tick_(tick), another_(another) {}

  // True: `recording` has the witness.
  bool run();
  // The same, with less patience.
  bool run_briefly();

  // A finding that no lost event can be behind.
  const std::optional<Lacking>& before_loss() const { return before_loss_; }
  uint64_t attempts() const { return attempts_; }
  // The finding that came last in the recording: what remains unexplained.
  const Lacking& stuck() const { return stuck_; }
  bool gave_up() const { return gave_up_; }

 private:
  enum class Step : uint8_t { kBetter, kSame, kWorse };

  std::optional<Attempt> attempt();
  std::vector<Missing> candidates(const Missing& lack, size_t marker) const;
  Step compare(const Attempt& now, const Attempt& next, size_t reached) const;
  bool search(const Attempt& now, int without_progress);
  bool try_gap(const Attempt& now, const Missing& lack, size_t marker, int without_progress);

  GappedRecording& recording_;
  const std::function<bool()>& tick_;
  std::optional<EntryPlace> another_;
  uint64_t attempts_ = 0, replayed_ = 0;
  uint64_t explained_at_ = 0;  // when more of the recording than ever was explained
  size_t stuck_reached_ = 0;
  Lacking stuck_;
  std::optional<Lacking> before_loss_;
  size_t patience_ = kPatience;
  int max_without_progress_ = 0;
  bool cut_short_ = false;  // by that
  bool gave_up_ = false;
};

}  // namespace mmucheck::replay
