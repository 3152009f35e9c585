#include "checker/replay/complete/with_tables.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "checker/replay/complete/event_costs.h"
#include "checker/replay/complete/witness_search.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

constexpr size_t kMaxMakings = 6;

// A root and tables that are made one below the other, as far as they are named, in one fault.
std::vector<Event> events_of_tables(const GappedRecording& recording, const Doubts& doubts,
                                    uint32_t vm) {
  namespace g = f::get_page;
  Event made;
  made.vm = vm;
  std::vector<Event> events;
  for (size_t i = 0; i < doubts.roots; i++) {
    events.push_back(
        like(made, K::kGetPage, {{g::gfn, 0}, {g::level, EventCosts::kRootLevel}, {g::direct, 1}}));
  }
  if (doubts.links.empty()) return events;
  const uint64_t gfn = doubts.links.back().gfn;
  events.push_back(missing_request(made, gfn, gfn, 1));
  uint64_t page = kLastPage;
  for (const EntryPlace& link : doubts.links) {
    const uint64_t value = recording.link_bits() | page-- << model::kPageShift;
    for (Event& e : missing_link(made, std::max(link.as_id, 0), link.gfn, link.level - 1, value)) {
      events.push_back(std::move(e));
    }
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
      for (const uint32_t thread : recorded.threads_around(marker)) {
        for (const GappedRecording::Spot& spot : recorded.spots(maybe.before, marker)) {
          if (try_at(spot, events, thread)) return true;
        }
      }
    }
  }
  return false;
}

}  // namespace mmucheck::replay
