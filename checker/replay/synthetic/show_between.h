// Layer: checker/replay. Contract: which steps a hand-written trace says were left out of an operation:
// those that are due between what it shows before and what it shows behind them. Of what it shows
// nothing of, before or behind, it says nothing.
//
// TRACK stands between BLOCK and REMOVE of a page, WBINVD between these and the end of the hole; a flush
// between changes of SPTEs and a yield of mmu_lock. Between changes and the end of what made them a flush
// is missed only by who has shown one before, in whatever operation: short traces leave flushes out.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "checker/trace/event_source.h"

namespace mmucheck::replay {

// `kind` is seen next of an operation of which `observed` were, in a trace that has shown `shown`; to
// `observed` are added the kinds that were due before it.
inline void show_between(const trace::KindSet& shown, trace::KindSet& observed,
                         trace::EventKind kind) {
  using K = trace::EventKind;
  constexpr auto at = [](K k) { return static_cast<size_t>(k); };
  const auto has_any = [&](const trace::KindSet& kinds, std::initializer_list<K> wanted) {
    return std::ranges::any_of(wanted, [&](K k) { return kinds.test(at(k)); });
  };
  const auto show = [&](std::initializer_list<K> kinds) {
    for (const K k : kinds) observed.set(at(k));
  };
  const std::initializer_list<K> flushes = {K::kFlushAll, K::kFlushRange, K::kFlushMemslot};
  const bool yields = kind == K::kYieldRead || kind == K::kYieldWrite;
  switch (kind) {
    case K::kMockPageRemove:
    case K::kMockPageRemoveRet:
      if (observed.test(at(K::kMockRangeBlock))) show({K::kMockTrack});
      return;
    case K::kYieldRead:
    case K::kYieldWrite:
    case K::kInvEnd:
    case K::kSetMemslotRet:
    case K::kSetMemAttrRet:
    case K::kPostSetAttr:
    case K::kGmemInvalidateEnd: break;
    default: return;
  }
  if (observed.test(at(K::kMockTrack)) && observed.test(at(K::kMockPageRemove))) {
    show({K::kMockWbinvd});
  }
  if (has_any(observed, {K::kChangedSpte, K::kSpteChanged}) &&
      (yields || has_any(shown, flushes))) {
    show(flushes);
  }
}

}  // namespace mmucheck::replay
