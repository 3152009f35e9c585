// BUSY: the locks of the TDX module against what KVM, and its vCPUs, can have in flight at once. A
// call in progress holds its locks; another arrives, and each of its attempts is one try. Who can
// be in flight with whom is what a design's own locks leave (mmu_lock, freezing, the SEAMCALL
// lock).
//
// PAMT entries other than the TDR's are left out: pages of two calls differ. So is the filter of
// VP.ENTER for zero-step attacks, which takes the tree.
#include <fmt/format.h>

#include "checker/prove/groups.h"
#include "model/tdp/mirror_order.h"
#include "model/tdp/seamcall.h"
#include "model/tdx/lock_word.h"

namespace mmucheck::prove {
namespace {

using namespace model;
using tdx::Leaf;
using tdx::LockMode;

// The words that calls on one TD try. The TDR has a reader for each vCPU inside.
struct TdLocks {
  U tdr = var("tdr"), op_state{0}, tree{0}, epoch{0}, entry = var("entry");
  B nobody_calls() const {
    return tdr < U(tdx::kLockWordMask - 16) && !tdx::held_exclusive<T>(tdr) &&
           (tdr & U(tdx::kLockHostPriority)) == U(0) &&
           (entry & U(tdx::kSeptTdel | tdx::kSeptTdhp)) == U(0);
  }
};

// Both kinds of attempt, of a lock that is wanted at all.
template <class Shared, class Exclusive>
B attempt(U& word, LockMode mode, Shared shared, Exclusive exclusive) {
  if (mode == LockMode::kNone) return true;
  const tdx::Attempt<T> a = mode == LockMode::kShared ? shared(word) : exclusive(word);
  word = a.word;
  return a.taken;
}
// All that the call tries; `same`: its entry is the one of `locks`.
B take_all(TdLocks& locks, Leaf leaf, bool same) {
  B taken = attempt(locks.tdr, leaf_info(leaf).tdr, tdx::hp_shared<T>, tdx::hp_exclusive<T>);
  taken = taken && attempt(locks.op_state, tdx::op_state_lock_of(leaf), tdx::hp_shared<T>,
                           tdx::hp_exclusive<T>);
  taken = taken && attempt(locks.tree, leaf_info(leaf).tree, tdx::sharex_shared<T>,
                           tdx::sharex_exclusive<T>);
  taken = taken && attempt(locks.epoch, tdx::epoch_lock_of(leaf), tdx::sharex_shared<T>,
                           tdx::sharex_exclusive<T>);
  if (!same) return taken;
  return taken &&
         attempt(locks.entry, tdx::entry_lock_of(leaf), tdx::entry_lock_guest<T>,
                 tdx::is_tdcall(leaf) ? tdx::entry_lock_guest<T> : tdx::entry_lock_host<T>);
}

constexpr Leaf kPopulate[] = {Leaf::kMemSeptAdd, Leaf::kMemPageAug};
constexpr Leaf kRemove[] = {Leaf::kMemRangeBlock, Leaf::kMemTrack, Leaf::kMemPageRemove};

// `arrives` while `in_progress` holds its locks.
struct Pair {
  Leaf in_progress, arrives;
  bool same;
};
std::vector<Pair> host_pairs(const Design& d) {
  std::vector<Pair> all;
  if (d.seamcall_lock) return all;
  // Two faults are at one entry at once only where none of them has shown it to the other before.
  const bool same = mirror_way(d, true) == MirrorWay::kHookThenExchange;
  for (const Leaf a : kPopulate) {
    for (const Leaf b : kPopulate) {
      all.push_back({a, b, false});
      if (same) all.push_back({a, b, true});
    }
  }
  if (removal_excludes_faults(d)) return all;
  for (const Leaf a : kPopulate) {
    for (const Leaf b : kRemove) {
      all.push_back({a, b, false});
      all.push_back({b, a, false});
    }
  }
  for (const Leaf a : kRemove) {
    for (const Leaf b : kRemove) all.push_back({a, b, false});
  }
  return all;
}
// A vCPU that accepts the page behind the entry, or that enters; where the kick comes before TRACK,
// none enters until that is over.
std::vector<Pair> vcpu_pairs(const Design& d) {
  std::vector<Pair> all;
  for (const Leaf a : {Leaf::kPageAccept, Leaf::kVpEnter}) {
    for (const Leaf b : kRemove) {
      const bool kept_out = a == Leaf::kVpEnter && b == Leaf::kMemTrack &&
                            d.track_order == TrackOrder::kKickThenTrack;
      if (!kept_out) all.push_back({a, b, true});
    }
    for (const Leaf b : kPopulate) all.push_back({a, b, true});
  }
  return all;
}

Query meet(const char* design, const Pair& p, const B& enough) {
  TdLocks locks;
  const B free = locks.nobody_calls();
  const B first = take_all(locks, p.in_progress, p.same);
  const B second = take_all(locks, p.arrives, p.same);
  return {fmt::format("{}: {} while {} runs{}", design, leaf_info(p.arrives).name,
                      leaf_info(p.in_progress).name, p.same ? " on the entry" : ""),
          free && first,
          second || enough,
          {{"tdr_after", locks.tdr}, {"tree_after", locks.tree}, {"entry_after", locks.entry}}};
}

// A fault that is tried again meets what holds the lock as often as it takes; so does who spins.
// The one retry behind a kick is not for other hosts.
std::vector<Query> hosts(std::initializer_list<const char*> designs) {
  std::vector<Query> q;
  for (const char* name : designs) {
    const Design& d = *find_design(name);
    for (const Pair& p : host_pairs(d)) {
      const BusyAnswer answer = answer_to_busy(d.seamcall_busy, p.arrives);
      q.push_back(meet(name, p, answer == BusyAnswer::kRetryFault || answer == BusyAnswer::kSpin));
    }
  }
  return q;
}
std::vector<Query> never(std::initializer_list<const char*> designs) {
  std::vector<Query> q;
  for (const char* name : designs) {
    for (const Pair& p : host_pairs(*find_design(name))) q.push_back(meet(name, p, false));
  }
  return q;
}
// Any answer of KVM's will do, a kick, too, if what comes after it meets no lock.
std::vector<Query> vcpus(std::initializer_list<const char*> designs) {
  std::vector<Query> q;
  for (const char* name : designs) {
    const Design& d = *find_design(name);
    for (const Pair& p : vcpu_pairs(d)) {
      q.push_back(meet(name, p, answer_to_busy(d.seamcall_busy, p.arrives) != BusyAnswer::kBug));
    }
  }
  return q;
}
// Everybody is out; the entry may have the host's wish in it.
std::vector<Query> after_kick() {
  std::vector<Query> q;
  for (const Leaf leaf : kRemove) {
    TdLocks locks;
    locks.entry = locks.entry & U(~tdx::kSeptTdel);
    locks.tdr = U(0);
    const B taken = take_all(locks, leaf, true);
    q.push_back({leaf_info(leaf).name, true, taken, {{"entry_after", locks.entry}}});
  }
  return q;
}

}  // namespace

std::vector<Obligation> busy_obligations() {
  constexpr std::string_view table = "TDX module: tdx_locks.h; tdx.c: tdh_do_no_vcpus";
  constexpr std::string_view bound = "each pair of calls, every word with room for readers";
  constexpr std::string_view answered =
      "a SEAMCALL that finds a lock held by another of KVM's is tried again";
  constexpr std::string_view vcpu =
      "a SEAMCALL that finds a lock held by a vCPU's call is no bug for KVM";
  return {
      {"busy.hosts.upstream", "no two SEAMCALLs that KVM can have in flight at once meet at a lock",
       table, bound,
       [] {
         return never({"upstream-6.14", "upstream-6.16", "upstream-7.x", "huge", "v19"});
       }},
      {"busy.hosts.v11", answered, table, bound, [] { return hosts({"v11"}); }},
      {"busy.hosts.seam-first", answered, table, bound, [] { return hosts({"seam-first"}); }},
      {"busy.hosts.block-parent", answered, table, bound,
       [] { return hosts({"block-parent-rcu"}); }},
      {"busy.vcpus.upstream", vcpu, table, bound,
       [] {
         return vcpus({"upstream-6.14", "upstream-6.16", "upstream-7.x", "huge"});
       }},
      {"busy.vcpus.upstream.after-kick",
       "once all vCPUs are out and mmu_lock is held for write, the second try meets no lock", table,
       "each call that takes something away, every entry", after_kick},
      {"busy.vcpus.v8", vcpu, table, bound, [] { return vcpus({"v8"}); }},
      {"busy.vcpus.v19", vcpu, table, bound,
       [] {
         return vcpus({"v11", "v19"});
       }},
  };
}

}  // namespace mmucheck::prove
