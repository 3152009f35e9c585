// model/tdx: taking and giving back locks for a call. Every attempt is one try; what was taken is
// noted in the call and released in its last step, in reverse order. Source: tdx_locks.h.
#pragma once

#include "model/tdx/lock_word.h"
#include "model/tdx/module.h"

namespace mmucheck::model::tdx {

inline void note_held(ModuleCall& c, Cell at, HeldKind kind, bool exclusive) {
  c.held[c.held_count++] = {at, kind, exclusive};
}

inline Attempt<> attempt(uint64_t word, HeldKind kind, bool exclusive) {
  switch (kind) {
    case HeldKind::kSharex: return exclusive ? sharex_exclusive<>(word) : sharex_shared<>(word);
    case HeldKind::kHostPriority: return exclusive ? hp_exclusive<>(word) : hp_shared<>(word);
    case HeldKind::kEntry: break;
  }
  return entry_lock_host<>(word);
}

// Gives a lock word its next value, and tells the one that was found. Stores that tell footprints
// know that shared uses commute.
template <class W, class Rule>
uint64_t change_word(W& w, Cell at, bool shared, const Rule& rule) {
  if constexpr (requires { w.store.share(at, rule); }) {
    if (shared) return w.store.share(at, rule);
  }
  const uint64_t word = w.store.get(at);
  if (const uint64_t after = rule(word); after != word) w.store.set(at, after);
  return word;
}

template <class W>
bool try_lock(W& w, ModuleCall& c, Cell at, HeldKind kind, LockMode mode) {
  const bool ex = mode == LockMode::kExclusive;
  const uint64_t found = change_word(w, at, !ex && kind != HeldKind::kEntry,
                                     [&](uint64_t word) { return attempt(word, kind, ex).word; });
  const bool taken = attempt(found, kind, ex).taken;
  if (taken) note_held(c, at, kind, ex);
  return taken;
}

template <class W>
void release(W& w, const Held& h) {
  const bool shared = !h.exclusive && h.kind != HeldKind::kEntry;
  change_word(w, h.cell, shared, [&](uint64_t word) {
    switch (h.kind) {
      case HeldKind::kSharex: return sharex_release<>(word, h.exclusive);
      case HeldKind::kHostPriority: return hp_release<>(word, h.exclusive);
      case HeldKind::kEntry: break;
    }
    return word & ~kSeptTdel;
  });
}

template <class W>
void release_last(W& w, ModuleCall& c) {
  release(w, c.held[--c.held_count]);
}
template <class W>
void release_all(W& w, ModuleCall& c) {
  while (c.held_count > 0) release_last(w, c);
}

// The most recent shared lock becomes exclusive, where its holder is the only reader.
template <class W>
bool promote_last(W& w, ModuleCall& c) {
  Held& h = c.held[c.held_count - 1];
  const uint64_t word = w.store.get(h.cell);
  const Attempt<> a = hp_promote<>(word);
  if (a.word != word) w.store.set(h.cell, a.word);
  if (a.taken) h.exclusive = true;
  return a.taken;
}

}  // namespace mmucheck::model::tdx
