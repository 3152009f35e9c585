// The part of Monitor that deals with TDs: mirror roots, hooks, SEAMCALLs.
#include "checker/invariant/mirror_rule.h"
#include "checker/invariant/monitor.h"
#include "model/address/alias.h"
#include "model/tdp/alias.h"

namespace mmucheck::invariant {

using model::CellKind;
using model::kNoTable;
namespace cell = model::cell;
namespace ev = model::ev;
namespace tdx = model::tdx;

namespace {

// The S-EPT entry for `gfn` at KVM's `level`, as the module would walk to it; free where the walk
// ends above.
uint64_t sept_entry(const View& v, uint64_t gfn, int level) {
  const tdx::TdConfig& td = v.platform->tds[0];
  uint32_t table = v.store.find_table(td.sept_root);
  const uint64_t gpa = gfn << model::kPageShift;
  for (int l = td.top_level(); table != kNoTable; l--) {
    const uint64_t e = v.store.get(cell::pte(table, tdx::sept_index(gpa, l)));
    if (l == level - 1) return e;
    if (!tdx::walk_continues<>(e)) break;
    table = v.store.find_table(tdx::sept_hpa<>(e, l) >> model::kPageShift);
  }
  return tdx::kSeptFreeEntry;
}

// The mirror entry at the same place; false where no table leads there.
bool mirror_entry(const View& v, uint64_t gfn, int level, uint64_t* spte) {
  uint32_t table = model::first_root(v);
  while (table != kNoTable && !v.is_mirror(table)) table = model::list_next_root(v, table);
  while (table != kNoTable) {
    const int at = model::role_level(v.role(table));
    *spte = v.store.get(cell::pte(table, model::spte_index<>(gfn, at)));
    if (at == level) return true;
    if (!model::is_shadow_present_pte<>(*spte) || model::is_last_spte<>(*spte, at)) return false;
    table = v.store.find_table(model::spte_to_pfn<>(*spte));
  }
  return false;
}

}  // namespace

// After the hook, and before anybody else: S-EPT pages stay where they are when the HKID is gone.
void Monitor::mirror_change(uint64_t gfn, int level, uint64_t spte) {
  if (view_.field(CellKind::kHkidAssigned) == 0 || model::is_frozen_spte<>(view_.fmt, spte)) return;
  const uint64_t entry = sept_entry(view_, gfn, level);
  if (mirror_only_counted(view_, level, spte, entry)) return;
  check(id("TDX-SEPT-MIRROR"), mirror_agrees(view_, level, spte, entry));
}

void Monitor::on(const ev::ExternalSet& e) {
  hooks_open_++;
  if (view_.platform == nullptr) return;
  count(id("TDX-BUG-NONPRESENT"));
  if (model::is_shadow_present_pte<>(e.old_spte)) {
    count(id("MMU-MIRROR-REMOVAL"));
    count(id("TDX-BUG-HKID"));
    count(id("TDX-BUG-LEVEL"));
  } else if (model::is_last_spte<>(e.new_spte, e.level)) {
    count(id("TDX-BUG-LEVEL"));
  } else {
    count(id("TDX-BUG-SPT"));
  }
}

void Monitor::on(const ev::ExternalFree&) {
  if (view_.platform != nullptr) count(id("TDX-BUG-HKID"));
}

void Monitor::on(const ev::ExternalSetRet& e) {
  if (hooks_open_ > 0) hooks_open_--;
  count(id("MMU-MIRROR-HOOK"));
  // Under the write lock the mirror entry has gone already.
  if (view_.platform != nullptr && !e.shared) check(id("TDX-SEPT-MIRROR"), e.ret == 0);
}

// Where the tracepoint fires before the hook, the thaw is what comes after both.
void Monitor::mirror_thaw(const ev::Store& e) {
  if (view_.design.mirror_trace != model::MirrorTrace::kBeforeHook) return;
  if (!model::is_frozen_spte<>(view_.fmt, e.old_spte)) return;
  const int level = model::role_level(view_.role(e.table));
  const model::Gfn<> sp_gfn{view_.field(CellKind::kSpGfn, e.table)};
  mirror_change(model::entry_gfn<>(sp_gfn, e.index, level).v, level, e.new_spte);
}

// Does the tracepoint of this change of a mirror entry come before its hook?
bool Monitor::hook_to_come(uint64_t new_spte) const {
  switch (view_.design.mirror_trace) {
    case model::MirrorTrace::kInFreeze: break;
    case model::MirrorTrace::kAfterUnfreeze: return !model::is_shadow_present_pte<>(new_spte);
    case model::MirrorTrace::kBeforeHook: return true;
  }
  return false;
}

// What nobody's hook did: ACCEPT, or somebody behind KVM's back.
void Monitor::on(const ev::SeptState& e) {
  uint64_t spte = 0;
  const uint64_t gfn = e.gpa >> model::kPageShift;
  if (hooks_open_ != 0 || !mirror_entry(view_, gfn, e.level, &spte)) return;
  mirror_change(gfn, e.level, spte);
}

void Monitor::on(const ev::SeamcallRet& e) {
  tdx::Status s;
  s.v = e.status;
  using C = tdx::StatusCode;
  if (hooks_open_ > 0) count(id("TDX-BUG-SEAMCALL"));
  switch (e.leaf) {
    case tdx::Leaf::kMemSeptAdd:
    case tdx::Leaf::kMemPageAdd:
    case tdx::Leaf::kMemPageAug:
      check(id("TDX-SEPT-ORDER"), s.code() != C::kEptWalkFailed);
      break;
    case tdx::Leaf::kMemPageRemove:
    case tdx::Leaf::kMemSeptRemove:
    case tdx::Leaf::kMemPageDemote:
    case tdx::Leaf::kMemPagePromote:
    case tdx::Leaf::kMemPageRelocate:
    case tdx::Leaf::kMemRangeUnblock:
      check(id("TDX-SEPT-TRACKED"),
            s.code() != C::kGpaRangeNotBlocked && s.code() != C::kTlbTrackingNotDone);
      break;
    default: break;
  }
  if (tdx::leaf_info(e.leaf).states != 0) {
    check(id("TDX-TD-KEYS"), s.code() != C::kTdKeysNotConfigured);
  }
}

void Monitor::on(const ev::PamtRefs& e) { check(id("TDX-PAMT-PAIR"), e.refs == 0 || e.pair); }

// What a range has become is what its private leafs say, once faults on it go on.
void Monitor::on(const ev::AttributesSet& e) {
  if (view_.platform == nullptr || (e.attributes & model::kMemoryAttributePrivate) != 0) return;
  uint64_t spte = 0;
  bool mapped = false;
  for (uint64_t g = e.start; g < e.end && g - e.start < kRangeLimit && !mapped; g++) {
    for (int level = model::kPgLevel4K; level <= model::kPgLevel2M && !mapped; level++) {
      mapped = mirror_entry(view_, g, level, &spte) && model::is_last_spte<>(spte, level) &&
               model::is_shadow_present_pte<>(spte);
    }
  }
  check(id("MMU-ATTR-LEAF"), !mapped);
}

void Monitor::on(const ev::TdDestroy& e) { check(id("TDX-TD-PAGES"), e.chldcnt == 0); }

// vcpu, addr, gfn, ..., is_private: see ev::Fn::kTdpMap.
void Monitor::mirror_fault(const ev::Enter& e) {
  const uint64_t bits = view_.vm.gfn_direct_bits;
  const model::Design& d = view_.design;
  const bool is_private = e.a[7] != 0;
  check(id("MMU-MIRROR-PRIVATE"),
        model::fault_walks_mirror<>(d.root_choice, d.fault_addr, e.a[1], is_private, bits) ==
            is_private);
  check(id("MMU-FAULT-ADDR"), ((e.a[1] >> model::kPageShift) & ~bits) == e.a[2]);
}

}  // namespace mmucheck::invariant
