// Layer: checker/explore. Contract: a scenario: a hand-written trace whose packets run in order up
// to `packet { explore {} }` (or a marker "explore"); behind it the stimuli of each thread are its
// operations, in order, and threads are concurrent. An input there belongs to the operation of its
// thread that stands before it. `expect` says what a replay in file order gives and is not looked
// at; `explored` says what an exploration finds under a design, `expected_conflict` which steps it
// is about. Limits: kMaxThreads threads, kMaxOperations operations together, kMaxOutcomes BUSYs and
// yields, kMaxExpected expected conflicts. A file that is no scenario, or creates or configures
// anything behind the start, or contradicts itself, is trace::TraceError.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "checker/explore/expected_conflict.h"
#include "checker/trace/event_source.h"
#include "checker/trace/owned_event.h"

namespace mmucheck::explore {

inline constexpr size_t kMaxThreads = 8;
inline constexpr size_t kMaxOperations = 64;
inline constexpr uint64_t kMaxOutcomes = 16;
inline constexpr size_t kMaxExpected = 64;  // conflicts
inline constexpr uint64_t kMaxStates = 100'000'000;

inline constexpr uint64_t kPageBytes = 4096;

using Packet = trace::OwnedEvent;

struct Operation {
  std::string name;             // of the stimulus
  std::vector<Packet> packets;  // the stimulus, then its inputs

  void set_thread(uint32_t tid);
};

struct Reduction {
  bool like_pages = false, partial_order = false, symmetry = false;

  bool operator==(const Reduction&) const = default;
  std::string name() const;  // by the options; empty: none
};

// What exploring the file under `design` finds, with that reduction.
struct Pinned {
  std::string design;
  trace::ExpectedVerdict verdict = trace::ExpectedVerdict::kHolds;
  std::string invariant;  // of a violation
  uint64_t states = 0, transitions = 0, depth = 0;
  uint64_t steps = 0;     // of its shortest counterexample
  unsigned busy = 0;
  Reduction reduction;

  bool reduced() const { return reduction != Reduction(); }
  // But for the numbers.
  bool same_search(const Pinned& o) const {
    return design == o.design && busy == o.busy && reduction == o.reduction;
  }
};

struct Scenario {
  trace::TraceInfo info;
  std::string title;
  unsigned busy = 0;    // outcomes that are tried at most so often
  unsigned yields = 0;
  uint64_t max_states = 1'000'000;
  uint64_t max_depth = 0;  // 0: none
  std::vector<Pinned> pinned;   // without reductions
  std::vector<Pinned> reduced;  // with some: of those alone that are pinned without
  std::vector<ExpectedConflict> expected;
  std::vector<Packet> prefix;                          // with the start at its end
  std::map<uint32_t, std::vector<Operation>> threads;  // empty: there is no start

  size_t operations() const;
};

Scenario read_scenario(trace::EventSource& source);

}  // namespace mmucheck::explore
