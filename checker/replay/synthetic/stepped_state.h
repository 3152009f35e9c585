// checker/replay: the state of a hand-written trace whose threads are stepped by machine steps: by
// value, to come back to, and as bytes, to tell two states apart.
//
// Contract: one VM. Two states with equal parts() do the same from here on; the converse does not
// hold: values that no step reads any more, and the numbers of tables and frames by their order of
// allocation, are part of it. Counters of the verdict and of the tally are no state. What a TD, its
// vCPUs and the host are made of does not change while threads are stepped, nor do a VM's flags.
#pragma once

#include <array>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "checker/replay/synthetic/synthetic_replayer.h"
#include "model/store/footprint.h"

namespace mmucheck::replay {

class SteppedState {
 public:
  // The replayer's state now. Throws std::logic_error unless it has exactly one VM.
  explicit SteppedState(const SyntheticReplayer& r);
  void restore(SyntheticReplayer& r) const;

  // The replayer's state now: each table, what is in no table (the VM's own cells, those by object,
  // those of the TDX module), what is in no cell, and each thread that does something.
  static std::vector<std::string> parts(const SyntheticReplayer& r);

  // --- slot by slot, for who keeps equal contents once (stepped_slots.cc) ---
  // A state is what its slots hold, as bytes, and what its threads do. A slot has what the monitor
  // remembers, which tables live in which frames (and what else is in no cell), the cells of some
  // kinds, or one table. Empty: nothing.
  using Slot = uint32_t;
  static constexpr Slot kMonitorSlot = 0, kFramesSlot = 1, kFirstGroupSlot = 2;
  static constexpr Slot kCellGroups = 8, kFirstTableSlot = kFirstGroupSlot + kCellGroups;
  static constexpr Slot kSlots = 64;  // the last one has all tables from there on
  // Where a cell that a step touched is (model/store/footprint.h).
  static Slot slot_of(model::Cell c);
  static std::string content(const SyntheticReplayer& r, Slot slot);
  static std::string content_of_thread(const SyntheticReplayer& r, uint32_t thread);
  struct Running {  // what the content does not tell of a thread that does something
    struct Begun {  // an operation
      uint64_t line;
      std::string_view name;
      bool stepped, by_machine;
      trace::KindSet observed;
    };
    std::vector<Begun> stack;
    uint64_t last_event = 0;
    PendingInputs in;
    std::vector<uint64_t> frames;
    bool in_hook = false;
  };
  using KeptThread = std::shared_ptr<const Running>;
  static KeptThread keep_thread(const SyntheticReplayer& r, uint32_t thread);  // nullptr: nothing
  static size_t bytes_of(const Running& thread);  // that are kept, about

  struct Change {
    Slot slot;
    const std::string *from, *to;
  };
  // What the slots hold now, and shall hold: contents of any replayer of the same scenario. What
  // only reports name (packets that have begun an operation) may be that of another state.
  static void put(SyntheticReplayer& r, std::span<const Change> changes);
  static void put_thread(SyntheticReplayer& r, uint32_t thread, const std::string& content,
                         const KeptThread& kept);
  // From here on each of the threads numbers the tables that it allocates by itself. Which threads
  // allocate in which order is then no difference between states; nothing but reports looks at the
  // numbers as such. Which slots have the first tables of each thread then: no others have those.
  struct OwnSlots {
    Slot first = 0, each = 0;  // of the first thread, and then of each; none where all have too few
  };
  static OwnSlots number_by_thread(SyntheticReplayer& r, std::span<const uint32_t> threads);
  // What threads are inside of, as counts: mmu_lock for read, for write, and hooks. The code only
  // asks of these whether they are 0.
  static constexpr size_t kInsides = 3;
  static model::Cell inside_cell(size_t which);
  static std::array<uint64_t, kInsides> inside(const SyntheticReplayer& r);
  // Of the steps from here on; nullptr: of none.
  static void record(SyntheticReplayer& r, model::Footprint* footprint);

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
  static void put_frames(SyntheticReplayer& r, const std::string& bytes);

  model::RadixStore store_;
  std::unordered_map<uint32_t, model::TdxHook> hooks_;
  std::unordered_map<uint32_t, uint32_t> roles_;
  uint64_t next_frame_ = 0;
  std::vector<ReplayEnv::TableNumbers> numbers_;
  std::shared_ptr<const invariant::Monitor> monitor_;
  std::map<uint32_t, SyntheticReplayer::Thread> threads_;
};

}  // namespace mmucheck::replay
