// Roots: which one serves a fault, and what the pages below it inherit (seed 000).
#include <fmt/format.h>

#include "checker/prove/groups.h"
#include "checker/prove/vm_kind.h"
#include "model/spte/role.h"
#include "model/tdp/alias.h"

namespace mmucheck::prove {
namespace {

using namespace model;

constexpr VmKind kOthers[] = {kNoSharedBit};

struct NamedSource {
  const char* name;
  FaultSource source;
};
constexpr NamedSource kSources[] = {{"EPT violation", FaultSource::kEptViolation},
                                    {"pre-fault", FaultSource::kPrefault},
                                    {"populate", FaultSource::kPopulate}};
constexpr RootChoice kChoices[] = {RootChoice::kByAddress, RootChoice::kByPrivate};
constexpr FaultAddr kMeanings[] = {FaultAddr::kWalked, FaultAddr::kStripped, FaultAddr::kRaw};
const char* name_of(RootChoice c) {
  return c == RootChoice::kByAddress ? "root by address" : "root by is_private";
}
const char* name_of(FaultAddr m) {
  return m == FaultAddr::kWalked     ? "addr walked"
         : m == FaultAddr::kStripped ? "addr stripped"
                                     : "addr raw";
}

// A fault of one source, as a design sees it.
struct FaultSeen {
  B is_private, mirror, direct;  // `direct`: the address that hardware walked has the shared bit
  B premise;                     // pre-fault and populate name a page without the shared bit
};
FaultSeen seen(const VmKind& vm, FaultSource source, RootChoice choice, FaultAddr meaning) {
  const U bits(vm.direct_bits()), gpa = var("gpa");
  const B attr_private = var("attributes") != U(0);
  const U walked = fault_source_addr<T>(source, gpa, attr_private, bits);
  const B is_private = fault_source_private<T>(source, gpa, attr_private, bits);
  const U addr = fault_addr<T>(meaning, walked, bits);
  return {is_private, fault_walks_mirror<T>(choice, meaning, addr, is_private, bits),
          is_addr_direct<T>(bits, Gpa<T>{walked}),
          source == FaultSource::kEptViolation || (gpa & (bits << kPageShift)) == U(0)};
}

template <class Conclude>
std::vector<Query> each_fault(std::span<const VmKind> vms, Conclude conclude) {
  std::vector<Query> q;
  for (const VmKind& vm : vms) {
    for (const NamedSource& s : kSources) {
      for (const RootChoice choice : kChoices) {
        for (const FaultAddr meaning : kMeanings) {
          const FaultSeen f = seen(vm, s.source, choice, meaning);
          q.push_back(
              {fmt::format("{}, {}, {}, {}", vm.name, s.name, name_of(choice), name_of(meaning)),
               f.premise,
               conclude(f),
               {{"is_private", number(f.is_private)}, {"mirror", number(f.mirror)}}});
        }
      }
    }
  }
  return q;
}

std::vector<Query> mirror_serves_private() {
  return each_fault(kTds, [](const FaultSeen& f) { return implies(f.mirror, f.is_private); });
}
std::vector<Query> private_by_mirror() {
  return each_fault(kTds, [](const FaultSeen& f) { return implies(f.is_private, f.mirror); });
}
std::vector<Query> private_by_mirror_others() {
  return each_fault(kOthers, [](const FaultSeen& f) { return implies(f.is_private, f.mirror); });
}
B three_agree(const FaultSeen& f) {
  return iff(f.is_private, f.mirror) && iff(f.is_private, !f.direct);
}
std::vector<Query> three_tests() {
  return each_fault(kTds, three_agree);
}
std::vector<Query> three_tests_others() {
  return each_fault(kOthers, three_agree);
}

std::vector<Query> child_inherits() {
  std::vector<Query> q;
  for (int level = 5; level >= 2; level--) {
    const U role = var("role");
    const U child = role_word_with_level<U>(role, level - 1);
    q.push_back(
        {fmt::format("child of level {}", level),
         role >> 32 == U(0) && (role & U(kRoleLevelMask)) == U(static_cast<uint64_t>(level)),
         iff(role_word_mirror(role), role_word_mirror(child)) &&
             ((role ^ child) & U(~uint64_t{kRoleLevelMask})) == U(0),
         {{"child", child}}});
  }
  return q;
}

}  // namespace

std::vector<Obligation> root_obligations() {
  constexpr std::string_view root = "tdp_mmu.h: tdp_mmu_get_root_for_fault; v19 062; seed 000";
  constexpr std::string_view tds =
      "GPAW 48 and 52, every gpa, source, root choice, meaning of addr";
  constexpr std::string_view others = "VMs without a shared bit, every gpa and source";
  return {
      {"root.mirror-serves-private", "a fault that walks the mirror root is private", root, tds,
       mirror_serves_private},
      {"root.private-by-mirror", "a private fault of a TD walks the mirror root", root, tds,
       private_by_mirror},
      {"root.private-by-mirror.no-shared-bit",
       "a private fault of a VM without a shared bit walks a mirror root", root, others,
       private_by_mirror_others},
      {"root.three-tests-agree",
       "is_private, the shared bit of the address and the role of the root say the same of a fault",
       root, tds, three_tests},
      {"root.three-tests-agree.no-shared-bit", "they say the same in a VM without a shared bit",
       root, others, three_tests_others},
      {"root.child-inherits-mirror",
       "a page table has the mirror bit of the table above it, and all else of its role but the "
       "level",
       "tdp_mmu.c: tdp_mmu_init_child_sp", "every role, levels 5 to 2", child_inherits},
  };
}

}  // namespace mmucheck::prove
