#include "checker/replay/td_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>

#include "checker/invariant/mirror_rule.h"
#include "checker/replay/gfn_walk.h"
#include "checker/replay/observed_rules.h"
#include "checker/replay/vm_state.h"

namespace mmucheck::replay {

using namespace model;  // NOLINT

namespace {

// The thread that is in a hook for this place, if one is.
std::string frozen_by(const VmModel& v, uint64_t gfn, int level) {
  std::map<uint32_t, TdxHook> hooks(v.env.hooks().begin(), v.env.hooks().end());
  for (const auto& [thread, hook] : hooks) {
    if (hook.pc != 0 && hook.level == level &&
        gfn_round_for_level<>(hook.gfn, level) == gfn_round_for_level<>(gfn, level)) {
      return fmt::format("frozen (thread {})", thread);
    }
  }
  return "frozen";
}

TdSide root_side(const VmModel& v, const GfnWalk& walk, uint64_t gfn, int level) {
  TdSide s;
  s.level = walk.top == 0 ? 0 : level;
  if (s.level == 0) return s;
  const uint64_t spte = walk.entry[level];
  s.what = spte_text(v, spte, level);
  s.empty = s.what == "---";
  if (is_frozen_spte<>(v.world.fmt, spte)) s.what = frozen_by(v, gfn, level);
  s.page = is_shadow_present_pte<>(spte);
  if (s.page) s.pfn = spte_to_pfn<>(spte);
  return s;
}

TdSide sept_side(const GfnWalk& walk, int level) {
  TdSide s;
  s.level = walk.top == 0 ? 0 : level;
  if (s.level == 0) return s;
  const uint64_t e = walk.entry[level];
  s.what = tdx::sept_state_name(e);
  s.empty = tdx::is_sept_free<>(e);
  s.page = !s.empty && !tdx::is_state<>(e, tdx::SeptEntryState::kRemoved);
  if (s.page) s.pfn = tdx::sept_hpa<>(e, level - 1) >> kPageShift;
  return s;
}

using Runs = std::vector<std::pair<uint64_t, uint64_t>>;  // sorted, ends exclusive

std::string attributes_of(const VmModel& v, const Runs& runs, uint64_t from, uint64_t to) {
  if (!v.world.vm.has_private_mem) return {};
  auto run = std::upper_bound(runs.begin(), runs.end(), from,
                              [](uint64_t gfn, const auto& r) { return gfn < r.second; });
  if (run == runs.end() || run->first >= to) return "shared";
  return run->first <= from && run->second >= to ? "private" : "mixed";
}

class SideBySide {
 public:
  SideBySide(const VmModel& v, TdState& s) : v_(v), s_(s) {}

  void run(uint64_t from, uint64_t to) {
    pick_roots();
    gather();
    module_fields();
    uint64_t end = uint64_t{1} << (9 * kMaxWalkLevel);
    if (v_.world.vm.gfn_direct_bits != 0) end = std::min(end, v_.world.vm.gfn_direct_bits);
    end = std::min(end, to);
    for (uint64_t gfn = from; gfn < end;) gfn = add_row(gfn);
  }

 private:
  void pick_roots() {
    for (uint32_t r = first_root(v_.world); r != kNoTable; r = list_next_root(v_.world, r)) {
      uint32_t& chosen = v_.world.is_mirror(r) ? mirror_ : direct_;
      const bool better =
          chosen == kNoTable || (v_.world.root_invalid(chosen) && !v_.world.root_invalid(r));
      if (better) chosen = r;
    }
    s_.has_direct = direct_ != kNoTable;
    s_.has_mirror = mirror_ != kNoTable;
    if (s_.has_direct) s_.direct_spt = v_.env.pfn(direct_) << kPageShift;
    if (s_.has_mirror) s_.mirror_spt = v_.env.pfn(mirror_) << kPageShift;
  }

  // Attributes, PAMT and TLB cells, wherever they are.
  void gather() {
    std::map<tdx::Pt, uint64_t> types;
    v_.store.for_each([](uint32_t) {},
                      [&](Cell c, uint64_t value) {
                        if (c.kind == CellKind::kMemAttr && value & kMemoryAttributePrivate) {
                          if (private_.empty() || private_.back().second != c.index) {
                            private_.emplace_back(c.index, c.index);
                          }
                          private_.back().second++;
                        } else if (c.kind == CellKind::kPamtType) {
                          types[static_cast<tdx::Pt>(value)]++;
                        } else if (c.kind == CellKind::kTlb) {
                          const auto table = static_cast<uint32_t>(c.index);
                          if (!v_.store.is_live(table)) return;
                          s_.cached.push_back({c.object, v_.env.pfn(table) << kPageShift});
                        }
                      });
    for (const auto& [type, count] : types) {
      if (type != tdx::Pt::kNda) s_.pamt.emplace_back(tdx::pt_name(type), count);
    }
    std::map<uint32_t, TdxHook> hooks(v_.env.hooks().begin(), v_.env.hooks().end());
    for (const auto& [thread, hook] : hooks) {
      if (hook.pc == 0) continue;
      s_.hooks.push_back(fmt::format("thread {} in a hook for {:x} {}: {:x} -> {:x}, {}", thread,
                                     hook.gfn, size_of(hook.level), hook.old_spte, hook.new_spte,
                                     tdx::leaf_info(hook.tdh.call.call.leaf).name));
    }
  }

  void module_fields() {
    s_.hkid_assigned = v_.world.field(CellKind::kHkidAssigned) != 0;
    s_.module = v_.world.platform != nullptr;
    if (!s_.module) return;
    const auto field = [&](CellKind kind, uint32_t object = 0, uint64_t index = 0) {
      return v_.store.get(cell::of(kind, object, index));
    };
    s_.sept_root = v_.world.platform->tds[0].sept_root << kPageShift;
    s_.lifecycle = tdx::kLifecycleNames.at(field(CellKind::kTdLifecycle));
    s_.op_state = tdx::kOpStateNames.at(field(CellKind::kTdOpState));
    s_.chldcnt = field(CellKind::kTdChldcnt);
    s_.epoch = field(CellKind::kTdEpoch);
    s_.inside_now = field(CellKind::kTdRefcount, 0, s_.epoch & 1);
    s_.inside_before = field(CellKind::kTdRefcount, 0, ~s_.epoch & 1);
    for (uint32_t i = 0; i < v_.world.platform->vcpus.size(); i++) {
      TdVcpu vcpu;
      vcpu.vcpu = i;
      const uint64_t assoc = field(CellKind::kTdvpsAssoc, i);
      vcpu.associated = assoc != 0;
      vcpu.cpu = assoc != 0 ? assoc - 1 : 0;
      vcpu.epoch = field(CellKind::kTdvpsEpoch, i);
      vcpu.inside = field(CellKind::kTdvpsInside, i) != 0;
      s_.vcpus.push_back(vcpu);
    }
  }

  // The row at `gfn`, unless nothing is there; answers where the next one begins.
  uint64_t add_row(uint64_t gfn) {
    const GfnWalk direct = walk_root(v_, direct_, gfn), mirror = walk_root(v_, mirror_, gfn),
               sept = walk_sept(v_, gfn);
    int size = kMaxWalkLevel;
    for (const GfnWalk* walk : {&direct, &mirror, &sept}) {
      if (walk->top != 0) size = std::min(size, walk->end);
    }
    TdRow row;
    row.gfn = gfn_round_for_level<>(gfn, size);
    row.npages = pages_per_hpage(size);
    const uint64_t next = row.gfn + row.npages;
    match(mirror, sept, row);
    const bool differs = row.match == MirrorMatch::kDiffer;
    row.direct = root_side(v_, direct, gfn, direct.end);
    row.mirror = root_side(v_, mirror, gfn, differs ? row.level : mirror.end);
    row.sept = sept_side(sept, differs ? row.level : sept.end);
    if (row.direct.empty && row.mirror.empty && row.sept.empty && !differs) return next;
    row.attributes = attributes_of(v_, private_, row.gfn, next);
    page_of(row, sept);
    if (s_.rows.empty() || !join(s_.rows.back(), row)) s_.rows.push_back(std::move(row));
    return next;
  }

  void match(const GfnWalk& mirror, const GfnWalk& sept, TdRow& row) const {
    if (mirror.top == 0 || sept.top == 0 || !s_.hkid_assigned) {
      row.match = MirrorMatch::kNotCompared;
      return;
    }
    for (int l = std::min(mirror.top, sept.top); l >= std::max(mirror.end, sept.end); l--) {
      row.level = l;
      if (is_frozen_spte<>(v_.world.fmt, mirror.entry[l])) {
        row.match = MirrorMatch::kFrozen;
        return;
      }
      const invariant::View view = view_of(v_);
      if (!invariant::mirror_agrees(view, l, mirror.entry[l], sept.entry[l]) &&
          !invariant::mirror_only_counted(view, l, mirror.entry[l], sept.entry[l])) {
        row.match = MirrorMatch::kDiffer;
        return;
      }
    }
    row.level = 0;
  }

  void page_of(TdRow& row, const GfnWalk& sept) const {
    const TdSide& side = row.sept.page ? row.sept : row.mirror;
    row.has_page = s_.module && side.page;
    if (!row.has_page) return;
    row.page = side.pfn;
    // The page that a mirror's table stands for is another one, which no entry names.
    if (!row.sept.page && side.what == "table") {
      row.has_page = false;
      return;
    }
    tdx::Pt type = tdx::Pt::kNda;
    int size = tdx::k1G;
    for (; size >= tdx::k4K; size--) {
      type =
          static_cast<tdx::Pt>(v_.store.get(tdx::pamt_cell(CellKind::kPamtType, size, row.page)));
      if (type != tdx::Pt::kNda) break;
    }
    row.pamt = tdx::pt_name(type);
    if (!row.sept.page || !tdx::sept_state_is_any_blocked<>(sept.entry[row.sept.level])) return;
    row.blocked = true;
    row.bepoch = v_.store.get(tdx::pamt_cell(CellKind::kPamtBepoch, std::max(size, 0), row.page));
    const auto inside = [&](uint64_t parity) {
      return v_.store.get(cell::of(CellKind::kTdRefcount, 0, parity));
    };
    row.tracked = tdx::is_tlb_tracked<>({s_.epoch, inside(0), inside(1)}, row.bepoch);
  }

  static bool same(const TdSide& a, const TdSide& b, uint64_t pages) {
    if (a.empty && b.empty) return (a.level == 0) == (b.level == 0);
    return a.level == b.level && a.empty == b.empty && a.what == b.what && a.page == b.page &&
           (!a.page || b.pfn == a.pfn + pages || (b.pfn == a.pfn && spans(a, pages)));
  }
  // One entry of a level that differs, cut in rows by what is below it.
  static bool spans(const TdSide& a, uint64_t pages) { return pages < pages_per_hpage(a.level); }

  static bool join(TdRow& row, const TdRow& next) {
    const bool one =
        row.gfn + row.npages == next.gfn && row.match == next.match && row.level == next.level &&
        row.pamt == next.pamt && row.blocked == next.blocked && row.bepoch == next.bepoch &&
        row.attributes == next.attributes && row.has_page == next.has_page &&
        same(row.direct, next.direct, row.npages) && same(row.mirror, next.mirror, row.npages) &&
        same(row.sept, next.sept, row.npages);
    if (one) row.npages += next.npages;
    return one;
  }

  const VmModel& v_;
  TdState& s_;
  uint32_t direct_ = kNoTable, mirror_ = kNoTable;
  Runs private_;
};

}  // namespace

TdState td_state_of(const VmModel& v, uint64_t from, uint64_t to) {
  TdState s;
  SideBySide(v, s).run(from, to);
  return s;
}

}  // namespace mmucheck::replay
