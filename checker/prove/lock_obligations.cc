// The TDX module's lock words: who excludes whom, and what a failure leaves behind.
#include "checker/prove/groups.h"
#include "model/tdx/lock_word.h"

namespace mmucheck::prove {
namespace {

using namespace model;
using namespace model::tdx;

// The two kinds of lock word, with the step of a reader.
struct Kind {
  const char* name;
  Attempt<T> (*shared)(U);
  Attempt<T> (*exclusive)(U);
  U (*release)(U, bool);
  uint64_t reader;
};
constexpr Kind kKinds[] = {
    {"sharex", sharex_shared<T>, sharex_exclusive<T>, sharex_release<T>, 2},
    {"sharex, host priority", hp_shared<T>, hp_exclusive<T>, hp_release<T>, 4},
};

U word() {
  return var("word");
}
// Room for two more readers.
B roomy(const Kind& k) {
  return word() < U(kLockWordMask + 1 - 2 * k.reader);
}
B readers_only(const Kind& k) {
  return roomy(k) && !held_exclusive<T>(word());
}

template <class Make>
std::vector<Query> each_kind(Make make) {
  std::vector<Query> q;
  for (const Kind& k : kKinds) {
    Query one = make(k);
    one.instance = k.name;
    q.push_back(one);
  }
  return q;
}

std::vector<Query> shared_with_shared() {
  return each_kind([](const Kind& k) -> Query {
    const Attempt<T> first = k.shared(word());
    return {
        "", readers_only(k), first.taken && k.shared(first.word).taken, {{"after", first.word}}};
  });
}
std::vector<Query> exclusive_excludes() {
  return each_kind([](const Kind& k) -> Query {
    const Attempt<T> first = k.exclusive(word());
    return {"",
            roomy(k) && first.taken,
            !k.shared(first.word).taken && !k.exclusive(first.word).taken,
            {{"after", first.word}}};
  });
}
std::vector<Query> shared_excludes_exclusive() {
  return each_kind([](const Kind& k) -> Query {
    const Attempt<T> first = k.shared(word());
    return {"", roomy(k) && first.taken, !k.exclusive(first.word).taken, {{"after", first.word}}};
  });
}
// Without the bound on readers the count runs over and the word reads as free.
std::vector<Query> shared_excludes_exclusive_unbounded() {
  return each_kind([](const Kind& k) -> Query {
    const Attempt<T> first = k.shared(word());
    return {"",
            word() <= U(kLockWordMask) && first.taken,
            !k.exclusive(first.word).taken,
            {{"after", first.word}}};
  });
}
std::vector<Query> shared_release() {
  return each_kind([](const Kind& k) -> Query {
    const Attempt<T> a = k.shared(word());
    return {"",
            readers_only(k),
            k.release(a.word, false) == (k.reader == 4 ? word() & U(~kLockHostPriority) : word()),
            {{"after", a.word}}};
  });
}
// A failed attempt of either mode, then the release of the exclusive holder, then the next host.
std::vector<Query> no_ghost() {
  std::vector<Query> q;
  for (const Kind& k : kKinds) {
    for (const bool shared : {true, false}) {
      const U held = k.exclusive(word()).word;
      const Attempt<T> failed = shared ? k.shared(held) : k.exclusive(held);
      const U freed = k.release(failed.word, true);
      q.push_back({std::string(k.name) + (shared ? ", shared attempt" : ", exclusive attempt"),
                   k.exclusive(word()).taken && !failed.taken,
                   k.exclusive(freed).taken && k.shared(freed).taken,
                   {{"failed", failed.word}, {"freed", freed}}});
    }
  }
  return q;
}
std::vector<Query> promote() {
  const Attempt<T> a = hp_promote<T>(word());
  return {{"sharex, host priority",
           word() <= U(kLockWordMask),
           iff(a.taken, word() >> 2 == U(1) && !held_exclusive<T>(word())),
           {{"after", a.word}}}};
}

std::vector<Query> entry_lock() {
  const U e = var("entry");
  const Attempt<T> host = entry_lock_host<T>(e), guest = entry_lock_guest<T>(e);
  return {{"host first",
           host.taken,
           !entry_lock_host<T>(host.word).taken && !entry_lock_guest<T>(host.word).taken,
           {}},
          {"guest first",
           guest.taken,
           !entry_lock_host<T>(guest.word).taken && !entry_lock_guest<T>(guest.word).taken,
           {}}};
}
// After the guest has let go, the host's wish still keeps guests away until the host was served.
std::vector<Query> host_wish() {
  const U e = var("entry");
  const U wished = entry_lock_host<T>(entry_lock_guest<T>(e).word).word;
  const U released = wished & U(~kSeptTdel);
  const Attempt<T> host = entry_lock_host<T>(released);
  return {{"",
           entry_lock_guest<T>(e).taken,
           !entry_lock_guest<T>(released).taken && host.taken &&
               entry_lock_guest<T>(host.word & U(~kSeptTdel)).taken,
           {{"released", released}}}};
}
std::vector<Query> entry_lock_bits() {
  const U e = var("entry");
  const U others(~(kSeptTdel | kSeptTdhp));
  return {{"host", true, ((entry_lock_host<T>(e).word ^ e) & others) == U(0), {}},
          {"guest", true, ((entry_lock_guest<T>(e).word ^ e) & others) == U(0), {}}};
}

}  // namespace

std::vector<Obligation> lock_obligations() {
  constexpr std::string_view locks = "TDX module: tdx_locks.h";
  constexpr std::string_view entry = "TDX module: sept_lock_acquire_host, sept_lock_acquire_guest";
  constexpr std::string_view bound = "both kinds, every word with room for two readers";
  return {
      {"lock.shared-with-shared", "a word that nobody holds exclusively takes two more readers",
       locks, bound, shared_with_shared},
      {"lock.exclusive-excludes", "after an exclusive attempt that succeeded every other fails",
       locks, bound, exclusive_excludes},
      {"lock.shared-excludes-exclusive",
       "after a shared attempt that succeeded an exclusive one fails", locks, bound,
       shared_excludes_exclusive},
      {"lock.shared-excludes-exclusive.unbounded",
       "a shared attempt makes an exclusive one fail, however many readers", locks,
       "both kinds, every word", shared_excludes_exclusive_unbounded},
      {"lock.shared-release", "a reader that comes and goes leaves the word, the host's wish apart",
       locks, bound, shared_release},
      {"lock.no-ghost", "a failed attempt leaves nothing that outlives the exclusive holder", locks,
       "both kinds, every word", no_ghost},
      {"lock.promote", "the only reader, and no other, becomes the exclusive holder", locks,
       "host priority, every word", promote},
      {"lock.entry", "one holder of an entry at a time, host or guest", entry, "every entry",
       entry_lock},
      {"lock.entry.host-wish", "a host that was refused comes before the next guest", entry,
       "every entry", host_wish},
      {"lock.entry.bits", "an attempt changes TDEL and TDHP only", entry, "every entry",
       entry_lock_bits},
  };
}

}  // namespace mmucheck::prove
