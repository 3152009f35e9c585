#include "checker/replay/complete/recording.h"

#include <algorithm>

#include "checker/replay/complete/complete.h"
#include "checker/replay/tracepoint/tracepoint_replayer.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

GappedRecording::GappedRecording(trace::EventSource& source) {
  Event e;
  while (source.next(e)) {
    if (sequence_.size() >= kMaxCompletedEvents) {
      too_long_ = true;
      break;
    }
    Item item;
    item.event = trace::OwnedEvent(e);
    if (e.kind == K::kLostEvents) {
      item.marker = true;
      item.gap = gaps_.size();
      Gap gap;
      gap.lost.count = e.get(f::lost_events::count);
      gap.lost.cpu = static_cast<uint32_t>(e.get(f::lost_events::cpu));
      gap.lost.how = static_cast<trace::LossHow>(e.get(f::lost_events::how));
      gap.lost.source_line = e.source_line;
      gaps_.push_back(gap);
    }
    sequence_.push_back(std::move(item));
  }
  info_ = source.info();
  // A full ring drops what comes last; nothing stands behind it that could contradict.
  ends_early_ = gaps_.empty() && info_.loss == trace::LossState::kLost;
}

Attempt GappedRecording::replay(bool forgetting) const {
  trace::TraceInfo info = info_;
  if (!forgetting) info.loss = trace::LossState::kNone;
  TracepointReplayer replayer(info);
  Attempt attempt;
  replayer.set_lacking_sink([&](Lacking l) { attempt.findings.push_back(std::move(l)); });
  // Numbers of findings are those of the events that the replayer was given.
  std::vector<size_t> position;
  position.push_back(0);
  for (size_t i = 0; i < sequence_.size(); i++) {
    if (sequence_[i].marker && !forgetting) continue;
    Event e = sequence_[i].event.event();
    e.seq = position.size();
    position.push_back(i + 1);
    replayer.event(e);
  }
  replayer.finish(info);
  position.push_back(sequence_.size() + 1);
  const auto at = [&](uint64_t number) {
    return position[std::min<uint64_t>(number, position.size() - 1)];
  };
  for (Lacking& l : attempt.findings) {
    l.at = l.at == 0 ? sequence_.size() + 1 : at(l.at);
    for (Missing& m : l.lacks) m.before = at(m.before);
  }
  std::stable_sort(attempt.findings.begin(), attempt.findings.end(),
                   [](const Lacking& a, const Lacking& b) { return a.at < b.at; });
  if (!replayer.verdict().violations.empty()) {
    attempt.violated = replayer.verdict().violations[0].invariant;
    attempt.violated_at = replayer.verdict().violations[0].place;
  }
  return attempt;
}

size_t GappedRecording::begin_of(size_t marker) const {
  const uint32_t cpu = gaps_[sequence_[marker - 1].gap].lost.cpu;
  for (size_t i = marker - 1; i > 0; i--) {
    const Item& item = sequence_[i - 1];
    if (item.put_in) continue;
    if (item.marker || item.event.event().cpu == cpu) return i;
  }
  return 0;
}

size_t GappedRecording::marker_for(size_t before) const {
  for (size_t i = before; i <= sequence_.size(); i++) {
    if (!sequence_[i - 1].marker) continue;
    if (i == before || begin_of(i) < before) return i;
    break;
  }
  for (size_t i = std::min(before, sequence_.size()); i > 0; i--) {
    if (sequence_[i - 1].marker) return i;
  }
  return 0;
}

std::vector<GappedRecording::Spot> GappedRecording::spots(size_t before) const {
  const size_t marker = marker_for(before);
  if (marker == 0) return {};
  const size_t gap = sequence_[marker - 1].gap;
  if (before <= marker) return {{before, gap}};
  std::vector<Spot> all{{marker, gap}};
  // What was put in stands right before the marker, or between events of other CPUs.
  for (size_t i = marker - 1; i > 0 && all.size() < kMaxSpots && sequence_[i - 1].put_in; i--) {
    const bool first = i == 1 || !sequence_[i - 2].put_in;
    if (first || sequence_[i - 2].token != sequence_[i - 1].token) all.push_back({i, gap});
  }
  const size_t begin = begin_of(marker) + 1;
  if (begin < all.back().position) all.push_back({begin, gap});
  return all;
}

bool GappedRecording::put(const Spot& spot, const std::vector<Event>& events, size_t& token) {
  Gap& gap = gaps_[spot.gap];
  const size_t room = gap.lost.count == 0 ? kMaxPerGap : gap.lost.count;
  if (gap.put_in + events.size() > room) return false;
  token = ++tokens_;
  std::vector<Item> items;
  for (Event e : events) {
    e.source_line = gap.lost.source_line;
    Item item;
    item.event = trace::OwnedEvent(e);
    item.put_in = true;
    item.gap = spot.gap;
    item.token = token;
    items.push_back(std::move(item));
  }
  sequence_.insert(sequence_.begin() + static_cast<std::ptrdiff_t>(spot.position - 1),
                   items.begin(), items.end());
  gap.put_in += events.size();
  return true;
}

void GappedRecording::take_back(size_t token) {
  for (const Item& item : sequence_) {
    if (item.token == token && item.put_in) gaps_[item.gap].put_in--;
  }
  std::erase_if(sequence_, [&](const Item& item) { return item.put_in && item.token == token; });
}

size_t GappedRecording::recorded_before(size_t position) const {
  size_t n = 0;
  for (size_t i = 0; i + 1 < position && i < sequence_.size(); i++) n += !sequence_[i].put_in;
  return n;
}

std::vector<trace::OwnedEvent> GappedRecording::witness(size_t gap) const {
  std::vector<trace::OwnedEvent> events;
  for (const Item& item : sequence_) {
    if (item.put_in && item.gap == gap) events.push_back(item.event);
  }
  return events;
}

std::vector<uint32_t> GappedRecording::threads_around(size_t before) const {
  std::vector<uint32_t> threads;
  const size_t marker = marker_for(before);
  if (marker == 0) return threads;
  const uint32_t cpu = gaps_[sequence_[marker - 1].gap].lost.cpu;
  const auto look = [&](const Item& item) {
    const Event e = item.event.event();
    if (item.marker || item.put_in || e.cls == trace::PacketClass::kConfig || e.cpu != cpu ||
        e.thread == 0) {
      return false;
    }
    if (std::find(threads.begin(), threads.end(), e.thread) == threads.end()) {
      threads.push_back(e.thread);
    }
    return true;
  };
  for (size_t i = marker - 1; i > 0; i--) {
    if (look(sequence_[i - 1])) break;
  }
  for (size_t i = marker; i < sequence_.size(); i++) {
    if (look(sequence_[i])) break;
  }
  return threads;
}

void GappedRecording::fill_in(size_t before, Event& event) const {
  namespace s = f::spte_changed;
  namespace r = f::spte_requested;
  const bool table = event.kind == K::kSpteChanged && !event.has(s::new_spte);
  const bool request = event.kind == K::kSpteRequested && !event.has(r::pfn);
  if (!table && !request) return;
  uint64_t link_bits = 0;  // of any table of the recording: format and A/D are the same
  for (const Item& item : sequence_) {
    const Event e = item.event.event();
    if (e.kind != K::kSpteChanged || !e.has(s::new_spte)) continue;
    const uint64_t v = e.get(s::new_spte);
    const int level = static_cast<int>(e.get(s::level));
    if (model::is_shadow_present_pte<>(v) && !model::is_last_spte<>(v, level)) {
      link_bits = v & ~(model::spte_to_pfn<>(v) << model::kPageShift);
      break;
    }
  }
  for (size_t i = std::min(before, sequence_.size()); i <= sequence_.size() && i > 0; i++) {
    const Event e = sequence_[i - 1].event.event();
    if (table && e.kind == K::kSpteChanged && e.get(s::gfn) == event.get(s::gfn) &&
        e.get(s::level) == event.get(s::level)) {
      return event.set(s::new_spte, e.get(s::old_spte));
    }
    if (table && (e.kind == K::kSetSpte || e.kind == K::kFastPageFault)) {
      namespace q = f::fast_page_fault;
      const bool set = e.kind == K::kSetSpte;
      if (!(set ? e.has(f::set_spte::sptep) : e.has(q::sptep))) continue;
      const uint64_t gfn = set ? e.get(f::set_spte::gfn) : e.get(q::address) >> model::kPageShift;
      const uint64_t level = set ? e.get(f::set_spte::level) : 1;
      const uint64_t sptep = set ? e.get(f::set_spte::sptep) : e.get(q::sptep);
      if (level + 1 != event.get(s::level) ||
          EntryBook::base(static_cast<int>(level), gfn) != event.get(s::gfn)) {
        continue;
      }
      const uint64_t page = sptep >> model::kPageShift << model::kPageShift;
      return event.set(s::new_spte, page | link_bits);
    }
    if (request && e.kind == K::kSpteChanged && e.thread == event.thread &&
        model::is_last_spte<>(e.get(s::new_spte), static_cast<int>(e.get(s::level))) &&
        model::is_shadow_present_pte<>(e.get(s::new_spte))) {
      const auto low = model::pages_per_hpage(static_cast<int>(e.get(s::level))) - 1;
      event.set(r::gfn,
                (event.get(r::gfn) & ~low) == e.get(s::gfn) ? event.get(r::gfn) : e.get(s::gfn));
      event.set(r::level, e.get(s::level));
      return event.set(r::pfn,
                       model::spte_to_pfn<>(e.get(s::new_spte)) + (event.get(r::gfn) & low));
    }
  }
  // Nothing later tells: any page does.
  if (table) event.set(s::new_spte, uint64_t{0xfffff000} | link_bits);
}

}  // namespace mmucheck::replay
