// checker/replay/tracepoint: what a divergence lacks: events that would have made the observed one
// legal, had they come before it. Where a recording lost events these are candidates for what it
// lost (checker/replay/complete); elsewhere nobody asks. Only fields that a rule demands are set.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "checker/replay/tracepoint/rules.h"
#include "checker/report/verdict.h"
#include "checker/trace/event_kinds.h"
#include "model/address/address.h"

namespace mmucheck::replay {

// A thread that no recording has: its first event needs no history.
inline constexpr uint32_t kNewThread = 0x7fffffff;

struct Missing {
  // Number of the event (1..; that of the calls of event()) before which they must come.
  uint64_t before = 0;
  // Of the event behind which they must come: their thread tells of them in one go. 0: of any.
  uint64_t since = 0;
  // In order. Thread 0: any thread.
  std::vector<trace::Event> events;
  // They make another table, or root and tables: explains most, and is seldom what happened.
  bool another_table = false;
  bool whole = false;  // all that an operation tells: with them, no more is missing than before
};

// An entry, or what lies below it. Space -1: any.
struct EntryPlace {
  int as_id = -1, level = 0;
  uint64_t gfn = 0;
  auto operator<=>(const EntryPlace&) const = default;
};

// The entry above it, and is it below the other one: of whichever address space.
inline EntryPlace above(const EntryPlace& entry) {
  return {entry.as_id, entry.level + 1, model::gfn_round_for_level<>(entry.gfn, entry.level + 1)};
}
inline bool is_below(const EntryPlace& entry, const EntryPlace& other) {
  return entry.level < other.level &&
         model::gfn_round_for_level<>(entry.gfn, other.level) == other.gfn;
}

// One divergence; `lacks` are alternatives, the likeliest first, none where no event would help.
struct Lacking {
  uint64_t at = 0;  // number of the event that diverged
  TpRule rule = TpRule::kChain;
  report::Place place;
  std::vector<Missing> lacks;
  // The entry that would have to be otherwise; nullopt: no other state of an entry helps.
  std::optional<EntryPlace> about;
  std::optional<uint64_t> seen;  // what it would have to hold
  uint32_t vm = 0;               // of the entry; 0: not told
  uint64_t table = 0;            // its page; 0: not told
  uint64_t known_at = 0;         // number of the event from which on the replay may be wrong
  uint64_t until = 0;            // of the last before which what is missing may have been told
};
using LackingSink = std::function<void(Lacking)>;

// An event of `kind` on the CPU and thread of `e`.
inline trace::Event like(const trace::Event& e, trace::EventKind kind,
                         std::initializer_list<std::pair<size_t, uint64_t>> fields) {
  trace::Event m;
  trace::start_event(m, kind);
  m.ts_ns = e.ts_ns;
  m.cpu = e.cpu;
  m.thread = e.thread;
  m.vm = e.vm;
  for (const auto& [field, value] : fields) m.set(field, value);
  return m;
}

// Pages of tables that no recording has, downwards.
inline constexpr uint64_t kLastPage = 0xfffff;

// Events of the thread of `e`. Of a change: space -1, and a new value of kUnknownSpte, are left
// open.
trace::Event missing_change(const trace::Event& e, int as_id, uint64_t gfn, int level,
                            uint64_t old_spte, uint64_t new_spte);
trace::Event missing_prepare_zap(const trace::Event& e, uint64_t gfn, int level);
trace::Event missing_request(const trace::Event& e, uint64_t gfn, uint64_t pfn, int level);
// Of the table of `level` that has the gfn: the kvm_mmu_get_page, and the change of its parent
// entry to `table`.
std::vector<trace::Event> missing_link(const trace::Event& e, int as_id, uint64_t gfn, int level,
                                       uint64_t table);

}  // namespace mmucheck::replay
