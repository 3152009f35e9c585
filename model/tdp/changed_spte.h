// model/tdp: handle_changed_spte and handle_removed_pt: what follows from a change of one entry,
// down through every table that it cuts off. Source: tdp_mmu.c (6.12: handle_changed_spte; 7.x:
// __handle_changed_spte, which also calls the external hook of a mirror entry). Before the single
// hook, the tracepoint of a removed leaf fires before its SEAMCALLs, and a mapping's hook is called
// by who sets the entry (set_spte.h).
//
// The recursion of the kernel is a stack of frames here, one a level. `result` is not 0 only when
// the hook of an atomic mirror change failed.
#pragma once

#include "model/tdp/mirror_order.h"
#include "model/tdp/tdx.h"
#include "model/vm/step.h"

namespace mmucheck::model {

struct ChangedSpte {
  struct Frame {
    uint64_t gfn = 0;
    uint64_t old_spte = 0;
    uint64_t new_spte = 0;
    uint32_t table = kNoTable;  // that holds the entry
    uint32_t child = kNoTable;  // that the change removes
    uint16_t index = 0;
    uint16_t next = 0;          // entry of `child` that is processed next
    int8_t level = 0;
    uint8_t stage = 0;
  };
  enum Stage : uint8_t {
    kEnter, kEntered, kInHook, kHooked, kTraced, kRemoveEntered, kChildren, kInFreeHook, kFreed,
    kParentHook, kParentHooked, kParentTrace, kInLateHook, kInBlockHook
  };
  uint8_t pc = 0;
  int8_t depth = -1;
  bool shared = false;
  bool hooked = false;  // the outermost change's hook was called already
  uint32_t as_id = 0;
  int32_t result = 0;
  Frame frames[6] = {};
};

template <class W>
ChangedSpte changed_spte(W& w, uint32_t table, uint32_t index, uint64_t gfn, int level,
                         uint64_t old_spte, uint64_t new_spte, bool shared) {
  ChangedSpte m;
  m.depth = 0;
  m.shared = shared;
  m.as_id = role_as_id(w.role(table));
  ChangedSpte::Frame& f = m.frames[0];
  f.gfn = gfn;
  f.old_spte = old_spte;
  f.new_spte = new_spte;
  f.table = table;
  f.index = static_cast<uint16_t>(index);
  f.level = static_cast<int8_t>(level);
  return m;
}

namespace detail {

inline const char* rule_id(ChangeRule rule) {
  switch (rule) {
    case ChangeRule::kNone: return "";
    case ChangeRule::kLevel: return "MMU-SPTE-LEVEL";
    case ChangeRule::kAlignment: return "MMU-SPTE-ALIGN";
    case ChangeRule::kLeafPfnChanged: return "MMU-SPTE-PFN";
    case ChangeRule::kNonpresentChange: return "MMU-SPTE-NONPRESENT";
    case ChangeRule::kTableMoved: return "MMU-SPTE-TABLE";
    case ChangeRule::kMmuWritable: return "MMU-SPTE-HOSTW";
    case ChangeRule::kWritable: return "MMU-SPTE-MMUW";
  }
  return "";
}

template <class W>
void update_page_stats(W& w, int level, uint64_t delta) {
  w.store.add(cell::of(CellKind::kPageStat, static_cast<uint32_t>(level)), delta);
}

template <class W>
void trace_spte_changed(W& w, const ChangedSpte& m, const ChangedSpte::Frame& f) {
  w.emit(ev::SpteChanged{m.as_id, f.gfn, f.level, f.old_spte, f.new_spte, f.table, f.index});
}

// Statistics and page hints that do not depend on order within the change.
template <class W>
void account_change(W& w, const ChangedSpte::Frame& f, const ChangeKind<>& k) {
  if (k.is_leaf != k.was_leaf) update_page_stats(w, f.level, k.is_leaf ? 1 : ~uint64_t{0});
  if (!w.design.pfn_dirty_accessed_hints || !k.was_leaf) return;
  const bool gone = !k.is_present || k.pfn_changed;
  if (is_dirty_spte<>(w.fmt, f.old_spte) && (gone || !is_dirty_spte<>(w.fmt, f.new_spte))) {
    w.emit(ev::PfnHint{true});
  }
  if (is_accessed_spte<>(w.fmt, f.old_spte) && (gone || !is_accessed_spte<>(w.fmt, f.new_spte))) {
    w.emit(ev::PfnHint{false});
  }
}

// Only tdp_mmu_set_spte_atomic() has a caller that can do without the change: anywhere else a
// failure of the hook means KVM_BUG_ON (handle_changed_spte).
template <class W>
void external_set_failed(W& w, ChangedSpte& m, int ret) {
  if (!hook_error_returns<>(w.design.hook_errors, ret != 0)) return;
  if (m.shared && m.depth == 0) {
    m.result = ret;
    return;
  }
  kvm_bug(w, "MMU-MIRROR-HOOK");
}

// Before the single hook a present mirror leaf stays what it is until it goes.
template <class W>
bool refuses_rewrite(const W& w, const ChangeKind<>& k) {
  return w.design.mirror_rewrite == MirrorRewrite::kBug && k.was_present && k.is_present;
}

template <class W>
void enter_hook(W& w, const ChangedSpte::Frame& f, bool shared) {
  w.env.before(Point::kHook, f.table, f.index);
  TdxHook& hook = w.env.hook();
  hook = {};
  hook.gfn = f.gfn;
  hook.table = f.table;
  hook.level = f.level;
  hook.shared = shared;
  hook.old_spte = f.old_spte;
  hook.new_spte = f.new_spte;
}

template <class W>
bool blocks_parent(const W& w, const ChangedSpte::Frame& f) {
  return blocks_entry_of_removed_table(w.design) && w.is_mirror(f.table) &&
         (w.platform == nullptr || is_hkid_assigned(w));
}

enum class NextChild : uint8_t { kChanged, kTableDone, kSpin };

// Freezes the next child of a removed table that must change and sets up its frame.
template <class W>
NextChild next_removed_child(W& w, ChangedSpte& m, ChangedSpte::Frame& f) {
  while (f.next < kSpteEntPerPage) {
    const uint32_t i = f.next++;
    uint64_t old_spte;
    if (m.shared) {
      w.env.before(Point::kXchg, f.child, i);
      old_spte = w.store.get(cell::pte(f.child, i));
      w.store.set(cell::pte(f.child, i), w.fmt.frozen);
      w.emit(ev::Store{f.child, i, old_spte, w.fmt.frozen, ev::How::kXchg});
      if (remover_spins<>(w.fmt, old_spte)) {
        // Another thread owns the entry: the kernel spins until it lets go.
        f.next--;
        return NextChild::kSpin;
      }
    } else {
      old_spte = w.read_spte(f.child, i);
      if (!is_shadow_present_pte<>(old_spte)) continue;
      const bool atomic = spte_need_atomic_write<>(w.fmt, old_spte, f.level - 1);
      if (atomic) {
        w.env.before(Point::kXchg, f.child, i);
        old_spte = w.store.get(cell::pte(f.child, i));
      }
      w.store.set(cell::pte(f.child, i), w.fmt.frozen);
      w.emit(ev::Store{f.child, i, old_spte, w.fmt.frozen,
                       atomic ? ev::How::kXchg : ev::How::kSet});
    }
    ChangedSpte::Frame& c = m.frames[m.depth + 1];
    c = {};
    c.table = f.child;
    c.index = static_cast<uint16_t>(i);
    c.level = static_cast<int8_t>(f.level - 1);
    c.gfn = entry_gfn<>({w.field(CellKind::kSpGfn, f.child)}, i, c.level).v;
    c.old_spte = old_spte;
    c.new_spte = w.fmt.frozen;
    return NextChild::kChanged;
  }
  return NextChild::kTableDone;
}

}  // namespace detail

// Does the outermost change call the hook that sets an entry? Tables that go have none.
inline bool needs_set_hook(const ChangedSpte& m) {
  const ChangedSpte::Frame& f = m.frames[0];
  const ChangeKind<> k = classify_change<>(f.old_spte, f.new_spte, f.level);
  return f.old_spte != f.new_spte && (k.was_present || k.is_present) && !change_removes_table<>(k);
}

struct HookAlone {
  uint8_t pc = 0;
  int32_t ret = 0;
};

// The hook of a mapping apart from the rest of the change, for designs that call it elsewhere.
template <class W>
Run call_set_hook(W& w, HookAlone& m, const ChangedSpte& change) {
  const ChangedSpte::Frame& f = change.frames[0];
  MMU_BEGIN(m);
  m.ret = 0;
  if (detail::refuses_rewrite(w, classify_change<>(f.old_spte, f.new_spte, f.level))) {
    kvm_bug(w, "MMU-MIRROR-REWRITE");
    m.ret = -5;
    return Run::kDone;
  }
  detail::enter_hook(w, f, change.shared);
  MMU_CALL(m, 1, set_external_spte(w, w.env.hook()));
  const int ret = w.env.hook().ret;
  m.ret = hook_error_returns<>(w.design.hook_errors, ret != 0) ? ret : 0;
  MMU_END(m);
}

template <class W>
Run handle_changed_spte(W& w, ChangedSpte& m) {
  using enum ChangedSpte::Stage;
  while (m.depth >= 0) {
    ChangedSpte::Frame& f = m.frames[m.depth];
    const ChangeKind<> k = classify_change<>(f.old_spte, f.new_spte, f.level);
    const bool mirror = w.is_mirror(f.table);
    const bool removes = change_removes_table<>(k);
    const bool late_trace = w.design.removal_trace == RemovalTrace::kAfterChildren;
    const bool hook_due = mirror && w.design.external_hook != ExternalHook::kNone && !removes &&
                          (k.was_present || k.is_present) && !(m.hooked && m.depth == 0);
    const bool late_hook = w.design.mirror_trace != MirrorTrace::kInFreeze;
    switch (f.stage) {
      case kEnter:
        f.stage = kEntered;
        w.emit(ev::ChangedSpte{f.table, f.index, m.as_id, f.gfn, f.level, f.old_spte, f.new_spte,
                               m.shared});
        if (w.pause()) return Run::kRan;
        [[fallthrough]];
      case kEntered: {
        const ChangeRule broken =
            first_broken_rule(w.fmt, f.gfn & ~w.vm.gfn_direct_bits, f.level, f.old_spte,
                              f.new_spte);
        if (broken != ChangeRule::kNone) w.warn(detail::rule_id(broken));
        if (f.old_spte == f.new_spte) {
          m.depth--;
          continue;
        }
        f.stage = kHooked;
        if (hook_due && detail::refuses_rewrite(w, k)) {
          kvm_bug(w, "MMU-MIRROR-REWRITE");
          detail::external_set_failed(w, m, -5);
          m.depth--;
          continue;
        }
        if (hook_due && !late_hook) {
          f.stage = kInHook;
          detail::enter_hook(w, f, m.shared);
        }
        continue;
      }
      case kInHook:
        if (const Run r = set_external_spte(w, w.env.hook()); r != Run::kDone) return r;
        f.stage = kHooked;
        if (w.env.hook().ret != 0) {
          detail::external_set_failed(w, m, w.env.hook().ret);
          if (w.design.hook_errors == HookErrors::kReturned) m.depth--;
        }
        continue;
      case kInLateHook:
        if (const Run r = set_external_spte(w, w.env.hook()); r != Run::kDone) return r;
        if (w.env.hook().ret != 0) detail::external_set_failed(w, m, w.env.hook().ret);
        m.depth--;
        continue;
      case kHooked:
        f.stage = kTraced;
        if (!late_trace || !removes) {
          detail::trace_spte_changed(w, m, f);
          if (w.pause()) return Run::kRan;
        }
        [[fallthrough]];
      case kTraced:
        if (!k.was_present && !k.is_present) {
          m.depth--;
          continue;
        }
        detail::account_change(w, f, k);
        if (!removes) {
          if (hook_due && late_hook) {
            f.stage = kInLateHook;
            detail::enter_hook(w, f, m.shared);
          } else {
            m.depth--;
          }
          continue;
        }
        f.child = w.store.find_table(spte_to_pfn<>(f.old_spte));
        if (f.child == kNoTable) {
          w.warn("MMU-PT-CHILD");
          m.depth--;
          continue;
        }
        f.stage = kRemoveEntered;
        w.emit(ev::RemovedPt{f.child, m.shared});
        if (w.pause()) return Run::kRan;
        [[fallthrough]];
      case kRemoveEntered:
        f.stage = kChildren;
        w.emit(ev::PrepareZapPage{f.child, w.field(CellKind::kSpGfn, f.child), w.role(f.child)});
        tdp_mmu_unlink_sp(w, f.child);
        if (detail::blocks_parent(w, f)) {
          f.stage = kInBlockHook;
          detail::enter_hook(w, f, m.shared);
        }
        if (w.pause()) return Run::kRan;
        continue;
      case kInBlockHook:
        if (const Run r = block_external_spt(w, w.env.hook()); r != Run::kDone) return r;
        f.stage = kParentTrace;
        call_rcu_free_sp(w, f.child);
        w.set_field(CellKind::kSpState, f.child, static_cast<uint64_t>(SpState::kToReap));
        if (w.pause()) return Run::kRan;
        continue;
      case kChildren:
        switch (detail::next_removed_child(w, m, f)) {
          case detail::NextChild::kSpin: return Run::kBlocked;
          case detail::NextChild::kChanged: m.depth++; continue;
          case detail::NextChild::kTableDone: break;
        }
        f.stage = kFreed;
        if (w.is_mirror(f.child)) {
          f.stage = kInFreeHook;
          w.env.hook() = {};
        }
        continue;
      case kInFreeHook:
        if (const Run r = free_external_spt(w, w.env.hook(), f.child); r != Run::kDone) return r;
        f.stage = kFreed;
        [[fallthrough]];
      case kFreed:
        f.stage = mirror && w.design.external_hook == ExternalHook::kEveryChange ? kParentHook
                                                                                 : kParentTrace;
        call_rcu_free_sp(w, f.child);
        if (w.pause()) return Run::kRan;
        continue;
      case kParentHook:  // what had to be done is done already
        f.stage = kParentHooked;
        w.emit(ev::ExternalSet{f.gfn, f.level, f.old_spte, f.new_spte});
        if (w.pause()) return Run::kRan;
        [[fallthrough]];
      case kParentHooked:
        f.stage = kParentTrace;
        w.emit(ev::ExternalSetRet{0, m.shared});
        if (w.pause()) return Run::kRan;
        [[fallthrough]];
      case kParentTrace:
      default:
        m.depth--;
        if (late_trace) {
          detail::trace_spte_changed(w, m, f);
          if (w.pause()) return Run::kRan;
        }
    }
  }
  return Run::kDone;
}

}  // namespace mmucheck::model
