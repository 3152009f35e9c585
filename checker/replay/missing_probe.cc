#include "checker/replay/missing_probe.h"

#include <initializer_list>

#include "checker/trace/event_kinds.h"

namespace mmucheck::replay {

using K = trace::EventKind;

namespace {

bool has(const trace::KindSet& kinds, K kind) { return kinds.test(static_cast<size_t>(kind)); }

std::string_view first_absent(const trace::KindSet& kinds, std::initializer_list<K> wanted) {
  for (const K kind : wanted) {
    if (!has(kinds, kind)) return trace::kind_name(kind);
  }
  return {};
}

// What a thread without an operation is seen to do begins with one of these.
std::string_view missing_start(const trace::KindSet& kinds, K observed) {
  switch (observed) {
    case K::kInvBegin:
    case K::kInvAdd:
    case K::kInvEnd:
    case K::kMmuUnmapGfnRange:
    case K::kUnmapGfnRange:
    case K::kTdpUnmapGfnRange:
    case K::kTdpUnmapGfnRangeRet:
    case K::kZapLeafsRoot:
    case K::kZapLeafsRootRet:
    case K::kZapLeafs:
      return first_absent(kinds, {K::kMnInvStart, K::kMnInvEnd, K::kGmemPunchHole, K::kSetMemAttr,
                                  K::kZapGfnRange, K::kSetMemslot});
    case K::kSetMemslotRet:
    case K::kCommitMemslot: return first_absent(kinds, {K::kSetMemslot});
    case K::kPreSetAttr:
    case K::kPostSetAttr:
    case K::kSetMemAttrRet: return first_absent(kinds, {K::kSetMemAttr});
    case K::kGmemInvalidate:
    case K::kGmemInvalidateEnd: return first_absent(kinds, {K::kGmemPunchHole, K::kGmemRelease});
    case K::kPutRoot:
    case K::kZapRoot:
    case K::kZapInvalidatedRoots:
    case K::kZapInvalidatedRootsRet:
    case K::kInvalidateAllRoots:
      return first_absent(kinds, {K::kFreeRoots, K::kDestroyVm, K::kSetMemslot, K::kZapAll});
    case K::kTdpMap:
    case K::kFaultinRet:
    case K::kFaultStaleRet:
    case K::kSpteRequested:
      return {};  // a fault begins with a tracepoint
    default:
      return first_absent(kinds, {K::kClearDirtyPt, K::kTrySplit, K::kSetMemslot, K::kMnInvStart,
                                  K::kAgeRange, K::kRecoverHuge, K::kDestroyVm, K::kSetMemAttr});
  }
}

// The first thing seen of a thread that yielded.
bool follows_yield(K observed) {
  return observed == K::kIterRestart || observed == K::kFlushAll;
}

// What is seen before the walk that could yield.
bool before_walk(K expected) {
  return expected == K::kUnmapGfnRange || expected == K::kMmuUnmapGfnRange ||
         expected == K::kZapRoot || expected == K::kUnmapHvaRange;
}

// What stands inside an operation only: no missing start explains it alone.
bool inside_only(K observed) {
  switch (observed) {
    case K::kChangedSpte:
    case K::kSpteChanged:
    case K::kSetSpte:
    case K::kCmpxchgSpte:
    case K::kCmpxchgSpteRet:
    case K::kTdpMapRet:
    case K::kRemovedPt:
    case K::kPrepareZapPage:
      return true;
    default: return false;
  }
}

}  // namespace

bool full_engine_can(const trace::KindSet& kinds) {
  for (const K kind : {K::kChangedSpte, K::kTdpMap, K::kInitSp, K::kIterStart, K::kMmuLoad,
                       K::kAllocRoot, K::kFaultinRet, K::kFaultStaleRet, K::kTdpMapRet, K::kInitVm,
                       K::kSetMemslot}) {
    if (!has(kinds, kind)) return false;
  }
  // Half of a pair.
  return has(kinds, K::kInvBegin) <= has(kinds, K::kInvEnd) &&
         has(kinds, K::kCmpxchgSpteRet) <= has(kinds, K::kCmpxchgSpte) &&
         has(kinds, K::kSoftExit) <= has(kinds, K::kSoftExitRet);
}

std::string_view missing_probe(const trace::KindSet& kinds, const Operation* op, K expected,
                               K observed, bool values_differ) {
  if (values_differ) {
    // Another value in the expected event is no missing event; but which file a hole is in shows
    // in the invalidation only.
    const bool gmem = op != nullptr && std::holds_alternative<model::GmemInvalidate>(op->machine);
    return gmem ? first_absent(kinds, {K::kGmemInvalidate}) : std::string_view();
  }
  if (inside_only(observed)) return {};
  if (op == nullptr) return missing_start(kinds, observed);
  std::string_view name;
  if (std::holds_alternative<model::SetMemoryRegion>(op->machine)) {
    if (expected == K::kZapRoot) return {};  // neither the end nor a collapse comes before it
    name = first_absent(kinds, {K::kCommitMemslot, K::kSetMemslotRet});
    const bool recovers = op->vm->world.design.collapse == model::Collapse::kRecoverHuge;
    if (name.empty()) {
      name = first_absent(kinds, {recovers ? K::kRecoverHuge : K::kZapCollapsible});
    }
  } else if (std::holds_alternative<model::DestroyVm>(op->machine)) {
    name = first_absent(kinds, {K::kFreeRoots});
  } else if (std::holds_alternative<model::GmemInvalidate>(op->machine)) {
    name = first_absent(kinds, {K::kGmemPunchHole, K::kGmemInvalidate});
  } else if (std::holds_alternative<model::AgeHva>(op->machine)) {
    name = first_absent(kinds, {K::kAgeRangeRet});
  } else if (std::holds_alternative<model::DirtyLogChunk>(op->machine) ||
             std::holds_alternative<DirtyLogFlush>(op->machine)) {
    name = first_absent(kinds, {K::kSetMemslotRet, K::kClearDirtyPt});
  }
  if (name.empty() && follows_yield(observed) && !before_walk(expected)) {
    name = first_absent(kinds, {K::kYieldRead, K::kYieldWrite});
  }
  return name;
}

}  // namespace mmucheck::replay
