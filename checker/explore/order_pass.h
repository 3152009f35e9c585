// Layer: checker/explore. Contract: behind a search, which kinds of steps come before which on some
// of its paths: each state that was expanded is expanded again, in the same way, and handed the
// kinds on the paths to it; where a path that is found later leads to a state that had its turn,
// that one has another, until nothing is new. By one worker; a set of kinds for each state.
//
// Under symmetry a state that is kept for another has the kinds on the paths to that one with their
// threads exchanged, in each way that makes the one of the other; and what was found is true with
// threads exchanged.
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
      : system_(system), search_(search), worker_(system.worker()) {
    if (system.symmetry().any()) find_images();
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
    if (stopped) return {};
    if (system_.symmetry().any()) exchange_all(found);
    return found;
  }

 private:
  static constexpr uint64_t kStop = 1024;
  using Kind = StepOrders::Kind;
  using Permutation = LaneSymmetry<ScenarioSystem::kLanes>::Permutation;

  // A step of a thread was run with threads exchanged, so all of its kinds are there.
  void find_images() {
    worker_.keep_made();
    const StepOrders& orders = system_.orders();
    images_.resize(orders.kinds());
    for (Kind k = 0; k < images_.size(); k++) {
      for (unsigned t = 0; t < system_.threads(); t++) {
        images_[k][t] = orders.of_thread(k, t).value_or(k);
      }
    }
  }
  Kind image(Kind k, const Permutation& to) const {
    return images_[k][to[system_.orders().thread_of(k)]];
  }
  Kinds image(const Kinds& some, const Permutation& to) const {
    Kinds all;
    some.for_each([&](Kind k) { all.add(image(k, to)); });
    return all;
  }
  void exchange_all(std::vector<Kinds>& found) const {
    const auto& symmetry = system_.symmetry();
    for (bool more = true; more;) {
      more = false;
      for (unsigned e = 0; e < symmetry.exchanges(); e++) {
        Permutation to;
        for (unsigned t = 0; t < to.size(); t++) to[t] = static_cast<uint8_t>(t);
        std::swap(to[symmetry.exchange(e).a], to[symmetry.exchange(e).b]);
        for (Kind k = 0; k < images_.size(); k++) {
          more |= found[image(k, to)].join(image(found[k], to));
        }
      }
    }
  }

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
      const auto& symmetry = pass.system_.symmetry();
      if (!symmetry.any()) return join(at, behind);
      for (const Permutation& way : symmetry.ways_to(pass.worker_.made_itself(), to)) {
        join(at, pass.image(behind, way));
      }
    }
    // It has at least the kind of this step, so nobody is left out.
    void join(Searched::Place at, const Kinds& behind) {
      if (pass.before_[at.shard][at.index].join(behind)) pass.due_[at.shard][at.index] = true;
    }
    void violates(unsigned) { found[pass.worker_.kind()].join(before); }
    bool known(const State& s) const { return is_known(s); }
  };

  const ScenarioSystem& system_;
  const Searched& search_;
  ScenarioSystem::Worker worker_;
  std::vector<std::array<Kind, kMaxThreads>> images_;  // by kind and thread
  std::array<std::vector<Kinds>, kShards> before_;  // by state
  std::array<std::vector<uint8_t>, kShards> due_;
};

}  // namespace mmucheck::explore
