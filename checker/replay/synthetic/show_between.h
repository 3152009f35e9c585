// Layer: checker/replay. Contract: which steps a hand-written trace says were left out of an
// operation: those that are due between what it shows before and what it shows behind them. Of what
// it shows nothing of, before or behind, it says nothing; of some steps who has shown them of another
// operation of that kind says that they were left out.
//
// An unmap has an invalidation of its range before it. TRACK stands between BLOCK and REMOVE of a page,
// WBINVD between these and the end of the hole; a flush between changes of SPTEs and a yield of
// mmu_lock. Between changes and the end of what made them a flush is missed only by who has shown one
// before, in whatever operation: short traces leave flushes out.
#pragma once

#include <algorithm>
#include <initializer_list>

#include "checker/trace/event_source.h"

namespace mmucheck::replay {

// `kind` is seen next of an operation of which `observed` were, in a trace that has shown `shown`, and
// `of_its_like` of operations of that kind; to `observed` are added the kinds that were due before it.
inline void show_between(const trace::KindSet& shown, const trace::KindSet& of_its_like,
                         trace::KindSet& observed, trace::EventKind kind) {
  using Kind = trace::EventKind;
  constexpr auto at = [](Kind k) { return static_cast<size_t>(k); };
  const auto has_any = [&](const trace::KindSet& kinds, std::initializer_list<Kind> wanted) {
    return std::ranges::any_of(wanted, [&](Kind k) { return kinds.test(at(k)); });
  };
  const auto show = [&](std::initializer_list<Kind> kinds) {
    for (const Kind k : kinds) observed.set(at(k));
  };
  const auto show_again = [&](std::initializer_list<Kind> kinds) {
    for (const Kind k : kinds) {
      if (of_its_like.test(at(k))) observed.set(at(k));
    }
  };
  const std::initializer_list<Kind> flushes = {Kind::kFlushAll, Kind::kFlushRange,
                                               Kind::kFlushMemslot};
  const bool yields = kind == Kind::kYieldRead || kind == Kind::kYieldWrite;
  switch (kind) {
    case Kind::kMockPageRemove:
    case Kind::kMockPageRemoveRet:
      if (observed.test(at(Kind::kMockRangeBlock))) show({Kind::kMockTrack});
      return;
    case Kind::kMockTrack: show_again({Kind::kMockRangeBlock}); return;
    case Kind::kMockWbinvd:
      if (has_any(observed, {Kind::kMockRangeBlock, Kind::kMockTrack})) show({Kind::kMockPageRemove});
      return;
    case Kind::kSpteChanged: show_again({Kind::kMockSetExternal}); return;
    case Kind::kFlushAll:
    case Kind::kFlushRange:
    case Kind::kFlushMemslot:
      show(flushes);
      show_again({Kind::kWrprotSlot});
      return;
    case Kind::kUnmapGfnRange:
    case Kind::kTdpUnmapGfnRange:
    case Kind::kMmuUnmapGfnRange: show_again({Kind::kInvBegin, Kind::kInvAdd}); return;
    case Kind::kInvAdd: show_again({Kind::kInvBegin}); return;
    case Kind::kYieldRead:
    case Kind::kYieldWrite:
    case Kind::kInvEnd:
    case Kind::kSetMemslotRet:
    case Kind::kSetMemAttrRet:
    case Kind::kPostSetAttr:
    case Kind::kGmemInvalidateEnd: break;
    default: return;
  }
  if (kind == Kind::kSetMemslotRet) show_again({Kind::kWrprotSlot});
  if (observed.test(at(Kind::kMockTrack)) && observed.test(at(Kind::kMockPageRemove))) {
    show({Kind::kMockWbinvd});
  }
  if (has_any(observed, {Kind::kChangedSpte, Kind::kSpteChanged}) &&
      (yields || has_any(shown, flushes))) {
    show(flushes);
  }
}

}  // namespace mmucheck::replay
