// The iterator: each step goes on in order of gfn and leaves nothing out, a restart neither.
#include <fmt/format.h>

#include "checker/prove/groups.h"
#include "model/address/alias.h"
#include "model/address/walk_steps.h"

namespace mmucheck::prove {
namespace {

using namespace model;

// A walk that stands at the entry of `level` for `gfn`, and has come up to `next` in it.
struct Place {
  int gpaw;
  bool mirror;
  int level;
  U gfn = var("gfn"), next = var("next");

  int root_level() const { return gpaw == 48 ? 4 : 5; }
  U direct_bits() const { return U(gfn_direct_bits_for_gpaw(gpaw)); }
  U bits() const { return gfn_bits_of_root<T>(direct_bits(), mirror); }
  U pages() const { return U(pages_per_hpage(level)); }
  B valid() const {
    return gfn_round_for_level<T>(gfn, level) == gfn && gfn < direct_bits() && gfn <= next &&
           next < gfn + pages();
  }
  B last() const { return is_last_entry<T>(gfn, bits(), level); }
};

template <class Make>
std::vector<Query> each_place(bool at_root, Make make) {
  std::vector<Query> q;
  for (const int gpaw : {48, 52}) {
    for (const bool mirror : {false, true}) {
      const int top = Place{gpaw, mirror, 1}.root_level();
      for (int level = at_root ? top : top - 1; level >= 1; level--) {
        Query one = make(Place{gpaw, mirror, level});
        one.instance =
            fmt::format("GPAW {}, {} root, level {}", gpaw, mirror ? "mirror" : "direct", level);
        q.push_back(one);
      }
    }
  }
  return q;
}

// Within the half of a root; the bound of a walk keeps it there.
std::vector<Query> side_is_next() {
  return each_place(true, [](const Place& p) -> Query {
    const U beside = gfn_beside<T>(p.gfn, p.level);
    B same_table = true;
    if (p.level < p.root_level()) {
      same_table =
          gfn_round_for_level<T>(beside, p.level + 1) == gfn_round_for_level<T>(p.gfn, p.level + 1);
    }
    return {"",
            p.valid() && !p.last() && beside < p.direct_bits(),
            same_table && spte_index<T>(beside | p.bits(), p.level) ==
                              spte_index<T>(p.gfn | p.bits(), p.level) + U(1),
            {{"beside", beside}}};
  });
}

std::vector<Query> side_moves_on() {
  return each_place(true, [](const Place& p) -> Query {
    const U beside = gfn_beside<T>(p.gfn, p.level);
    return {"", p.valid(), beside > p.next, {{"beside", beside}}};
  });
}

std::vector<Query> up_then_side() {
  return each_place(false, [](const Place& p) -> Query {
    const U above = gfn_above<T>(p.gfn, p.level + 1);
    const U resumed = gfn_beside<T>(above, p.level + 1);
    return {"",
            p.valid() && p.last(),
            resumed == gfn_beside<T>(p.gfn, p.level),
            {{"above", above}, {"resumed", resumed}}};
  });
}

std::vector<Query> down_holds_next() {
  std::vector<Query> q = each_place(true, [](const Place& p) -> Query {
    if (p.level == kPgLevel4K) return {};
    const U below = gfn_below<T>(p.next, p.level - 1);
    return {"",
            p.valid(),
            below >= p.gfn && below <= p.next && p.next < below + U(pages_per_hpage(p.level - 1)) &&
                gfn_round_for_level<T>(below, p.level) == p.gfn,
            {{"below", below}}};
  });
  std::erase_if(q, [](const Query& one) { return one.instance.ends_with("level 1"); });
  return q;
}

// From the root down, as far as the walk went before.
std::vector<Query> restart_comes_back() {
  return each_place(true, [](const Place& p) -> Query {
    U at = gfn_below<T>(p.next, p.root_level());
    B in_order = at <= p.next;
    for (int level = p.root_level() - 1; level >= p.level; level--) {
      const U below = gfn_below<T>(p.next, level);
      in_order = in_order && at <= below;
      at = below;
    }
    return {"", p.valid(), in_order && at == p.gfn, {{"came_to", at}}};
  });
}

}  // namespace

std::vector<Obligation> iter_obligations() {
  constexpr std::string_view bound = "GPAW 48 and 52, both roots, every level and gfn";
  return {
      {"iter.side-is-next",
       "a step to the side, within the root's half, goes to the next entry of the same table",
       "tdp_iter.c: try_step_side", bound, side_is_next},
      {"iter.side-moves-on",
       "a step to the side goes beyond the gfn that the walk has come to: no walk stands still",
       "tdp_iter.c: try_step_side; tdp_mmu.c: tdp_mmu_iter_cond_resched", bound, side_moves_on},
      {"iter.up-leaves-nothing-out",
       "a walk that leaves a table by its last entry goes on at the gfn behind it",
       "tdp_iter.c: try_step_up, tdp_iter_next", bound, up_then_side},
      {"iter.down-holds-next", "a step down goes to the entry that holds the gfn to go on from",
       "tdp_iter.c: try_step_down", bound, down_holds_next},
      {"iter.restart-loses-nothing",
       "a restart comes back to the entry of each level that holds the gfn it stopped at",
       "tdp_iter.c: tdp_iter_restart", bound, restart_comes_back},
  };
}

}  // namespace mmucheck::prove
