#include "tools/import/ftrace/profile.h"

#include <bit>

#include "checker/trace/event_kinds.h"
#include "tools/import/ftrace/parser.h"

namespace mmucheck::import {
namespace {

using trace::Event;
using trace::EventKind;
namespace f = trace::f;

constexpr uint64_t kPfnMask = 0x000ffffffffff000u;
constexpr uint64_t kPresent = 1u << 11;
constexpr uint64_t kLargePage = 1u << 7;
constexpr uint64_t kBase4 = 0xffff888000000000u;  // Documentation/arch/x86/x86_64/mm.rst
constexpr uint64_t kBase5 = 0xff11000000000000u;
constexpr uint64_t kFrozen612 = 0x80000000000005a0u;
constexpr uint64_t kFrozen72 = 0x80000000000001a0u;
constexpr size_t kMaxBases = 64;

// Signs are plenty; after so many the costly ones are no longer read.
constexpr uint64_t kEnough = 4096;

// MAXPHYADDR where nothing tells otherwise. An entry below a 5-level root may lie beyond; a single
// line that says so may be damaged.
constexpr int kUsualPhysBits = 48;
constexpr int kMaxPhysBits = 52;
constexpr uint32_t kHighGfnsWanted = 4;

}  // namespace

void Profiler::vote_base(uint64_t va, uint64_t pa) {
  const uint64_t base = va - pa;
  // The kernel places the direct map at a multiple of 1 GiB (kaslr.c: PUD alignment).
  if (va < pa || (base & 0x3fffffff) != 0 || base < 0xff00000000000000u) return;
  if (base_votes_.size() < kMaxBases || base_votes_.contains(base)) ++base_votes_[base];
}

void Profiler::see_role(uint64_t role) {
  // Level 3:0, direct 7; then cr0_wp/efer_nx positions differ: 0x3784 on 6.12, 0x6f84 on 7.2.
  if ((role & 0x6700) == 0x2700 && (role & 0x1000) != 0) ++by_role_[0];
  if ((role & 0x6f00) == 0x6f00) ++by_role_[1];
  const uint32_t level = static_cast<uint32_t>(role & 15);
  if (level <= 5 && level > max_level_) max_level_ = level;
}

// No walk goes beyond kvm_mmu_max_gfn(): an entry that changed says how wide the host's addresses
// are at least. Of a TD of GPAW 52 the shared half, with bit 51 in its raw gfns, needs all 52 bits.
void Profiler::see_gfn(uint64_t gfn) {
  if (gfn >> (kUsualPhysBits - 12) == 0 || gfn >> (kMaxPhysBits - 12) != 0) return;
  ++high_gfns_;
  if (gfn > highest_gfn_) highest_gfn_ = gfn;
}

void Profiler::see_spte(uint64_t old_spte, uint64_t new_spte, uint64_t level) {
  if (level <= 5 && level > max_level_) max_level_ = static_cast<uint32_t>(level);
  if (new_spte == kFrozen612) ++by_frozen_[0];
  if (new_spte == kFrozen72) ++by_frozen_[1];
  for (const uint64_t spte : {old_spte, new_spte}) {
    if ((spte & kPresent) == 0) continue;
    const bool leaf = level == 1 || (spte & kLargePage) != 0;
    const bool suppress_ve = (spte >> 63) != 0;
    if (leaf) {
      if (suppress_ve && (spte >> 3 & 7) == 6) {
        ++ept_;
        if (!profile_.memtype_bits) profile_.memtype_bits = spte & 0x78;
      } else if (!suppress_ve && (spte & 5) == 5) {
        ++npt_;
      }
    } else if ((spte & 0xfff) == 0x827) {
      ++npt_;
    } else if (suppress_ve && (spte & 0x8ff) == 0x807) {
      ++ept_;
    }
    if (suppress_ve) {
      if ((spte >> 52 & 3) == 1) ++no_ad_612_;
      if ((spte >> 60 & 3) == 1) ++no_ad_72_;
    }
  }
}

// Whether an event of `kind` can still teach something.
bool Profiler::wanted(EventKind kind, bool first) const {
  if (first) return true;
  const bool format_open = npt_ + ept_ <= kEnough;
  const bool base_open = base_votes_.size() != 1 || base_votes_.begin()->second <= kEnough;
  switch (kind) {
    // They carry facts of single VMs, keep the pairs below in step, or are rare.
    case EventKind::kInitVm:
    case EventKind::kDestroyVm:
    case EventKind::kCreateVcpu:
    case EventKind::kAllocRoot:
    case EventKind::kMnInvStart:
    case EventKind::kMnInvEnd:
    case EventKind::kInvBegin:
    case EventKind::kInitSp:
    case EventKind::kClearDirtyPt:
    case EventKind::kZapRoot:
    case EventKind::kGetPage: return true;
    case EventKind::kTdpMap: return !profile_.mirrors.empty() || format_open;
    case EventKind::kSpteChanged: return max_level_ == 5 || format_open;
    case EventKind::kSpteRequested:
    case EventKind::kIterStart: return format_open;
    case EventKind::kSetSpte:
    case EventKind::kFastPageFault: return format_open || base_open;
    case EventKind::kChangedSpte: return max_level_ == 5 || format_open || base_votes_.size() != 1;
    default: return false;
  }
}

void Profiler::see(const Line& line) {
  switch (line.kind) {
    case LineKind::kEntries:
      profile_.has_header = true;
      profile_.header_kept = line.a;
      profile_.header_written = line.b;
      return;
    case LineKind::kLost:
      profile_.lost_lines = true;
      if (line.has_count) profile_.lost_count += line.a;
      return;
    case LineKind::kEvent: break;
    default: return;
  }
  const EventKind kind = parser().kind_of(line.event);
  if (kind == EventKind::kNone) return;
  const bool first = !profile_.kinds.test(static_cast<size_t>(kind));
  if (line.counter_clock) profile_.counter_clock = true;
  if (!wanted(kind, first)) return;
  if (parser().parse(line, kind, raw_) != ParseResult::kOk) return;
  profile_.kinds.set(static_cast<size_t>(kind));
  see_event(raw_, line);
}

void Profiler::see_event(RawEvent& raw, const Line& line) {
  const Event& e = raw.event;
  if (raw.kvm != 0) vms_.see(raw.kvm, e.kind);
  for (uint32_t bits = raw.va_pfn | raw.va; bits != 0; bits &= bits - 1) {
    const uint64_t va = e.get(static_cast<size_t>(__builtin_ctz(bits)));
    if (va < lowest_table_) lowest_table_ = va;
  }
  ThreadNotes& thread = threads_.of(e);
  switch (e.kind) {
    case EventKind::kChangedSpte: {
      namespace c = f::changed_spte;
      if (line.body.starts_with("(handle_changed_spte")) ++by_probe_[0];
      if (line.body.starts_with("(__handle_changed_spte")) ++by_probe_[1];
      see_spte(e.get(c::old_spte), e.get(c::new_spte), e.get(c::level));
      see_gfn(e.get(c::gfn));
      // The link of a new table follows its init_sp in the same thread.
      if (thread.pending_spt != 0) {
        if (e.get(c::new_spte) & kPresent) {
          vote_base(thread.pending_spt, e.get(c::new_spte) & kPfnMask);
        }
        thread.pending_spt = 0;
      }
      break;
    }
    case EventKind::kSpteChanged: {
      namespace c = f::spte_changed;
      see_spte(e.get(c::old_spte), e.get(c::new_spte), e.get(c::level));
      see_gfn(e.get(c::gfn));
      break;
    }
    case EventKind::kSpteRequested: ++by_text_[e.has(f::spte_requested::access) ? 1 : 0]; break;
    case EventKind::kGetPage: {
      namespace c = f::get_page;
      if (e.has(c::role)) see_role(e.get(c::role));
      if (e.has(c::access)) ++by_text_[(e.get(c::access) & 8) != 0 ? 1 : 0];
      if (e.has(c::ad)) (e.get(c::ad) != 0 ? saw_ad_ : saw_not_ad_) = true;
      if (e.get(c::level) <= 5 && e.get(c::level) > max_level_) {
        max_level_ = static_cast<uint32_t>(e.get(c::level));
      }
      break;
    }
    case EventKind::kInitSp: {
      namespace c = f::init_sp;
      see_role(e.get(c::role));
      thread.pending_spt = e.has(c::sptep) ? e.get(c::spt_pfn) : 0;
      break;
    }
    case EventKind::kSetSpte:
      places_[e.get(f::set_spte::gfn) % places_.size()] = {e.get(f::set_spte::gfn),
                                                           e.get(f::set_spte::sptep)};
      break;
    case EventKind::kFastPageFault: {
      namespace c = f::fast_page_fault;
      const uint64_t va = e.get(c::sptep);
      see_spte(e.get(c::old_spte), e.get(c::new_spte), 1);  // a present one is a leaf
      if (va == 0) break;
      const uint64_t gfn = e.get(c::address) >> 12;
      const EntryPlace& place = places_[gfn % places_.size()];
      if (place.gfn == gfn && place.pa != 0) vote_base(va, place.pa);
      break;
    }
    case EventKind::kIterStart: see_role(e.get(f::iter_start::role)); break;
    case EventKind::kMnInvStart: thread.pending_mn = raw.mn; break;
    case EventKind::kMnInvEnd: thread.pending_mn = 0; break;
    case EventKind::kInvBegin:
      if (thread.pending_mn != 0 && thread.pending_mn > raw.kvm &&
          thread.pending_mn - raw.kvm < 65536 && !profile_.notifier_offset) {
        profile_.notifier_offset = thread.pending_mn - raw.kvm;
      }
      thread.pending_mn = 0;
      break;
    case EventKind::kClearDirtyPt:
      if (e.has(f::clear_dirty_pt::wrprot) && e.get(f::clear_dirty_pt::wrprot) == 0) {
        profile_.pml = true;
      }
      break;
    case EventKind::kZapRoot:
      profile_.zap_levels |= 1u << (e.get(f::zap_root::zap_level) & 7);
      break;
    case EventKind::kAllocRoot:
      see_role(e.get(f::alloc_root::root_role));
      if (e.get(f::alloc_root::mirror) != 0 && profile_.mirrors.size() < kMaxTracked) {
        MirrorFacts& facts = profile_.mirrors[{raw.kvm, vms_.generation(raw.kvm)}];
        facts.mirror = true;
        // The shared bit is the highest that the S-EPT's levels do not need (tdx.c: GPAW 48 has 4
        // levels, GPAW 52 has 5).
        const uint64_t level = e.get(f::alloc_root::root_role) & 15;
        if (facts.direct_gfn_bits == 0) facts.direct_gfn_bits = uint64_t{1} << (level == 5 ? 39 : 35);
      }
      break;
    case EventKind::kTdpMap: {
      namespace c = f::tdp_map;
      if (!profile_.nx_workaround) profile_.nx_workaround = e.get(c::nx_workaround) != 0;
      const auto it = profile_.mirrors.find({raw.kvm, vms_.generation(raw.kvm)});
      // A shared fault's address has a bit that its gfn lacks (mmu.h: kvm_gfn_direct_bits).
      const uint64_t extra = e.get(c::addr) >> 12 ^ e.get(c::gfn);
      if (it != profile_.mirrors.end() && extra != 0 && (extra & (extra - 1)) == 0) {
        it->second.direct_gfn_bits = extra;
      }
      break;
    }
    default: break;
  }
}

Profile Profiler::finish() {
  if (profile_.kinds.test(static_cast<size_t>(EventKind::kClearDirtySlot))) profile_.pml = true;
  for (const auto* signs : {by_probe_, by_frozen_, by_text_, by_role_}) {
    if (profile_.kernel != trace::KernelVersion::kUnknown || signs[0] == signs[1]) continue;
    profile_.kernel =
        signs[0] > signs[1] ? trace::KernelVersion::k6_12 : trace::KernelVersion::k7_2;
  }
  if (npt_ != ept_) {
    profile_.format = npt_ > ept_ ? trace::SpteFormat::kNpt : trace::SpteFormat::kEpt;
  }
  if (profile_.format == trace::SpteFormat::kNpt) {
    profile_.ad_bits = true;  // NPT has no mode without
  } else if (saw_ad_ != saw_not_ad_) {
    profile_.ad_bits = saw_ad_;
  } else if (profile_.format == trace::SpteFormat::kEpt) {
    profile_.ad_bits =
        (profile_.kernel == trace::KernelVersion::k6_12 ? no_ad_612_ : no_ad_72_) == 0;
  }
  if (profile_.format != trace::SpteFormat::kEpt) profile_.memtype_bits.reset();
  profile_.levels = max_level_ >= 4 ? max_level_ : 0;
  if (high_gfns_ >= kHighGfnsWanted) {
    profile_.maxphyaddr = 12 + static_cast<uint32_t>(std::bit_width(highest_gfn_));
  }
  uint32_t votes = 0;
  for (const auto& [base, count] : base_votes_) {
    if (count <= votes) continue;
    votes = count;
    profile_.direct_map_base = base;
  }
  if (!profile_.direct_map_base && lowest_table_ != UINT64_MAX) {  // without KASLR
    if (lowest_table_ >= kBase4) {
      profile_.direct_map_base = kBase4;
    } else if (lowest_table_ >= kBase5) {
      profile_.direct_map_base = kBase5;
    }
  }
  return profile_;
}

}  // namespace mmucheck::import
