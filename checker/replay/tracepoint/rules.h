// checker/replay/tracepoint: what a replay of tracepoints alone demands, each rule by its stable
// id. A divergence names the rule that excluded the observed event. Sources are functions of
// arch/x86/kvm/mmu; the rules of one change of one entry are those of model/spte/change.h, whose
// ids are in checker/invariant.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace mmucheck::replay {

enum class TpRule : uint8_t {
  kSpace,
  kChain,
  kValue,
  kRequest,
  kLink,
  kSetSpte,
  kRemoval,
  kOrder,
  kSplit,
  kFastFault,
  kMmio,
  kTable,
  kRange,
  kPrivate,
  kProbe,
};

struct TpRuleInfo {
  std::string_view id, statement, source;
};

inline constexpr std::array<TpRuleInfo, 15> kTpRules{{
    {"TP-SPACE",
     "an address space is 0 or 1, of a VM with a mirror 0; a level is between 1 and that of the root",
     "tdp_iter.c: tdp_iter_start; kvm_host.h: kvm_arch_nr_memslot_as_ids"},
    {"TP-CHAIN",
     "the old value of a change is the one that the entry had, but for what the CPU "
     "and fast page faults set in it",
     "tdp_mmu.c: handle_changed_spte"},
    {"TP-VALUE",
     "the new value is one that a zap, a split, write protection, clearing D, ageing "
     "or recovery makes of the old one",
     "tdp_mmu.c: callers of tdp_mmu_set_spte"},
    {"TP-REQUEST",
     "what makes an entry present belongs to a fault of that thread and has the "
     "value that make_spte gives for it",
     "tdp_mmu.c: kvm_tdp_mmu_map, spte.c: make_spte"},
    {"TP-LINK",
     "a table is linked by the thread that has just taken it into use, for that entry, "
     "and the value is make_nonleaf_spte's",
     "tdp_mmu.c: tdp_mmu_link_sp"},
    {"TP-SETSPTE",
     "kvm_mmu_set_spte follows the installation of the leaf in its thread and "
     "repeats it",
     "tdp_mmu.c: tdp_mmu_map_handle_target_level"},
    {"TP-REMOVAL",
     "the entries of a removed table are frozen in order: all 512 of them, or just "
     "the present ones",
     "tdp_mmu.c: handle_removed_pt"},
    {"TP-ORDER", "a walk goes up in gfn: it does not come back for an entry that it passed",
     "tdp_iter.c: tdp_iter_next"},
    {"TP-SPLIT",
     "kvm_mmu_split_huge_page follows the link of the table that replaces a huge page "
     "and reports it",
     "tdp_mmu.c: tdp_mmu_split_huge_page"},
    {"TP-FASTPF",
     "a fast page fault mends a present leaf that is MMU-writable or tracked, and "
     "changes W and the tracked bits alone",
     "mmu.c: fast_page_fault"},
    {"TP-MMIO", "an MMIO entry holds gfn and generation as make_mmio_spte encodes them",
     "spte.c: make_mmio_spte"},
    {"TP-TABLE",
     "an entry's address lies in a live table of that gfn and level; a page is one "
     "table at a time",
     "tdp_mmu.c: tdp_mmu_init_child_sp"},
    {"TP-RANGE", "a change of memory attributes that zaps in a table passes no leaf of its range",
     "mmu.c: kvm_arch_pre_set_memory_attributes"},
    {"TP-PRIVATE", "a gfn of a TD is mapped in its mirror or in its direct root, not in both",
     "mmu.c: kvm_mmu_faultin_pfn, kvm_arch_pre_set_memory_attributes"},
    {"TP-PROBE",
     "what kprobes record of a change is what its tracepoint tells: values, table, and "
     "the address space of the root that the thread walks",
     "tdp_mmu.c: handle_changed_spte, tdp_mmu_init_sp; tdp_iter.c: tdp_iter_start"},
}};

constexpr const TpRuleInfo& info_of(TpRule r) {
  return kTpRules[static_cast<size_t>(r)];
}

}  // namespace mmucheck::replay
