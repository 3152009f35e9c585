// Ranges of a zap: [start, end) without the shared bit, and what a walk over a root makes of it
// (seeds 000 and 001).
#include <fmt/format.h>

#include "checker/prove/groups.h"
#include "model/address/alias.h"
#include "model/tdp/alias.h"

namespace mmucheck::prove {
namespace {

using namespace model;

constexpr int kGpaws[] = {48, 52};

template <class Make>
std::vector<Query> each_root(Make make) {
  std::vector<Query> q;
  for (const int gpaw : kGpaws) {
    for (const bool mirror : {false, true}) {
      Query one = make(U(gfn_direct_bits_for_gpaw(gpaw)), mirror);
      one.instance = fmt::format("GPAW {}, {} root", gpaw, mirror ? "mirror" : "direct");
      q.push_back(one);
    }
  }
  return q;
}

// An entry that the iterator reaches from `start` on, and a range within the private half.
B reached(const U& gfn, const U& start, const U& end, const U& bits) {
  return start < end && end <= bits && start <= gfn && gfn < bits;
}

Query sketch_query(const U& bits, bool mirror, const B& more) {
  const U start = var("start"), end = var("end"), gfn = var("gfn");
  const B visits = seed000_loop_goes_on<T>(bits, mirror, {gfn}, {end});
  return {"",
          reached(gfn, start, end, bits) && more,
          iff(visits, gfn < end),
          {{"bound", gfn_for_root<T>(bits, mirror, {end}).v}, {"visits", number(visits)}}};
}
std::vector<Query> sketch_loop() {
  return each_root([](const U& bits, bool mirror) { return sketch_query(bits, mirror, true); });
}
std::vector<Query> sketch_loop_mirror_inner() {
  std::vector<Query> q = each_root(
      [](const U& bits, bool mirror) { return sketch_query(bits, mirror, var("end") < bits); });
  std::erase_if(q, [](const Query& one) { return one.instance.ends_with("direct root"); });
  return q;
}

// v8 to v19: the iterator's gfn carries the bit of the root, and so do both bounds.
Query mapped_range_query(const U& bits, bool mirror, const B& more) {
  const U start = var("start"), end = var("end"), gfn = var("gfn");
  const U first = gfn_for_root<T>(bits, mirror, {start}).v;
  const U last = gfn_for_root<T>(bits, mirror, {end}).v;
  const U entry = gfn_for_root<T>(bits, mirror, {gfn}).v;
  const B visits = first <= entry && entry < last;
  return {"",
          start < end && end <= bits && gfn < bits && more,
          iff(visits, start <= gfn && gfn < end),
          {{"from", first}, {"to", last}, {"visits", number(visits)}}};
}
std::vector<Query> mapped_range() {
  return each_root(
      [](const U& bits, bool mirror) { return mapped_range_query(bits, mirror, true); });
}
std::vector<Query> mapped_range_inner() {
  return each_root([](const U& bits, bool mirror) {
    return mapped_range_query(bits, mirror, var("end") < bits);
  });
}

// An end that no gfn of a TD has: above the shared bit, which a large MAXPHYADDR lets through.
std::vector<Query> mapped_range_beyond() {
  return each_root([](const U& bits, bool mirror) -> Query {
    const U start = var("start"), end = var("end"), gfn = var("gfn");
    const U first = gfn_for_root<T>(bits, mirror, {start}).v;
    const U last = gfn_for_root<T>(bits, mirror, {end}).v;
    const U entry = gfn_for_root<T>(bits, mirror, {gfn}).v;
    return {"",
            start <= gfn && gfn < bits && bits < end && end <= U(uint64_t{1} << 40),
            first <= entry && entry < last,
            {{"from", first}, {"to", last}}};
  });
}
std::vector<Query> plain_range() {
  return each_root([](const U& bits, bool mirror) -> Query {
    const U start = var("start"), end = var("end"), gfn = var("gfn");
    const WalkRange<T> walk =
        zap_range<T>(ZapBounds::kPlain, IterIndex::kGfnBits, mirror, start, end, bits);
    const B visits = walk.start <= gfn && gfn < walk.end;
    return {"", start < end && gfn < bits, iff(visits, start <= gfn && gfn < end), {}};
  });
}

// kvm_gfn_for_root of fault->gfn in place of gpa_to_gfn(fault->addr).
std::vector<Query> walk_start() {
  return each_root([](const U& bits, bool mirror) -> Query {
    const Gpa<T> gpa{var("gpa")};
    const Gfn<T> fault_gfn = strip_direct_bits<T>(bits, gpa_to_gfn<T>(gpa));
    const B direct = is_addr_direct<T>(bits, gpa);
    const U start = gfn_for_root<T>(bits, mirror, fault_gfn).v;
    return {"", (mirror ? !direct : direct), start == gpa_to_gfn<T>(gpa).v, {{"start", start}}};
  });
}

// The aliases that the roots serve are disjoint and each keeps its gfn.
std::vector<Query> alias_keeps_gfn() {
  return each_root([](const U& bits, bool mirror) -> Query {
    const Gfn<T> gfn{var("gfn")};
    const Gfn<T> alias = gfn_for_root<T>(bits, mirror, gfn);
    return {"",
            gfn.v < bits,
            strip_direct_bits<T>(bits, alias).v == gfn.v &&
                (mirror ? !is_gfn_alias<T>(bits, alias) : is_gfn_alias<T>(bits, alias)),
            {{"alias", alias.v}}};
  });
}

}  // namespace

std::vector<Obligation> range_obligations() {
  constexpr std::string_view bound = "GPAW 48 and 52, both roots, every range";
  return {
      {"range.walk-start",
       "a walk may start from kvm_gfn_for_root(fault->gfn) in place of gpa_to_gfn(fault->addr)",
       "seed 000; v19 059: kvm_tdp_mmu_map", "GPAW 48 and 52, both roots, every gpa", walk_start},
      {"range.alias-keeps-gfn", "the alias that a root maps is of that gfn and of that root's half",
       "v19: kvm_gfn_for_root", "GPAW 48 and 52, both roots, every gfn", alias_keeps_gfn},
      {"range.mapped-bounds",
       "a zap that maps start and end to the root's half visits [start, end)",
       "seeds 000 and 001; v19 059: tdp_mmu_zap_leafs", bound, mapped_range},
      {"range.mapped-bounds.inner",
       "the mapped bounds visit [start, end) where end is below the shared bit",
       "seeds 000 and 001; v19 059: tdp_mmu_zap_leafs", bound, mapped_range_inner},
      {"range.mapped-bounds.beyond",
       "the mapped bounds visit all from start on where end is above the shared bit",
       "seeds 000 and 001; v19 059: tdp_mmu_zap_leafs", "GPAW 48 and 52, both roots, end to 2^40",
       mapped_range_beyond},
      {"range.plain-bounds", "bounds that are not mapped visit exactly [start, end)",
       "tdp_mmu.c: tdp_mmu_zap_leafs (6.14)", bound, plain_range},
      {"range.sketch-loop",
       "the sketched loop, its gfn without the shared bit, visits exactly [start, end)",
       "seed 000: for_each_tdp_pte_min_level of the proposal", bound, sketch_loop},
      {"range.sketch-loop.mirror-inner",
       "the sketched loop visits [start, end) of a mirror root, end below the shared bit",
       "seed 000: for_each_tdp_pte_min_level of the proposal", "GPAW 48 and 52, every such range",
       sketch_loop_mirror_inner},
  };
}

}  // namespace mmucheck::prove
