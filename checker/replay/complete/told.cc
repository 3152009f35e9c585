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
 public:
  Listener(const EntryPlace& entry, const TracepointReplayer& replayer)
      : entry_(entry), replayer_(replayer) {
    told_.request = !replayer.tells(K::kSpteRequested);
    told_.set_spte = !replayer.tells(K::kSetSpte);
    told_.get_page = !replayer.tells(K::kGetPage);
    told_.prepare_zap = !replayer.tells(K::kPrepareZapPage);
    told_.entered = !replayer.records(K::kChangedSpte);
    told_.init_sp = !replayer.records(K::kInitSp);
    told_.tdp_map = !replayer.records(K::kTdpMap);
    told_.iter_start = !replayer.records(K::kIterStart);
  }

  // `losing`: events may have been lost right behind it.
  void event(const Event& e, bool losing) {
    probe(e);
    if (e.kind >= K::kTdpMap) return;  // a kprobe
    // Is it the first that its thread told of since something may have been lost?
    const bool first = std::exchange(losses_at_[e.thread], losses_) != losses_;
    if (losses_ == 0) return;
    switch (e.kind) {
      case K::kSpteChanged: return change(e, first, losing);
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
      case K::kMarkMmioSpte:
        told_.set_spte = told_.set_spte || (first && is_gfn(e.get(f::mark_mmio_spte::gfn)));
        return;
      case K::kPrepareZapPage: {
        namespace z = f::prepare_zap_page;
        const bool same =
            !e.has(z::gfn) || (e.get(z::level) + 1 == level() && is_gfn(e.get(z::gfn)));
        told_.prepare_zap = told_.prepare_zap || (first && same);
        return;
      }
      default: return;
    }
  }

  void loss() {
    losses_++;
    const TracepointReplayer::Pending pending = replayer_.pending_at(entry_);
    told_.request = told_.request || pending.request;
    told_.get_page = told_.get_page || pending.link;
    told_.prepare_zap = told_.prepare_zap || pending.removal;
    told_.present = std::min(told_.present, pending.present);
    for (const auto& [thread, p] : probed_) {
      told_.entered = told_.entered || p.entered;
      told_.init_sp = told_.init_sp || p.init_sp;
      told_.tdp_map = told_.tdp_map || p.tdp_map;
      told_.iter_start = told_.iter_start || p.iter_start;
    }
    const std::vector<TracepointReplayer::EntryValue> there = replayer_.entries_at(entry_);
    told_.tables = std::max(told_.tables, there.size());
    for (const TracepointReplayer::EntryValue& at : there) {
      if (std::find(told_.there.begin(), told_.there.end(), at) == told_.there.end()) {
        told_.there.push_back(at);
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
    switch (e.kind) {
      case K::kChangedSpte: {
        namespace x = f::changed_spte;
        p.entered = p.entered || (e.get(x::level) == level() && is_gfn(e.get(x::gfn)));
        return;
      }
      case K::kSpteChanged: {
        namespace s = f::spte_changed;
        if (e.get(s::level) == level() && is_gfn(e.get(s::gfn))) p.entered = false;
        return;
      }
      case K::kInitSp: p.init_sp = true; return;
      case K::kGetPage: p.init_sp = false; return;
      case K::kTdpMap: p.tdp_map = true; return;
      case K::kIterStart: p.iter_start = true; return;
      case K::kPageFault:
      case K::kSetSpte: p = {}; return;
      default: return;
    }
  }
  void change(const Event& e, bool first, bool losing) {
    namespace s = f::spte_changed;
    if (!is_gfn(e.get(s::gfn))) return;
    if (e.get(s::level) == level()) {
      read(e.get(s::old_spte));
      if (losing) told_.there.push_back({-1, e.vm, 0, e.get(s::new_spte)});
    } else if (first && e.get(s::level) + 1 == level() &&
               model::is_frozen_spte<>(replayer_.values().fmt, e.get(s::new_spte))) {
      told_.prepare_zap = true;  // the removal of the table goes on behind the loss
    }
  }

  EntryPlace entry_;
  const TracepointReplayer& replayer_;
  GappedRecording::Told told_;
  struct Probed {
    bool entered = false, init_sp = false, tdp_map = false, iter_start = false;
  };
  std::map<uint32_t, Probed> probed_;  // by thread
  size_t losses_ = 0;
  std::map<uint32_t, size_t> losses_at_;  // of the last event of a thread
};

}  // namespace

GappedRecording::Told GappedRecording::told_of(const EntryPlace& entry) const {
  trace::TraceInfo info = info_;
  info.loss = trace::LossState::kNone;
  TracepointReplayer replayer(info);
  Listener listener(entry, replayer);
  const std::vector<char> losing = this->losing();
  play(
      false,
      [&](const Event& e, size_t at) {
        replayer.event(e);
        listener.event(e, losing[at] != 0);
        return true;
      },
      [&](const LostCpus& lost, size_t) {
        listener.loss();
        replayer.forget_probes(lost);
      });
  return listener.told();
}

}  // namespace mmucheck::replay
