// The protocol of frozen entries: two threads that change one entry of a mirror root under mmu_lock
// for read, act by act (model/tdp/mirror_order.h), and the remover of the table that holds it. One
// step of the first thread, or of the remover, from any state that satisfies the invariant; the
// other thread may be anywhere.
#include <fmt/format.h>

#include <algorithm>

#include "checker/prove/formats.h"
#include "checker/prove/groups.h"
#include "model/tdp/mirror_order.h"

namespace mmucheck::prove {
namespace {

using namespace model;

U act_no(MirrorAct a) {
  return U(static_cast<uint64_t>(a));
}
// What can go wrong: the exchange is lost, the hook fails; a store knows of the hook's failure.
bool can_fail(MirrorWay way, MirrorAct a) {
  return a == MirrorAct::kExchange || a == MirrorAct::kStore || act_calls_hook(way, a);
}
std::vector<MirrorAct> acts_after(MirrorWay way, MirrorAct a) {
  std::vector<MirrorAct> all{next_mirror_act(way, true, a, false)};
  if (can_fail(way, a)) all.push_back(next_mirror_act(way, true, a, true));
  return all;
}
bool has(const std::vector<MirrorAct>& acts, MirrorAct a) {
  return std::find(acts.begin(), acts.end(), a) != acts.end();
}
// The acts from `first` on, to the one before the end, or to the final store.
std::vector<MirrorAct> acts_from(MirrorWay way, MirrorAct first, bool to_store) {
  std::vector<MirrorAct> all, todo{first};
  while (!todo.empty()) {
    const MirrorAct a = todo.back();
    todo.pop_back();
    if (a == MirrorAct::kDone || has(all, a)) continue;
    all.push_back(a);
    if (to_store && a == MirrorAct::kStore) continue;
    for (const MirrorAct b : acts_after(way, a)) todo.push_back(b);
  }
  return all;
}
// Between the exchange and the final store, that one included; without a store, up to the end.
std::vector<MirrorAct> acts_of_owner(MirrorWay way) {
  return acts_from(way, next_mirror_act(way, true, MirrorAct::kExchange, false), true);
}

// A thread: which act comes next, kDone for none; what it read, and what is to come in its place.
struct Thread {
  U at, old_spte, new_spte;
  B owns(MirrorWay way) const {
    B any(false);
    for (const MirrorAct a : acts_of_owner(way)) any = any || at == act_no(a);
    return any;
  }
};

struct Contest {
  U entry = var("entry");
  Thread one{var("at"), var("old"), var("new")};
  Thread two{var("at2"), var("old2"), var("new2")};
  U remover = var("remover");  // 1: the table goes, and its remover has come by
};

// `knows`: nobody exchanges what he read as frozen, nor puts frozen in its place.
B owners_fit(const SpteFormat& f, MirrorWay way, const Contest& s, bool knows) {
  const B one = s.one.owns(way), two = s.two.owns(way), remover = s.remover == U(1);
  const B at_most_one = !(one && two) && !(one && remover) && !(two && remover);
  B r = at_most_one && iff(is_frozen_spte<T>(f, s.entry), one || two || remover);
  if (!knows) return r;
  for (const Thread& t : {s.one, s.two}) {
    const B busy = t.at != act_no(MirrorAct::kDone);
    r = r && implies(busy, !is_frozen_spte<T>(f, t.old_spte) && !is_frozen_spte<T>(f, t.new_spte));
  }
  return r;
}

struct ContestStep {
  std::string name;
  B guard = true;
  Contest after;
  bool by_remover = false;
};

// What thread one, or the remover, may do next.
std::vector<ContestStep> contest_steps(const SpteFormat& f, MirrorWay way, const Contest& s) {
  std::vector<ContestStep> all;
  const auto is_at = [&](MirrorAct a) { return s.one.at == act_no(a); };
  const auto goes_to = [&](MirrorAct a, bool failed) {
    return act_no(next_mirror_act(way, true, a, failed));
  };

  ContestStep reads{"reads the entry", is_at(MirrorAct::kDone) && !fault_gives_up<T>(f, s.entry),
                    s};
  reads.after.one = {goes_to(MirrorAct::kBegin, false), s.entry, var("wanted")};
  reads.guard = reads.guard && !is_frozen_spte<T>(f, var("wanted"));
  all.push_back(reads);

  const B taken = s.entry == s.one.old_spte;
  ContestStep exchanges{"exchanges", is_at(MirrorAct::kExchange), s};
  exchanges.after.entry = T::ite(taken, exchanged_value<T>(way, f, s.one.new_spte), s.entry);
  exchanges.after.one.at =
      T::ite(taken, goes_to(MirrorAct::kExchange, false), goes_to(MirrorAct::kExchange, true));
  all.push_back(exchanges);

  for (const MirrorAct a : {MirrorAct::kHook, MirrorAct::kFollow, MirrorAct::kStore}) {
    for (const bool failed : {false, true}) {
      ContestStep t{fmt::format("{}{}",
                                a == MirrorAct::kHook     ? "hook"
                                : a == MirrorAct::kFollow ? "handle_changed_spte"
                                                          : "store",
                                failed ? ", failed" : ""),
                    is_at(a), s};
      if (a == MirrorAct::kStore) {
        t.after.entry = stored_value<T>(s.one.old_spte, s.one.new_spte, B(failed));
      }
      t.after.one.at = goes_to(a, failed);
      if (failed && !can_fail(way, a)) continue;
      if (has(acts_from(way, MirrorAct::kBegin, false), a)) all.push_back(t);
    }
  }

  // xchg, again and again while another thread's value comes back.
  ContestStep removes{"the remover exchanges", s.remover == U(0), s, true};
  removes.after.entry = U(f.frozen);
  removes.after.remover = T::ite(remover_spins<T>(f, s.entry), U(0), U(1));
  all.push_back(removes);
  return all;
}

template <class Make>
std::vector<Query> each_contest_step(std::initializer_list<MirrorWay> ways, Make make) {
  std::vector<Query> q;
  for (const NamedFormat& n : formats()) {
    if (!n.ept || !n.ad_bits) continue;  // the others differ in bits that are not looked at
    for (const MirrorWay way : ways) {
      const char* name = way == MirrorWay::kFreeze          ? "frozen till the end"
                         : way == MirrorWay::kFreezeForHook ? "frozen for the hook"
                                                            : "not frozen";
      const Contest s;
      const B domain = s.one.at <= act_no(MirrorAct::kDone) && s.remover <= U(1) &&
                       s.two.at <= act_no(MirrorAct::kDone);
      for (const ContestStep& t : contest_steps(n.f, way, s)) {
        Query one = make(n.f, way, s, t);
        one.instance = fmt::format("{}, {}: {}", n.name, name, t.name);
        one.premise = domain && t.guard && one.premise;
        one.shown = {{"entry_after", t.after.entry}, {"at_after", t.after.one.at}};
        q.push_back(one);
      }
    }
  }
  return q;
}
constexpr std::initializer_list<MirrorWay> kFreezing = {MirrorWay::kFreeze,
                                                        MirrorWay::kFreezeForHook};

std::vector<Query> one_owner(bool knows) {
  return each_contest_step(kFreezing, [knows](const SpteFormat& f, MirrorWay way, const Contest& s,
                                              const ContestStep& t) {
    return Query{"", owners_fit(f, way, s, knows), owners_fit(f, way, t.after, knows), {}};
  });
}
std::vector<Query> one_owner_strengthened() {
  return one_owner(true);
}
std::vector<Query> one_owner_alone() {
  return one_owner(false);
}

std::vector<Query> owner_stores() {
  std::vector<Query> q = each_contest_step(
      kFreezing, [](const SpteFormat& f, MirrorWay way, const Contest& s, const ContestStep& t) {
        const B by_owner = t.by_remover ? s.remover == U(1) : s.one.owns(way);
        return Query{"",
                     owners_fit(f, way, s, true) && is_frozen_spte<T>(f, s.entry),
                     implies(t.after.entry != s.entry, by_owner),
                     {}};
      });
  // Nobody reads a frozen entry in order to exchange it.
  std::erase_if(q, [](const Query& one) { return one.instance.ends_with("reads the entry"); });
  return q;
}

// What the owner finds when it stores is what it put there.
std::vector<Query> owner_finds() {
  std::vector<Query> q;
  for (const NamedFormat& n : formats()) {
    if (!n.ept || !n.ad_bits) continue;
    for (const MirrorWay way : kFreezing) {
      const Contest s;
      q.push_back(
          {fmt::format("{}, {}", n.name,
                       way == MirrorWay::kFreeze ? "frozen till the end" : "frozen for the hook"),
           owners_fit(n.f, way, s, true) && s.one.owns(way) && s.remover <= U(1),
           s.entry == exchanged_value<T>(way, n.f, s.one.new_spte) && s.remover == U(0),
           {}});
    }
  }
  return q;
}

// The same threads where no value says that an entry has an owner: at most one is between its
// exchange and the end of its hook.
std::vector<Query> without_freezing() {
  std::vector<Query> q;
  for (Query& one :
       each_contest_step({MirrorWay::kPlain}, [](const SpteFormat&f, MirrorWay way, const Contest&s,
                                                 const ContestStep&t) {
         const auto apart = [&](const Contest& x) { return !(x.one.owns(way) && x.two.owns(way)); };
         const B values = !is_frozen_spte<T>(f, s.entry) && !is_frozen_spte<T>(f, s.one.new_spte);
         return Query{"", apart(s) && values && s.remover == U(0), apart(t.after), {}};
       })) {
    q.push_back(one);
  }
  return q;
}

}  // namespace

std::vector<Obligation> freeze_obligations() {
  constexpr std::string_view set = "tdp_mmu.c: tdp_mmu_set_spte_atomic, handle_removed_pt";
  constexpr std::string_view bound = "two threads and a remover, one step, every value";
  constexpr std::string_view strengthening =
      "nobody exchanges an entry that it read as frozen, nor puts the frozen value in its place";
  return {
      {"freeze.one-owner",
       "an entry is frozen iff one thread has exchanged it and not stored yet, or its table's "
       "remover has come by; never two of them",
       set, bound, one_owner_strengthened, strengthening},
      {"freeze.one-owner.not-strengthened",
       "the same when nothing is known of what the threads have read", set, bound, one_owner_alone},
      {"freeze.owner-stores", "who changes a frozen entry is the one who froze it", set, bound,
       owner_stores, strengthening},
      {"freeze.owner-finds",
       "between exchange and store the owner's value is there, and no remover has been", set,
       "two threads and a remover, every value", owner_finds, strengthening},
      {"freeze.plain.one-owner",
       "without freezing, too, one thread at a time is between the exchange and the end of its "
       "hook",
       "seed 004: cmpxchg first, then the hook", bound, without_freezing},
  };
}

}  // namespace mmucheck::prove
