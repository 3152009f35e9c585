#include "checker/replay/observed_rules.h"

#include <algorithm>

#include "checker/trace/event_kinds.h"
#include "model/tdp/kvm_invalidate.h"
#include "model/tdp/tlb.h"

namespace mmucheck::replay {

using invariant::Id;
using invariant::id;
using invariant::View;
using model::CellKind;
using model::kNoTable;
using model::SlotField;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

class Rules {
 public:
  Rules(const View& view, const ObservedStep& step) : view_(view), step_(step), e_(step.seen) {}

  std::vector<Id> broken() {
    switch (e_.kind) {
      case K::kChangedSpte: {
        namespace x = f::changed_spte;
        change(x::as_id, x::gfn, x::level, x::old_spte, x::new_spte);
        if (e_.has(x::shared)) lock_of_change(e_.get(x::shared) != 0);
        break;
      }
      case K::kSpteChanged: {
        namespace x = f::spte_changed;
        change(x::as_id, x::gfn, x::level, x::old_spte, x::new_spte);
        break;
      }
      case K::kCmpxchgSpte:
        rule(id("MMU-SPTE-STALE"),
             !model::is_frozen_spte<>(view_.fmt, e_.get(f::cmpxchg_spte::old_spte)));
        frozen_first();
        break;
      case K::kCmpxchgSpteRet:
        if (step_.recovers_nx) rule(id("MMU-NX-STILL"), e_.get(f::cmpxchg_spte_ret::ret) == 0);
        break;
      case K::kInitSp:
        new_table();
        goes_on();
        break;
      case K::kSetSpte:
        rule(id("MMU-FAULT-LEVEL"), same(f::set_spte::level));
        goes_on();
        break;
      case K::kSpteRequested:
        requested();
        goes_on();
        break;
      case K::kFastPageFault: fast_fault(); break;
      case K::kGmemGetPfn: rule(id("MMU-GMEM-LOCK"), !step_.populates || same_kind()); break;
      case K::kFlushRange: flushed_range(); break;
      case K::kSplitHugePage:
        rule(id("MMU-DIRTY-SPLIT"),
             invariant::splittable<>(e_.get(f::split_huge_page::spte),
                                     static_cast<int>(e_.get(f::split_huge_page::level))));
        break;
      default:
        walks();
        faults();
        ranges();
        break;
    }
    if (broken_.empty()) left_out();
    return std::move(broken_);
  }

 private:
  void rule(Id rule, bool holds) {
    if (!holds) broken_.push_back(rule);
  }
  // The field is what the model computed, or one of the two does not say.
  bool same(size_t field) const {
    return step_.predicted == nullptr || step_.predicted->kind != e_.kind || !e_.has(field) ||
           !step_.predicted->has(field) || step_.predicted->f[field] == e_.f[field];
  }
  bool other_event(K kind) const {
    return step_.predicted != nullptr && step_.predicted->kind == kind && kind != e_.kind;
  }
  // Of a root that still maps a gfn of the range that it is to be visited for.
  bool a_root_is_due() const {
    namespace x = f::zap_leafs_root;
    if (!other_event(K::kZapLeafsRoot)) return false;
    const Predicted& p = *step_.predicted;
    const uint32_t root = view_.store.find_table(p.f[x::spt_pfn]);
    const uint64_t end = std::min(p.f[x::end], p.f[x::start] + invariant::Monitor::kRangeLimit);
    model::CachedTranslation leaf;
    for (uint64_t gfn = p.f[x::start]; root != kNoTable && gfn < end; gfn++) {
      if (model::translation_of(view_, root, gfn, &leaf)) return true;
    }
    return false;
  }
  bool a_change_is_due() const { return other_event(K::kChangedSpte) || other_event(K::kSpteChanged); }

  // Less than was to be flushed.
  void flushed_range() {
    namespace x = f::flush_range;
    // A flush of all was due.
    rule(id("MMU-TLB-COVERED"), !other_event(K::kFlushAll));
    if (!same_kind() || !e_.has(x::gfn) || !e_.has(x::npages)) return;
    const Predicted& p = *step_.predicted;
    rule(id("MMU-TLB-COVERED"),
         e_.get(x::gfn) <= p.f[x::gfn] &&
             e_.get(x::gfn) + e_.get(x::npages) >= p.f[x::gfn] + p.f[x::npages]);
  }

  // What is seen in place of something else that was due.
  void left_out() {
    if (step_.predicted == nullptr || same_kind()) return;
    rule(id("MMU-TLB-COVERED"), !flushes_tlbs(step_.predicted->kind) || flushes_tlbs(e_.kind));
    // What is harvested, or logged from now on, is left as it is.
    const bool logs = (step_.harvests_log && flushes_tlbs(e_.kind)) ||
                      (step_.starts_log && (flushes_tlbs(e_.kind) || e_.kind == K::kSetMemslotRet));
    rule(id("MMU-DIRTY-LOST"), !(logs && (a_change_is_due() || other_event(K::kWrprotSlot))));
    if (step_.predicted->kind == K::kInvBegin || step_.predicted->kind == K::kInvAdd) {
      const bool unmaps = e_.kind == K::kChangedSpte || e_.kind == K::kSpteChanged ||
                          e_.kind == K::kTdpUnmapGfnRange || e_.kind == K::kUnmapGfnRange ||
                          e_.kind == K::kMmuUnmapGfnRange || e_.kind == K::kZapLeafsRoot;
      rule(id("MMU-INV-UNMAP"), !unmaps);
      rule(id("MMU-INV-ADD"), e_.kind != K::kInvAdd);
    }
  }

  void change(size_t as_at, size_t gfn_at, size_t level_at, size_t old_at, size_t new_at) {
    const Predicted* p = step_.predicted;
    const auto value = [&](size_t i) {
      return e_.has(i) ? e_.get(i) : p != nullptr && p->kind == e_.kind ? p->f[i] : 0;
    };
    const uint64_t gfn = value(gfn_at) & ~view_.vm.gfn_direct_bits;
    const int level = static_cast<int>(value(level_at));
    // What is not shown is what is there, where one root has it.
    const uint64_t old_spte = e_.has(old_at) || same_kind()
                                  ? value(old_at)
                                  : entry_at(static_cast<uint32_t>(value(as_at)), gfn, level);
    const uint64_t new_spte = value(new_at);
    change_rules(gfn, level, old_spte, new_spte);
    if (level < 1 || level > model::kMaxRootLevel) return;
    const model::ChangeKind<> k = model::classify_change<>(old_spte, new_spte, level);
    if (same_kind() && e_.has(old_at) && p->f[gfn_at] == value(gfn_at) &&
        p->f[level_at] == value(level_at)) {
      rule(id("MMU-SPTE-REPLACED"), !lost_bits(p->f[old_at], old_spte, level));
    }
    if (k.is_leaf && !k.was_leaf) fault_maps(gfn);
    if (step_.fault != nullptr && k.was_leaf && k.is_leaf) {
      rule(id("MMU-FAULT-FLUSH"), !model::leaf_change_needs_flush<>(view_.fmt, old_spte, new_spte));
    }
    if (step_.zaps && same_kind() && e_.has(as_at)) {
      rule(id("MMU-ZAP-PRECISE"), e_.get(as_at) == p->f[as_at]);
    }
    if (k.is_leaf) {
      leaf(static_cast<uint32_t>(value(as_at)), gfn, level, new_spte);
    } else if (k.is_present) {
      rule(id("MMU-PT-CHILD"),
           view_.store.find_table(model::spte_to_pfn<>(new_spte)) != kNoTable);
    }
    if (view_.host.format == model::PageTableFormat::kEpt && view_.vm.gfn_direct_bits == 0) {
      rule(id("MMU-SPTE-VE"), invariant::ve_suppressed<>(new_spte));
    }
    if (k.was_leaf && !k.is_present && step_.zap_end != 0) {
      rule(id("MMU-ZAP-PRECISE"),
           invariant::zap_was_asked_for<>(gfn, level, step_.zap_start, step_.zap_end, false));
    }
    if (same_kind() && step_.zaps && e_.has(gfn_at)) {
      rule(id("MMU-WALK-COVER"), e_.get(gfn_at) <= p->f[gfn_at] ||
                                     static_cast<uint64_t>(level) < p->f[level_at]);
    }
    if ((step_.harvests_log || step_.starts_log) && same_kind() && p->f[level_at] == value(level_at)) {
      rule(id("MMU-DIRTY-LOST"), value(gfn_at) <= p->f[gfn_at]);  // what is before it is left out
    }
    if (step_.starts_log && same_kind() && !model::is_writable_pte<>(p->f[new_at])) {
      rule(id("MMU-DIRTY-LOST"), !model::is_writable_pte<>(new_spte));
    }
    if (step_.ages && k.was_leaf && k.is_leaf) {
      rule(id("MMU-DIRTY-LOST"), (old_spte & ~new_spte & view_.fmt.dirty) == 0);
    }
    if (step_.harvests_log && (p == nullptr || !same(new_at))) {
      rule(id("MMU-DIRTY-DBIT"), !(model::spte_ad_need_write_protect<>(view_.fmt, old_spte) &&
                                   (old_spte ^ new_spte) == view_.fmt.dirty));
      rule(id("MMU-DIRTY-LOST"), !model::is_writable_pte<>(new_spte) &&
                                     (new_spte & view_.fmt.dirty & old_spte) == 0);
    }
  }

  // Did what was replaced have bits that only the CPU, or a fast page fault, puts there, and that are
  // not in what the writer took it for?
  bool lost_bits(uint64_t replaced, uint64_t taken_for, int level) const {
    const uint64_t apart = replaced & ~taken_for;
    const uint64_t theirs = model::kPtWritable | view_.fmt.dirty;
    return model::spte_need_atomic_write<>(view_.fmt, taken_for, level) && (apart & theirs) != 0 &&
           ((replaced ^ taken_for) & ~(theirs | view_.fmt.accessed)) == 0;
  }

  // Of a valid root of the address space that has something there.
  uint64_t entry_at(uint32_t as_id, uint64_t gfn, int level) const {
    for (uint32_t root = model::first_root(view_); root != kNoTable;
         root = model::list_next_root(view_, root)) {
      if (model::role_as_id(view_.role(root)) != as_id || view_.root_invalid(root)) continue;
      const uint64_t spte = entry_of_root(root, gfn, level);
      if (spte != model::kNonpresent) return spte;
    }
    return model::kNonpresent;
  }
  uint64_t entry_of_root(uint32_t root, uint64_t gfn, int level) const {
    const uint64_t at = gfn | (view_.is_mirror(root) ? 0 : view_.vm.gfn_direct_bits);
    for (uint32_t table = root; table != kNoTable;) {
      const int here = model::role_level(view_.role(table));
      const uint64_t spte = view_.store.get(model::cell::pte(table, model::spte_index<>(at, here)));
      if (here == level) return spte;
      if (!model::is_shadow_present_pte<>(spte) || model::is_last_spte<>(spte, here)) break;
      table = view_.store.find_table(model::spte_to_pfn<>(spte));
    }
    return model::kNonpresent;
  }

  // The fault maps, or goes on to, where the model had it try again.
  void fault_maps(uint64_t gfn) {
    if (step_.fault == nullptr || a_map_is_due()) return;
    const model::Fault& fault = *step_.fault;
    const uint32_t root =
        model::vcpu_root(view_, fault.vcpu, view_.vm.has_mirror && fault.is_private);
    if (root != kNoTable && view_.root_invalid(root)) return rule(id("MMU-ROOT-INSTALL"), false);
    if (view_.vm.has_private_mem) {
      const uint64_t attributes = model::detail::mem_attr(view_, gfn);
      rule(id("MMU-ATTR-LEAF"),
           invariant::kind_as_attributes_say<>(fault.is_private, attributes));
    }
    if (fault.slot == model::kNoSlot) return;
    rule(id("MMU-INV-DONE"), !model::mmu_invalidate_retry_gfn(view_, fault.mmu_seq, gfn));
    rule(id("MMU-SLOT-FREED"), model::slot_get(view_, fault.slot, SlotField::kInvalid) == 0);
    // KVM_PFN_ERR_RO_FAULT: user space was to emulate the write.
    rule(id("MMU-SPTE-HOSTW"), !fault.write || !(model::slot_get(view_, fault.slot, SlotField::kFlags) &
                                                 model::kMemReadonly));
  }
  // A mirror entry is there for others before its S-EPT entry is.
  void frozen_first() {
    namespace x = f::cmpxchg_spte;
    if (!view_.vm.has_mirror || !same_kind() || !e_.has(x::new_spte)) return;
    rule(id("TDX-SEPT-ORDER"), !model::is_frozen_spte<>(view_.fmt, step_.predicted->f[x::new_spte]) ||
                                   !model::is_shadow_present_pte<>(e_.get(x::new_spte)));
  }
  // What only a fault that maps comes to.
  void goes_on() {
    if (step_.fault != nullptr && !same_kind()) fault_maps(step_.fault->gfn);
  }
  // Of the fault's results that come before a map, those that lead to one.
  bool a_map_is_due() const {
    if (step_.predicted == nullptr) return false;
    switch (step_.predicted->kind) {
      case K::kFaultStaleRet: return step_.predicted->f[f::fault_stale_ret::stale] == 0;
      case K::kFaultinRet: return step_.predicted->f[f::faultin_ret::ret] == 0;
      default: return true;
    }
  }

  void change_rules(uint64_t gfn, int level, uint64_t old_spte, uint64_t new_spte) {
    switch (model::first_broken_rule(view_.fmt, gfn, level, old_spte, new_spte)) {
      case model::ChangeRule::kNone: return;
      case model::ChangeRule::kLevel: return rule(id("MMU-SPTE-LEVEL"), false);
      case model::ChangeRule::kAlignment: return rule(id("MMU-SPTE-ALIGN"), false);
      case model::ChangeRule::kLeafPfnChanged: return rule(id("MMU-SPTE-PFN"), false);
      case model::ChangeRule::kNonpresentChange: return rule(id("MMU-SPTE-NONPRESENT"), false);
      case model::ChangeRule::kTableMoved: return rule(id("MMU-SPTE-TABLE"), false);
      case model::ChangeRule::kMmuWritable: return rule(id("MMU-SPTE-HOSTW"), false);
      case model::ChangeRule::kWritable: return rule(id("MMU-SPTE-MMUW"), false);
    }
  }

  void leaf(uint32_t as_id, uint64_t gfn, int level, uint64_t spte) {
    rule(id("MMU-PT-TREE"), invariant::leaf_level_allowed(level));
    rule(id("MMU-SPTE-RSVD"), invariant::within_maxphyaddr<>(spte, view_.host.maxphyaddr));
    rule(id("MMU-NX-EXEC"),
         invariant::nx_huge_leaf<>(view_.fmt, spte, level, view_.host.nx_huge_pages));
    tracked(as_id, gfn, spte);
    const uint32_t slot = model::gfn_to_memslot(view_, as_id, gfn);
    if (slot == model::kNoSlot) return;
    if (level == model::kPgLevel4K || level > model::kMaxHugepageLevel) return;
    rule(id("MMU-DIRTY-HUGE"),
         invariant::logged_leaf_small<>(spte, level, model::slot_dirty_track_enabled(view_, slot)));
    rule(id("MMU-FAULT-LEVELMAX"),
         model::lpage_max_level(view_, slot, gfn, level) >= level &&
             level <= view_.host.max_huge_page_level &&
             (step_.host_level == 0 || level <= step_.host_level));
    rule(id("MMU-ATTR-MIXED"),
         !(model::lpage_disallow(view_, slot, gfn, level) & model::kLpageMixed));
  }

  // A larger leaf than the model would have.
  void requested() {
    namespace x = f::spte_requested;
    rule(id("MMU-FAULT-ALIAS"),
         !model::is_gfn_alias<>(view_.vm.gfn_direct_bits, {e_.get(x::gfn)}));
    if (step_.fault == nullptr || same(x::level)) return;
    const int level = static_cast<int>(e_.get(x::level));
    if (level <= model::kPgLevel4K || level > model::kMaxHugepageLevel ||
        e_.get(x::level) <= step_.predicted->f[x::level]) {
      return;
    }
    const uint64_t gfn = step_.fault->gfn;
    const uint32_t slot = model::gfn_to_memslot(view_, fault_as_id(), gfn);
    if (slot == model::kNoSlot) return;
    rule(id("MMU-ATTR-MIXED"), !view_.vm.has_private_mem ||
                                   !(model::lpage_disallow(view_, slot, gfn, level) &
                                     model::kLpageMixed));
    rule(id("MMU-FAULT-LEVELMAX"), false);
  }
  uint32_t fault_as_id() const {
    const uint32_t root = model::vcpu_root(view_, step_.fault->vcpu, false);
    return root == kNoTable ? 0 : model::role_as_id(view_.role(root));
  }

  // What a fast page fault is seen to leave behind.
  void fast_fault() {
    namespace x = f::fast_page_fault;
    if (same(x::new_spte) || step_.fault == nullptr) return;
    const uint64_t spte = e_.get(x::new_spte);
    if (!model::is_shadow_present_pte<>(spte)) return;
    rule(id("MMU-SPTE-MMUW"), model::legal_writable<>(view_.fmt, spte));
    rule(id("MMU-SPTE-HOSTW"), model::legal_mmu_writable<>(view_.fmt, spte));
    tracked(fault_as_id(), step_.fault->gfn, spte);
  }
  void tracked(uint32_t as_id, uint64_t gfn, uint64_t spte) {
    const uint32_t slot = model::gfn_to_memslot(view_, as_id, gfn);
    if (slot == model::kNoSlot) return;
    const uint64_t page = gfn - model::slot_get(view_, slot, SlotField::kBase);
    const bool on = view_.store.get(model::cell::of(CellKind::kWriteTrack, slot, page)) != 0;
    // A fast page fault would make it writable.
    const bool mmu_writable =
        model::is_shadow_present_pte<>(spte) && model::is_mmu_writable_spte<>(view_.fmt, spte);
    rule(id("MMU-DIRTY-WRTRACK"),
         invariant::tracked_not_writable<>(spte, on) && !(on && mmu_writable));
  }

  void lock_of_change(bool shared) {
    if (shared) {
      rule(id("MMU-LOCK-SHARED"), !view_.locked_for_write());
    } else {
      rule(id("MMU-LOCK-EXCLUSIVE"), view_.locked_for_write());
    }
    rule(id("MMU-SPTE-FROZEN"),
         invariant::exclusive_finds_no_frozen<>(view_.fmt, e_.get(f::changed_spte::old_spte),
                                                shared));
  }

  void new_table() {
    namespace x = f::init_sp;
    if (step_.predicted == nullptr || step_.predicted->kind != K::kInitSp) {
      // A second root of a role that a valid root has: the first one was not to be had.
      for (uint32_t r = model::first_root(view_); r != kNoTable;
           r = model::list_next_root(view_, r)) {
        rule(id("MMU-ROOT-REUSE"), view_.role(r) != e_.get(x::role));
      }
      return;
    }
    rule(id("MMU-PT-TREE"), same(x::gfn) && same(x::role));
  }

  // Walks over roots, and recovery of single tables.
  void walks() {
    const bool locked = view_.locked();
    switch (e_.kind) {
      case K::kPutRoot:
        rule(id("MMU-ROOT-LASTREF"), e_.get(f::put_root::refs) != 1 ||
                                         role_invalid(f::put_root::role));
        break;
      case K::kZapRoot:
        rule(id("MMU-ROOT-ZAPREF"), !e_.has(f::zap_root::refs) || e_.get(f::zap_root::refs) != 0);
        rule(id("MMU-LOCK-MODE"), same(f::zap_root::shared));
        rule(id("MMU-ROOT-SCHEDULED"), same(f::zap_root::role) || role_invalid(f::zap_root::role));
        rule(id("MMU-LOCK-ANY"), step_.predicted != nullptr || locked);
        break;
      case K::kZapLeafsRoot:
        rule(id("MMU-ROOT-REF"),
             !e_.has(f::zap_leafs_root::refs) || e_.get(f::zap_leafs_root::refs) != 0);
        rule(id("MMU-LOCK-ANY"), step_.predicted != nullptr || locked);
        owed(f::zap_leafs_root::flush);
        if (view_.vm.has_mirror && step_.attr_filter != 0 && e_.has(f::zap_leafs_root::role)) {
          const bool mirror = model::role_mirror(static_cast<uint32_t>(e_.get(f::zap_leafs_root::role)));
          rule(id("MMU-MIRROR-FILTER"),
               step_.attr_filter & (mirror ? model::kFilterPrivate : model::kFilterShared));
        }
        break;
      case K::kRemovedPt: rule(id("MMU-LOCK-MODE"), same(f::removed_pt::shared)); break;
      case K::kTrySplit: rule(id("MMU-LOCK-MODE"), same(f::try_split::shared)); break;
      case K::kIterRestart:
        rule(id("MMU-WALK-PROGRESS"), same(f::iter_restart::next_gfn));
        break;
      case K::kInvalidateAllRoots:
        if (view_.vm.has_mirror && view_.field(CellKind::kMmReleased) == 0 &&
            !invariant::mirror_roots_stay<>(e_.get(f::invalidate_all_roots::root_types))) {
          rule(id("MMU-ROOT-MIRROR"), false);
          break;
        }
        rule(id("MMU-ROOT-INVLOCK"), view_.locked_for_write());
        break;
      case K::kZapInvalidatedRoots:
        if (view_.vm.has_mirror && e_.get(f::zap_invalidated_roots::shared) != 0) {
          rule(id("MMU-MIRROR-REMOVAL"), same(f::zap_invalidated_roots::shared));
        }
        break;
      case K::kMmuZapAllFast:
        rule(id("MMU-SLOT-ZAPLOCK"), view_.locked_for_write());
        break;
      case K::kZapInvalidatedRootsRet:
        rule(id("MMU-ROOT-PAGES"), !a_change_is_due());
        break;
      case K::kZapSp:
      case K::kZapNx: recovered_table(); break;
      default: break;
    }
  }
  // A flush that was owed is not any more, and nobody has flushed.
  void owed(size_t flush) { rule(id("MMU-TLB-COVERED"), e_.get(flush) != 0 || same(flush)); }
  bool role_invalid(size_t field) const {
    return !e_.has(field) || model::role_invalid(view_.design, static_cast<uint32_t>(e_.get(field)));
  }

  void recovered_table() {
    const uint32_t table = view_.store.find_table(e_.get(f::zap_sp::spt_pfn));
    const bool live = table != kNoTable;
    const auto state = live ? static_cast<model::SpState>(view_.field(CellKind::kSpState, table))
                            : model::SpState::kFree;
    if (state != model::SpState::kLinked) {
      rule(id("MMU-NX-GONE"), false);
      rule(id("MMU-NX-UNTRACK"), live);
      return;
    }
    if (view_.field(CellKind::kSpParent, table) == 0) {
      rule(id("MMU-NX-ROOT"), false);
      return;
    }
    rule(id("MMU-NX-FLAG"), view_.field(CellKind::kSpNx, table) != 0 ||
                                view_.field(CellKind::kNxOnList, table) != 0);
  }

  void faults() {
    switch (e_.kind) {
      case K::kTdpMap: {
        namespace x = f::tdp_map;
        rule(id("MMU-ROOT-INSTALL"),
             !e_.has(x::root_role) ||
                 !model::role_invalid(view_.design, static_cast<uint32_t>(e_.get(x::root_role))));
        rule(id("MMU-FAULT-ALIAS"),
             !model::is_gfn_alias<>(view_.vm.gfn_direct_bits, {e_.get(x::gfn)}));
        if (step_.fault != nullptr && !same_kind()) fault_maps(step_.fault->gfn);
        if (view_.vm.has_mirror && e_.has(x::addr)) mirror_fault();
        if (view_.vm.has_private_mem && e_.has(x::is_private)) {
          const uint64_t attributes = model::detail::mem_attr(view_, e_.get(x::gfn));
          rule(id("MMU-ATTR-LEAF"),
               invariant::kind_as_attributes_say<>(e_.get(x::is_private) != 0, attributes));
        }
        break;
      }
      case K::kTdpMapRet: {
        const uint64_t ret = e_.get(f::tdp_map_ret::ret);
        const bool fixed = step_.predicted != nullptr && step_.predicted->kind == K::kTdpMapRet &&
                           step_.predicted->f[0] == static_cast<uint64_t>(model::RetPf::kFixed);
        rule(id("MMU-FAULT-RET"), invariant::result_leaves_handler<>(ret));
        if (ret == static_cast<uint64_t>(model::RetPf::kFixed) && step_.fault != nullptr &&
            !same_kind()) {
          fault_maps(step_.fault->gfn);
        }
        if (step_.prefault) rule(id("MMU-FAULT-PREFAULT"), invariant::prefault_ends_with<>(ret));
        // Nobody else was at the entry, or the model would have lost its exchange too.
        rule(id("MMU-FAULT-LOOP"), !(fixed && ret == 1));
        rule(id("MMU-FAULT-SPURPERM"), !(fixed && ret == 6));
        break;
      }
      case K::kFaultStaleRet:
        rule(id("MMU-GMEM-LOCK"), !step_.populates || same_kind());
        rule(id("MMU-INV-RETRY"), invariant::open_invalidation_has_range<>(
                                      view_.field(CellKind::kInvalidateInProgress),
                                      view_.field(CellKind::kInvalidateStart)));
        if (step_.fault != nullptr && differs(f::fault_stale_ret::stale)) stale_otherwise();
        break;
      case K::kFaultinRet:
        // The page is asked for by who has it, and holds the file's lock.
        rule(id("MMU-GMEM-LOCK"), !step_.populates || same_kind());
        // It tries again inside the section of SRCU that the slot's update waits for.
        if (step_.fault != nullptr && differs(f::faultin_ret::ret) &&
            e_.get(f::faultin_ret::ret) == static_cast<uint64_t>(model::RetPf::kRetry)) {
          rule(id("MMU-LOCK-LIVE"), !tries_by_itself() || !slot_goes());
        }
        if (step_.fault != nullptr && differs(f::faultin_ret::ret) &&
            e_.get(f::faultin_ret::ret) == static_cast<uint64_t>(model::RetPf::kContinue)) {
          fault_maps(step_.fault->gfn);
        }
        break;
      default: break;
    }
  }

  bool same_kind() const { return step_.predicted != nullptr && step_.predicted->kind == e_.kind; }
  bool differs(size_t field) const { return !same_kind() || !same(field); }

  void stale_otherwise() {
    if (e_.get(f::fault_stale_ret::stale) == 0) return fault_maps(step_.fault->gfn);
    // Nothing is invalidated: its root is obsolete, and a pre-fault keeps that.
    rule(id("MMU-LOCK-LIVE"),
         !step_.fault->prefetch || view_.field(CellKind::kInvalidateInProgress) != 0);
  }
  // KVM_PRE_FAULT_MEMORY does, and tdx_handle_ept_violation() for private memory.
  bool tries_by_itself() const {
    return step_.fault->prefetch || (view_.vm.has_mirror && step_.fault->is_private);
  }
  bool slot_goes() const {
    const uint32_t slot = model::gfn_to_memslot(view_, fault_as_id(), step_.fault->gfn);
    return slot != model::kNoSlot && model::slot_get(view_, slot, SlotField::kInvalid) != 0;
  }

  void mirror_fault() {
    namespace x = f::tdp_map;
    const uint64_t bits = view_.vm.gfn_direct_bits;
    const bool direct = model::is_addr_direct<>(bits, model::Gpa<>{e_.get(x::addr)});
    rule(id("MMU-MIRROR-PRIVATE"), !e_.has(x::is_private) || direct != (e_.get(x::is_private) != 0));
    rule(id("MMU-FAULT-ADDR"), !e_.has(x::gfn) || ((e_.get(x::addr) >> model::kPageShift) & ~bits) ==
                                                      e_.get(x::gfn));
  }

  void ranges() {
    switch (e_.kind) {
      case K::kInvBegin: rule(id("MMU-INV-LOCK"), view_.locked_for_write()); break;
      case K::kInvAdd:
        rule(id("MMU-INV-ADD"),
             !e_.has(f::inv_add::in_progress) || e_.get(f::inv_add::in_progress) != 0);
        rule(id("MMU-INV-LOCK"), view_.locked_for_write());
        break;
      case K::kInvEnd:
        rule(id("MMU-INV-COUNT"),
             !e_.has(f::inv_end::in_progress) || e_.get_signed(f::inv_end::in_progress) > 0);
        rule(id("MMU-INV-EMPTY"), !e_.has(f::inv_end::rstart) || e_.get(f::inv_end::rstart) + 1 != 0);
        rule(id("MMU-INV-LOCK"), view_.locked_for_write());
        break;
      case K::kTdpUnmapGfnRangeRet:
      case K::kZapLeafsRootRet:
        rule(id("MMU-INV-DONE"), !a_change_is_due() && !a_root_is_due());
        owed(0);
        break;
      case K::kTdpUnmapGfnRange: owed(f::tdp_unmap_gfn_range::flush); break;
      case K::kZapLeafs: owed(f::zap_leafs::flush); break;
      case K::kPostSetAttr:
      case K::kSetMemAttrRet: rule(id("MMU-ATTR-LEAF"), !a_change_is_due()); break;
      case K::kGmemInvalidateEnd: rule(id("MMU-GMEM-TRUNC"), !a_change_is_due()); break;
      case K::kCommitMemslot:
        if (step_.removes_slot) rule(id("MMU-SLOT-FREED"), !a_change_is_due());
        break;
      case K::kSetMemslotRet:
        if (step_.removes_slot) rule(id("MMU-SLOT-FREED"), !a_change_is_due());
        if (step_.updates_slot) rule(id("MMU-SLOT-GMEM"), same(0) || e_.get_signed(0) != 0);
        break;
      default: break;
    }
  }

  const View& view_;
  const ObservedStep& step_;
  const trace::Event& e_;
  std::vector<Id> broken_;
};

}  // namespace

View view_of(const VmModel& v) {
  return {v.store, v.world.design, v.world.fmt, v.world.host, v.world.vm, v.world.platform};
}

std::vector<Id> broken_by(const View& view, const ObservedStep& step) {
  if (view.platform != nullptr) {
    if (std::vector<Id> broken = td_broken_by(view, step); !broken.empty()) return broken;
  }
  if (std::vector<Id> broken = Rules(view, step).broken(); !broken.empty()) return broken;
  if (std::vector<Id> broken = leaf_broken_by(view, step); !broken.empty()) return broken;
  return range_broken_by(view, step);
}

}  // namespace mmucheck::replay
