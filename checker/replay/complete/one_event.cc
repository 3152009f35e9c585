#include "checker/replay/complete/one_event.h"

#include <algorithm>

#include "checker/replay/tracepoint/entry_book.h"
#include "checker/replay/tracepoint/missing.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

// Values of the entry that are tried as what a change leaves.
constexpr size_t kMaxValues = 48;

Event event_of(K kind, std::initializer_list<std::pair<size_t, uint64_t>> fields) {
  return like(Event{}, kind, fields);
}

void add(std::vector<uint64_t>& values, uint64_t value) {
  if (std::find(values.begin(), values.end(), value) == values.end()) values.push_back(value);
}

// What hardware may have made of a value that was written.
std::vector<uint64_t> read_as(const ValueFacts& v, uint64_t spte, int level) {
  std::vector<uint64_t> all{spte};
  for (const uint64_t bits : {v.fmt.accessed, v.fmt.dirty, v.fmt.accessed | v.fmt.dirty}) {
    if (may_read(v, spte, spte | bits, level)) add(all, spte | bits);
  }
  return all;
}

// What must have been written for the values to be read, and what the rules make of `from`.
std::vector<uint64_t> written_as(const GappedRecording::Told& told, uint64_t from, int level) {
  const model::SpteFormat& fmt = told.values.fmt;
  std::vector<uint64_t> all{model::kNonpresent, fmt.frozen};
  for (const uint64_t read : told.read) {
    add(all, read);
    for (const uint64_t bits : {fmt.accessed, fmt.dirty, fmt.accessed | fmt.dirty}) {
      if (may_read(told.values, read & ~bits, read, level)) add(all, read & ~bits);
    }
  }
  if (model::is_shadow_present_pte<>(from) && model::is_last_spte<>(from, level)) {
    add(all, from & ~model::kPtWritable);
    add(all, from & ~(model::kPtWritable | fmt.mmu_writable));
    add(all, from & ~fmt.dirty);
    add(all, model::mark_spte_for_access_track<>(fmt, from));
  }
  return all;
}

class Trying {
 public:
  Trying(GappedRecording& recording, const EntryPlace& entry, const std::function<bool()>& tick)
      : recording_(recording), entry_(entry), tick_(tick), threads_(recording.threads()) {
    threads_.push_back(kNewThread);
  }

  OneEvent at_entry() {
    const GappedRecording::Told told = recording_.told_of(entry_);
    const auto level = static_cast<uint64_t>(entry_.level);
    for (const auto& [there, since] : told.there) {
      if (there.spte == kUnknownSpte) return OneEvent::kTooMany;
      const int as_id = there.as_id >= 0 ? there.as_id : std::max(entry_.as_id, 0);
      vm_ = there.vm;
      for (const uint64_t from : read_as(told.values, there.spte, entry_.level)) {
        std::vector<uint64_t> values = written_as(told, from, entry_.level);
        if (entry_.level > 1) add(values, recording_.table_at(first_spot(), entry_));
        if (values.size() > kMaxValues) too_many_ = true;
        for (size_t i = 0; i < values.size() && i < kMaxValues; i++) {
          if (change(told.values, as_id, from, values[i]) ||
              fast_fault(told.values, from, values[i])) {
            return OneEvent::kFound;
          }
        }
      }
      for (const auto& [other, other_since] : told.there) {
        namespace s = f::set_spte;
        if (there.table == 0 || other.spte == there.spte || level > model::kMaxHugepageLevel)
          continue;
        const uint64_t sptep =
            there.table << model::kPageShift | EntryBook::index(entry_.level, entry_.gfn) * 8;
        if (all_threads(event_of(K::kSetSpte, {{s::gfn, entry_.gfn},
                                               {s::level, level},
                                               {s::spte, other.spte},
                                               {s::sptep, sptep}}))) {
          return OneEvent::kFound;
        }
      }
    }
    return too_many_ ? OneEvent::kTooMany : OneEvent::kNone;
  }

  OneEvent root() {
    namespace g = f::get_page;
    for (const uint32_t vm : recording_.vms()) {
      vm_ = vm;
      if (all_threads(event_of(K::kGetPage, {{g::gfn, 0}, {g::level, 4}, {g::direct, 1}}))) {
        return OneEvent::kFound;
      }
    }
    return too_many_ ? OneEvent::kTooMany : OneEvent::kNone;
  }

  size_t replays() const { return replays_; }

 private:
  size_t first_spot() const {
    const std::vector<size_t> spots = recording_.spots_of(kNewThread, entry_);
    return spots.empty() ? 1 : spots.front();
  }

  bool change(const ValueFacts& v, int as_id, uint64_t from, uint64_t to) {
    namespace s = f::spte_changed;
    if (from == to || model::is_frozen_spte<>(v.fmt, from)) return false;
    const model::ChangeRule rule =
        model::first_broken_rule(v.fmt, entry_.gfn, entry_.level, from, to);
    if (rule != model::ChangeRule::kNone && !is_mmio(v, from) && !is_mmio(v, to)) return false;
    const bool maps = !model::is_shadow_present_pte<>(from) && model::is_shadow_present_pte<>(to);
    return all_threads(event_of(K::kSpteChanged, {{s::as_id, static_cast<uint64_t>(as_id)},
                                                  {s::gfn, entry_.gfn},
                                                  {s::level, static_cast<uint64_t>(entry_.level)},
                                                  {s::old_spte, from},
                                                  {s::new_spte, to}}),
                       !maps);
  }

  bool fast_fault(const ValueFacts& v, uint64_t from, uint64_t to) {
    namespace q = f::fast_page_fault;
    if (entry_.level > model::kMaxHugepageLevel || !model::is_shadow_present_pte<>(from) ||
        !model::is_last_spte<>(from, entry_.level)) {
      return false;
    }
    for (const bool write : {true, false}) {
      const uint64_t want = fast_fault_value(v, from, write);
      if (want == from || !may_read(v, want, to, entry_.level)) continue;
      if (all_threads(event_of(K::kFastPageFault, {{q::address, entry_.gfn << model::kPageShift},
                                                   {q::error_code, write ? 2u : 0u},
                                                   {q::old_spte, from},
                                                   {q::new_spte, to},
                                                   {q::fixed, 1}}))) {
        return true;
      }
    }
    return false;
  }

  // Of each thread, at each place; a thread that nothing was told of can do it but for a map.
  bool all_threads(Event e, bool anew = true) {
    for (const uint32_t thread : threads_) {
      if (thread == kNewThread && !anew) continue;
      e.thread = thread;
      e.vm = vm_;
      for (const size_t spot : recording_.spots_of(thread, entry_)) {
        size_t token = 0;
        if (!recording_.put({spot, 0}, {e}, token)) continue;
        if (++replays_ > kMaxTried || (tick_ && !tick_())) too_many_ = true;
        if (!too_many_ && recording_.holds()) return true;
        recording_.take_back(token);
        if (too_many_) return false;
      }
    }
    return false;
  }

  GappedRecording& recording_;
  EntryPlace entry_;
  const std::function<bool()>& tick_;
  std::vector<uint32_t> threads_;
  uint32_t vm_ = 0;  // of the table
  size_t replays_ = 0;
  bool too_many_ = false;
};

}  // namespace

OneEvent one_event_at(GappedRecording& recording, const EntryPlace& entry,
                      const std::function<bool()>& tick, size_t& replays) {
  Trying trying(recording, entry, tick);
  const OneEvent answer = trying.at_entry();
  replays += trying.replays();
  return answer;
}

OneEvent one_root(GappedRecording& recording, const std::function<bool()>& tick, size_t& replays) {
  Trying trying(recording, {-1, 4, 0}, tick);
  const OneEvent answer = trying.root();
  replays += trying.replays();
  return answer;
}

}  // namespace mmucheck::replay
