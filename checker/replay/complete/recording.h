// checker/replay/complete: a recording with events put into its gaps, replayed as if it were whole.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "checker/replay/complete/surely_lost.h"
#include "checker/replay/complete/tables_needed.h"
#include "checker/replay/tracepoint/doubt.h"
#include "checker/replay/tracepoint/missing.h"
#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_source.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::replay {

// What one replay found. `at` and `before` of the findings are positions in the sequence (1..).
struct Attempt {
  std::vector<Lacking> findings;  // in the order of the sequence
  std::string violated;           // an invariant that one recorded change breaks; empty: none
  report::Place violated_at;
  uint64_t direct_bits = 0;  // that were told of, at the end
  int root_level = 4;
  std::optional<Lacking> before_loss;  // a finding that came when nothing could be lost yet
};

class GappedRecording {
 public:
  explicit GappedRecording(trace::EventSource& source);

  bool too_long() const { return too_long_; }
  bool lossy() const { return !gaps_.empty() || ends_early_; }
  size_t size() const { return sequence_.size(); }

  struct Gap {
    trace::LostEvents lost;
    bool names_cpu = false;  // whose events were lost
    size_t put_in = 0;       // lost events that what was put in takes
    size_t begun = 0;        // kprobes before it whose tracepoints may be among these
  };
  const std::vector<Gap>& gaps() const { return gaps_; }

  // As if nothing was lost, or (`forgetting`) as ever.
  Attempt replay(bool forgetting) const;
  // As if nothing was lost, with doubts about what lost events may have done while they were being
  // lost.
  Attempt replay(const Doubts& doubts) const;

  // Does the whole replay without a finding?
  bool holds() const;
  // What an entry held while events were being lost, and what is read of it since then, as the
  // events that are there tell it; the replay's rules of values.
  struct Told {
    // Of an operation that was under way when events began to be lost need not be lost what was
    // told of it: of a map the request, kvm_tdp_mmu_map and tdp_iter_start, of a link the
    // kvm_mmu_get_page and tdp_mmu_init_sp, of either the call of handle_changed_spte.
    struct Begun {
      bool request = false, tdp_map = false, iter_start = false;
      bool get_page = false, init_sp = false, entered = false;
      bool operator==(const Begun&) const = default;
    };
    struct Value {
      TracepointReplayer::EntryValue value;
      size_t since = 0;  // position
    };
    std::vector<Value> there;
    std::vector<std::pair<size_t, Begun>> begun;  // from which position on, ascending
    std::vector<uint64_t> read;
    ValueFacts values;
    // The same of a map and of a split behind the loss, and of the removal of the table below on
    // either side.
    bool set_spte = false, prepare_zap = false, split = false;
    size_t present = SIZE_MAX;  // entries of a table below, at least
    size_t tables = 0;          // that have the entry, at most

    Begun begun_until(size_t position) const;
    bool holds_all(size_t position, const std::function<bool(uint64_t spte)>& is) const;
  };
  Told told_of(const EntryPlace& entry) const;
  std::vector<uint32_t> threads() const;
  std::vector<uint32_t> vms() const;  // 0, where none is named, first
  // Positions while events are being lost, such that no others differ for an event of the thread
  // that is about the entry.
  std::vector<size_t> spots_of(uint32_t thread, const EntryPlace& entry) const;
  uint64_t table_at(size_t before, const EntryPlace& entry) const {
    return table_value(before, entry.gfn, static_cast<uint64_t>(entry.level));
  }

  // How many events were lost; nullopt: not known.
  std::optional<size_t> lost() const;
  // Tables that only what was lost can have linked; nullopt: none, or they cannot be counted, since
  // the number of lost events is not known, or not where, or what was there before.
  std::optional<TablesNeeded::Needed> tables_needed() const;

  SurelyLost surely_lost() const;
  // Where each gap begins (position), and how many events it lost.
  std::vector<std::pair<size_t, size_t>> gap_begins() const;
  size_t losses_end() const;  // position of the last marker
  // How many events each CPU lost that lost any; empty: not told.
  std::vector<size_t> lost_by_cpu() const;

  // The gaps that the position is in, and those before it, the latest first, at most kMaxGaps: the
  // positions of their markers.
  static constexpr size_t kMaxGaps = 16;
  static constexpr size_t kMaxGapsBeside = 4;
  std::vector<size_t> markers_for(size_t before) const;
  // Where in such a gap events can be put, the latest first: at most kMaxSpots between what was put
  // there already. In the middle of it: right there.
  struct Spot {
    size_t position = 0, gap = 0;
  };
  static constexpr size_t kMaxSpots = 8;
  std::vector<Spot> spots(size_t before, size_t marker) const;
  // They happened on the CPU that lost them, when the recorded event behind them did at the latest.
  // False: the gap has no room for so many, and the kprobes that are hit on the way. Else `token`
  // takes them back.
  bool put(const Spot& spot, const std::vector<trace::Event>& events, size_t& token);
  void take_back(size_t token);

  bool is_put_in(size_t position) const { return sequence_[position - 1].put_in; }
  // How many recorded events come before the position.
  size_t recorded_before(size_t position) const;
  // The events of a gap, in order.
  std::vector<trace::OwnedEvent> witness(size_t gap) const;
  // The values of fields that a candidate leaves open, from what comes later.
  void fill_in(size_t before, trace::Event& event) const;
  // All but the page of any non-leaf entry of the recording.
  uint64_t link_bits() const;
  // Threads whose events surround the gap, at most two, and one that nothing was told of.
  std::vector<uint32_t> threads_around(size_t marker) const;

 private:
  struct Item {
    trace::OwnedEvent event;
    bool put_in = false;
    bool marker = false;
    size_t gap = 0;    // of markers and of what is put in
    size_t token = 0;  // of what is put in
  };
  // Where a CPU may have lost events: behind positions `begin` to `end` - 1.
  struct Loss {
    size_t begin = 0, end = 0;
    uint32_t cpu = 0;
    bool any_cpu = false;
    size_t count = 0;
  };
  std::vector<Loss> losses() const;  // by `begin`
  trace::TraceInfo info_as_if_whole() const;
  // Calls `event` with each event, numbered from 1 on, and its position, and `loss` with the CPUs
  // that may have lost events behind it, and the position; of markers `event` only if `markers`.
  // Ends where `event` is false.
  template <class OnEvent, class OnLoss>
  void play(bool markers, OnEvent&& event, OnLoss&& loss) const;
  // Is a kprobe hit before each of its tracepoints, as far as nothing was lost? A compiler may have
  // inlined what is probed.
  bool has_calls_ = false, has_init_sp_ = false;
  // Lost events that an event takes: a kprobe is hit before it.
  size_t weight(const trace::Event& e) const;
  void find_begun();
  // A gap begins behind the last event of its CPU.
  size_t begin_of(size_t marker) const;
  // Of each position: may an event have been lost behind it? [0]: before the first.
  std::vector<char> losing() const;
  void sort(Attempt& attempt, const std::vector<size_t>& position) const;
  // How many events come before the first that may have been lost: a CPU loses events after the
  // last that it told of.
  size_t whole_until() const;
  // Of the first recorded event at or behind the position, or else of the last before.
  uint64_t time_at(size_t position) const;
  uint64_t table_value(size_t before, uint64_t gfn, uint64_t level) const;
  void fill_in_request(size_t before, trace::Event& request) const;

  trace::TraceInfo info_;
  std::vector<Item> sequence_;
  std::vector<Gap> gaps_;
  size_t tokens_ = 0;
  size_t whole_ = 0;  // events before the first that may have been lost
  bool too_long_ = false, ends_early_ = false;
};

}  // namespace mmucheck::replay
