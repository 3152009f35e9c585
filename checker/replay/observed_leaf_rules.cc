// What a fault was seen to map against what it was to map, and which entries were seen to outlive
// what they were under.
#include "checker/replay/observed_rules.h"
#include "checker/trace/event_kinds.h"
#include "model/spte/change.h"
#include "model/tdp/page_table.h"

namespace mmucheck::replay {

using invariant::Id;
using invariant::id;
using invariant::View;
using model::CellKind;
using model::kNoTable;
using K = trace::EventKind;
namespace f = trace::f;

namespace {

class LeafRules {
 public:
  LeafRules(const View& view, const ObservedStep& step)
      : view_(view), step_(step), e_(step.seen), p_(step.predicted) {}

  std::vector<Id> broken() {
    switch (e_.kind) {
      case K::kChangedSpte:
        rule(id("MMU-PT-ALIAS"), step_.fault == nullptr || !differs(f::changed_spte::as_id));
        entry(f::changed_spte::gfn, f::changed_spte::level, f::changed_spte::new_spte);
        break;
      case K::kSpteChanged:
        rule(id("MMU-PT-ALIAS"), step_.fault == nullptr || !differs(f::spte_changed::as_id));
        entry(f::spte_changed::gfn, f::spte_changed::level, f::spte_changed::new_spte);
        break;
      case K::kSetSpte:
        rule(id("MMU-FAULT-ADDR"), !differs(f::set_spte::gfn));
        entry(f::set_spte::gfn, f::set_spte::level, f::set_spte::spte);
        break;
      case K::kCmpxchgSpte:
        entry(f::cmpxchg_spte::gfn, f::cmpxchg_spte::level, f::cmpxchg_spte::new_spte);
        break;
      case K::kTdpMap:
        rule(id("MMU-FAULT-ADDR"), !differs(f::tdp_map::gfn));
        rule(id("MMU-FAULT-PFN"), !differs(f::tdp_map::pfn));
        rule(id("MMU-SPTE-HOSTW"), !differs(f::tdp_map::map_writable) ||
                                       e_.f[f::tdp_map::map_writable] == 0);
        break;
      case K::kSpteRequested:
        rule(id("MMU-FAULT-ADDR"), !differs(f::spte_requested::gfn));
        rule(id("MMU-FAULT-PFN"), !differs(f::spte_requested::pfn));
        break;
      case K::kFastPageFault: made_writable(); break;
      case K::kCheckMmioSpte: mmio_entry(); break;
      case K::kHandleMmioPageFault:
        // The entry was to be made again, or the gfn has memory by now.
        rule(id("MMU-MMIO-GEN"), step_.fault == nullptr || same_kind());
        break;
      case K::kRcuFreeSp: freed(); break;
      default: break;
    }
    if (broken_.empty()) outlived();
    return std::move(broken_);
  }

 private:
  void rule(Id rule, bool holds) {
    if (!holds) broken_.push_back(rule);
  }
  bool same_kind() const { return p_ != nullptr && p_->kind == e_.kind; }
  bool same(size_t i) const { return !e_.has(i) || !p_->has(i) || e_.f[i] == p_->f[i]; }
  bool differs(size_t i) const { return same_kind() && !same(i); }

  // Of the entry that was due.
  void entry(size_t gfn, size_t level_at, size_t spte_at) {
    if (!same_kind() || !same(gfn) || !same(level_at) || !e_.has(spte_at) || !p_->has(spte_at)) return;
    const int level = static_cast<int>(p_->f[level_at]);
    const uint64_t seen = e_.f[spte_at], due = p_->f[spte_at];
    const bool present = model::is_shadow_present_pte<>(seen);
    const bool due_present = model::is_shadow_present_pte<>(due);
    if (present && !due_present && step_.zaps) {
      rule(step_.removes_slot ? id("MMU-SLOT-FREED") : id("MMU-INV-DONE"), false);
    }
    if (!present || !due_present) return;
    const bool leaf = model::is_last_spte<>(seen, level);
    if (leaf != model::is_last_spte<>(due, level)) return;
    if (!leaf) return linked(seen, level, p_->f[gfn] & ~view_.vm.gfn_direct_bits);
    rule(id("MMU-NX-EXEC"),
         invariant::nx_huge_leaf<>(view_.fmt, seen, level, view_.host.nx_huge_pages) ||
             !invariant::nx_huge_leaf<>(view_.fmt, due, level, view_.host.nx_huge_pages));
    const uint64_t host = view_.fmt.host_writable;
    const uint64_t writable = model::kPtWritable | view_.fmt.mmu_writable;
    rule(id("MMU-SPTE-HOSTW"), (due & host) != 0 || (seen & writable) == 0);
    if (model::spte_to_pfn<>(seen) == model::spte_to_pfn<>(due)) return;
    rule(step_.fault != nullptr ? id("MMU-FAULT-PFN") : id("MMU-FAULT-CONGRUENT"), false);
  }

  // To another table than the new one.
  void linked(uint64_t spte, int level, uint64_t gfn) {
    const uint32_t table = view_.store.find_table(model::spte_to_pfn<>(spte));
    if (table == kNoTable) return;  // MMU-PT-CHILD
    rule(id("MMU-PT-TREE"), model::role_level(view_.role(table)) == level - 1 &&
                                view_.field(CellKind::kSpGfn, table) == gfn);
  }

  // An entry that nobody may make writable without mmu_lock.
  void made_writable() {
    namespace x = f::fast_page_fault;
    if (!differs(x::fixed) || e_.f[x::fixed] == 0 || !p_->has(x::old_spte)) return;
    const uint64_t old_spte = p_->f[x::old_spte];
    rule(id("MMU-SPTE-MMUW"), !model::is_shadow_present_pte<>(old_spte) ||
                                  model::is_mmu_writable_spte<>(view_.fmt, old_spte));
  }

  void mmio_entry() {
    namespace x = f::check_mmio_spte;
    if (!e_.has(x::valid) || e_.f[x::valid] == 0) return;
    const bool shows_both = e_.has(x::kvm_gen) && e_.has(x::spte_gen);
    rule(id("MMU-MMIO-GEN"), !differs(x::valid) &&
                                 (!shows_both || e_.f[x::kvm_gen] == e_.f[x::spte_gen]));
  }

  // What is reachable, or still has what it mapped, goes back.
  void freed() {
    namespace x = f::rcu_free_sp;
    if (!e_.has(x::spt_pfn)) return;
    const uint32_t table = view_.store.find_table(e_.f[x::spt_pfn]);
    rule(id("MMU-PT-TREE"), table == kNoTable ||
                                view_.field(CellKind::kSpState, table) !=
                                    static_cast<uint64_t>(model::SpState::kLinked));
  }

  // handle_removed_pt: entries of a table that was removed are due, and what comes instead is of a
  // table above it, of the table as a whole, or of one of its later entries.
  void outlived() {
    namespace x = f::changed_spte;
    if (p_ == nullptr || p_->kind != K::kChangedSpte) return;
    const uint32_t table = view_.store.find_table(p_->f[x::spt_pfn]);
    if (table == kNoTable || view_.field(CellKind::kSpState, table) !=
                                 static_cast<uint64_t>(model::SpState::kRemoved)) {
      return;
    }
    const int level = static_cast<int>(p_->f[x::level]);
    const auto index = [&](uint64_t gfn) { return model::spte_index<>(gfn, level); };
    const auto any_present = [&](uint64_t end) {
      for (uint64_t i = index(p_->f[x::gfn]); i < end; i++) {
        if (model::is_shadow_present_pte<>(view_.store.get(model::cell::pte(table, i)))) return true;
      }
      return false;
    };
    const bool later = e_.kind == K::kChangedSpte && e_.has(x::level) && e_.has(x::gfn) &&
                       e_.f[x::level] == p_->f[x::level] && e_.f[x::gfn] > p_->f[x::gfn];
    if (later) return rule(id("MMU-PT-TREE"), !any_present(index(e_.f[x::gfn])));
    const bool above =
        e_.kind == K::kChangedSpte && e_.has(x::level) && e_.f[x::level] > p_->f[x::level];
    const bool table_goes = e_.kind == K::kRcuFreeSp || e_.kind == K::kPutRoot ||
                            e_.kind == K::kMockFreeExternal ||
                            e_.kind == K::kZapInvalidatedRootsRet;
    if (above || table_goes) rule(id("MMU-PT-TREE"), !any_present(model::kSpteEntPerPage));
  }

  const View& view_;
  const ObservedStep& step_;
  const trace::Event& e_;
  const Predicted* p_;
  std::vector<Id> broken_;
};

}  // namespace

std::vector<Id> leaf_broken_by(const View& view, const ObservedStep& step) {
  return LeafRules(view, step).broken();
}

}  // namespace mmucheck::replay
