// model/tdx: taking and giving back locks for a call. Every attempt is one try; what was taken is
// noted in the call and released in its last step, in reverse order. Source: tdx_locks.h.
#pragma once

#include "model/tdx/lock_word.h"
#include "model/tdx/module.h"

namespace mmucheck::model::tdx {

inline void note_held(ModuleCall& c, Cell at, HeldKind kind, bool exclusive) {
  c.held[c.held_count++] = {at, kind, exclusive};
}

template <class W>
bool try_lock(W& w, ModuleCall& c, Cell at, HeldKind kind, LockMode mode) {
  const uint64_t word = w.store.get(at);
  const bool ex = mode == LockMode::kExclusive;
  Attempt<> a{};
  switch (kind) {
    case HeldKind::kSharex: a = ex ? sharex_exclusive<>(word) : sharex_shared<>(word); break;
    case HeldKind::kHostPriority: a = ex ? hp_exclusive<>(word) : hp_shared<>(word); break;
    case HeldKind::kEntry: a = entry_lock_host<>(word); break;
  }
  if (a.word != word) w.store.set(at, a.word);
  if (a.taken) note_held(c, at, kind, ex);
  return a.taken;
}

template <class W>
void release(W& w, const Held& h) {
  const uint64_t word = w.store.get(h.cell);
  uint64_t after = word;
  switch (h.kind) {
    case HeldKind::kSharex: after = sharex_release<>(word, h.exclusive); break;
    case HeldKind::kHostPriority: after = hp_release<>(word, h.exclusive); break;
    case HeldKind::kEntry: after = word & ~kSeptTdel; break;
  }
  if (after != word) w.store.set(h.cell, after);
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
