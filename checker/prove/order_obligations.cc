// Parents outlive children, in the mirror and in the S-EPT, and the two go together: a parent's
// entry, an entry of the table below it, the S-EPT entry of each, and how far the thread has come
// that changes one of them. One step of anybody, from any state that satisfies the invariant: the
// acts of tdp_mmu_set_spte_atomic() in the design's order, the store under the write lock, the
// remover of a table, what SEAMCALLs make of S-EPT entries, and the guest's ACCEPT.
//
// Designs that choose the same about all of this are one case: 6.16 and v19 are as 6.14, the huge
// pages as 7.x.
//
// What is left out: the TD is RUNNABLE and has its HKID; a VM that is bugged is not followed; leafs
// are of 4K; the entry above the parent's in the S-EPT is there. Of a lost exchange there is
// nothing to follow but where the hook came first.
#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "checker/invariant/td_rules.h"
#include "checker/prove/groups.h"
#include "model/tdp/mirror_order.h"
#include "model/tdx/entry_after.h"

namespace mmucheck::prove {
namespace {

using namespace model;
using tdx::Leaf;
constexpr int kChildLevel = kPgLevel4K, kParentLevel = 2;

U act_at(MirrorAct a) {
  return U(static_cast<uint64_t>(a));
}
const U kIdle(0);
// A child that its table's remover has frozen and whose hook is to come.
const U kTaken(static_cast<uint64_t>(MirrorAct::kDone) + 1);

// An entry of the mirror, that of the S-EPT, and the thread that changes them: `at` is its next
// act, `part` how much of its SEAMCALLs it has done (of a mapping 1, of a removal BLOCK and
// REMOVE).
struct Half {
  int level;
  U spte, sept, at, maps, old_spte, new_spte, failed, part;

  static Half any(const std::string& name, int level) {
    const auto v = [&](const char* field) { return U::variable(name + field); };
    return {level,     v(".spte"), v(".sept"),   v(".at"),  v(".maps"),
            v(".old"), v(".new"),  v(".failed"), v(".part")};
  }
  bool is_parent() const { return level == kParentLevel; }
  B idle() const { return at == kIdle; }
  B is_at(MirrorAct a) const { return at == act_at(a); }
  B mapping() const { return !idle() && maps == U(1); }
  B removing() const { return !idle() && maps == U(0); }
  B has_failed() const { return failed == U(1); }
  // What a mapping puts here, and a removal takes away: a table, or a leaf.
  B holds(const U& value) const {
    const B leaf = is_last_spte<T>(value, level);
    return is_shadow_present_pte<T>(value) && (is_parent() ? !leaf : leaf);
  }
  B there() const { return holds(spte); }
  B in_sept() const { return !tdx::is_sept_free<T>(sept); }
};

struct Family {
  Half parent = Half::any("parent", kParentLevel);
  Half child = Half::any("child", kChildLevel);
  B walk_passes() const { return tdx::walk_continues<T>(parent.sept); }
};

struct ByDesign {
  const Design& d;
  SpteFormat f;

  // Under the write lock there is no exchange that loses, and no thread to hide from. Of a table
  // that goes no hook is called, so none comes first.
  MirrorWay way(bool parent, bool maps) const {
    if (!maps && removal_excludes_faults(d)) return MirrorWay::kPlain;
    const MirrorWay w = mirror_way(d, maps);
    return parent && !maps && w == MirrorWay::kHookThenExchange ? MirrorWay::kPlain : w;
  }
  MirrorAct next(bool parent, bool maps, MirrorAct done, bool failed) const {
    return next_mirror_act(way(parent, maps), true, done, failed);
  }
  bool calls_hook(bool parent, bool maps, MirrorAct a) const {
    return act_calls_hook(way(parent, maps), a);
  }
  bool hook_first(bool parent, bool maps) const {
    return next(parent, maps, MirrorAct::kBegin, false) == MirrorAct::kHook;
  }
  // The acts that can be next of a change that has begun. A removal that fails bugs the VM.
  std::vector<MirrorAct> acts(bool parent, bool maps) const {
    std::vector<MirrorAct> all;
    std::vector<MirrorAct> todo{hook_first(parent, maps)
                                    ? MirrorAct::kHook
                                    : next(parent, maps, MirrorAct::kExchange, false)};
    while (!todo.empty()) {
      const MirrorAct a = todo.back();
      todo.pop_back();
      if (a == MirrorAct::kDone || std::find(all.begin(), all.end(), a) != all.end()) continue;
      all.push_back(a);
      todo.push_back(next(parent, maps, a, false));
      if (maps && errors_return() && calls_hook(parent, maps, a)) {
        todo.push_back(next(parent, maps, a, true));
      }
    }
    return all;
  }
  U goes_to(bool parent, bool maps, MirrorAct done, bool failed) const {
    const MirrorAct a = next(parent, maps, done, failed);
    return a == MirrorAct::kDone ? kIdle : act_at(a);
  }
  bool errors_return() const { return d.hook_errors == HookErrors::kReturned; }
  bool alone() const { return d.seamcall_lock && d.seamcall_lock_spans_set; }
};

// --- the invariants ---

// What is known of a change that is under way, by the act that comes next.
B known_before(const ByDesign& c, const Half& h, bool maps, MirrorAct a) {
  const bool parent = h.is_parent();
  const MirrorWay way = c.way(parent, maps);
  const bool exchanged = !c.hook_first(parent, maps) || a == MirrorAct::kFollow;
  const bool stored = way == MirrorWay::kFreezeForHook && a == MirrorAct::kFollow;
  const U value = stored ? h.new_spte : exchanged_value<T>(way, c.f, h.new_spte);
  const B known = exchanged                   ? h.spte == value
                  : a == MirrorAct::kExchange ? B(true)  // another thread may have been quicker
                                              : h.spte == h.old_spte;
  if (!maps) {  // of a table there are no SEAMCALLs
    const B done = h.part == U(2);
    return known && h.failed == U(0) &&
           (parent                          ? B(true)
            : c.calls_hook(parent, maps, a) ? !done
                                            : done);
  }
  // The SEAMCALL is to come, or it has prepared what is stored or exchanged now, or it has failed.
  if (c.calls_hook(parent, maps, a)) return known && h.part == U(0) && h.failed == U(0);
  if (a != MirrorAct::kStore) return known && h.part == U(1) && h.failed == U(0);
  // Where errors go nowhere, nothing is known of what is stored.
  if (!c.errors_return()) return known && h.failed == U(0);
  return known && h.part == T::ite(h.has_failed(), U(0), U(1));
}
B under_way(const ByDesign& c, const Half& h, const Family& s) {
  const bool parent = h.is_parent();
  B somewhere = h.idle();
  B known = h.maps <= U(1) && h.failed <= U(1) && h.part <= U(2);
  for (const bool maps : {true, false}) {
    const B kind = maps ? h.mapping() : h.removing() && h.at != kTaken;
    const B old_fits = maps ? !is_shadow_present_pte<T>(h.old_spte) : h.holds(h.old_spte);
    const B new_fits = maps ? h.holds(h.new_spte) : !is_shadow_present_pte<T>(h.new_spte);
    known = known && implies(kind, old_fits && new_fits);
    for (const MirrorAct a : c.acts(parent, maps)) {
      somewhere = somewhere || (kind && h.is_at(a));
      known = known && implies(kind && h.is_at(a), known_before(c, h, maps, a));
    }
  }
  if (parent) {
    const B has_page = h.removing() || (h.mapping() && h.part == U(1));
    return somewhere && known && implies(has_page, s.walk_passes());
  }
  const B taken = h.at == kTaken && h.maps == U(0) && h.failed == U(0);
  return (somewhere || taken) && known && implies(taken, is_frozen_spte<T>(c.f, h.spte)) &&
         implies(!h.idle(), s.walk_passes());
}

// What the remover leaves of an entry of its table: under the read lock each of them is frozen.
B removed_child(const ByDesign& c, const Half& k) {
  return removal_excludes_faults(c.d) ? !k.there() : is_frozen_spte<T>(c.f, k.spte);
}

B parents_first(const ByDesign& c, const Family& s) {
  const Half &p = s.parent, &k = s.child;
  const B hidden = B(c.alone()) && !p.idle();
  const B walks_see = implies(p.there() && !hidden, s.walk_passes());
  const B sept = implies(k.in_sept(), s.walk_passes());
  const B mirror = implies(k.there() || !k.idle(), p.there() || p.removing());
  const B at_the_end =
      implies(p.removing() && p.is_at(MirrorAct::kStore), k.idle() && removed_child(c, k));
  const B well_formed = invariant::sept_entry_well_formed<T>(p.sept, p.level - 1) &&
                        invariant::sept_entry_well_formed<T>(k.sept, k.level - 1);
  return walks_see && sept && mirror && at_the_end && well_formed && under_way(c, p, s) &&
         under_way(c, k, s);
}

// Mirror and S-EPT have the child both or neither, but while somebody changes it.
B both_or_neither(const Family& s) {
  const Half& k = s.child;
  return implies(k.idle(), iff(k.there(), k.in_sept())) &&
         implies(k.mapping(), iff(k.part == U(1), k.in_sept())) &&
         implies(k.removing(), iff(k.part < U(2), k.in_sept())) &&
         implies(k.removing() && k.is_at(MirrorAct::kStore), k.part == U(2));
}

// --- the steps ---

struct FamilyStep {
  std::string name;
  B guard = true;
  Family after;
  B promises = true;  // what has to hold besides
};

class FamilySteps {
 public:
  explicit FamilySteps(const ByDesign& c) : c_(c) {
    for (const bool maps : {true, false}) {
      for (const bool parent : {false, true}) {
        begin(parent, maps);
        for (const MirrorAct a : c_.acts(parent, maps)) act(parent, maps, a);
      }
    }
    take_child();
    removal_calls(
        "taken child: ", [](const Half& h) { return h.at == kTaken; }, kIdle);
    accept();
  }
  const Family& before() const { return s_; }
  const std::vector<FamilyStep>& all() const { return all_; }

 private:
  static Half& half(Family& s, bool parent) { return parent ? s.parent : s.child; }
  FamilyStep& add(const std::string& name, const B& guard) {
    all_.push_back({name, guard, s_});
    return all_.back();
  }
  // mmu_lock: a removal under the write lock has it alone.
  B may_begin(bool maps) const {
    const B nobody = s_.parent.idle() && s_.child.idle();
    if (c_.alone() || (!maps && removal_excludes_faults(c_.d))) return nobody;
    if (!removal_excludes_faults(c_.d)) return true;
    return !s_.parent.removing() && !s_.child.removing();
  }
  static std::string called(bool parent, bool maps) {
    return maps ? parent ? "link a table" : "map a leaf" : parent ? "remove a table" : "zap a leaf";
  }

  // Reading and exchanging in one: what was read is what is there.
  void begin(bool parent, bool maps) {
    Family s = s_;
    Half& h = half(s, parent);
    const B fits =
        maps ? !is_shadow_present_pte<T>(h.spte) && !fault_gives_up<T>(c_.f, h.spte) : h.there();
    // A walk that came to the child's table found it in its place, or it went meanwhile.
    const B reached = parent ? B(true) : s_.parent.there() || s_.parent.removing();
    const U wanted = maps ? var("wanted") : U(kNonpresent);
    FamilyStep& t =
        add(called(parent, maps) + (c_.hook_first(parent, maps) ? ": begins" : ": exchange"),
            h.idle() && fits && reached && may_begin(maps) && (maps ? h.holds(wanted) : B(true)));
    h.old_spte = h.spte;
    h.new_spte = wanted;
    h.maps = U(maps ? 1 : 0);
    h.failed = h.part = U(0);
    if (c_.hook_first(parent, maps)) {
      h.at = act_at(MirrorAct::kHook);
    } else {
      h.spte = exchanged_value<T>(c_.way(parent, maps), c_.f, wanted);
      h.at = c_.goes_to(parent, maps, MirrorAct::kExchange, false);
    }
    if (parent && maps) s.child.spte = U(kNonpresent);  // of the new table
    t.after = s;
  }

  // A table is in the mirror before it is in the S-EPT, and walks go down to it.
  bool way_shows_first() const {
    const MirrorWay way = c_.way(true, true);
    return !freezes(way) && way != MirrorWay::kHookThenExchange && !c_.alone();
  }

  void act(bool parent, bool maps, MirrorAct a) {
    const std::string name = called(parent, maps) + ": ";
    const Half& h = parent ? s_.parent : s_.child;
    const B guard = (maps ? h.mapping() : h.removing()) && h.is_at(a);
    if (a == MirrorAct::kExchange) {
      exchange(parent, maps, guard);
    } else if (a == MirrorAct::kStore) {
      store(parent, maps, guard, false);
      if (maps && c_.errors_return()) store(parent, maps, guard, true);
    } else if (parent && !maps && a == MirrorAct::kFollow) {
      table_is_removed(guard);
    } else if (maps && c_.calls_hook(parent, maps, a)) {
      mapping_calls(parent, a, guard);
    } else if (!maps && !parent && c_.calls_hook(parent, maps, a)) {
      removal_calls(
          name, [a](const Half& x) { return x.removing() && x.is_at(a); },
          c_.goes_to(false, false, a, false));
    } else {
      FamilyStep& t = add(name + "what follows", guard);
      half(t.after, parent).at = c_.goes_to(parent, maps, a, false);
    }
  }

  // Behind the hook: another thread may have been quicker.
  void exchange(bool parent, bool maps, const B& guard) {
    for (const bool lost : {false, true}) {
      const Half& h = parent ? s_.parent : s_.child;
      const B same = h.spte == h.old_spte;
      FamilyStep& t = add(called(parent, maps) + (lost ? ": exchange, lost" : ": exchange"),
                          guard && (lost ? !same : same));
      Half& x = half(t.after, parent);
      if (!lost) x.spte = exchanged_value<T>(c_.way(parent, maps), c_.f, h.new_spte);
      x.at = c_.goes_to(parent, maps, MirrorAct::kExchange, lost);
    }
  }
  void store(bool parent, bool maps, const B& guard, bool failed) {
    const Half& h = parent ? s_.parent : s_.child;
    FamilyStep& t = add(called(parent, maps) + (failed ? ": store, failed" : ": store"),
                        guard && iff(h.has_failed(), B(failed)));
    Half& x = half(t.after, parent);
    x.spte = stored_value<T>(h.old_spte, h.new_spte, h.has_failed());
    x.at = c_.goes_to(parent, maps, MirrorAct::kStore, failed);
  }

  // SEPT.ADD or PAGE.AUG: it succeeds, or it does not, for whatever reason.
  void mapping_calls(bool parent, MirrorAct a, const B& guard) {
    const Leaf leaf = parent ? Leaf::kMemSeptAdd : Leaf::kMemPageAug;
    const std::string name = fmt::format("{}: {}", called(parent, true), leaf_info(leaf).name);
    const Half& h = parent ? s_.parent : s_.child;
    const B walk = parent ? B(true) : s_.walk_passes();
    const B admits = leaf == Leaf::kMemSeptAdd
                         ? tdx::is_sept_free<T>(h.sept)  // KVM does not ask for existing ones
                         : tdx::sept_state_allows<T>(leaf, h.sept);
    FamilyStep& ok = add(name, guard && walk && admits);
    Half& x = half(ok.after, parent);
    x.sept = tdx::entry_after<T>(leaf, h.sept, h.level - 1, var("hpa") & U(tdx::kSeptHpa));
    x.part = U(1);
    x.at = c_.goes_to(parent, true, a, false);
    if (parent) ok.after.child.sept = U(tdx::kSeptFreeEntry);

    // A table that is seen before its SEAMCALL is what the invariant excludes: nothing begins
    // there.
    if (parent && way_shows_first()) all_.pop_back();

    FamilyStep& error = add(name + " fails", guard);
    half(error.after, parent).failed = number(hook_error_returns<T>(c_.d.hook_errors, true));
    half(error.after, parent).at = c_.goes_to(parent, true, a, c_.errors_return());
    error.promises = walk;  // TDX-SEPT-ORDER
  }

  // RANGE.BLOCK and, once the page is tracked, PAGE.REMOVE of a leaf; the module refuses the latter
  // without the former. An error bugs the VM.
  void removal_calls(const std::string& name, const std::function<B(const Half&)>& is_due,
                     const U& then) {
    const U sept = s_.child.sept;
    const B due = is_due(s_.child) && s_.walk_passes();
    FamilyStep& block =
        add(name + leaf_info(Leaf::kMemRangeBlock).name,
            due && s_.child.part == U(0) && tdx::sept_state_allows<T>(Leaf::kMemRangeBlock, sept));
    block.after.child.sept = tdx::entry_after<T>(Leaf::kMemRangeBlock, sept, 0, U(0));
    block.after.child.part = U(1);
    FamilyStep& remove =
        add(name + leaf_info(Leaf::kMemPageRemove).name,
            due && s_.child.part == U(1) && tdx::sept_state_allows<T>(Leaf::kMemPageRemove, sept) &&
                !tdx::refused_as_not_blocked<T>(tdx::OpState::kRunnable, sept));
    remove.after.child.sept = tdx::entry_after<T>(Leaf::kMemPageRemove, sept, 0, U(0));
    remove.after.child.part = U(2);
    remove.after.child.at = then;
  }

  // handle_removed_pt(): each child that is there is frozen, and its hook called; under the read
  // lock the others are frozen, too.
  void take_child() {
    if (blocks_entry_of_removed_table(c_.d)) return;
    const Half& k = s_.child;
    const B due = s_.parent.removing() && s_.parent.is_at(MirrorAct::kFollow) && k.idle() &&
                  !remover_spins<T>(c_.f, k.spte);
    FamilyStep& t = add("remove a table: freeze a child", due && k.there());
    Half& x = t.after.child;
    x.old_spte = k.spte;
    x.new_spte = x.spte = U(c_.f.frozen);
    x.maps = x.failed = x.part = U(0);
    x.at = kTaken;
    if (removal_excludes_faults(c_.d)) return;
    FamilyStep& empty = add("remove a table: freeze an empty entry", due && !k.there());
    empty.after.child.spte = U(c_.f.frozen);
  }
  void table_is_removed(const B& guard) {
    const U then = c_.goes_to(true, false, MirrorAct::kFollow, false);
    if (blocks_entry_of_removed_table(c_.d)) {
      const U sept = s_.parent.sept;
      FamilyStep& t = add("remove a table: TDH.MEM.RANGE.BLOCK of its entry",
                          guard && tdx::sept_state_allows<T>(Leaf::kMemRangeBlock, sept));
      t.after.parent.sept = tdx::entry_after<T>(Leaf::kMemRangeBlock, sept, 1, U(0));
      t.after.parent.at = then;
      return;
    }
    FamilyStep& t = add("remove a table: all children are gone",
                        guard && s_.child.idle() && removed_child(c_, s_.child));
    t.after.parent.at = then;
  }

  void accept() {
    const Half& k = s_.child;
    FamilyStep& t = add("guest: TDG.MEM.PAGE.ACCEPT",
                        s_.walk_passes() && tdx::sept_state_allows<T>(Leaf::kPageAccept, k.sept));
    t.after.child.sept = tdx::entry_after<T>(Leaf::kPageAccept, k.sept, 0, U(0));
  }

  const ByDesign& c_;
  Family s_;
  std::vector<FamilyStep> all_;
};

std::vector<Query> each_step(std::initializer_list<const char*> designs, bool agree) {
  std::vector<Query> q;
  for (const char* name : designs) {
    const Design& d = *find_design(name);
    HostMmu host;
    host.format = PageTableFormat::kEpt;
    host.ept_memtype_bits = 0x70;
    const ByDesign c{d, make_spte_format(d, host)};
    const FamilySteps steps(c);
    const Family& s = steps.before();
    for (const FamilyStep& t : steps.all()) {
      const B order = parents_first(c, s);
      Query one{fmt::format("{}: {}", name, t.name), order && t.guard, B(true), {}};
      if (agree) {
        one.premise = one.premise && both_or_neither(s);
        one.conclusion = parents_first(c, t.after) && both_or_neither(t.after);
      } else {
        one.conclusion = parents_first(c, t.after) && t.promises &&
                         implies(s.walk_passes(), t.after.walk_passes());
      }
      one.shown = {{"parent.spte_after", t.after.parent.spte},
                   {"parent.sept_after", t.after.parent.sept},
                   {"child.spte_after", t.after.child.spte},
                   {"child.sept_after", t.after.child.sept}};
      q.push_back(one);
    }
  }
  return q;
}

}  // namespace

std::vector<Obligation> order_obligations() {
  constexpr std::string_view order =
      "tdp_mmu.c: tdp_mmu_set_spte_atomic, handle_removed_pt; tdx.c: tdx_sept_set_private_spte";
  constexpr std::string_view bound = "a parent, a child, a thread at each, one step, every value";
  constexpr std::string_view parents =
      "a table that walks see has its S-EPT page; what is below it goes first";
  constexpr std::string_view agree =
      "outside of hooks mirror and S-EPT have a leaf both or neither";
  constexpr std::string_view known =
      "an owner's entry is what it exchanged; what it is about to store has been through its hook, "
      "and the S-EPT entry above it is passed";
  constexpr std::string_view both =
      "parents outlive children; and while it is changed, a leaf is in the S-EPT as far as its "
      "owner's SEAMCALLs have come";
  return {
      {"order.parents-first.upstream", parents, order, bound,
       [] {
         return each_step({"upstream-6.14", "upstream-7.x"}, false);
       },
       known},
      {"order.parents-first.v11", parents, order, bound, [] { return each_step({"v11"}, false); },
       known},
      {"order.parents-first.v8", parents, "v8: handle_changed_private_spte, errors dropped", bound,
       [] { return each_step({"v8"}, false); }, known},
      {"order.parents-first.naive", parents, "seed 004: the entry first, then the S-EPT", bound,
       [] { return each_step({"naive"}, false); }, known},
      {"order.parents-first.seam-first", parents, "seed 004: the S-EPT first, then the entry",
       bound, [] { return each_step({"seam-first"}, false); }, known},
      {"order.parents-first.block-parent", parents,
       "seed 004: RANGE.BLOCK on the parent, children later", bound,
       [] { return each_step({"block-parent-rcu"}, false); }, known},
      {"order.parents-first.seamcall-lock-only", parents,
       "seed 002: one spinlock around exchange and SEAMCALL, errors dropped", bound,
       [] { return each_step({"seamcall-lock-only"}, false); }, known},
      {"order.agree.upstream", agree, order, bound,
       [] {
         return each_step({"upstream-6.14", "upstream-7.x"}, true);
       },
       both},
      {"order.agree.v11", agree, order, bound, [] { return each_step({"v11"}, true); }, both},
      {"order.agree.v8", agree, "v8: handle_changed_private_spte, errors dropped", bound,
       [] { return each_step({"v8"}, true); }, both},
      {"order.agree.naive", agree, "seed 004: the entry first, then the S-EPT", bound,
       [] { return each_step({"naive"}, true); }, both},
      {"order.agree.seam-first", agree, "seed 004: the S-EPT first, then the entry", bound,
       [] { return each_step({"seam-first"}, true); }, both},
  };
}

}  // namespace mmucheck::prove
