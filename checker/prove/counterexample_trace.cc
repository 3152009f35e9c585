#include "checker/prove/counterexample_trace.h"

#include <fmt/format.h>

#include <algorithm>

#include "model/address/address.h"

namespace mmucheck::prove {
namespace {

using model::kPageShift;

// What a trace is made of: a TD, or a VM without a shared bit, with one slot around a gfn.
class TraceText {
 public:
  TraceText(const Obligation& o, const Result& r, const char* design)
      : td_(r.instance.find("no shared bit") == std::string::npos),
        gpaw_(r.instance.find("GPAW 52") == std::string::npos ? 48 : 52),
        values_(r.first.values) {
    text_ = fmt::format("# {}: {}\n# {}\n", o.name, o.statement, r.instance);
    packet("kernel", "version: KERNEL_VERSION_7_2");
    if (design[0] != 0) packet("design", fmt::format("name: \"{}\"", design));
  }

  uint64_t value(const char* name) const {
    for (const auto& [n, v] : values_) {
      if (n == name) return v;
    }
    return 0;
  }
  uint64_t direct_bits() const { return td_ ? model::gfn_direct_bits_for_gpaw(gpaw_) : 0; }
  uint64_t shared_gpa(uint64_t gfn) const { return (gfn | direct_bits()) << kPageShift; }

  void packet(const char* name, const std::string& fields) {
    text_ += fmt::format("packet {{ {} {{ {} }} }}\n", name, fields);
  }
  // A VM whose slot has `gfn`, private or not, and a finalized TD.
  void vm(uint64_t gfn, bool is_private, bool prove_mmu = false) {
    base_ = gfn & ~uint64_t{0xff};
    if (prove_mmu) packet("module_params", "prove_mmu: true");
    packet("mmu_format", fmt::format("format: SPTE_FORMAT_{} levels: {} maxphyaddr: 52",
                                     td_ ? "EPT" : "NPT", gpaw_ == 48 ? 4 : 5));
    packet("vm_config", fmt::format("gpaw: {}", gpaw_));
    packet("vm_create", td_ ? "vm_type: 5" : "vm_type: 1");
    packet("memslot_create",
           fmt::format("slot: 0 base_gfn: {:#x} npages: 0x100 flags: 4 gmem_fd: 3 hva: {:#x}",
                       base_, kHva));
    packet("vcpu_create", "");
    if (is_private) attributes(gfn, gfn + 1, true);
    packet("root_load", "");
    if (td_) packet("mock_finalize", "");
  }
  void attributes(uint64_t start, uint64_t end, bool is_private) {
    packet("set_attributes",
           fmt::format("start: {:#x} end: {:#x} attributes: {}", start, end, is_private ? 8 : 0));
  }
  void access(uint64_t gfn, bool is_private) {
    if (td_) {
      packet("guest_access",
             fmt::format("gpa: {:#x} write: true is_private: {}",
                         is_private ? gfn << kPageShift : shared_gpa(gfn), is_private));
    } else {
      packet("fault", fmt::format("gfn: {:#x} write: true is_private: {}", gfn, is_private));
    }
  }
  void notifier(uint64_t gfn) {
    const uint64_t hva = kHva + ((gfn - base_) << kPageShift);
    packet("notifier_begin", fmt::format("start: {:#x} end: {:#x}", hva, hva + 0x1000));
  }
  void punch(uint64_t gfn) {
    packet("gmem_punch",
           fmt::format("gmem_fd: 3 offset: {:#x} len: 0x1000", (gfn - base_) << kPageShift));
  }
  // An invalidation is open: a notifier has taken away another page, the slot's last.
  void unmap(uint64_t gfn, uint64_t start, uint64_t end, bool is_private) {
    notifier(gfn == base_ + 0xff ? base_ : base_ + 0xff);
    packet("unmap_gfn_range_op", fmt::format("slot: 0 start: {:#x} end: {:#x} attr_filter: {}",
                                             start, end, is_private ? 2 : 1));
  }
  void seamcall(const char* leaf, const std::string& operands) {
    packet("seamcall", fmt::format("leaf: SEAMCALL_LEAF_{} {}", leaf, operands));
  }
  // Two vCPUs, and a private page that is mapped before anything else happens.
  void two_vcpus(bool maps_one) {
    packet("mmu_format", "format: SPTE_FORMAT_EPT");
    packet("vm_create", "vm_type: 5");
    packet("memslot_create", "slot: 0 base_gfn: 0 npages: 0x100 flags: 4 gmem_fd: 3");
    packet("vcpu_create", "");
    packet("vcpu_create", "vcpu_id: 1");
    packet("set_attributes", "start: 0x10 end: 0x13 attributes: 8");
    packet("root_load", "");
    packet("root_load", "vcpu_id: 1");
    packet("mock_finalize", "");
    if (maps_one) packet("fault", "gfn: 0x12 write: true is_private: true");
  }
  // A stimulus of a thread that is stepped from now on.
  void on_thread(int thread, const char* name, const std::string& fields) {
    text_ += fmt::format("packet {{ thread: {} {} {{ {} }} }}\n", thread, name, fields);
    steps(thread, 0);
  }
  void steps(int thread, int count) {
    text_ +=
        fmt::format("packet {{ thread: {} step {{ machine: true count: {} }} }}\n", thread, count);
  }
  void leaf_is_zapped() { packet("changed_spte", "level: 1 new_spte: 0x8000000000000000"); }
  void flush_is(bool flush) { packet("tdp_unmap_gfn_range_ret", fmt::format("flush: {}", flush)); }

  const std::string& text() const { return text_; }

 private:
  static constexpr uint64_t kHva = 0x7f0000000000;
  bool td_;
  int gpaw_;
  uint64_t base_ = 0;
  const Values& values_;
  std::string text_;
};

bool of_mirror_root(const Result& r) {
  return r.instance.find("mirror root") != std::string::npos;
}

using Writer = void (*)(TraceText& t, const Result& r);

// The statement's choice of a root, as if it had been seen.
void stripped_addr(TraceText& t, const Result&) {
  const uint64_t gfn = (t.value("gpa") >> kPageShift) & ~t.direct_bits();
  t.vm(gfn, false);
  t.access(gfn, false);
  t.packet("tdp_map",
           fmt::format("addr: {:#x} gfn: {:#x} is_private: false", gfn << kPageShift, gfn));
}
void walked_access(TraceText& t, const Result& r) {
  t.vm(t.value("gfn"), of_mirror_root(r));
  t.access(t.value("gfn"), of_mirror_root(r));
}
void root_entry(TraceText& t, const Result&) {
  t.vm(t.value("gfn"), false, true);
  t.access(t.value("gfn"), false);
  t.packet("zap_root_op", "");
  t.packet("changed_spte",
           fmt::format("gfn: {:#x} level: 3", model::gfn_round_for_level<>(t.value("gfn"), 3)));
}
// A leaf of the range that stays.
void unmap_misses(TraceText& t, const Result& r) {
  const uint64_t gfn = t.value("gfn");
  t.vm(gfn, of_mirror_root(r));
  t.access(gfn, of_mirror_root(r));
  t.unmap(gfn, t.value("start"), t.value("end"), of_mirror_root(r));
  t.leaf_is_zapped();
}
// A leaf outside of the range that goes.
void unmap_exceeds(TraceText& t, const Result& r) {
  const uint64_t gfn = t.value("gfn");
  t.vm(gfn, of_mirror_root(r));
  t.access(gfn, of_mirror_root(r));
  t.unmap(gfn, t.value("start"), t.value("end"), of_mirror_root(r));
  t.flush_is(false);
}
void private_walk(TraceText& t, const Result&) {
  const uint64_t gfn = t.value("gpa") >> kPageShift;
  t.vm(gfn, true);
  t.access(gfn, true);
  t.packet("tdp_map", fmt::format("gfn: {:#x} is_private: true", gfn));
  t.packet("iter_start", "role: 0x86f84");
}
void punched_shared(TraceText& t, const Result&) {
  t.vm(t.value("gfn"), false);
  t.access(t.value("gfn"), false);
  t.punch(t.value("gfn"));
  t.leaf_is_zapped();
}
void punched_shared_stays(TraceText& t, const Result&) {
  t.vm(t.value("gfn"), false);
  t.access(t.value("gfn"), false);
  t.punch(t.value("gfn"));
  t.flush_is(false);
}
void punched_private(TraceText& t, const Result&) {
  t.vm(t.value("gfn"), true);
  t.access(t.value("gfn"), true);
  t.punch(t.value("gfn"));
  t.leaf_is_zapped();
}
void notified_shared(TraceText& t, const Result&) {
  const uint64_t gfn = t.value("gfn");
  t.vm(gfn, false);
  t.access(gfn, false);
  t.notifier(gfn);
  t.flush_is(true);
}
void notified_private(TraceText& t, const Result&) {
  t.vm(t.value("gfn"), true);
  t.access(t.value("gfn"), true);
  t.notifier(t.value("gfn"));
  t.flush_is(false);
}
void private_again(TraceText& t, const Result&) {
  const uint64_t gfn = t.value("gfn");
  t.vm(gfn, true);
  t.access(gfn, true);
  t.attributes(gfn, gfn + 2, true);
  t.leaf_is_zapped();
}
// The block, one TRACK, and a vCPU of then that is still inside.
void one_track(TraceText& t, const Result&) {
  t.vm(0, true);
  t.access(0, true);
  t.seamcall("MEM_PAGE_ACCEPT", "gpa: 0 level: 1");
  t.packet("vcpu_enter", "vcpu_id: 0");
  t.seamcall("MEM_RANGE_BLOCK", "gpa: 0 level: 1");
  t.seamcall("MEM_TRACK", "");
  t.seamcall("MEM_PAGE_REMOVE", "gpa: 0 level: 1");
  t.packet("seamcall_ret", "leaf: SEAMCALL_LEAF_MEM_PAGE_REMOVE status: 0");
}

// Threads that are stepped: so many atomic steps of the one, then of the other.
constexpr int kExchanged = 14;  // of a fault that links the first table: its SEAMCALL is to come
constexpr int kLeafExchanged = 12;  // of a fault on a leaf, all tables there
constexpr int kAugRuns = 17;        // of the same: PAGE.AUG holds its locks
constexpr int kZapToBlock = 13;     // of a zap of the root under the read lock: BLOCK has answered

// A thread has exchanged the entry of a table and not called the module yet; another walks down.
void walk_overtakes_link(TraceText& t, const Result&) {
  t.two_vcpus(false);
  t.on_thread(1, "fault", "gfn: 0x10 write: true is_private: true");
  t.steps(1, kExchanged);
  t.on_thread(2, "fault", "vcpu_id: 1 gfn: 0x10 write: true is_private: true");
  t.steps(2, 19);
}
void zap_overtakes_map(TraceText& t, int of_fault, int of_zap) {
  t.two_vcpus(true);
  t.on_thread(1, "fault", "gfn: 0x10 write: true is_private: true");
  t.steps(1, of_fault);
  t.on_thread(2, "zap_root_op", "root_pfn: 0x1000000 shared: true");
  t.steps(2, of_zap);
}
void zap_before_hook(TraceText& t, const Result&) {
  zap_overtakes_map(t, kLeafExchanged, kZapToBlock);
}
void zap_meets_aug(TraceText& t, const Result&) {
  zap_overtakes_map(t, kAugRuns, kZapToBlock);
}
void zap_of_parent_meets_aug(TraceText& t, const Result&) {
  zap_overtakes_map(t, kAugRuns, kZapToBlock + 3);
}
void zap_meets_hook_first(TraceText& t, const Result&) {
  zap_overtakes_map(t, kAugRuns - 2, kZapToBlock);
}
// The zap has called the module and exchanged; the fault has called it, too, and has to exchange
// yet.
void map_behind_zap(TraceText& t, const Result&) {
  t.two_vcpus(true);
  t.on_thread(2, "zap_root_op", "root_pfn: 0x1000000 shared: true");
  t.steps(2, 30);
  t.on_thread(1, "fault", "vcpu_id: 1 gfn: 0x12 write: true is_private: true");
  t.steps(1, 15);
  t.steps(2, 2);
}
// The first SEAMCALL of a fault fails: of a table, or, where the tables are there, of a leaf.
void seamcall_fails(TraceText& t, bool of_leaf) {
  t.two_vcpus(of_leaf);
  t.packet("prefault", "gpa: 0x10000 is_private: true");
  t.packet("seamcall_status", "status: 0xc000010000000001");
}
void link_fails(TraceText& t, const Result&) {
  seamcall_fails(t, false);
}
void map_fails(TraceText& t, const Result&) {
  seamcall_fails(t, true);
}
void parent_is_blocked(TraceText& t, const Result&) {
  t.two_vcpus(true);
  t.packet("zap_root_op", "root_pfn: 0x1000000 shared: true");
  t.packet("rcu_run", "");
  t.packet("reap_op", "");
}
// As the host of the statement calls: BLOCK of the parent, TRACK, REMOVE of the child.
void child_below_blocked(TraceText& t, const Result&) {
  t.vm(0, true);
  t.access(0, true);
  t.seamcall("MEM_PAGE_ACCEPT", "gpa: 0 level: 1");
  t.seamcall("MEM_RANGE_BLOCK", "gpa: 0 level: 2");
  t.seamcall("MEM_TRACK", "");
  t.seamcall("MEM_PAGE_REMOVE", "gpa: 0 level: 1");
}
// An ACCEPT holds the entry that a punch blocks.
void accept_holds_entry(TraceText& t, const Result&) {
  t.two_vcpus(true);
  t.on_thread(2, "seamcall", "leaf: SEAMCALL_LEAF_MEM_PAGE_ACCEPT gpa: 0x12000 level: 1");
  t.steps(2, 8);
  t.packet("gmem_punch", "gmem_fd: 3 offset: 0x12000 len: 0x1000");
}
// The same by the status alone.
void block_is_busy(TraceText& t, const Result&) {
  t.two_vcpus(true);
  t.packet("gmem_punch", "gmem_fd: 3 offset: 0x12000 len: 0x1000");
  t.packet("seamcall_status", "status: 0x8000020000000001");
}

struct ByObligation {
  std::string_view obligation;
  const char* design;
  Writer write;        // nullptr: there can be none
  const char* breaks;  // a rule; "": what was seen differs; or why there can be none
};
constexpr ByObligation kTraces[] = {
    {"address.root-choice-after-strip", "", stripped_addr, "MMU-MIRROR-PRIVATE"},
    {"walk.sketch-index", "seed000-sketch", walked_access, "MMU-WALK-INDEX"},
    {"walk.sketch-index.gpa-mask", "seed000-sketch", walked_access, "MMU-WALK-INDEX"},
    {"walk.sketch-index.polarity", "seed000-sketch", walked_access, "MMU-WALK-INDEX"},
    {"walk.entry-gfn.at-root", "", root_entry, ""},
    {"range.mapped-bounds", "addr-raw", unmap_misses, ""},
    {"range.mapped-bounds.beyond", "addr-raw", unmap_misses, ""},
    {"range.sketch-loop", "upstream-7.x,zap_bounds=seed000-end", unmap_exceeds, ""},
    {"root.private-by-mirror.no-shared-bit", "", private_walk, ""},
    {"root.three-tests-agree.no-shared-bit", "", private_walk, ""},
    {"filter.exclude-equals-v19.shared-roots", "v19-exclude", punched_shared, ""},
    {"filter.exclude-equals-v19.flush", "v19", notified_shared, "MMU-TLB-COVERED"},
    {"filter.flush-survives.v19", "v19", notified_shared, "MMU-TLB-COVERED"},
    {"filter.notifier-spares-private.v8", "v8", notified_private, "MMU-MIRROR-FILTER"},
    {"filter.without-shared-mask", "v19-exclude,unmap_filter=exclude-flags-unguarded",
     punched_private, ""},
    {"filter.without-exclude-shared", "v19-exclude,unmap_filter=exclude-private-only",
     punched_shared_stays, "MMU-MIRROR-FILTER"},
    {"filter.same-for-both-roots.v19", "v19", notified_shared, "MMU-TLB-COVERED"},
    {"filter.no-flags.v19", "v19", private_again, ""},
    {"tlb.one-track", "", one_track, ""},
    {"sept.parents-outlive.passed", "", child_below_blocked, "TDX-SEPT-CHILDREN"},
    {"freeze.plain.one-owner", "naive", zap_before_hook, "TDX-BUG-SEAMCALL"},
    {"order.parents-first.v8", "v8", link_fails, "TDX-SEPT-ORDER"},
    {"order.parents-first.naive", "naive", walk_overtakes_link, "TDX-SEPT-ORDER"},
    {"order.parents-first.block-parent", "block-parent-rcu", parent_is_blocked,
     "TDX-SEPT-CHILDREN"},
    {"order.parents-first.seamcall-lock-only", "seamcall-lock-only", link_fails, "TDX-SEPT-ORDER"},
    {"order.agree.v8", "v8", map_fails, "TDX-SEPT-MIRROR"},
    {"order.agree.naive", "naive", map_fails, "TDX-SEPT-MIRROR"},
    {"order.agree.seam-first", "seam-first", map_behind_zap, "TDX-SEPT-MIRROR"},
    {"busy.hosts.v11", "v11", zap_meets_aug, "TDX-BUG-SEAMCALL"},
    {"busy.hosts.seam-first", "seam-first", zap_meets_hook_first, "TDX-BUG-SEAMCALL"},
    {"busy.hosts.block-parent", "block-parent-rcu", zap_of_parent_meets_aug, "TDX-BUG-SEAMCALL"},
    {"busy.vcpus.v8", "v8", block_is_busy, "TDX-BUG-SEAMCALL"},
    {"busy.vcpus.v19", "v19", accept_holds_entry, "TDX-BUG-SEAMCALL"},
    {"change.atomic-write.accessed", "", nullptr,
     "a lost A bit breaks no invariant: 7.x leaves it out on purpose"},
    {"shadow.packing.four-rights", "", nullptr, "it is about a word alone, not about an execution"},
    {"shadow.packing.gfn-of-56-bits", "", nullptr,
     "it is about a word alone, not about an execution"},
    {"shadow.access-from-spte", "", nullptr,
     "a hand-written trace tells the access: nothing derives it"},
    {"sept.unblock-undoes-block", "", nullptr,
     "BLOCKEDW is a state of migration, which hand-written traces do not have"},
    {"sept.block-keeps-accept-counter", "", nullptr,
     "no interrupt arrives during an ACCEPT of a hand-written trace"},
    {"sept.all-keep-shape.accept-counter", "", nullptr,
     "no interrupt arrives during an ACCEPT of a hand-written trace"},
    {"freeze.one-owner.not-strengthened", "", nullptr,
     "it starts from a state that no execution reaches: a thread that exchanges a frozen value"},
    {"tlb.inside-survives-exit.not-strengthened", "", nullptr,
     "it starts from a state that no execution reaches: one vCPU counted, two inside"},
    {"tlb.enter-flushes.new-association", "", nullptr,
     "hand-written traces have no TLBs of CPUs; `run-module` has the sequence"},
    {"lock.shared-excludes-exclusive.unbounded", "", nullptr,
     "a trace has not so many CPUs in the module at once"},
};

}  // namespace

CounterexampleTrace counterexample_trace(const Obligation& o, const Result& r) {
  const auto* const found =
      std::find_if(std::begin(kTraces), std::end(kTraces),
                   [&](const ByObligation& t) { return t.obligation == o.name; });
  if (found == std::end(kTraces)) return {"", "no trace is written for it", ""};
  if (found->write == nullptr) return {"", found->breaks, ""};
  TraceText t(o, r, found->design);
  found->write(t, r);
  return {t.text(), "", found->breaks};
}

}  // namespace mmucheck::prove
