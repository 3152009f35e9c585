#include "checker/replay/complete/recording.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>

#include "checker/replay/complete/complete.h"
#include "checker/replay/complete/play.h"
#include "checker/replay/tracepoint/tracepoint_replayer.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

bool is_made_in_place(const Event& e) {
  namespace s = f::spte_changed;
  return e.has(s::new_spte) && is_changed_in_place(e.get(s::old_spte), e.get(s::new_spte),
                                                   static_cast<int>(e.get(s::level)));
}

}  // namespace

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
      gap.names_cpu = e.has(f::lost_events::cpu);
      gaps_.push_back(gap);
    }
    sequence_.push_back(std::move(item));
  }
  info_ = source.info();
  // A full ring drops what comes last; nothing stands behind it that could contradict.
  ends_early_ = gaps_.empty() && info_.loss == trace::LossState::kLost;
  whole_ = whole_until();
  find_begun();
}

size_t GappedRecording::weight(const Event& e) const {
  if (e.kind == K::kGetPage) return has_init_sp_ ? 2 : 1;
  if (e.kind == K::kSpteChanged) return has_calls_ && !is_made_in_place(e) ? 2 : 1;
  return 1;
}

// A loss may cut between a kprobe and its tracepoint.
void GappedRecording::find_begun() {
  std::map<uint32_t, size_t> begun;  // by thread
  // Of a thread's last event: the CPU, and how many gaps that had.
  std::map<uint32_t, std::pair<uint32_t, size_t>> last;
  std::map<uint32_t, size_t> gaps_of;  // by CPU
  std::vector<size_t> at(sequence_.size() + 1, 0);
  size_t sum = 0, calls = 0, tables = 0;
  bool lacks_call = false, lacks_init_sp = false;
  for (size_t i = 0; i < sequence_.size(); i++) {
    const Event e = sequence_[i].event.event();
    if (sequence_[i].marker) {
      const Gap& gap = gaps_[sequence_[i].gap];
      gaps_of[gap.lost.cpu]++;
      if (!gap.names_cpu) last.clear();
    }
    const std::pair here(e.cpu, gaps_of[e.cpu]);
    const bool whole = i < whole_ || (last.contains(e.thread) && last[e.thread] == here);
    if (is_recorded(e)) last[e.thread] = here;
    size_t& n = begun[e.thread];
    if (e.kind == K::kInitSp || e.kind == K::kChangedSpte) {
      n++;
      sum++;
      if (whole) (e.kind == K::kInitSp ? tables : calls)++;
    } else if ((e.kind == K::kGetPage || e.kind == K::kSpteChanged) && n > 0) {
      n--;
      sum--;
    } else if (e.kind == K::kIterStart) {
      sum -= std::exchange(n, 0);
    } else if (e.kind == K::kGetPage) {
      lacks_init_sp = lacks_init_sp || (whole && e.get_or(f::get_page::direct, 1) != 0);
    } else if (e.kind == K::kSpteChanged) {
      lacks_call = lacks_call || (whole && !is_made_in_place(e));
    }
    at[i + 1] = sum;
  }
  has_calls_ = calls != 0 && !lacks_call;
  has_init_sp_ = tables != 0 && !lacks_init_sp;
  // The most of all where the losses are many: in hostile input.
  const size_t most = *std::max_element(at.begin(), at.end());
  size_t looked_at = 0;
  for (const Loss& l : losses()) {
    looked_at += l.end - l.begin;
    const auto begin = at.begin() + static_cast<std::ptrdiff_t>(l.begin);
    const auto end = at.begin() + static_cast<std::ptrdiff_t>(l.end);
    gaps_[sequence_[l.end - 1].gap].begun =
        looked_at > kMaxCompletedEvents ? most : *std::max_element(begin, end);
  }
}

std::vector<GappedRecording::Loss> GappedRecording::losses() const {
  std::vector<Loss> all;
  // The last position of a CPU that tells where a gap behind it begins, and of any.
  std::unordered_map<uint32_t, size_t> last;
  size_t last_of_all = 0;
  for (size_t i = 1; i <= sequence_.size(); i++) {
    const Item& item = sequence_[i - 1];
    if (item.put_in) continue;
    uint32_t cpu = item.event.event().cpu;
    if (item.marker) {
      const Gap& gap = gaps_[item.gap];
      cpu = gap.lost.cpu;
      const auto it = last.find(cpu);
      const size_t begin = !gap.names_cpu ? last_of_all : it == last.end() ? 0 : it->second;
      all.push_back({begin, i, cpu, !gap.names_cpu, gap.lost.count});
    }
    last[cpu] = last_of_all = i;
  }
  std::sort(all.begin(), all.end(), [](const Loss& a, const Loss& b) { return a.begin < b.begin; });
  return all;
}

trace::TraceInfo GappedRecording::info_as_if_whole() const {
  trace::TraceInfo info = info_;
  info.loss = trace::LossState::kNone;
  return info;
}

Attempt GappedRecording::replay(bool forgetting) const {
  const trace::TraceInfo info = forgetting ? info_ : info_as_if_whole();
  TracepointReplayer replayer(info);
  Attempt attempt;
  // Numbers of findings are those of the events that the replayer was given.
  std::vector<size_t> position{0};
  // A change that waits in vain for another thread's is known to be wrong later only; but it was
  // when losses began, if that was not under way on a CPU that told of something since.
  replayer.set_lacking_sink([&](Lacking l) {
    const bool told = l.known_at < position.size() && position[l.known_at] <= whole_;
    if (told && !attempt.before_loss) attempt.before_loss = l;
    attempt.findings.push_back(std::move(l));
  });
  play(
      forgetting,
      [&](const Event& e, size_t at) {
        position.push_back(at);
        replayer.event(e);
        if (at == whole_) replayer.losses_begin();
        return true;
      },
      [&](const LostCpus& lost, size_t) {
        if (!forgetting) replayer.forget_probes(lost);
      });
  position.push_back(sequence_.size() + 1);
  replayer.finish(info);
  sort(attempt, position);
  if (!replayer.verdict().violations.empty()) {
    attempt.violated = replayer.verdict().violations[0].invariant;
    attempt.violated_at = replayer.verdict().violations[0].place;
  }
  return attempt;
}

// By position, which the replay's numbers of events become.
void GappedRecording::sort(Attempt& attempt, const std::vector<size_t>& position) const {
  const auto at = [&](uint64_t number) {
    return position[std::min<uint64_t>(number, position.size() - 1)];
  };
  for (Lacking& l : attempt.findings) {
    l.at = l.at == 0 ? sequence_.size() + 1 : at(l.at);
    l.known_at = at(l.known_at);
    l.until = at(l.until);
    for (Missing& m : l.lacks) {
      m.before = at(m.before);
      if (m.since != 0) m.since = at(m.since);
    }
  }
  std::stable_sort(attempt.findings.begin(), attempt.findings.end(),
                   [](const Lacking& a, const Lacking& b) { return a.at < b.at; });
}

std::vector<std::pair<size_t, size_t>> GappedRecording::gap_begins() const {
  std::vector<std::pair<size_t, size_t>> begins;
  for (const Loss& l : losses()) begins.emplace_back(l.begin, l.count);
  return begins;
}

std::vector<size_t> GappedRecording::lost_by_cpu() const {
  std::map<uint32_t, size_t> by_cpu;
  for (const Gap& gap : gaps_) {
    if (!gap.names_cpu || gap.lost.count == 0) return {};
    by_cpu[gap.lost.cpu] += gap.lost.count;
  }
  std::vector<size_t> lost;
  for (const auto& [cpu, events] : by_cpu) lost.push_back(events);
  return lost;
}

size_t GappedRecording::losses_end() const {
  size_t end = 0;
  for (const Loss& l : losses()) end = std::max(end, l.end);
  return end;
}

std::vector<char> GappedRecording::losing() const {
  std::vector<char> losing(sequence_.size() + 1, 0);
  for (const Loss& l : losses()) {
    std::fill(losing.begin() + static_cast<std::ptrdiff_t>(l.begin),
              losing.begin() + static_cast<std::ptrdiff_t>(l.end), 1);
  }
  return losing;
}

Attempt GappedRecording::replay(const Doubts& doubts) const {
  const trace::TraceInfo info = info_as_if_whole();
  TracepointReplayer replayer(info);
  Attempt attempt;
  replayer.set_lacking_sink([&](Lacking l) { attempt.findings.push_back(std::move(l)); });
  const size_t end = losses_end();
  std::vector<size_t> position{0};
  bool began = false;
  Doubts now = doubts;
  play(
      false,
      [&](const Event& e, size_t at) {
        position.push_back(at);
        replayer.event(e);
        return true;
      },
      [&](const LostCpus& lost, size_t at) {
        if (!std::exchange(began, true)) replayer.learn_direct_bits(doubts.direct_bits);
        now.last = at + 1 == end;
        replayer.doubt(now, lost);
      });
  replayer.finish(info);
  attempt.direct_bits = replayer.direct_bits();
  attempt.root_level = replayer.root_level();
  position.push_back(sequence_.size() + 1);
  sort(attempt, position);
  return attempt;
}

bool GappedRecording::holds() const {
  const trace::TraceInfo info = info_as_if_whole();
  TracepointReplayer replayer(info);
  const report::Verdict& verdict = replayer.verdict();
  const auto clean = [&] { return verdict.divergences.empty() && verdict.violations.empty(); };
  play(
      false,
      [&](const Event& e, size_t) {
        replayer.event(e);
        return clean();
      },
      [&](const LostCpus& lost, size_t) { replayer.forget_probes(lost); });
  if (!clean()) return false;
  replayer.finish(info);
  return clean();
}

std::vector<uint32_t> GappedRecording::threads() const {
  std::vector<uint32_t> threads;
  for (const Item& item : sequence_) {
    const Event e = item.event.event();
    if (item.marker || e.thread == 0 || !is_recorded(e)) continue;
    if (std::find(threads.begin(), threads.end(), e.thread) == threads.end()) {
      threads.push_back(e.thread);
    }
  }
  return threads;
}

std::vector<uint32_t> GappedRecording::vms() const {
  std::set<uint32_t> vms{0};
  for (const Item& item : sequence_) vms.insert(item.event.event().vm);
  return {vms.begin(), vms.end()};
}

std::vector<size_t> GappedRecording::spots_of(uint32_t thread, const EntryPlace& entry) const {
  std::vector<size_t> spots;
  const std::vector<char> losing = this->losing();
  const auto concerns = [&](const Event& e) {
    if (e.thread == thread) return true;
    uint64_t gfn = 0;
    switch (e.kind) {
      case K::kSpteChanged: gfn = e.get(f::spte_changed::gfn); break;
      case K::kFastPageFault: gfn = e.get(f::fast_page_fault::address) >> model::kPageShift; break;
      case K::kSetSpte: gfn = e.get(f::set_spte::gfn); break;
      case K::kPrepareZapPage:
      case K::kGetPage: return true;
      default: return false;
    }
    return EntryBook::base(entry.level, gfn & ~kDirectBits) ==
           EntryBook::base(entry.level, entry.gfn);
  };
  for (size_t i = 0; i < losing.size(); i++) {
    if (!losing[i]) continue;
    const bool begins = i == 0 || !losing[i - 1];
    if (begins || concerns(sequence_[i - 1].event.event())) spots.push_back(i + 1);
  }
  return spots;
}

// A CPU that tells of nothing behind the last loss may have lost events, too, unless its ring's
// statistics say that it did not.
std::optional<size_t> GappedRecording::lost() const {
  if (ends_early_ || info_.malformed != 0) return std::nullopt;
  size_t sum = 0;
  std::map<uint32_t, uint64_t> told;
  for (const Gap& g : gaps_) {
    told[g.lost.cpu] += g.lost.count;
    if (g.lost.count == 0 || !g.names_cpu || g.lost.how == trace::LossHow::kRingStats) {
      return std::nullopt;
    }
    sum += g.lost.count;
  }
  std::map<uint32_t, bool> tells;  // CPUs, and whether behind the last loss
  for (const Item& item : sequence_) {
    if (item.marker) {
      for (auto& [cpu, behind] : tells) behind = false;
    } else if (is_recorded(item.event.event())) {
      tells[item.event.event().cpu] = true;
    }
  }
  const bool all = std::all_of(tells.begin(), tells.end(), [&](const auto& t) {
    const auto stats = info_.lost_in_all.find(t.first);
    return t.second || (stats != info_.lost_in_all.end() && stats->second <= told[t.first]);
  });
  return all ? std::optional(sum) : std::nullopt;
}

std::optional<TablesNeeded::Needed> GappedRecording::tables_needed() const {
  const std::optional<size_t> lost_events = lost();
  if (!lost_events) return std::nullopt;
  size_t last = 0;  // loss
  for (size_t i = 0; i < sequence_.size(); i++) {
    if (sequence_[i].marker) last = i;
  }
  const trace::TraceInfo info = info_as_if_whole();
  TracepointReplayer before(info);
  for (size_t i = 0; i < whole_; i++) {
    Event e = sequence_[i].event.event();
    e.seq = i + 1;
    before.event(e);
  }
  if (!before.knows_tables()) return std::nullopt;
  const TablesNeeded::Probes probes{has_init_sp_, has_calls_};
  TablesNeeded needed(before.values(), probes, [&](const TablesNeeded::Place& entry) {
    return before.tables_at(entry.as_id, entry.level, entry.gfn);
  });
  using Phase = TablesNeeded::Phase;
  for (size_t i = 0; i < sequence_.size(); i++) {
    const Event e = sequence_[i].event.event();
    if (sequence_[i].marker || !is_recorded(e)) continue;
    needed.add(e, i + 1, i < whole_ ? Phase::kBefore : i < last ? Phase::kAmong : Phase::kBehind);
  }
  return needed.needed(*lost_events);
}

size_t GappedRecording::begin_of(size_t marker) const {
  const Gap& gap = gaps_[sequence_[marker - 1].gap];
  for (size_t i = marker - 1; i > 0; i--) {
    const Item& item = sequence_[i - 1];
    if (item.put_in) continue;
    const bool tells = item.marker ? gaps_[item.gap].lost.cpu == gap.lost.cpu
                                   : item.event.event().cpu == gap.lost.cpu;
    if (tells || !gap.names_cpu) return i;
  }
  return 0;
}

size_t GappedRecording::whole_until() const {
  if (ends_early_) return 0;  // nothing tells which CPU lost its last events, and since when
  size_t whole = sequence_.size();
  std::map<uint32_t, size_t> last;  // number of events up to the last of a CPU
  for (size_t i = 0; i < sequence_.size(); i++) {
    const Event e = sequence_[i].event.event();
    if (sequence_[i].marker) {
      const auto before = last.find(gaps_[sequence_[i].gap].lost.cpu);
      whole = std::min(whole, before == last.end() ? 0 : before->second);
    } else if (is_recorded(e)) {
      last[e.cpu] = i + 1;
    }
  }
  return whole;
}

std::vector<size_t> GappedRecording::markers_for(size_t before) const {
  before = std::max(before, size_t{1});
  std::vector<size_t> markers;
  size_t behind = 0;
  for (size_t i = before; i <= sequence_.size() && behind < kMaxGapsBeside; i++) {
    if (!sequence_[i - 1].marker) continue;
    behind++;
    if (i == before || begin_of(i) < before) markers.push_back(i);
  }
  for (size_t i = std::min(before - 1, sequence_.size()); i > 0 && markers.size() < kMaxGaps; i--) {
    if (sequence_[i - 1].marker) markers.push_back(i);
  }
  return markers;
}

std::vector<GappedRecording::Spot> GappedRecording::spots(size_t before, size_t marker) const {
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

uint64_t GappedRecording::time_at(size_t position) const {
  const auto recorded = [](const Item& item) { return !item.put_in && !item.marker; };
  const auto at = sequence_.begin() + static_cast<std::ptrdiff_t>(position - 1);
  const auto behind = std::find_if(at, sequence_.end(), recorded);
  if (behind != sequence_.end()) return behind->event.event().ts_ns;
  const auto before = std::find_if(std::make_reverse_iterator(at), sequence_.rend(), recorded);
  return before == sequence_.rend() ? 0 : before->event.event().ts_ns;
}

bool GappedRecording::put(const Spot& spot, const std::vector<Event>& events, size_t& token) {
  Gap& gap = gaps_[spot.gap];
  const size_t room = gap.lost.count == 0 ? kMaxPerGap : gap.lost.count;
  size_t taken = 0;
  for (const Event& e : events) taken += weight(e);
  if (gap.put_in + taken > room + gap.begun) return false;
  token = ++tokens_;
  std::vector<Item> items;
  const uint64_t time = time_at(spot.position);
  for (Event e : events) {
    e.ts_ns = time;
    if (gap.names_cpu) e.cpu = gap.lost.cpu;
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
  gap.put_in += taken;
  return true;
}

void GappedRecording::take_back(size_t token) {
  for (const Item& item : sequence_) {
    if (item.token == token && item.put_in) {
      gaps_[item.gap].put_in -= weight(item.event.event());
    }
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

std::vector<uint32_t> GappedRecording::threads_around(size_t marker) const {
  std::vector<uint32_t> threads;
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
  threads.push_back(kNewThread);
  return threads;
}

// What the entry that links a table holds, from what comes behind `before`: the value that its next
// change replaces, or the page of an address in the table.
uint64_t GappedRecording::table_value(size_t before, uint64_t gfn, uint64_t level) const {
  namespace s = f::spte_changed;
  namespace q = f::fast_page_fault;
  const uint64_t bits = link_bits();
  for (size_t i = std::min(before, size()); i > 0 && i <= size(); i++) {
    const Event e = sequence_[i - 1].event.event();
    if (e.kind == K::kSpteChanged && e.get(s::gfn) == gfn && e.get(s::level) == level) {
      return e.get(s::old_spte);
    }
    const bool set = e.kind == K::kSetSpte;
    if (!set && e.kind != K::kFastPageFault) continue;
    const size_t sptep = set ? size_t{f::set_spte::sptep} : size_t{q::sptep};
    if (!e.has(sptep)) continue;
    const uint64_t leaf = set ? e.get(f::set_spte::gfn) : e.get(q::address) >> model::kPageShift;
    const uint64_t leaf_level = set ? e.get(f::set_spte::level) : 1;
    if (leaf_level + 1 != level || EntryBook::base(static_cast<int>(leaf_level), leaf) != gfn) {
      continue;
    }
    return e.get(sptep) >> model::kPageShift << model::kPageShift | bits;
  }
  return kLastPage << model::kPageShift | bits;  // nothing tells: any page does
}

// All but the page of any non-leaf entry of the recording: format and A/D bits are the same.
uint64_t GappedRecording::link_bits() const {
  namespace s = f::spte_changed;
  for (const Item& item : sequence_) {
    const Event e = item.event.event();
    if (e.kind != K::kSpteChanged || !e.has(s::new_spte)) continue;
    const uint64_t v = e.get(s::new_spte);
    const int level = static_cast<int>(e.get(s::level));
    if (links_table(v, level)) {
      return v & ~(model::spte_to_pfn<>(v) << model::kPageShift);
    }
  }
  return 0;
}

// Of a request: gfn, pfn and level of the leaf that its thread installs next.
void GappedRecording::fill_in_request(size_t before, Event& request) const {
  namespace s = f::spte_changed;
  namespace r = f::spte_requested;
  for (size_t i = std::min(before, size()); i > 0 && i <= size(); i++) {
    const Event e = sequence_[i - 1].event.event();
    if (e.kind != K::kSpteChanged || e.thread != request.thread) continue;
    const uint64_t leaf = e.get(s::new_spte);
    const int level = static_cast<int>(e.get(s::level));
    if (!model::is_shadow_present_pte<>(leaf) || !model::is_last_spte<>(leaf, level)) continue;
    const uint64_t low = model::pages_per_hpage(level) - 1;
    if ((request.get(r::gfn) & ~low) != e.get(s::gfn)) request.set(r::gfn, e.get(s::gfn));
    request.set(r::level, e.get(s::level));
    request.set(r::pfn, model::spte_to_pfn<>(leaf) + (request.get(r::gfn) & low));
    return;
  }
}

void GappedRecording::fill_in(size_t before, Event& event) const {
  namespace s = f::spte_changed;
  if (event.kind == K::kSpteChanged && !event.has(s::new_spte)) {
    event.set(s::new_spte, table_value(before, event.get(s::gfn), event.get(s::level)));
  }
  if (event.kind == K::kSpteRequested && !event.has(f::spte_requested::pfn)) {
    fill_in_request(before, event);
  }
}

}  // namespace mmucheck::replay
