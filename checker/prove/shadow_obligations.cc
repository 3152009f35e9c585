// Shadowed translations: what a word of the cache holds, and why it is needed (seed 003).
#include <fmt/format.h>

#include "checker/prove/formats.h"
#include "checker/prove/groups.h"
#include "model/shadow/shadow_leaf.h"

namespace mmucheck::prove {
namespace {

using namespace model;

constexpr int kGfnBits = 52 - kPageShift;  // below MAXPHYADDR 52

// gfns and accesses of so many bits come back as they were put in.
Query comes_back(const char* instance, const ShadowedLayout& l, int gfn_bits, int access_bits) {
  const U gfn = var("gfn"), access = var("access");
  const U word = shadowed_translation<T>(l, gfn, access);
  return {instance,
          gfn < U(uint64_t{1} << gfn_bits) && access < U(uint64_t{1} << access_bits),
          shadowed_gfn<T>(l, word) == gfn && shadowed_access<T>(l, word) == access,
          {{"gfn_read", shadowed_gfn<T>(l, word)}, {"access_read", shadowed_access<T>(l, word)}}};
}

std::vector<Query> packing() {
  return {comes_back("v2, 3 and 56 bits", kShadowedV2, kGfnBits, 3),
          comes_back("v3, 3 and 52 bits", kShadowedV3, kGfnBits, 3)};
}
std::vector<Query> packing_landed() {
  return {comes_back("6.0", kShadowedLanded, kGfnBits, 3),
          comes_back("7.3", kShadowed73, kGfnBits, 4)};
}
std::vector<Query> packing_four_rights() {
  return {comes_back("v2, 3 and 56 bits", kShadowedV2, kGfnBits, 4)};
}
std::vector<Query> packing_56() {
  return {comes_back("6.0", kShadowedLanded, 56, 3)};
}

constexpr struct {
  unsigned bit;
  const char* name;
} kRights[] = {{kAccExec, "execution"}, {kAccWrite, "writing"}};

// Of two translations that differ in one right.
std::vector<Query> access_from_spte(bool policies) {
  std::vector<Query> q;
  for (const NamedFormat& n : formats()) {
    for (const auto& right : kRights) {
      MakeSpte with;
      with.level = kPgLevel2M;
      with.ad_disabled = !n.ad_bits;
      with.nx_huge_page_enabled = policies;
      with.host_writable = !policies;
      MakeSpte without = with;
      without.access &= ~right.bit;
      const U pfn = var("pfn");
      const U a = make_spte<T>(n.f, with, pfn, U(0)), b = make_spte<T>(n.f, without, pfn, U(0));
      q.push_back({fmt::format("{}, {}", n.name, right.name),
                   pfn < U(uint64_t{1} << kGfnBits),
                   a != b,
                   {{"spte", a}}});
    }
  }
  return q;
}
std::vector<Query> access_from_spte_policies() {
  return access_from_spte(true);
}
std::vector<Query> access_from_spte_plain() {
  return access_from_spte(false);
}

constexpr unsigned kAccesses = 8;  // of three rights

// A leaf, present or not, before mmu_set_spte().
ShadowLeaf<T> any_leaf() {
  return {var("old"), var("word"), var("rmap")};
}
B fresh_values(int level) {
  const U low(pages_per_hpage(level) - 1);
  const U bound(uint64_t{1} << kGfnBits);
  return var("gfn") < bound && var("pfn") < bound && (var("gfn") & low) == U(0) &&
         (var("pfn") & low) == U(0);
}

std::vector<Query> rewrite_access() {
  std::vector<Query> q;
  for (const ShadowedLayout& l : {kShadowedLanded, kShadowed73}) {
    for (unsigned access = 0; access <= low_bits(l.access_bits); access++) {
      for (const NamedFormat& n : formats()) {
        ShadowRules rules;
        rules.layout = l;
        MakeSpte in;
        in.access = access;
        in.ad_disabled = !n.ad_bits;
        const U word =
            shadow_set_spte<T>(n.f, rules, in, any_leaf(), var("gfn"), var("pfn")).translation;
        q.push_back({fmt::format("{}, {} bits, access {:x}", n.name, l.access_bits, access),
                     fresh_values(kPgLevel4K),
                     shadowed_access<T>(l, word) == U(access),
                     {{"word", word}}});
      }
    }
  }
  return q;
}

// Of each huge leaf that mmu_set_spte() may have made.
template <class Conclude>
std::vector<Query> each_split(Conclude conclude) {
  std::vector<Query> q;
  for (const NamedFormat& n : formats()) {
    for (unsigned k = 0; k < 8 * kAccesses; k++) {
      MakeSpte in;
      in.access = k % kAccesses;
      in.level = (k & kAccesses) != 0 ? kPgLevel2M + 1 : kPgLevel2M;
      in.nx_huge_page_enabled = (k & 2 * kAccesses) != 0;
      in.host_writable = (k & 4 * kAccesses) == 0;
      in.ad_disabled = !n.ad_bits;
      const ShadowLeaf<T> huge =
          shadow_set_spte<T>(n.f, {}, in, any_leaf(), var("gfn"), var("pfn"));
      MakeSpte fault = in;
      fault.level--;
      const U given =
          spte_permissions<T>(n.f, make_spte<T>(n.f, fault, var("pfn"), U(kNonpresent)));
      q.push_back({fmt::format("{}, level {}, access {:x}{}{}", n.name, in.level, in.access,
                               in.nx_huge_page_enabled ? ", NX workaround" : "",
                               in.host_writable ? "" : ", read-only"),
                   fresh_values(in.level),
                   conclude(n.f, in, huge, given),
                   {{"huge", huge.spte}}});
    }
  }
  return q;
}

std::vector<Query> split_child() {
  return each_split([](const SpteFormat& f, const MakeSpte& in, const ShadowLeaf<T>& huge,
                       const U& given) {
    const U access = shadow_child_access<T>(f, {}, huge);
    B same = access == U(in.access);
    for (const uint64_t index : {0, 511}) {
      const U child =
          shadow_child_spte<T>(f, huge.spte, access, in.level - 1, index, in.nx_huge_page_enabled);
      same = same && spte_permissions<T>(f, child) == given;
    }
    return same;
  });
}

std::vector<Query> split_copied() {
  return each_split([](const SpteFormat& f, const MakeSpte& in, const ShadowLeaf<T>& huge,
                       const U& given) {
    const U copy = make_huge_page_split_spte<T>(f, huge.spte, in.level - 1, 511, false);
    const bool lacks_exec =
        in.nx_huge_page_enabled && in.level == kPgLevel2M && (in.access & kAccExec) != 0;
    return spte_permissions<T>(f, lacks_exec ? make_spte_executable<T>(f, copy) : copy) == given;
  });
}

}  // namespace

std::vector<Obligation> shadow_obligations() {
  constexpr std::string_view cache = "seed 003: shadowed_translation_entry";
  constexpr std::string_view landed = "mmu.c: kvm_mmu_page_set_translation";
  constexpr std::string_view gfns = "every role.access, every gfn below MAXPHYADDR 52";
  constexpr std::string_view huge_leafs =
      "NPT and EPT of 6.12 and 7.2, levels 2 and 3, every access of 3 bits, every leaf before, NX "
      "workaround and read-only host mapping or not";
  constexpr std::string_view leafs = "NPT and EPT of 6.12 and 7.2, level 2, every pfn";
  return {
      {"shadow.packing", "gfn and access of a shadowed translation come back from 3 and 56 bits",
       cache, gfns, packing},
      {"shadow.packing.landed",
       "gfn and access come back from one word, the gfn above its 12 low bits", landed, gfns,
       packing_landed},
      {"shadow.packing.four-rights", "3 bits hold an access that has a bit for reading, too",
       "seed 003; 7.3: ACC_READ_MASK", gfns, packing_four_rights},
      {"shadow.packing.gfn-of-56-bits", "a gfn of 56 bits comes back from the word that landed",
       landed, "every role.access, every gfn below 2^56", packing_56},
      {"shadow.access-from-spte",
       "translations that differ in a right differ in the huge SPTE, NX workaround and read-only "
       "host mapping or not",
       "seed 003; spte.c: make_spte", leafs, access_from_spte_policies},
      {"shadow.access-from-spte.no-policy",
       "they differ in the huge SPTE where KVM applies no policy of its own",
       "seed 003; spte.c: make_spte", leafs, access_from_spte_plain},
      {"shadow.rewrite.access",
       "after mmu_set_spte the cache has the access that the guest's page tables grant, whatever "
       "the "
       "entry was before",
       "mmu.c: mmu_set_spte, kvm_mmu_page_set_access",
       "role.access of 3 and of 4 bits, every leaf before", rewrite_access},
      {"shadow.split.child",
       "a split with the cached access files the new page under the access of the last fault, and "
       "its entries have the permissions that this fault would have given at their level",
       "mmu.c: shadow_mmu_split_huge_page; spte.c: make_small_spte", huge_leafs, split_child},
      {"shadow.split.copied",
       "entries that copy the huge SPTE differ from those of a fault in the right to execute, "
       "which "
       "the NX workaround took, and in no other permission",
       "seed 003; spte.c: make_small_spte", huge_leafs, split_copied},
  };
}

}  // namespace mmucheck::prove
