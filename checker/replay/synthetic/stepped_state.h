// checker/replay: the state of a hand-written trace whose threads are stepped by machine steps: by
// value, to come back to, and as bytes, to tell two states apart.
//
// Contract: one VM. Two states with equal parts() do the same from here on; the converse does not
// hold: values that no step reads any more, and the numbers of tables and frames by their order of
// allocation, are part of it. Counters of the verdict and of the tally are no state. What a TD, its
// vCPUs and the host are made of does not change while threads are stepped, nor do a VM's flags.
#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "checker/replay/synthetic/synthetic_replayer.h"

namespace mmucheck::replay {

class SteppedState {
 public:
  // The replayer's state now. Throws std::logic_error unless it has exactly one VM.
  explicit SteppedState(const SyntheticReplayer& r);
  void restore(SyntheticReplayer& r) const;

  // The replayer's state now: each table, what is in no table (the VM's own cells, those by object,
  // those of the TDX module), what is in no cell, and each thread that does something.
  static std::vector<std::string> parts(const SyntheticReplayer& r);

  // --- one by one, for who keeps equal parts once (stepped_parts.cc) ---
  class Part;
  using KeptPart = std::shared_ptr<const Part>;
  // Part `i` of parts().
  static KeptPart keep(const SyntheticReplayer& r, size_t i);
  static std::vector<KeptPart> keep_all(const SyntheticReplayer& r);
  // Makes the state whose parts are `now` into that of `wanted`, of whatever replayer of the same
  // scenario they were kept. What only reports name (packets that have begun an operation) may be
  // that of another state with equal parts.
  static void put(SyntheticReplayer& r, std::span<const Part* const> now,
                  std::span<const Part* const> wanted);

  // --- a thread of the replayer ---
  static bool running(const SyntheticReplayer& r, uint32_t thread);
  // Its last machine step came to a lock that others hold.
  static bool blocked(const SyntheticReplayer& r) { return r.last_run_ == model::Run::kBlocked; }
  // Its next step asks how a SEAMCALL of a hook is answered that other parties' locks can make
  // BUSY: not where KVM has kicked all vCPUs out and tries a second time.
  static bool may_be_busy(const SyntheticReplayer& r, uint32_t thread);
  // Its next step may come to where a walk looks whether it must drop mmu_lock.
  static bool walks(const SyntheticReplayer& r, uint32_t thread);
  // It was told to yield and has not come to such a place.
  static bool yield_is_due(const SyntheticReplayer& r, uint32_t thread);
  // What its last machine step showed.
  static const std::vector<Predicted>& shown(const SyntheticReplayer& r, uint32_t thread);
  // Where its operation is over, nothing is left of it (a hook that has returned).
  static void forget_what_is_over(SyntheticReplayer& r, uint32_t thread);
  // mmu_lock: readers inside, and 1 for a writer.
  static std::pair<uint64_t, uint64_t> lock(const SyntheticReplayer& r);

 private:
  // The parts of the store, in order: begin(i) when part i begins, then its cells.
  template <class Begin, class CellF>
  static void for_cells(const model::RadixStore& store, const Begin& begin, const CellF& cell);

  model::RadixStore store_;
  std::unordered_map<uint32_t, model::TdxHook> hooks_;
  std::unordered_map<uint32_t, uint32_t> roles_;
  uint64_t next_frame_ = 0;
  std::shared_ptr<const invariant::Monitor> monitor_;
  std::map<uint32_t, SyntheticReplayer::Thread> threads_;
};

template <class Begin, class CellF>
void SteppedState::for_cells(const model::RadixStore& store, const Begin& begin,
                             const CellF& cell) {
  size_t part = 0;
  const auto group = [](model::Cell c) {
    return c.kind <= model::kLastScalar ? 0 : c.kind < model::kFirstModuleCell ? 1 : 2;
  };
  int at = -1;  // the group that is begun; -1: a table
  store.for_each(
      [&](uint32_t table) {
        begin(part++);
        if (table == model::kNoTable) at = 0;
      },
      [&](model::Cell c, uint64_t v) {
        for (; at >= 0 && at < group(c); at++) begin(part++);
        cell(c, v);
      });
  for (; at < 2; at++) begin(part++);
}

}  // namespace mmucheck::replay
