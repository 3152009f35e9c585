// What a recording tells of one entry, beside what was lost.
#include <algorithm>
#include <map>
#include <utility>

#include "checker/replay/complete/play.h"
#include "checker/replay/tracepoint/tracepoint_replayer.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

class Listener {
  using Begun = GappedRecording::Told::Begun;

 public:
  // `calls`, `init_sp`: are these probes hit before each of their tracepoints?
  Listener(const EntryPlace& entry, const TracepointReplayer& replayer, bool calls, bool init_sp)
      : entry_(entry), replayer_(replayer) {
    told_.set_spte = !replayer.tells(K::kSetSpte);
    told_.prepare_zap = !replayer.tells(K::kPrepareZapPage);
    told_.split = !replayer.tells(K::kSplitHugePage);
    begun_.request = !replayer.tells(K::kSpteRequested);
    begun_.get_page = !replayer.tells(K::kGetPage);
    begun_.entered = !calls;
    begun_.init_sp = !init_sp;
    begun_.tdp_map = !replayer.records(K::kTdpMap);
    begun_.iter_start = !replayer.records(K::kIterStart);
    told_.begun.emplace_back(0, begun_);
  }

  // `losing`: events may have been lost right behind it.
  void event(const Event& e, size_t at, bool losing) {
    probe(e);
    if (e.kind >= K::kTdpMap) return;  // a kprobe
    // Is it the first that its thread told of since this CPU may have lost something?
    const size_t losses = losses_of_[e.cpu] + any_losses_;
    const bool first =
        losses != 0 &&
        std::exchange(losses_at_[e.thread], std::pair(e.cpu, losses)) != std::pair(e.cpu, losses);
    if (!lost_) return;
    switch (e.kind) {
      case K::kSpteChanged: return change(e, at, first, losing);
      case K::kFastPageFault: {
        namespace q = f::fast_page_fault;
        if (is_gfn(e.get(q::address) >> model::kPageShift)) read(e.get(q::old_spte));
        return;
      }
      case K::kSetSpte: {
        namespace p = f::set_spte;
        if (e.get(p::level) != level() || !is_gfn(e.get(p::gfn))) return;
        read(e.get(p::spte));
        told_.set_spte = told_.set_spte || first;
        return;
      }
      case K::kSplitHugePage:
        told_.split = told_.split || (first && is_gfn(e.get(f::split_huge_page::gfn)));
        return;
      case K::kMarkMmioSpte:
        told_.set_spte = told_.set_spte || (first && is_gfn(e.get(f::mark_mmio_spte::gfn)));
        return;
      case K::kPrepareZapPage: {
        namespace z = f::prepare_zap_page;
        const bool same = !e.has(z::gfn) || (e.get(z::level) < level() && is_gfn(e.get(z::gfn)));
        told_.prepare_zap = told_.prepare_zap || (first && same);
        return;
      }
      default: return;
    }
  }

  void loss(const LostCpus& lost, size_t at) {
    lost_ = true;
    any_losses_ += lost.any;
    for (const uint32_t cpu : lost.cpus) losses_of_[cpu]++;
    const TracepointReplayer::Pending pending = replayer_.pending_at(entry_, lost);
    Begun now = begun_;
    now.request = now.request || pending.request;
    now.get_page = now.get_page || pending.link;
    for (const auto& [thread, p] : probed_) {
      if (!lost.has(p.cpu)) continue;
      now.entered = now.entered || p.begun.entered;
      now.init_sp = now.init_sp || p.begun.init_sp;
      now.tdp_map = now.tdp_map || p.begun.tdp_map;
      now.iter_start = now.iter_start || p.begun.iter_start;
    }
    if (now != begun_) told_.begun.emplace_back(at, now);
    begun_ = now;
    told_.prepare_zap = told_.prepare_zap || pending.removal;
    told_.present = std::min(told_.present, pending.present);
    const std::vector<TracepointReplayer::EntryValue> there = replayer_.entries_at(entry_);
    told_.tables = std::max(told_.tables, there.size());
    for (const TracepointReplayer::EntryValue& value : there) {
      const auto same = [&](const GappedRecording::Told::Value& v) { return v.value == value; };
      if (std::none_of(told_.there.begin(), told_.there.end(), same)) {
        told_.there.push_back({value, at});
      }
    }
  }

  GappedRecording::Told told() {
    told_.values = replayer_.values();
    return std::move(told_);
  }

 private:
  uint64_t level() const { return static_cast<uint64_t>(entry_.level); }
  bool is_gfn(uint64_t gfn) const {
    return model::gfn_round_for_level<>(gfn & ~replayer_.direct_bits(), entry_.level) == entry_.gfn;
  }
  void read(uint64_t spte) {
    if (std::find(told_.read.begin(), told_.read.end(), spte) == told_.read.end()) {
      told_.read.push_back(spte);
    }
  }
  // What may be of an operation whose other events are lost.
  void probe(const Event& e) {
    Probed& p = probed_[e.thread];
    if (std::exchange(p.cpu, e.cpu) != e.cpu) p.begun = {};
    Begun& begun = p.begun;
    switch (e.kind) {
      case K::kChangedSpte: {
        namespace x = f::changed_spte;
        begun.entered = begun.entered || (e.get(x::level) == level() && is_gfn(e.get(x::gfn)));
        return;
      }
      case K::kSpteChanged: {
        namespace s = f::spte_changed;
        if (e.get(s::level) == level() && is_gfn(e.get(s::gfn))) begun.entered = false;
        return;
      }
      case K::kInitSp: begun.init_sp = true; return;
      case K::kGetPage: begun.init_sp = false; return;
      case K::kTdpMap: begun.tdp_map = true; return;
      case K::kIterStart: begun.iter_start = true; return;
      case K::kPageFault:
      case K::kSetSpte: begun = {}; return;
      default: return;
    }
  }
  void change(const Event& e, size_t at, bool first, bool losing) {
    namespace s = f::spte_changed;
    if (!is_gfn(e.get(s::gfn))) return;
    if (e.get(s::level) == level()) {
      read(e.get(s::old_spte));
      if (losing) told_.there.push_back({{-1, e.vm, 0, e.get(s::new_spte)}, at});
    } else if (first && e.get(s::level) < level() &&
               model::is_frozen_spte<>(replayer_.values().fmt, e.get(s::new_spte))) {
      told_.prepare_zap = true;  // the removal of the table goes on behind the loss
    }
  }

  EntryPlace entry_;
  const TracepointReplayer& replayer_;
  GappedRecording::Told told_;
  Begun begun_;
  struct Probed {
    uint32_t cpu = 0;
    Begun begun;
  };
  std::map<uint32_t, Probed> probed_;  // by thread
  bool lost_ = false;
  size_t any_losses_ = 0;
  std::map<uint32_t, size_t> losses_of_;  // by CPU
  // Of the last event of a thread: its CPU, and the losses of that.
  std::map<uint32_t, std::pair<uint32_t, size_t>> losses_at_;
};

}  // namespace

GappedRecording::Told::Begun GappedRecording::Told::begun_until(size_t position) const {
  Begun now;
  for (const auto& [since, told] : begun) {
    if (since <= position) now = told;
  }
  return now;
}

bool GappedRecording::Told::holds_all(size_t position,
                                      const std::function<bool(uint64_t spte)>& is) const {
  return std::all_of(there.begin(), there.end(),
                     [&](const Value& v) { return v.since > position || is(v.value.spte); });
}

GappedRecording::Told GappedRecording::told_of(const EntryPlace& entry) const {
  const trace::TraceInfo info = info_as_if_whole();
  TracepointReplayer replayer(info);
  Listener listener(entry, replayer, has_calls_, has_init_sp_);
  const std::vector<char> losing = this->losing();
  play(
      false,
      [&](const Event& e, size_t at) {
        replayer.event(e);
        listener.event(e, at, losing[at] != 0);
        return true;
      },
      [&](const LostCpus& lost, size_t at) {
        listener.loss(lost, at);
        replayer.forget_probes(lost);
      });
  return listener.told();
}

}  // namespace mmucheck::replay
