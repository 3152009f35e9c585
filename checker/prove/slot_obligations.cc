// Large pages of memslots: the bounds of lpage_info, and the pages that a change of attributes
// cuts.
#include <fmt/format.h>

#include "checker/invariant/td_rules.h"
#include "checker/prove/groups.h"
#include "model/vm/large_pages.h"

namespace mmucheck::prove {
namespace {

using namespace model;

// A slot from `base` to `last`, below 2^40 gfns, and a gfn. (Bounds of sums are hard for solvers
// that decide bit by bit: the length follows from the last gfn.)
struct Slot {
  int level;
  U base = var("base"), last = var("last"), ugfn = var("ugfn"), gfn = var("gfn");
  U npages = last - base + U(1);

  U pages() const { return U(pages_per_hpage(level)); }
  U rounded() const { return gfn_round_for_level<T>(gfn, level); }
  U index() const { return gfn_to_index<T>(gfn, base, level); }
  B valid() const {
    const U most(uint64_t{1} << 40);
    return base <= last && last < most && ugfn < most;
  }
  B holds(const U& g) const { return base <= g && g <= last; }
  B inside() const { return valid() && holds(gfn); }
  B never() const { return never_large<T>(base, npages, ugfn, level, index()); }
};

template <class Make>
std::vector<Query> each_level(Make make) {
  std::vector<Query> q;
  for (int level = kPgLevel2M; level <= kMaxHugepageLevel; level++) {
    Query one = make(Slot{level});
    one.instance = fmt::format("level {}", level);
    q.push_back(one);
  }
  return q;
}

std::vector<Query> index_in_bounds() {
  return each_level([](const Slot& s) -> Query {
    const U entries = lpage_entries<T>(s.base, s.npages, s.level);
    return {"", s.inside(), s.index() < entries, {{"index", s.index()}, {"entries", entries}}};
  });
}

std::vector<Query> index_tells_pages() {
  return each_level([](const Slot& s) -> Query {
    const U other = var("other");
    return {"",
            s.inside() && s.holds(other),
            iff(s.index() == gfn_to_index<T>(other, s.base, s.level),
                s.rounded() == gfn_round_for_level<T>(other, s.level)),
            {{"index", s.index()}}};
  });
}

// The page's first frame has the hva of `ugfn` and so many frames.
std::vector<Query> never_large_iff() {
  return each_level([](const Slot& s) -> Query {
    const U user = s.ugfn + (s.rounded() - s.base);
    const B aligned = (user & U(pages_per_hpage(s.level) - 1)) == U(0);
    const B whole = large_page_in_slot<T>(s.base, s.npages, s.rounded(), s.level);
    return {"",
            s.inside(),
            iff(s.never(), !(whole && aligned)),
            {{"index", s.index()}, {"page", s.rounded()}, {"user", user}}};
  });
}

// A range inside the slot; a page that has frames inside it and others outside of it.
std::vector<Query> cut_pages_found() {
  return each_level([](const Slot& s) -> Query {
    const U start = var("start"), end = var("end"), page = s.rounded();
    const CutPages<T> cut = cut_pages<T>(start, end, s.level);
    const B meets = page < end && page + s.pages() > start;
    const B within = page >= start && page + s.pages() <= end;
    return {
        "",
        s.inside() && s.base <= start && start < end && end <= s.last + U(1) && meets && !within,
        (page == cut.head && cut.cuts_head) || (page == cut.tail && cut.cuts_tail),
        {{"page", page}, {"head", cut.head}, {"tail", cut.tail}}};
  });
}
std::vector<Query> cut_pages_are_cut() {
  std::vector<Query> q;
  for (int level = kPgLevel2M; level <= kMaxHugepageLevel; level++) {
    const U start = var("start"), end = var("end"), pages(pages_per_hpage(level));
    const CutPages<T> cut = cut_pages<T>(start, end, level);
    for (const bool tail : {false, true}) {
      const U page = tail ? cut.tail : cut.head;
      q.push_back(
          {fmt::format("level {}, {}", level, tail ? "tail" : "head"),
           start < end && end < U(uint64_t{1} << 40) && (tail ? cut.cuts_tail : cut.cuts_head),
           page < end && page + pages > start && !(page >= start && page + pages <= end),
           {{"page", page}}});
    }
  }
  return q;
}

// What an unmap of the range that was widened by the cut pages may take of private memory.
std::vector<Query> widened_range_is_precise() {
  return each_level([](const Slot& s) -> Query {
    const U start = var("start"), end = var("end");
    const CutPages<T> cut = cut_pages<T>(start, end, s.level);
    const U from = T::ite(cut.cuts_head, cut.head, start);
    const U head_end = cut.head + s.pages(), tail_end = cut.tail + s.pages();
    const U behind = T::ite(cut.cuts_head && head_end > end, head_end, end);
    const U to = T::ite(cut.cuts_tail, tail_end, behind);
    const U last = s.rounded() + s.pages() - U(1);
    return {"",
            start < end && end < U(uint64_t{1} << 40) && s.rounded() < end && last >= start,
            invariant::zap_was_asked_for<T>(s.rounded(), s.level, from, to, true),
            {{"page", s.rounded()}, {"from", from}, {"to", to}}};
  });
}

}  // namespace

std::vector<Obligation> slot_obligations() {
  constexpr std::string_view bound = "levels 2 and 3, every slot below 2^40 gfns";
  constexpr std::string_view ranges = "levels 2 and 3, every range below 2^40 gfns";
  constexpr std::string_view metadata = "x86.c: kvm_alloc_memslot_metadata";
  constexpr std::string_view attributes = "mmu.c: kvm_arch_pre_set_memory_attributes";
  return {
      {"slot.index-in-bounds", "every gfn of a slot has its entry in lpage_info",
       "kvm_host.h: gfn_to_index; mmu.c: lpage_info_slot", bound, index_in_bounds},
      {"slot.index-tells-pages", "two gfns of a slot share an entry iff they share a large page",
       "kvm_host.h: gfn_to_index", bound, index_tells_pages},
      {"slot.never-large",
       "lpage_info forbids for good just the pages that leave the slot or are not aligned in hva",
       metadata, bound, never_large_iff},
      {"slot.cut-pages",
       "a large page that a change of attributes cuts is that of its first or of its last frame",
       attributes, bound, cut_pages_found},
      {"slot.cut-pages-only", "what counts as cut has frames in the range and others outside of it",
       attributes, ranges, cut_pages_are_cut},
      {"slot.widened-range",
       "a range widened by the pages that it cuts holds each large page that it meets as a whole",
       attributes, ranges, widened_range_is_precise},
  };
}

}  // namespace mmucheck::prove
