#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using trace::Event;

void TracepointReplayer::store(TableRow& row, const Change& c) {
  if (row.as_id < 0 && c.as_id >= 0) {
    row.as_id = c.as_id;
    n_.root++;
  }
  if (row.vm == 0) row.vm = c.vm;
  const size_t i = EntryBook::index(c.level, c.gfn);
  const bool settles = doubting_ && row.e[i] == kUnknownSpte && c.level > 1;
  if (row.e[i] == kUnknownSpte) {
    n_.unknown++;
  } else if (row.e[i] != c.old_spte) {
    n_.ad++;
  }
  row.e[i] = c.new_spte;
  row.used = true;
  row.used_behind = losses_over_ != 0 && now_ > losses_over_ + kSurelyLate;
  if (settles) settle_link(c);
  learn_page(row, c);
  not_passed(row, i);
  applied_ = &row;
  applied_root_ = row.root;
  if (row.pfn == 0 && row.root != 0 && model::is_shadow_present_pte<>(c.new_spte)) {
    log_.root_linked(row.root);
  }
  Change& kept = recent_[recent_at_++ % recent_.size()];
  kept = c;
  kept.at = now_;
  // A root is empty again when it is torn down; nothing tells when it goes.
  if (row.pfn == 0 && !model::is_shadow_present_pte<>(c.new_spte)) {
    const bool empty = std::none_of(row.e.begin(), row.e.end(), [](uint64_t spte) {
      return model::is_shadow_present_pte<>(spte);
    });
    if (empty && model::is_shadow_present_pte<>(c.old_spte)) {
      log_.root_emptied(row.root);
      applied_ = nullptr;
      book_.erase(&row);
    }
  }
}

// Takes the entry to c.new_spte in a row where it can have c.old_spte.
bool TracepointReplayer::fit(const Change& c, TableRow* hint) {
  const size_t i = EntryBook::index(c.level, c.gfn);
  const TableRow* const sure = surely_of(c);
  if (hint != nullptr && fits(*hint, c) && hint->e[i] == c.old_spte) {
    store(*hint, c);
    return true;
  }
  const auto rows = book_.at(c.level, c.gfn);
  if (c.table == 0) guess(c);
  // Rows of a known space first: a root that nothing used yet may be anyone's.
  // With doubts an unknown entry is kept for what no other one explains.
  for (int pass = 0; pass < (doubting_ ? 4 : 3); pass++) {
    for (const auto& row : rows) {
      const bool any_space = pass == 1 || pass == 3;
      if (sure != nullptr ? row.get() != sure : !fits(*row, c)) continue;
      if (row->gone && c.new_spte != values_.fmt.frozen) continue;
      if (pass != 3 && any_space == (row->as_id >= 0)) continue;
      const uint64_t known = row->e[i];
      const bool reads = known != kUnknownSpte && may_read(values_, known, c.old_spte, c.level);
      const bool unknown = known == kUnknownSpte && (pass == 3 || !doubting_) && may_hold(*row, c);
      const bool ok = pass < 2 ? known == c.old_spte : reads || unknown;
      if (!ok) continue;
      store(*row, c);
      return true;
    }
  }
  return sure != nullptr && guessed_wrong(c, *sure);
}

// Which table the change is of is told; an earlier one, of which it was not, was of another table.
bool TracepointReplayer::guessed_wrong(const Change& c, const TableRow& sure) {
  if (!sure.guessed) return false;
  const size_t i = EntryBook::index(c.level, c.gfn);
  TableRow *here = nullptr, *other = nullptr;
  for (const auto& row : book_.at(c.level, c.gfn)) {
    if (row.get() == &sure) {
      here = row.get();
    } else if (row->guessed && row->fits(sure.as_id, sure.vm) &&
               (row->e[i] == kUnknownSpte || may_read(values_, row->e[i], c.old_spte, c.level))) {
      other = row.get();
    }
  }
  if (here == nullptr || other == nullptr) return false;
  std::swap(here->e[i], other->e[i]);
  store(*here, c);
  return true;
}

// Where several tables may be meant, what each holds is a guess; a table that is being removed may
// have a successor that is not told of yet.
void TracepointReplayer::guess(const Change& c) {
  const auto rows = book_.at(c.level, c.gfn);
  const auto may_be = [&](const auto& row) { return fits(*row, c); };
  const bool one = std::count_if(rows.begin(), rows.end(), may_be) < 2;
  if (one && (!doubting_ || !is_being_removed(c.level, EntryBook::base(c.level, c.gfn)))) return;
  for (const auto& row : rows) row->guessed = row->guessed || may_be(row);
}

void TracepointReplayer::apply(const Event& e, const Change& c, TableRow* hint) {
  if (fit(c, hint)) {
    // A root's row may go in what follows; that of a linked table does not.
    const TableRow* const row = applied_ != nullptr && applied_->pfn != 0 ? applied_ : nullptr;
    const uint32_t root = applied_root_;
    if (!held_.empty()) retry_held();
    applied_ = row;
    applied_root_ = root;
    return;
  }
  if (forgot_) {
    // From here on this entry is known again.
    n_.unknown++;
    TableRow* row = nullptr;
    for (const auto& r : book_.at(c.level, c.gfn)) {
      if (row == nullptr && fits(*r, c)) row = r.get();
    }
    if (row == nullptr) row = book_.add(0, c.gfn, c.level, c.as_id, c.vm, kUnknownSpte);
    if (row != nullptr) row->e[EntryBook::index(c.level, c.gfn)] = c.new_spte;
    return;
  }
  if (held_.size() >= kMaxHeld) expire(true);
  Held h;
  h.c = c;
  h.at = now_;
  h.deadline = now_ + kLateEvents;
  h.place = place(e);
  h.lacks = lacking_now(e, c);
  h.late = may_come_late(h);
  held_.push_back(std::move(h));
}

// A value that was read: it is there now, was since that event, or will be told of.
void TracepointReplayer::witness(const Event& e, Change c, uint64_t since) {
  c.new_spte = c.old_spte;
  if (seen_since(c, since) || forgot_) return;
  if (held_.size() >= kMaxHeld) expire(true);
  Held h;
  h.c = c;
  h.witness = true;
  h.since = since;
  h.at = now_;
  h.deadline = now_ + kLateEvents;
  h.place = place(e);
  h.lacks = lacking_now(e, c);
  h.late = may_come_late(h);
  held_.push_back(std::move(h));
}

bool TracepointReplayer::seen_since(const Change& c, uint64_t since) const {
  if (doubted_since(c.level, c.gfn, since)) return true;
  const size_t i = EntryBook::index(c.level, c.gfn);
  for (const auto& row : book_.at(c.level, c.gfn)) {
    if (row->gone || !row->fits(c.as_id, c.vm)) continue;
    const bool unknown = row->e[i] == kUnknownSpte;
    if (unknown ? may_hold(*row, c) : may_read(values_, row->e[i], c.old_spte, c.level))
      return true;
  }
  return std::any_of(recent_.begin(), recent_.end(), [&](const Change& r) {
    return r.at >= since && r.level == c.level && r.gfn == c.gfn &&
           (may_read(values_, r.new_spte, c.old_spte, c.level) ||
            may_read(values_, r.old_spte, c.old_spte, c.level));
  });
}

void TracepointReplayer::retry_held() {
  for (bool again = true; again;) {
    again = false;
    for (size_t i = 0; i < held_.size(); i++) {
      // A store is told of by its thread's next event: what that did since does not come late, its
      // own next change among it.
      const bool early = held_[i].c.gfn == early_.gfn && held_[i].c.level == early_.level;
      if (previous_ >= held_[i].at && !early) continue;
      const Held& h = held_[i];
      const bool ok = h.witness ? seen_since(h.c, h.since) : fit(Change(h.c), nullptr);
      if (!ok) continue;
      n_.late++;
      held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
      again = true;
      break;
    }
  }
}

// Is the removal of a table under way whose parent entry this is? Its own change comes last.
bool TracepointReplayer::waits_for(const Held& h) const {
  return late_parent_ && is_being_removed(h.c.level - 1, h.c.gfn);
}

// fast_page_fault tells of what it made writable when it is long done, but its fault has begun
// before, and nothing else of its thread comes in between.
bool TracepointReplayer::may_be_fixed(const Held& h, uint64_t from) const {
  const bool fixed = model::is_writable_pte<>(h.c.old_spte) && !model::is_writable_pte<>(from);
  if (!fixed || !sees(trace::EventKind::kPageFault)) return true;
  return std::any_of(threads_.begin(), threads_.end(), [&](const auto& thread) {
    const Thread& t = thread.second;
    return t.fault.on && t.now < h.at &&
           model::gfn_round_for_level<>(plain_gfn(t.fault.gfn), h.c.level) == h.c.gfn;
  });
}

// Is it not surely told soon? A store under mmu_lock is, but for that of a removed table's parent
// entry, and where its call was told and it was not.
bool TracepointReplayer::may_come_late(const Held& h) const {
  const size_t i = EntryBook::index(h.c.level, h.c.gfn);
  const auto rows = book_.at(h.c.level, h.c.gfn);
  const bool in_place = std::any_of(rows.begin(), rows.end(), [&](const auto& row) {
    return is_changed_in_place(row->e[i], h.c.old_spte, h.c.level) && may_be_fixed(h, row->e[i]);
  });
  const bool called = std::any_of(threads_.begin(), threads_.end(), [&](const auto& thread) {
    const std::vector<Probed>& calls = thread.second.entered;
    return std::any_of(calls.begin(), calls.end(), [&](const Probed& p) {
      return p.level == h.c.level && plain_gfn(p.gfn) == h.c.gfn;
    });
  });
  return in_place || called || is_being_removed(h.c.level - 1, h.c.gfn);
}

void TracepointReplayer::losses_begin() {
  for (Held& h : held_) h.excused = now_ - h.at < kSurelyLate || may_come_late(h);
}

bool TracepointReplayer::is_being_removed(int level, uint64_t gfn) const {
  if (pending_removals_.contains({level, gfn})) return true;
  return std::any_of(threads_.begin(), threads_.end(), [&](const auto& thread) {
    const std::vector<Block>& blocks = thread.second.blocks;
    return std::any_of(blocks.begin(), blocks.end(),
                       [&](const Block& b) { return b.level == level && b.gfn == gfn; });
  });
}

bool TracepointReplayer::knows_tables() const {
  const bool link_waits = std::any_of(held_.begin(), held_.end(), [](const Held& h) {
    return !h.witness && links_table(h.c.new_spte, h.c.level);
  });
  return !forgot_ && !link_waits && values_.format_known && !values_.td && root_level_ == 4;
}

size_t TracepointReplayer::tables_at(int as_id, int level, uint64_t gfn) const {
  const auto rows = book_.at(level, gfn);
  return static_cast<size_t>(std::count_if(rows.begin(), rows.end(),
                                           [&](const auto& row) { return row->fits(as_id, 0); }));
}

void TracepointReplayer::expire(bool all) {
  for (size_t i = 0; i < held_.size();) {
    if (!all && held_[i].deadline > now_) return;
    if (!all && waits_for(held_[i])) {
      held_[i].deadline = now_ + kLateEvents;
      i++;
      continue;
    }
    const Held h = std::move(held_[i]);
    held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(i));
    const size_t at = EntryBook::index(h.c.level, h.c.gfn);
    std::string known;
    TableRow* first = nullptr;
    for (const auto& row : book_.at(h.c.level, h.c.gfn)) {
      if (!fits(*row, h.c)) continue;
      if (first == nullptr || is_surely_of(*row, h.c)) first = row.get();
      known += fmt::format("{}{:x}", known.empty() ? "" : " or ", row->e[at]);
    }
    const std::string observed =
        h.witness ? fmt::format("gfn {:x} level {} read as {:x}", h.c.gfn, h.c.level, h.c.old_spte)
                  : fmt::format("as_id {} gfn {:x} level {} {:x} -> {:x}", h.c.as_id, h.c.gfn,
                                h.c.level, h.c.old_spte, h.c.new_spte);
    lacks_ = h.lacks;
    about_ = EntryPlace{h.c.as_id, h.c.level, h.c.gfn};
    seen_ = h.c.old_spte;
    about_vm_ = h.c.vm;
    about_table_ = h.c.table;
    known_at_ = h.excused ? 0 : h.at;
    until_ = h.late ? now_ : std::min(now_, h.at + kSurelyLate);
    diverge_at(h.place, observed, TpRule::kChain,
               known.empty() ? "nothing: no table covers this gfn" : "another value",
               known.empty() ? "" : "entry " + known, fmt::format("entry {:x}", h.c.old_spte));
    known_at_ = until_ = 0;
    if (!h.witness && first != nullptr) {
      store(*first, h.c);
      const Entry early = std::exchange(early_, Entry{h.c.gfn, h.c.level});
      retry_held();
      early_ = early;
      i = 0;
    }
  }
}

}  // namespace mmucheck::replay
