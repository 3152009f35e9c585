// Addresses: gpa, gfn and the shared bit; what a fault makes of its address (seed 000).
#include <fmt/format.h>

#include "checker/invariant/rules.h"
#include "checker/prove/groups.h"
#include "checker/prove/vm_kind.h"
#include "model/address/alias.h"
#include "model/tdx/operand_rules.h"

namespace mmucheck::prove {
namespace {

using namespace model;

constexpr VmKind kAll[] = {kTds[0],
                           kTds[1],
                           {"no shared bit, 48 bits", false, 48, 4},
                           {"no shared bit, 52 bits", false, 52, 5}};

B below(const U& v, int bits) {
  return v >> bits == U(0);
}

std::vector<Query> round_trip() {
  std::vector<Query> q;
  for (const VmKind& vm : kTds) {
    const Gpa<T> gpa{var("gpa")};
    const U bits(vm.direct_bits());
    const Gfn<T> gfn = strip_direct_bits<T>(bits, gpa_to_gfn<T>(gpa));
    const U shared = T::ite(is_addr_direct<T>(bits, gpa), bits, U(0));
    const U offset = gpa.v & U((uint64_t{1} << kPageShift) - 1);
    q.push_back({vm.name,
                 below(gpa.v, vm.gpa_bits),
                 ((gfn.v | shared) << kPageShift | offset) == gpa.v && gfn.v < bits,
                 {{"gfn", gfn.v}}});
  }
  return q;
}

std::vector<Query> direct_iff_alias() {
  std::vector<Query> q;
  for (const VmKind& vm : kTds) {
    const Gpa<T> gpa{var("gpa")};
    q.push_back({vm.name,
                 true,
                 iff(is_addr_direct<T>(U(vm.direct_bits()), gpa),
                     is_gfn_alias<T>(U(vm.direct_bits()), gpa_to_gfn<T>(gpa))),
                 {}});
  }
  return q;
}

std::vector<Query> module_agrees() {
  std::vector<Query> q;
  for (const VmKind& vm : kTds) {
    const Gpa<T> gpa{var("gpa")};
    q.push_back(
        {vm.name,
         below(gpa.v, vm.gpa_bits),
         iff(!is_addr_direct<T>(U(vm.direct_bits()), gpa), tdx::gpa_is_private<T>(gpa.v, vm.gpa_bits)),
         {}});
  }
  return q;
}

// The gfn that a walk of the fault's root is indexed with, from an address that kept the bit, and
// from one that lost it and a root of the fault's kind.
std::vector<Query> strip_and_rebuild() {
  std::vector<Query> q;
  for (const VmKind& vm : kAll) {
    for (const bool mirror : {false, true}) {
      if (mirror && !vm.td) continue;
      const Gpa<T> gpa{var("gpa")};
      const U bits(vm.direct_bits());
      const Gfn<T> kept = gpa_to_gfn<T>(gpa);
      const Gfn<T> stripped = gpa_to_gfn<T>(seed000_stripped_addr<T>(bits, gpa));
      const U rebuilt = stripped.v | gfn_bits_of_root<T>(bits, mirror);
      const B direct = is_addr_direct<T>(bits, gpa);
      B same = true;
      for (int level = 1; level <= vm.root_level; level++) {
        same = same && spte_index<T>(kept.v, level) == spte_index<T>(rebuilt, level);
      }
      q.push_back({std::string(vm.name) + (mirror ? ", mirror root" : ", direct root"),
                   below(gpa.v, vm.gpa_bits) && (mirror ? !direct : direct),
                   same,
                   {{"kept", kept.v}, {"rebuilt", rebuilt}}});
    }
  }
  return q;
}

// tdp_mmu_get_root_for_fault asks the address.
std::vector<Query> root_after_strip() {
  std::vector<Query> q;
  for (const VmKind& vm : kTds) {
    const Gpa<T> gpa{var("gpa")};
    const U bits(vm.direct_bits());
    const B kept = is_addr_direct<T>(bits, gpa);
    const B stripped = is_addr_direct<T>(bits, seed000_stripped_addr<T>(bits, gpa));
    q.push_back({vm.name,
                 below(gpa.v, vm.gpa_bits),
                 iff(kept, stripped),
                 {{"direct_by_gpa", number(kept)}, {"direct_by_stripped_addr", number(stripped)}}});
  }
  return q;
}

std::vector<Query> fault_gfn_stripped() {
  std::vector<Query> q;
  for (const VmKind& vm : kAll) {
    for (const bool keep : {true, false}) {
      const Gpa<T> gpa{var("gpa")};
      const U bits(vm.direct_bits());
      const Gpa<T> addr = keep ? gpa : seed000_stripped_addr<T>(bits, gpa);
      const Gfn<T> gfn = strip_direct_bits<T>(bits, gpa_to_gfn<T>(addr));
      q.push_back({std::string(vm.name) + (keep ? ", addr keeps the bit" : ", addr stripped"),
                   true,
                   !is_gfn_alias<T>(bits, gfn),
                   {{"fault_gfn", gfn.v}}});
    }
  }
  return q;
}

std::vector<Query> meanings_agree() {
  std::vector<Query> q;
  for (const VmKind& vm : kAll) {
    const Gpa<T> gpa{var("gpa")};
    const U bits(vm.direct_bits());
    const Gpa<T> addr = seed000_stripped_addr<T>(bits, gpa);
    const Gfn<T> g1 = strip_direct_bits<T>(bits, gpa_to_gfn<T>(gpa));
    const Gfn<T> g2 = strip_direct_bits<T>(bits, gpa_to_gfn<T>(addr));
    B same = g1.v == g2.v;
    if (!vm.td) same = same && gpa.v == addr.v;
    for (int level = 1; level <= vm.root_level; level++) {
      for (const bool mirror : {false, true}) {
        const U or_in = gfn_bits_of_root<T>(bits, mirror);
        same = same && spte_index<T>(g1.v | or_in, level) == spte_index<T>(g2.v | or_in, level);
      }
    }
    q.push_back({vm.name, true, same, {{"addr", addr.v}}});
  }
  return q;
}

std::vector<Query> gfn_has_place() {
  std::vector<Query> q;
  for (const VmKind& vm : kAll) {
    const Gfn<T> gfn = gpa_to_gfn<T>({var("gpa")});
    q.push_back({vm.name,
                 below(var("gpa"), vm.gpa_bits),
                 invariant::gfn_has_its_place<T>(gfn.v, vm.root_level),
                 {{"gfn", gfn.v}}});
  }
  return q;
}

}  // namespace

std::vector<Obligation> address_obligations() {
  return {
      {"address.round-trip", "a gpa is its gfn without the shared bit, that bit, and its offset",
       "mmu.h: gpa_to_gfn, kvm_is_addr_direct; kvm_mmu_do_page_fault", "GPAW 48 and 52, every gpa",
       round_trip},
      {"address.direct-iff-alias", "an address of a TD is direct iff its gfn is an alias",
       "mmu.h: kvm_is_addr_direct, kvm_is_gfn_alias", "GPAW 48 and 52, every gpa",
       direct_iff_alias},
      {"address.module-agrees",
       "what KVM takes for private is what the TDX module accepts as a private GPA",
       "mmu.h: kvm_is_addr_direct; TDX module: check_gpa_validity", "GPAW 48 and 52, every gpa",
       module_agrees},
      {"address.strip-and-rebuild",
       "stripping fault->addr and OR-ing the root's bits in reaches the same SPTE as keeping it",
       "seed 000; mmu.h: kvm_gfn_root_bits", "all VM kinds, both roots, every gpa",
       strip_and_rebuild},
      {"address.root-choice-after-strip",
       "the choice of a root by address is the same for a stripped fault->addr",
       "seed 000; tdp_mmu.h: tdp_mmu_get_root_for_fault", "GPAW 48 and 52, every gpa",
       root_after_strip},
      {"address.fault-gfn-stripped", "fault->gfn never carries the shared bit",
       "seed 000; mmu_internal.h: kvm_mmu_do_page_fault", "all VM kinds, both meanings of addr",
       fault_gfn_stripped},
      {"address.meanings-agree",
       "both meanings of fault->addr give one gfn and one index; one addr too without a shared bit",
       "seed 000", "all VM kinds, every gpa and level", meanings_agree},
      {"address.gfn-has-its-place",
       "the levels below the root index every bit of a gfn (MMU-PT-ALIAS)",
       "mmu.c: kvm_mmu_get_tdp_level", "all VM kinds, every gpa", gfn_has_place},
  };
}

}  // namespace mmucheck::prove
