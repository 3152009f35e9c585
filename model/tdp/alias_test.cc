// Where a design keeps the shared bit, and which alias an unmap zaps: the rules over both domains,
// and what they do to a small TD; always beside what 7.2 does.
#include "model/tdp/alias.h"

#include <gtest/gtest.h>

#include "model/domain/domain_compare_test.h"
#include "model/tdp/td_vm_test.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kBit = Td::kSharedBit;
constexpr IterIndex kIndices[] = {IterIndex::kGfnBits, IterIndex::kRawGfn,
                                  IterIndex::kSeed000Sketch};
constexpr FaultAddr kMeanings[] = {FaultAddr::kWalked, FaultAddr::kStripped, FaultAddr::kRaw};

TEST(Alias, DomainsAgree) {
  TestRng rng(11);
  const auto make = [](TestRng& r) -> std::array<uint64_t, 4> {
    const uint64_t bits = r() % 4 == 0 ? 0 : gfn_direct_bits_for_gpaw(r() % 2 ? 48 : 52);
    return {random_word(r), random_word(r), bits, r() % 2};
  };
  for (const IterIndex index : kIndices) {
    for (const bool mirror : {false, true}) {
      compare_domains<4>("walk", rng, 2000,
                         [&]<class D>(D, const std::array<U64Of<D>, 4>& in) {
                           const auto r = walk_range<D>(index, mirror, in[0], in[1], in[2]);
                           return (r.start ^ r.end) | iter_gfn_bits<D>(index, mirror, in[2]);
                         },
                         make);
      for (const ZapBounds bounds : {ZapBounds::kPlain, ZapBounds::kPerRoot}) {
        compare_domains<4>("zap", rng, 2000,
                           [&]<class D>(D, const std::array<U64Of<D>, 4>& in) {
                             const auto r =
                                 zap_range<D>(bounds, index, mirror, in[0], in[1], in[2]);
                             return r.start ^ r.end;
                           },
                           make);
      }
      for (const FaultAddr meaning : kMeanings) {
        compare_domains<4>("fault", rng, 2000,
                           [&]<class D>(D, const std::array<U64Of<D>, 4>& in) {
                             const auto addr = fault_addr<D>(meaning, in[0], in[2]);
                             return fault_walk_gfn<D>(meaning, index, mirror, addr, in[1], in[2]);
                           },
                           make);
      }
    }
  }
  for (const FaultAddr meaning : kMeanings) {
    for (const RootChoice choice : {RootChoice::kByAddress, RootChoice::kByPrivate}) {
      compare_domains<4>("root", rng, 2000,
                         [&]<class D>(D, const std::array<U64Of<D>, 4>& in) {
                           return fault_walks_mirror<D>(choice, meaning, in[0],
                                                        in[3] != U64Of<D>(0), in[2]);
                         },
                         make);
    }
  }
}

TEST(Alias, EachSeriesSaysTheSameInItsOwnWords) {
  const auto same = [](AliasesZapped a, AliasesZapped b) {
    return a.in_mirror == b.in_mirror && a.in_direct == b.in_direct;
  };
  for (const bool td : {false, true}) {
    for (const UnmapCaller c : {UnmapCaller::kNotifier, UnmapCaller::kGmem, UnmapCaller::kToPrivate,
                                UnmapCaller::kToShared, UnmapCaller::kSlot}) {
      EXPECT_TRUE(same(v19_aliases_zapped(td, only_flags_of(c)),
                       aliases_zapped(UnmapFilter::kOnlyPrivateShared, td, attr_filter_of(c))));
      EXPECT_TRUE(same(aliases_zapped(UnmapFilter::kExcludeFlags, td, attr_filter_of(c)),
                       aliases_zapped(UnmapFilter::kAttrFilter, td, attr_filter_of(c))));
    }
    // Neither flag is both aliases to the generic series; to v19 it depends on a union's bytes.
    EXPECT_TRUE(same(v19_aliases_zapped(td, {}), generic_aliases_zapped(td, {})));
    EXPECT_EQ(same(v19_aliases_zapped(td, {false, false, true}), generic_aliases_zapped(td, {})),
              !td);
  }
}

// What is gone (m: from the mirror root, d: from the direct one), and whether a flush is owed (f).
std::string unmapped(const char* design, uint64_t filter) {
  Td td(design);
  EXPECT_EQ(td.map(5, false), RetPf::kFixed) << design;
  EXPECT_EQ(td.map(5, true), RetPf::kFixed) << design;
  EXPECT_TRUE(td.mapped(td.mirror, 5) && td.mapped(td.direct, 5)) << design;
  const bool flush = td.unmap(5, 6, filter);
  return std::string(td.mapped(td.mirror, 5) ? "" : "m") + (td.mapped(td.direct, 5) ? "" : "d") +
         (flush ? "f" : "");
}

TEST(UnmapFilter, SelectsRoots) {
  for (const char* design : {"upstream-7.x", "upstream-6.14", "v19-exclude"}) {
    EXPECT_EQ(unmapped(design, kFilterShared), "df") << design;
    EXPECT_EQ(unmapped(design, kFilterPrivate), "mf") << design;
    EXPECT_EQ(unmapped(design, kFilterShared | kFilterPrivate), "mdf") << design;
  }
  // Shared roots go in any case; the private root that is skipped behind them forgets their flush.
  EXPECT_EQ(unmapped("v19", kFilterShared), "d");
  EXPECT_EQ(unmapped("v19,zap_drops_flush=no", kFilterShared), "df");
  EXPECT_EQ(unmapped("v19", kFilterPrivate), "mdf");
  EXPECT_EQ(unmapped("v19", kFilterShared | kFilterPrivate), "mdf");
  // No filter: a notifier zaps private memory.
  EXPECT_EQ(unmapped("v8", kFilterShared), "mdf");
  EXPECT_EQ(unmapped("upstream-7.x,unmap_filter=none", kFilterShared), "mdf");
}

TEST(UnmapFilter, ZapGfnRangeSparesTheMirrorUpToV19) {
  const auto zapped = [](const char* design) {
    Td td(design);
    td.map(5, false);
    td.map(5, true);
    const bool flush = td.zap(kvm_tdp_mmu_zap_leafs(0, 0x1000, false));
    return std::string(td.mapped(td.mirror, 5) ? "" : "m") + (td.mapped(td.direct, 5) ? "" : "d") +
           (flush ? "f" : "");
  };
  EXPECT_EQ(zapped("upstream-7.x"), "mdf");
  EXPECT_EQ(zapped("upstream-7.x,zap_range_mirror=no"), "df");
  EXPECT_EQ(zapped("v19"), "d");
  EXPECT_EQ(zapped("v19-exclude"), "df");
}

TEST(ZapBounds, PerRootLosesARangeThatEndsAtTheSharedBit) {
  for (const char* design : {"upstream-7.x", "v19", "v8", "addr-raw"}) {
    Td td(design);
    for (const uint64_t gfn : {kBit - 2, kBit - 1}) {
      for (const bool shared : {false, true}) ASSERT_EQ(td.map(gfn, shared), RetPf::kFixed);
    }
    td.unmap(kBit - 2, kBit - 1, kFilterShared | kFilterPrivate);
    EXPECT_FALSE(td.mapped(td.mirror, kBit - 2) || td.mapped(td.direct, kBit - 2)) << design;
    EXPECT_TRUE(td.mapped(td.mirror, kBit - 1) && td.mapped(td.direct, kBit - 1)) << design;
    td.unmap(kBit - 1, kBit, kFilterShared | kFilterPrivate);
    const bool lost = td.design.zap_bounds == ZapBounds::kPerRoot;
    EXPECT_EQ(td.mapped(td.mirror, kBit - 1), lost) << design;
    EXPECT_EQ(td.mapped(td.direct, kBit - 1), lost) << design;
  }
}

TEST(IterIndex, RawWalksFindNothingOfThePlainBounds) {
  Td td("upstream-7.x,iter_index=raw-gfn");
  td.map(5, true);
  td.map(5, false);
  td.unmap(5, 6, kFilterShared | kFilterPrivate);
  EXPECT_TRUE(td.mapped(td.direct, 5));
  EXPECT_FALSE(td.mapped(td.mirror, 5));
}

TEST(IterIndex, RawTablesOfTheSharedTreeHaveTheBit) {
  const auto gfn_of_table = [](const char* design) {
    Td td(design);
    td.map(0x205, true);
    uint32_t table = td.direct;
    for (int level = 4; level > 1; level--) {
      table = td.w.child_table(
          td.store.get(cell::pte(table, spte_index<>(0x205 | kBit, level))), level);
    }
    return td.w.field(CellKind::kSpGfn, table);
  };
  EXPECT_EQ(gfn_of_table("upstream-7.x"), 0x200u);
  EXPECT_EQ(gfn_of_table("v19"), 0x200 | kBit);
}

TEST(IterIndex, TheSketchIndexesTheWrongHalfAndOverruns) {
  for (const char* design : {"upstream-7.x", "seed000-sketch"}) {
    const bool sketch = std::string(design) != "upstream-7.x";
    Td td(design);
    for (const uint64_t gfn : {uint64_t{5}, uint64_t{9}, uint64_t{1} << 30}) {
      for (const bool shared : {false, true}) ASSERT_EQ(td.map(gfn, shared), RetPf::kFixed);
    }
    EXPECT_EQ(td.mapped(td.direct, 5), !sketch);  // the walk of hardware
    EXPECT_EQ(td.mapped(td.mirror, 5), !sketch);
    const auto there = [&](uint32_t root, uint64_t gfn) {
      const uint64_t bits = iter_gfn_bits<>(td.design.iter_index, td.w.is_mirror(root), kBit);
      return is_shadow_present_pte<>(td.entry(root, gfn, bits));
    };
    EXPECT_TRUE(there(td.direct, 5) && there(td.mirror, 5));
    td.unmap(5, 6, kFilterShared | kFilterPrivate);
    EXPECT_FALSE(there(td.direct, 5) || there(td.mirror, 5));
    // iter.gfn has no shared bit, the end has: all of the shared half is zapped.
    EXPECT_EQ(there(td.direct, 9), !sketch);
    EXPECT_EQ(there(td.direct, uint64_t{1} << 30), !sketch);
    EXPECT_TRUE(there(td.mirror, 9));
  }
}

TEST(ZapRoot, LeavesNothingInAnyDesign) {
  for (const char* design : {"upstream-7.x", "v8", "v19", "addr-raw", "addr-stripped",
                             "seed000-sketch"}) {
    Td td(design);
    for (const bool shared : {false, true}) ASSERT_EQ(td.map(5, shared), RetPf::kFixed);
    for (const uint32_t root : {td.direct, td.mirror}) {
      td.zap_root(root, LockMode::kWrite);
      for (uint32_t i = 0; i < kSpteEntPerPage; i++) {
        ASSERT_FALSE(is_shadow_present_pte<>(td.store.get(cell::pte(root, i)))) << design;
      }
    }
  }
}

TEST(FaultAddr, EveryMeaningReachesTheSameEntry) {
  for (const char* design : {"upstream-7.x", "addr-stripped", "addr-raw", "v19", "v8",
                             "upstream-7.x,root_choice=by-private"}) {
    Td td(design);
    ASSERT_EQ(td.map(5, true), RetPf::kFixed) << design;
    EXPECT_TRUE(td.mapped(td.direct, 5)) << design;
    EXPECT_FALSE(td.mapped(td.mirror, 5)) << design;
    ASSERT_EQ(td.map(7, false), RetPf::kFixed) << design;
    EXPECT_TRUE(td.mapped(td.mirror, 7)) << design;
    EXPECT_FALSE(td.mapped(td.direct, 7)) << design;
    for (const std::string& e : td.env.events) EXPECT_FALSE(e.starts_with("warn")) << design << e;
  }
}

// Only by construction do the address and is_private say the same.
TEST(RootChoice, DiffersWhereAddressAndIsPrivateDo) {
  const auto mapped_in = [](const char* design) {
    Td td(design);
    TdpMmuMap m = td.fault_on(5, true);
    m.fault.is_private = true;
    td.run(m);
    return std::string(td.mapped(td.mirror, 5) ? "mirror" : "") +
           (td.mapped(td.direct, 5) ? "direct" : "");
  };
  EXPECT_EQ(mapped_in("upstream-7.x"), "direct");
  EXPECT_EQ(mapped_in("upstream-7.x,root_choice=by-private"), "mirror");
  EXPECT_EQ(mapped_in("addr-stripped"), "mirror");  // is_private is all that is left
  // A VM without a shared bit has one root, whatever is private.
  for (const RootChoice choice : {RootChoice::kByAddress, RootChoice::kByPrivate}) {
    EXPECT_FALSE(fault_walks_mirror<>(choice, FaultAddr::kWalked, 0x5000, true, 0));
  }
}

TEST(SharedExec, IsTakenAwayUpToV19) {
  for (const char* design : {"upstream-7.x", "v19"}) {
    Td td(design);
    td.map(5, true);
    td.map(5, false);
    EXPECT_EQ((td.entry(td.direct, 5) & td.w.fmt.exec) != 0, td.design.shared_exec) << design;
    EXPECT_NE(td.entry(td.mirror, 5) & td.w.fmt.exec, 0u) << design;
  }
}

}  // namespace
}  // namespace mmucheck::model
