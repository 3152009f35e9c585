// What a recording tells to have been lost in any case, of the removals that a loss cut.
#include "checker/replay/complete/surely_lost.h"

#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "checker/replay/complete/play.h"
#include "checker/replay/tracepoint/entry_book.h"
#include "checker/replay/tracepoint/tracepoint_replayer.h"

namespace mmucheck::replay {

using trace::Event;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

constexpr size_t kEntries = 512;
// Calls of handle_changed_spte that are open in a removal, at most.
constexpr size_t kMaxOpen = 8;
// Removals that losses cut, at most: others are not counted.
constexpr size_t kMaxCut = 33;

// Of a change, and is it a freeze?
using Kind = std::pair<unsigned, bool>;

// Changes whose call is told, and first changes behind a loss that lack theirs.
struct Calls {
  std::set<Kind> told;
  std::map<Kind, size_t> lacking;
};

// The events of one thread on one CPU, which it does not leave while it holds mmu_lock, as it does
// until all tables of a removal are gone; handle_removed_pt goes through the entries in order.
class OneThread {
 public:
  // `replayer` has seen all that comes before the thread's next event.
  OneThread(const TracepointReplayer& replayer, uint32_t thread, uint32_t cpu, bool lost)
      : replayer_(&replayer), thread_(thread), cpu_(cpu), lost_(lost) {}

  uint32_t cpu() const { return cpu_; }
  // The CPU lost events.
  void lost() { lost_ = true; }

  // Events may be lost from here on: which entries are there still?
  void losses_begin() {
    for (Frame& frame : frames_) {
      for (size_t i = frame.next; i < kEntries; i++) {
        const auto there = replayer_->entries_at(frame.entry(i));
        if (there.size() != 1 || there[0].table == 0) continue;
        frame.table = there[0].table;
        // The removal of a private page that failed has no tracepoint.
        if (replayer_->values().td && frame.level == 1) continue;
        if (is_present(there[0].spte)) frame.present.push_back(i);
      }
    }
  }

  void event(const Event& e, size_t position, SurelyLost& into, Calls& calls) {
    position_ = position;
    if (e.kind == K::kChangedSpte) {
      call_ = Call{place_of(e.get(f::changed_spte::gfn), e.get(f::changed_spte::level)), !lost_};
      if (open_.size() == kMaxOpen) open_.erase(open_.begin());
      open_.push_back(call_->entry);
      return;
    }
    const std::optional<Frame> at = place_in_removal(e);
    if (!at && !is_outside(e.kind)) return;
    const bool first = std::exchange(lost_, false);
    if (first) {
      for (Frame& frame : frames_) still_present(frame);
      compare(e, at, into);
    }
    if (e.kind == K::kSpteChanged) match_call(e, first, calls);
    if (e.kind == K::kIterStart) open_.clear();
    follow(e, at);
    call_.reset();
  }

 private:
  // A table that is being removed: the entry whose turn it is.
  struct Frame {
    int as_id = 0, level = 0;
    uint64_t gfn = 0;
    size_t next = 0;
    uint64_t table = 0;           // page; 0: not known
    std::vector<size_t> present;  // entries, when nothing was lost yet
    // Is the other table this one, or one below it?
    bool has(const Frame& o) const {
      return level >= o.level && EntryBook::base(level, o.gfn) == gfn;
    }
    EntryPlace entry(size_t i) const {
      return {as_id, level, gfn + i * model::pages_per_hpage(level)};
    }
  };
  struct Call {
    EntryPlace entry;
    bool before_loss = false;
  };

  bool is_frozen(uint64_t spte) const {
    const ValueFacts& values = replayer_->values();
    return values.format_known && model::is_frozen_spte<>(values.fmt, spte);
  }
  EntryPlace place_of(uint64_t gfn, uint64_t level) const {
    return {0, static_cast<int>(level), gfn & ~replayer_->direct_bits()};
  }

  // The table that a freeze is of, or that a kvm_mmu_prepare_zap_page is about; that its parent
  // entry is frozen before (6.12) or behind (7.x) is not told.
  std::optional<Frame> place_in_removal(const Event& e) const {
    namespace s = f::spte_changed;
    namespace z = f::prepare_zap_page;
    Frame frame;
    if (e.kind == K::kSpteChanged && is_frozen(e.get(s::new_spte))) {
      const EntryPlace at = place_of(e.get(s::gfn), e.get(s::level));
      frame.as_id = static_cast<int>(e.get(s::as_id));
      frame.level = at.level;
      frame.gfn = EntryBook::base(at.level, at.gfn);
      frame.next = EntryBook::index(at.level, at.gfn);
      return frame;
    }
    if (e.kind != K::kPrepareZapPage || !e.has(z::gfn) || frames_.empty()) return std::nullopt;
    const EntryPlace table = place_of(e.get(z::gfn), e.get(z::level));
    frame.as_id = frames_.back().as_id;
    frame.level = table.level;
    frame.gfn = table.gfn;
    return frame;
  }

  static bool is_present(uint64_t spte) {
    return spte != kUnknownSpte && model::is_shadow_present_pte<>(spte);
  }

  // Others may have changed them since.
  void still_present(Frame& frame) const {
    std::erase_if(frame.present, [&](size_t i) {
      const auto there = replayer_->entries_at(frame.entry(i));
      return std::none_of(there.begin(), there.end(), [&](const auto& value) {
        return value.table == frame.table && is_present(value.spte);
      });
    });
  }

  static bool freezes_empty(const Event& e) {
    return e.kind == K::kSpteChanged &&
           !model::is_shadow_present_pte<>(e.get(f::spte_changed::old_spte));
  }

  // Nothing of the kind comes in the middle of a removal.
  static bool is_outside(K kind) {
    constexpr std::array kKinds{K::kPageFault,     K::kSpteRequested, K::kSetSpte,
                                K::kFastPageFault, K::kGetPage,       K::kIterStart,
                                K::kIterRestart,   K::kSpteChanged};
    return std::find(kKinds.begin(), kKinds.end(), kind) != kKinds.end();
  }

  // Of the innermost table that is that one or above it.
  size_t depth_of(const Frame& at) const {
    const auto it = std::find_if(frames_.rbegin(), frames_.rend(),
                                 [&](const Frame& frame) { return frame.has(at); });
    return it == frames_.rend() ? frames_.size() : static_cast<size_t>(frames_.rend() - it) - 1;
  }

  // Whose turn it is in `frame`.
  static size_t turn_in(const Frame& frame, const Frame& at) {
    return frame.level == at.level ? at.next : EntryBook::index(frame.level, at.gfn);
  }

  // The first event behind a loss.
  void compare(const Event& e, const std::optional<Frame>& at, SurelyLost& into) const {
    const bool empty = at && freezes_empty(e);
    const size_t depth = at ? depth_of(*at) : frames_.size();
    for (size_t i = 0; i < frames_.size(); i++) {
      if (i < depth && depth < frames_.size()) continue;
      const size_t end = i == depth ? turn_in(frames_[i], *at) : kEntries;
      add(frames_[i], end, empty_too_ || (i == depth && empty), into);
    }
    const bool told_of = depth < frames_.size() && frames_[depth].level == at->level;
    if (!empty || told_of) return;
    Frame from = *at;
    from.next = 0;
    add(from, at->next, true, into);
  }

  // `first`: behind a loss.
  void match_call(const Event& e, bool first, Calls& calls) {
    namespace s = f::spte_changed;
    const uint64_t old_spte = e.get(s::old_spte), new_spte = e.get(s::new_spte);
    if (is_changed_in_place(old_spte, new_spte, static_cast<int>(e.get(s::level)))) return;
    const Kind kind{change_kind(old_spte, new_spte, static_cast<int>(e.get(s::level))),
                    is_frozen(new_spte)};
    const auto open =
        std::find(open_.begin(), open_.end(), place_of(e.get(s::gfn), e.get(s::level)));
    if (open != open_.end()) {
      calls.told.insert(kind);
      open_.erase(open);
    } else if (first) {
      calls.lacking[kind]++;
    }
  }

  // The entries before `end` that were not told of: `all`, or those that were present.
  void add(const Frame& from, size_t end, bool all, SurelyLost& into) const {
    SurelyLost::Frozen lost;
    lost.table = {from.as_id, from.level, from.gfn};
    for (size_t i = from.next; i < end; i++) {
      const bool present = std::binary_search(from.present.begin(), from.present.end(), i);
      if (all || present) lost.entries.push_back(i);
    }
    if (lost.entries.empty() || into.frozen.size() >= kMaxCut) return;
    lost.thread = thread_;
    lost.position = position_;
    lost.begun = call_ && call_->before_loss && call_->entry == from.entry(lost.entries.front());
    into.frozen.push_back(std::move(lost));
  }

  void follow(const Event& e, const std::optional<Frame>& at) {
    const size_t depth = at ? depth_of(*at) : frames_.size();
    if (depth == frames_.size()) {
      frames_.clear();
      empty_too_ = false;
      if (!at) return;
    } else {
      frames_.resize(depth + 1);
      frames_.back().next = turn_in(frames_.back(), *at) + 1;
    }
    if (frames_.empty() || frames_.back().level != at->level) frames_.push_back(*at);
    if (e.kind != K::kSpteChanged) return;
    frames_.back().next = at->next + 1;
    empty_too_ = empty_too_ || freezes_empty(e);
  }

  const TracepointReplayer* replayer_;
  uint32_t thread_, cpu_;
  bool lost_;
  size_t position_ = 0;
  std::vector<Frame> frames_;     // outermost first
  bool empty_too_ = false;        // entries are told of that were not present
  std::optional<Call> call_;      // of handle_changed_spte, and no tracepoint since
  std::vector<EntryPlace> open_;  // calls whose tracepoints have not come
};

// Another thread changed the entry, and told of that late.
void forget_told(const Event& e, size_t position, SurelyLost& lost) {
  namespace s = f::spte_changed;
  if (e.kind != K::kSpteChanged) return;
  const auto level = static_cast<int>(e.get(s::level));
  for (SurelyLost::Frozen& frozen : lost.frozen) {
    if (frozen.thread == e.thread || frozen.table.level != level) continue;
    if (position > frozen.position + kSurelyLate) continue;
    if (EntryBook::base(level, e.get(s::gfn) & ~kDirectBits) != frozen.table.gfn) continue;
    std::erase(frozen.entries, EntryBook::index(level, e.get(s::gfn)));
  }
}

}  // namespace

size_t SurelyLost::events(const Doubts& but,
                          const std::function<size_t(const EntryPlace&)>& of_removal) const {
  size_t n = calls;
  for (const Frozen& r : frozen) {
    const auto is_doubted = [&](size_t i) {
      const EntryPlace entry = r.entry(i);
      return std::any_of(but.entries.begin(), but.entries.end(), [&](const EntryPlace& at) {
        return at.level == entry.level && at.gfn == entry.gfn;
      });
    };
    const auto entries = static_cast<size_t>(
        r.entries.size() - std::count_if(r.entries.begin(), r.entries.end(), is_doubted));
    if (entries == 0) continue;
    size_t events = freezes_called ? 2 * entries - r.begun : entries;
    for (const auto* places : {&but.entries, &but.relinks}) {
      for (const EntryPlace& at : *places) {
        if (is_below(r.table, at)) events -= std::min(events, of_removal(at));
      }
    }
    n += events;
  }
  return n;
}

SurelyLost GappedRecording::surely_lost() const {
  SurelyLost lost;
  if (!std::all_of(gaps_.begin(), gaps_.end(), [](const Gap& g) { return g.names_cpu; })) {
    return lost;
  }
  const trace::TraceInfo info = info_as_if_whole();
  TracepointReplayer replayer(info);
  std::map<uint32_t, OneThread> threads;
  Calls calls;
  std::set<uint32_t> cpus;  // that lost something
  play(
      true,
      [&](const Event& e, size_t at) {
        const Item& item = sequence_[at - 1];
        if (item.marker) {
          const uint32_t cpu = gaps_[item.gap].lost.cpu;
          cpus.insert(cpu);
          for (auto& [id, thread] : threads) {
            if (thread.cpu() == cpu) thread.lost();
          }
          return true;
        }
        if (is_recorded(e) && !item.put_in) {
          const auto it = threads.find(e.thread);
          if (it == threads.end() || it->second.cpu() != e.cpu) {
            threads.insert_or_assign(e.thread,
                                     OneThread(replayer, e.thread, e.cpu, cpus.contains(e.cpu)));
          }
          threads.at(e.thread).event(e, at, lost, calls);
          forget_told(e, at, lost);
        }
        replayer.event(e);
        if (at != whole_) return true;
        for (auto& [id, thread] : threads) thread.losses_begin();
        return true;
      },
      [](const LostCpus&, size_t) {});
  if (!has_calls_) return lost;
  for (const auto& [kind, lacking] : calls.lacking) {
    if (calls.told.contains(kind)) lost.calls += lacking;
  }
  lost.freezes_called = std::any_of(calls.told.begin(), calls.told.end(),
                                    [](const Kind& kind) { return kind.second; });
  return lost;
}

}  // namespace mmucheck::replay
