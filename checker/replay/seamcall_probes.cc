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

template <class Is>
const SeamcallProbe* find(Is is) {
  const auto* p = std::find_if(std::begin(kProbes), std::end(kProbes), is);
  return p == std::end(kProbes) ? nullptr : p;
}

}  // namespace

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
