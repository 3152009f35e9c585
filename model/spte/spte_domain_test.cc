// Every rule on SPTE words gives the same over Concrete and Term: all formats, both designs, at
// least 10^5 inputs a rule.
#include <gtest/gtest.h>

#include "model/domain/domain_compare_test.h"
#include "model/spte/change.h"
#include "model/spte/test_formats.h"

namespace mmucheck::model {
namespace {

constexpr uint64_t kPerRule = 120'000;

// Words that rules tell apart: entries that the format itself builds, with some bits turned.
uint64_t random_spte(TestRng& rng, const SpteFormat& f) {
  MakeSpte in;
  in.level = 1 + static_cast<int>(rng() % 3);
  in.prefetch = rng() % 2;
  in.host_writable = rng() % 4 != 0;
  in.ad_disabled = !f.ad_enabled;
  uint64_t v;
  switch (rng() % 8) {
    case 0: v = kNonpresent; break;
    case 1: v = f.frozen; break;
    case 2: v = make_mmio_spte<>(f, rng() & 0xfffffff, rng() & 0x3ffff); break;
    case 3: v = make_nonleaf_spte<>(f, rng() & 0xffffff, !f.ad_enabled); break;
    case 4: return random_word(rng);
    default: v = make_spte<>(f, in, rng() & 0xffffff, kNonpresent); break;
  }
  if (rng() % 4 == 0) v &= ~(f.accessed | f.dirty);
  if (rng() % 4 == 0) v = mark_spte_for_access_track<>(f, v);
  for (uint64_t n = rng() % 3; n > 0; n--) v ^= uint64_t{1} << (rng() % 64);
  return v;
}

// `rule(D{}, f, in, level)` over every format and level 1..3.
template <size_t N, class Rule>
uint64_t check(const char* name, Rule rule) {
  TestRng rng(std::hash<std::string_view>()(name));
  uint64_t nonzero = 0;
  const std::vector<TestFormat> formats = test_formats();
  for (const TestFormat& t : formats) {
    for (int level = kPgLevel4K; level <= kPgLevel1G; level++) {
      const SpteFormat& f = t.fmt;
      nonzero += compare_domains<N>(
          std::string(name) + " " + t.name, rng, kPerRule / (3 * formats.size()),
          [&]<class D>(D d, const std::array<U64Of<D>, N>& in) { return rule(d, f, in, level); },
          [&](TestRng& r) {
            std::array<uint64_t, N> in;
            for (uint64_t& v : in) v = random_spte(r, f);
            // Changes of one entry to itself with few bits turned are the interesting ones.
            if constexpr (N > 1) {
              if (r() % 2) in[1] = in[0] ^ (uint64_t{1} << (r() % 64));
            }
            return in;
          });
    }
  }
  return nonzero;
}

// A predicate must also come out both ways often enough.
template <size_t N, class Rule>
void check_predicate(const char* name, Rule rule) {
  const uint64_t yes = check<N>(name, rule);
  EXPECT_GT(yes, kPerRule / 200) << name;
  EXPECT_LT(yes, kPerRule - kPerRule / 200) << name;
}

#define MMU_RULE(n, check_fn, name, ...)                                                   \
  check_fn<n>(name, []<class D>(D, [[maybe_unused]] const SpteFormat& f,                   \
                                const std::array<U64Of<D>, n>& in, [[maybe_unused]] int level) { \
    return __VA_ARGS__;                                                                    \
  })

TEST(SpteDomains, Predicates) {
  MMU_RULE(1, check_predicate, "has_bits", has_bits<D>(in[0], f.accessed | f.dirty));
  MMU_RULE(1, check_predicate, "is_shadow_present_pte", is_shadow_present_pte<D>(in[0]));
  MMU_RULE(1, check_predicate, "is_large_pte", is_large_pte<D>(in[0]));
  MMU_RULE(1, check_predicate, "is_last_spte", is_last_spte<D>(in[0], level));
  MMU_RULE(1, check_predicate, "is_frozen_spte", is_frozen_spte<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "is_mmio_spte", is_mmio_spte<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "is_writable_pte", is_writable_pte<D>(in[0]));
  MMU_RULE(1, check_predicate, "is_mmu_writable_spte", is_mmu_writable_spte<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "is_host_writable_spte", is_host_writable_spte<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "is_executable_pte", is_executable_pte<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "spte_ad_enabled", spte_ad_enabled<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "spte_ad_need_write_protect",
           spte_ad_need_write_protect<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "is_access_track_spte", is_access_track_spte<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "is_accessed_spte", is_accessed_spte<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "is_dirty_spte", is_dirty_spte<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "spte_need_atomic_write",
           spte_need_atomic_write<D>(f, in[0], level));
  MMU_RULE(1, check_predicate, "read allowed", is_access_allowed<D>(f, {}, in[0]));
  MMU_RULE(1, check_predicate, "write allowed", is_access_allowed<D>(f, {true, false}, in[0]));
  MMU_RULE(1, check_predicate, "exec allowed", is_access_allowed<D>(f, {false, true}, in[0]));
}

TEST(SpteDomains, Values) {
  MMU_RULE(1, check, "spte_to_pfn", spte_to_pfn<D>(in[0]));
  MMU_RULE(1, check, "mark_spte_for_access_track", mark_spte_for_access_track<D>(f, in[0]));
  MMU_RULE(1, check, "restore_acc_track_spte", restore_acc_track_spte<D>(f, in[0]));
  MMU_RULE(1, check, "make_nonleaf_spte", make_nonleaf_spte<D>(f, in[0], !f.ad_enabled));
  MMU_RULE(2, check, "make_mmio_spte", make_mmio_spte<D>(f, in[0], in[1]));
  MMU_RULE(1, check, "mmio_spte_generation", mmio_spte_generation<D>(f, in[0]));
  MMU_RULE(1, check, "make_spte_executable", make_spte_executable<D>(f, in[0]));
  MMU_RULE(1, check, "make_spte_nonexecutable", make_spte_nonexecutable<D>(f, in[0]));
  MMU_RULE(1, check, "make_huge_page_split_spte",
           make_huge_page_split_spte<D>(f, in[0], level, 77, true));
  MMU_RULE(1, check, "make_huge_page_split_spte without the workaround",
           make_huge_page_split_spte<D>(f, in[0], level, 511, false));
  MMU_RULE(1, check, "make_huge_spte", make_huge_spte<D>(f, in[0], level + 1, true));
  MMU_RULE(1, check, "make_huge_spte without the workaround",
           make_huge_spte<D>(f, in[0], level + 1, false));
}

TEST(SpteDomains, MakeSpteInAllItsForms) {
  TestRng rng(5);
  uint64_t inputs = 0;
  for (const TestFormat& t : test_formats()) {
    for (uint32_t form = 0; form < 3 * 64; form++) {
      MakeSpte in;
      in.level = 1 + static_cast<int>(form / 64);
      in.ad_disabled = form & 1;
      in.wrprot_only = form & 2;
      in.prefetch = form & 4;
      in.host_writable = form & 8;
      in.write_tracked = form & 16;
      in.nx_huge_page_enabled = form & 32;
      compare_domains<2>("make_spte " + t.name, rng, 110,
                         [&]<class D>(D, const std::array<U64Of<D>, 2>& v) {
                           return make_spte<D>(t.fmt, in, v[0], v[1]);
                         },
                         [&](TestRng& r) {
                           return std::array<uint64_t, 2>{r() & 0xffffffffff, random_spte(r, t.fmt)};
                         });
      inputs += 110;
    }
  }
  EXPECT_GE(inputs, 100'000u);
}

TEST(SpteDomains, Changes) {
  MMU_RULE(2, check_predicate, "was_present", classify_change<D>(in[0], in[1], level).was_present);
  MMU_RULE(2, check_predicate, "is_present", classify_change<D>(in[0], in[1], level).is_present);
  MMU_RULE(2, check_predicate, "was_leaf", classify_change<D>(in[0], in[1], level).was_leaf);
  MMU_RULE(2, check_predicate, "is_leaf", classify_change<D>(in[0], in[1], level).is_leaf);
  MMU_RULE(2, check_predicate, "pfn_changed", classify_change<D>(in[0], in[1], level).pfn_changed);
  MMU_RULE(2, check_predicate, "change_removes_table",
           change_removes_table<D>(classify_change<D>(in[0], in[1], level)));
  MMU_RULE(2, check_predicate, "legal_leaf_pfn",
           legal_leaf_pfn<D>(classify_change<D>(in[0], in[1], level)));
  MMU_RULE(2, check_predicate, "legal_nonpresent",
           legal_nonpresent<D>(f, in[0], in[1], classify_change<D>(in[0], in[1], level)));
  MMU_RULE(2, check_predicate, "legal_table_move",
           legal_table_move<D>(classify_change<D>(in[0], in[1], level)));
  MMU_RULE(1, check_predicate, "legal_mmu_writable", legal_mmu_writable<D>(f, in[0]));
  MMU_RULE(1, check_predicate, "legal_writable", legal_writable<D>(f, in[0]));
  MMU_RULE(2, check_predicate, "leaf_change_needs_flush",
           leaf_change_needs_flush<D>(f, in[0], in[1]));
}

#undef MMU_RULE

}  // namespace
}  // namespace mmucheck::model
