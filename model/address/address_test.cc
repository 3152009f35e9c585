// Address rules: both domains agree; levels, indices and shared bits by hand.
#include "model/address/address.h"

#include <gtest/gtest.h>

#include "model/domain/domain_compare_test.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kGfns = 100'000;

std::array<uint64_t, 2> gfn_and_bits(TestRng& rng) {
  // The direct bits are none or one bit; often the one of a guest physical address width.
  const uint64_t bits = rng() % 4 == 0 ? 0
                        : rng() % 2    ? gfn_direct_bits_for_gpaw(rng() % 2 ? 48 : 52)
                                       : uint64_t{1} << (rng() % 52);
  return {random_word(rng) & (rng() % 2 ? ~uint64_t{0} : (uint64_t{1} << 52) - 1), bits};
}

TEST(Address, DomainsAgreePerLevel) {
  TestRng rng(3);
  for (int level = kPgLevel4K; level <= kPgLevel256T; level++) {
    compare_domains<2>("gfn_round_for_level", rng, kGfns / 5,
                       [&]<class D>(D, const std::array<U64Of<D>, 2>& in) {
                         return gfn_round_for_level<D>(in[0], level);
                       },
                       gfn_and_bits);
    compare_domains<2>("spte_index", rng, kGfns / 5,
                       [&]<class D>(D, const std::array<U64Of<D>, 2>& in) {
                         return spte_index<D>(in[0] | in[1], level);
                       },
                       gfn_and_bits);
  }
}

TEST(Address, DomainsAgreeOnDirectBits) {
  TestRng rng(4);
  compare_domains<2>("gpa_to_gfn", rng, kGfns,
                     []<class D>(D, const std::array<U64Of<D>, 2>& in) {
                       return gpa_to_gfn<D>(Gpa<D>{in[0]}).v;
                     },
                     gfn_and_bits);
  const uint64_t direct = compare_domains<2>(
      "is_addr_direct", rng, kGfns,
      []<class D>(D, const std::array<U64Of<D>, 2>& in) {
        return is_addr_direct<D>(in[1], Gpa<D>{in[0]});
      },
      gfn_and_bits);
  EXPECT_GT(direct, kGfns / 10);
  EXPECT_LT(direct, kGfns - kGfns / 10);
  compare_domains<2>("strip_direct_bits", rng, kGfns,
                     []<class D>(D, const std::array<U64Of<D>, 2>& in) {
                       return strip_direct_bits<D>(in[1], Gfn<D>{in[0]}).v;
                     },
                     gfn_and_bits);
  compare_domains<2>("is_gfn_alias", rng, kGfns,
                     []<class D>(D, const std::array<U64Of<D>, 2>& in) {
                       return is_gfn_alias<D>(in[1], Gfn<D>{in[0]});
                     },
                     gfn_and_bits);
}

TEST(Address, LevelsByHand) {
  EXPECT_EQ(pages_per_hpage(kPgLevel4K), 1u);
  EXPECT_EQ(pages_per_hpage(kPgLevel2M), 512u);
  EXPECT_EQ(pages_per_hpage(kPgLevel1G), 0x40000u);
  EXPECT_EQ(gfn_round_for_level<>(0x12345, kPgLevel2M), 0x12200u);
  EXPECT_EQ(spte_index<>(0x12345, kPgLevel4K), 0x145u);
  EXPECT_EQ(spte_index<>(0x12345, kPgLevel2M), 0x91u);
  EXPECT_EQ(spte_index<>(uint64_t{1} << 36, kPgLevel256T), 1u);
  EXPECT_EQ(max_gfn_exclusive(48), uint64_t{1} << 36);
}

TEST(Address, SharedBitsByHand) {
  EXPECT_EQ(shared_bit_gpa(48), uint64_t{1} << 47);
  EXPECT_EQ(shared_bit_gpa(52), uint64_t{1} << 51);
  const uint64_t bits = gfn_direct_bits_for_gpaw(48);
  EXPECT_EQ(bits, uint64_t{1} << 35);
  EXPECT_TRUE(is_addr_direct<>(0, Gpa<>{0x1000}));  // no mask: everything is direct
  EXPECT_FALSE(is_addr_direct<>(bits, Gpa<>{0x1000}));
  EXPECT_TRUE(is_addr_direct<>(bits, Gpa<>{shared_bit_gpa(48) | 0x1000}));
  EXPECT_EQ(strip_direct_bits<>(bits, Gfn<>{bits | 7}).v, 7u);
  EXPECT_TRUE(is_gfn_alias<>(bits, Gfn<>{bits | 7}));
  // The shared bit of a 4-level root selects the upper half of its entries.
  EXPECT_EQ(spte_index<>(bits, kPgLevel512G), 256u);
}

}  // namespace
}  // namespace mmucheck::model
