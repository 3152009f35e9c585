// Values that real kernels were seen to write, against the rules that build them. Low and high
// bits only: the page frame is 0.
#include <gtest/gtest.h>

#include "model/spte/change.h"
#include "model/spte/role.h"
#include "model/spte/test_formats.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kNx = uint64_t{1} << 63;

// One column of a table of values.
struct Column {
  TestFormat t;
  bool ad_disabled = false;

  explicit Column(TestFormat f) : t(std::move(f)), ad_disabled(!t.fmt.ad_enabled) {}

  MakeSpte in(int level) const {
    MakeSpte m;
    m.level = level;
    m.ad_disabled = ad_disabled;
    return m;
  }
  uint64_t leaf(int level, uint64_t old_spte = kNonpresent) const {
    return make_spte<>(t.fmt, in(level), 0, old_spte);
  }
  uint64_t prefetched(int level, bool host_writable) const {
    MakeSpte m = in(level);
    m.prefetch = true;
    m.host_writable = host_writable;
    return make_spte<>(t.fmt, m, 0, kNonpresent);
  }
  uint64_t read_only(int level) const {
    MakeSpte m = in(level);
    m.host_writable = false;
    return make_spte<>(t.fmt, m, 0, kNonpresent);
  }
  uint64_t nx_workaround(int level) const {
    MakeSpte m = in(level);
    m.nx_huge_page_enabled = true;
    return make_spte<>(t.fmt, m, 0, kNonpresent);
  }
  uint64_t table() const { return make_nonleaf_spte<>(t.fmt, 0, ad_disabled); }
  uint64_t gfn_protected(uint64_t spte) const { return spte & ~(kPtWritable | t.fmt.mmu_writable); }
  uint64_t guest_mode(int level) const {
    MakeSpte m = in(level);
    m.wrprot_only = true;
    return make_spte<>(t.fmt, m, 0, kNonpresent);
  }
};

Column npt(const char* design) { return Column(test_format(design, PageTableFormat::kNpt, true)); }
Column ept(const char* design, uint64_t memtype = 0x70) {
  return Column(test_format(design, PageTableFormat::kEpt, true, memtype));
}
Column eptnoad(const char* design) {
  return Column(test_format(design, PageTableFormat::kEpt, false));
}

TEST(SpteValues, Npt) {
  for (const char* design : {"linux-6.12", "linux-7.2"}) {
    const Column c = npt(design);
    EXPECT_EQ(c.table(), 0x827u) << design;
    EXPECT_EQ(c.leaf(1), 0xe67u) << design;
    EXPECT_EQ(c.read_only(1), 0x825u) << design;
    EXPECT_EQ(c.leaf(2), 0xee7u) << design;
    EXPECT_EQ(c.leaf(3), 0xee7u) << design;
    EXPECT_EQ(c.read_only(2), 0x8a5u) << design;
    EXPECT_EQ(c.nx_workaround(2), kNx | 0xee7) << design;
    EXPECT_EQ(c.nx_workaround(1), 0xe67u) << design;
    EXPECT_EQ(c.prefetched(1, true), 0xe47u) << design;
    EXPECT_EQ(c.prefetched(1, false), 0x805u) << design;
    EXPECT_EQ(c.prefetched(3, true), 0xec7u) << design;
    EXPECT_EQ(c.leaf(1) & ~c.t.fmt.dirty, 0xe27u) << design;
    EXPECT_EQ(c.leaf(2) & ~c.t.fmt.dirty, 0xea7u) << design;
    EXPECT_EQ(c.gfn_protected(c.leaf(2)), 0xae5u) << design;
  }
  EXPECT_EQ(npt("linux-7.2").guest_mode(1), 0x2000000000000e67u);
  EXPECT_EQ(npt("linux-6.12").guest_mode(1), 0x0020000000000e67u);
}

TEST(SpteValues, FrozenAndNonpresent) {
  EXPECT_EQ(kNonpresent, 0x8000000000000000u);
  for (const TestFormat& t : test_formats()) {
    const bool old = t.design->name == "linux-6.12";
    EXPECT_EQ(t.fmt.frozen, old ? 0x80000000000005a0u : 0x80000000000001a0u) << t.name;
    for (const uint64_t v : {kNonpresent, t.fmt.frozen}) {
      EXPECT_FALSE(is_shadow_present_pte<>(v)) << t.name;
      EXPECT_FALSE(is_mmio_spte<>(t.fmt, v)) << t.name;
    }
  }
}

// 6.12 leaves D out when the old value has W and is "last", whatever it is.
TEST(SpteValues, DirtyIsDroppedOverAWritableOldValue) {
  const Column c = npt("linux-6.12");
  EXPECT_EQ(c.leaf(1, 0x6800e67), 0xe27u);
  EXPECT_EQ(c.leaf(2, 0x6800ee7), 0xea7u);
  EXPECT_EQ(c.leaf(1, make_mmio_spte<>(c.t.fmt, 5, 4)), 0xe27u);
  EXPECT_EQ(c.leaf(2, c.table()), 0xee7u);
  EXPECT_EQ(npt("linux-7.2").leaf(1, 0x6800e67), 0xe67u);
}

struct EptValues {
  uint64_t table, leaf4k, wrprot, read_only, huge, prefetched_huge, prefetched_read_only, aged;
};

void expect_ept(const Column& c, const EptValues& v) {
  SCOPED_TRACE(c.t.name);
  EXPECT_EQ(c.table(), v.table);
  EXPECT_EQ(c.leaf(1), v.leaf4k);
  EXPECT_EQ(c.leaf(1) & ~kPtWritable, v.wrprot);
  EXPECT_EQ(c.read_only(1), v.read_only);
  EXPECT_EQ(c.leaf(2), v.huge);
  EXPECT_EQ(c.leaf(3), v.huge);
  EXPECT_EQ(c.prefetched(2, true), v.prefetched_huge);
  EXPECT_EQ(c.prefetched(1, false), v.prefetched_read_only);
  EXPECT_EQ(mark_spte_for_access_track<>(c.t.fmt, c.leaf(1)), v.aged);
}

TEST(SpteValues, Ept) {
  expect_ept(ept("linux-7.2"),
             {0x8000000000000d07, 0x80a0000000000f77, 0x80a0000000000f75, 0x8000000000000d75,
              0x80a0000000000ff7, 0x80a0000000000ef7, 0x8000000000000c75, 0x80a0000000000e77});
  expect_ept(ept("linux-6.12"),
             {0x8000000000000907, 0x8600000000000b77, 0x8600000000000b75, 0x8000000000000975,
              0x8600000000000bf7, 0x8600000000000af7, 0x8000000000000875, 0x8600000000000a77});
  EXPECT_EQ(ept("linux-7.2").nx_workaround(2), 0x80a0000000000bf3u);
  EXPECT_EQ(ept("linux-6.12").nx_workaround(2), 0x8600000000000bf3u);
  EXPECT_EQ(ept("linux-7.2").gfn_protected(ept("linux-7.2").leaf(3)), 0x8020000000000ff5u);
  EXPECT_EQ(ept("linux-7.2").leaf(1) & ~ept("linux-7.2").t.fmt.dirty, 0x80a0000000000d77u);
  EXPECT_EQ(ept("linux-6.12").leaf(1) & ~ept("linux-6.12").t.fmt.dirty, 0x8600000000000977u);
}

TEST(SpteValues, EptWithoutAdBits) {
  expect_ept(eptnoad("linux-7.2"),
             {0x9000000000000c07, 0x90a0000000000f77, 0x90a0000000000f75, 0x9000000000000d75,
              0x90a0000000000ff7, 0xd0f0000000000af0, 0xd050000000000870, 0xd0f0000000000a70});
  expect_ept(eptnoad("linux-6.12"),
             {0x8010000000000807, 0x8610000000000877, 0x8610000000000875, 0x8010000000000875,
              0x86100000000008f7, 0x87500000000008f0, 0x8150000000000870, 0x8750000000000870});
  const Column c72 = eptnoad("linux-7.2"), c612 = eptnoad("linux-6.12");
  EXPECT_EQ(c72.gfn_protected(c72.leaf(3)), 0x9020000000000ff5u);
  EXPECT_EQ(c612.gfn_protected(c612.leaf(3)), 0x82100000000008f5u);
  // A fault on a tracked entry restores R and X and sets A; a write sets W as well.
  EXPECT_EQ(restore_acc_track_spte<>(c72.t.fmt, 0xd0f0000000000a70), 0x90a0000000000f75u);
  EXPECT_EQ(restore_acc_track_spte<>(c612.t.fmt, 0x8750000000000870), 0x8610000000000875u);
}

TEST(SpteValues, EptExecOnlyOrNotMakesNoDifferenceToLeafs) {
  for (const bool exec_only : {true, false}) {
    HostMmu host = ept("linux-6.12").t.host;
    host.exec_only = exec_only;
    const SpteFormat f = make_spte_format(*find_design("linux-6.12"), host);
    EXPECT_EQ(make_spte<>(f, {}, 0, kNonpresent), 0x8600000000000b77u);
  }
}

TEST(SpteValues, TdAndGuestMode) {
  const Column td = ept("linux-7.2", 0x30);  // no IPAT
  EXPECT_EQ(td.leaf(1), 0x80a0000000000f37u);
  EXPECT_EQ(td.leaf(2), 0x80a0000000000fb7u);
  EXPECT_EQ(td.prefetched(1, true), 0x80a0000000000e37u);
  EXPECT_EQ(ept("linux-7.2").guest_mode(1), 0xa0a0000000000f77u);
  EXPECT_EQ(ept("linux-7.2").guest_mode(1) & ~kPtWritable, 0xa0a0000000000f75u);
  EXPECT_EQ(ept("linux-6.12").guest_mode(1), 0x8620000000000b77u);
  EXPECT_EQ(ept("linux-6.12").guest_mode(1) & ~kPtWritable, 0x8620000000000b75u);
}

TEST(SpteValues, Mmio) {
  const SpteFormat npt612 = npt("linux-6.12").t.fmt, npt72 = npt("linux-7.2").t.fmt;
  EXPECT_EQ(make_mmio_spte<>(npt612, 0x100, 4), 0x8000000100027u);
  EXPECT_EQ(make_mmio_spte<>(npt612, 0x100, 6), 0x8000000100037u);
  EXPECT_EQ(make_mmio_spte<>(npt612, 0, 0x100), 0x0018000000000007u);
  EXPECT_EQ(make_mmio_spte<>(npt72, 0, 0x80), 0x0018000000000007u);
  EXPECT_EQ(make_mmio_spte<>(ept("linux-7.2").t.fmt, 0x90000, 8), 0x90000046u);
  EXPECT_EQ(make_mmio_spte<>(with_td_mmio_value(ept("linux-7.2").t.fmt), 0xfee00, 3), 0xfee00018u);
  for (const TestFormat& t : test_formats()) {
    // The generation comes back whole: 18 bits on 7.2, 19 on 6.12.
    const uint64_t gens = uint64_t{1} << (t.fmt.mmio_gen_low_bits + 11);
    for (uint64_t gen = 1; gen < gens; gen = gen * 3 + 1) {
      const uint64_t spte = make_mmio_spte<>(t.fmt, 0xfee00, gen);
      EXPECT_TRUE(is_mmio_spte<>(t.fmt, spte)) << t.name;
      EXPECT_FALSE(is_shadow_present_pte<>(spte)) << t.name;
      EXPECT_EQ(mmio_spte_generation<>(t.fmt, spte), gen) << t.name;
    }
  }
}

// kvm_mmu_reset_all_pte_masks.
TEST(SpteValues, MasksThatDependOnTheAddressWidth) {
  HostMmu h;
  h.l1tf = true;
  h.maxphyaddr = 46;
  for (const Design& d : designs()) {
    EXPECT_EQ(make_spte_format(d, h).rsvd_mask, uint64_t{0x1f} << 41);
  }
  h.maxphyaddr = 47;  // no room for the bits that are moved up
  for (const Design& d : designs()) EXPECT_EQ(make_spte_format(d, h).rsvd_mask, 0u);
  h.maxphyaddr = 52;
  for (const Design& d : designs()) {
    const SpteFormat f = make_spte_format(d, h);
    EXPECT_EQ(f.mmio_value, 0u);
    EXPECT_EQ(f.mmio_mask, 0u);
    EXPECT_FALSE(f.mmio_caching);
  }
  h.format = PageTableFormat::kEpt;
  for (const Design& d : designs()) EXPECT_TRUE(make_spte_format(d, h).mmio_caching);
}

TEST(SpteValues, SplitAndRecover) {
  const Column c = npt("linux-7.2");
  const uint64_t huge = uint64_t{0x6800} << kPageShift | c.nx_workaround(2);
  EXPECT_EQ(make_huge_page_split_spte<>(c.t.fmt, huge, 1, 3, true), 0x6803e67u);
  EXPECT_EQ(make_huge_page_split_spte<>(c.t.fmt, huge, 1, 3, false), kNx | 0x6803e67);
  EXPECT_EQ(make_huge_page_split_spte<>(c.t.fmt, 0x40000ee7, 2, 2, false), 0x40400ee7u);
  EXPECT_EQ(make_huge_spte<>(c.t.fmt, 0x6803e65, 2, false), 0x6800ee5u);
  EXPECT_EQ(make_huge_spte<>(c.t.fmt, 0x6803e67, 2, true), kNx | 0x6800ee7);
}

TEST(SpteValues, Roles) {
  const Design& d612 = *find_design("linux-6.12");
  const Design& d72 = *find_design("linux-7.2");
  for (const uint32_t role : {0x3784u, 0x6f84u, 0x86f84u}) {
    EXPECT_EQ(role_level(role), 4);
    EXPECT_EQ(role_as_id(role), 0u);
    EXPECT_FALSE(role_ad_disabled(role) || role_guest_mode(role));
  }
  EXPECT_TRUE(role_mirror(0x86f84));
  EXPECT_FALSE(role_mirror(0x6f84));
  for (const uint32_t role : {0x16f84u, 0x13784u}) EXPECT_TRUE(role_ad_disabled(role));
  for (const uint32_t role : {0x26f84u, 0x23784u}) EXPECT_TRUE(role_guest_mode(role));
  EXPECT_TRUE(role_guest_mode(0x36f84) && role_ad_disabled(0x36f84));
  for (const uint32_t role : {0x1006f84u, 0x1003784u}) EXPECT_EQ(role_as_id(role), 1u);
  EXPECT_EQ(role_level(0x6f85), 5);
  EXPECT_EQ(role_child(0x6f84), 0x6f83u);
  // What an invalidated root shows.
  EXPECT_EQ(0x6f84 | role_invalid_mask(d72), 0x7f84u);
  EXPECT_EQ(0x3784 | role_invalid_mask(d612), 0x3f84u);
}

// The changes that handle_changed_spte refuses, one by one.
TEST(SpteChanges, FirstBrokenRule) {
  const SpteFormat f = npt("linux-7.2").t.fmt;
  const auto broken = [&](int level, uint64_t gfn, uint64_t old_spte, uint64_t new_spte) {
    return first_broken_rule(f, gfn, level, old_spte, new_spte);
  };
  EXPECT_EQ(broken(1, 1, kNonpresent, 0x1000e67), ChangeRule::kNone);
  EXPECT_EQ(broken(6, 0, kNonpresent, 0x1000e67), ChangeRule::kLevel);
  EXPECT_EQ(broken(2, 1, kNonpresent, 0x200ee7), ChangeRule::kAlignment);
  EXPECT_EQ(broken(1, 1, 0x1000e67, 0x2000e67), ChangeRule::kLeafPfnChanged);
  EXPECT_EQ(broken(1, 1, 0x1000e67, 0x1000e27), ChangeRule::kNone);
  EXPECT_EQ(broken(1, 1, kNonpresent, f.frozen), ChangeRule::kNone);
  EXPECT_EQ(broken(1, 1, f.frozen, kNonpresent), ChangeRule::kNonpresentChange);
  EXPECT_EQ(broken(1, 1, make_mmio_spte<>(f, 1, 4), kNonpresent), ChangeRule::kNone);
  EXPECT_EQ(broken(2, 0, 0x1000827, 0x2000827), ChangeRule::kTableMoved);
  EXPECT_EQ(broken(2, 0, 0x1000827, 0x200ee7), ChangeRule::kNone);
  EXPECT_EQ(broken(1, 1, kNonpresent, 0x1000c67), ChangeRule::kMmuWritable);
  EXPECT_EQ(broken(1, 1, kNonpresent, 0x1000a67), ChangeRule::kWritable);
}

}  // namespace
}  // namespace mmucheck::model
