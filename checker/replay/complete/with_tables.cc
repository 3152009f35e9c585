#include "checker/replay/complete/with_tables.h"

#include <algorithm>
#include <vector>

#include "checker/replay/complete/witness_search.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

constexpr uint64_t kRootLevel = 4;
// No recording has such tables.
constexpr uint64_t kFirstFreePage = 0xfffff;
constexpr size_t kMaxMakings = 6;

// A root and tables that are made one below the other, as far as they are named, in one fault.
std::vector<Event> events_of_tables(const GappedRecording& recording, const Doubts& doubts,
                                    uint32_t vm) {
  namespace g = f::get_page;
  namespace s = f::spte_changed;
  Event made;
  made.vm = vm;
  std::vector<Event> events;
  for (size_t i = 0; i < doubts.roots; i++) {
    events.push_back(
        like(made, K::kGetPage, {{g::gfn, 0}, {g::level, kRootLevel}, {g::direct, 1}}));
  }
  if (doubts.links.empty()) return events;
  namespace r = f::spte_requested;
  const uint64_t gfn = doubts.links.back().gfn;
  events.push_back(like(made, K::kSpteRequested, {{r::gfn, gfn}, {r::pfn, gfn}, {r::level, 1}}));
  uint64_t page = kFirstFreePage;
  for (const EntryPlace& link : doubts.links) {
    const auto level = static_cast<uint64_t>(link.level);
    events.push_back(
        like(made, K::kGetPage, {{g::gfn, link.gfn}, {g::level, level - 1}, {g::direct, 1}}));
    const uint64_t value = recording.link_bits() | page-- << model::kPageShift;
    events.push_back(like(made, K::kSpteChanged,
                          {{s::as_id, static_cast<uint64_t>(std::max(link.as_id, 0))},
                           {s::gfn, link.gfn},
                           {s::level, level},
                           {s::old_spte, model::kNonpresent},
                           {s::new_spte, value}}));
  }
  return events;
}

// What may have made the tables that are told of: those that were in doubt, or what a finding would
// have.
std::vector<std::vector<Event>> makings_of(const GappedRecording& recording,
                                           const MaybeWay& maybe) {
  std::vector<std::vector<Event>> all;
  if (maybe.holds->relinks.empty()) {
    all.push_back(events_of_tables(recording, *maybe.holds, maybe.vm));
  }
  const std::vector<EntryPlace>& entries = maybe.holds->entries;
  for (const Lacking& finding : recording.replay(false).findings) {
    const bool doubted =
        finding.about && std::find(entries.begin(), entries.end(), *finding.about) != entries.end();
    if (!doubted && !entries.empty()) continue;
    for (const Missing& lack : finding.lacks) {
      if (lack.another_table && all.size() < kMaxMakings) all.push_back(lack.events);
    }
  }
  return all;
}

}  // namespace

bool with_tables(GappedRecording& recording, const MaybeWay& maybe,
                 const std::function<bool()>& tick, size_t& attempts) {
  if (!maybe.holds || (maybe.holds->links.empty() && maybe.holds->roots == 0)) return false;
  const GappedRecording recorded = recording;
  const auto try_at = [&](const GappedRecording::Spot& spot, std::vector<Event> events,
                          uint32_t thread) {
    size_t token = 0;
    recording = recorded;
    for (Event& e : events) e.thread = thread;
    if (!recording.put(spot, events, token)) return false;
    WitnessSearch search(recording, tick);
    const bool found = search.run_briefly();
    attempts += search.attempts();
    return found;
  };
  for (const std::vector<Event>& events : makings_of(recorded, maybe)) {
    for (const size_t marker : recorded.markers_for(maybe.before)) {
      std::vector<uint32_t> threads = recorded.threads_around(marker);
      threads.push_back(kNewThread);
      for (const uint32_t thread : threads) {
        for (const GappedRecording::Spot& spot : recorded.spots(maybe.before, marker)) {
          if (try_at(spot, events, thread)) return true;
        }
      }
    }
  }
  return false;
}

}  // namespace mmucheck::replay
