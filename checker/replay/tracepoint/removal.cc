#include <fmt/format.h>

#include <algorithm>

#include "checker/replay/tracepoint/tracepoint_replayer.h"
#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using trace::Event;
namespace f = trace::f;

// handle_removed_pt begins: on 6.12 after the parent entry's change, on 7.x before it.
void TracepointReplayer::prepare_zap(const Event& e, Thread& t) {
  namespace p = f::prepare_zap_page;
  if (!e.has(p::gfn) && !e.has(p::level)) return;
  Block b;
  b.level = static_cast<int>(e.get(p::level));
  b.place = place(e);
  if (e.has(p::gfn)) {
    b.gfn = plain_gfn(e.get(p::gfn));
  } else if (t.zap.on) {
    b.gfn = t.zap.gfn;  // libtraceevent's own form prints none
  } else {
    return;
  }
  if (b.level < 1 || b.level >= root_level_ || EntryBook::base(b.level, b.gfn) != b.gfn) {
    t.zap.on = false;
    return diverge(e, TpRule::kRemoval, "a gfn and a level of a table");
  }
  // Entries of an outer table go on only after those of its child.
  while (!t.blocks.empty()) {
    const Block& top = t.blocks.back();
    const bool nested = top.level == b.level + 1 && EntryBook::base(top.level, b.gfn) == top.gfn;
    if (nested) break;
    if (late_parent_) {
      if (!t.removal_unsure) {
        lack_unlink(e, top.gfn, top.level, t.blocks.size() > 1);
        diverge(e, TpRule::kRemoval, "the parent entry's change");
      }
      t.blocks.clear();
      break;
    }
    close_block(e, t, top.pfn);
  }
  if (!late_parent_) {
    if (t.zap.on) {
      if (t.zap.gfn != b.gfn || t.zap.level != b.level) {
        diverge(e, TpRule::kRemoval, fmt::format("gfn {:x} level {}", t.zap.gfn, t.zap.level));
        b.gfn = t.zap.gfn;
        b.level = t.zap.level;
      }
      b.pfn = t.zap.value;
    } else if (!t.removal_unsure) {
      lack_unlink(e, b.gfn, b.level, !t.blocks.empty());
      diverge(e, TpRule::kRemoval, "the change that cuts the table off");
    }
    t.zap.on = false;
  }
  // Of a fault that this is part of nothing may be known.
  t.blocks.push_back(std::move(b));
}

void TracepointReplayer::removed_child(const Event& e, Thread& t, const Change& c, bool below) {
  Block& b = t.blocks.back();
  const size_t i = EntryBook::index(c.level, c.gfn);
  const bool present = model::is_shadow_present_pte<>(c.old_spte);
  if (i < b.next) {
    diverge(e, TpRule::kRemoval, fmt::format("entry {} or a later one", b.next));
  } else if (i > b.next && b.hole) {
    lack_children(e, b, b.next, i);
    diverge(e, TpRule::kRemoval, fmt::format("entry {}: all of the table change", b.next));
  }
  if (b.as_id >= 0 && c.as_id != b.as_id) {
    diverge(e, TpRule::kRemoval, fmt::format("address space {}: that of the table", b.as_id));
  }
  b.as_id = c.as_id;
  if (i > b.next) b.gap = true;
  if (!present) {
    if (b.gap && !b.hole) {
      diverge(e, TpRule::kRemoval, "a present entry: only these change here");
    }
    b.hole = true;
  }
  b.next = i + 1;
  b.seen++;
  if (c.new_spte != values_.fmt.frozen) {
    diverge(e, TpRule::kRemoval, "the frozen value", fmt::format("new {:x}", values_.fmt.frozen),
            fmt::format("new {:x}", c.new_spte));
  }
  const bool leaf = model::is_last_spte<>(c.old_spte, c.level);
  if (present && leaf && b.first_leaf == 0) b.first_leaf = c.old_spte;
  if (present && !leaf) {
    if (late_parent_) {
      if (!below) {
        lack_next(t, {missing_prepare_zap(e, c.gfn, c.level - 1)});
        diverge(e, TpRule::kRemoval, "the removal of the table below first");
      }
    } else {
      t.zap.on = true;
      t.zap.gfn = c.gfn;
      t.zap.level = c.level - 1;
      t.zap.value = model::spte_to_pfn<>(c.old_spte);
    }
  }
}

// An entry is frozen of a table whose removal began with events that were lost: it goes on there.
void TracepointReplayer::resume_removal(const Event& e, Thread& t, const Change& c) {
  Block b;
  b.level = c.level;
  b.gfn = EntryBook::base(c.level, c.gfn);
  b.place = place(e);
  b.next = EntryBook::index(c.level, c.gfn);
  b.resumed = true;
  // Where it can be one table only, what was lost must have frozen the entries before.
  const auto rows = book_.at(c.level, c.gfn);
  if (doubting_ && rows.size() == 1 && rows[0]->fits(c.as_id, c.vm)) b.pfn = rows[0]->pfn;
  t.blocks.push_back(std::move(b));
  removed_child(e, t, c, true);
}

// The top block is over; `pfn` is the table's page where it is known, else 0.
void TracepointReplayer::close_block(const Event& e, Thread& t, uint64_t pfn) {
  const Block b = t.blocks.back();
  t.blocks.pop_back();
  if (!t.blocks.empty() && t.blocks.back().first_leaf == 0) {
    t.blocks.back().first_leaf = b.first_leaf;
  }
  if (b.hole && b.next != 512) {
    lack_children(e, b, b.next, 512);
    diverge(e, TpRule::kRemoval,
            fmt::format("entry {} of the removed table: all of them change", b.next));
  }
  drop_table(e, b, pfn);
}

// Each column of the group gives up the entry that the removed table had in it.
void TracepointReplayer::drop_table(const Event& e, const Block& b, uint64_t pfn) {
  const report::Place& at = b.place;
  const uint64_t gfn = b.gfn;
  const int level = b.level;
  TableRow* row = book_.by_pfn(pfn);
  if (pfn == 0 || row == nullptr || row->level != level || row->gfn != gfn) return;
  const auto others = book_.at(level, gfn);
  bool open = std::any_of(held_.begin(), held_.end(), [&](const Held& h) {
    return h.c.level == level && EntryBook::base(level, h.c.gfn) == gfn;
  });
  const bool exact = doubting_ && !row->guessed;
  for (size_t i = 0; i < 512; i++) {
    if (row->e[i] == values_.fmt.frozen) continue;
    TableRow* with = nullptr;
    if (doubting_ && !exact && std::any_of(others.begin(), others.end(), [&](const auto& o) {
          return o.get() != row && !o->gone && o->fits(row->as_id, row->vm) &&
                 o->e[i] == kUnknownSpte;
        })) {
      continue;  // which may be the one that was emptied
    }
    for (const auto& o : others) {
      if (exact || o.get() == row || o->gone || !o->fits(row->as_id, row->vm)) continue;
      if (o->e[i] == values_.fmt.frozen) {
        with = o.get();
        break;
      }
      if (!b.hole && with == nullptr && !model::is_shadow_present_pte<>(o->e[i])) with = o.get();
    }
    const bool linked = doubting_ && must_link(*row, i);
    const bool present =
        linked || (row->e[i] != kUnknownSpte && model::is_shadow_present_pte<>(row->e[i]));
    if (with != nullptr && (present || with->e[i] == values_.fmt.frozen)) {
      std::swap(with->e[i], row->e[i]);
      with->used = true;
      continue;
    }
    // The removal of a private page that failed has no tracepoint (and ends the VM).
    if (present && values_.td && level == 1 && model::is_writable_pte<>(row->e[i])) {
      if (!row->shared) {
        n_.failed++;
        continue;
      }
    }
    if (present && !open && !forgot_) {
      const uint64_t left = gfn + i * model::pages_per_hpage(level);
      const report::Place passed = place_left(*row, i, at);
      Event zap = missing_change(e, row->as_id, left, level, row->e[i], model::kNonpresent);
      zap.thread = 0;
      if (passed.packet != at.packet) lack({zap}, passed.packet);
      lack({missing_change(e, row->as_id, left, level, row->e[i], values_.fmt.frozen)}, 0,
           b.resumed ? 0 : at.packet);
      if (passed.packet == at.packet) lack({zap}, at.packet);
      about_ = EntryPlace{row->as_id, level, left};
      about_vm_ = row->vm;
      about_table_ = exact ? row->pfn : 0;
      seen_ = model::kNonpresent;
      diverge_at(passed, fmt::format("the removal of the table of gfn {:x} level {}", gfn, level),
                 TpRule::kRemoval,
                 fmt::format("the change of its present entry {} ({:x})", i, row->e[i]), "", "");
      open = true;  // once a table
    }
  }
  erase(row);
}

void TracepointReplayer::close_all(const Event& e, Thread& t) {
  if (late_parent_) {
    if (!t.removal_unsure) {
      lack_unlink(e, t.blocks.back().gfn, t.blocks.back().level, t.blocks.size() > 1);
      diverge(e, TpRule::kRemoval,
              fmt::format("the change of the parent entry of the table of gfn {:x} level {}",
                          t.blocks.back().gfn, t.blocks.back().level));
    }
    t.blocks.clear();
    return;
  }
  while (!t.blocks.empty()) close_block(e, t, t.blocks.back().pfn);
}

}  // namespace mmucheck::replay
