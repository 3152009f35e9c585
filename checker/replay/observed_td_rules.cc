// What was seen of the TDX module against what its model did: a module that lets a call pass which
// it must refuse, or that leaves something else behind, breaks the property that the refusal or the
// effect stands for.
#include "checker/replay/observed_rules.h"
#include "checker/replay/seamcall_probes.h"
#include "checker/trace/event_kinds.h"
#include "model/tdp/seamcall.h"
#include "model/tdx/sept_entry.h"
#include "model/tdx/status.h"

namespace mmucheck::replay {

using invariant::Id;
using invariant::id;
using invariant::View;
using model::tdx::Leaf;
using K = trace::EventKind;
namespace f = trace::f;
namespace tdx = model::tdx;

namespace {

// The status that an event shows, and of which call; false when it shows none.
template <class E>
bool shown_status(const E& e, tdx::Status* s, std::optional<Leaf>* leaf) {
  if (e.kind == K::kSeamcallRet) {
    namespace x = f::seamcall_ret;
    if (!e.has(x::status)) return false;
    s->v = e.f[x::status];
    *leaf = leaf_of(static_cast<trace::SeamcallLeaf>(e.f[x::leaf]));
    return leaf->has_value();
  }
  const SeamcallProbe* probe = returning_probe(e.kind);
  if (probe == nullptr || !e.has(0)) return false;
  s->v = e.f[0];
  *leaf = probe->leaf;
  return true;
}

// What the module must keep up by refusing so; `large`: a call for a page of more than 4K.
Id property_of(tdx::StatusCode refusal, Leaf leaf, bool large) {
  using C = tdx::StatusCode;
  switch (refusal) {
    case C::kEptWalkFailed:
    case C::kTdExitEptViolation: return id("TDX-SEPT-WALK");
    case C::kGpaRangeNotBlocked:
    case C::kTlbTrackingNotDone: return id("TDX-SEPT-TRACKED");
    case C::kGpaRangeAlreadyBlocked: return id("TDX-EPOCH-BLOCK");
    case C::kEptPageNotFree: return id("TDX-SEPT-CHILDREN");
    case C::kPageMetadataIncorrect: return large ? id("TDX-PAMT-SIZE") : id("TDX-PAMT-OWNER");
    case C::kPreviousTlbEpochBusy: return id("TDX-EPOCH-RANGE");
    case C::kEptInvalidPromoteConditions: return id("TDX-DATA-PLACE");
    case C::kPageAlreadyAccepted:
    case C::kPageSizeMismatch: return id("TDX-SEPT-PENDING");
    case C::kTdAssociatedPagesExist: return id("TDX-TD-LAST");
    case C::kTdKeysNotConfigured: return id("TDX-TD-KEYS");
    case C::kFlushvpNotDone:
    case C::kWbcacheNotComplete:
    case C::kNoVcpus:
    case C::kLifecycleStateIncorrect: return id("TDX-TD-LIFE");
    case C::kOpStateIncorrect:
      return leaf == Leaf::kMemPageAdd ? id("TDX-SEPT-PENDING") : id("TDX-TD-LIFE");
    case C::kEptEntryStateIncorrect:
      switch (leaf) {
        case Leaf::kMemPageAdd:
        case Leaf::kMemPageAug:
        case Leaf::kMemSeptAdd: return id("TDX-PAMT-OWNER");  // the page that was there is lost
        case Leaf::kMemRangeUnblock: return id("TDX-SEPT-BLOCKED");
        default: return id("TDX-SEPT-SHAPE");
      }
    case C::kOperandInvalid: return id("TDX-SEPT-SHAPE");
    default: return invariant::kNoId;
  }
}

void seen_status(const ObservedStep& step, std::vector<Id>& broken) {
  tdx::Status seen, expected;
  std::optional<Leaf> leaf, expected_leaf;
  if (!shown_status(step.seen, &seen, &leaf)) return;
  if (step.predicted == nullptr || step.predicted->kind != step.seen.kind ||
      !shown_status(*step.predicted, &expected, &expected_leaf) || leaf != expected_leaf) {
    return;
  }
  // BUSY that nobody who is stepped holds, nor an input tells of: somebody has kept a lock.
  if (seen.code() == tdx::StatusCode::kOperandBusy && expected.code() != seen.code()) {
    broken.push_back(id("TDX-LOCK-FREE"));
  }
  // Who waits for a vCPU that is not there counts it.
  const bool waits = seen.code() == tdx::StatusCode::kPreviousTlbEpochBusy ||
                     seen.code() == tdx::StatusCode::kTlbTrackingNotDone;
  if (waits && expected.ok()) broken.push_back(id("TDX-EPOCH-COUNT"));
  const bool adds = *leaf == Leaf::kMemSeptAdd || *leaf == Leaf::kMemPageAdd ||
                    *leaf == Leaf::kMemPageAug;
  if (adds && seen.code() == tdx::StatusCode::kEptWalkFailed && expected.ok()) {
    broken.push_back(id("TDX-SEPT-ORDER"));
  }
  const bool error = !seen.ok() && seen.code() != tdx::StatusCode::kOperandBusy;
  const bool of_hook = step.seen.kind != K::kSeamcallRet && model::belongs_to_hooks(*leaf);
  // The vCPU came to another CPU without a VP.FLUSH on the one before.
  const bool not_flushed = seen.code() == tdx::StatusCode::kVcpuAssociated;
  if (error && expected.ok() && broken.empty() && (of_hook || not_flushed)) {
    broken.push_back(id("TDX-BUG-SEAMCALL"));
  }
  if (!seen.ok() || expected.ok()) return;
  const Id rule = property_of(expected.code(), *leaf, step.call_level > model::kPgLevel4K);
  if (rule != invariant::kNoId) broken.push_back(rule);
}

const tdx::SeptStateInfo* shown_state(uint64_t hpa_and_state) {
  for (const tdx::SeptStateInfo& s : tdx::kSeptStates) {
    if (s.arch == (hpa_and_state & 0xff)) return &s;
  }
  return nullptr;
}

void seen_entry(const ObservedStep& step, std::vector<Id>& broken) {
  namespace x = f::mock_sept_state;
  const trace::Event& e = step.seen;
  const Predicted* p = step.predicted;
  if (p == nullptr || !e.has(x::new_state)) return;
  if (p->kind == K::kSeamcallRet && p->f[f::seamcall_ret::status] != 0) {
    broken.push_back(id("TDX-CALL-FAILED"));
    return;
  }
  if (p->kind != e.kind) return;
  const uint64_t seen = e.f[x::new_state], expected = p->f[x::new_state];
  if (seen == expected) return;
  const int level = static_cast<int>(p->f[x::level]) - 1;
  const tdx::SeptStateInfo* is = shown_state(seen);
  const tdx::SeptStateInfo* should = shown_state(expected);
  const auto entry = [](const tdx::SeptStateInfo* s, uint64_t value) {
    return tdx::make_sept_entry(s->state, value & tdx::kSeptHpa);
  };
  if (is == nullptr || !invariant::sept_entry_well_formed<>(entry(is, seen), level)) {
    broken.push_back(id("TDX-SEPT-SHAPE"));
    return;
  }
  if (should == nullptr) return;
  const uint64_t now = entry(is, seen), wanted = entry(should, expected);
  if (!invariant::stays_pending<>(wanted, now)) broken.push_back(id("TDX-SEPT-PENDING"));
  if (tdx::sept_state_is_any_blocked<>(wanted) != tdx::sept_state_is_any_blocked<>(now)) {
    broken.push_back(id("TDX-SEPT-BLOCKED"));
  }
  if (!invariant::same_page_behind<>(wanted, now, level)) broken.push_back(id("TDX-DATA-PLACE"));
}

void seen_end(const ObservedStep& step, std::vector<Id>& broken) {
  namespace x = f::mock_td_destroy;
  const trace::Event& e = step.seen;
  const Predicted* p = step.predicted;
  if (p == nullptr || p->kind != e.kind) return;
  if (e.has(x::chldcnt) && e.f[x::chldcnt] != p->f[x::chldcnt]) {
    broken.push_back(id("TDX-PAMT-COUNT"));
  }
  if (e.has(x::epoch) && e.f[x::epoch] < p->f[x::epoch]) broken.push_back(id("TDX-EPOCH-RANGE"));
}

// What a removal of private pages is over with.
bool ends_removal(K kind) {
  return kind == K::kGmemInvalidateEnd || kind == K::kSetMemAttrRet || kind == K::kPostSetAttr ||
         kind == K::kInvEnd || kind == K::kSetMemslotRet;
}

// A call of KVM's that was left out: what came in its place is there, and it is not.
void seen_instead(const View& view, const ObservedStep& step, std::vector<Id>& broken) {
  const Predicted* p = step.predicted;
  if (step.seen.kind == K::kMockRangeBlock && step.seen.has(f::mock_range_block::gpa) &&
      (p == nullptr || p->kind != step.seen.kind)) {
    // What is blocked now was removed before.
    const uint64_t gfn = step.seen.f[f::mock_range_block::gpa] >> model::kPageShift;
    const int level = static_cast<int>(
        step.seen.get_or(f::mock_range_block::level, model::kPgLevel4K));
    bool reached = false;
    const uint64_t entry = level < model::kPgLevel4K || level > model::kMaxRootLevel
                               ? 0 : invariant::sept_entry(view, gfn, level, &reached);
    if (reached && tdx::is_sept_free<>(entry)) broken.push_back(id("TDX-SEPT-TRACKED"));
  }
  if (p == nullptr || p->kind == step.seen.kind) return;
  if (p->kind == K::kMockWbinvd && ends_removal(step.seen.kind)) {
    broken.push_back(id("TDX-PAGE-RETURN"));
  }
  // The key goes before its pages, or S-EPT pages before it.
  if (step.seen.kind == K::kMockFreeid) broken.push_back(id("TDX-BUG-HKID"));
  if (step.seen.kind == K::kMockTdDestroy && p->kind == K::kMockReclaim) {
    broken.push_back(id("TDX-TD-PAGES"));
  }
  if (p->kind == K::kMockSetExternal &&
      (step.seen.kind == K::kSpteChanged || step.seen.kind == K::kSetSpte)) {
    broken.push_back(id("TDX-SEPT-MIRROR"));
  }
  if (probe_of(step.seen.kind) == nullptr) return;
  if (p->kind == K::kMockPageRemove && step.seen.kind == K::kMockWbinvd) {
    broken.push_back(id("TDX-PAGE-RETURN"));  // written back while the TD could still write
    return;
  }
  switch (p->kind) {
    case K::kMockWbinvd: broken.push_back(id("TDX-PAGE-RETURN")); return;
    case K::kMockRangeBlock:
      if (step.seen.kind == K::kMockTrack) broken.push_back(id("TDX-SEPT-TRACKED"));
      [[fallthrough]];
    case K::kMockTrack:
      if (step.seen.kind == K::kMockPageRemove) broken.push_back(id("TDX-SEPT-TRACKED"));
      return;
    default: return;
  }
}

// The same of returns alone: REMOVE or a change of size where BLOCK or TRACK was due.
void seen_return_instead(const ObservedStep& step, std::vector<Id>& broken) {
  namespace x = f::seamcall_ret;
  const Predicted* p = step.predicted;
  if (p == nullptr || p->kind != K::kSeamcallRet || step.seen.kind != K::kSeamcallRet) return;
  const auto leaf = leaf_of(static_cast<trace::SeamcallLeaf>(step.seen.get(x::leaf)));
  const auto due = leaf_of(static_cast<trace::SeamcallLeaf>(p->f[x::leaf]));
  if (due != Leaf::kMemRangeBlock && due != Leaf::kMemTrack) return;
  if (leaf == Leaf::kMemPageRemove || leaf == Leaf::kMemPageDemote ||
      leaf == Leaf::kMemPagePromote || leaf == Leaf::kMemPageRelocate) {
    broken.push_back(id("TDX-SEPT-TRACKED"));
  }
}

// An entry is added that the module cannot reach: the one above it is not there.
void seen_add(const View& view, const ObservedStep& step, std::vector<Id>& broken) {
  namespace x = f::mock_page_aug;  // and of the other two
  const trace::Event& e = step.seen;
  if (e.kind != K::kMockSeptAdd && e.kind != K::kMockPageAdd && e.kind != K::kMockPageAug) return;
  const Predicted* p = step.predicted;
  const auto shown = [&](size_t field, uint64_t otherwise) {
    return e.has(field) ? e.f[field]
           : p != nullptr && p->kind == e.kind && p->has(field) ? p->f[field] : otherwise;
  };
  const int level = static_cast<int>(shown(x::level, model::kPgLevel4K));
  if (level < model::kPgLevel4K || level > model::kMaxRootLevel || !e.has(x::gpa)) return;
  bool reached = false;
  const uint64_t entry =
      invariant::sept_entry(view, e.f[x::gpa] >> model::kPageShift, level, &reached);
  if (!reached) broken.push_back(id("TDX-SEPT-ORDER"));
  // What is there already would be lost.
  const bool other = p == nullptr || p->kind != e.kind;
  if (reached && other && !tdx::is_sept_free<>(entry)) broken.push_back(id("TDX-PAMT-OWNER"));
  if (e.kind == K::kMockSeptAdd) return;
  if (e.kind == K::kMockPageAdd && other && view.field(model::CellKind::kTdRunnable) != 0) {
    broken.push_back(id("TDX-SEPT-PENDING"));
  }
  // The mirror has another page at this place.
  if (p != nullptr && p->kind == e.kind && e.has(x::hpa) && p->f[x::gpa] == e.f[x::gpa] &&
      p->f[x::hpa] != e.f[x::hpa]) {
    broken.push_back(id("TDX-SEPT-MIRROR"));
  }
  if (view.field(model::CellKind::kTdRunnable) == 0 && !view.design.premap_count &&
      !step.populates && (p == nullptr || p->kind != e.kind)) {
    broken.push_back(id("TDX-BUG-IMAGE"));
  }
}

// A hook, or a call of one, works on another entry than the mirror's.
void seen_elsewhere(const ObservedStep& step, std::vector<Id>& broken) {
  const trace::Event& e = step.seen;
  const Predicted* p = step.predicted;
  if (p == nullptr || p->kind != e.kind || !broken.empty()) return;
  const auto differs = [&](size_t i) { return e.has(i) && p->has(i) && e.f[i] != p->f[i]; };
  switch (e.kind) {
    case K::kMockSeptAdd:
    case K::kMockPageAdd:
    case K::kMockPageAug:
    case K::kMockRangeBlock:
    case K::kMockPageRemove:
      if (differs(f::mock_page_aug::gpa) || differs(f::mock_page_aug::level)) {
        broken.push_back(id("TDX-SEPT-MIRROR"));
      }
      return;
    case K::kMockSetExternal: {
      namespace x = f::mock_set_external;
      if (differs(x::gfn) || differs(x::level) || differs(x::new_spte)) {
        broken.push_back(id("TDX-SEPT-MIRROR"));
      }
      return;
    }
    case K::kMockWbinvd:
      if (differs(f::mock_wbinvd::hpa)) broken.push_back(id("TDX-PAGE-RETURN"));
      return;
    default: return;
  }
}

// A hook fails that nobody undoes: what it was to take from the S-EPT is gone from the mirror.
void seen_hook(const ObservedStep& step, std::vector<Id>& broken) {
  const Predicted* p = step.predicted;
  if (step.seen.kind != K::kMockSetExternalRet || p == nullptr || p->kind != step.seen.kind ||
      step.fault != nullptr) {
    return;
  }
  if (step.seen.f[0] != 0 && p->f[0] == 0) broken.push_back(id("MMU-MIRROR-HOOK"));
}

// A change of a mirror entry, seen in a fault.
void seen_leaf(const View& view, const ObservedStep& step, std::vector<Id>& broken) {
  namespace x = f::changed_spte;
  const trace::Event& e = step.seen;
  if (!e.has(x::level) || !e.has(x::new_spte)) return;
  const int level = static_cast<int>(e.get(x::level));
  const uint64_t spte = e.get(x::new_spte);
  if (!model::is_shadow_present_pte<>(spte) || !model::is_last_spte<>(spte, level)) return;
  if (level > view.design.private_max_level) broken.push_back(id("TDX-LEVEL-MAX"));
  if (!invariant::permits_every_access<>(spte)) broken.push_back(id("MMU-MIRROR-RWX"));
}

// Is there a leaf for the gfn in a root of the kind?
bool maps_leaf(const View& view, bool mirror, uint64_t gfn) {
  for (uint32_t root = model::first_root(view); root != model::kNoTable;
       root = model::list_next_root(view, root)) {
    if (view.is_mirror(root) != mirror) continue;
    uint32_t table = root;
    while (table != model::kNoTable) {
      const int level = model::role_level(view.role(table));
      const uint64_t at = mirror ? gfn : gfn | view.vm.gfn_direct_bits;
      const uint64_t spte = view.store.get(model::cell::pte(table, model::spte_index<>(at, level)));
      if (!model::is_shadow_present_pte<>(spte)) break;
      if (model::is_last_spte<>(spte, level)) return true;
      table = view.store.find_table(model::spte_to_pfn<>(spte));
    }
  }
  return false;
}

// Does the event show that private memory goes? An entry says of which root it is by its role, where
// that is told, or by what is mapped.
bool takes_private(const View& view, const trace::Event& e) {
  const auto goes = [&](size_t new_spte) {
    return e.has(new_spte) && !model::is_shadow_present_pte<>(e.get(new_spte));
  };
  const auto only_private = [&](uint64_t gfn) {
    return maps_leaf(view, true, gfn) && !maps_leaf(view, false, gfn);
  };
  switch (e.kind) {
    case K::kMockRangeBlock:
    case K::kMockPageRemove: return true;
    case K::kMockSetExternal: return goes(f::mock_set_external::new_spte);
    case K::kChangedSpte: {
      namespace x = f::changed_spte;
      if (!goes(x::new_spte)) return false;
      return e.has(x::role) ? model::role_mirror(static_cast<uint32_t>(e.get(x::role)))
                            : only_private(e.get(x::gfn));
    }
    case K::kSpteChanged:
      return goes(f::spte_changed::new_spte) && only_private(e.get(f::spte_changed::gfn));
    default: return false;
  }
}

uint64_t place_of_removal(const trace::Event& e) {
  switch (e.kind) {
    case K::kMockRangeBlock: return e.get(f::mock_range_block::gpa) >> model::kPageShift;
    case K::kMockPageRemove: return e.get(f::mock_page_remove::gpa) >> model::kPageShift;
    case K::kMockSetExternal: return e.get(f::mock_set_external::gfn);
    case K::kChangedSpte: return e.get(f::changed_spte::gfn);
    default: return e.get(f::spte_changed::gfn);
  }
}

// And that shared memory goes, at a gfn that has no private page?
bool takes_shared(const View& view, const trace::Event& e) {
  const auto gone = [&](size_t gfn_at, size_t level_at, size_t new_at) {
    const uint64_t gfn = e.get(gfn_at) & ~view.vm.gfn_direct_bits;
    return e.has(new_at) && !model::is_shadow_present_pte<>(e.get(new_at)) &&
           e.get(level_at) == model::kPgLevel4K && maps_leaf(view, false, gfn) &&
           !maps_leaf(view, true, gfn);
  };
  namespace x = f::changed_spte;
  namespace y = f::spte_changed;
  if (e.kind == K::kChangedSpte) return gone(x::gfn, x::level, x::new_spte);
  return e.kind == K::kSpteChanged && gone(y::gfn, y::level, y::new_spte);
}

// What an unmap of one kind is seen to do to the other, and any operation to what guests accepted.
void seen_removal(const View& view, const ObservedStep& step, std::vector<Id>& broken) {
  const bool filtered = view.design.unmap_filter == model::UnmapFilter::kAttrFilter;
  if (filtered && step.attr_filter != 0 && !(step.attr_filter & model::kFilterPrivate)) {
    if (takes_private(view, step.seen)) broken.push_back(id("MMU-MIRROR-FILTER"));
    return;
  }
  if (filtered && step.attr_filter != 0 && !(step.attr_filter & model::kFilterShared)) {
    if (takes_shared(view, step.seen)) broken.push_back(id("MMU-MIRROR-FILTER"));
  }
  if (step.private_may_go || !takes_private(view, step.seen)) return;
  const uint64_t gfn = place_of_removal(step.seen);
  if (tdx::is_state<>(invariant::sept_entry(view, gfn, model::kPgLevel4K),
                      tdx::SeptEntryState::kMapped)) {
    broken.push_back(id("TDX-DATA-KEPT"));
  }
}

}  // namespace

std::vector<Id> td_broken_by(const View& view, const ObservedStep& step) {
  std::vector<Id> broken;
  seen_status(step, broken);
  seen_instead(view, step, broken);
  seen_return_instead(step, broken);
  seen_removal(view, step, broken);
  seen_add(view, step, broken);
  seen_hook(step, broken);
  seen_elsewhere(step, broken);
  if (step.private_fault) {
    if (step.seen.kind == K::kChangedSpte) seen_leaf(view, step, broken);
    if (step.seen.kind == K::kSplitHugePage) broken.push_back(id("MMU-MIRROR-SPLIT"));
  }
  if (step.seen.kind == K::kMockSeptState) seen_entry(step, broken);
  if (step.seen.kind == K::kMockTdDestroy) seen_end(step, broken);
  return broken;
}

}  // namespace mmucheck::replay
