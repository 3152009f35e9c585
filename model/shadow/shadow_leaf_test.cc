// One shadowed leaf: what mmu_set_spte() keeps of it, and what a split makes of it.
#include "model/shadow/shadow_leaf.h"

#include <gtest/gtest.h>

namespace mmucheck::model {
namespace {

const SpteFormat& npt72() {
  static const SpteFormat f = make_spte_format(*find_design("linux-7.2"), {});
  return f;
}

MakeSpte huge(unsigned access, bool nx = false) {
  MakeSpte in;
  in.level = kPgLevel2M;
  in.access = access;
  in.nx_huge_page_enabled = nx;
  return in;
}

ShadowLeaf<> after(ShadowRewrite rewrite, uint64_t gfn, uint64_t pfn, unsigned access) {
  ShadowRules rules;
  rules.rewrite = rewrite;
  const auto first = shadow_set_spte<>(npt72(), rules, huge(kAccAll), {}, 0x400, 0x1200);
  return shadow_set_spte<>(npt72(), rules, huge(access), first, gfn, pfn);
}

TEST(ShadowLeaf, TheSamePfnKeepsWhatTheDesignKeeps) {
  const ShadowedLayout l = ShadowRules().layout;
  const struct {
    ShadowRewrite rewrite;
    uint64_t gfn;
    unsigned access;
  } rows[] = {{ShadowRewrite::kNothing, 0x400, kAccAll},
              {ShadowRewrite::kAccess, 0x400, kAccUser},
              {ShadowRewrite::kTranslation, 0x600, kAccUser}};
  for (const auto& row : rows) {
    const ShadowLeaf<> leaf = after(row.rewrite, 0x600, 0x1200, kAccUser);
    EXPECT_EQ(shadowed_gfn<>(l, leaf.translation), row.gfn);
    EXPECT_EQ(shadowed_access<>(l, leaf.translation), row.access);
    EXPECT_EQ(leaf.rmap_gfn, 0x400u);
    EXPECT_FALSE(is_writable_pte<>(leaf.spte));
  }
}

TEST(ShadowLeaf, AnotherPfnIsAddedAnew) {
  for (const ShadowRewrite rewrite :
       {ShadowRewrite::kNothing, ShadowRewrite::kAccess, ShadowRewrite::kTranslation}) {
    const ShadowLeaf<> leaf = after(rewrite, 0x600, 0x1400, kAccUser);
    EXPECT_EQ(leaf.translation, shadowed_translation<>(ShadowRules().layout, 0x600, kAccUser));
    EXPECT_EQ(leaf.rmap_gfn, 0x600u);
  }
}

TEST(ShadowLeaf, ASplitGivesBackWhatTheWorkaroundTook) {
  const auto leaf = shadow_set_spte<>(npt72(), {}, huge(kAccAll, true), {}, 0x400, 0x1200);
  EXPECT_FALSE(is_executable_pte<>(npt72(), leaf.spte));
  EXPECT_EQ(shadow_child_access<>(npt72(), {}, leaf), uint64_t{kAccAll});
  const uint64_t child = shadow_child_spte<>(npt72(), leaf.spte, kAccAll, 1, 3, true);
  EXPECT_TRUE(is_executable_pte<>(npt72(), child));
  EXPECT_EQ(spte_to_pfn<>(child), 0x1203u);
  EXPECT_FALSE(is_executable_pte<>(
      npt72(), shadow_child_spte<>(npt72(), leaf.spte, kAccWrite | kAccUser, 1, 3, true)));
}

TEST(ShadowLeaf, TheSpteSaysLess) {
  ShadowRules rules;
  rules.split_access = ShadowSplitAccess::kHugeSpte;
  const auto leaf = shadow_set_spte<>(npt72(), rules, huge(kAccAll, true), {}, 0x400, 0x1200);
  EXPECT_EQ(shadow_child_access<>(npt72(), rules, leaf), uint64_t{kAccWrite | kAccUser});
  rules.layout = kShadowed73;
  EXPECT_EQ(shadow_child_access<>(npt72(), rules, leaf), uint64_t{kAccRead | kAccWrite | kAccUser});
}

}  // namespace
}  // namespace mmucheck::model
