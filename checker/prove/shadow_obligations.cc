// Shadowed translations: what a word of the cache holds, and why it is needed (seed 003).
#include <fmt/format.h>

#include "checker/prove/formats.h"
#include "checker/prove/groups.h"
#include "model/spte/shadowed_translation.h"
#include "model/spte/spte.h"

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

}  // namespace

std::vector<Obligation> shadow_obligations() {
  constexpr std::string_view cache = "seed 003: shadowed_translation_entry";
  constexpr std::string_view landed = "mmu.c: kvm_mmu_page_set_translation";
  constexpr std::string_view gfns = "every role.access, every gfn below MAXPHYADDR 52";
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
  };
}

}  // namespace mmucheck::prove
