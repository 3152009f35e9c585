// SPTE words: what the rules that build one give.
#include <fmt/format.h>

#include "checker/invariant/rules.h"
#include "checker/prove/formats.h"
#include "checker/prove/groups.h"
#include "model/spte/change.h"

namespace mmucheck::prove {
namespace {

using namespace model;

constexpr int kHostBits = 48;  // MAXPHYADDR of formats()

B is_pfn(const U& pfn) {
  return pfn >> (kHostBits - kPageShift) == U(0);
}
B present_leaf(const U& spte, int level) {
  return is_shadow_present_pte<T>(spte) && is_last_spte<T>(spte, level);
}

template <class Make>
std::vector<Query> each_format(Make make) {
  std::vector<Query> q;
  for (const NamedFormat& n : formats()) {
    for (Query& one : make(n)) {
      one.instance = one.instance.empty() ? n.name : n.name + ", " + one.instance;
      q.push_back(one);
    }
  }
  return q;
}

// Each value of an entry, in VMs and, where the format has them, in TDs.
template <class Make>
std::vector<Query> each_vm(Make make) {
  return each_format([&](const NamedFormat& n) {
    std::vector<Query> q;
    for (const bool td : {false, true}) {
      if (td && !(n.ept && n.ad_bits)) continue;
      q.push_back(make(td ? with_td_mmio_value(n.f) : n.f, var("spte")));
      q.back().instance = td ? "TD" : "";
    }
    return q;
  });
}

std::vector<Query> frozen() {
  return each_vm([](const SpteFormat& f, const U& s) -> Query {
    return {"",
            is_frozen_spte<T>(f, s),
            !is_shadow_present_pte<T>(s) && !is_mmio_spte<T>(f, s) && s != U(kNonpresent),
            {}};
  });
}

std::vector<Query> nonpresent() {
  return each_vm([](const SpteFormat& f, const U& s) -> Query {
    return {"",
            s == U(kNonpresent),
            !is_shadow_present_pte<T>(s) && !is_mmio_spte<T>(f, s) && !is_frozen_spte<T>(f, s) &&
                !is_access_allowed<T>(f, {}, s),
            {}};
  });
}

std::vector<Query> nonleaf() {
  return each_format([](const NamedFormat& n) {
    std::vector<Query> q;
    for (const bool ad_disabled : {false, true}) {
      for (int level = kPgLevel2M; level <= kMaxRootLevel; level++) {
        const U pfn = var("pfn");
        const U s = make_nonleaf_spte<T>(n.f, pfn, ad_disabled);
        q.push_back({fmt::format("{}level {}", ad_disabled ? "A/D off, " : "", level),
                     is_pfn(pfn),
                     is_shadow_present_pte<T>(s) && !is_last_spte<T>(s, level) &&
                         !is_frozen_spte<T>(n.f, s) && !is_mmio_spte<T>(n.f, s) &&
                         spte_to_pfn<T>(s) == pfn,
                     {{"spte", s}}});
      }
    }
    return q;
  });
}

// Every combination of what make_spte is told.
template <class Make>
std::vector<Query> each_leaf(Make make) {
  return each_format([&](const NamedFormat& n) {
    std::vector<Query> q;
    for (unsigned k = 0; k < 3 * 64; k++) {
      MakeSpte in;
      in.level = static_cast<int>(k / 64) + 1;
      in.ad_disabled = (k & 1) != 0;
      in.wrprot_only = (k & 2) != 0;
      in.prefetch = (k & 4) != 0;
      in.host_writable = (k & 8) != 0;
      in.write_tracked = (k & 16) != 0;
      in.nx_huge_page_enabled = (k & 32) != 0;
      // A role without A/D bits comes with EPT alone, and always where EPT has none.
      if (in.ad_disabled == n.ad_bits) continue;
      if (in.ad_disabled && in.wrprot_only) continue;
      Query one = make(n, in, make_spte<T>(n.f, in, var("pfn"), var("old")));
      one.premise = one.premise && is_pfn(var("pfn"));
      one.instance =
          fmt::format("level {}{}{}{}{}{}", in.level, in.wrprot_only ? ", PML" : "",
                      in.prefetch ? ", prefetch" : "", in.host_writable ? "" : ", read-only",
                      in.write_tracked ? ", write-tracked" : "",
                      in.nx_huge_page_enabled ? ", NX workaround" : "");
      q.push_back(one);
    }
    return q;
  });
}

std::vector<Query> leaf() {
  return each_leaf([](const NamedFormat& n, const MakeSpte& in, const U& s) -> Query {
    const U low((pages_per_hpage(in.level) - 1));
    return {"",
            (var("pfn") & low) == U(0),
            present_leaf(s, in.level) && !is_frozen_spte<T>(n.f, s) && !is_mmio_spte<T>(n.f, s) &&
                spte_to_pfn<T>(s) == var("pfn") && invariant::within_maxphyaddr<T>(s, kHostBits),
            {{"spte", s}}};
  });
}

std::vector<Query> leaf_writable() {
  return each_leaf([](const NamedFormat& n, const MakeSpte& in, const U& s) -> Query {
    B conclusion = legal_mmu_writable<T>(n.f, s) && legal_writable<T>(n.f, s);
    if (!in.host_writable) conclusion = conclusion && !is_writable_pte<T>(s);
    return {"", true, conclusion, {{"spte", s}}};
  });
}

std::vector<Query> leaf_nx() {
  return each_leaf([](const NamedFormat& n, const MakeSpte& in, const U& s) -> Query {
    return {"",
            true,
            invariant::nx_huge_leaf<T>(n.f, s, in.level, in.nx_huge_page_enabled),
            {{"spte", s}}};
  });
}

std::vector<Query> ve_suppressed() {
  std::vector<Query> q = each_leaf([](const NamedFormat& n, const MakeSpte&, const U& s) -> Query {
    return {"", n.ept, invariant::ve_suppressed<T>(s), {{"spte", s}}};
  });
  // NPT has no such bit.
  std::erase_if(q, [](const Query& one) { return one.instance.find("NPT") != std::string::npos; });
  for (const NamedFormat& n : formats()) {
    if (!n.ept) continue;
    const U table = make_nonleaf_spte<T>(n.f, var("pfn"), !n.ad_bits);
    const U mmio = make_mmio_spte<T>(n.f, var("gfn"), var("generation"));
    q.push_back({n.name + ", table", is_pfn(var("pfn")), invariant::ve_suppressed<T>(table), {}});
    q.push_back({n.name + ", MMIO",
                 is_pfn(var("gfn")),
                 invariant::ve_suppressed<T>(mmio),
                 {{"spte", mmio}}});
    q.push_back({n.name + ", frozen", true, invariant::ve_suppressed<T>(U(n.f.frozen)), {}});
    q.push_back({n.name + ", non-present", true, invariant::ve_suppressed<T>(U(kNonpresent)), {}});
  }
  return q;
}

// Formats without A/D bits: leafs of a writable and of a read-only host page, and tracked.
template <class Make>
std::vector<Query> each_tracked_leaf(Make make) {
  return each_format([&](const NamedFormat& n) {
    std::vector<Query> q;
    if (n.ad_bits) return q;
    for (const bool host_writable : {true, false}) {
      MakeSpte in;
      in.ad_disabled = true;
      in.host_writable = host_writable;
      const U s = make_spte<T>(n.f, in, var("pfn"), U(0));
      q.push_back(make(n.f, s, mark_spte_for_access_track<T>(n.f, s)));
      q.back().instance = host_writable ? "" : "read-only";
      q.back().premise = is_pfn(var("pfn"));
    }
    return q;
  });
}

std::vector<Query> access_track() {
  return each_tracked_leaf([](const SpteFormat& f, const U& s, const U& tracked) -> Query {
    return {"",
            true,
            is_access_track_spte<T>(f, tracked) && is_shadow_present_pte<T>(tracked) &&
                !is_access_allowed<T>(f, {}, tracked) &&
                spte_to_pfn<T>(tracked) == spte_to_pfn<T>(s),
            {{"spte", s}, {"tracked", tracked}}};
  });
}

// What comes back is what was there, but for W, which a fast page fault gives back by itself.
std::vector<Query> access_track_restore() {
  return each_tracked_leaf([](const SpteFormat& f, const U& s, const U& tracked) -> Query {
    const U back = restore_acc_track_spte<T>(f, tracked);
    return {
        "", true, (back | U(kPtWritable)) == (s | U(kPtWritable)), {{"spte", s}, {"back", back}}};
  });
}

std::vector<Query> mmio() {
  return each_format([](const NamedFormat& n) -> std::vector<Query> {
    const U gfn = var("gfn"), gen = var("generation");
    const U s = make_mmio_spte<T>(n.f, gfn, gen);
    const U kept((uint64_t{1} << (n.f.mmio_gen_low_bits + 11)) - 1);
    return {{"",
             is_pfn(gfn),
             is_mmio_spte<T>(n.f, s) && !is_shadow_present_pte<T>(s) &&
                 !is_frozen_spte<T>(n.f, s) && mmio_spte_generation<T>(n.f, s) == (gen & kept),
             {{"spte", s}, {"read_back", mmio_spte_generation<T>(n.f, s)}}}};
  });
}

std::vector<Query> split() {
  return each_format([](const NamedFormat& n) {
    std::vector<Query> q;
    for (const int level : {kPgLevel2M, kPgLevel1G}) {
      for (const uint64_t index : {uint64_t{0}, uint64_t{1}, uint64_t{256}, kSpteEntPerPage - 1}) {
        const U huge = var("huge");
        const U child = make_huge_page_split_spte<T>(n.f, huge, level - 1, index, false);
        const U low(pages_per_hpage(level) - 1);
        const U pfn = spte_to_pfn<T>(huge) + U(index * pages_per_hpage(level - 1));
        const uint64_t changed = kPfnMask | (level == kPgLevel2M ? kPtPageSize : 0);
        q.push_back({fmt::format("level {}, entry {}", level, index),
                     present_leaf(huge, level) && (spte_to_pfn<T>(huge) & low) == U(0),
                     present_leaf(child, level - 1) && spte_to_pfn<T>(child) == pfn &&
                         ((child ^ huge) & U(~changed)) == U(0) &&
                         (level == kPgLevel2M ? !is_large_pte<T>(child) : B(true)),
                     {{"child", child}}});
      }
    }
    return q;
  });
}

std::vector<Query> recover() {
  return each_format([](const NamedFormat& n) {
    std::vector<Query> q;
    for (const int level : {kPgLevel2M, kPgLevel1G}) {
      const U small = var("small");
      const U huge = make_huge_spte<T>(n.f, small, level, false);
      const U low(pages_per_hpage(level) - 1);
      q.push_back({fmt::format("level {}", level),
                   present_leaf(small, kPgLevel4K),
                   present_leaf(huge, level) &&
                       spte_to_pfn<T>(huge) == (spte_to_pfn<T>(small) & ~low) &&
                       iff(is_writable_pte<T>(huge), is_writable_pte<T>(small)),
                   {{"huge", huge}}});
    }
    return q;
  });
}

}  // namespace

std::vector<Obligation> spte_obligations() {
  constexpr std::string_view bound = "NPT and EPT of 6.12 and 7.2, every pfn";
  constexpr std::string_view leafs = "NPT and EPT, levels 1-3, every fault, pfn, old value";
  return {
      {"spte.frozen", "a frozen entry is not present, not MMIO, and not the non-present value",
       "spte.h: FROZEN_SPTE", "NPT and EPT of 6.12 and 7.2, VMs and TDs", frozen},
      {"spte.nonpresent",
       "what a zap leaves is not present, not MMIO, not frozen, and forbids access",
       "spte.h: SHADOW_NONPRESENT_VALUE", "NPT and EPT of 6.12 and 7.2, VMs and TDs", nonpresent},
      {"spte.nonleaf", "a table's entry is present, no leaf, and keeps the frame of its page",
       "spte.c: make_nonleaf_spte", "NPT and EPT of 6.12 and 7.2, levels 2-5, every pfn", nonleaf},
      {"spte.leaf", "a leaf is present, a leaf at its level, of its pfn, within MAXPHYADDR",
       "spte.c: make_spte", leafs, leaf},
      {"spte.leaf-writable",
       "W implies MMU-writable implies host-writable in every leaf that is made",
       "spte.c: make_spte; spte.h: check_spte_writable_invariants", leafs, leaf_writable},
      {"spte.leaf-nx", "no huge leaf is executable while the NX workaround is on (MMU-NX-EXEC)",
       "spte.c: make_spte", leafs, leaf_nx},
      {"spte.ve-suppressed",
       "every EPT entry that is made suppresses #VE or misconfigures (MMU-SPTE-VE)",
       "spte.c: make_spte, make_nonleaf_spte, make_mmio_spte", "EPT of 6.12 and 7.2",
       ve_suppressed},
      {"spte.access-track", "an access-tracked leaf is present, keeps its pfn, and forbids access",
       "spte.c: mark_spte_for_access_track", "EPT without A/D bits, every pfn", access_track},
      {"spte.access-track.restore", "restoring gives back the leaf, W apart",
       "spte.h: restore_acc_track_spte", "EPT without A/D bits, every pfn", access_track_restore},
      {"spte.mmio", "an MMIO entry is known as one, not present, and keeps its generation",
       "spte.c: make_mmio_spte; spte.h: get_mmio_spte_generation", bound, mmio},
      {"spte.split",
       "a split leaf's child maps its part of the frame with the same bits, a 4K one but page size",
       "spte.c: make_huge_page_split_spte", "NPT and EPT, four entries, every huge leaf", split},
      {"spte.recover", "a huge leaf recovered from a small one covers its frame with the same W",
       "spte.c: make_huge_spte", "NPT and EPT, every small leaf", recover},
  };
}

}  // namespace mmucheck::prove
