// tools/import/ftrace: what must be known of a whole recording before its first event is given out.
//
// Contract: a Profiler sees every line once (the first of two passes) and keeps only what follows:
// which kinds occur, which kernel, which SPTE format, where the direct map starts, how far the mmu
// notifier lies from struct kvm. What the text does not show stays unset. Sources of the signs:
// probe text handle_changed_spte (6.12) / __handle_changed_spte (7.2), the frozen SPTE value
// (spte.h: FROZEN_SPTE), the role word (kvm_host.h: union kvm_mmu_page_role), the access letters of
// kvm_mmu_get_page, suppress-VE (bit 63) and memory type (bits 5:3) of EPT entries.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <utility>

#include "checker/trace/event_source.h"
#include "tools/import/ftrace/ids.h"
#include "tools/import/ftrace/raw_event.h"
#include "tools/import/ftrace/tokenizer.h"

namespace mmucheck::import {

struct MirrorFacts {
  bool mirror = false;           // alloc_root mirror=1 was seen
  uint64_t direct_gfn_bits = 0;  // the shared bit, as a bit of the gfn; 0 unknown
};

struct Profile {
  trace::KindSet kinds;  // that occur
  trace::KernelVersion kernel = trace::KernelVersion::kUnknown;
  trace::SpteFormat format = trace::SpteFormat::kUnknown;
  std::optional<bool> ad_bits;
  uint32_t levels = 0;  // of the root; 0 unknown
  bool counter_clock = false;
  std::optional<uint64_t> direct_map_base;
  std::optional<uint64_t> notifier_offset;
  std::optional<bool> nx_workaround;     // as the first fault had it
  std::optional<uint64_t> memtype_bits;  // bits 6:3 of the first EPT leaf
  std::optional<bool> nx_at_start;       // as module_params tells it; see config_packets.h
  uint32_t zap_levels = 0;               // bit by level: passes of __tdp_mmu_zap_root() seen
  uint32_t maxphyaddr = 0;               // that the gfns of changed entries need; 0: the usual do
  bool pml = false;                      // D-bit based dirty logging was seen
  bool has_header = false;               // entries-in-buffer/entries-written
  uint64_t header_kept = 0;
  uint64_t header_written = 0;
  bool lost_lines = false;
  uint64_t lost_count = 0;  // of lines that say how many
  // By struct kvm and how many VMs lived there before, counting from 1.
  std::map<std::pair<uint64_t, uint32_t>, MirrorFacts> mirrors;
};

class Profiler {
 public:
  void see(const Line& line);
  Profile finish();

 private:
  struct ThreadNotes {
    uint64_t pending_mn = 0;   // mn_inv_start without inv_begin so far
    uint64_t pending_spt = 0;  // init_sp without its link so far
  };

  bool wanted(trace::EventKind kind, bool first) const;
  void see_event(RawEvent& raw, const Line& line);
  void see_spte(uint64_t old_spte, uint64_t new_spte, uint64_t level);
  void see_role(uint64_t role);
  void see_gfn(uint64_t gfn);
  void vote_base(uint64_t va, uint64_t pa);

  Profile profile_;
  ThreadMap<ThreadNotes> threads_;
  VmTable vms_;
  RawEvent raw_;
  uint64_t by_probe_[2] = {0, 0};  // signs for 6.12 and for 7.2, the stronger kinds of sign first
  uint64_t by_frozen_[2] = {0, 0};
  uint64_t by_text_[2] = {0, 0};
  uint64_t by_role_[2] = {0, 0};
  uint64_t npt_ = 0, ept_ = 0;
  uint64_t no_ad_612_ = 0, no_ad_72_ = 0;
  bool saw_ad_ = false, saw_not_ad_ = false;
  std::map<uint64_t, uint32_t> base_votes_;
  struct EntryPlace {
    uint64_t gfn = 0;
    uint64_t pa = 0;
  };
  std::array<EntryPlace, 1024> places_;  // by gfn: where kvm_mmu_set_spte saw the entry
  uint64_t lowest_table_ = UINT64_MAX;   // of all virtual addresses of tables and entries
  uint64_t highest_gfn_ = 0;             // of changed entries
  uint32_t high_gfns_ = 0;               // changes beyond what most hosts have
  uint32_t max_level_ = 0;
};

}  // namespace mmucheck::import
