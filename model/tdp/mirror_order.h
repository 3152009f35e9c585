// model/tdp: how a mirror entry and its S-EPT entry change together: which of the exchange, the
// hook, the final store and handle_changed_spte comes next, and what each stores. Pure rules over a
// design and, for values, a domain; the machine is tdp_mmu_set_spte_atomic() (set_spte.h).
//
// Source: tdp_mmu.c (tdp_mmu_set_spte_atomic, set_private_spte_present, set_external_spte_present);
// seeds 002 and 004 for what is not upstream.
#pragma once

#include "model/design/design.h"
#include "model/spte/spte.h"

namespace mmucheck::model {

// How a mirror entry is exchanged: the kernel's ways, by design.
enum class MirrorWay : uint8_t {
  kPlain,             // no mirror entry, or one that is exchanged like any other
  kFreeze,            // frozen while everything else happens
  kFreezeForHook,     // frozen while the hook runs; what follows from the change comes afterwards
  kExchangeThenHook,  // the new value is there first; what follows comes after the hook
  kHookThenExchange,
};
constexpr MirrorWay mirror_way(const Design& d, bool maps) {
  const bool apart = maps && d.mirror_trace == MirrorTrace::kAfterUnfreeze;
  switch (d.mirror_set) {
    case MirrorSet::kFreeze: return apart ? MirrorWay::kFreezeForHook : MirrorWay::kFreeze;
    case MirrorSet::kCmpxchgFirst: return apart ? MirrorWay::kExchangeThenHook : MirrorWay::kPlain;
    case MirrorSet::kHookFirst: break;
  }
  return MirrorWay::kHookThenExchange;
}
constexpr bool freezes(MirrorWay way) {
  return way == MirrorWay::kFreeze || way == MirrorWay::kFreezeForHook;
}
// The hook is called by who sets the entry, not by handle_changed_spte().
constexpr bool hook_is_apart(MirrorWay way) {
  return way == MirrorWay::kFreezeForHook || way == MirrorWay::kExchangeThenHook;
}

// What a change under mmu_lock for read is made of.
enum class MirrorAct : uint8_t {
  kBegin,
  kExchange,  // try_cmpxchg64: fails where another value is there
  kFollow,    // handle_changed_spte(): calls the hook unless that was called already
  kHook,
  kStore,  // the final value, or on failure the old one: a plain store
  kDone,
};
// `failed`: the exchange lost, or the hook returned an error.
constexpr MirrorAct next_mirror_act(MirrorWay way, bool mirror, MirrorAct done, bool failed) {
  switch (done) {
    case MirrorAct::kBegin:
      return way == MirrorWay::kHookThenExchange ? MirrorAct::kHook : MirrorAct::kExchange;
    case MirrorAct::kExchange:
      if (failed) return MirrorAct::kDone;
      return hook_is_apart(way) ? MirrorAct::kHook : MirrorAct::kFollow;
    case MirrorAct::kHook:
      if (way == MirrorWay::kHookThenExchange) {
        return failed ? MirrorAct::kDone : MirrorAct::kExchange;
      }
      return freezes(way) || failed ? MirrorAct::kStore : MirrorAct::kFollow;
    case MirrorAct::kFollow:
      return way == MirrorWay::kFreeze || (mirror && failed) ? MirrorAct::kStore : MirrorAct::kDone;
    case MirrorAct::kStore:
      return way == MirrorWay::kFreezeForHook && !failed ? MirrorAct::kFollow : MirrorAct::kDone;
    case MirrorAct::kDone: break;
  }
  return MirrorAct::kDone;
}
// Does the hook run in this act?
constexpr bool act_calls_hook(MirrorWay way, MirrorAct act) {
  if (act == MirrorAct::kHook) return true;
  return act == MirrorAct::kFollow && !hook_is_apart(way) && way != MirrorWay::kHookThenExchange;
}

// What the exchange puts into the entry, and what is stored in its place at the end.
template <class D = Concrete>
constexpr U64Of<D> exchanged_value(MirrorWay way, const SpteFormat& f, U64Of<D> new_spte) {
  return freezes(way) ? U64Of<D>(f.frozen) : new_spte;
}
template <class D = Concrete>
constexpr U64Of<D> stored_value(U64Of<D> old_spte, U64Of<D> new_spte, BoolOf<D> failed) {
  return D::ite(failed, old_spte, new_spte);
}

// An error of the hook that whoever sets the entry gets to know.
template <class D = Concrete>
constexpr BoolOf<D> hook_error_returns(HookErrors errors, BoolOf<D> failed) {
  return BoolOf<D>(errors == HookErrors::kReturned) && failed;
}

// Does a fault go on with an entry that it read as frozen? (kvm_tdp_mmu_map: another thread owns
// it.)
template <class D = Concrete>
constexpr BoolOf<D> fault_gives_up(const SpteFormat& f, U64Of<D> old_spte) {
  return is_frozen_spte<D>(f, old_spte);
}
// Another thread owns the entry of a removed table: its remover freezes it once more, later.
template <class D = Concrete>
constexpr BoolOf<D> remover_spins(const SpteFormat& f, U64Of<D> old_spte) {
  return is_frozen_spte<D>(f, old_spte);
}

// Are entries of a mirror root removed where no fault can be on its way?
constexpr bool removal_excludes_faults(const Design& d) {
  return d.mirror_removal == MirrorRemoval::kWriteLock;
}

// From 6.14 until the single hook: users of atomic zapping do not operate on mirror roots.
constexpr bool refuses_atomic_removal(const Design& d, bool mirror, bool maps) {
  return mirror && d.external_hook == ExternalHook::kFour && removal_excludes_faults(d) && !maps;
}

// Seed 004: the S-EPT entry of a table that goes is blocked, and what is below it goes after a
// grace period. Everywhere else nothing is done to that entry: S-EPT pages go with the HKID.
constexpr bool blocks_entry_of_removed_table(const Design& d) {
  return d.removal_protocol == RemovalProtocol::kBlockParentReapRcu;
}

}  // namespace mmucheck::model
