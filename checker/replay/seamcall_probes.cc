#include "checker/replay/seamcall_probes.h"

#include <algorithm>
#include <iterator>

namespace mmucheck::replay {

namespace {

using K = trace::EventKind;
using Leaf = model::tdx::Leaf;

constexpr SeamcallProbe kProbes[] = {
    {Leaf::kMemSeptAdd, K::kMockSeptAdd, K::kMockSeptAddRet, true, true},
    {Leaf::kMemPageAdd, K::kMockPageAdd, K::kMockPageAddRet, true, true},
    {Leaf::kMemPageAug, K::kMockPageAug, K::kMockPageAugRet, true, true},
    {Leaf::kMemRangeBlock, K::kMockRangeBlock, K::kMockRangeBlockRet, true, false},
    {Leaf::kMemTrack, K::kMockTrack, K::kMockTrackRet, false, false},
    {Leaf::kMemPageRemove, K::kMockPageRemove, K::kMockPageRemoveRet, true, false},
    {Leaf::kPhymemPageWbinvd, K::kMockWbinvd, K::kMockWbinvdRet, false, false},
    {Leaf::kPhymemPageReclaim, K::kMockReclaim, K::kMockReclaimRet, false, false},
    {Leaf::kPageAccept, K::kMockAccept, K::kMockAcceptRet, true, false},
    {Leaf::kVpEnter, K::kMockZeroStep, K::kMockZeroStepRet, false, false},
};

struct Named {
  trace::SeamcallLeaf name;
  Leaf leaf;
};
using S = trace::SeamcallLeaf;
constexpr Named kNamed[] = {
    {S::kMemSeptAdd, Leaf::kMemSeptAdd},
    {S::kMemPageAdd, Leaf::kMemPageAdd},
    {S::kMemPageAug, Leaf::kMemPageAug},
    {S::kMemRangeBlock, Leaf::kMemRangeBlock},
    {S::kMemTrack, Leaf::kMemTrack},
    {S::kMemPageRemove, Leaf::kMemPageRemove},
    {S::kMemSeptRemove, Leaf::kMemSeptRemove},
    {S::kMemPageDemote, Leaf::kMemPageDemote},
    {S::kMemPagePromote, Leaf::kMemPagePromote},
    {S::kMemRangeUnblock, Leaf::kMemRangeUnblock},
    {S::kPhymemPageWbinvd, Leaf::kPhymemPageWbinvd},
    {S::kPhymemPageReclaim, Leaf::kPhymemPageReclaim},
    {S::kMemSeptRd, Leaf::kMemSeptRd},
    {S::kMrExtend, Leaf::kMrExtend},
    {S::kMrFinalize, Leaf::kMrFinalize},
    {S::kVpEnter, Leaf::kVpEnter},
    {S::kVpFlush, Leaf::kVpFlush},
    {S::kVpInit, Leaf::kVpInit},
    {S::kMngVpflushdone, Leaf::kMngVpflushdone},
    {S::kPhymemCacheWb, Leaf::kPhymemCacheWb},
    {S::kMngKeyFreeid, Leaf::kMngKeyFreeid},
    {S::kMemPageAccept, Leaf::kPageAccept},
    {S::kMemPageRelocate, Leaf::kMemPageRelocate},
    {S::kPhymemPamtAdd, Leaf::kPhymemPamtAdd},
    {S::kPhymemPamtRemove, Leaf::kPhymemPamtRemove},
};

template <class Is>
const SeamcallProbe* find(Is is) {
  const auto* p = std::find_if(std::begin(kProbes), std::end(kProbes), is);
  return p == std::end(kProbes) ? nullptr : p;
}

}  // namespace

std::optional<Leaf> leaf_of(trace::SeamcallLeaf named) {
  for (const Named& n : kNamed) {
    if (n.name == named) return n.leaf;
  }
  return std::nullopt;
}
trace::SeamcallLeaf named_leaf(Leaf leaf) {
  for (const Named& n : kNamed) {
    if (n.leaf == leaf) return n.name;
  }
  return trace::SeamcallLeaf::kUnknown;
}

const SeamcallProbe* probe_of(Leaf leaf) {
  return find([leaf](const SeamcallProbe& p) { return p.leaf == leaf; });
}
const SeamcallProbe* probe_of(K entry) {
  return find([entry](const SeamcallProbe& p) { return p.entry == entry; });
}
const SeamcallProbe* returning_probe(K ret) {
  return find([ret](const SeamcallProbe& p) { return p.ret == ret; });
}

}  // namespace mmucheck::replay
