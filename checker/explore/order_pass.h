// Layer: checker/explore. Contract: behind a search, which kinds of steps come before which on some
// of its paths: each state that was expanded is expanded again, in the same way, and handed the
// kinds on the paths to it; where a path that is found later leads to a state that had its turn,
// that one has another, until nothing is new. By one worker; a set of kinds for each state.
#pragma once

#include <array>
#include <vector>

#include "checker/explore/scenario_system.h"
#include "checker/explore/search.h"

namespace mmucheck::explore {

class OrderPass {
 public:
  using Kinds = StepOrders::Kinds;
  using State = ScenarioSystem::State;
  using Searched = Search<ScenarioSystem>;

  OrderPass(const ScenarioSystem& system, const Searched& search)
      : search_(search), worker_(system.worker()) {
    for (unsigned shard = 0; shard < kShards; shard++) {
      before_[shard].resize(search.size(shard));
      due_[shard].resize(search.size(shard));
    }
    const Searched::Place first = search.find(system.initial());
    due_[first.shard][first.index] = true;
  }
  // Bytes that it takes for a search that has come to so many states.
  static uint64_t bytes(uint64_t states) { return states * (sizeof(Kinds) + 1); }

  // By kind: those that come before one. `stop()`: asked now and then; true: nothing comes of it.
  template <class Stop>
  std::vector<Kinds> run(const Stop& stop) {
    std::vector<Kinds> found(StepOrders::kMaxKinds);
    bool stopped = false;
    uint64_t expanded = 0;
    for (bool again = true; again && !stopped;) {
      again = false;
      search_.for_each_expanded([&](Searched::Place at, const auto& known) {
        if (!due_[at.shard][at.index]) return true;
        due_[at.shard][at.index] = false;
        Steps steps{*this, before_[at.shard][at.index], found, known};
        worker_.expand(search_.at(at), steps);
        again = true;
        stopped = ++expanded % kStop == 0 && stop();
        return !stopped;
      });
    }
    return stopped ? std::vector<Kinds>() : std::move(found);
  }

 private:
  static constexpr uint64_t kStop = 1024;

  template <class Known>
  struct Steps {  // what the worker tells, of one state
    OrderPass& pass;
    Kinds before;
    std::vector<Kinds>& found;
    const Known& is_known;

    void made(const State& to) {
      violates(kNothing);
      const Searched::Place at = pass.search_.find(to);
      if (at.index == kNoState) return;
      Kinds behind = before;
      behind.add(pass.worker_.kind());
      Kinds& there = pass.before_[at.shard][at.index];
      uint8_t& due = pass.due_[at.shard][at.index];
      // It has at least the kind of this step, so nobody is left out.
      if (there.join(behind)) due = true;
    }
    void violates(unsigned) { found[pass.worker_.kind()].join(before); }
    bool known(const State& s) const { return is_known(s); }
  };

  const Searched& search_;
  ScenarioSystem::Worker worker_;
  std::array<std::vector<Kinds>, kShards> before_;  // by state
  std::array<std::vector<uint8_t>, kShards> due_;
};

}  // namespace mmucheck::explore
