#include "checker/replay/replay_env.h"

#include <algorithm>

#include "checker/replay/flatten.h"
#include "model/spte/spte.h"
#include "model/tdp/tlb.h"

namespace mmucheck::replay {

using model::Cell;
using model::CellKind;
namespace cell = model::cell;

void ReplayEnv::add(const Predicted& p) {
  if (!visible(p.kind)) {
    if (silent != nullptr && silent->test(static_cast<size_t>(p.kind))) missed.push_back(p.kind);
    // Behind a visible one, in the same step: who goes on may be shown it.
    if (in_order && !out_->empty()) out_->push_back(p);
    return;
  }
  out_->push_back(p);
  paused_ = true;
}

void ReplayEnv::take_broken() {
  for (const invariant::Id rule : monitor->broken()) broken.push_back({invariant::kIds[rule].data()});
  monitor->broken().clear();
}

uint64_t ReplayEnv::pfn(uint32_t table) const {
  return store_.is_live(table) ? store_.get(cell::of(CellKind::kSpPfn, table)) : 0;
}

uint64_t ReplayEnv::sptep(uint32_t table, uint32_t index) const {
  return table == model::kNoTable ? 0 : (pfn(table) << model::kPageShift) + uint64_t{index} * 8;
}

// Hardware's A and D bits show up at the next access of the entry by the thread that sees them.
void ReplayEnv::before(model::Point point, uint32_t table, uint32_t index) {
  if (in_ == nullptr || in_->hw_ad.empty() || point == model::Point::kUnlocked ||
      point == model::Point::kHook || !store_.is_live(table)) {
    return;
  }
  const int level = model::role_level(static_cast<uint32_t>(
      store_.get(cell::of(CellKind::kSpRole, table))));
  const uint64_t gfn = store_.get(cell::of(CellKind::kSpGfn, table)) +
                       index * model::pages_per_hpage(level);
  const Cell c = cell::pte(table, index);
  for (PendingInputs::HwAd& ad : in_->hw_ad) {
    const uint64_t pages = model::pages_per_hpage(level);
    const bool here = ad.level == 0 ? ad.gfn < gfn + pages && gfn < ad.gfn + ad.npages
                                    : ad.level == level && (ad.gfn & ~gfn_alias_) == gfn;
    if (!here) continue;
    const uint64_t spte = store_.get(c);
    if (!model::is_shadow_present_pte<>(spte) || !model::is_last_spte<>(spte, level)) continue;
    if (ad.level == 0) ad.npages = 0;  // the first one only
    uint64_t bits = ad.accessed ? format->accessed : 0;
    // Hardware sets D only for a write: W must be there, or have been.
    if (ad.dirty && (spte & (model::kPtWritable | format->mmu_writable)) != 0) {
      bits |= format->dirty;
    }
    if (!model::spte_ad_enabled<>(*format, spte) || (bits & ~spte) == 0) continue;
    store_.set(c, spte | bits);
    hardware_ad++;
    if (adopted_.size() > kMaxStores) adopted_.clear();
    adopted_[uint64_t{table} << 9 | index] = {now_, spte | bits};
  }
}

bool ReplayEnv::adopted(uint32_t table, uint32_t index, uint64_t new_spte) const {
  constexpr uint64_t kSoon = 4096;  // events
  const auto it = adopted_.find(uint64_t{table} << 9 | index);
  if (it == adopted_.end() || now_ - it->second.at > kSoon) return false;
  const uint64_t ad = format->accessed | format->dirty;
  return ((it->second.spte ^ new_spte) & ~ad) == 0 && (new_spte & ad & ~it->second.spte) == 0;
}

bool ReplayEnv::need_resched(const model::TdpIter& it) {
  if (!in_->yield) return false;
  if (it.root != model::kNoTable && in_->yield_gfn && *in_->yield_gfn != it.next_last_level_gfn) {
    return false;
  }
  // The forward progress rule decides whether a due reschedule is taken.
  if (it.root != model::kNoTable && it.next_last_level_gfn == it.yielded_gfn) return false;
  in_->yield = false;
  return true;
}

// A lost exchange on a leaf that nobody else stored to: the CPU did. Which bits it set shows in the
// next attempt.
bool ReplayEnv::hardware_first(uint32_t table, uint32_t index, uint64_t old_spte) {
  if (!in_->cmpxchg_lost || store_.get(cell::pte(table, index)) != old_spte ||
      !store_.is_live(table)) {
    return false;
  }
  const int level = model::role_level(static_cast<uint32_t>(
      store_.get(cell::of(CellKind::kSpRole, table))));
  if (!model::is_shadow_present_pte<>(old_spte) || !model::is_last_spte<>(old_spte, level) ||
      !model::spte_ad_enabled<>(*format, old_spte)) {
    return false;
  }
  const uint64_t both = format->accessed | format->dirty;
  if ((old_spte & both) == both) return false;  // nothing left that it could set
  hardware_ad++;
  return true;
}

uint64_t ReplayEnv::refreshed(uint32_t table, uint32_t index, uint64_t value) {
  if (!store_.is_live(table)) return value;
  before(model::Point::kTrace, table, index);
  return store_.get(cell::pte(table, index));
}

uint64_t ReplayEnv::observe(uint32_t table, uint32_t index, uint64_t value) {
  if (!in_->cmpxchg_lost && !in_->others_froze) return value;
  if (in_->lost_sptep && *in_->lost_sptep != sptep(table, index)) return value;
  // A compare-exchange that is lost was prepared from an older value: what other threads replaced
  // since this one's last event. So was the entry that a fault gave up at, if it is thawed by now.
  const auto it = last_stores_.find(uint64_t{table} << 9 | index);
  if (it == last_stores_.end()) return value;
  const uint64_t now = value;
  bool stale = false;
  for (const LastStore& s : it->second) {
    if (s.thread == thread_ || s.at < previous_) break;
    value = s.old_spte;
    stale = true;
    if (in_->others_froze && model::is_frozen_spte<>(*format, value)) break;
  }
  if (in_->others_froze && !model::is_frozen_spte<>(*format, value)) return now;
  if (stale && value != now) stale_reads++;
  return value;
}

namespace {

struct Cells {
  model::RadixStore& store;
  uint64_t field(CellKind kind, uint32_t object = 0) const {
    return store.get(cell::of(kind, object));
  }
};

}  // namespace

// Only guest accesses of hand-written traces fill TLBs.
void ReplayEnv::flush_tlbs(const model::ev::Flush& e) {
  Cells cells{store_};
  if (cells.field(CellKind::kTlbVcpus) == 0 || e.kind == model::ev::FlushKind::kRequest) return;
  // Without Hyper-V there is no flush of a range: kvm_flush_remote_tlbs_range() flushes all. (With it,
  // what is cached of a huge page goes with any part of it.)
  model::tlb_flush(cells, 0, ~uint64_t{0});
}

void ReplayEnv::note_store(const model::ev::Store& e) {
  if (last_stores_.size() > kMaxStores) last_stores_.clear();
  std::erase_if(expected_stores_, [&](const ExpectedStore& s) {
    // Hardware may have set A or D in the value that was read.
    return s.table == e.table && s.index == e.index &&
           ((s.value ^ e.new_spte) & ~(format->accessed | format->dirty)) == 0;
  });
  auto& stores = last_stores_[uint64_t{e.table} << 9 | e.index];
  std::copy_backward(stores.begin(), stores.end() - 1, stores.end());
  stores[0] = {thread_, now_, e.old_spte};
}

std::optional<ReplayEnv::ExpectedStore> ReplayEnv::overdue_store() {
  for (size_t i = 0; i < expected_stores_.size(); i++) {
    if (expected_stores_[i].deadline >= now_) continue;
    const ExpectedStore late = expected_stores_[i];
    expected_stores_.erase(expected_stores_.begin() + static_cast<std::ptrdiff_t>(i));
    return late;
  }
  return std::nullopt;
}

uint64_t ReplayEnv::new_table_frame(model::ev::TableKind kind) {
  if (kind == model::ev::TableKind::kSplit && in_->alloc_failed) return model::kNoFrame;
  // Of the thread, where each numbers its own.
  model::Cell next = kNextFrame;
  if (numbers_now_ != nullptr) next.index -= 1 + numbers_now_->thread;
  store_.touch(next, model::kWrite);
  return numbers_now_ != nullptr ? numbers_now_->take() : next_provisional_++;
}

void ReplayEnv::adopt_frame(uint32_t table, uint64_t new_pfn) {
  if (pfn(table) == new_pfn) return;
  const uint32_t there = store_.find_table(new_pfn);
  if (there != model::kNoTable) reclaim(there);
  if (store_.move_table(table, new_pfn)) adopted_frames++;
}

int ReplayEnv::mapped_level(uint32_t slot, uint64_t gfn) const {
  int level = model::kPgLevel4K;
  for (const HostRange& r : host_ranges) {
    if (r.slot == slot && gfn >= r.start && gfn < r.end) level = r.level;
  }
  return level;
}

int ReplayEnv::host_level(uint32_t slot, uint64_t gfn, bool level_unseen) {
  if (level_unseen) return model::kMaxHugepageLevel;
  if (in_->collapse) {
    return in_->collapse->gfn == gfn ? in_->collapse->level : model::kPgLevel4K;
  }
  return in_->host_level ? *in_->host_level : mapped_level(slot, gfn);
}

int32_t ReplayEnv::faultin_outcome(int32_t result, model::Openness openness) {
  if (!in_->faultin || *in_->faultin == result) return result;
  const auto seen = static_cast<int32_t>(*in_->faultin);
  const bool open = openness != model::Openness::kClosed;
  constexpr int32_t kEfault = -14;
  if (in_->no_efault && seen == kEfault) return result;
  if (openness == model::Openness::kAnything && seen < 0) return seen;
  const bool zero_or_retry = seen == 0 || seen == 1;
  if (open && zero_or_retry) {
    open_faultins++;
    return seen;
  }
  // An asynchronous page fault, a poisoned page (RETRY) or a signal (-EINTR) has no trace in state.
  // Nor has a host mapping that is gone (-EFAULT), or a slot that is invalid for a moment (-EAGAIN).
  constexpr int32_t kEintr = -4;
  constexpr int32_t kEagain = -11;
  if ((result == 0 && (seen == 1 || seen == kEintr)) ||
      (open && (seen == kEfault || seen == kEagain))) {
    async_faultins++;
    return seen;
  }
  return result;
}

bool ReplayEnv::nx_goes_on(bool zaps) {
  if (in_->nx_pages == 0) return false;
  if (zaps) in_->nx_pages--;
  return true;
}

}  // namespace mmucheck::replay
