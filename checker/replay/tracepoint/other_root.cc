// Behind lost events tables may exist unseen, so that two changes of one entry need not follow from
// each other. Where the order of the two is certain, and nothing else can have changed the entry
// between them, they are of two tables; how many events must have been lost for that, is counted
// here.
#include <algorithm>

#include "checker/replay/tracepoint/tracepoint_replayer.h"

namespace mmucheck::replay {

using trace::Event;

namespace {

// Roots of hosts with 5 levels may have 4.
constexpr int kLowestRoot = 4;

uint64_t entry_key(int level, uint64_t gfn) {
  return gfn << 3 | static_cast<uint64_t>(level);
}

}  // namespace

void TracepointReplayer::suspect(const Event& e, const Change& c) {
  const size_t i = EntryBook::index(c.level, c.gfn);
  std::vector<Told>& told = told_[entry_key(c.level, c.gfn)];
  const Told now{now_, previous_, c.thread};
  const TableRow* row = nullptr;
  size_t rows = 0;
  for (const auto& r : book_.at(c.level, c.gfn)) {
    if (!r->fits(c.as_id, c.vm)) continue;
    row = r.get();
    rows++;
  }
  const bool known = rows == 1 && !told.empty() && row->e[i] != kUnknownSpte;
  const bool other = known && model::is_shadow_present_pte<>(c.old_spte) &&
                     !may_read(values_, row->e[i], c.old_spte, c.level) &&
                     (!model::is_shadow_present_pte<>(row->e[i]) ||
                      model::spte_to_pfn<>(row->e[i]) != model::spte_to_pfn<>(c.old_spte));
  if (other && !values_.td) {
    // A store is told of by its thread's next event.
    const Told& first = told.back();
    bool certain = now.thread == first.thread || now.previous > first.at;
    for (const Told& z : told) {
      certain = certain && (z.at == first.at || z.thread == first.thread || z.at < first.previous);
    }
    const uint64_t needs = lost_for_other_root(c);
    if (certain && needs != 0) {
      suspects_.push_back({{first.at, now_, place(e), needs}, now, entry_key(c.level, c.gfn)});
    }
  }
  told.push_back(now);
  root_since_ = root_since_ || book_.roots() > 0;
  const bool links =
      model::is_shadow_present_pte<>(c.new_spte) && !model::is_last_spte<>(c.new_spte, c.level);
  if (links && !(rows == 1 && row->e[i] == c.old_spte)) {
    linked_since_[entry_key(c.level, c.gfn)]++;
  }
}

// A root, a link of each table down to the entry's, and the entry itself: a change each, less what
// was there before anything was lost. Two tables are there at once at each level: of those that
// were there before and those that were linked since, in entries of which nothing was known, at
// most one. (A link of an entry that was known to have no table is in the place of one.) 0: nothing
// can be said.
uint64_t TracepointReplayer::lost_for_other_root(const Change& c) const {
  if (!tables_known_ || root_since_ || book_.roots() > 0) return 0;
  const auto tables_before = [&](int level) {
    const auto rows = before_loss_.at(level, c.gfn);
    return std::count_if(rows.begin(), rows.end(),
                         [&](const auto& r) { return r->fits(c.as_id, c.vm); });
  };
  for (int level = c.level + 1; level <= root_level_; level++) {
    const auto linked = linked_since_.find(entry_key(level, EntryBook::base(level - 1, c.gfn)));
    if (linked != linked_since_.end() && linked->second + tables_before(level - 1) > 1) return 0;
  }
  const auto down_to = [&](int level) { return static_cast<uint64_t>(level - c.level) + 1; };
  for (int level = c.level; level < kLowestRoot; level++) {
    if (tables_before(level) > 1) return down_to(level);
  }
  const bool has_root = before_loss_.roots() > 1;
  return down_to(std::max(kLowestRoot, c.level)) + (has_root ? 0 : 1);
}

// At the first loss what is known is kept; what is not decided yet will not be.
void TracepointReplayer::forget_suspects() {
  if (!lossy_) {
    tables_known_ = !forgot_ && held_.empty() && book_.roots() > 0;
    if (tables_known_) before_loss_ = std::move(book_);
    book_ = EntryBook();
  } else {
    tell_suspects();
    root_since_ = root_since_ || book_.roots() > 0;
  }
  told_.clear();
}

// Nobody told later of a change that may have come between the two.
void TracepointReplayer::tell_suspects() {
  for (const Suspect& s : std::exchange(suspects_, {})) {
    const std::vector<Told>& told = told_[s.entry];
    const bool explained = std::any_of(told.begin(), told.end(), [&](const Told& z) {
      return z.at > s.second.at && z.thread != s.second.thread && z.previous < s.second.at;
    });
    if (!explained) other_root_sink_(s.other);
  }
}

}  // namespace mmucheck::replay
