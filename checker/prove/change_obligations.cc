// Changes of an SPTE: what the legal ones can and cannot do.
#include <fmt/format.h>

#include "checker/prove/formats.h"
#include "checker/prove/groups.h"
#include "model/spte/change.h"

namespace mmucheck::prove {
namespace {

using namespace model;

template <class Make>
std::vector<Query> each_level(Make make) {
  std::vector<Query> q;
  for (const NamedFormat& n : formats()) {
    for (int level = kPgLevel4K; level <= kMaxRootLevel; level++) {
      Query one = make(n.f, level);
      one.instance = fmt::format("{}, level {}", n.name, level);
      q.push_back(one);
    }
  }
  return q;
}

B present_leaf(const U& spte, int level) {
  return is_shadow_present_pte<T>(spte) && is_last_spte<T>(spte, level);
}
B present_table(const U& spte, int level) {
  return is_shadow_present_pte<T>(spte) && !is_last_spte<T>(spte, level);
}

std::vector<Query> leaf_keeps_pfn() {
  return each_level([](const SpteFormat& f, int level) -> Query {
    const U o = var("old"), n = var("new");
    return {"",
            legal_change<T>(f, o, n, level) && present_leaf(o, level) && present_leaf(n, level),
            spte_to_pfn<T>(o) == spte_to_pfn<T>(n),
            {}};
  });
}

std::vector<Query> table_stays_put() {
  std::vector<Query> q = each_level([](const SpteFormat& f, int level) -> Query {
    const U o = var("old"), n = var("new");
    return {"",
            legal_change<T>(f, o, n, level) && present_table(o, level),
            !present_table(n, level) || spte_to_pfn<T>(o) == spte_to_pfn<T>(n),
            {}};
  });
  // A 4K entry is no table.
  std::erase_if(q, [](const Query& one) { return one.instance.ends_with("level 1"); });
  return q;
}

std::vector<Query> removal_seen() {
  std::vector<Query> q = each_level([](const SpteFormat& f, int level) -> Query {
    const U o = var("old"), n = var("new");
    const ChangeKind<T> k = classify_change<T>(o, n, level);
    return {"",
            legal_change<T>(f, o, n, level) && present_table(o, level) && o != n,
            iff(change_removes_table<T>(k), !present_table(n, level)),
            {}};
  });
  std::erase_if(q, [](const Query& one) { return one.instance.ends_with("level 1"); });
  return q;
}

std::vector<Query> writable_leaf() {
  return each_level([](const SpteFormat& f, int level) -> Query {
    const U o = var("old"), n = var("new");
    return {"",
            legal_change<T>(f, o, n, level) && present_leaf(n, level) && is_writable_pte<T>(n),
            is_mmu_writable_spte<T>(f, n) && is_host_writable_spte<T>(f, n),
            {}};
  });
}

std::vector<Query> zap_is_legal() {
  return each_level([](const SpteFormat& f, int level) -> Query {
    const U o = var("old");
    return {"",
            is_shadow_present_pte<T>(o) || is_mmio_spte<T>(f, o),
            legal_change<T>(f, o, U(kNonpresent), level),
            {}};
  });
}

std::vector<Query> freeze_is_legal() {
  return each_level([](const SpteFormat& f, int level) -> Query {
    return {"", true, legal_change<T>(f, var("old"), U(f.frozen), level), {}};
  });
}

// W goes only with a flush, unless the entry stays MMU-writable.
std::vector<Query> write_protect_flushes() {
  return each_level([](const SpteFormat& f, int level) -> Query {
    const U o = var("old"), n = var("new");
    return {"",
            legal_change<T>(f, var("before"), o, level) && present_leaf(o, level) &&
                is_writable_pte<T>(o) && !is_mmu_writable_spte<T>(f, n),
            leaf_change_needs_flush<T>(f, o, n),
            {}};
  });
}

// Whatever can change an entry behind the back of the write lock: the CPU sets D in a writable
// entry with A/D bits, a fast page fault gives W back to an MMU-writable one.
std::vector<Query> atomic_write() {
  std::vector<Query> q;
  for (const NamedFormat& n : formats()) {
    const SpteFormat& f = n.f;
    for (int level = kPgLevel4K; level <= kMaxHugepageLevel; level++) {
      const U s = var("spte");
      const B hardware_dirty = spte_ad_enabled<T>(f, s) && is_writable_pte<T>(s);
      const B fast_fault = is_mmu_writable_spte<T>(f, s) && !is_writable_pte<T>(s);
      U after = s;
      after |= T::ite(hardware_dirty, U(f.dirty), U(0));
      after |= T::ite(fast_fault, U(kPtWritable), U(0));
      q.push_back({fmt::format("{}, level {}", n.name, level),
                   present_leaf(s, level) && after != s,
                   spte_need_atomic_write<T>(f, s, level),
                   {{"after", after}}});
    }
  }
  return q;
}

std::vector<Query> atomic_write_leafs() {
  return each_level([](const SpteFormat& f, int level) -> Query {
    const U s = var("spte");
    return {"", spte_need_atomic_write<T>(f, s, level), present_leaf(s, level), {}};
  });
}

// A step of the CPU's A bit. 7.x leaves it out of the test on purpose ("A deliberately ignored").
std::vector<Query> atomic_write_accessed() {
  std::vector<Query> q;
  for (const NamedFormat& n : formats()) {
    if (!n.ad_bits) continue;
    const SpteFormat& f = n.f;
    const U s = var("spte");
    const U after = s | T::ite(spte_ad_enabled<T>(f, s), U(f.accessed), U(0));
    q.push_back({n.name + ", level 1",
                 present_leaf(s, kPgLevel4K) && spte_ad_enabled<T>(f, s),
                 implies(after != s, spte_need_atomic_write<T>(f, s, kPgLevel4K)),
                 {{"after", after}}});
  }
  return q;
}

}  // namespace

std::vector<Obligation> change_obligations() {
  constexpr std::string_view bound = "NPT and EPT of 6.12 and 7.2, levels 1-5, every value";
  return {
      {"change.leaf-keeps-pfn", "no legal change turns a present leaf into one of another pfn",
       "tdp_mmu.c: __handle_changed_spte", bound, leaf_keeps_pfn},
      {"change.table-stays-put", "no legal change turns a present table into another table",
       "tdp_mmu.c: __handle_changed_spte", bound, table_stays_put},
      {"change.removal-is-noticed",
       "a legal change away from a table removes its page table iff no table is left",
       "tdp_mmu.c: __handle_changed_spte, handle_removed_pt", bound, removal_seen},
      {"change.writable-leaf", "a legally written leaf with W is MMU-writable and host-writable",
       "spte.h: check_spte_writable_invariants", bound, writable_leaf},
      {"change.zap-is-legal", "any present or MMIO entry may become non-present",
       "tdp_mmu.c: __handle_changed_spte", bound, zap_is_legal},
      {"change.freeze-is-legal", "any entry may become frozen", "tdp_mmu.c: __handle_changed_spte",
       bound, freeze_is_legal},
      {"change.write-protect-flushes",
       "a writable leaf that stops being MMU-writable needs a TLB flush",
       "spte.h: leaf_spte_change_needs_tlb_flush", bound, write_protect_flushes},
      {"change.atomic-write",
       "an entry in which the CPU may set D, or a fast page fault W, is written atomically",
       "tdp_iter.h: kvm_tdp_mmu_spte_need_atomic_write",
       "NPT and EPT of 6.12 and 7.2, levels 1-3, every value", atomic_write},
      {"change.atomic-write.leafs",
       "only present leafs are written atomically under the write lock",
       "tdp_iter.h: kvm_tdp_mmu_spte_need_atomic_write", bound, atomic_write_leafs},
      {"change.atomic-write.accessed", "an entry in which the CPU may set A is written atomically",
       "tdp_iter.h: kvm_tdp_mmu_spte_need_atomic_write",
       "NPT and EPT with A/D bits, level 1, every value", atomic_write_accessed},
  };
}

}  // namespace mmucheck::prove
