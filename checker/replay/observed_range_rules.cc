// What functions were seen to be called with, against what the model calls them with: a range that is
// too small leaves out what was due, one that is too large takes what was not; an invalidation that is
// told wrongly hides from the faults that look at it.
#include "checker/replay/observed_rules.h"
#include "checker/trace/event_kinds.h"
#include "model/tdp/kvm_invalidate.h"

namespace mmucheck::replay {

using invariant::Id;
using invariant::id;
using invariant::View;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

class RangeRules {
 public:
  RangeRules(const View& view, const ObservedStep& step)
      : view_(view), step_(step), e_(step.seen), p_(*step.predicted) {}

  std::vector<Id> broken() {
    switch (e_.kind) {
      case K::kUnmapGfnRange:
        unmap(f::unmap_gfn_range::start, f::unmap_gfn_range::end);
        filter(f::unmap_gfn_range::attr_filter);
        break;
      case K::kTdpUnmapGfnRange:
        unmap(f::tdp_unmap_gfn_range::start, f::tdp_unmap_gfn_range::end);
        filter(f::tdp_unmap_gfn_range::attr_filter);
        break;
      case K::kMmuUnmapGfnRange:
        unmap(f::mmu_unmap_gfn_range::start, f::mmu_unmap_gfn_range::end);
        filter(f::mmu_unmap_gfn_range::attr_filter);
        break;
      case K::kZapLeafsRoot:
        unmap(f::zap_leafs_root::start, f::zap_leafs_root::end);
        references(f::zap_leafs_root::refs);
        break;
      case K::kZapLeafs: unmap(f::zap_leafs::start, f::zap_leafs::end); break;
      case K::kZapRoot: references(f::zap_root::refs); break;
      case K::kPutRoot: references(f::put_root::refs); break;
      case K::kIterStart: walk(); break;
      default:
        invalidation();
        attributes();
        protection();
        break;
    }
    return std::move(broken_);
  }

 private:
  void rule(Id rule, bool holds) {
    if (!holds) broken_.push_back(rule);
  }
  bool both(size_t i) const { return e_.has(i) && p_.has(i); }
  bool differs(size_t i) const { return both(i) && e_.f[i] != p_.f[i]; }
  bool less(size_t i) const { return both(i) && e_.f[i] < p_.f[i]; }
  bool more(size_t i) const { return both(i) && e_.f[i] > p_.f[i]; }
  // Some of what was due is not in it, or something is that was not due.
  bool narrower(size_t start, size_t end) const { return more(start) || less(end); }
  bool wider(size_t start, size_t end) const { return less(start) || more(end); }

  void unmap(size_t start, size_t end) {
    rule(step_.removes_slot ? id("MMU-SLOT-FREED") : id("MMU-INV-DONE"), !narrower(start, end));
    rule(id("MMU-ZAP-PRECISE"), !wider(start, end));
  }
  // Whoever is asked for both kinds where one was due, or for the other one.
  void filter(size_t at) {
    if (!view_.vm.has_mirror || !differs(at)) return;
    rule(id("MMU-MIRROR-FILTER"), (e_.f[at] & ~p_.f[at]) == 0);
    rule(id("MMU-INV-DONE"), (p_.f[at] & ~e_.f[at]) == 0);
  }
  // Fewer than are held: somebody has none of his own. More, when nobody is left: the root stays.
  void references(size_t refs) {
    rule(id("MMU-ROOT-REF"), !less(refs));
    rule(id("MMU-ROOT-LEAK"), view_.field(model::CellKind::kMmReleased) == 0 || !more(refs));
  }
  void walk() {
    namespace x = f::iter_start;
    const bool changes = step_.zaps || step_.harvests_log || step_.starts_log;
    rule(id("MMU-WALK-COVER"), !changes || !(more(x::start) || more(x::min_level)));
  }

  // What faults look at (mmu_invalidate_retry_gfn): how many are open, for which gfns, and how many
  // there have been.
  void invalidation() {
    switch (e_.kind) {
      case K::kInvBegin:
        rule(id("MMU-INV-COUNT"), !differs(f::inv_begin::in_progress));
        rule(id("MMU-INV-RETRY"), !less(f::inv_begin::seq));
        break;
      case K::kInvAdd:
        rule(id("MMU-INV-COUNT"), !differs(f::inv_add::in_progress));
        rule(id("MMU-INV-RETRY"),
             !narrower(f::inv_add::start, f::inv_add::end) && !less(f::inv_add::seq));
        break;
      case K::kInvEnd:
        rule(id("MMU-INV-COUNT"), !differs(f::inv_end::in_progress));
        rule(id("MMU-INV-RETRY"),
             !narrower(f::inv_end::rstart, f::inv_end::rend) && !less(f::inv_end::seq));
        break;
      default: break;
    }
  }

  void attributes() {
    switch (e_.kind) {
      case K::kPreSetAttr:
        rule(id("MMU-ATTR-LEAF"), !narrower(f::pre_set_attr::start, f::pre_set_attr::end));
        break;
      case K::kPostSetAttr:
        rule(id("MMU-ATTR-MIXED"), !narrower(f::post_set_attr::start, f::post_set_attr::end));
        break;
      case K::kGmemInvalidate:
        rule(id("MMU-GMEM-TRUNC"), !narrower(f::gmem_invalidate::start, f::gmem_invalidate::end));
        break;
      default: break;
    }
  }

  // Leafs below the level, or outside the range, stay writable, or dirty.
  void protection() {
    switch (e_.kind) {
      case K::kWrprotSlot: logged(more(f::wrprot_slot::min_level)); break;
      case K::kWrprotRange:
        logged(more(f::wrprot_range::min_level) ||
               narrower(f::wrprot_range::start, f::wrprot_range::end));
        break;
      case K::kClearDirtyRange:
        logged(narrower(f::clear_dirty_range::start, f::clear_dirty_range::end));
        break;
      default: break;
    }
  }
  void logged(bool left_out) { rule(id("MMU-DIRTY-LOST"), !left_out); }

  const View& view_;
  const ObservedStep& step_;
  const trace::Event& e_;
  const Predicted& p_;
  std::vector<Id> broken_;
};

}  // namespace

std::vector<Id> range_broken_by(const View& view, const ObservedStep& step) {
  if (step.predicted == nullptr || step.predicted->kind != step.seen.kind) return {};
  return RangeRules(view, step).broken();
}

}  // namespace mmucheck::replay
